//! Models of admission, token and cancellation, checked by loom over their interleavings; the slots' are beside their sequence lock.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test -p lameduck --no-default-features --release --lib inflight`. Under loom every
//! sharded type has two shards, and a thread says which one is its own. loom takes `SeqCst` accesses for `AcqRel`, so the seam puts
//! fences where the total order is needed (`sync::seq_cst_point`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use loom::thread;

use super::shard::set_shard_index;
use super::{Admission, Afterwards, Canceller, Token};
use crate::vocab::Scope;

/// Explores everything up to `preemptions` forced switches (more than two or three find hardly anything, and take hours).
pub(super) fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// Spawns a thread that lives on shard `index`.
fn spawn_on<T: 'static>(index: usize, body: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
    thread::spawn(move || {
        set_shard_index(index);
        body()
    })
}

/// Unparks the thread that waits.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for `future`; hangs, which loom reports, when the wake-up is lost.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(std::sync::Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

/// Invariant 4: whoever was admitted was inside before the scan, so drained means nobody is in the admitted section, ever again.
#[test]
fn invariant_4_one_scan_of_zeros_is_final() {
    model(3, || {
        let admission = Arc::new(Admission::new());
        let inside = Arc::new(AtomicUsize::new(0));
        let after_drained = Arc::new(AtomicBool::new(false));
        let enterers: Vec<_> = (0..2)
            .map(|index| {
                let (admission, inside, after) =
                    (admission.clone(), inside.clone(), after_drained.clone());
                spawn_on(index, move || {
                    if let Ok(pass) = admission.enter() {
                        inside.fetch_add(1, SeqCst);
                        assert!(!after.load(SeqCst), "admitted after drained");
                        inside.fetch_sub(1, SeqCst);
                        drop(pass);
                    }
                })
            })
            .collect();
        admission.close();
        if admission.is_drained() {
            after_drained.store(true, SeqCst);
            assert_eq!(inside.load(SeqCst), 0, "drained while somebody is inside");
        }
        enterers
            .into_iter()
            .for_each(|enterer| enterer.join().expect("enterer"));
        assert!(admission.is_drained());
    });
}

/// A pass goes to another thread as a clone: the scan must not fall between the two.
#[test]
fn a_clone_is_never_missed() {
    model(3, || {
        let admission = Arc::new(Admission::new());
        let inside = Arc::new(AtomicUsize::new(1));
        // A scan reads shard 0 first: a clone that went there from shard 1 would pass behind its back.
        set_shard_index(1);
        let pass = admission.enter().expect("open");
        let moved = {
            let inside = inside.clone();
            spawn_on(0, move || {
                let copy = pass.clone();
                drop(pass);
                inside.fetch_sub(1, SeqCst);
                drop(copy);
            })
        };
        admission.close();
        if admission.is_drained() {
            assert_eq!(inside.load(SeqCst), 0);
        }
        moved.join().expect("mover");
        assert!(admission.is_drained());
    });
}

/// Whoever is last (a leaver, a refused entry or the closer), the notifier runs after everything is at zero.
#[test]
fn the_last_wake_up_is_not_lost() {
    model(2, || {
        let admission = Arc::new(Admission::new());
        let told = Arc::new(AtomicBool::new(false));
        let (seen, asked) = (told.clone(), admission.clone());
        admission.notify_with(std::sync::Arc::new(move || {
            if asked.is_drained() {
                seen.store(true, SeqCst);
            }
        }));
        let pass = admission.enter().expect("open");
        let leaver = spawn_on(0, move || drop(pass));
        let late = {
            let admission = admission.clone();
            spawn_on(1, move || drop(admission.enter()))
        };
        admission.close();
        leaver.join().expect("leaver");
        late.join().expect("late");
        assert!(told.load(SeqCst), "drained, and nobody was told");
        // The notifier holds the admission: let both go.
        admission.notify_with(std::sync::Arc::new(|| {}));
    });
}

/// The notifier may be registered while the last one leaves.
#[test]
fn a_late_notifier_is_told() {
    model(3, || {
        let admission = Arc::new(Admission::new());
        let told = Arc::new(AtomicBool::new(false));
        let pass = admission.enter().expect("open");
        admission.close();
        let leaver = spawn_on(1, move || drop(pass));
        let seen = told.clone();
        admission.notify_with(std::sync::Arc::new(move || seen.store(true, SeqCst)));
        leaver.join().expect("leaver");
        assert!(told.load(SeqCst));
    });
}

/// The admission is dropped while its last passes leave: the block changes hands once.
#[test]
fn an_orphaned_block_is_handed_on_once() {
    model(3, || {
        let admission = Admission::new();
        let first = admission.enter().expect("open");
        set_shard_index(1);
        let second = admission.enter().expect("open");
        let handed_on = first.handed_on();
        let leavers = [
            spawn_on(0, move || drop(first)),
            spawn_on(1, move || drop(second)),
        ];
        drop(admission);
        leavers
            .into_iter()
            .for_each(|leaver| leaver.join().expect("leaver"));
        assert_eq!(handed_on(), 1);
    });
}

#[test]
fn a_moment_wakes_whoever_waits() {
    model(3, || {
        let token = Token::new();
        let waiters: Vec<_> = (0..2)
            .map(|index| {
                let fired = token.fired();
                spawn_on(index, move || block_on(fired))
            })
            .collect();
        token.fire();
        waiters
            .into_iter()
            .for_each(|waiter| waiter.join().expect("waiter"));
    });
}

#[test]
fn a_waiter_may_leave_while_the_moment_comes() {
    model(3, || {
        let token = Token::new();
        let (mut leaving, staying) = (token.fired(), token.fired());
        let waiter = spawn_on(0, move || {
            _ = Pin::new(&mut leaving).poll(&mut Context::from_waker(Waker::noop()));
            drop(leaving);
            block_on(staying);
        });
        token.fire();
        waiter.join().expect("waiter");
    });
}

/// A second poll with another waker, on another thread than the first: only the second one counts.
#[test]
fn a_replaced_waker_is_the_one_that_is_woken() {
    model(3, || {
        let token = Token::new();
        let mut fired = token.fired();
        _ = Pin::new(&mut fired).poll(&mut Context::from_waker(Waker::noop()));
        let waiter = spawn_on(1, move || block_on(fired));
        token.fire();
        waiter.join().expect("waiter");
    });
}

/// One waits before the others, and the others are woken on another thread than the one that fires.
#[test]
fn a_moment_may_be_handed_on() {
    model(2, || {
        let token = Token::new();
        let (before, behind) = (token.fired().first(), token.fired());
        let waiter = spawn_on(0, move || {
            block_on(before);
            block_on(behind);
        });
        if let Some(others) = token.fire_first() {
            thread::spawn(move || drop(others)).join().expect("woken");
        }
        waiter.join().expect("waiter");
    });
}

#[test]
fn two_may_fire() {
    model(3, || {
        let token = Token::new();
        let fired = token.fired();
        let waiter = spawn_on(0, move || block_on(fired));
        let other = {
            let token = token.clone();
            thread::spawn(move || token.fire())
        };
        token.fire();
        other.join().expect("the other");
        waiter.join().expect("waiter");
    });
}

/// Hooks that run exactly once: whoever was accepted comes out of one of the two ends that race, and nobody twice.
#[test]
fn what_was_accepted_before_the_end_comes_out_of_it_once() {
    model(3, || {
        let afterwards = Arc::new(Afterwards::bounded(2));
        let adding = [1, 2].map(|hook| {
            let afterwards = afterwards.clone();
            thread::spawn(move || afterwards.push(hook).is_ok().then_some(hook))
        });
        let first = afterwards.close();
        let second = afterwards.close();
        assert!(second.is_empty(), "an end is one");
        let mut accepted: Vec<i32> = adding
            .into_iter()
            .filter_map(|thread| thread.join().expect("it adds"))
            .collect();
        let mut out = first;
        accepted.sort_unstable();
        out.sort_unstable();
        assert_eq!(out, accepted);
    });
}

/// Two ends at the same time, as when a drain's end and a client's meet.
#[test]
fn of_two_ends_one_has_everything() {
    model(3, || {
        let afterwards = Arc::new(Afterwards::bounded(2));
        afterwards.push(1).expect("room");
        let other = afterwards.clone();
        let other = thread::spawn(move || other.close());
        let mut out = afterwards.close();
        out.extend(other.join().expect("it ends"));
        assert_eq!(out, [1]);
    });
}

/// A child is made, and waited for, while its parent is cancelled: nothing had to be registered before.
#[test]
fn a_child_that_is_made_meanwhile_is_cancelled_all_the_same() {
    model(3, || {
        let parent = Canceller::new("parent");
        let above = parent.cancellation().clone();
        let waiter = spawn_on(0, move || {
            let child = above.child("child");
            block_on(child.cancelled())
        });
        assert!(parent.cancel("now"));
        let cancelled = waiter.join().expect("waiter");
        assert_eq!(cancelled.scope(), &Scope::Part("parent"));
    });
}

/// Both are cancelled at the same time: whoever waits is woken, and there is one reason, for everybody and for good.
#[test]
fn of_two_reasons_a_child_has_one() {
    model(2, || {
        let parent = Canceller::new("parent");
        let child = Arc::new(parent.child("child"));
        let seen = child.cancellation().clone();
        let waiter = spawn_on(0, move || block_on(seen.cancelled()));
        let itself = {
            let child = child.clone();
            thread::spawn(move || child.cancel("by itself"))
        };
        assert!(parent.cancel("from above"));
        let by_itself = itself.join().expect("it cancels");
        let cancelled = waiter.join().expect("waiter");
        let scope = if by_itself { "child" } else { "parent" };
        assert_eq!(cancelled.scope(), &Scope::Part(scope));
        assert_eq!(child.cancelled_by(), Some(cancelled));
    });
}

/// A waiter of a child leaves while the parent is cancelled: it gives back a place on each step, spent or not.
#[test]
fn a_waiter_may_leave_every_step_while_one_is_cancelled() {
    model(3, || {
        let parent = Canceller::new("parent");
        let child = parent.child("child");
        let (mut leaving, staying) = (child.cancelled(), child.cancelled());
        let waiter = spawn_on(0, move || {
            _ = Pin::new(&mut leaving).poll(&mut Context::from_waker(Waker::noop()));
            drop(leaving);
            block_on(staying);
            drop(child);
        });
        parent.cancel("now");
        waiter.join().expect("waiter");
    });
}
