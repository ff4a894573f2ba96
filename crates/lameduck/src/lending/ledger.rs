//! What is lent: how much, since when, and by which line of the program. And whether lending goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Counts;
use crate::inflight::Token;

/// How many are known by age and place at the same time, some 4 MiB; what is lent beyond them is only counted (INV-11). Far above what a
/// service has out at once: one that is not known when it is lent never is.
pub(super) const MOST_KNOWN: usize = 65_536;

/// Nothing is lent any longer: the service is leaving, and everything that declared its dependency has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing is lent any longer: the service is leaving; let whoever still asks depend on what it borrows from")
    }
}

impl std::error::Error for Closed {}

/// Something that is lent, as a report names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Lent {
    /// For how long.
    pub age: Duration,
    /// The line that asked for it.
    pub by: &'static Location<'static>,
}

impl fmt::Display for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tenths, by) = (self.age.as_millis() / 100, self.by);
        let (file, line) = (by.file(), by.line());
        write!(f, "{}.{} s ago at {file}:{line}", tenths / 10, tenths % 10)
    }
}

/// Something lent, which comes back when it is dropped.
///
/// It may be moved to other tasks, and into a response's body. It is dropped where it is, so that the last one of a pool may end that pool
/// there: what may block has to be dropped where that is allowed. One that never comes back is named in the report of the shutdown.
#[derive(Debug)]
#[must_use = "dropping a lease gives it back"]
pub struct Lease<T> {
    // Before the ticket: what is lent is back before it counts as back.
    lent: T,
    _ticket: Ticket,
}

impl<T> Lease<T> {
    pub(super) const fn new(lent: T, ticket: Ticket) -> Self {
        Self {
            lent,
            _ticket: ticket,
        }
    }

    /// Gives back what is lent and goes on counting: for what needs the client no longer, but keeps a connection of it open, such as a
    /// response whose head has come. A lease that is held instead holds the client and with it all its idle connections.
    ///
    /// # Phases
    /// The same in all of them.
    ///
    /// # Examples
    /// ```
    /// use lameduck::lending::{Pool, Swap};
    /// # #[derive(Clone)] struct Client;
    /// # impl Client { fn head(&self) -> Body { Body } }
    /// # struct Body;
    /// # impl Body { fn read(self) -> &'static str { "the response" } }
    /// let swap = Swap::new(Client, || Client);
    /// let client = swap.current()?;
    /// let body = client.head();
    /// let lease = client.release(); // the rest needs no client, but it is waited for
    /// assert_eq!((body.read(), swap.counts().lent), ("the response", 1));
    /// drop(lease);
    /// assert_eq!(swap.counts().lent, 0);
    /// # Ok::<(), lameduck::lending::Closed>(())
    /// ```
    pub fn release(self) -> Lease<()> {
        let Self { lent, _ticket } = self;
        drop(lent);
        Lease { lent: (), _ticket }
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lent
    }
}

impl<T> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.lent
    }
}

/// Counts what a program has open.
type Open = Box<dyn Fn() -> usize + Send + Sync>;

/// Counts what is lent until lending is stopped, and what is still lent after that.
#[derive(Default)]
pub(super) struct Ledger {
    book: Mutex<Book>,
    closed: Token,
    open: OnceLock<Open>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("lent", &self.count())
            .field("closed", &self.closed.is_fired())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Book {
    closed: bool,
    lent: usize,
    next: u64,
    /// In the order in which they were lent.
    known: BTreeMap<u64, (Instant, &'static Location<'static>)>,
}

/// Keeps one thing counted as lent.
#[derive(Debug)]
pub(super) struct Ticket {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Ledger {
    pub(super) fn lend(self: &Arc<Self>, by: &'static Location<'static>) -> Result<Ticket, Closed> {
        let mut book = self.book();
        if book.closed {
            return Err(Closed);
        }
        let number = book.next;
        book.next += 1;
        book.lent += 1;
        if book.known.len() < MOST_KNOWN {
            book.known.insert(number, (Instant::now(), by));
        }
        drop(book);
        Ok(Ticket {
            ledger: Arc::clone(self),
            number,
        })
    }

    /// Lends nothing from here on: who gets a ticket got it before.
    pub(super) fn close(&self) {
        self.book().closed = true;
        self.closed.fire();
    }

    /// Fires when lending stops.
    pub(super) const fn closed(&self) -> &Token {
        &self.closed
    }

    pub(super) fn count(&self) -> usize {
        self.book().lent
    }

    /// Takes the word of somebody else for what is open; a second one is ignored.
    pub(super) fn believe(&self, open: impl Fn() -> usize + Send + Sync + 'static) {
        let _ = self.open.set(Box::new(open));
    }

    /// Without another word what is lent is all that is open.
    pub(super) fn counts(&self) -> Counts {
        let lent = self.count();
        let open = self.open.get().map_or(lent, |open| open());
        Counts { open, lent }
    }

    pub(super) fn oldest(&self, most: usize) -> Vec<Lent> {
        let book = self.book();
        let known = book.known.values().take(most);
        known
            .map(|&(since, by)| Lent {
                age: since.elapsed(),
                by,
            })
            .collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing under this lock can panic between two writes.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut book = self.ledger.book();
        book.lent -= 1;
        book.known.remove(&self.number);
    }
}
