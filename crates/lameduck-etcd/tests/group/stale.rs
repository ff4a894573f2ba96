//! What comes late: writes of a link that was made again since, grants of wishes that are no more, and strangers that take a member's keys away.
//! Links are spoken to one by one here, so that each is as late as the test wants it; what nobody of ours does is written to etcd by hand.

use std::sync::Arc;

use etcd_client::{Client, GetOptions, KeyValue, PutOptions, Txn, TxnOp};
use lameduck::group::{Carrier, Claim, Heard, Identity, Link, MemberId, Whose, Word};

use crate::suite::{asks, member, slot, within};

/// A group's keys, by hand.
pub(crate) struct Hand {
    client: Client,
    prefix: String,
}

impl Hand {
    pub(crate) async fn new(endpoint: String, group: &str) -> Self {
        let client = Client::connect([endpoint], None).await;
        Self {
            client: client.expect("etcd is there"),
            prefix: format!("/lameduck/groups/{group}/"),
        }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn read(&mut self, key: &str) -> Option<KeyValue> {
        let key = self.key(key);
        let read = within(&key, self.client.get(key.as_str(), None)).await;
        read.expect("it is read").kvs().first().cloned()
    }

    async fn lease_of(&mut self, key: &str) -> i64 {
        let entry = self.read(key).await;
        entry.unwrap_or_else(|| panic!("there is no {key}")).lease()
    }

    async fn delete(&mut self, key: &str) {
        let key = self.key(key);
        let deleted = self.client.delete(key.as_str(), None).await;
        assert_eq!(deleted.expect("it is deleted").deleted(), 1, "{key}");
    }

    async fn end_lease(&mut self, lease: i64) {
        self.client.lease_revoke(lease).await.expect("it ends");
    }

    /// What a lending of this member writes.
    async fn lend(&mut self, id: &str, wish: u64) {
        let lease = self.lease_of(&format!("members/{id}")).await;
        let under = PutOptions::new().with_lease(lease);
        let lending = [
            TxnOp::delete(self.key(&format!("waiting/{id}")), None),
            TxnOp::put(
                self.key(&format!("slots/{id}")),
                format!("lent {wish}"),
                Some(under),
            ),
        ];
        let lent = self.client.txn(Txn::new().and_then(lending)).await;
        lent.expect("it is written");
    }

    /// Waits until a key has this value.
    async fn sees(&mut self, key: &str, value: &str) {
        let (prefix, name) = (self.prefix.clone(), self.key(key));
        let all = Some(GetOptions::new().with_prefix());
        let read = self.client.get(prefix, all).await.expect("it is read");
        let is_it = |kv: &KeyValue| kv.key() == name.as_bytes() && kv.value() == value.as_bytes();
        if read.kvs().iter().any(is_it) {
            return;
        }
        let from = read.header().expect("a header").revision() + 1;
        let options = etcd_client::WatchOptions::new().with_start_revision(from);
        let watch = self.client.watch(name.as_str(), Some(options)).await;
        let mut watch = watch.expect("a watch");
        loop {
            let seen = within(key, watch.message()).await.expect("it goes on");
            let seen = seen.expect("it goes on");
            if seen
                .events()
                .iter()
                .filter_map(|event| event.kv())
                .any(is_it)
            {
                return;
            }
        }
    }
}

fn id(name: &str) -> MemberId {
    name.parse().expect("a name")
}

async fn join(carrier: &Arc<dyn Carrier>, name: &str, claim: Claim) -> Box<dyn Link> {
    let who = Identity::new(name).expect("a name");
    let joined = within(name, carrier.join(&who, claim)).await;
    joined.unwrap_or_else(|error| panic!("{name}: {error}"))
}

async fn say(link: &mut Box<dyn Link>, word: Word) {
    let what = format!("{word:?}");
    let said = within(&what, link.say(word)).await;
    said.unwrap_or_else(|error| panic!("{what}: {error}"));
}

/// All that is heard up to this.
async fn hear(link: &mut Box<dyn Link>, last: impl Fn(&Heard) -> bool) -> Vec<Heard> {
    let mut all = Vec::new();
    loop {
        let heard = within("the news", link.hear()).await;
        let heard = heard.unwrap_or_else(|error| panic!("after {all:?}: {error}"));
        let is_last = last(&heard);
        all.push(heard);
        if is_last {
            return all;
        }
    }
}

/// Asks, and hears its place; the ticket.
async fn waits(link: &mut Box<dyn Link>, wish: u64) -> u64 {
    say(link, Word::Ask { wish }).await;
    let placed = |heard: &Heard| matches!(heard, Heard::Waiting { wish: of, .. } if *of == wish);
    match hear(link, placed).await.pop() {
        Some(Heard::Waiting { ticket, .. }) => ticket,
        other => panic!("{other:?}"),
    }
}

async fn granted(link: &mut Box<dyn Link>, wish: u64) -> Vec<Heard> {
    hear(link, |heard| *heard == Heard::Granted { wish }).await
}

/// Takes work over; whose it is then.
async fn takes(link: &mut Box<dyn Link>, work: &str) -> Whose {
    let (from, work) = (id("a"), work.to_owned());
    say(link, Word::Take { from, work }).await;
    let took = |heard: &Heard| matches!(heard, Heard::Took { .. });
    match hear(link, took).await.pop() {
        Some(Heard::Took { whose, .. }) => whose,
        other => panic!("{other:?}"),
    }
}

fn publish(work: &str) -> Word {
    Word::Publish {
        work: vec![work.to_owned()],
    }
}

/// With rules "1": a lending that was under way when its wish was taken back is none for the next wish.
pub(crate) async fn a_grant_is_for_its_own_wish(carrier: Arc<dyn Carrier>, mut hand: Hand) {
    let mut a = join(&carrier, "a", Claim::Serving).await;
    let mut b = join(&carrier, "b", Claim::Serving).await;
    say(&mut a, Word::Ask { wish: 1 }).await;
    hand.lend("a", 1).await;
    // Said before any of it was heard.
    say(&mut a, Word::GiveBack).await;
    say(&mut b, Word::Ask { wish: 1 }).await;
    granted(&mut b, 1).await;
    say(&mut a, Word::Ask { wish: 2 }).await;
    let placed = |heard: &Heard| matches!(heard, Heard::Waiting { wish: 2, .. });
    let heard = hear(&mut a, placed).await;
    assert!(heard.contains(&Heard::Granted { wish: 1 }), "{heard:?}");
    assert!(!heard.contains(&Heard::Granted { wish: 2 }), "{heard:?}");
    say(&mut b, Word::GiveBack).await;
    granted(&mut a, 2).await;
}

/// With rules "1": as before, with the link made again in between.
pub(crate) async fn a_new_link_takes_over_no_slot_of_an_earlier_wish(
    carrier: Arc<dyn Carrier>,
    mut hand: Hand,
) {
    let mut old = join(&carrier, "a", Claim::Serving).await;
    let ticket = waits(&mut old, 1).await;
    hand.lend("a", 1).await;
    // Meanwhile the member has wished anew.
    let claim = Claim::Waiting { ticket, wish: 2 };
    let mut new = join(&carrier, "a", claim).await;
    assert!(hand.read("slots/a").await.is_none(), "of the wish before");
    let first = within("its place", new.hear()).await.expect("it goes on");
    assert!(matches!(first, Heard::Waiting { wish: 2, .. }), "{first:?}");
    granted(&mut new, 2).await;
}

/// With rules "1": a lending of a link that was made again since comes to nothing; it would hang on the old lease, and end with that.
pub(crate) async fn a_late_lending_is_none(carrier: Arc<dyn Carrier>, mut hand: Hand) {
    let mut old = join(&carrier, "a", Claim::Serving).await;
    let ticket = waits(&mut old, 1).await;
    let claim = Claim::Waiting { ticket, wish: 1 };
    let mut new = join(&carrier, "a", claim).await;
    // It knows of no other link, and lends first of all.
    let late = within("the late lending", old.hear()).await;
    let why = late.expect_err("it has been replaced").to_string();
    assert!(why.contains("another link"), "{why}");
    granted(&mut new, 1).await;
    let old = hand.lease_of("slots/a").await;
    assert_eq!(old, hand.lease_of("members/a").await, "whose lease is it?");
}

/// With rules "1": whose slot is taken away notices, and leaves on without.
pub(crate) async fn a_slot_that_is_taken_away_is_missed(carrier: Arc<dyn Carrier>, mut hand: Hand) {
    let a = member(&carrier, "a", "").await;
    let held = within("the only wish", slot(&a)).await;
    hand.sees("slots/a", "lent 1").await;
    hand.delete("slots/a").await;
    hand.sees("slots/a", "alone").await;
    drop(held);
    let b = member(&carrier, "b", "").await;
    let _slot = within("what a had", slot(&b)).await;
}

/// With rules "1": what a link says that was made again since is not done.
pub(crate) async fn a_late_word_is_not_said(carrier: Arc<dyn Carrier>, mut hand: Hand) {
    let mut old = join(&carrier, "a", Claim::Serving).await;
    let ticket = waits(&mut old, 1).await;
    let claim = Claim::Waiting { ticket, wish: 1 };
    let mut new = join(&carrier, "a", claim).await;
    let late = within("the late word", old.say(Word::GiveBack)).await;
    let why = late.expect_err("it has been replaced").to_string();
    assert!(why.contains("another link"), "{why}");
    let place = hand.read("waiting/a").await.expect("it waits still");
    assert_eq!(u64::try_from(place.create_revision()), Ok(ticket));
    granted(&mut new, 1).await;
}

/// With rules "1": whose place is taken away notices, and waits anew.
pub(crate) async fn a_place_that_is_taken_away_is_missed(
    carrier: Arc<dyn Carrier>,
    mut hand: Hand,
) {
    let [a, b] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
    ];
    let held = within("the only wish", slot(&a)).await;
    let waits = asks(&b).await;
    hand.delete("waiting/b").await;
    hand.sees("waiting/b", "1").await;
    drop(held);
    let _slot = within("its turn", waits).await.expect("it runs");
}

/// With rules "1": what was taken stays so when the lease ends under which it was offered, and its owner has another.
pub(crate) async fn taken_work_stays_taken(carrier: Arc<dyn Carrier>, mut hand: Hand) {
    let mut old = join(&carrier, "a", Claim::Serving).await;
    let mut b = join(&carrier, "b", Claim::Serving).await;
    say(&mut old, publish("p")).await;
    let offered = |heard: &Heard| matches!(heard, Heard::Offered { .. });
    hear(&mut b, offered).await;
    assert_eq!(takes(&mut b, "p").await, Whose::Yours);
    let lease = hand.lease_of("members/a").await;
    let mut new = join(&carrier, "a", Claim::Serving).await;
    // Of b it has not heard.
    say(&mut new, publish("p")).await;
    let taken = Heard::Taken {
        work: "p".to_owned(),
        by: id("b"),
    };
    hear(&mut new, |heard| *heard == taken).await;
    hand.end_lease(lease).await;
    let mut c = join(&carrier, "c", Claim::Serving).await;
    assert_eq!(takes(&mut c, "p").await, Whose::Not, "it is b's");
    let by = hand.read("taken/a/p").await.expect("it is taken");
    assert_eq!(by.value(), b"b");
}

/// With rules "1": who takes what was offered under a lease that is no longer its owner's has nothing, or has it for good.
pub(crate) async fn late_takers_take_nothing(carrier: Arc<dyn Carrier>, mut hand: Hand) {
    let mut old = join(&carrier, "a", Claim::Serving).await;
    let mut b = join(&carrier, "b", Claim::Serving).await;
    say(&mut old, publish("p")).await;
    let offered = |heard: &Heard| matches!(heard, Heard::Offered { .. });
    hear(&mut b, offered).await;
    let lease = hand.lease_of("members/a").await;
    let mut new = join(&carrier, "a", Claim::Serving).await;
    say(&mut new, publish("p")).await;
    // It has heard of the first offer only.
    let late = takes(&mut b, "p").await;
    hand.end_lease(lease).await;
    let mut c = join(&carrier, "c", Claim::Serving).await;
    let second = takes(&mut c, "p").await;
    assert_ne!((late, second), (Whose::Yours, Whose::Yours), "both have it");
    assert_eq!((late, second), (Whose::Not, Whose::Yours));
}
