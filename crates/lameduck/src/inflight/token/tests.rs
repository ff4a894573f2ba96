//! Tests of [`super`]; what threads may do to each other is in `loom_tests`.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::thread;

use proptest::prelude::*;

use super::super::bell::Bell;
use super::*;

fn poll(fired: &mut Fired, bell: &Arc<Bell>) -> Poll<()> {
    let waker = Waker::from(Arc::clone(bell));
    Pin::new(fired).poll(&mut Context::from_waker(&waker))
}

#[test]
fn everyone_who_waits_is_woken_once() {
    let token = Token::new();
    let bells: Vec<_> = (0..100).map(|_| Arc::new(Bell::default())).collect();
    let mut waiters: Vec<_> = bells.iter().map(|_| token.fired()).collect();
    for (fired, bell) in waiters.iter_mut().zip(&bells) {
        assert_eq!(poll(fired, bell), Poll::Pending);
    }
    token.fire();
    token.fire();
    assert!(bells.iter().all(|bell| bell.rung() == 1));
    for (fired, bell) in waiters.iter_mut().zip(&bells) {
        assert_eq!(poll(fired, bell), Poll::Ready(()));
        assert_eq!(poll(fired, bell), Poll::Ready(()), "ready stays ready");
    }
    assert_eq!(poll(&mut token.fired(), &bells[0]), Poll::Ready(()));
}

#[test]
fn who_asked_for_it_is_woken_before_the_others() {
    let token = Token::new();
    let (other, first) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let (mut behind, mut before) = (token.fired(), token.fired().first());
    assert_eq!(poll(&mut behind, &other), Poll::Pending);
    assert_eq!(poll(&mut before, &first), Poll::Pending);
    let others = token.fire_first().expect("it fires here");
    assert_eq!((first.rung(), other.rung()), (1, 0));
    assert_eq!(others.count(), 1);
    // The moment has come for all of them, woken or not.
    assert_eq!(poll(&mut behind, &other), Poll::Ready(()));
    assert_eq!(poll(&mut before, &first), Poll::Ready(()));
    assert!(token.fire_first().is_none());
    thread::spawn(move || drop(others)).join().expect("woken");
    assert_eq!((first.rung(), other.rung()), (1, 1));
}

#[test]
fn who_asked_to_be_first_may_leave_before() {
    let token = Token::new();
    let bell = Arc::new(Bell::default());
    let mut fired = token.fired().first();
    assert_eq!(poll(&mut fired, &bell), Poll::Pending);
    drop(fired);
    assert_eq!(token.waiting(), (0, 0));
    token.fire();
    assert_eq!(bell.rung(), 0);
}

#[test]
fn only_the_latest_waker_is_woken() {
    let (token, first, second) = (
        Token::new(),
        Arc::new(Bell::default()),
        Arc::new(Bell::default()),
    );
    let mut fired = token.fired();
    assert_eq!(poll(&mut fired, &first), Poll::Pending);
    assert_eq!(poll(&mut fired, &first), Poll::Pending);
    assert_eq!(poll(&mut fired, &second), Poll::Pending);
    assert_eq!(token.waiting(), (1, 1));
    assert_eq!(Arc::strong_count(&first), 1, "the replaced waker is gone");
    token.fire();
    assert_eq!((first.rung(), second.rung()), (0, 1));
}

#[test]
fn invariant_8_a_dropped_waiter_gives_its_place_and_its_waker_back() {
    let (token, bell) = (Token::new(), Arc::new(Bell::default()));
    // The first place is another kind than the rest: with and without somebody in it.
    for held in 0..2 {
        let staying = (0..held).map(|_| token.fired());
        let mut staying: Vec<_> = staying.collect();
        for fired in &mut staying {
            assert_eq!(poll(fired, &bell), Poll::Pending);
        }
        for _ in 0..1_000 {
            let mut fired = token.fired();
            assert_eq!(poll(&mut fired, &bell), Poll::Pending);
        }
        assert_eq!(token.waiting(), (held, 2 * held), "the place is used again");
    }
    assert_eq!(Arc::strong_count(&bell), 1);
    assert!(!token.is_fired());
    token.fire();
    assert_eq!(bell.rung(), 0);
}

#[test]
fn a_waiter_that_moved_to_another_thread_keeps_its_place() {
    let (token, bell) = (Token::new(), Arc::new(Bell::default()));
    let mut fired = token.fired();
    assert_eq!(poll(&mut fired, &bell), Poll::Pending);
    let other = Arc::clone(&bell);
    let fired = thread::spawn(move || {
        assert_eq!(poll(&mut fired, &other), Poll::Pending);
        fired
    })
    .join()
    .expect("polling does not panic");
    assert_eq!(token.waiting(), (1, 1));
    drop(fired);
    assert_eq!(token.waiting(), (0, 0));
}

#[test]
fn a_waker_that_panics_keeps_nobody_asleep() {
    struct Mine;
    impl Wake for Mine {
        fn wake(self: Arc<Self>) {
            panic!("a waker panicked");
        }
    }
    let (token, bell) = (Token::new(), Arc::new(Bell::default()));
    let mine = Waker::from(Arc::new(Mine));
    let (mut bad, mut good) = (token.fired(), token.fired());
    assert_eq!(
        Pin::new(&mut bad).poll(&mut Context::from_waker(&mine)),
        Poll::Pending
    );
    assert_eq!(poll(&mut good, &bell), Poll::Pending);
    token.fire();
    assert_eq!(bell.rung(), 1);
}

/// A waker may do anything to the token, as it is called outside the locks.
#[test]
fn a_waker_may_use_the_token() {
    struct Nested(Token);
    impl Wake for Nested {
        fn wake(self: Arc<Self>) {
            self.0.fire();
            let mut fired = self.0.fired();
            assert_eq!(poll(&mut fired, &Arc::default()), Poll::Ready(()));
        }
    }
    let token = Token::new();
    let mut fired = token.fired();
    let waker = Waker::from(Arc::new(Nested(token.clone())));
    assert_eq!(
        Pin::new(&mut fired).poll(&mut Context::from_waker(&waker)),
        Poll::Pending
    );
    token.fire();
    assert!(token.is_fired());
}

#[test]
fn what_was_written_before_is_visible_to_those_who_see_it() {
    for _ in 0..200 {
        let (token, word) = (Token::new(), Arc::new(AtomicUsize::new(0)));
        let (seen, written) = (token.clone(), Arc::clone(&word));
        let reader = thread::spawn(move || {
            while !seen.is_fired() {
                thread::yield_now();
            }
            written.load(std::sync::atomic::Ordering::Relaxed)
        });
        word.store(7, std::sync::atomic::Ordering::Relaxed);
        token.fire();
        assert_eq!(reader.join().expect("the reader ends"), 7);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Poll(usize, usize),
    Replace(usize),
    Fire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_usize, 0..3_usize).prop_map(|(waiter, bell)| Step::Poll(waiter, bell)),
        4 => (0..4_usize).prop_map(Step::Replace),
        1 => Just(Step::Fire),
    ]
}

proptest! {
    /// Polls, drops and the moment in any order: as a list of waiters would behave.
    #[test]
    fn behaves_like_a_list(steps in proptest::collection::vec(step(), 0..60)) {
        let token = Token::new();
        let bells: [Arc<Bell>; 3] = Default::default();
        let mut waiters: Vec<(Fired, Option<usize>)> = (0..4).map(|_| (token.fired(), None)).collect();
        let mut expected = [0; 3];
        let mut over = false;
        for step in steps {
            match step {
                Step::Poll(waiter, bell) => {
                    let (fired, registered) = &mut waiters[waiter];
                    prop_assert_eq!(poll(fired, &bells[bell]).is_ready(), over);
                    if !over {
                        *registered = Some(bell);
                    }
                }
                Step::Replace(waiter) => waiters[waiter] = (token.fired(), None),
                Step::Fire => {
                    token.fire();
                    if !over {
                        waiters.iter().filter_map(|(_, bell)| *bell).for_each(|bell| expected[bell] += 1);
                    }
                    over = true;
                }
            }
            let waiting = waiters.iter().filter(|(_, bell)| bell.is_some()).count();
            prop_assert_eq!(token.waiting().0, if over { 0 } else { waiting });
            prop_assert_eq!(bells.each_ref().map(|bell| bell.rung()), expected);
        }
    }
}
