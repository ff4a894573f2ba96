//! Tests of [`super`].

use std::sync::Barrier;
use std::thread;

use super::*;

fn shards(requests: &Requests) -> (usize, usize) {
    let shards = requests.registry.lock();
    (shards.all.len(), shards.ownerless.len())
}

#[test]
fn threads_add_up() {
    let requests = Requests::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| requests.count_one()));
        }
    });
    requests.clone().count_one();
    assert_eq!(requests.total(), 4_001);
}

#[test]
fn instances_do_not_mix() {
    let all: Vec<Requests> = (0..10).map(|_| Requests::new()).collect();
    for _ in 0..3 {
        for (times, requests) in all.iter().enumerate() {
            (0..times).for_each(|_| requests.count_one());
        }
    }
    for (times, requests) in all.iter().enumerate() {
        assert_eq!(requests.total(), 3 * times as u64);
    }
}

#[test]
fn a_thread_that_ended_leaves_its_sum_and_its_shard() {
    let requests = Requests::new();
    for ended in 1..=50 {
        let counting = requests.clone();
        thread::spawn(move || counting.count_one())
            .join()
            .expect("counting does not panic");
        assert_eq!(requests.total(), ended);
    }
    assert_eq!(shards(&requests), (1, 1));
}

#[test]
fn claims_on_instances_that_are_gone_are_swept() {
    thread::spawn(|| {
        for _ in 0..1_000 {
            Requests::new().count_one();
        }
        let left = CLAIMS.with(|claims| claims.0.borrow().len());
        assert!(left <= 1, "{left} claims on instances that are gone");
    })
    .join()
    .expect("counting does not panic");
}

#[test]
fn shards_are_handed_on_at_zero() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..2_000 {
        let requests = Requests::new();
        requests.count_one();
        assert_eq!(requests.total(), 1);
        seen.insert(std::ptr::from_ref(requests.registry.lock().all[0]));
    }
    assert!(
        seen.len() < 1_000,
        "{} shards for one at a time",
        seen.len()
    );
}

#[test]
fn invariant_11_threads_past_the_bound_share_and_lose_nothing() {
    let requests = Requests::new();
    const THREADS: usize = MAX_SHARDS + 8;
    let together = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn_scoped(scope, || {
                    requests.count_one();
                    together.wait();
                    (0..9).for_each(|_| requests.count_one());
                })
                .expect("a thread");
        }
    });
    assert_eq!(requests.total(), 10 * THREADS as u64);
    assert_eq!(requests.registry.shared.load(Relaxed), 10 * 8);
    assert_eq!(shards(&requests).0, MAX_SHARDS);
}

#[test]
fn counting_while_the_thread_is_torn_down_still_counts() {
    struct AtTheEnd(Requests);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            self.0.count_one();
        }
    }
    thread_local!(static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) });

    let requests = Requests::new();
    let (before, after) = (requests.clone(), requests.clone());
    // Both orders of registration, so that in one of them the claims are destroyed first.
    thread::spawn(move || {
        LAST.with(|last| *last.borrow_mut() = Some(AtTheEnd(before.clone())));
        before.count_one();
    })
    .join()
    .expect("the end of a thread does not panic");
    thread::spawn(move || {
        after.count_one();
        LAST.with(|last| *last.borrow_mut() = Some(AtTheEnd(after.clone())));
    })
    .join()
    .expect("the end of a thread does not panic");
    assert_eq!(requests.total(), 4);
}
