//! A client that is replaced by another when the drain begins: for clients that cannot close their idle connections.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ledger::Ledger;
use super::{Closed, Counts, Lease, Lent, Pool};

/// The current client, leased for each exchange.
///
/// reqwest and hyper-util's legacy client keep idle connections and cannot be told to close them; they do it when the last clone of the client
/// is gone. So nobody keeps a clone: every exchange takes a [`Lease`] of the [`current`](Self::current) one, [releases](Lease::release) the
/// client out of it when it has the response's head, and holds the rest until it has the last byte. When the drain begins the client is
/// replaced by one that keeps nothing idle: the old one goes with the last head that was waited for, and its idle connections with it. At the
/// participant's turn that one goes, too, and nothing is leased any more.
///
/// For asynchronous clients: they are dropped wherever the last of their leases is.
///
/// Give both clients limits of their own: an idle time-out below the server's keep-alive, and a time-out for an exchange.
///
/// # Examples
/// ```
/// use lameduck::lending::{Pool, Swap};
///
/// // A client that keeps idle connections, and how to make one that keeps none.
/// let swap = Swap::new("keeps", || "keeps none");
/// let lease = swap.current()?;
/// assert_eq!((*lease, swap.counts().lent), ("keeps", 1));
///
/// swap.drain_began(); // what the participant does at the beginning of `Draining`,
/// assert_eq!(*swap.current()?, "keeps none");
/// swap.stop_lending(); // and at its turn
/// assert!(swap.current().is_err());
/// assert_eq!(swap.counts().lent, 1, "it waits for the first");
/// # drop(lease);
/// # Ok::<(), lameduck::lending::Closed>(())
/// ```
pub struct Swap<C> {
    inner: Arc<Inner<C>>,
}

struct Inner<C> {
    ledger: Arc<Ledger>,
    clients: Mutex<Clients<C>>,
}

struct Clients<C> {
    current: Option<Arc<C>>,
    next: Option<Box<dyn FnOnce() -> C + Send>>,
}

impl<C> Clone for Swap<C> {
    /// The same.
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<C> fmt::Debug for Swap<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Swap").field(&self.inner.ledger).finish()
    }
}

impl<C: Clone + Send + Sync + 'static> Swap<C> {
    /// Leases this client, and from the beginning of the drain on the one that `next` makes: with the same settings, but keeping no
    /// idle connection (`pool_max_idle_per_host(0)`).
    pub fn new(client: C, next: impl FnOnce() -> C + Send + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                ledger: Arc::default(),
                clients: Mutex::new(Clients {
                    current: Some(Arc::new(client)),
                    next: Some(Box::new(next)),
                }),
            }),
        }
    }

    /// Counts the connections that are open, so that their end is verified too; in the client's connector, say. Without it leases are
    /// all that is counted. Must not block. A second one is ignored.
    #[must_use]
    pub fn counting(self, open: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.inner.ledger.believe(open);
        self
    }

    /// Leases the current client, for one exchange. Clone no client out of the lease, [release](Lease::release) it when the response's head has
    /// come, and hold what is left of it until the response has been read to its end.
    /// The line that calls this is what a leak is named by.
    ///
    /// # Phases
    /// In any phase, until it is the client's turn in `Draining`.
    ///
    /// # Errors
    /// [`Closed`] after that.
    #[track_caller]
    pub fn current(&self) -> Result<Lease<C>, Closed> {
        let ticket = self.inner.ledger.lend(Location::caller())?;
        let client = self.inner.clients().current.clone().ok_or(Closed)?;
        // Outside the lock: how a client is cloned is not our code.
        Ok(Lease::new(C::clone(&client), ticket))
    }

    /// Leases another client from here on, with other settings or other certificates, say; the one before goes with its last lease.
    ///
    /// # Phases
    /// In `Draining` it is dropped: what is leased then keeps nothing idle.
    pub fn replace(&self, client: C) {
        let mut clients = self.inner.clients();
        let old = if clients.next.is_some() {
            clients.current.replace(Arc::new(client))
        } else {
            Some(Arc::new(client))
        };
        drop(clients);
        drop(old);
    }
}

impl<C> Inner<C> {
    fn clients(&self) -> MutexGuard<'_, Clients<C>> {
        // A panic of `next` leaves the old client, without a successor.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clone + Send + Sync + 'static> Pool for Swap<C> {
    fn drain_began(&self) {
        let next = self.inner.clients().next.take();
        // Clients are made and dropped outside the lock: neither is our code.
        let Some(client) = next.map(|next| next()) else {
            return;
        };
        let old = self.inner.clients().current.replace(Arc::new(client));
        drop(old);
    }

    fn stop_lending(&self) {
        self.inner.ledger.close();
        let mut clients = self.inner.clients();
        // Without a next one, nothing can take the place of the last.
        let last = (clients.current.take(), clients.next.take());
        drop(clients);
        drop(last);
    }

    fn counts(&self) -> Counts {
        self.inner.ledger.counts()
    }

    fn lent(&self, most: usize) -> Vec<Lent> {
        self.inner.ledger.oldest(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client whose clones are counted.
    type Client = Arc<&'static str>;

    fn swap() -> (Swap<Client>, Client, Client) {
        let (first, second) = (Client::new("first"), Client::new("second"));
        let next = Arc::clone(&second);
        (Swap::new(Arc::clone(&first), move || next), first, second)
    }

    #[test]
    fn the_old_client_goes_with_its_last_lease() {
        let (swap, first, second) = swap();
        let lease = swap.current().expect("leased");
        swap.drain_began();
        assert_eq!(Arc::strong_count(&first), 2, "ours, and the lease's");
        let later = swap.current().expect("users go on");
        assert_eq!(**later, "second");
        drop(lease);
        assert_eq!(Arc::strong_count(&first), 1);
        swap.stop_lending();
        assert_eq!(swap.current().expect_err("its turn"), Closed);
        assert_eq!(swap.counts(), Counts { open: 1, lent: 1 });
        assert_eq!(swap.lent(8).len(), 1);
        drop(later);
        assert!(swap.counts().is_empty());
        assert_eq!(Arc::strong_count(&second), 1);
    }

    #[test]
    fn what_was_released_holds_no_client_and_is_still_counted() {
        let (swap, first, _) = swap();
        let lease = swap.current().expect("leased").release();
        swap.drain_began();
        assert_eq!(Arc::strong_count(&first), 1, "its idle connections go");
        swap.stop_lending();
        assert_eq!(swap.counts().lent, 1, "its response is waited for");
        drop(lease);
        assert!(swap.counts().is_empty());
    }

    #[test]
    fn a_client_is_cloned_outside_the_lock() {
        /// A client that looks whether the swap it stands in is locked when it is cloned.
        struct Looks(Arc<Mutex<Option<Swap<Self>>>>);

        impl Clone for Looks {
            fn clone(&self) -> Self {
                if let Some(swap) = &*self.0.lock().expect("nobody panics") {
                    assert!(swap.inner.clients.try_lock().is_ok(), "it is locked");
                }
                Self(Arc::clone(&self.0))
            }
        }

        let place = Arc::default();
        let swap = Swap::new(Looks(Arc::clone(&place)), || Looks(Arc::default()));
        *place.lock().expect("nobody panics") = Some(swap.clone());
        drop(swap.current().expect("leased"));
        // Ends the circle.
        drop(place.lock().expect("nobody panics").take());
    }

    #[test]
    fn a_drain_that_begins_twice_swaps_once() {
        let (swap, _, second) = swap();
        swap.drain_began();
        swap.drain_began();
        assert_eq!(Arc::strong_count(&second), 2);
        assert_eq!(**swap.current().expect("leased"), "second");
    }

    #[test]
    fn a_replaced_client_is_leased_until_the_drain_and_never_after() {
        let (swap, first, _) = swap();
        let other = Client::new("other");
        swap.replace(Arc::clone(&other));
        assert_eq!(Arc::strong_count(&first), 1);
        assert_eq!(**swap.current().expect("leased"), "other");
        swap.drain_began();
        swap.replace(Arc::clone(&other));
        assert_eq!(**swap.current().expect("leased"), "second");
        swap.stop_lending();
        swap.replace(Arc::clone(&other));
        assert!(swap.current().is_err());
        assert_eq!(Arc::strong_count(&other), 1);
    }

    #[test]
    fn a_client_that_stops_without_a_drain_is_gone() {
        let (swap, first, second) = swap();
        swap.stop_lending();
        swap.drain_began();
        swap.replace(Client::new("late"));
        assert!(swap.current().is_err());
        assert_eq!(
            (Arc::strong_count(&first), Arc::strong_count(&second)),
            (1, 1)
        );
        assert!(swap.counts().is_empty());
    }
}
