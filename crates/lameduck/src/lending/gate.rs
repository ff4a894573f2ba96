//! A gate before a pool: for pools that cannot stop lending, and to know who borrowed what.

use std::fmt;
use std::future::poll_fn;
use std::panic::{Location, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use tokio::task::JoinHandle;

use super::ledger::{Ledger, Ticket};
use super::{Closed, Counts, Lease, Lent, Pool};

/// A pool behind a gate: it is lent from through the gate only, and not at all once the gate is closed.
///
/// The gate owns the pool. Once it is closed it drops its own, which closes what is idle in pools that have no other way (bb8, r2d2): those
/// live as long as something of theirs is lent, and end with the last [`Lease`]. So give the gate to whoever needs connections, and keep no
/// clone of the pool.
///
/// The pool is dropped on a thread that may block. A pool that blocks (r2d2) also ends in the drop of its last lease: ask it with
/// [`blocking_lend`](Self::blocking_lend), and use and drop what it lends on such threads
/// ([`spawn_blocking`](tokio::task::spawn_blocking)) only. Some blocking clients panic elsewhere.
///
/// Without [`counting`](Self::counting) it counts what is lent, and takes it for all that is open.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use lameduck::lending::{Gate, LendError, Pool};
///
/// # type Connection = u32;
/// # struct Some;
/// # impl Some { async fn acquire(&self) -> Result<Connection, std::io::Error> { Ok(7) } }
/// # let pool = Some;
/// let gate = Gate::new(pool);
/// let connection = gate.lend(async |pool| pool.acquire().await).await.expect("the gate is open");
/// assert_eq!((*connection, gate.counts().lent), (7, 1));
/// drop(connection);
///
/// gate.stop_lending(); // what the participant does at its turn
/// let refused = gate.lend(async |pool| pool.acquire().await).await;
/// assert!(matches!(refused, Err(LendError::Closed(_))));
/// # }
/// ```
pub struct Gate<P> {
    inner: Arc<Inner<P>>,
}

struct Inner<P> {
    ledger: Arc<Ledger>,
    pool: Mutex<Option<Arc<P>>>,
}

impl<P> Clone for Gate<P> {
    /// The same gate.
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<P> fmt::Debug for Gate<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&self.inner.ledger).finish()
    }
}

/// Why nothing was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LendError<E> {
    /// The gate is closed.
    Closed(Closed),
    /// The pool says why.
    Pool(E),
}

impl<E> fmt::Display for LendError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(f),
            Self::Pool(_) => f.write_str("the pool lent nothing"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for LendError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed(_) => None,
            Self::Pool(error) => Some(error),
        }
    }
}

impl<P: Send + Sync + 'static> Gate<P> {
    /// A gate before this pool.
    #[must_use]
    pub fn new(pool: P) -> Self {
        Self {
            inner: Arc::new(Inner {
                ledger: Arc::default(),
                pool: Mutex::new(Some(Arc::new(pool))),
            }),
        }
    }

    /// Counts what is open, so that the end of idle connections is verified too; see the manual for where to count. Must not block. A
    /// second one is ignored.
    #[must_use]
    pub fn counting(self, open: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.inner.ledger.believe(open);
        self
    }

    /// Asks the pool for something, and counts it as lent from the question on. The line that calls this is what a leak is named by.
    ///
    /// `ask` gets the pool and must not keep it.
    ///
    /// # Phases
    /// In any phase, until it is the pool's turn in `Draining`.
    ///
    /// # Errors
    /// [`LendError::Closed`] if the gate is closed, or closes before the pool has answered; what the pool answered otherwise.
    ///
    /// # Cancel safety
    /// Dropping it drops the question; nothing is lent then.
    #[track_caller]
    pub fn lend<F, Fut, T, E>(
        &self,
        ask: F,
    ) -> impl Future<Output = Result<Lease<T>, LendError<E>>> + use<P, F, Fut, T, E>
    where
        F: FnOnce(Arc<P>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let (inner, by) = (Arc::clone(&self.inner), Location::caller());
        async move {
            let (ticket, pool) = inner.enter(by).map_err(LendError::Closed)?;
            let mut closed = inner.ledger.closed().fired();
            let mut answer = pin!(ask(pool));
            let lent = poll_fn(|cx| {
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    return Poll::Ready(answer.map_err(LendError::Pool));
                }
                // Pools let wait for long, some for 30 s: at the end nobody is there any more who would need it.
                Pin::new(&mut closed)
                    .poll(cx)
                    .map(|()| Err(LendError::Closed(Closed)))
            })
            .await?;
            Ok(Lease::new(lent, ticket))
        }
    }

    /// As [`lend`](Self::lend), for pools that block the thread that asks.
    ///
    /// A gate that closes cannot interrupt the question: it counts as lent until the pool has answered. Give such a pool a time-out for it
    /// that is shorter than the participant's budget.
    ///
    /// # Phases
    /// In any phase, until it is the pool's turn in `Draining`.
    ///
    /// # Errors
    /// [`LendError::Closed`] if the gate is closed; what the pool answered otherwise.
    #[track_caller]
    pub fn blocking_lend<T, E>(
        &self,
        ask: impl FnOnce(&P) -> Result<T, E>,
    ) -> Result<Lease<T>, LendError<E>> {
        let (ticket, pool) = self
            .inner
            .enter(Location::caller())
            .map_err(LendError::Closed)?;
        let lent = ask(&pool).map_err(LendError::Pool)?;
        Ok(Lease::new(lent, ticket))
    }
}

impl<P> Inner<P> {
    fn enter(&self, by: &'static Location<'static>) -> Result<(Ticket, Arc<P>), Closed> {
        let ticket = self.ledger.lend(by)?;
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been closed since.
        pool.clone().map(|pool| (ticket, pool)).ok_or(Closed)
    }
}

/// What a gate is to those who do not know its pool.
pub(super) trait Barrier: Send + Sync {
    fn close(&self);
    fn end_pool(&self) -> Option<JoinHandle<()>>;
    fn lent(&self) -> usize;
    fn oldest(&self, most: usize) -> Vec<Lent>;
}

impl<P: Send + Sync + 'static> Barrier for Inner<P> {
    fn close(&self) {
        self.ledger.close();
    }

    /// Drops the gate's own where it may block, once.
    fn end_pool(&self) -> Option<JoinHandle<()>> {
        let pool = self
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        Some(tokio::task::spawn_blocking(move || drop(pool)))
    }

    fn lent(&self) -> usize {
        self.ledger.count()
    }

    fn oldest(&self, most: usize) -> Vec<Lent> {
        self.ledger.oldest(most)
    }
}

/// Waits until a gate's pool is dropped.
pub(super) async fn end_pool(gate: &dyn Barrier) {
    if let Some(ending) = gate.end_pool()
        && let Err(error) = ending.await
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}

impl<P: Send + Sync + 'static> Gate<P> {
    pub(super) fn barrier(&self) -> Arc<dyn Barrier> {
        Arc::clone(&self.inner) as Arc<dyn Barrier>
    }
}

impl<P: Send + Sync + 'static> Pool for Gate<P> {
    fn stop_lending(&self) {
        self.inner.close();
    }

    /// Drops the gate's own pool, on a thread that may block.
    ///
    /// # Panics
    /// Outside a tokio runtime, and as the pool's drop does.
    async fn close_idle(&self) {
        end_pool(&*self.inner).await;
    }

    fn counts(&self) -> Counts {
        self.inner.ledger.counts()
    }

    fn lent(&self, most: usize) -> Vec<Lent> {
        self.inner.oldest(most)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::lending::ledger::MOST_KNOWN;

    /// The pool itself, as what is lent: its `Arc` counts who holds it.
    type Held = Arc<()>;

    fn gate() -> (Gate<Held>, Held) {
        let pool = Held::default();
        (Gate::new(Arc::clone(&pool)), pool)
    }

    async fn lend(gate: &Gate<Held>) -> Result<Lease<Held>, LendError<Infallible>> {
        gate.lend(async |pool| Ok(Held::clone(&pool))).await
    }

    #[tokio::test]
    async fn what_is_lent_counts_until_it_is_dropped() {
        let (gate, pool) = gate();
        let first = lend(&gate).await.expect("open");
        let second = lend(&gate).await.expect("open");
        assert_eq!(gate.counts(), Counts { open: 2, lent: 2 });
        drop(first);
        assert_eq!(gate.counts().lent, 1);
        gate.stop_lending();
        assert_eq!(gate.counts().lent, 1, "it is waited for");
        assert!(matches!(lend(&gate).await, Err(LendError::Closed(Closed))));
        assert!(gate.blocking_lend(|_| Ok::<_, Infallible>(())).is_err());
        gate.close_idle().await;
        assert_eq!(Arc::strong_count(&pool), 2, "ours, and what is lent");
        drop(second);
        assert!(gate.counts().is_empty());
        assert_eq!(Arc::strong_count(&pool), 1, "the gate keeps no pool");
    }

    #[tokio::test(start_paused = true)]
    async fn who_still_waits_is_refused_when_it_closes() {
        let (gate, pool) = gate();
        let (waits, waiting) = oneshot::channel();
        let asking = gate.lend(async |pool: Arc<Held>| {
            let _ = waits.send(());
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(Held::clone(&pool))
        });
        let asking = tokio::spawn(asking);
        waiting.await.expect("it asks");
        assert_eq!(gate.counts().lent, 1, "a question counts");
        gate.stop_lending();
        let refused = tokio::time::timeout(Duration::from_secs(1), asking).await;
        let refused = refused.expect("at once").expect("no panic");
        assert!(matches!(refused, Err(LendError::Closed(_))));
        assert!(gate.counts().is_empty());
        assert_eq!(Arc::strong_count(&pool), 2, "ours, and the gate's");
    }

    /// A pool of a client that blocks, as postgres' does: where futures are polled it may not be dropped.
    struct Blocks(Option<oneshot::Sender<()>>);

    impl Drop for Blocks {
        fn drop(&mut self) {
            // Panics on a thread that polls futures.
            tokio::runtime::Handle::current().block_on(async {});
            let _ = self.0.take().expect("once").send(());
        }
    }

    #[tokio::test]
    async fn a_pool_that_blocks_is_dropped_where_it_may() {
        let (drops, dropped) = oneshot::channel();
        let gate = Gate::new(Blocks(Some(drops)));
        gate.stop_lending();
        gate.close_idle().await;
        dropped.await.expect("without a panic");
        gate.close_idle().await;
    }

    #[tokio::test]
    #[should_panic = "on purpose"]
    async fn a_panic_of_the_pools_drop_is_not_swallowed() {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        let gate = Gate::new(Panics);
        gate.stop_lending();
        gate.close_idle().await;
    }

    #[tokio::test]
    async fn a_question_that_failed_or_was_dropped_lends_nothing() {
        let (gate, _pool) = gate();
        let failed = gate.lend(async |_| Err::<(), _>("full")).await;
        assert_eq!(failed.expect_err("full"), LendError::Pool("full"));
        drop(gate.lend(async |_| Ok::<_, Infallible>(())));
        assert!(gate.counts().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_lent_are_named_by_age_and_line() {
        let (gate, _pool) = gate();
        let (asked, line) = (gate.lend(async |_| Ok::<_, Infallible>(())), line!());
        let oldest = asked.await.expect("open");
        tokio::time::advance(Duration::from_secs(3)).await;
        let younger = lend(&gate).await.expect("open");
        let named = gate.lent(8);
        assert_eq!(named.len(), 2);
        assert_eq!(named[0].age, Duration::from_secs(3));
        assert_eq!(named[0].by.line(), line);
        assert!(named[0].to_string().ends_with(&format!("gate.rs:{line}")));
        assert_eq!(gate.lent(1), named[..1]);
        drop((oldest, younger));
        assert_eq!(gate.lent(8), []);
    }

    #[tokio::test]
    async fn inv_11_what_is_not_known_any_more_is_still_counted() {
        const MANY: usize = MOST_KNOWN + 10;
        let (gate, _pool) = gate();
        let mut leases = Vec::new();
        for _ in 0..MANY {
            leases.push(lend(&gate).await.expect("open"));
        }
        assert_eq!(gate.counts().lent, MANY);
        assert_eq!(gate.lent(usize::MAX).len(), MOST_KNOWN);
        drop(leases);
        assert!(gate.counts().is_empty());
    }

    #[tokio::test]
    async fn a_lease_among_thousands_is_known_when_it_leaks() {
        let (gate, _pool) = gate();
        let mut leases = Vec::new();
        for _ in 0..2_000 {
            leases.push(lend(&gate).await.expect("open"));
        }
        let (asked, line) = (gate.lend(async |_| Ok::<_, Infallible>(())), line!());
        let leaked = asked.await.expect("open");
        drop(leases);
        let named = gate.lent(usize::MAX);
        assert_eq!((named.len(), named[0].by.line()), (1, line));
        drop(leaked);
    }

    #[tokio::test]
    async fn what_is_open_is_believed_before_what_is_lent() {
        let gate = Gate::new(()).counting(|| 3);
        assert_eq!(gate.counts(), Counts { open: 3, lent: 0 });
        assert_eq!(gate.counts().idle(), 3);
    }
}
