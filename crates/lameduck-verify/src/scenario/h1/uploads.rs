//! H1-09, H1-12, H1-13: bodies that come slowly, not at all, unread, or only after `100 Continue`.

use std::time::Duration;

use super::client::{Client, Deed, FILLER, LONG, Sign};
use crate::observe::flow::When;
use crate::observe::outcome::{End, Outcome, Tally};
use crate::scenario::judge::in_words;
use crate::scenario::long::{Opening, Seen, millis};
use crate::scenario::requests;
use crate::verdict::{Finding, Verdict};

const SLOW: &str = "slow-uploads";
const STALLED: &str = "stalled-uploads";
const UNREAD: &str = "unread-uploads";
const EXPECTING: &str = "expecting";

/// Bytes of a slow upload: far more than the drips before the signal come to.
const UPLOAD: usize = 64 * 1024;
const DRIP: usize = 64;
const DRIP_EVERY: Duration = Duration::from_millis(25);

/// Declared size of the upload that nobody wants to read.
const UNWANTED: usize = 1024 * 1024;
/// Of it, sent at once: more than a receive buffer, less than what the kernel takes from us.
const AT_ONCE: usize = 256 * 1024;
/// Nobody serves this path: most services answer without reading the body.
const NO_SUCH_PATH: &str = "/lameduck-verify/no-such-path";
/// The client is busy sending for so long before it reads.
const BUSY_SENDING: Duration = Duration::from_millis(300);

/// The body follows so long after the signal, `100 Continue` or not.
const BODY_AFTER: Duration = Duration::from_millis(50);
const CONTINUE_BOUND: Duration = Duration::from_millis(800);

/// Where uploads go.
fn path(seen: &crate::scenario::bench::Bench<'_>, place: &crate::target::Place) -> Option<String> {
    let declared = seen.options.target.upload_path.as_deref();
    declared
        .map(|path| place.fill(path))
        .or_else(|| seen.facts.post_path.clone())
}

const NO_PATH: &str =
    "the target takes no POST where it was tried; --upload-path would give a path";

pub(super) fn open(opening: &mut Opening<'_>) {
    if let Some(path) = path(opening.bench, opening.place) {
        if opening.wants("H1-09") {
            open_slow(opening, &path);
        }
        if opening.wants("H1-13") {
            open_expecting(opening, &path);
        }
    }
    if opening.wants("H1-12") {
        for offset in [5, 20, 50, 80] {
            open_unread(opening, Duration::from_millis(offset));
        }
    }
}

fn open_slow(opening: &mut Opening<'_>, path: &str) {
    let head = |framing: &str| {
        let rest = format!("Content-Type: application/octet-stream\r\n{framing}\r\n\r\n");
        Deed::Send(requests::head(opening.place, "POST", path, &rest).into_bytes())
    };
    let drip = |bytes: Vec<u8>| Deed::Drip {
        bytes,
        every: DRIP_EVERY,
        until: When::AfterStop(opening.time),
    };
    let sized = || head(&format!("Content-Length: {UPLOAD}"));
    let chunk = format!("{DRIP:x}\r\n{}\r\n", "x".repeat(DRIP)).into_bytes();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let answered = Deed::Await(Sign::Answers(1), LONG);
        let by_length = vec![
            Deed::Connect,
            sized(),
            drip(vec![FILLER; DRIP]),
            Deed::Fill(UPLOAD),
            answered.clone(),
        ];
        let in_chunks = vec![
            Deed::Connect,
            head("Transfer-Encoding: chunked"),
            drip(chunk.clone()),
            Deed::Send(b"0\r\n\r\n".to_vec()),
            answered,
        ];
        let stalled = vec![
            Deed::Connect,
            sized(),
            Deed::Send(vec![FILLER; UPLOAD / 2]),
            Deed::AwaitEnd,
        ];
        clients.extend([(SLOW, by_length), (SLOW, in_chunks), (STALLED, stalled)]);
    }
    for (group, deeds) in clients {
        opening.add(group, Client::new(1, deeds));
    }
}

fn open_unread(opening: &mut Opening<'_>, offset: Duration) {
    let rest = format!("Content-Length: {UNWANTED}\r\n\r\n");
    let mut begin = requests::head(opening.place, "POST", NO_SUCH_PATH, &rest).into_bytes();
    begin.resize(begin.len() + AT_ONCE, FILLER);
    let deeds = vec![
        Deed::Connect,
        Deed::Hold(When::AfterStop(offset)),
        Deed::BeDeaf,
        Deed::Send(begin),
        Deed::Drip {
            bytes: vec![FILLER; 1024],
            every: DRIP_EVERY,
            until: When::For(BUSY_SENDING),
        },
        Deed::Hear,
        Deed::Await(Sign::Answers(1), BUSY_SENDING),
        Deed::UnlessAnswered,
        // Not early then: with the rest it gets its answer, if it is to have one at all.
        Deed::Fill(UNWANTED - AT_ONCE),
        Deed::Await(Sign::Answers(1), LONG),
    ];
    opening.add(UNREAD, Client::new(1, deeds));
}

fn open_expecting(opening: &mut Opening<'_>, path: &str) {
    for index in 0..4 {
        let body = vec![FILLER; 32];
        let rest = format!(
            "Content-Type: text/plain\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        );
        let head = requests::head(opening.place, "POST", path, &rest).into_bytes();
        let mut deeds = vec![Deed::Connect];
        if index % 2 == 1 {
            deeds.push(Deed::Hold(When::Eve));
        }
        deeds.extend([
            Deed::Send(head),
            Deed::Hold(When::AfterStop(BODY_AFTER)),
            Deed::Await(Sign::Interim, CONTINUE_BOUND),
            Deed::UnlessAnswered,
            Deed::Send(body),
            Deed::Await(Sign::Answers(1), LONG),
        ]);
        opening.add(EXPECTING, Client::new(1, deeds));
    }
}

pub(super) fn judge(seen: &Seen<'_>) -> Vec<Finding> {
    vec![judge_slow(seen), judge_unread(seen), judge_expecting(seen)]
}

/// What a group of uploads came to.
#[derive(Default)]
struct Uploads {
    tally: Tally,
    poised: u64,
    /// Answered before all was sent: they prove nothing.
    early: u64,
    unserved: u64,
    worst: Option<Outcome>,
}

fn uploads(seen: &Seen<'_>, group: &'static str) -> Uploads {
    let mut found = Uploads::default();
    for (_, client) in seen
        .talkers::<Client>(group)
        .filter(|(was_poised, _)| *was_poised)
    {
        let exchange = client.exchange(0, true, seen.bench.facts.usual);
        let outcome = exchange.outcome.unwrap_or(Outcome::Hung);
        if client.is_answered_early() {
            found.early += 1;
            continue;
        }
        found.poised += 1;
        found.tally.add(&exchange);
        if !outcome.is_served() {
            found.unserved += 1;
            found.worst.get_or_insert(outcome);
        }
    }
    found
}

fn judge_slow(seen: &Seen<'_>) -> Finding {
    let id = "H1-09";
    if seen.engine.talks_of(SLOW).next().is_none() {
        return seen.lacking(id, NO_PATH);
    }
    let slow = uploads(seen, SLOW);
    let stalled = || {
        seen.talkers::<Client>(STALLED)
            .filter(|(was_poised, _)| *was_poised)
    };
    let held = stalled()
        .filter(|(_, client)| seen.held_exit(client.answers.end))
        .count();
    let last = stalled()
        .filter_map(|(_, client)| Some(seen.after_stop(client.answers.end?.0)))
        .max()
        .unwrap_or_default();
    let (verdict, detail) = if let Some(outcome) = slow.worst {
        let detail = format!(
            "{} uploads went on slowly across the signal; one {}",
            slow.poised,
            in_words(outcome)
        );
        (Verdict::Fail, detail)
    } else if held > 0 {
        let detail = format!(
            "{held} uploads that had stalled kept their connections until the grace period was over, and the process had to be killed"
        );
        (Verdict::Fail, detail)
    } else if slow.poised == 0 {
        let detail = "the target answers or ends uploads before they are whole";
        (Verdict::NotApplicable, detail.to_owned())
    } else {
        let detail = format!(
            "{} slow uploads read whole and answered; stalled ones ended {} after the signal",
            slow.poised,
            millis(last)
        );
        (Verdict::Pass, detail)
    };
    seen.finding(id, verdict, detail)
        .with_requests(slow.tally)
        .with_figure("slow", slow.poised)
        .with_figure("stalled", stalled().count())
        .with_figure("stalled_held", held)
        .with_figure("stalled_ended_ms", last)
}

fn judge_unread(seen: &Seen<'_>) -> Finding {
    let (mut early, mut late, mut broken, mut gone) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut tally = Tally::default();
    for (_, client) in seen
        .talkers::<Client>(UNREAD)
        .filter(|(was_poised, _)| *was_poised)
    {
        let exchange = client.exchange(0, true, seen.bench.facts.usual);
        let outcome = exchange.outcome.unwrap_or(Outcome::Hung);
        let was_reset = matches!(client.answers.end, Some((_, End::Reset)));
        if client.writes == 0 {
            gone += 1;
        } else if client.is_answered_early() && !was_reset {
            early += 1;
            tally.add(&exchange);
        } else if outcome.is_unanswered() || was_reset {
            broken += 1;
            tally.add(&exchange);
        } else {
            late += 1;
        }
    }
    let (verdict, detail) = if broken > 0 {
        let all = broken + early;
        let detail = format!(
            "{broken} of {all} clients that were still sending when the answer came met a reset, which takes the answer away"
        );
        (Verdict::Fail, detail)
    } else if early > 0 {
        let detail = format!("{early} early answers to unread uploads, each readable");
        (Verdict::Pass, detail)
    } else if late > 0 {
        let detail =
            "the target reads an upload whole before it answers, also where nothing is served";
        (Verdict::NotApplicable, detail.to_owned())
    } else {
        let detail = "the target closed the silent connections before anything was sent";
        (Verdict::NotApplicable, detail.to_owned())
    };
    seen.finding("H1-12", verdict, detail)
        .with_requests(tally)
        .with_figure("early_answers", early)
        .with_figure("reset", broken)
        .with_figure("closed_before", gone)
}

fn judge_expecting(seen: &Seen<'_>) -> Finding {
    let id = "H1-13";
    if seen.engine.talks_of(EXPECTING).next().is_none() {
        return seen.lacking(id, NO_PATH);
    }
    let found = uploads(seen, EXPECTING);
    let told = seen
        .talkers::<Client>(EXPECTING)
        .filter(|(_, client)| {
            let first = client.answers.get(0);
            first.is_some_and(|first| first.reader.interim() > 0)
        })
        .count();
    let (verdict, detail) = if let Some(outcome) = found.worst {
        let detail = format!(
            "{} of {} requests that waited with `Expect: 100-continue` at the signal were not served; one {}",
            found.unserved,
            found.poised,
            in_words(outcome)
        );
        (Verdict::Fail, detail)
    } else if found.poised == 0 {
        let detail = "the target answers such requests without their body";
        (Verdict::NotApplicable, detail.to_owned())
    } else {
        let detail = format!(
            "{} waiting at the signal, all served ({told} were told to continue)",
            found.poised
        );
        (Verdict::Pass, detail)
    };
    seen.finding(id, verdict, detail)
        .with_requests(found.tally)
        .with_figure("waiting", found.poised)
        .with_figure("told_to_continue", told)
}
