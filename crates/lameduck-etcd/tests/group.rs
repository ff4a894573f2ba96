//! Groups over real etcd: what every carrier owes, then nodes that die, leaders that move, and networks that part. Afterwards etcd's own
//! history is read from its first revision on: was a slot ever lent that was not there?

#[path = "group/audit.rs"]
mod audit;
#[path = "group/cluster.rs"]
mod cluster;
#[path = "group/network.rs"]
mod network;
#[path = "group/stale.rs"]
mod stale;
#[path = "../../lameduck/tests/group/suite.rs"]
mod suite;

use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::audit;
use cluster::Cluster;
use lameduck::group::{Carrier, Turn};
use lameduck_etcd::EtcdCarrier;
use network::Networks;
use stale::Hand;
use suite::{BOUND, asks, member, slot, within};
use tokio::task::JoinSet;

/// The shortest that etcd takes with elections of a second.
const LEASE: Duration = Duration::from_secs(2);

fn carrier(cluster: &Cluster, group: &str, rules: &str) -> Arc<dyn Carrier> {
    let rules = rules.parse().expect("rules");
    let carrier = EtcdCarrier::new(cluster.endpoints(), group, rules).expect("a name");
    Arc::new(carrier.lease(LEASE))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_carrier_owes() {
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    let mut owed = JoinSet::new();
    macro_rules! owe {
        ($($test:ident: $rules:literal;)*) => {$(
            owed.spawn(suite::$test(carrier(&cluster, stringify!($test), $rules)));
        )*};
    }
    owe! {
        slots_go_round_in_order: "1";
        who_runs_out_leaves_alone_and_counts: "1";
        a_wish_that_is_dropped_is_none: "1";
        the_longer_wish_waits_on: "1";
        a_dead_members_slot_is_free: "1";
        zones_do_not_wait_for_each_other: "1 in each zone";
        missing_members_hold_up_the_rest: "1 of 3";
        work_is_handed_over: "2";
        work_that_nobody_takes_is_left: "1";
        work_that_came_back_is_offered_again: "1";
        many_go_by_and_by: "3";
        no_more_have_a_slot_than_may: "2";
    }
    while let Some(ended) = owed.join_next().await {
        ended.expect("it is kept");
    }
    let history = audit(&cluster).await;
    assert!(history.lent >= 20, "{history:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_comes_to_nothing() {
    let Some(cluster) = Cluster::start(1).await else {
        return;
    };
    let mut owed = JoinSet::new();
    macro_rules! owe {
        ($($test:ident;)*) => {$(
            let group = stringify!($test);
            let rules = "1".parse().expect("rules");
            let long = EtcdCarrier::new(cluster.endpoints(), group, rules).expect("a name");
            // No lease ends by itself here: links that are late renew theirs no longer.
            let carrier: Arc<dyn Carrier> = Arc::new(long.lease(BOUND * 4));
            let hand = Hand::new(cluster.endpoints().swap_remove(0), group).await;
            owed.spawn(stale::$test(carrier, hand));
        )*};
    }
    owe! {
        a_grant_is_for_its_own_wish;
        a_new_link_takes_over_no_slot_of_an_earlier_wish;
        a_late_lending_is_none;
        a_slot_that_is_taken_away_is_missed;
        a_late_word_is_not_said;
        a_place_that_is_taken_away_is_missed;
        taken_work_stays_taken;
        late_takers_take_nothing;
    }
    let mut failed = 0;
    while let Some(ended) = owed.join_next().await {
        // Each has said what it was.
        failed += usize::from(ended.is_err());
    }
    assert_eq!(failed, 0, "of what comes late");
    audit(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_and_a_leader_that_moves_oversell_nothing() {
    const MEMBERS: usize = 6;
    const ROUNDS: usize = 20;
    let Some(mut cluster) = Cluster::start(3).await else {
        return;
    };
    let (went, mut gone) = tokio::sync::mpsc::unbounded_channel();
    let mut members = JoinSet::new();
    for n in 0..MEMBERS {
        let (carrier, went) = (carrier(&cluster, "shop", "2"), went.clone());
        members.spawn(async move {
            let group = member(&carrier, &format!("m{n}"), "").await;
            for round in 0..ROUNDS {
                // Some run out of time, and are gone without a slot while others are lent one: what guards the ledger is for.
                let hurry = Duration::from_millis(u64::try_from((n + round) % 3).expect("small"));
                if matches!(group.turn(hurry).await, Turn::RanOut { .. }) {
                    tokio::task::yield_now().await;
                    group.serves();
                }
                let held = slot(&group).await;
                let _ = went.send(());
                drop(held);
            }
        });
    }
    for _ in 0..MEMBERS {
        within("a turn", gone.recv()).await.expect("somebody goes");
    }
    cluster.move_leader().await;
    for _ in 0..MEMBERS {
        within("a turn after the leader moved", gone.recv())
            .await
            .expect("somebody goes");
    }
    let leader = cluster.leader().await;
    cluster.kill(leader);
    while let Some(ended) = within("the last turn", members.join_next()).await {
        ended.expect("each has all its turns");
    }
    let history = audit(&cluster).await;
    assert!(history.lent >= MEMBERS * ROUNDS, "{history:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_a_slot_keeps_it_when_its_node_dies() {
    let Some(mut cluster) = Cluster::start(3).await else {
        return;
    };
    let rules = "1".parse().expect("rules");
    let long = EtcdCarrier::new(cluster.endpoints(), "shop", rules).expect("a name");
    // Long enough for a link to be made again on any machine.
    let carrier: Arc<dyn Carrier> = Arc::new(long.lease(BOUND));
    let [a, b] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
    ];
    let held = within("the only wish", slot(&a)).await;
    let waits = asks(&b).await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    // One of the two nodes that are left has answered by then.
    within(
        "the hand-over",
        a.hand_over(["p".to_owned()], Duration::from_secs(5)),
    )
    .await;
    within("the way back", b.joined()).await;
    assert!(!waits.is_finished(), "a has it still");
    drop(held);
    let _slot = within("its turn", waits).await.expect("it runs");
    audit(&cluster).await;
}

#[tokio::test]
async fn a_name_is_one_members() {
    let Some(cluster) = Cluster::start(1).await else {
        return;
    };
    let first = carrier(&cluster, "shop", "1");
    let a = member(&first, "a", "").await;
    // Another process: another carrier.
    let second = carrier(&cluster, "shop", "1");
    let who = lameduck::group::Identity::new("a").expect("a name");
    let refused = second.join(&who, lameduck::group::Claim::Serving).await;
    let why = refused.err().expect("the name is taken").to_string();
    assert!(why.contains("another process has the name a"), "{why}");
    a.leave().await;
    within("the name is free", member(&second, "a", ""))
        .await
        .leave()
        .await;
}

#[tokio::test]
async fn a_link_on_which_nothing_is_said_lasts() {
    let Some(cluster) = Cluster::start(1).await else {
        return;
    };
    let rules = "1".parse().expect("rules");
    let long = EtcdCarrier::new(cluster.endpoints(), "shop", rules).expect("a name");
    // Renewed so seldom that nothing comes from etcd but answers to pings.
    let carrier: Arc<dyn Carrier> = Arc::new(long.lease(BOUND * 4));
    let a = member(&carrier, "a", "").await;
    // etcd closes a connection at the third ping that comes too early.
    let lost = tokio::time::timeout(Duration::from_secs(15), a.lost()).await;
    assert_eq!(lost.ok(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_leaves_alone_and_its_slot_is_lent_again() {
    let Some(networks) = Networks::part().await else {
        return;
    };
    let Some(cluster) = Cluster::start_in(&networks, 3).await else {
        return;
    };
    let near = carrier(&cluster, "shop", "1");
    let far = carrier(&cluster, "shop", "1");
    // Two members beyond the cable: one holds the slot, one waits.
    let (holds, waits) = (networks.beyond(), networks.beyond());
    let held = holds.run(async move {
        let group = member(&far, "holds", "").await;
        let held = slot(&group).await;
        (group, held)
    });
    let (holder, held) = within("the only wish", held).await;
    let far = carrier(&cluster, "shop", "1");
    let waiter = within(
        "the waiter",
        waits.run(async move { member(&far, "waits", "").await }),
    )
    .await;
    let asking = waiter.clone();
    let (limit, began) = (Duration::from_secs(6), Instant::now());
    let turn = waits.run(async move {
        let turn = asking.turn(limit).await;
        (turn, began.elapsed())
    });
    within("its place", waiter.waiting()).await;
    let home = networks.home();
    let here = within(
        "a member at home",
        home.run(async move { member(&near, "here", "").await }),
    )
    .await;
    let asking = here.clone();
    let lent = home.run(async move { slot(&asking).await });
    within("its place", here.waiting()).await;

    networks.cut();
    let slot_again = within("the slot of who was cut off", lent).await;
    let (turn, took) = within("the end of its time", turn).await;
    assert!(matches!(turn, Turn::Alone { .. }), "{turn:?}");
    assert!(took >= limit, "{took:?}");
    within("the news", holder.lost()).await;

    // It was lent again meanwhile: who had it before leaves on, and counts.
    networks.mend();
    within("the way back", holder.joined()).await;
    drop(slot_again);
    drop(held);
    let history = audit(&cluster).await;
    assert!(history.lent >= 2, "{history:?}");
    drop((turn, holder, waiter, here));
}
