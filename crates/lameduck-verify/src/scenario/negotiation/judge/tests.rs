//! Holds the judges to what they say: a drain in which everything is as it should be, and that drain with one thing changed.

use super::super::cast::Said;
use super::super::client::Reply;
use super::super::hostile::HOSTILE;
use super::*;

const UNIT: Duration = Duration::from_millis(200);

fn told(at: Instant, end: Instant, kind: &str) -> Told {
    let text = format!(
        r#"{{"type": "{kind}", "id": "d", "left_ms": {}}}"#,
        end.saturating_duration_since(at).as_millis()
    );
    Told::read(at, &text).unwrap()
}

/// What everybody says, at so many milliseconds.
fn speak(records: &mut [Record], at: &dyn Fn(u64) -> Instant) {
    let mut say = |role: Role, ms, what, answer| {
        let at = at(ms);
        records[role as usize].said.push(Said { at, what, answer });
    };
    for role in [
        Role::Worker,
        Role::Repeater,
        Role::Store,
        Role::Frail,
        Role::Stranger,
    ] {
        say(role, 2, What::Ack, Answer::Taken);
    }
    say(Role::Repeater, 1, What::StrangeAck, Answer::NotTaken);
    say(Role::Repeater, 2, What::StrangeDone, Answer::NotTaken);
    say(Role::Repeater, 3, What::Ack, Answer::Taken);
    say(Role::Repeater, 600, What::Done, Answer::Taken);
    say(Role::Repeater, 601, What::Done, Answer::NotTaken);
    say(Role::Repeater, 602, What::LateFailed, Answer::NotTaken);
    say(Role::Refuser, 2, What::Refused, Answer::Taken);
    say(Role::Stranger, 405, What::Done, Answer::Taken);
    say(Role::Store, 405, What::Done, Answer::Taken);
    for (ms, wish) in [(401, 1), (403, 1), (405, 2)] {
        say(Role::Wisher, ms, What::Wish(wish), Answer::Taken);
    }
    say(Role::Wisher, 1_000, What::Done, Answer::Taken);
    say(Role::Worker, 1_400, What::Done, Answer::Taken);
}

/// Everything as it should be, from `t` on.
fn good(t: Instant) -> (Drain, Alone) {
    let at = |ms| t + Duration::from_millis(ms);
    let end = at(3_000);
    let mut records = vec![Record::default(); CAST.len()];
    for record in &mut records {
        record.told = vec![
            told(at(1), end, "shutdown_request"),
            told(at(400), end, "close"),
        ];
    }
    speak(&mut records, &at);
    let over = |ms, state: &str| Told {
        state: Some(state.to_owned()),
        left: None,
        ..told(at(ms), end, "over")
    };
    let again = |ms| Told {
        again: true,
        ..told(at(ms), end, "shutdown_request")
    };
    let silent = &mut records[Role::Silent as usize];
    silent.budget = Some(Duration::from_millis(800));
    silent.told.extend([again(800), over(1_201, "overdue")]);
    records[Role::Repeater as usize]
        .told
        .push(over(601, "done"));
    let wisher = &mut records[Role::Wisher as usize];
    wisher.budget = Some(Duration::from_millis(400));
    for (ms, wish, by, budget) in [
        (402, 1, 400, 800),
        (404, 1, 400, 800),
        (406, 2, 1_800, 2_600),
    ] {
        wisher.told.push(Told {
            wish: Some(wish),
            by: Some(Duration::from_millis(by)),
            budget: Some(Duration::from_millis(budget)),
            ..told(at(ms), end, "granted")
        });
    }
    let refusal = || Reply {
        status: 400,
        body: r#"{"ok":false,"said":"no"}"#.to_owned(),
    };
    let stranger = &mut records[Role::Stranger as usize];
    stranger.affronts = HOSTILE
        .map(|(what, body)| Affront::new(what, &body("d"), true))
        .into();
    for affront in &mut stranger.affronts {
        affront.reply = Some(refusal());
    }
    let frail = &mut records[Role::Frail as usize];
    frail.back_after = Some(Duration::from_millis(15));
    frail.dropped_at = Some(at(400));
    records[Role::Store as usize].told[1].at = at(402);
    let drain = Drain {
        exit: Some(at(1_402)),
        unit: UNIT,
        idle_stop: Duration::from_millis(450),
        records,
    };
    let alone = Alone {
        exit: Some(at(3_001)),
        record: Record {
            told: vec![told(at(1), end, "shutdown_request"), again(1_700)],
            ..Record::default()
        },
    };
    (drain, alone)
}

/// What all ids say of a drain.
fn verdicts(drain: &Drain, alone: &Alone) -> Vec<(&'static str, Judged)> {
    vec![
        ("N-1", drain.n_1()),
        ("N-2", drain.n_2(alone)),
        ("N-3", drain.n_3()),
        ("N-4", drain.n_4()),
        ("N-5", drain.n_5()),
        ("N-8", drain.n_8()),
        ("N-9", drain.n_9()),
        ("N-10", drain.n_10()),
    ]
}

#[test]
fn a_drain_that_is_as_it_should_be_passes_all() {
    let (drain, alone) = good(Instant::now());
    for (id, (verdict, why)) in verdicts(&drain, &alone) {
        assert_eq!(verdict, Verdict::Pass, "{id}: {why}");
    }
}

/// One thing changed, and the id that has to see it.
type Change = (
    &'static str,
    fn(&mut Drain, &mut Alone, Instant),
    &'static str,
);

fn of(drain: &mut Drain, role: Role) -> &mut Record {
    &mut drain.records[role as usize]
}

const CHANGES: [Change; 24] = [
    (
        "N-1",
        |d, _, _| of(d, Role::Worker).told.clear(),
        "was not asked",
    ),
    (
        "N-1",
        |d, _, _| of(d, Role::Worker).told.truncate(1),
        "never told to finish",
    ),
    (
        "N-1",
        |d, _, t| {
            d.exit = Some(t + Duration::from_millis(900));
            of(d, Role::Worker).said.last_mut().unwrap().answer = Answer::Unheard;
        },
        "500 ms after it told one to finish",
    ),
    ("N-2", |d, _, _| d.exit = None, "had to be killed"),
    ("N-2", |_, a, _| a.exit = None, "had to be killed"),
    (
        "N-2",
        |d, _, t| d.exit = Some(t + Duration::from_secs(3)),
        "after the last that",
    ),
    ("N-2", |_, a, _| a.record.told.truncate(1), "again 0 times"),
    (
        "N-2",
        |d, _, _| drop(of(d, Role::Silent).told.remove(2)),
        "asked again 0 times",
    ),
    (
        "N-2",
        |d, _, _| drop(of(d, Role::Silent).told.pop()),
        "never told that it is waited",
    ),
    (
        "N-2",
        |d, _, _| of(d, Role::Worker).told[0].again = true,
        "verify-worker had answered, and was asked again",
    ),
    (
        "N-3",
        |d, _, _| drop(of(d, Role::Wisher).told.pop()),
        "wish 2 was not answered",
    ),
    (
        "N-3",
        |d, _, _| of(d, Role::Wisher).told[2].by = Some(Duration::ZERO),
        "wished for 400 ms and got 0 ms",
    ),
    (
        "N-3",
        |d, _, _| of(d, Role::Wisher).told[4].by = Some(HOUR),
        "wished for an hour and got it",
    ),
    (
        "N-3",
        |d, _, _| of(d, Role::Store).told[1].left = Some(Duration::from_secs(9)),
        "the end of the drain moved",
    ),
    (
        "N-4",
        |d, _, _| of(d, Role::Wisher).told[3].budget = Some(Duration::from_millis(1_200)),
        "was granted twice",
    ),
    (
        "N-5",
        |d, _, t| of(d, Role::Silent).told[3].at = t + Duration::from_millis(900),
        "verify-silent was given up 300 ms",
    ),
    (
        "N-8",
        |d, _, _| of(d, Role::Repeater).said[2].answer = Answer::Taken,
        "`done` for another drain was taken",
    ),
    (
        "N-9",
        |d, _, _| {
            of(d, Role::Store)
                .misfits
                .push("no JSON object: x".to_owned())
        },
        "what verify-store got does not fit the schema: no JSON object: x",
    ),
    (
        "N-9",
        |d, _, _| {
            of(d, Role::Stranger).affronts[4]
                .reply
                .as_mut()
                .unwrap()
                .status = 200
        },
        r#"a type that nobody knows ({"id":"d","type":"dance"}) was answered 200"#,
    ),
    (
        "N-9",
        |d, _, t| {
            d.exit = Some(t + Duration::from_secs(60));
            of(d, Role::Stranger).affronts[7].reply = None;
        },
        "was left without an answer after 0 ms, while leaving",
    ),
    (
        "N-9",
        |d, _, _| of(d, Role::Stranger).said[1].answer = Answer::NotTaken,
        "its own `done` was not heard",
    ),
    (
        "N-9",
        |d, _, t| {
            let mut over = told(t, t, "over");
            over.state = Some("failed".to_owned());
            of(d, Role::Stranger).told.push(over);
        },
        "is told that it is failed",
    ),
    (
        "N-9",
        |d, _, _| of(d, Role::Stranger).told.clear(),
        "it was not asked, after",
    ),
    (
        "N-10",
        |d, _, t| of(d, Role::Store).told[1].at = t + Duration::from_secs(2),
        "noticed 1600 ms after",
    ),
];

#[test]
fn each_thing_that_is_not_as_it_should_be_is_named() {
    for (id, change, part) in CHANGES {
        let t = Instant::now();
        let (mut drain, mut alone) = good(t);
        change(&mut drain, &mut alone, t);
        let all = verdicts(&drain, &alone);
        let (_, (verdict, why)) = all.iter().find(|(other, _)| *other == id).unwrap();
        assert_eq!(*verdict, Verdict::Fail, "{id}, {part}: {why}");
        assert!(why.contains(part), "{id}: {why}");
    }
}

#[test]
fn what_did_not_take_place_is_left_open() {
    let (mut drain, alone) = good(Instant::now());
    for record in &mut drain.records {
        record.told.retain(|told| told.kind != "close");
    }
    for (id, (verdict, why)) in verdicts(&drain, &alone) {
        let is_its_own = ["N-1", "N-5", "N-8", "N-9"].contains(&id);
        assert!(
            is_its_own || verdict == Verdict::Inconclusive,
            "{id}: {why}"
        );
    }
}
