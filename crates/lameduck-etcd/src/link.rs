//! One member's link: a lease that is kept alive, a watch that fills the mirror, and the transactions by which it says what it wants.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, EventType, GetOptions, KeyValue,
    LeaseKeepAliveStream, LeaseKeeper, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
    WatchResponse, WatchStream,
};
use lameduck::group::{Borne, CarrierError, Heard, Identity, Link, MemberId, Whose, Word};
use tokio::time::{Instant, sleep_until, timeout};

use crate::carrier::{away, read_entry, touch};
use crate::keys::{Key, Keys};
use crate::mirror::{ALONE, Guards, Mirror, Stands, lent};

/// How long a lending may take before the link counts as lost.
const LENDING: Duration = Duration::from_secs(2);

/// A lease, and when it was last known to live.
pub(crate) struct Lease {
    pub(crate) id: i64,
    lasts: Duration,
    /// When the last renewal that was answered had been asked for.
    renewed_at: Instant,
    asked_at: Instant,
    keeper: LeaseKeeper,
    acks: LeaseKeepAliveStream,
}

impl Lease {
    pub(crate) const fn new(
        id: i64,
        lasts: Duration,
        asked_at: Instant,
        keeper: LeaseKeeper,
        acks: LeaseKeepAliveStream,
    ) -> Self {
        Self {
            id,
            lasts,
            renewed_at: asked_at,
            asked_at,
            keeper,
            acks,
        }
    }

    /// Keeps it alive; it returns only when it is over.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn keep(&mut self) -> CarrierError {
        loop {
            let due_at = self.asked_at + self.lasts / 3;
            tokio::select! {
                ack = self.acks.message() => match ack {
                    Ok(Some(ack)) if ack.ttl() > 0 => self.renewed_at = self.asked_at,
                    Ok(Some(_)) => return CarrierError::new("the lease of the member has run out"),
                    Ok(None) => return CarrierError::new("etcd renews leases no longer"),
                    Err(error) => return away(error),
                },
                () = sleep_until(due_at) => {
                    self.asked_at = Instant::now();
                    if let Err(error) = self.keeper.keep_alive().await {
                        return away(error);
                    }
                }
                // A link that is made again by another node has the other third for it.
                () = sleep_until(self.renewed_at + self.lasts * 2 / 3) => {
                    return CarrierError::new(format!("etcd renewed no lease for {} ms", (self.lasts * 2 / 3).as_millis()));
                }
            }
        }
    }
}

pub(crate) struct EtcdLink {
    client: Client,
    keys: Keys,
    me: MemberId,
    member_value: String,
    lease: Lease,
    mirror: Mirror,
    watch: WatchStream,
    news: VecDeque<Heard>,
    /// What was said last of the member, and the revision from which on it is to be found.
    stands: Stands,
    stands_at: i64,
    /// The mirror's revision when a lending was last tried: until it moves, another try says the same.
    tried_at: i64,
    /// What was withdrawn is told when the mirror has come so far.
    withdrawn_at: Option<i64>,
}

impl EtcdLink {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one part, put together in one place"
    )]
    pub(crate) fn new(
        client: Client,
        keys: Keys,
        who: &Identity,
        member_value: String,
        lease: Lease,
        mirror: Mirror,
        watch: WatchStream,
        news: VecDeque<Heard>,
        stands: Stands,
    ) -> Self {
        Self {
            stands_at: mirror.revision,
            client,
            keys,
            me: who.id().clone(),
            member_value,
            lease,
            mirror,
            watch,
            news,
            stands,
            tried_at: 0,
            withdrawn_at: None,
        }
    }

    fn my(&self, key: fn(MemberId) -> Key) -> String {
        self.keys.name(&key(self.me.clone()))
    }

    fn under_lease(&self) -> Option<PutOptions> {
        Some(PutOptions::new().with_lease(self.lease.id))
    }

    /// Lends a slot to this member, if nothing has changed of what its turn rests on. What came of it is told by the watch.
    ///
    /// # Cancel safety
    /// Cancel safe: done twice, the second one finds the wish gone.
    async fn lend(&mut self, guards: Guards) -> Result<(), CarrierError> {
        let (waiting, slot) = (self.my(Key::Waiting), self.my(Key::Slot));
        let ledger = self.keys.name(&Key::Ledger);
        let mut unchanged = vec![
            self.fence(),
            Compare::mod_revision(ledger, CompareOp::Equal, guards.ledger),
            Compare::create_revision(waiting.as_str(), CompareOp::Equal, guards.ticket),
        ];
        for (id, created) in guards.members {
            let member = self.keys.name(&Key::Member(id));
            unchanged.push(Compare::create_revision(member, CompareOp::Equal, created));
        }
        let lending = [
            TxnOp::delete(waiting, None),
            TxnOp::put(slot, lent(guards.wish), self.under_lease()),
            touch(&self.keys),
        ];
        let at = self.mirror.revision;
        let txn = Txn::new().when(unchanged).and_then(lending);
        let txn = txn.or_else([self.whose_member()]);
        let doing = timeout(LENDING, self.client.txn(txn));
        let done = tokio::select! {
            done = doing => done.map_err(|_| CarrierError::new("etcd did not answer a lending in time"))?,
            over = self.lease.keep() => return Err(over),
        };
        self.fenced(&done.map_err(away)?)?;
        self.tried_at = at;
        Ok(())
    }

    fn see(&mut self, response: &WatchResponse) -> Result<(), CarrierError> {
        if response.canceled() {
            let why = response.cancel_reason();
            return Err(CarrierError::new(format!("etcd ended the watch: {why}")));
        }
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            self.mirror.revision = self.mirror.revision.max(kv.mod_revision());
            let Some(key) = self.keys.read(kv.key()) else {
                continue;
            };
            let entry = match event.event_type() {
                EventType::Put => Some(read_entry(kv)),
                EventType::Delete => None,
            };
            if key == Key::Member(self.me.clone()) {
                match &entry {
                    None => return Err(CarrierError::new("the lease of the member has run out")),
                    Some(entry) if entry.lease != self.lease.id => return Err(replaced()),
                    Some(_) => {}
                }
            }
            let heard = self.mirror.see(key, entry);
            self.news.extend(heard);
        }
        // A response has all of its revisions.
        if self.mirror.revision >= self.stands_at && !self.mirror.is_standing(self.stands) {
            return Err(CarrierError::new(
                "what the member had in the group was taken away",
            ));
        }
        if self
            .withdrawn_at
            .is_some_and(|at| self.mirror.revision >= at)
        {
            self.withdrawn_at = None;
            self.news.push_back(Heard::Withdrawn);
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Heard, CarrierError> {
        loop {
            if let Some(heard) = self.news.pop_front() {
                return Ok(heard);
            }
            let turn = if self.tried_at < self.mirror.revision {
                self.mirror.turn()
            } else {
                None
            };
            if let Some(guards) = turn {
                self.lend(guards).await?;
            }
            let response = tokio::select! {
                response = self.watch.message() => response.map_err(away)?,
                over = self.lease.keep() => return Err(over),
            };
            let response = response.ok_or_else(|| CarrierError::new("etcd ended the watch"))?;
            self.see(&response)?;
        }
    }

    async fn word(&mut self, word: Word) -> Result<(), CarrierError> {
        let (waiting, slot) = (self.my(Key::Waiting), self.my(Key::Slot));
        match word {
            Word::Ask { wish } => {
                // Written over, a key keeps its create revision: the place.
                let ask = TxnOp::put(waiting, wish.to_string(), self.under_lease());
                self.stands_at = self.write(vec![ask]).await?;
                self.stands = Stands::Slot { wish };
            }
            Word::GiveBack => {
                let back = vec![TxnOp::delete(waiting, None), TxnOp::delete(slot, None)];
                self.stands_at = self.write(back).await?;
                self.stands = Stands::Serving;
                self.news.extend(self.mirror.offers());
            }
            Word::Alone => {
                let alone = vec![
                    TxnOp::delete(waiting, None),
                    TxnOp::put(slot, ALONE, self.under_lease()),
                    touch(&self.keys),
                ];
                self.stands_at = self.write(alone).await?;
                self.stands = Stands::Alone;
            }
            Word::Publish { work } => self.publish(work).await?,
            Word::Withdraw => {
                let all = || Some(DeleteOptions::new().with_prefix());
                let [work, taken] = self.keys.work_of(&self.me);
                // The member is written again so that there is something to see, also where nothing was left.
                let member = TxnOp::put(
                    self.my(Key::Member),
                    self.member_value.as_str(),
                    self.under_lease(),
                );
                let withdrawing = vec![
                    TxnOp::delete(work, all()),
                    TxnOp::delete(taken, all()),
                    member,
                ];
                let revision = self.write(withdrawing).await?;
                self.withdrawn_at = Some(revision);
            }
            Word::Take { from, work } => self.take(from, work).await?,
            other => {
                return Err(CarrierError::new(format!(
                    "this carrier does not know {other:?}"
                )));
            }
        }
        Ok(())
    }

    /// That the member is under the lease of this link: what a link has under way that was made again since, comes to nothing.
    fn fence(&self) -> Compare {
        Compare::lease(self.my(Key::Member), CompareOp::Equal, self.lease.id)
    }

    fn whose_member(&self) -> TxnOp {
        TxnOp::get(self.my(Key::Member), None)
    }

    /// Of a transaction that reads the member when it fails: was it the fence?
    ///
    /// # Errors
    /// The member is under another lease, or under none: the link is over.
    fn fenced(&self, done: &TxnResponse) -> Result<(), CarrierError> {
        if done.succeeded() {
            return Ok(());
        }
        let member = self.my(Key::Member);
        let is_mine = found(done)
            .iter()
            .any(|kv| kv.key() == member.as_bytes() && kv.lease() == self.lease.id);
        if is_mine { Ok(()) } else { Err(replaced()) }
    }

    /// Does it, and returns the revision.
    async fn write(&mut self, writing: Vec<TxnOp>) -> Result<i64, CarrierError> {
        let txn = Txn::new().when([self.fence()]).and_then(writing);
        let txn = txn.or_else([self.whose_member()]);
        let written = self.client.txn(txn).await.map_err(away)?;
        self.fenced(&written)?;
        Ok(written
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// Offers what nobody has taken. What somebody has is written again under the lease of this link, since it would be free again when that
    /// of an earlier one ends.
    async fn publish(&mut self, work: Vec<String>) -> Result<(), CarrierError> {
        let mut takers: BTreeMap<String, MemberId> = BTreeMap::new();
        loop {
            let (mut unchanged, mut writing) = (vec![self.fence()], Vec::new());
            for name in &work {
                let taken = self.keys.name(&Key::Taken(self.me.clone(), name.clone()));
                if let Some(by) = takers.get(name) {
                    writing.push(TxnOp::put(taken, by.as_str(), self.under_lease()));
                    continue;
                }
                unchanged.push(Compare::create_revision(taken, CompareOp::Equal, 0));
                let key = self.keys.name(&Key::Work(self.me.clone(), name.clone()));
                writing.push(TxnOp::put(key, "", self.under_lease()));
            }
            let [_, all_taken] = self.keys.work_of(&self.me);
            let reading = [
                self.whose_member(),
                TxnOp::get(all_taken, Some(GetOptions::new().with_prefix())),
            ];
            let txn = Txn::new()
                .when(unchanged)
                .and_then(writing)
                .or_else(reading);
            let done = self.client.txn(txn).await.map_err(away)?;
            self.fenced(&done)?;
            if done.succeeded() {
                break;
            }
            // Each round knows of one more at least.
            for kv in found(&done) {
                if let Some(Key::Taken(_, name)) = self.keys.read(kv.key())
                    && let Some(by) = kv.value_str().ok().and_then(|by| by.parse().ok())
                {
                    takers.insert(name, by);
                }
            }
        }
        for work in work {
            if let Some(by) = takers.remove(&work) {
                self.news.push_back(Heard::Taken { work, by });
            }
        }
        Ok(())
    }

    async fn take(&mut self, from: MemberId, work: String) -> Result<(), CarrierError> {
        let mut whose = Whose::Not;
        // Under the lease of who leaves: it ends with that member.
        if let Some(lease) = self.mirror.lease_of_work(&from, &work) {
            let offered = self.keys.name(&Key::Work(from.clone(), work.clone()));
            let taken = self.keys.name(&Key::Taken(from.clone(), work.clone()));
            // Offered by an earlier link of who leaves, it is offered once more, and taken then.
            let free = [
                self.fence(),
                Compare::lease(offered, CompareOp::Equal, lease),
                Compare::create_revision(taken.as_str(), CompareOp::Equal, 0),
            ];
            let take = TxnOp::put(
                taken.as_str(),
                self.me.as_str(),
                Some(PutOptions::new().with_lease(lease)),
            );
            let txn = Txn::new()
                .when(free)
                .and_then([take])
                .or_else([self.whose_member(), TxnOp::get(taken.as_str(), None)]);
            let done = self.client.txn(txn).await.map_err(away)?;
            self.fenced(&done)?;
            let is_mine = found(&done).iter().any(|kv| {
                kv.key() == taken.as_bytes() && kv.value() == self.me.as_str().as_bytes()
            });
            if done.succeeded() || is_mine {
                whose = Whose::Yours;
            }
        }
        self.news.push_back(Heard::Took { from, work, whose });
        Ok(())
    }
}

/// What a transaction has read.
fn found(done: &TxnResponse) -> Vec<KeyValue> {
    let read = done.op_responses().into_iter().map(|read| match read {
        TxnOpResponse::Get(found) => found.kvs().to_vec(),
        _ => Vec::new(),
    });
    read.flatten().collect()
}

fn replaced() -> CarrierError {
    CarrierError::new("the member has another link, or its lease has run out")
}

impl Link for EtcdLink {
    fn say(&mut self, word: Word) -> Borne<'_, ()> {
        Box::pin(self.word(word))
    }

    fn hear(&mut self) -> Borne<'_, Heard> {
        Box::pin(self.next())
    }

    fn leave(mut self: Box<Self>) -> Borne<'static, ()> {
        Box::pin(async move {
            let left = self.client.lease_revoke(self.lease.id).await;
            left.map(|_| ()).map_err(away)
        })
    }
}
