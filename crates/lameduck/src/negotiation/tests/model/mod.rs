//! Exhaustive search: the machine with a ledger for each session, followers, and a network between them that loses,
//! repeats, delays and reorders; participants that crash and come back, connections that break, a coordinator that
//! crashes.
//!
//! `world.rs` says what may happen and checks each state; here are the search, its sizes, and what must have been seen, so
//! that a search that has become too small to prove anything fails. What is checked, by rule:
//!
//! - N-1: the final clean-up begins once, and not before every participant has ended or run out, or its connection has.
//! - N-2: it begins before the end of the drain, which is the deadline less the reserve.
//! - N-4: what is said twice, late or in another order has the effect of once, at its time, in its order.
//! - N-6, N-7: a follower always ends by its own deadline, alone or not, and that deadline only ever comes nearer than the end
//!   of the drain that it heard of first.

mod world;

use core::hash::{BuildHasher as _, BuildHasherDefault};
use std::{
    collections::{BTreeSet, HashSet},
    hash::DefaultHasher,
};

use world::{Act, Node, Setting};

/// A search that grows beyond this has lost its bounds.
const MOST_STATES: usize = 200_000;

fn search(setting: &Setting, seen: &mut BTreeSet<&'static str>) -> Result<usize, String> {
    let fingerprints = BuildHasherDefault::<DefaultHasher>::default();
    let mut visited: HashSet<u64> = HashSet::new();
    let mut trail: Vec<(usize, Option<Act>)> = vec![(0, None)];
    let mut open = vec![(0, Node::start(setting))];
    let mut states = 0;
    while let Some((at, node)) = open.pop() {
        states += 1;
        assert!(states < MOST_STATES, "{setting:?} is too large");
        for act in node.acts(setting) {
            let mut next = node.clone();
            let mut result = next.step(act, setting, seen);
            let is_new = visited.insert(fingerprints.hash_one(&next));
            if is_new && result.is_ok() {
                result = next.ends_in_time();
            }
            if let Err(broken) = result {
                let mut story = vec![act];
                let mut at = at;
                while let (before, Some(act)) = trail[at] {
                    story.push(act);
                    at = before;
                }
                story.reverse();
                return Err(format!(
                    "{broken}\nin {setting:?}\nafter {story:?}\n{next:#?}"
                ));
            }
            if is_new {
                trail.push((at, Some(act)));
                open.push((trail.len() - 1, next));
            }
        }
    }
    Ok(states)
}

fn search_all(settings: &[Setting], wanted: &[&str]) {
    let mut seen = BTreeSet::new();
    for setting in settings {
        let states = search(setting, &mut seen).unwrap_or_else(|broken| panic!("{broken}"));
        println!("{setting:?}: {states} states");
    }
    let missing: Vec<_> = wanted.iter().filter(|one| !seen.contains(**one)).collect();
    assert!(
        missing.is_empty(),
        "never seen: {missing:?}, seen: {seen:?}"
    );
}

/// One participant and every trouble that a network has.
#[test]
fn n_1_n_2_n_4_n_6_over_a_network_that_loses_repeats_and_reorders() {
    let lossy = Setting {
        most_lost: 2,
        most_repeated: 1,
        most_wishes: 1,
        ..Setting::quiet(1)
    };
    let two = Setting {
        most_lost: 2,
        most_repeated: 1,
        most_wishes: 1,
        ..Setting::quiet(2)
    };
    let wanted = [
        "lost",
        "repeated",
        "a wish came again",
        "granted",
        "stale up",
        "stale down",
        "asked again",
        "drained",
        "forced",
        "time up",
        "over",
    ];
    search_all(&[lossy, two], &wanted);
}

/// Participants that crash and come back, connections that break under them.
#[test]
fn n_1_n_2_n_8_participants_crash_and_come_back() {
    let one = Setting {
        most_crashes: 1,
        most_breaks: 1,
        most_lost: 1,
        ..Setting::quiet(1)
    };
    let two = Setting {
        most_crashes: 1,
        most_breaks: 1,
        most_lost: 1,
        comes_back: true,
        ..Setting::quiet(2)
    };
    let wanted = [
        "crashed",
        "broken",
        "back",
        "back too late",
        "drained",
        "failed",
        "alone",
    ];
    search_all(&[one, two], &wanted);
}

/// A coordinator that is gone: whoever it asked ends by itself.
#[test]
fn n_7_a_coordinator_crashes() {
    let one = Setting {
        coordinator_crashes: true,
        most_lost: 1,
        most_wishes: 1,
        ..Setting::quiet(1)
    };
    let wanted = ["coordinator crashed", "alone", "time up"];
    search_all(&[one], &wanted);
}
