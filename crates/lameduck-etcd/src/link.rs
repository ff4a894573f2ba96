//! One member's link: a lease that is kept alive, a watch that fills the mirror, and the transactions by which it says what it wants.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, EventType, LeaseKeepAliveStream, LeaseKeeper,
    PutOptions, Txn, TxnOp, TxnOpResponse, WatchResponse, WatchStream,
};
use lameduck::group::{Borne, CarrierError, Heard, Identity, Link, MemberId, Whose, Word};
use tokio::time::{Instant, sleep_until};

use crate::carrier::{away, read_entry, touch};
use crate::keys::{Key, Keys};
use crate::mirror::{ALONE, Guards, LENT, Mirror};

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
    /// The wish that waits.
    wish: Option<u64>,
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
        wish: Option<u64>,
    ) -> Self {
        Self {
            client,
            keys,
            me: who.id().clone(),
            member_value,
            lease,
            mirror,
            watch,
            news,
            wish,
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
            Compare::mod_revision(ledger, CompareOp::Equal, guards.ledger),
            Compare::create_revision(waiting.as_str(), CompareOp::Equal, guards.ticket),
        ];
        for (id, created) in guards.members {
            let member = self.keys.name(&Key::Member(id));
            unchanged.push(Compare::create_revision(member, CompareOp::Equal, created));
        }
        let lending = [
            TxnOp::delete(waiting, None),
            TxnOp::put(slot, LENT, self.under_lease()),
            touch(&self.keys),
        ];
        let at = self.mirror.revision;
        self.client
            .txn(Txn::new().when(unchanged).and_then(lending))
            .await
            .map_err(away)?;
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
            if entry.is_none() && key == Key::Member(self.me.clone()) {
                return Err(CarrierError::new("the lease of the member has run out"));
            }
            let heard = self.mirror.see(key, entry, self.wish);
            self.news.extend(heard);
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
                self.wish = Some(wish);
                let new = Compare::create_revision(waiting.as_str(), CompareOp::Equal, 0);
                let ask = TxnOp::put(waiting, "", self.under_lease());
                self.write(Txn::new().when([new]).and_then([ask])).await?;
            }
            Word::GiveBack => {
                self.wish = None;
                let back = [TxnOp::delete(waiting, None), TxnOp::delete(slot, None)];
                self.write(Txn::new().and_then(back)).await?;
                self.news.extend(self.mirror.offers());
            }
            Word::Alone => {
                self.wish = None;
                let alone = [
                    TxnOp::delete(waiting, None),
                    TxnOp::put(slot, ALONE, self.under_lease()),
                    touch(&self.keys),
                ];
                self.write(Txn::new().and_then(alone)).await?;
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
                let withdrawing = [
                    TxnOp::delete(work, all()),
                    TxnOp::delete(taken, all()),
                    member,
                ];
                let revision = self.write(Txn::new().and_then(withdrawing)).await?;
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

    /// Does it, and returns the revision.
    async fn write(&mut self, txn: Txn) -> Result<i64, CarrierError> {
        let written = self.client.txn(txn).await.map_err(away)?;
        Ok(written
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision))
    }

    async fn publish(&mut self, work: Vec<String>) -> Result<(), CarrierError> {
        for name in &work {
            if let Some(by) = self.mirror.taker(name) {
                self.news.push_back(Heard::Taken {
                    work: name.clone(),
                    by: by.clone(),
                });
            }
        }
        let publishing = work.into_iter().map(|name| {
            let key = self.keys.name(&Key::Work(self.me.clone(), name));
            TxnOp::put(key, "", self.under_lease())
        });
        let publishing: Vec<TxnOp> = publishing.collect();
        self.write(Txn::new().and_then(publishing)).await?;
        Ok(())
    }

    async fn take(&mut self, from: MemberId, work: String) -> Result<(), CarrierError> {
        let mut whose = Whose::Not;
        // Under the lease of who leaves: it ends with that member.
        if let Some(lease) = self.mirror.lease_of_work(&from, &work) {
            let offered = self.keys.name(&Key::Work(from.clone(), work.clone()));
            let taken = self.keys.name(&Key::Taken(from.clone(), work.clone()));
            let free = [
                Compare::create_revision(offered, CompareOp::Greater, 0),
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
                .or_else([TxnOp::get(taken, None)]);
            let done = self.client.txn(txn).await.map_err(away)?;
            let is_mine = |response: &TxnOpResponse| match response {
                TxnOpResponse::Get(found) => found
                    .kvs()
                    .iter()
                    .any(|kv| kv.value() == self.me.as_str().as_bytes()),
                _ => false,
            };
            if done.succeeded() || done.op_responses().iter().any(is_mine) {
                whose = Whose::Yours;
            }
        }
        self.news.push_back(Heard::Took { from, work, whose });
        Ok(())
    }
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
