//! Exhaustive search: every order in which a small world can do what it may do, with the invariants in every state.
//!
//! The world is three participants at most, three signals, a failure, and time: at each point the next timer may
//! fire, time may pass unnoticed, or any input that the world may give can come. `world.rs` says what that is
//! and checks each step; here are the search, the sizes, and the list of what must have been seen at least once, so
//! that a search that has become too small to prove anything fails.
//!
//! States are told apart by a 64-bit fingerprint of everything that decides: among a million of them two would share
//! one with a probability below 10⁻⁷.

mod bargain;
mod world;

use std::{
    collections::{BTreeSet, HashSet},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::Duration,
};

use world::{Act, Node, Setting, Shape};

use crate::{
    machine::{Input, Machine},
    vocab::{Phase, Plan, Preset, Repeat, Signal, Window},
};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Drain ends at 2.5 s, deadline at 3.5 s.
fn plan(window: Window, repeat: Repeat) -> Plan {
    Plan::preset(Preset::Local)
        .with_grace(ms(4_000))
        .and_then(|plan| plan.with_window(window))
        .expect("a plan that can be kept")
        .with_repeat(repeat)
}

/// A few samples of the traffic, then the end: 2 ms is the least distance of two samples.
const SHORT: Window = Window::new(ms(4), ms(2), ms(6));
/// Long enough for a second SIGTERM to count, short enough for few samples.
const LONG: Window = Window::new(ms(1_200), ms(1_000), ms(1_300));

/// A search that grows beyond this has lost its bounds.
const MOST_STATES: usize = 300_000;

/// What a search found.
#[derive(Debug, Default)]
struct Found {
    states: usize,
    steps: usize,
    seen: BTreeSet<String>,
}

/// Depth first, so that what waits to be looked at stays small.
fn search(setting: &Setting) -> Found {
    let fingerprints = BuildHasherDefault::<DefaultHasher>::default();
    let mut visited: HashSet<u64> = HashSet::new();
    let mut found = Found::default();
    // How each state was reached: the state before it, and what happened there.
    let mut trail: Vec<(usize, Act)> = vec![(0, Act::Wake)];
    let mut open = vec![(0, Node::start(setting))];
    while let Some((at, node)) = open.pop() {
        found.states += 1;
        assert!(found.states < MOST_STATES, "{setting:?} is too large");
        for act in node.acts(setting) {
            found.steps += 1;
            let mut next = node.clone();
            let mut result = next.step(act, setting, &mut found.seen);
            let is_new = visited.insert(fingerprints.hash_one(&next));
            if is_new && result.is_ok() {
                result = next.ends_in_time(setting);
            }
            if let Err(broken) = result {
                let story = story(&trail, at, act);
                panic!(
                    "{broken}\nin {setting:?}\nafter {story:?}\n{:#?}",
                    next.machine
                );
            }
            if is_new {
                trail.push((at, act));
                open.push((trail.len() - 1, next));
            }
        }
    }
    found
}

fn story(trail: &[(usize, Act)], mut at: usize, last: Act) -> Vec<Act> {
    let mut story = vec![last];
    while at != 0 {
        let (before, act) = trail[at];
        story.push(act);
        at = before;
    }
    story.reverse();
    story
}

/// Searches, prints the size, and asks that all of `seen` was seen.
fn search_all(name: &str, settings: &[Setting], seen: &[&str]) {
    let mut all = Found::default();
    for setting in settings {
        let found = search(setting);
        println!(
            "{name}: {:?}: {} states, {} steps",
            setting.shape, found.states, found.steps
        );
        all.states += found.states;
        all.steps += found.steps;
        all.seen.extend(found.seen);
    }
    println!("{name}: {} states, {} steps", all.states, all.steps);
    let missing: Vec<_> = seen
        .iter()
        .filter(|one| !all.seen.contains(**one))
        .collect();
    assert!(
        missing.is_empty(),
        "never seen: {missing:?}, seen: {:?}",
        all.seen
    );
}

fn setting(shape: Shape, plan: Plan) -> Setting {
    Setting {
        shape,
        plan,
        signals: vec![Signal::Term],
        most_signals: 0,
        most_trouble: 1,
        most_requests: 0,
        leap: ms(1_000),
        most_leaps: 0,
        hurry: None,
        late_comers: false,
        needs: None,
        most_changes: 0,
        most_wishes: 0,
        most_gifts: 0,
        most_gone: 0,
    }
}

/// INV-1, INV-2, INV-3, INV-4, INV-10: three participants that know nothing of each other, in a chain, in a fork.
#[test]
fn inv_1_inv_2_inv_4_inv_10_participants_in_any_order() {
    let settings = [Shape::Apart, Shape::Chain, Shape::Fork]
        .map(|shape| setting(shape, plan(Window::NONE, Repeat::Record)));
    let seen = [
        "exit drained",
        "exit failed",
        "exit start-failed",
        "exit forced",
        "exit cut by request",
        "participant not-started",
        "participant done",
        "participant failed",
        "participant overdue",
        "asked again",
        "hook ok",
        "hook failed",
        "hook overran",
        "hook not-run",
    ];
    search_all("participants", &settings, &seen);
}

/// INV-2, INV-3: three signals of every kind at any time.
#[test]
fn inv_2_inv_3_signals_at_any_time() {
    let settings = [Repeat::Record, Repeat::Escalate].map(|repeat| Setting {
        signals: vec![
            Signal::Quit,
            Signal::Term,
            Signal::Int,
            Signal::Hup,
            Signal::Usr1,
            Signal::Usr2,
        ],
        most_signals: 3,
        most_trouble: 0,
        ..setting(Shape::Alone, plan(LONG, repeat))
    });
    let seen = [
        "window escalated",
        "window quiet",
        "exit cut by a repeated SIGTERM",
        "exit cut by a repeated SIGINT",
        "reload",
        "dump",
        "status",
        "exit drained",
        "exit forced",
    ];
    search_all("signals", &settings, &seen);
}

/// INV-3, INV-5: requests that keep the window open, work that enrols while the request is on its way,
/// a driver that sleeps through the deadline.
#[test]
fn inv_3_inv_5_traffic_and_late_comers() {
    let alone = Setting {
        most_trouble: 0,
        most_requests: 2,
        leap: ms(4_000),
        most_leaps: 1,
        late_comers: true,
        ..setting(Shape::Alone, plan(SHORT, Repeat::Record))
    };
    let pair = Setting {
        most_requests: 1,
        late_comers: false,
        ..setting(Shape::Pair, plan(SHORT, Repeat::Record))
    };
    let settings = [alone, pair];
    let seen = [
        "window quiet",
        "window ceiling",
        "named at the end",
        "named after the end",
        "listener overdue",
        "exit drained",
        "exit forced",
    ];
    search_all("traffic", &settings, &seen);
}

/// INV-1, INV-2: a request that waits for its turn or its time, and whatever can come between.
#[test]
fn inv_1_inv_2_turns_and_what_is_taken_back() {
    let with = |window, repeat| Setting {
        signals: vec![Signal::Term, Signal::Int],
        most_trouble: 0,
        needs: Some(ms(1_000)),
        most_changes: 1,
        leap: ms(1_100),
        ..setting(Shape::Alone, plan(window, repeat))
    };
    let signals = [Repeat::Record, Repeat::Escalate].map(|repeat| Setting {
        most_signals: 2,
        ..with(Window::NONE, repeat)
    });
    let window = Setting {
        most_leaps: 1,
        ..with(SHORT, Repeat::Record)
    };
    let trouble = Setting {
        most_trouble: 1,
        most_changes: 2,
        ..with(Window::NONE, Repeat::Record)
    };
    let [record, escalate] = signals;
    let settings = [record, escalate, window, trouble];
    let seen = [
        "waits for its turn",
        "wish Leaves",
        "wish Cancelled",
        "wish Cut",
        "cancel Ok(())",
        "cancel Err(NothingWaits)",
        "cancel Err(Signalled)",
        "cancel Err(Leaving)",
        "exit drained",
        "exit failed",
        "exit forced",
        "exit cut by request",
        "exit cut by a repeated SIGINT",
    ];
    search_all("turns", &settings, &seen);
}

/// N-1, N-4, N-5: wishes, repeated and late ones too, grants of an operator, refusals, and participants that go away and
/// come back, in any order.
#[test]
fn n_1_n_4_n_5_negotiation_in_any_order() {
    let alone = Setting {
        most_wishes: 2,
        most_gifts: 1,
        most_gone: 1,
        ..setting(Shape::Alone, plan(Window::NONE, Repeat::Record))
    };
    let pair = Setting {
        most_wishes: 1,
        most_gone: 1,
        most_trouble: 0,
        ..setting(Shape::Pair, plan(Window::NONE, Repeat::Record))
    };
    let settings = [alone, pair];
    let seen = [
        "granted all",
        "granted less",
        "granted nothing",
        "given",
        "participant away",
        "participant refused",
        "participant failed",
        "participant overdue",
        "exit drained",
        "exit failed",
        "exit forced",
    ];
    search_all("negotiation", &settings, &seen);
}

/// INV-2, INV-3: somebody has less time than the plan, or more: there is one deadline, and it is never later than the plan's.
#[test]
fn inv_2_inv_3_less_time_than_the_plan_has() {
    let settings = [1_600, 2_000, 60_000].map(|hurry| Setting {
        most_requests: 1,
        hurry: Some(ms(hurry)),
        ..setting(Shape::Pair, plan(SHORT, Repeat::Record))
    });
    for one in &settings {
        let hurried = one.plan.clone().shortened(one.hurry.expect("it is set"));
        assert!(hurried.deadline() <= one.plan.deadline());
    }
    let seen = ["window quiet", "exit drained", "exit forced", "exit failed"];
    search_all("less time", &settings, &seen);
}

/// INV-2: whoever is in a hurry shortens what waits for its turn, and taking it back gives the full plan again.
#[test]
fn inv_2_a_wish_may_be_hurried() {
    let one = Setting {
        hurry: Some(ms(1_600)),
        needs: Some(ms(1_000)),
        most_changes: 2,
        ..setting(Shape::Alone, plan(SHORT, Repeat::Record))
    };
    let seen = [
        "waits for its turn",
        "wish Leaves",
        "wish Cancelled",
        "exit drained",
    ];
    search_all("hurried wish", &[one], &seen);
}

/// What the search stands on: a machine that is never told anything stays where it is.
#[test]
fn nothing_happens_by_itself_before_a_request() {
    let mut machine = Machine::new(plan(SHORT, Repeat::Record));
    machine.handle(Duration::ZERO, Input::Started);
    machine.handle(ms(3_600_000), Input::Wake);
    assert_eq!(machine.phase(), Phase::Running);
    assert_eq!(machine.poll_timeout(), None);
}
