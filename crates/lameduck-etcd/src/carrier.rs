//! What an etcd carrier is told, and how a member joins by it.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
    WatchOptions,
};
use lameduck::group::{
    Borne, Carrier, CarrierError, Claim, Heard, Identity, IdentityError, Link, MemberId, Rules,
};
use tokio::time::{Instant, timeout};

use crate::keys::{Key, Keys};
use crate::link::{EtcdLink, Lease};
use crate::mirror::{ALONE, Entry, Mirror, Stands, lent};

/// How long a lease lasts, unless it is told otherwise: longer than an election of etcd's leader (1 s by default) and a link that is made again.
const LEASE: Duration = Duration::from_secs(10);

/// How long a node has for its first answer before the next one is asked.
const ANSWER: Duration = Duration::from_secs(1);

/// How often a connection is asked whether it is alive: not more often than etcd bears (`--grpc-keepalive-min-time`, 5 s by default), which
/// closes the connection of who does. A lease of 12 s or less notices a dead node earlier.
const PING: Duration = Duration::from_secs(6);

/// How long it has to answer.
const PONG: Duration = Duration::from_secs(2);

/// Carries a group over etcd.
#[derive(Clone)]
pub struct EtcdCarrier {
    endpoints: Vec<String>,
    keys: Keys,
    rules: Rules,
    lease: Duration,
    options: ConnectOptions,
    /// Tells this process from an earlier one of the same name.
    process: String,
    /// Its rules were written, or were there.
    has_ruled: Arc<AtomicBool>,
    /// Which endpoint is asked next.
    next: Arc<AtomicUsize>,
}

impl fmt::Debug for EtcdCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options, which have a password.
        f.debug_struct("EtcdCarrier")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.keys.prefix())
            .field("rules", &self.rules)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl EtcdCarrier {
    /// By etcd at these endpoints (`http://HOST:PORT`, or `https` with the feature `tls`), for the group of this name.
    ///
    /// The rules are the group's from the first member on that joins with them.
    ///
    /// # Errors
    /// [`IdentityError`]: the group's name is none, as those of members.
    pub fn new<E: Into<String>>(
        endpoints: impl IntoIterator<Item = E>,
        group: &str,
        rules: Rules,
    ) -> Result<Self, IdentityError> {
        let group: MemberId = group.parse()?;
        let random = || RandomState::new().build_hasher().finish();
        // Any will do: members begin with different ones.
        let first = usize::from(random().to_le_bytes()[0]);
        Ok(Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            keys: Keys::new(&group),
            rules,
            lease: LEASE,
            options: ConnectOptions::new().with_connect_timeout(Duration::from_secs(1)),
            process: format!("{:016x}{:016x}", random(), random()),
            has_ruled: Arc::new(AtomicBool::new(false)),
            next: Arc::new(AtomicUsize::new(first)),
        })
    }

    /// How etcd is reached: user and password, TLS, times. That a leader is wanted, and that connections are asked whether they are alive, is set besides.
    #[must_use]
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// How long a member that is gone, or cut off, keeps its slot: 10 s unless set. Whole seconds, 2 at least; etcd may make it longer.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// A link by the first endpoint that answers, beginning with the one that did last. One link has one node: a client that spreads its calls
    /// also asks those that are dead.
    async fn link(&self, who: &Identity, claim: Claim) -> Result<EtcdLink, CarrierError> {
        let mut failed = CarrierError::new("etcd has no endpoint");
        for _ in 0..self.endpoints.len() {
            // Relaxed: nothing else is read by it. Counted first: a try that is dropped, since it took too long, is not made again at once.
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            let endpoint = &self.endpoints[nth % self.endpoints.len()];
            match self.link_by(endpoint, who, claim).await {
                Ok(link) => {
                    self.next.store(nth, Ordering::Relaxed);
                    return Ok(link);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn link_by(
        &self,
        endpoint: &str,
        who: &Identity,
        claim: Claim,
    ) -> Result<EtcdLink, CarrierError> {
        let options = self.options.clone().with_require_leader(true);
        let options = options.with_keep_alive(PING, PONG);
        let client = Client::connect([endpoint], Some(options))
            .await
            .map_err(away)?;
        let mut joining = Joining {
            carrier: self,
            who,
            client,
        };
        let Ok(lease) = timeout(ANSWER, joining.lease()).await else {
            return Err(CarrierError::new(format!("{endpoint} does not answer")));
        };
        let lease = lease?;
        joining.rule().await?;
        let stands = joining.enter(lease.id, claim).await?;
        joining.link(lease, claim, stands).await
    }
}

impl Carrier for EtcdCarrier {
    fn join<'a>(&'a self, who: &'a Identity, claim: Claim) -> Borne<'a, Box<dyn Link>> {
        Box::pin(async move {
            let link: Box<dyn Link> = Box::new(self.link(who, claim).await?);
            Ok(link)
        })
    }

    fn pauses(&self) -> (Duration, Duration) {
        (Duration::from_millis(100), Duration::from_secs(1))
    }
}

/// Writes the ledger as it is: whoever has counted without knowing of this counts again.
pub(crate) fn touch(keys: &Keys) -> TxnOp {
    let as_it_is = PutOptions::new().with_ignore_value();
    TxnOp::put(keys.name(&Key::Ledger), "", Some(as_it_is))
}

pub(crate) fn away(error: etcd_client::Error) -> CarrierError {
    CarrierError::new("etcd does not do it").because(error)
}

/// A member that is about to have a link.
struct Joining<'a> {
    carrier: &'a EtcdCarrier,
    who: &'a Identity,
    client: Client,
}

impl Joining<'_> {
    async fn lease(&mut self) -> Result<Lease, CarrierError> {
        let seconds = i64::try_from(self.carrier.lease.as_secs())
            .unwrap_or(i64::MAX)
            .max(2);
        let granted = self.client.lease_grant(seconds, None).await.map_err(away)?;
        let asked = Instant::now();
        let (keeper, acks) = self
            .client
            .lease_keep_alive(granted.id())
            .await
            .map_err(away)?;
        let lasts = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or_default());
        Ok(Lease::new(granted.id(), lasts, asked, keeper, acks))
    }

    fn name(&self, key: fn(MemberId) -> Key) -> String {
        self.carrier.keys.name(&key(self.who.id().clone()))
    }

    /// What its key says.
    fn member(&self) -> String {
        format!("{} {}", self.carrier.process, self.who.zone())
    }

    /// Enters the member with what it has, under its new lease. What an earlier link of this process has there is taken over, with its
    /// place in the order.
    async fn enter(&mut self, lease: i64, claim: Claim) -> Result<Stands, CarrierError> {
        let names = [Key::Member, Key::Waiting, Key::Slot].map(|key| self.name(key));
        let [member, waiting, slot] = self.read(&names).await?;
        let process = self.carrier.process.as_str();
        if member
            .as_ref()
            .is_some_and(|member| member.process() != Some(process))
        {
            return Err(CarrierError::new(format!(
                "another process has the name {} in the group; give each member its own, or wait for the lease of the one before",
                self.who.id()
            )));
        }
        let lent = slot.as_ref().and_then(Entry::lent).filter(|lent| {
            // One for an earlier wish was given back, or is by this.
            !matches!(claim, Claim::Waiting { wish, .. } if wish != *lent)
        });
        let entries = names.iter().zip([&member, &waiting, &slot]);
        let unchanged: Vec<Compare> = entries
            .map(|(name, entry)| {
                let modified = entry.as_ref().map_or(0, |entry| entry.modified);
                Compare::mod_revision(name.as_str(), CompareOp::Equal, modified)
            })
            .collect();
        let (stands, writing) = self.writing(names, lease, claim, lent);
        let txn = Txn::new().when(unchanged).and_then(writing);
        if self.client.txn(txn).await.map_err(away)?.succeeded() {
            Ok(stands)
        } else {
            Err(CarrierError::new(
                "what the member has in the group changed while it joined",
            ))
        }
    }

    /// These keys, all as of one revision.
    async fn read(&mut self, names: &[String; 3]) -> Result<[Option<Entry>; 3], CarrierError> {
        let reading: Vec<TxnOp> = names
            .iter()
            .map(|name| TxnOp::get(name.as_str(), None))
            .collect();
        let read = self
            .client
            .txn(Txn::new().and_then(reading))
            .await
            .map_err(away)?;
        let mut entries = [None, None, None];
        for (response, entry) in read.op_responses().into_iter().zip(&mut entries) {
            if let TxnOpResponse::Get(found) = response {
                *entry = found.kvs().first().map(read_entry);
            }
        }
        Ok(entries)
    }

    /// What makes the claim true, and what that is; `has`: it has a slot there, lent for this wish.
    fn writing(
        &self,
        [member, waiting, slot]: [String; 3],
        lease: i64,
        claim: Claim,
        has: Option<u64>,
    ) -> (Stands, Vec<TxnOp>) {
        let under = || Some(PutOptions::new().with_lease(lease));
        let mut writing = vec![TxnOp::put(member, self.member(), under())];
        let stands = match (claim, has) {
            (Claim::Holding | Claim::Waiting { .. }, Some(wish)) => {
                writing.push(TxnOp::put(slot, lent(wish), under()));
                Stands::Slot { wish }
            }
            // Written over, a key keeps its create revision.
            (Claim::Waiting { wish, .. }, None) => {
                writing.push(TxnOp::put(waiting, wish.to_string(), under()));
                writing.push(TxnOp::delete(slot, None));
                Stands::Slot { wish }
            }
            (Claim::Serving, _) => {
                writing.extend([TxnOp::delete(waiting, None), TxnOp::delete(slot, None)]);
                Stands::Serving
            }
            // The slot of a lease that ran out may have been lent again: it leaves on, and alone.
            (Claim::Holding | Claim::Alone, _) => {
                writing.extend([
                    TxnOp::delete(waiting, None),
                    TxnOp::put(slot, ALONE, under()),
                ]);
                writing.push(touch(&self.carrier.keys));
                Stands::Alone
            }
        };
        (stands, writing)
    }

    /// Sees to it that there is a ledger, and that this member's rules are in it; the latter only when it joins first, since two deployments
    /// would go on changing them otherwise.
    async fn rule(&mut self) -> Result<(), CarrierError> {
        let carrier = self.carrier;
        let name = carrier.keys.name(&Key::Ledger);
        let found = self.client.get(name.as_str(), None).await.map_err(away)?;
        let ledger = found.kvs().first().map(read_entry);
        let rules = carrier.rules.to_string();
        let has_ours = ledger.as_ref().and_then(Entry::text) == Some(rules.as_str());
        // Relaxed: nothing else is read by it.
        let may_stay = has_ours || carrier.has_ruled.load(Ordering::Relaxed);
        if ledger.is_none() || !may_stay {
            let revision = ledger.map_or(0, |entry| entry.modified);
            let unchanged = Compare::mod_revision(name.as_str(), CompareOp::Equal, revision);
            let txn = Txn::new()
                .when([unchanged])
                .and_then([TxnOp::put(name, rules, None)]);
            if !self.client.txn(txn).await.map_err(away)?.succeeded() {
                return Err(CarrierError::new(
                    "the group's ledger changed while the member joined",
                ));
            }
        }
        carrier.has_ruled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Reads the group, and watches it from there on.
    async fn link(
        mut self,
        lease: Lease,
        claim: Claim,
        stands: Stands,
    ) -> Result<EtcdLink, CarrierError> {
        let prefix = self.carrier.keys.prefix();
        let all = self
            .client
            .get(prefix, Some(GetOptions::new().with_prefix()))
            .await
            .map_err(away)?;
        let mut mirror = Mirror::new(self.who.id().clone(), self.carrier.rules);
        mirror.revision = all
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let mut news: VecDeque<Heard> = VecDeque::new();
        for kv in all.kvs() {
            if let Some(key) = self.carrier.keys.read(kv.key()) {
                let heard = mirror.see(key, Some(read_entry(kv)));
                // Offers are told below, when it is known what was taken.
                news.extend(
                    heard
                        .into_iter()
                        .filter(|heard| !matches!(heard, Heard::Offered { .. })),
                );
            }
        }
        if claim == Claim::Serving {
            news.extend(mirror.offers());
        }
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(mirror.revision + 1);
        let watch = self
            .client
            .watch(prefix, Some(options))
            .await
            .map_err(away)?;
        let member = self.member();
        Ok(EtcdLink::new(
            self.client,
            self.carrier.keys.clone(),
            self.who,
            member,
            lease,
            mirror,
            watch,
            news,
            stands,
        ))
    }
}

pub(crate) fn read_entry(kv: &etcd_client::KeyValue) -> Entry {
    Entry {
        value: kv.value().to_vec(),
        created: kv.create_revision(),
        modified: kv.mod_revision(),
        lease: kv.lease(),
    }
}
