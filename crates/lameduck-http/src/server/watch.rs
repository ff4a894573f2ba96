//! What one connection is doing, as seen from around hyper.
//!
//! Owns the facts (bytes, exchange open, upload waiting); what follows from them is decided in [`super::conn`]. hyper does not tell
//! whether a connection is idle, in the middle of a head or stalled, so the IO below it and the service and bodies above it note it here.
//!
//! Everything but the upload's state is touched by the connection's task alone; a body may have moved to another task, whose
//! changes reach us together with hyper's wake-up. What passes through an upgraded connection is noted under its link's lock. So all orderings are `Relaxed`: no other memory hangs on these values.

mod asked;
mod rest;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lameduck::inflight::{Protocol, Slot};

use self::asked::Asked;
pub(crate) use self::rest::Facts;
use super::Shared;
use super::upgrade::Pledge;
use crate::peer::Introduced;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Situation {
    /// No byte ever came.
    Silent,
    /// The rest of a TLS handshake.
    Handshake,
    /// The client's next request: nothing of it was seen.
    Idle,
    /// The rest of a request head.
    Head,
    /// The client, to send more of its body or to read more of the response.
    Transfer,
    /// The application.
    Handling,
}

const UPLOAD_NONE: u8 = 0;
const UPLOAD_OPEN: u8 = 1;
const UPLOAD_WAITING: u8 = 2;

/// The facts about one connection, or about one stream of an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) shared: Arc<Shared>,
    pub(crate) slot: Slot,
    /// Who is at the other end; None on a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// Where in the floor this connection is steered; `u64::MAX` when it was accepted after T.
    pub(crate) spread: u64,
    /// When it was accepted.
    born: Duration,
    /// Since when it had been idle, if it was parked.
    parked_since: Option<Duration>,
    /// Of a stream: its connection.
    connection: Option<Arc<Self>>,
    flooded: AtomicBool,
    /// Of an HTTP/2 connection: the stream of which a part of a frame is here, and how many bytes, as two halves.
    arriving: AtomicU64,
    /// Of a connection: bytes of all its streams' responses that were handed on to their client.
    carried: AtomicU64,
    answered: AtomicBool,
    read: AtomicU64,
    written: AtomicU64,
    served: AtomicU32,
    upload: AtomicU8,
    open: AtomicBool,
    head: AtomicBool,
    write_blocked: AtomicBool,
    ended_by_peer: AtomicBool,
    steered: AtomicBool,
    close_delimited: AtomicBool,
    late: AtomicBool,
    abandoned: AtomicBool,
    http2: AtomicBool,
    /// hyper asked for more, and nothing was there.
    awaiting: AtomicBool,
    /// hyper has handed over all that it had to write.
    flushed: AtomicBool,
    /// A TLS handshake is under way.
    handshaking: AtomicBool,
    /// Bytes read below TLS; without TLS none.
    wire_read: AtomicU64,
    /// A TLS record has begun and not ended.
    record_open: AtomicBool,
    /// What the application is told about this connection with each request.
    introduced: OnceLock<Introduced>,
    /// An upgrade that was granted; its answer is on its way.
    granted: Mutex<Option<Box<Pledge>>>,
    /// What handlers asked for, to hear of the end of what they work for.
    asked: OnceLock<Box<Asked>>,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, peer: Option<SocketAddr>, spread: u64) -> Self {
        let born = shared.now();
        let slot = shared.life.inflight().slots.claim_at(peer, born);
        if let Some(owner) = shared.owner {
            slot.owned_by(owner);
        }
        Self::with(shared, slot, peer, spread, born)
    }

    fn with(
        shared: Arc<Shared>,
        slot: Slot,
        peer: Option<SocketAddr>,
        spread: u64,
        born: Duration,
    ) -> Self {
        Self {
            shared,
            slot,
            peer,
            spread,
            born,
            parked_since: None,
            connection: None,
            flooded: AtomicBool::new(false),
            arriving: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            served: AtomicU32::new(0),
            upload: AtomicU8::new(UPLOAD_NONE),
            open: AtomicBool::new(false),
            head: AtomicBool::new(false),
            write_blocked: AtomicBool::new(false),
            ended_by_peer: AtomicBool::new(false),
            steered: AtomicBool::new(false),
            close_delimited: AtomicBool::new(false),
            late: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            awaiting: AtomicBool::new(false),
            flushed: AtomicBool::new(true),
            handshaking: AtomicBool::new(false),
            wire_read: AtomicU64::new(0),
            record_open: AtomicBool::new(false),
            introduced: OnceLock::new(),
            granted: Mutex::new(None),
            asked: OnceLock::new(),
        }
    }

    /// The facts about one stream of this connection.
    pub(crate) fn of_stream(self: &Arc<Self>) -> Self {
        let slot = self.shared.life.inflight().slots.claim(self.peer);
        if let Some(owner) = self.shared.owner {
            slot.owned_by(owner);
        }
        let shared = self.shared.clone();
        let mut stream = Self::with(shared, slot, self.peer, self.spread, self.born);
        stream.connection = Some(self.clone());
        stream.note_http2();
        stream.slot.speaks(Protocol::Stream);
        if let Some(introduced) = self.introduced() {
            stream.introduce(introduced.clone());
        }
        stream
    }

    /// Becomes the facts about the next stream of the same connection: what a request needs is not allocated anew.
    pub(crate) fn renew(&mut self) {
        // Named one by one, so that a new fact cannot be forgotten here.
        let Self {
            // Of the connection, or the place in which the next request is named.
            shared: _,
            slot: _,
            peer: _,
            spread: _,
            born: _,
            parked_since: _,
            connection: _,
            introduced: _,
            http2: _,
            // Of the connection; that of the request has gone with it.
            asked: _,
            // Never noted of a stream.
            arriving: _,
            carried: _,
            flooded: _,
            awaiting: _,
            flushed: _,
            handshaking: _,
            wire_read: _,
            record_open: _,
            answered,
            read,
            written,
            served,
            upload,
            open,
            head,
            write_blocked,
            ended_by_peer,
            steered,
            close_delimited,
            late,
            abandoned,
            granted,
        } = self;
        for flag in [
            answered,
            open,
            head,
            write_blocked,
            ended_by_peer,
            steered,
            close_delimited,
            late,
            abandoned,
        ] {
            *flag.get_mut() = false;
        }
        *read.get_mut() = 0;
        *written.get_mut() = 0;
        *served.get_mut() = 0;
        *upload.get_mut() = UPLOAD_NONE;
        *granted.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn situation(&self) -> Situation {
        let blocked = self.write_blocked.load(Relaxed);
        let upload = self.upload.load(Relaxed);
        if self.handshaking.load(Relaxed) {
            match self.wire_read.load(Relaxed) {
                0 => Situation::Silent,
                _ => Situation::Handshake,
            }
        } else if blocked || upload == UPLOAD_WAITING {
            Situation::Transfer
        } else if self.open.load(Relaxed) || upload == UPLOAD_OPEN {
            Situation::Handling
        } else if self.head.load(Relaxed) || self.record_open.load(Relaxed) {
            // What a record holds is known only at its end. It is taken for a head, which it is most of the time.
            Situation::Head
        } else if self.read.load(Relaxed) == 0 {
            Situation::Silent
        } else {
            Situation::Idle
        }
    }

    // ---- from the IO below hyper

    /// `count` bytes came from the peer; zero is its end.
    pub(crate) fn note_read(&self, count: usize) {
        if count == 0 {
            self.ended_by_peer.store(true, Relaxed);
            return;
        }
        self.read
            .store(self.read.load(Relaxed) + count as u64, Relaxed);
        if self.upload.load(Relaxed) == UPLOAD_NONE && !self.open.load(Relaxed) {
            self.note_head();
        }
    }

    /// `count` bytes of a stream's upload were given to the application.
    pub(crate) fn note_uploaded(&self, count: usize) {
        // Not a lost update: a stream's body is polled by one task at a time.
        self.read
            .store(self.read.load(Relaxed) + count as u64, Relaxed);
    }

    /// The first byte of a head is here, in our hands or in the kernel's.
    pub(crate) fn note_head(&self) {
        self.head.store(true, Relaxed);
    }

    /// The client's first bytes are the preface of HTTP/2.
    pub(crate) fn note_http2(&self) {
        self.http2.store(true, Relaxed);
        self.slot.speaks(Protocol::Http2);
    }

    /// The client's first bytes are no preface, or nobody asks.
    pub(crate) fn note_http1(&self) {
        self.slot.speaks(Protocol::Http1);
    }

    pub(crate) fn note_written(&self, count: usize) {
        self.written
            .store(self.written.load(Relaxed) + count as u64, Relaxed);
        self.write_blocked.store(false, Relaxed);
        if let Some(connection) = &self.connection {
            connection.carried.fetch_add(count as u64, Relaxed);
        }
    }

    pub(crate) fn note_write_blocked(&self) {
        self.write_blocked.store(true, Relaxed);
    }

    // ---- from the service and the bodies above hyper

    /// A request was dispatched.
    pub(crate) fn begin(&self) {
        self.head.store(false, Relaxed);
        self.abandoned.store(false, Relaxed);
        self.open.store(true, Relaxed);
        self.served
            .store(self.served.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The response was handed to hyper whole, or given up.
    pub(crate) fn finish(&self) {
        self.open.store(false, Relaxed);
    }

    /// The answer that was just given grants an upgrade.
    pub(crate) fn grant(&self, pledge: Box<Pledge>) {
        *self.granted() = Some(pledge);
    }

    /// The upgrade that the last answer granted.
    pub(crate) fn take_granted(&self) -> Option<Box<Pledge>> {
        self.granted().take()
    }

    fn granted(&self) -> MutexGuard<'_, Option<Box<Pledge>>> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection speaks something else from now on: open to its end.
    pub(crate) fn upgrade(&self) {
        self.head.store(false, Relaxed);
        self.open.store(true, Relaxed);
    }

    pub(crate) fn upload_open(&self) {
        self.upload.store(UPLOAD_OPEN, Relaxed);
    }

    /// The application waits for more of the request's body.
    pub(crate) fn upload_waiting(&self) {
        self.upload.store(UPLOAD_WAITING, Relaxed);
    }

    pub(crate) fn upload_done(&self) {
        self.upload.store(UPLOAD_NONE, Relaxed);
    }

    /// The application let the body go before its end.
    pub(crate) fn upload_abandoned(&self) {
        self.upload_done();
        self.abandoned.store(true, Relaxed);
    }

    pub(crate) fn note_close_delimited(&self) {
        self.close_delimited.store(true, Relaxed);
    }

    /// Whether this is the first `close` that this connection says.
    pub(crate) fn note_steered(&self) -> bool {
        !self.steered.swap(true, Relaxed)
    }

    /// From now on a request's first byte comes after the window's end.
    pub(crate) fn note_late(&self) {
        self.late.store(true, Relaxed);
    }

    /// From now on each request brings this to the application.
    pub(crate) fn introduce(&self, introduced: Introduced) {
        // A second introduction would change nothing; there is none.
        let _ = self.introduced.set(introduced);
    }

    // ---- facts

    pub(crate) fn introduced(&self) -> Option<&Introduced> {
        self.introduced.get()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshaking.load(Relaxed)
    }

    /// When it is old enough to go, if connections of this listener age.
    pub(crate) fn aged_at(&self) -> Option<Duration> {
        let age = self.shared.limits.age?;
        // From nine to eleven tenths; the hash that spreads steering spreads this too.
        let share = Duration::try_from_secs_f64(
            age.as_secs_f64() * (0.9 + 0.2 * (self.spread as f64 / u64::MAX as f64)),
        );
        Some(self.born.saturating_add(share.unwrap_or(age)))
    }

    /// Requests begun so far, modulo 2^32.
    pub(crate) fn served(&self) -> u32 {
        self.served.load(Relaxed)
    }

    /// Bytes moved in either direction, as far as the kernel took or gave them. Under TLS both the bytes inside and outside of
    /// records: it grows when either moves.
    pub(crate) fn moved(&self) -> u64 {
        self.received() + self.written.load(Relaxed)
    }

    /// Of a stream: how much its connection has carried for all streams.
    pub(crate) fn carried(&self) -> u64 {
        let connection = self.connection.as_deref().unwrap_or(self);
        connection.carried.load(Relaxed)
    }

    /// What is here of a frame that is not whole.
    pub(crate) fn note_arriving(&self, part: Option<(u32, usize)>) {
        let packed = part.map_or(0, |(stream, bytes)| {
            u64::from(stream) << 32 | bytes as u64 & 0xffff_ffff
        });
        self.arriving.store(packed, Relaxed);
    }

    /// Bytes of a frame of `stream` that is not whole.
    pub(crate) fn arriving(&self, stream: u32) -> u64 {
        let packed = self.arriving.load(Relaxed);
        if packed >> 32 == u64::from(stream) {
            packed & 0xffff_ffff
        } else {
            0
        }
    }

    /// The client sends more frames without content than it may.
    pub(crate) fn note_flooded(&self) {
        self.flooded.store(true, Relaxed);
    }

    pub(crate) fn is_flooded(&self) -> bool {
        self.flooded.load(Relaxed)
    }

    /// The head of the response was sent.
    pub(crate) fn note_answered(&self) {
        self.answered.store(true, Relaxed);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// Bytes that came from the peer.
    pub(crate) fn received(&self) -> u64 {
        self.read.load(Relaxed) + self.wire_read.load(Relaxed)
    }

    /// Bytes that went to the peer, as far as the kernel took them.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    pub(crate) fn is_write_blocked(&self) -> bool {
        self.write_blocked.load(Relaxed)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Whether the application has not seen the end of the request's body yet.
    pub(crate) fn has_upload(&self) -> bool {
        self.upload.load(Relaxed) != UPLOAD_NONE
    }

    /// Whether the client may still be sending a body that nobody will read.
    pub(crate) fn leaves_input_unread(&self) -> bool {
        self.upload.load(Relaxed) != UPLOAD_NONE || self.abandoned.load(Relaxed)
    }

    pub(crate) fn is_ended_by_peer(&self) -> bool {
        self.ended_by_peer.load(Relaxed)
    }

    /// Whether this connection speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// Whether the response's end is told by the connection's end alone: then a cut must not look like one.
    pub(crate) fn is_close_delimited(&self) -> bool {
        self.close_delimited.load(Relaxed)
    }

    /// Whether TLS stands below HTTP.
    pub(crate) fn is_tls(&self) -> bool {
        self.wire_read.load(Relaxed) > 0
    }
}

/// What is seen from below TLS.
#[cfg(feature = "tls")]
impl Watch {
    pub(crate) fn begin_handshake(&self) {
        self.handshaking.store(true, Relaxed);
    }

    pub(crate) fn end_handshake(&self) {
        self.handshaking.store(false, Relaxed);
    }

    /// `count` bytes of TLS came from the peer, and end within a record or at its end.
    pub(crate) fn note_wire_read(&self, count: usize, record_open: bool) {
        self.wire_read
            .store(self.wire_read.load(Relaxed) + count as u64, Relaxed);
        self.record_open.store(record_open, Relaxed);
    }

    /// Whether the peer said nothing at all.
    pub(crate) fn is_wire_silent(&self) -> bool {
        self.wire_read.load(Relaxed) == 0
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;
    use crate::server::Protocols;
    use crate::server::course::Wishes;
    use crate::server::limits::Limits;

    fn watch() -> Watch {
        let plan = lameduck::Plan::preset(lameduck::Preset::Local);
        let life = lameduck::Lifecycle::embedded(plan).expect("a lifecycle");
        let shared = Shared::new(
            &life,
            Limits::default(),
            Protocols::default(),
            Wishes::default(),
        );
        Watch::new(Arc::new(shared), None, 0)
    }

    #[test]
    fn a_handshake_begins_with_its_first_byte_and_leaves_a_silent_connection() {
        let watch = watch();
        watch.begin_handshake();
        assert_eq!(watch.situation(), Situation::Silent);
        watch.note_wire_read(1, true);
        assert_eq!(watch.situation(), Situation::Handshake);
        watch.note_write_blocked();
        assert_eq!(watch.situation(), Situation::Handshake);
        watch.note_written(1);
        watch.note_wire_read(200, false);
        watch.end_handshake();
        assert_eq!(watch.situation(), Situation::Silent, "nothing of HTTP came");
    }

    #[test]
    fn h1_06_a_record_that_has_begun_is_a_head_that_has_begun() {
        let watch = watch();
        watch.note_wire_read(3, true);
        assert_eq!(watch.situation(), Situation::Head);
        // It held something else, a KeyUpdate say.
        watch.note_wire_read(20, false);
        assert_eq!(watch.situation(), Situation::Silent);
        watch.note_read(30);
        watch.begin();
        watch.note_wire_read(3, true);
        assert_eq!(watch.situation(), Situation::Handling);
    }

    #[test]
    fn h1_09_bytes_of_a_record_are_progress_before_the_record_is_whole() {
        let watch = watch();
        watch.begin();
        watch.upload_waiting();
        let before = (watch.moved(), watch.received());
        watch.note_wire_read(1, true);
        assert_eq!(watch.situation(), Situation::Transfer);
        assert!(watch.moved() > before.0 && watch.received() > before.1);
    }
}
