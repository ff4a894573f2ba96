//! Random plans, random operations, random and possibly huge steps of time: the invariants hold, the reports add up.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use crate::{
    machine::{Answer, Effect, Enrolment, Hook, Input, Listens, Machine, ParticipantId, Traffic},
    vocab::{
        Outcome, Phase, Plan, Preset, Repeat, Sender, Signal, SignalCode, SignalRecord, Switch,
        Window,
    },
};

/// Numbers that may have a participant behind them; some have none.
const PARTICIPANTS: u32 = 6;

fn step() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => Just(Duration::ZERO),
        4 => (0_u64..2_000).prop_map(Duration::from_millis),
        2 => (0_u64..60).prop_map(Duration::from_secs),
        1 => any::<u64>().prop_map(Duration::from_nanos),
        1 => Just(Duration::MAX),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let grace = prop_oneof![
        9 => (1_600_u64..200_000).prop_map(Duration::from_millis),
        1 => Just(Duration::MAX),
    ];
    (grace, 0_u32..=100, 0_u32..=100, any::<u32>(), any::<bool>()).prop_map(
        |(grace, ceiling, floor, quiet, escalates)| {
            let plan = Plan::preset(Preset::Local)
                .with_window(Window::NONE)
                .and_then(|plan| plan.with_grace(grace))
                .expect("long enough");
            let ceiling = plan.drain_end() / 100 * ceiling;
            let window = Window {
                floor: ceiling / 100 * floor,
                quiet: Duration::from_micros(quiet.into()),
                ceiling,
            };
            let repeat = if escalates {
                Repeat::Escalate
            } else {
                Repeat::Record
            };
            plan.with_window(window)
                .expect("it fits")
                .with_repeat(repeat)
        },
    )
}

fn signal() -> impl Strategy<Value = SignalRecord> {
    let signals = [
        Signal::Term,
        Signal::Int,
        Signal::Hup,
        Signal::Quit,
        Signal::Usr1,
        Signal::Usr2,
    ];
    let codes = [SignalCode::User, SignalCode::Kernel];
    (
        proptest::sample::select(signals.to_vec()),
        proptest::sample::select(codes.to_vec()),
    )
        .prop_map(|(signal, code)| SignalRecord::new(signal, code, Sender::Unknown))
}

fn enrolment() -> impl Strategy<Value = Enrolment> {
    let ids = 0..PARTICIPANTS;
    (
        ids.clone(),
        vec(ids, 0..3),
        proptest::option::of(step()),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(id, after, budget, listens, hook)| Enrolment {
            id: ParticipantId::new(id),
            name: format!("\"{id}\"\n\u{7}"),
            after: after.into_iter().map(ParticipantId::new).collect(),
            budget,
            listens: if listens {
                Listens::UntilClosed
            } else {
                Listens::Never
            },
            hook: if hook { Hook::Some } else { Hook::None },
        })
}

fn wish() -> impl Strategy<Value = Input> {
    let id = (0..PARTICIPANTS).prop_map(ParticipantId::new);
    (id, 0_u32..4, step()).prop_map(|(id, wish, by)| {
        let why = "\\why".to_owned();
        Input::Answer(id, Answer::NeedMore { wish, by, why })
    })
}

/// Two with budgets are asked.
fn beginning() -> Vec<(Duration, Input)> {
    let mut inputs = Vec::new();
    for id in [0, 1].map(ParticipantId::new) {
        inputs.push(Input::Enrol(Enrolment {
            id,
            name: id.to_string(),
            after: Vec::new(),
            budget: Some(Duration::from_millis(100)),
            listens: Listens::Never,
            hook: Hook::None,
        }));
        inputs.push(Input::Ready(id));
    }
    inputs.push(Input::Started);
    let why = "why".to_owned();
    inputs.push(Input::Terminate { why });
    inputs
        .into_iter()
        .map(|one| (Duration::ZERO, one))
        .collect()
}

fn input() -> impl Strategy<Value = Input> {
    let id = || (0..PARTICIPANTS).prop_map(ParticipantId::new);
    let why = || Just("why".to_owned());
    let answer = prop_oneof![
        Just(Answer::Ack),
        Just(Answer::Working {
            done: 1,
            total: 2,
            note: "\"a\"".to_owned()
        }),
        vec(("[a-c]{1,2}", any::<i64>()), 0..40).prop_map(|figures| Answer::Done { figures }),
        why().prop_map(|why| Answer::Refused { why }),
        why().prop_map(|why| Answer::Away { why }),
        why().prop_map(|why| Answer::Failed { why }),
    ];
    prop_oneof![
        9 => wish(),
        6 => enrolment().prop_map(Input::Enrol),
        6 => id().prop_map(Input::Ready),
        3 => Just(Input::Started),
        6 => (id(), answer).prop_map(|(id, answer)| Input::Answer(id, answer)),
        3 => (id(), step()).prop_map(|(id, by)| Input::Grant(id, by)),
        3 => id().prop_map(Input::Returned),
        3 => id().prop_map(Input::Hooked),
        6 => signal().prop_map(Input::Signal),
        3 => why().prop_map(|why| Input::Terminate { why }),
        2 => (why(), step()).prop_map(|(why, grace)| Input::TerminateWithin { why, grace }),
        1 => why().prop_map(|why| Input::StartFailed { why }),
        1 => Just(Input::Cut),
        1 => Just(Input::Reload),
        9 => Just(Input::Wake),
        6 => (any::<u64>(), proptest::option::of(step())).prop_map(|(requests, mean_gap)| {
            Input::Traffic(Traffic { requests, mean_gap })
        }),
        6 => Just(Input::ConnectionsDrained),
        6 => Just(Input::GuardsDrained),
        2 => (0_u64..9).prop_map(|unnamed| Input::Stragglers(Vec::new(), unnamed)),
        6 => id().prop_map(|id| Input::HookEnded(id, Ok(()))),
        2 => why().prop_map(Input::Note),
        1 => why().prop_map(|why| Input::Switched(Switch::new("breaker", "db").because(why))),
    ]
}

/// Gives the inputs, checks each step, and returns the machine with what it wanted done.
fn drive(plan: Plan, script: Vec<(Duration, Input)>) -> (Machine, Vec<Effect>) {
    let mut machine = Machine::new(plan);
    let mut effects = Vec::new();
    let mut now = Duration::ZERO;
    for (step, input) in script {
        now = now.saturating_add(step);
        let phase = machine.phase();
        machine.handle(now, input);
        assert!(machine.phase() >= phase, "INV-1");
        effects.extend(core::iter::from_fn(|| machine.poll_effect()));
        match machine.poll_timeout() {
            Some(due) => assert!(
                due > now && !machine.is_over(),
                "a due timer was not served"
            ),
            None => assert!(machine.is_over() || !machine.phase().is_leaving(), "INV-2"),
        }
    }
    (machine, effects)
}

fn count(effects: &[Effect], is: impl Fn(&Effect) -> bool) -> usize {
    effects.iter().filter(|effect| is(effect)).count()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn inv_1_inv_10_each_thing_once_and_the_end_last(
        plan in plan(),
        script in vec((step(), input()), 0..60),
    ) {
        let (machine, effects) = drive(plan, script);
        let phases: Vec<Phase> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Enter(phase) => Some(*phase),
                _ => None,
            })
            .collect();
        prop_assert!(phases.is_sorted(), "INV-1: {:?}", phases);
        let hooks: Vec<_> = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::RunHook(_)))
            .collect();
        let twice = hooks.iter().enumerate().any(|(at, hook)| hooks[..at].contains(hook));
        prop_assert!(!twice, "INV-10: {:?}", hooks);
        let exits = count(&effects, |effect| matches!(effect, Effect::Exit(_)));
        prop_assert_eq!(exits, usize::from(machine.is_over()));
        if machine.is_over() {
            prop_assert!(matches!(effects.last(), Some(Effect::Exit(_))), "the end is last");
        }
        for once in [Effect::CloseAdmission, Effect::CloseGuardsGate, Effect::EndStragglers] {
            prop_assert!(count(&effects, |effect| *effect == once) <= 1, "{:?}", once);
        }
    }

    /// N-3, N-4: every wish is answered, a repeated one as the first time, and no grant reaches beyond the end of the drain.
    #[test]
    fn n_3_n_4_every_wish_is_answered_once_and_for_all(
        plan in plan(),
        begun in any::<bool>(),
        script in vec((step(), input()), 0..60),
        wishes in vec(((0_u64..40).prop_map(Duration::from_millis), wish()), 0..30),
    ) {
        let mut machine = Machine::new(plan);
        let mut now = Duration::ZERO;
        let beginning = if begun { beginning() } else { Vec::new() };
        let script = beginning.into_iter().chain(wishes).chain(script);
        let mut leaving = false;
        let mut answers = std::collections::HashMap::new();
        for (step, input) in script {
            now = now.saturating_add(step);
            let wish = match &input {
                Input::Answer(id, Answer::NeedMore { wish, by, .. }) => Some((*id, *wish, *by)),
                _ => None,
            };
            let was_over = machine.is_over();
            machine.handle(now, input);
            let granted: Vec<_> = core::iter::from_fn(|| machine.poll_effect())
                .filter_map(|effect| match effect {
                    Effect::Granted(id, Some(wish), by) => Some((id, wish, by)),
                    _ => None,
                })
                .collect();
            if !core::mem::replace(&mut leaving, machine.phase().is_leaving()) {
                // What was asked before a request got nothing, and is another wish.
                answers.clear();
            }
            let Some((id, number, asked)) = wish.filter(|_| !was_over) else {
                prop_assert!(granted.is_empty());
                continue;
            };
            if machine.is_over() && granted.is_empty() {
                continue;
            }
            prop_assert_eq!(granted.len(), 1);
            let (to, wish, by) = granted[0];
            prop_assert_eq!((to, wish), (id, number));
            // The number says which wish it is, not what else it says.
            let (first, most) = *answers.entry((id, wish)).or_insert((by, asked));
            prop_assert_eq!(first, by, "{} of {}", wish, id);
            prop_assert!(by <= most);
            for one in machine.status().participants {
                prop_assert!(one.grants().len() <= 2 * crate::vocab::Grant::MOST);
            }
        }
    }

    #[test]
    fn inv_2_time_alone_ends_it_by_the_deadline(
        plan in plan(),
        script in vec((step(), input()), 0..40),
    ) {
        let (mut machine, _) = drive(plan, script);
        if machine.phase().is_leaving() && !machine.is_over() {
            let deadline = machine.status().deadline.expect("it is leaving");
            machine.handle(deadline, Input::Wake);
            prop_assert!(machine.is_over());
        }
    }

    #[test]
    fn inv_2_no_deadline_is_later_than_the_plan_has_it(
        plan in plan(),
        script in vec((step(), input()), 0..40),
    ) {
        let (machine, _) = drive(plan.clone(), script);
        let status = machine.status();
        if let (Some(from), Some(deadline)) = (status.requested_at, status.deadline) {
            prop_assert!(deadline.saturating_sub(from) <= plan.deadline());
            let drain_end = status.drain_end.expect("there is one with a deadline");
            prop_assert!(drain_end.saturating_sub(from) <= plan.drain_end());
            prop_assert!(drain_end <= deadline);
        }
        let shorter = machine.plan();
        prop_assert!(shorter.grace() <= plan.grace() && shorter.grace() >= Plan::LEAST_GRACE.min(plan.grace()));
        prop_assert!(shorter.window().ceiling <= plan.window().ceiling);
        prop_assert!(shorter.window().ceiling <= shorter.drain_end());
        prop_assert!(shorter.window().floor <= shorter.window().ceiling);
    }

    #[test]
    fn inv_11_reports_add_up_and_can_be_read(
        plan in plan(),
        script in vec((step(), input()), 0..60),
    ) {
        let (machine, _) = drive(plan, script);
        let report = machine.report();
        prop_assert!(report.phases.is_sorted_by_key(|one| (one.phase, one.at)));
        let total: Duration = report.phases.iter().map(|one| one.took).sum();
        prop_assert_eq!(total, report.ended_at);
        for (before, after) in report.phases.iter().zip(&report.phases[1..]) {
            prop_assert_eq!(before.at + before.took, after.at);
        }
        let json: serde_json::Value =
            serde_json::from_str(&report.to_json()).expect("a report is JSON");
        prop_assert_eq!(&json["schema"], "lameduck.shutdown/1");
        prop_assert_eq!(&json["outcome"], report.outcome.as_str());
        let phases = json["phases"].as_array().map(Vec::len);
        prop_assert_eq!(phases, Some(report.phases.len()));
        let names: Vec<_> = json["participants"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["name"].as_str().expect("a name").to_owned())
            .collect();
        let wanted: Vec<_> = report.participants.iter().map(|one| one.name.clone()).collect();
        prop_assert_eq!(names, wanted);
        if report.outcome == Outcome::Drained {
            prop_assert!(report.stragglers.is_empty());
        }
    }
}

#[test]
fn inv_11_what_does_not_fit_is_counted() {
    let mut machine = Machine::new(Plan::preset(Preset::Local));
    for number in 0..1_000_u32 {
        machine.handle(Duration::ZERO, Input::Note(number.to_string()));
    }
    let report = machine.report();
    assert_eq!(report.events.len(), crate::vocab::Report::NOTES);
    assert_eq!(report.dropped, [("events", 744)]);
}
