//! Who holds the exit: one fixed slot per connection, readable at any time without a lock.
//!
//! Owns the table. The reader is the driver, also when every worker is wedged, so nothing that it needs stands behind a lock that a
//! worker might hold: chunks are published once and never moved. Only claiming and giving back (per connection, not per
//! request) take one.
//!
//! Bound: [`Slots::MAX`] connections at the same time; those past it are counted in [`Slots::dropped`] and have a slot that
//! remembers nothing. Memory: 128 bytes a slot, in chunks that double, kept for the next connection.

mod cell;
mod protocol;

use std::collections::BinaryHeap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use self::cell::{Cell, Raw, Read};
pub use self::protocol::{ByProtocol, Protocol};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, lock};

const FIRST_CHUNK: usize = 64;
const CHUNKS: usize = 14;

/// The table of who is connected and what they asked for.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use lameduck::inflight::Slots;
///
/// let slots = Slots::new();
/// let slot = slots.claim(Some("192.0.2.7:4711".parse().unwrap()));
/// slot.begin("GET", "/slow?ms=500", Duration::from_secs(3));
///
/// let snapshot = slots.snapshot(10);
/// assert_eq!(snapshot.requests[0].path, "/slow");
/// assert_eq!(snapshot.requests[0].since, Duration::from_secs(3));
///
/// slot.idle();
/// assert_eq!(slots.snapshot(10).idle, 1);
/// ```
#[derive(Clone)]
pub struct Slots {
    table: Arc<Table>,
}

/// One connection's slot; dropping it gives it back.
pub struct Slot {
    table: Arc<Table>,
    /// None past the bound.
    place: Option<Place>,
}

struct Place {
    /// Standing in a chunk of the table, which lives as long as `Slot::table`: shared, so that no lookup is needed per request.
    chunk: std::sync::Arc<[Cell]>,
    offset: usize,
    index: usize,
}

/// What [`Slots::snapshot`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Those in a request, oldest first, at most as many as were asked for.
    pub requests: Vec<SlotView>,
    /// How many were in a request, whether or not `requests` has room for them.
    pub busy: usize,
    /// How many connections were open without a request.
    pub idle: usize,
    /// What is spoken, of those and these.
    pub by_protocol: ByProtocol,
    /// How many slots could not be read because they were being written all the time.
    pub torn: usize,
}

/// A request that was going on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotView {
    /// The first eight bytes of the method.
    pub method: String,
    /// The path without its query, at most 64 bytes; what is not UTF-8 is replaced.
    pub path: String,
    /// Whether the path was longer.
    pub path_is_cut: bool,
    /// Who asked; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// What is spoken, as far as the server said so.
    pub protocol: Protocol,
    /// When the request began, on the clock of whoever called [`Slot::begin`], to the microsecond.
    pub since: Duration,
}

struct Table {
    chunks: [OnceLock<std::sync::Arc<[Cell]>>; CHUNKS],
    /// How many slots were ever claimed at the same time: where a reader may stop.
    high_water: AtomicUsize,
    dropped: AtomicU64,
    contended: AtomicU64,
    free: Mutex<Vec<usize>>,
}

impl Slots {
    /// How many connections can be named at the same time.
    pub const MAX: usize = FIRST_CHUNK * ((1 << CHUNKS) - 1);

    /// An empty table.
    pub fn new() -> Self {
        Self {
            table: Arc::new(Table {
                chunks: std::array::from_fn(|_| OnceLock::new()),
                high_water: AtomicUsize::new(0),
                dropped: AtomicU64::new(0),
                contended: AtomicU64::new(0),
                free: Mutex::new(Vec::new()),
            }),
        }
    }

    /// A slot for a new connection, idle.
    pub fn claim(&self, peer: Option<SocketAddr>) -> Slot {
        let place = self.table.claim();
        match &place {
            Some(place) => place.cell().claim(peer),
            // Relaxed: a figure.
            None => _ = self.table.dropped.fetch_add(1, Ordering::Relaxed),
        }
        Slot {
            table: Arc::clone(&self.table),
            place,
        }
    }

    /// Who is in a request now: the `limit` oldest, and how many there were in all. Takes no lock.
    ///
    /// Each slot is read at its own instant.
    pub fn snapshot(&self, limit: usize) -> Snapshot {
        let mut snapshot = Snapshot::default();
        // The youngest on top, to be replaced by an older one.
        let mut oldest: BinaryHeap<Oldest> = BinaryHeap::new();
        for cell in self.table.cells() {
            match cell.read() {
                Read::Free => {}
                Read::Idle => {
                    snapshot.idle += 1;
                    snapshot.by_protocol.count(cell.protocol());
                }
                Read::Torn => snapshot.torn += 1,
                Read::Busy(raw) => {
                    snapshot.busy += 1;
                    snapshot.by_protocol.count(raw.protocol());
                    oldest.push(Oldest(raw));
                    if oldest.len() > limit {
                        oldest.pop();
                    }
                }
            }
        }
        snapshot.requests = oldest
            .into_sorted_vec()
            .iter()
            .map(|Oldest(raw)| SlotView::from_raw(raw))
            .collect();
        snapshot
    }

    /// How many connections are in a request, and how many are between two. One load for each slot; takes no lock.
    pub fn counts(&self) -> (usize, usize) {
        let (mut busy, mut idle) = (0, 0);
        for cell in self.table.cells() {
            match cell.is_busy() {
                Some(true) => busy += 1,
                Some(false) => idle += 1,
                None => {}
            }
        }
        (busy, idle)
    }

    /// How many connections were not named because the table was full.
    pub fn dropped(&self) -> u64 {
        self.table.dropped.load(Ordering::Relaxed)
    }

    /// How many requests were not named because another one began on the same slot at the same instant.
    pub fn contended(&self) -> u64 {
        self.table.contended.load(Ordering::Relaxed)
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("high_water", &self.table.high_water.load(Ordering::Relaxed))
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

impl Slot {
    /// A request begins; `at` is the time since the start of the process, or any other clock that the reader shares.
    ///
    /// Keeps eight bytes of the method and 64 of the path, never the query: it may carry secrets. Wait-free. Where a slot
    /// is shared by several requests (HTTP/2), the last one that began is named.
    #[inline]
    pub fn begin(&self, method: &str, path: &str, at: Duration) {
        if let Some(place) = &self.place
            && place.cell().begin(method, path, at).is_err()
        {
            // Relaxed: a figure.
            self.table.contended.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says what is spoken on the connection. Wait-free; said once it is known, not for each request.
    pub fn speaks(&self, protocol: Protocol) {
        if let Some(place) = &self.place {
            place.cell().speak(protocol);
        }
    }

    /// The request is over. Wait-free.
    #[inline]
    pub fn idle(&self) {
        if let Some(place) = &self.place {
            place.cell().idle();
        }
    }
}

impl Slot {
    /// Nobody is in it until the next [`begin`](Self::begin): it counts as no connection, and stays its holder's. Wait-free.
    ///
    /// For what is used again soon (a stream of HTTP/2): giving a slot back and claiming one takes a lock each.
    #[doc(hidden)]
    #[inline]
    pub fn vacate(&self) {
        if let Some(place) = &self.place {
            place.cell().free();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            place.cell().free();
            lock(&self.table.free).push(place.index);
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("index", &self.place.as_ref().map(|place| place.index))
            .finish()
    }
}

impl SlotView {
    fn from_raw(raw: &Raw) -> Self {
        Self {
            method: raw.method(),
            path: raw.path(),
            path_is_cut: raw.is_cut(),
            peer: raw.peer(),
            protocol: raw.protocol(),
            since: Duration::from_micros(raw.since),
        }
    }
}

impl Place {
    #[inline]
    fn cell(&self) -> &Cell {
        &self.chunk[self.offset]
    }
}

impl Table {
    fn claim(&self) -> Option<Place> {
        let mut free = lock(&self.free);
        let index = match free.pop() {
            Some(index) => index,
            None => {
                // Only written under the lock.
                let next = self.high_water.load(Ordering::Relaxed);
                if next == Slots::MAX {
                    return None;
                }
                next
            }
        };
        let (number, offset) = locate(index);
        let chunk = self.chunks[number]
            .get_or_init(|| (0..FIRST_CHUNK << number).map(|_| Cell::new()).collect())
            .clone();
        if index == self.high_water.load(Ordering::Relaxed) {
            self.high_water.store(index + 1, Ordering::Relaxed);
        }
        Some(Place {
            chunk,
            offset,
            index,
        })
    }

    /// All cells that were ever claimed. A chunk is published before the mark, and a reader that misses the newest mark
    /// misses a connection that is being accepted this instant.
    fn cells(&self) -> impl Iterator<Item = &Cell> {
        let claimed = self.high_water.load(Ordering::Relaxed);
        self.chunks
            .iter()
            .map_while(OnceLock::get)
            .flat_map(|chunk| chunk.iter())
            .take(claimed)
    }
}

/// Chunk `n` holds `FIRST_CHUNK << n` slots: its number and the offset in it.
fn locate(index: usize) -> (usize, usize) {
    let number = (index / FIRST_CHUNK + 1).ilog2();
    (number as usize, index - FIRST_CHUNK * ((1 << number) - 1))
}

/// Ordered by age: the greatest is the youngest.
struct Oldest(Raw);

impl Ord for Oldest {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.since.cmp(&other.0.since)
    }
}

impl PartialOrd for Oldest {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Oldest {
    fn eq(&self, other: &Self) -> bool {
        self.0.since == other.0.since
    }
}

impl Eq for Oldest {}

#[cfg(all(test, not(loom)))]
mod tests;
