//! Tests of [`super`]; what threads may do to each other is in `loom_tests`.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::bell::Bell;
use super::*;

fn poll(waiting: &mut WhenCancelled, bell: &Arc<Bell>) -> Poll<Cancelled> {
    let waker = Waker::from(Arc::clone(bell));
    Pin::new(waiting).poll(&mut Context::from_waker(&waker))
}

fn said(cancelled: Option<Cancelled>) -> String {
    cancelled.map_or_else(|| "not".to_owned(), |cancelled| cancelled.to_string())
}

#[test]
fn a_child_is_cancelled_with_its_parent_and_says_by_whom() {
    let service = Canceller::wide(Scope::Lifecycle);
    let db = service.scoped(Scope::Participant("db".into()));
    let job = db.child("job");
    let bell = Arc::new(Bell::default());
    let mut waiting = job.cancelled();
    assert_eq!(poll(&mut waiting, &bell), Poll::Pending);
    assert_eq!(job.cancelled_by(), None);
    let cause = Cause::Api {
        why: "deploy".into(),
    };
    assert!(service.cancel_because(Why::DrainEnded, Some(cause.clone())));
    assert_eq!(bell.rung(), 1);
    let Poll::Ready(cancelled) = poll(&mut waiting, &bell) else {
        panic!("it was cancelled");
    };
    assert_eq!(cancelled.scope(), &Scope::Lifecycle);
    assert_eq!(cancelled.why(), &Why::DrainEnded);
    assert_eq!(cancelled.cause(), Some(&cause));
    for one in [&service, &db, &job] {
        assert!(one.is_cancelled());
        assert_eq!(one.cancelled_by(), Some(cancelled.clone()));
    }
    assert!(!db.cancel("again"), "it is over");
    assert_eq!(poll(&mut waiting, &bell), Poll::Ready(cancelled.clone()));
    assert_eq!(
        poll(&mut db.child("later").cancelled(), &bell),
        Poll::Ready(cancelled)
    );
}

#[test]
fn a_parent_and_its_other_children_go_on() {
    let service = Canceller::new("service");
    let [one, other] = ["one", "other"].map(|name| service.child(name));
    let bells = [(); 2].map(|()| Arc::new(Bell::default()));
    let mut waiting = [one.cancelled(), other.cancelled()];
    for (waiting, bell) in waiting.iter_mut().zip(&bells) {
        assert_eq!(poll(waiting, bell), Poll::Pending);
    }
    assert!(one.cancel("not needed"));
    assert_eq!((bells[0].rung(), bells[1].rung()), (1, 0));
    assert!(!service.is_cancelled() && !other.is_cancelled());
    // What belonged to it is over, also for who asks later.
    let within = one.child("within");
    assert_eq!(said(within.cancelled_by()), "one was cancelled: not needed");
}

#[test]
fn the_first_reason_stays_the_reason() {
    let service = Canceller::new("service");
    let request = service.child("request");
    let within = request.child("within");
    assert!(service.cancel("first"));
    // Seen through `within` only: `request` is asked for the first time afterwards.
    assert_eq!(said(within.cancelled_by()), "service was cancelled: first");
    assert!(!request.cancel("second"));
    assert_eq!(said(request.cancelled_by()), "service was cancelled: first");

    let service = Canceller::new("service");
    let request = service.child("request");
    assert!(request.cancel("first"));
    assert!(service.cancel("second"));
    assert_eq!(said(request.cancelled_by()), "request was cancelled: first");
}

#[test]
fn who_drops_the_canceller_ends_what_it_was_for() {
    let service = Canceller::new("service");
    let request = service.child("request");
    let seen = request.cancellation().clone();
    let bell = Arc::new(Bell::default());
    let mut waiting = seen.cancelled();
    assert_eq!(poll(&mut waiting, &bell), Poll::Pending);
    drop(request);
    assert_eq!(bell.rung(), 1);
    assert_eq!(said(seen.cancelled_by()), "request is over");
    assert!(!service.is_cancelled());
}

#[test]
fn a_waiter_that_leaves_gives_its_places_back() {
    let service = Canceller::new("service");
    let request = service.child("request");
    let bell = Arc::new(Bell::default());
    for _ in 0..100 {
        let mut waiting = request.cancelled();
        assert_eq!(poll(&mut waiting, &bell), Poll::Pending);
        assert_eq!(poll(&mut waiting, &bell), Poll::Pending);
    }
    assert_eq!(Arc::strong_count(&bell), 1, "nobody keeps its waker");
    for canceller in [&service, &request] {
        let places = match &canceller.node.moment {
            Moment::Wide(token) => token.waiting(),
            Moment::Narrow(slab) => slab.waiting(),
        };
        assert_eq!(places, (0, 0), "one place, used again and again");
    }
    // Cancelled while it has places: those of other steps are given back as well.
    let mut waiting = request.cancelled();
    assert_eq!(poll(&mut waiting, &bell), Poll::Pending);
    request.cancel("enough");
    drop(waiting);
    assert_eq!(Arc::strong_count(&bell), 1);
}

#[test]
fn a_path_may_be_long_and_is_taken_down_without_a_deep_stack() {
    let root = Canceller::new("root");
    let mut path = vec![root.child("step")];
    for _ in 0..100_000 {
        path.push(path[path.len() - 1].child("step"));
    }
    let last = path[path.len() - 1].cancellation().clone();
    let bell = Arc::new(Bell::default());
    let mut waiting = path[9].cancelled();
    assert_eq!(poll(&mut waiting, &bell), Poll::Pending);
    root.cancel("far above");
    assert_eq!(bell.rung(), 1);
    assert_eq!(said(last.cancelled_by()), "root was cancelled: far above");
    drop((waiting, path));
    drop(last);
}

#[test]
fn what_was_cancelled_says_so_to_whoever_looks() {
    let job = Canceller::new("job");
    assert_eq!(
        format!("{job:?}"),
        "Canceller(Cancellation { scope: Part(\"job\"), cancelled: false })"
    );
    let cause = Cause::Api {
        why: "deploy".into(),
    };
    job.cancel_because(Why::Cut, Some(cause));
    let text = said(job.cancelled_by());
    assert!(
        text.starts_with("job was cut (the service leaves because of "),
        "{text}"
    );
}

proptest! {
    /// Any tree, cancelled in any order: each node is cancelled exactly when it or one above it was, by the first of these, and its waiter was
    /// woken if and only if it is.
    #[test]
    fn it_is_as_a_list_of_ancestors_says(
        parents in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut nodes = vec![Canceller::new("0")];
        let mut above: Vec<Vec<usize>> = vec![vec![0]];
        for parent in &parents {
            let parent = parent.index(nodes.len());
            let mut path = above[parent].clone();
            path.push(nodes.len());
            above.push(path);
            nodes.push(nodes[parent].child("node"));
        }
        let bells: Vec<_> = nodes.iter().map(|_| Arc::new(Bell::default())).collect();
        let mut waiting: Vec<_> = nodes.iter().map(|node| node.cancelled()).collect();
        for (waiting, bell) in waiting.iter_mut().zip(&bells) {
            prop_assert!(poll(waiting, bell).is_pending());
        }
        let mut first: Vec<Option<usize>> = vec![None; nodes.len()];
        for (number, index) in order.iter().enumerate() {
            let index = index.index(nodes.len());
            let fresh = first[index].is_none();
            prop_assert_eq!(nodes[index].cancel(number.to_string()), fresh);
            for (node, path) in above.iter().enumerate() {
                if fresh && path.contains(&index) && first[node].is_none() {
                    first[node] = Some(number);
                }
            }
        }
        for (index, node) in nodes.iter().enumerate() {
            prop_assert_eq!(node.is_cancelled(), first[index].is_some());
            prop_assert_eq!(bells[index].rung() > 0, first[index].is_some());
            prop_assert_eq!(poll(&mut waiting[index], &bells[index]).is_ready(), first[index].is_some());
            if let (Some(number), Some(cancelled)) = (first[index], node.cancelled_by()) {
                prop_assert_eq!(cancelled.why(), &Why::Said(number.to_string().into()));
            }
        }
    }
}
