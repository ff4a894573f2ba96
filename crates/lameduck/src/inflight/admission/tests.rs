//! Tests of [`super`]; what threads may do to each other is in `loom_tests`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// An admission whose notifier counts the calls that found it drained.
fn observed() -> (Arc<Admission>, Arc<AtomicUsize>) {
    let admission = Arc::new(Admission::new());
    let calls = Arc::new(AtomicUsize::new(0));
    let (seen, weak) = (Arc::clone(&calls), Arc::downgrade(&admission));
    admission.notify_with(Arc::new(move || {
        if weak
            .upgrade()
            .is_some_and(|admission| admission.is_drained())
        {
            seen.fetch_add(1, SeqCst);
        }
    }));
    (admission, calls)
}

fn assert_send_sync_static<T: Send + Sync + 'static>() {}

#[test]
fn a_pass_can_be_moved_anywhere() {
    assert_send_sync_static::<Pass>();
    assert_send_sync_static::<Admission>();
}

#[test]
fn an_empty_admission_is_drained_by_closing() {
    let (admission, calls) = observed();
    assert!(!admission.is_drained(), "open is never drained");
    admission.close();
    assert!(admission.is_drained());
    assert_eq!(calls.load(SeqCst), 1);
}

#[test]
fn leavers_call_nobody_while_the_gate_is_open() {
    let (admission, calls) = observed();
    drop(admission.enter().expect("open"));
    assert_eq!((admission.count(), calls.load(SeqCst)), (0, 0));
}

/// Invariant 5: a guard taken before its gate closed is waited for.
#[test]
fn invariant_5_a_pass_taken_before_the_close_is_waited_for() {
    let (admission, calls) = observed();
    let pass = admission.enter().expect("open");
    admission.close();
    assert_eq!(admission.enter().err(), Some(Closed));
    assert_eq!((admission.count(), calls.load(SeqCst)), (1, 0));
    // A refusal undoes itself as a leaver would; it must not be taken for the last one.
    thread::spawn(move || drop(pass))
        .join()
        .expect("a leaver does not panic");
    assert!(admission.is_drained());
    assert_eq!(calls.load(SeqCst), 1);
}

#[test]
fn a_clone_is_waited_for_also_after_the_close() {
    let (admission, calls) = observed();
    let pass = admission.enter().expect("open");
    admission.close();
    let continued = pass.clone();
    drop(pass);
    assert_eq!(
        (
            admission.is_drained(),
            admission.count(),
            calls.load(SeqCst)
        ),
        (false, 1, 0)
    );
    drop(continued);
    assert_eq!((admission.is_drained(), calls.load(SeqCst)), (true, 1));
}

#[test]
fn unwinding_is_leaving() {
    let admission = Admission::new();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _pass = admission.enter().expect("open");
        panic!("a handler panicked");
    }));
    assert!(unwound.is_err());
    assert_eq!(admission.count(), 0);
}

#[test]
fn a_notifier_that_comes_late_is_called_at_once() {
    let admission = Admission::new();
    admission.close();
    let (sender, receiver) = mpsc::channel();
    admission.notify_with(Arc::new(move || {
        sender.send(()).expect("the test still listens")
    }));
    assert_eq!(receiver.try_recv(), Ok(()));
}

#[test]
fn a_pass_may_outlive_its_admission() {
    let admission = Admission::new();
    let pass = admission.enter().expect("open");
    let block: *const Block = pass.block;
    drop(admission);
    // The block is still in use, so the next ones get others.
    let others: Vec<Admission> = (0..4).map(|_| Admission::new()).collect();
    assert!(
        others
            .iter()
            .all(|other| !std::ptr::eq(other.block, block) && other.count() == 0)
    );
    drop(pass);
}

/// Other tests of this process take from the pool as well, so the bound is theirs too: far below one block an admission.
#[test]
fn blocks_are_handed_on() {
    let mut seen = std::collections::HashSet::new();
    for round in 0..2_000 {
        let admission = Admission::new();
        assert!(
            !admission.is_closed() && admission.count() == 0,
            "a block comes back as new"
        );
        seen.insert(std::ptr::from_ref(admission.block));
        let pass = admission.enter().expect("open");
        // Alternately the last pass and the admission itself return the block.
        if round % 2 == 0 {
            drop(admission);
            drop(pass);
        } else {
            drop(pass);
            drop(admission);
        }
    }
    assert!(
        seen.len() < 500,
        "{} blocks for one admission at a time",
        seen.len()
    );
}

/// Invariant 4: drained implies the final scan of zeros, whatever other threads do meanwhile.
#[test]
fn invariant_4_drained_is_final_under_load() {
    for _ in 0..50 {
        let admission = Arc::new(Admission::new());
        let (wake, woken) = mpsc::channel();
        admission.notify_with(Arc::new(move || _ = wake.send(())));
        let inside = Arc::new(AtomicUsize::new(0));
        let closed_seen = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let (admission, inside, closed_seen) = (
                    Arc::clone(&admission),
                    Arc::clone(&inside),
                    Arc::clone(&closed_seen),
                );
                thread::spawn(move || {
                    let mut entered = 0_u64;
                    while let Ok(pass) = admission.enter() {
                        inside.fetch_add(1, SeqCst);
                        let moved = pass.clone();
                        drop(pass);
                        inside.fetch_sub(1, SeqCst);
                        drop(moved);
                        entered += 1;
                    }
                    closed_seen.store(true, SeqCst);
                    // Refusals go on hammering the shards while the closer scans.
                    for _ in 0..1_000 {
                        assert!(admission.enter().is_err());
                    }
                    entered
                })
            })
            .collect();
        thread::yield_now();
        admission.close();
        while !admission.is_drained() {
            woken
                .recv_timeout(Duration::from_secs(30))
                .expect("a wake-up was lost");
        }
        assert_eq!(inside.load(SeqCst), 0, "drained while somebody was inside");
        for worker in workers {
            worker.join().expect("a worker does not panic");
        }
        assert!(closed_seen.load(SeqCst) && admission.is_drained());
        assert_eq!(admission.count(), 0);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enter,
    Clone(usize),
    Leave(usize),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Enter),
        2 => any::<usize>().prop_map(Step::Clone),
        4 => any::<usize>().prop_map(Step::Leave),
        1 => Just(Step::Close),
    ]
}

proptest! {
    /// Whatever the order of operations, the count is that of a plain model.
    #[test]
    fn counts_like_a_list(steps in proptest::collection::vec(step(), 0..60)) {
        let (admission, calls) = observed();
        let mut inside = Vec::new();
        let mut closed = false;
        for step in steps {
            match step {
                Step::Enter => match admission.enter() {
                    Ok(pass) => { prop_assert!(!closed); inside.push(pass); }
                    Err(Closed) => prop_assert!(closed),
                },
                Step::Clone(i) if !inside.is_empty() => {
                    let copy = inside[i % inside.len()].clone();
                    inside.push(copy);
                }
                Step::Leave(i) if !inside.is_empty() => drop(inside.swap_remove(i % inside.len())),
                Step::Clone(_) | Step::Leave(_) => {}
                Step::Close => { admission.close(); closed = true; }
            }
            prop_assert_eq!(admission.count(), inside.len());
            prop_assert_eq!(admission.is_drained(), closed && inside.is_empty());
            if admission.is_drained() {
                prop_assert!(calls.load(SeqCst) > 0);
            }
        }
    }
}
