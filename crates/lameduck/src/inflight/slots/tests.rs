//! Tests of [`super`]; the sequence lock itself is tested in `cell` and modelled in `loom_tests`.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_oldest_are_named_and_all_are_counted() {
    let slots = Slots::new();
    let held: Vec<Slot> = (0..100).map(|_| slots.claim(None)).collect();
    for (i, slot) in held.iter().enumerate().take(90) {
        // 37 is coprime to 90: every age once, in no order.
        slot.begin(
            "GET",
            &format!("/{}", i * 37 % 90),
            ms((i * 37 % 90) as u64),
        );
    }
    let snapshot = slots.snapshot(3);
    let paths: Vec<_> = snapshot
        .requests
        .iter()
        .map(|view| (view.path.as_str(), view.since))
        .collect();
    assert_eq!(paths, [("/0", ms(0)), ("/1", ms(1)), ("/2", ms(2))]);
    assert_eq!((snapshot.busy, snapshot.idle, snapshot.torn), (90, 10, 0));
    assert_eq!(slots.snapshot(0).requests, []);
    drop(held);
    assert_eq!(slots.snapshot(3), Snapshot::default());
}

#[test]
fn a_given_back_slot_is_used_again_and_remembers_nothing() {
    let slots = Slots::new();
    for _ in 0..1_000 {
        let slot = slots.claim(None);
        assert_eq!(slots.snapshot(1).idle, 1);
        slot.begin("GET", "/", ms(1));
    }
    assert_eq!(slots.table.high_water.load(Relaxed), 1);
}

#[test]
fn chunks_cover_every_index_once() {
    let mut expected = 0;
    for number in 0..CHUNKS {
        let size = FIRST_CHUNK << number;
        for (index, offset) in [(expected, 0), (expected + size - 1, size - 1)] {
            assert_eq!(locate(index), (number, offset));
        }
        expected += size;
    }
    assert_eq!(expected, Slots::MAX);
}

#[test]
fn invariant_11_connections_past_the_bound_are_counted() {
    let slots = Slots::new();
    // As if all were held, without their 128 MiB.
    slots.table.high_water.store(Slots::MAX, Relaxed);
    let unnamed = slots.claim(None);
    unnamed.begin("GET", "/", ms(1));
    unnamed.idle();
    assert_eq!(slots.dropped(), 1);
    drop(unnamed);
    assert!(lock(&slots.table.free).is_empty());
}

#[test]
fn a_slot_outlives_its_table_handle() {
    let slot = {
        let slots = Slots::new();
        slots.claim(None)
    };
    slot.begin("GET", "/", ms(1));
    slot.idle();
}

/// Writers change all fields together; a reader must never see a mixture, while connections come and go.
#[test]
fn snapshots_are_never_mixtures() {
    let slots = Slots::new();
    let done = AtomicBool::new(false);
    let write = &|writer: u16| {
        for round in 0.. {
            let port = 1 + writer + 2 * (round % 1_000);
            let slot = slots.claim(Some(([192, 0, 2, 1], port).into()));
            for request in 0..10_u64 {
                let micros = u64::from(port) * 100 + request;
                let digits = format!("{micros:08}");
                slot.begin(
                    &digits,
                    &format!("/{}", digits.repeat(7)),
                    Duration::from_micros(micros),
                );
            }
            if done.load(Relaxed) {
                return;
            }
        }
    };
    thread::scope(|scope| {
        (0..2).for_each(|writer| _ = scope.spawn(move || write(writer)));
        scope.spawn(|| {
            let _done = SetOnDrop(&done);
            let mut named = 0;
            while named < 2_000 {
                for view in slots.snapshot(8).requests {
                    named += 1;
                    assert_eq!(view.path, format!("/{}", view.method.repeat(7)));
                    let micros: u128 = view.method.parse().expect("eight digits");
                    assert_eq!(view.since.as_micros(), micros);
                    let port = view.peer.expect("all have one").port();
                    assert_eq!(micros / 100, u128::from(port));
                }
            }
        });
    });
    assert_eq!((slots.contended(), slots.dropped()), (0, 0));
    assert_eq!(slots.snapshot(8), Snapshot::default());
}

#[test]
fn a_vacated_slot_counts_for_nobody_and_is_named_again() {
    let slots = Slots::new();
    let peer = "192.0.2.7:4711".parse().ok();
    let slot = slots.claim(peer);
    slot.begin("GET", "/first", ms(1));
    slot.vacate();
    assert_eq!(slots.snapshot(8), Snapshot::default());
    // It is still its holder's.
    let other = slots.claim(None);
    slot.begin("GET", "/second", ms(2));
    let snapshot = slots.snapshot(8);
    assert_eq!((snapshot.busy, snapshot.idle), (1, 1));
    let view = &snapshot.requests[0];
    assert_eq!((view.path.as_str(), view.peer), ("/second", peer));
    drop((slot, other));
    assert_eq!(slots.snapshot(8), Snapshot::default());
}

/// Two requests on one slot (HTTP/2): either is named whole.
#[test]
fn shared_slots_name_one_request_whole() {
    let slots = Slots::new();
    let slot = slots.claim(None);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for (method, path) in [("GET", "/aaaaaaaaaaaaaaaaaaaaaaa"), ("POST", "/bbb")] {
            let (slot, done) = (&slot, &done);
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    slot.begin(method, path, ms(path.len() as u64));
                }
            });
        }
        let _done = SetOnDrop(&done);
        let mut named = 0;
        while named < 2_000 {
            for view in slots.snapshot(1).requests {
                named += 1;
                assert_eq!(view.since, ms(view.path.len() as u64));
                assert_eq!(view.method == "GET", view.path.starts_with("/a"));
            }
        }
    });
    assert_eq!(
        slots.snapshot(1).busy,
        1,
        "whoever was alone at the end got through"
    );
}

/// Lets the writers end also when the reader panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

proptest! {
    #[test]
    fn any_text_is_named_by_its_start(method in "\\PC{0,12}", path in "\\PC{0,90}") {
        let slots = Slots::new();
        let slot = slots.claim(None);
        slot.begin(&method, &path, ms(1));
        let view = slots.snapshot(1).requests.remove(0);
        let whole = path.split('?').next().expect("split yields one");
        let kept = &whole.as_bytes()[..whole.len().min(64)];
        prop_assert_eq!(view.path, String::from_utf8_lossy(kept).into_owned());
        prop_assert_eq!(view.path_is_cut, whole.len() > 64);
        let kept = &method.as_bytes()[..method.len().min(8)];
        prop_assert_eq!(view.method, String::from_utf8_lossy(kept).into_owned());
    }
}
