//! Who gets a place, who loses it, and what is counted.

use std::sync::Arc;

use super::*;
use crate::panel::Panel;
use crate::transition::State;

fn small(capacity: usize, beyond: Beyond, panel: &Arc<Panel>) -> Breakers<String> {
    let settings = Settings::new().failures_in_a_row(1).panel(panel);
    Breakers::<String>::builder("hosts", settings)
        .capacity(capacity)
        .beyond(beyond)
        .build()
        .expect("settings that fit")
}

fn fail(breaker: &Breaker) {
    breaker.acquire().expect("closed").failure();
}

#[test]
fn inv_11_keys_without_end_take_no_more_than_their_places_and_push_out_no_open_one() {
    let panel = Arc::new(Panel::default());
    let hosts = small(8, Beyond::Common, &panel);
    fail(&hosts.of("broken").expect("a place"));
    for key in 0..10_000 {
        let breaker = hosts.of(key.to_string().as_str()).expect("a place");
        breaker.acquire().expect("closed").success();
    }
    assert_eq!(hosts.len(), 8);
    assert_eq!(hosts.of("broken").expect("kept").state(), State::Open);
    let group = &panel.groups()[0];
    assert_eq!(group.figures.calls, 10_001, "nobody's calls are forgotten");
    assert_eq!(group.states.iter().sum::<u64>(), 8);
    assert_eq!(hosts.figures().without_place, 0);
    assert_eq!(hosts.figures().evicted, 10_001 - 8);
}

#[test]
fn a_key_that_finds_no_place_shares_one_or_is_not_watched_and_is_counted() {
    for (beyond, is_watched) in [(Beyond::Common, true), (Beyond::Unwatched, false)] {
        let panel = Arc::new(Panel::default());
        let hosts = small(2, beyond, &panel);
        fail(&hosts.of("a").expect("a place"));
        fail(&hosts.of("b").expect("a place"));
        let [c, d] = ["c", "d"].map(|key| hosts.of(key));
        assert_eq!(c.is_some(), is_watched);
        assert_eq!(c.map(|one| one.id()), d.map(|one| one.id()));
        assert_eq!(hosts.figures().without_place, 2);
        assert_eq!(hosts.figures().evicted, 0);
        assert_eq!(panel.breakers(64).len(), if is_watched { 3 } else { 2 });
    }
}

#[test]
fn what_somebody_holds_or_an_operator_forced_keeps_its_place() {
    let hosts = small(2, Beyond::Unwatched, &Arc::default());
    let held = hosts.of("held").expect("a place");
    hosts.of("forced").expect("a place").force_closed("stays");
    assert!(hosts.of("new").is_none());
    drop(held);
    assert!(hosts.of("new").is_some());
    let forced = hosts.of("forced").expect("kept");
    assert_eq!(forced.state(), State::ForcedClosed);
}

#[test]
fn who_is_asked_for_lately_stays_and_long_keys_are_cut_for_people_only() {
    let hosts = small(4, Beyond::Common, &Arc::default());
    let long = ["x", "y"].map(|end| format!("{}{end}", "é".repeat(200)));
    let [x, y] = long.each_ref().map(|key| hosts.of(key.as_str()));
    let (x, y) = (x.expect("a place"), y.expect("a place"));
    assert_ne!(x.id(), y.id());
    let key = x.label().key.as_deref().expect("a key");
    assert_eq!(key.chars().count(), 128);
    let (x_id, _) = (x.id(), drop((x, y)));
    for key in 0..100 {
        _ = hosts.of(key.to_string().as_str());
        _ = hosts.of(long[0].as_str());
    }
    assert_eq!(hosts.of(long[0].as_str()).expect("kept").id(), x_id);
}

#[test]
fn a_panel_forgets_what_its_program_has_dropped() {
    let panel = Arc::new(Panel::default());
    let settings = Settings::new().panel(&panel);
    let one = Breaker::new("one", settings.clone()).expect("settings that fit");
    let id = one.id();
    assert!(panel.find(id).is_some());
    drop(one);
    assert!(panel.find(id).is_none());
    let all: Vec<_> = (0..1_030)
        .map(|_| Breaker::new("many", settings.clone()).expect("settings that fit"))
        .collect();
    assert_eq!(panel.breakers(usize::MAX).len(), 1_024);
    assert_eq!(panel.left_out(), 6);
    all[7].force_open("first in the list");
    assert_eq!(panel.breakers(1)[0].id(), all[7].id());
    assert_eq!(panel.groups().len(), 1, "one name, one group");
}

#[test]
fn what_was_counted_stays_when_its_breakers_are_dropped_and_is_never_there_twice() {
    let panel = Arc::new(Panel::default());
    let settings = Settings::new().failures_in_a_row(1).panel(&panel);
    let calls = || -> u64 { panel.groups().iter().map(|one| one.figures.calls).sum() };
    for round in 1..=3 {
        let db = Breaker::new("db", settings.clone()).expect("settings that fit");
        let other = db.clone();
        db.acquire().expect("closed").success();
        drop(db);
        assert_eq!(calls(), 4 * round - 3);
        drop(other);
        let hosts = small(1, Beyond::Common, &panel);
        hosts.of("evicted").map(|one| one.run(|| Ok::<_, ()>(())));
        for key in ["stays", "shares"] {
            fail(&hosts.of(key).expect("a place or the common one"));
        }
        assert_eq!(calls(), 4 * round);
        drop(hosts);
        assert_eq!(calls(), 4 * round);
        assert_eq!(panel.groups()[1].table.evicted, round);
    }
}

#[test]
fn no_counter_goes_back_while_breakers_come_and_go() {
    let panel = Arc::new(Panel::default());
    let settings = Settings::new().panel(&panel);
    const ROUNDS: u64 = 2_000;
    std::thread::scope(|scope| {
        let works = scope.spawn(|| {
            for _ in 0..ROUNDS {
                let one = Breaker::new("one", settings.clone()).expect("settings that fit");
                one.acquire().expect("closed").success();
            }
        });
        let mut before = 0;
        while !works.is_finished() {
            let now = panel.groups().first().map_or(0, |one| one.figures.calls);
            assert!(now >= before, "{before}, then {now}");
            before = now;
        }
    });
    assert_eq!(panel.groups()[0].figures.calls, ROUNDS);
}

#[test]
fn whoever_looks_takes_no_place_from_new_keys() {
    let panel = Arc::new(Panel::default());
    let hosts = small(4, Beyond::Unwatched, &panel);
    for key in ["a", "b", "c", "d"] {
        fail(&hosts.of(key).expect("a place"));
    }
    let (open, all) = panel.look(2, |one| (one.state(), one.id()));
    assert_eq!((open.len(), all), (2, 4));
    assert!(open[0].1 < open[1].1, "{open:?}");
    // Looked at by everybody for ever, new keys find a place all the same.
    let hosts = small(4, Beyond::Unwatched, &panel);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                _ = panel.look(usize::MAX, |one| one.figures().calls);
            }
        });
        for key in 0..5_000 {
            assert!(hosts.of(key.to_string().as_str()).is_some());
        }
        stop.store(true, Ordering::Relaxed);
        looks.join().expect("no panic");
    });
    assert_eq!(hosts.figures().without_place, 0);
}
