//! What every carrier of a group owes, as tests of any of them. It knows none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lameduck::group::{Carrier, Group, HandedOver, Identity, NotTaken, Slot, Turn};
use tokio::task::JoinSet;

/// Far beyond what any wait here takes; a wait that reaches it has failed.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// Long enough to be seen waiting, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

/// A member of this name, which is in the group when this returns.
pub(crate) async fn member(carrier: &Arc<dyn Carrier>, name: &str, zone: &str) -> Group {
    let who = Identity::new(name)
        .expect("a name")
        .in_zone(zone)
        .expect("a zone");
    let group = Group::join_by(Arc::clone(carrier), who);
    within(name, group.joined()).await;
    group
}

pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come within {BOUND:?}"))
}

pub(crate) async fn slot(group: &Group) -> Slot {
    match group.turn(BOUND).await {
        Turn::Granted(slot) => slot,
        late => panic!("{}: {late}", group.who().id()),
    }
}

/// Asks, and returns when the member is seen to wait: others that ask after this are behind it.
pub(crate) async fn asks(group: &Group) -> tokio::task::JoinHandle<Slot> {
    let waiting = group.clone();
    let asking = tokio::spawn(async move { slot(&waiting).await });
    within("its place", group.waiting()).await;
    asking
}

/// With rules "1": in the order in which they asked, and one at a time.
pub(crate) async fn slots_go_round_in_order(carrier: Arc<dyn Carrier>) {
    let [a, b, c] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
        member(&carrier, "c", "").await,
    ];
    let first = within("the only wish", slot(&a)).await;
    let second = asks(&b).await;
    let third = asks(&c).await;
    drop(first);
    let second = within("the second", second).await.expect("it runs");
    assert!(!third.is_finished(), "one at a time");
    // By leaving, as at the end of a process.
    second.give_back().await;
    let _slot = within("the third", third).await.expect("it runs");
    drop((a, b));
}

/// With rules "1": whose time is over leaves alone, and is counted as gone until it is.
pub(crate) async fn who_runs_out_leaves_alone_and_counts(carrier: Arc<dyn Carrier>) {
    let [a, b, c] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
        member(&carrier, "c", "").await,
    ];
    let held = within("the only wish", slot(&a)).await;
    let late = within("the end of its time", b.turn(SHORT)).await;
    assert!(matches!(late, Turn::RanOut { ahead: Some(0) }), "{late:?}");
    // Answered by the group, so that what b said before is known before the slot is free.
    within("the end of its time", b.hand_over(["p".to_owned()], SHORT)).await;
    drop(held);
    let none = within("the end of its time", c.turn(SHORT)).await;
    assert!(matches!(none, Turn::RanOut { .. }), "b is gone: {none:?}");
    c.serves();
    b.leave().await;
    let _slot = within("what b took", slot(&c)).await;
}

/// With rules "1": of two wishes of one member the longer waits on when the time of the shorter is over.
pub(crate) async fn the_longer_wish_waits_on(carrier: Arc<dyn Carrier>) {
    let [a, b] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
    ];
    let held = within("the only wish", slot(&a)).await;
    let longer = asks(&b).await;
    let late = within("the end of its time", b.turn(SHORT)).await;
    assert!(matches!(late, Turn::RanOut { ahead: Some(0) }), "{late:?}");
    drop(held);
    let held = within("its turn", longer).await.expect("it runs");
    drop(held);
    // Nothing is left of either wish.
    let _slot = within("what b gave back", slot(&a)).await;
}

/// With rules "1": a wish that is dropped holds up nobody.
pub(crate) async fn a_wish_that_is_dropped_is_none(carrier: Arc<dyn Carrier>) {
    let [a, b, c] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
        member(&carrier, "c", "").await,
    ];
    let held = within("the only wish", slot(&a)).await;
    let dropped = asks(&b).await;
    let waits = asks(&c).await;
    dropped.abort();
    drop(held);
    let held = within("who asked later", waits).await.expect("it runs");
    // And it may ask again, from the end.
    let again = asks(&b).await;
    drop(held);
    let _slot = within("its second wish", again).await.expect("it runs");
}

/// With rules "1": the slot of a member that died is free when its lease is over.
pub(crate) async fn a_dead_members_slot_is_free(carrier: Arc<dyn Carrier>) {
    let b = member(&carrier, "b", "").await;
    let theirs = Arc::clone(&carrier);
    let (lent, has_it) = tokio::sync::oneshot::channel();
    let (die, dies) = std::sync::mpsc::channel::<()>();
    let dead = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let held = runtime.block_on(async {
            let a = member(&theirs, "a", "").await;
            slot(&a).await
        });
        lent.send(()).expect("the test waits");
        let _ = dies.recv();
        // Nothing of it runs any longer, and nothing is given back.
        std::mem::forget(held);
        runtime.shutdown_background();
    });
    within("the slot", has_it).await.expect("it was lent");
    let waits = asks(&b).await;
    assert!(!waits.is_finished());
    drop(die);
    let _slot = within("the dead one's slot", waits).await.expect("it runs");
    dead.join().expect("it ended");
}

/// With rules "1 in each zone".
pub(crate) async fn zones_do_not_wait_for_each_other(carrier: Arc<dyn Carrier>) {
    let a = member(&carrier, "a", "x").await;
    let b = member(&carrier, "b", "x").await;
    let c = member(&carrier, "c", "y").await;
    let held = within("the first of x", slot(&a)).await;
    let waits = asks(&b).await;
    let _slot = within("the first of y", slot(&c)).await;
    assert!(!waits.is_finished());
    drop(held);
    let _slot = within("the second of x", waits).await.expect("it runs");
}

/// With rules "1 of 3": who is missing is unavailable.
pub(crate) async fn missing_members_hold_up_the_rest(carrier: Arc<dyn Carrier>) {
    let [a, b, c] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
        member(&carrier, "c", "").await,
    ];
    let held = within("the only wish", slot(&a)).await;
    let waits = asks(&b).await;
    held.give_back().await;
    let none = within("the end of its time", c.turn(SHORT)).await;
    assert!(matches!(none, Turn::RanOut { .. }), "{none:?}");
    c.serves();
    assert!(!waits.is_finished(), "a has not come back");
    let d = member(&carrier, "d", "").await;
    let _slot = within("its turn", waits).await.expect("it runs");
    drop((c, d));
}

/// With rules "2": of what a leaving member publishes each name is taken once, and it waits for all of them.
pub(crate) async fn work_is_handed_over(carrier: Arc<dyn Carrier>) {
    let a = member(&carrier, "a", "").await;
    let mut peers = JoinSet::new();
    for name in ["b", "c"] {
        let peer = member(&carrier, name, "").await;
        peers.spawn(async move {
            loop {
                let offer = peer.offered().await;
                match within("an answer", offer.take(BOUND)).await {
                    Ok(()) | Err(NotTaken::Elsewhere) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    let work: Vec<String> = (0..70).map(|n| format!("partition/{n:02}")).collect();
    let held = within("the only wish", slot(&a)).await;
    let handed = within("the hand-over", a.hand_over(work.clone(), BOUND)).await;
    let taken: Vec<&String> = handed.taken.iter().map(|(name, _)| name).collect();
    assert_eq!(taken, work.iter().collect::<Vec<_>>(), "each once");
    assert_eq!(handed.left, [""; 0]);
    let nobody = "a".parse().expect("a name");
    assert!(handed.taken.iter().all(|(_, by)| *by != nobody));
    drop(held);
    peers.shutdown().await;
}

/// With rules "1": what nobody takes is left, and cannot be taken later.
pub(crate) async fn work_that_nobody_takes_is_left(carrier: Arc<dyn Carrier>) {
    let [a, b] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
    ];
    let work = vec!["p".to_owned(), String::new()];
    // Long enough that the tenth of it in which the group has to hear of the end is some time, too.
    let time = Duration::from_secs(3);
    let handed: HandedOver = within("the end of its time", a.hand_over(work, time)).await;
    assert_eq!((handed.taken.len(), handed.left.len()), (0, 2));
    let offer = within("the offer", b.offered()).await;
    assert_eq!((offer.from().as_str(), offer.work()), ("a", "p"));
    let late = within("an answer", offer.take(BOUND)).await;
    assert_eq!(late, Err(NotTaken::Elsewhere));
}

/// With rules "1": work that was taken, and came back, is offered anew when it is handed over once more.
pub(crate) async fn work_that_came_back_is_offered_again(carrier: Arc<dyn Carrier>) {
    let [a, b] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
    ];
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let takes = tokio::spawn(async move {
        loop {
            let offer = b.offered().await;
            // Counted before its owner can know.
            count.fetch_add(1, Ordering::SeqCst);
            within("an answer", offer.take(BOUND))
                .await
                .expect("its own");
        }
    });
    for round in 1..=3 {
        let handing = a.hand_over(["p".to_owned()], BOUND);
        let handed = within("the hand-over", handing).await;
        assert_eq!((handed.taken.len(), handed.left.len()), (1, 0));
        assert_eq!(
            taken.load(Ordering::SeqCst),
            round,
            "offers that were taken"
        );
    }
    takes.abort();
}

/// With rules "3": many that want to go at once, with never more than three gone.
pub(crate) async fn many_go_by_and_by(carrier: Arc<dyn Carrier>) {
    const MEMBERS: usize = 12;
    let gone = Arc::new(AtomicUsize::new(0));
    let mut leaving = JoinSet::new();
    for n in 0..MEMBERS {
        let (carrier, gone) = (Arc::clone(&carrier), Arc::clone(&gone));
        leaving.spawn(async move {
            let group = member(&carrier, &format!("m{n}"), "").await;
            let held = slot(&group).await;
            let before = gone.fetch_add(1, Ordering::SeqCst);
            assert!(before < 3, "{} are gone at once", before + 1);
            tokio::task::yield_now().await;
            gone.fetch_sub(1, Ordering::SeqCst);
            held.give_back().await;
        });
    }
    let mut left = 0;
    while let Some(ended) = within("the next to leave", leaving.join_next()).await {
        ended.expect("it left in its turn");
        left += 1;
    }
    assert_eq!(left, MEMBERS);
}

/// With rules "2": wishes that are dropped and wished anew, and never more than two that have a slot in hand.
pub(crate) async fn no_more_have_a_slot_than_may(carrier: Arc<dyn Carrier>) {
    const MEMBERS: usize = 6;
    const ROUNDS: usize = 12;
    let holders = Arc::new(AtomicUsize::new(0));
    let hold = move |held: Slot| {
        let holders = Arc::clone(&holders);
        async move {
            let before = holders.fetch_add(1, Ordering::SeqCst);
            assert!(before < 2, "{} have a slot", before + 1);
            tokio::task::yield_now().await;
            holders.fetch_sub(1, Ordering::SeqCst);
            drop(held);
        }
    };
    let mut leaving = JoinSet::new();
    for n in 0..MEMBERS {
        let (carrier, hold) = (Arc::clone(&carrier), hold.clone());
        leaving.spawn(async move {
            let group = member(&carrier, &format!("m{n}"), "").await;
            for round in 0..ROUNDS {
                // About as long as a lending takes: some are dropped while theirs is under way.
                let hurry = Duration::from_millis(u64::try_from((n + round) % 4).expect("small"));
                if let Ok(turn) = tokio::time::timeout(hurry, group.turn(BOUND)).await {
                    let Turn::Granted(held) = turn else {
                        panic!("{turn:?}")
                    };
                    hold(held).await;
                }
                hold(slot(&group).await).await;
            }
        });
    }
    while let Some(ended) = within("the next to end", leaving.join_next()).await {
        ended.expect("it had all its turns");
    }
}
