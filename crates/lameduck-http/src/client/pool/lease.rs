//! A connection in somebody's hands: while one request has it, and while it is opened. Dropped, it goes back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::Pool;
use super::counts::ClosedBy;
use super::machine::{ConnId, Fit, Speaks};
use crate::client::body::{Progress, Sent};
use crate::client::conn::{Sender, Sending};
use crate::client::wire::WireState;

/// For how long an upload that nobody reads may go on after the response to it, and how soon it has to end when it was told to.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// How often hyper gets a turn to read what came for a connection that rests.
const TURNS: usize = 3;

/// What a request gets.
pub(crate) enum Held {
    Lease(Lease),
    Opening(Opening),
    /// Nothing: one is idle already, and nothing else was wished for.
    Spare,
}

impl Held {
    /// None if its server has ended it, as far as can be known.
    pub(super) async fn if_open(self) -> Option<Self> {
        match self {
            Self::Lease(mut lease) => {
                if lease.is_open().await {
                    return Some(Self::Lease(lease));
                }
                lease.fail(ClosedBy::Peer);
                None
            }
            Self::Opening(_) | Self::Spare => Some(self),
        }
    }
}

/// A connection with a request on it; dropped, that was abandoned.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    id: ConnId,
    sender: Option<Sender>,
    pub(crate) wire: Arc<WireState>,
    speaks: Speaks,
    /// The body of its request, on HTTP/2: for as long as that is sent, there is a stream.
    upload: Option<Arc<Progress>>,
    /// Its request was handed over.
    is_sent: bool,
    is_over: bool,
}

impl Lease {
    pub(super) fn new(
        pool: Arc<Pool>,
        id: ConnId,
        sender: Option<Sender>,
        wire: Arc<WireState>,
    ) -> Self {
        let speaks = sender.as_ref().map_or(Speaks::Http1, Sender::speaks);
        Self {
            pool,
            id,
            sender,
            wire,
            speaks,
            upload: None,
            is_sent: false,
            is_over: false,
        }
    }

    pub(crate) const fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// Whether it can take a request. What came for a connection that rests is an end, or what a server says before it; under TLS it may be
    /// a new ticket, too, so that hyper gets its turn to see.
    async fn is_open(&mut self) -> bool {
        for _ in 0..TURNS {
            match &self.sender {
                Some(sender) if !sender.is_closed() => {}
                _ => return false,
            }
            // On one that is in use something always comes, and its task is awake.
            if !self.wire.rests() || self.wire.is_quiet() {
                return !self.pool.is_retired(self.id);
            }
            yield_now().await;
        }
        false
    }

    /// Hands a request over; None if the connection is closed.
    pub(crate) fn try_send(&mut self, request: Request<Sent>) -> Option<Sending> {
        let upload = request.body().progress();
        let sending = self.sender.as_mut()?.try_send(request);
        self.wire.begins();
        self.is_sent = true;
        if self.speaks == Speaks::Http2 {
            self.upload = Some(upload);
            // The pool's is the only one to be kept, and that is dropped when the socket closes.
            self.sender = None;
        }
        Some(sending)
    }

    /// Its socket is closed: what was handed over and not taken comes back.
    pub(crate) fn let_go(&mut self) {
        self.sender = None;
    }

    /// The request is over, and the connection is as good as before: if it turns out to be. If it ends instead, it is `otherwise`.
    pub(crate) fn give_back(mut self, otherwise: ClosedBy) {
        if self.speaks == Speaks::Http2 {
            self.end(Fit::Again);
            return;
        }
        match &mut self.sender {
            Some(sender) if sender.is_ready() => self.end(Fit::Again),
            Some(_) => {
                // hyper gets it ready on its own task.
                let runtime = self.pool.runtime.clone();
                runtime.spawn(async move {
                    let ready = match &mut self.sender {
                        Some(sender) => timeout(READY_WITHIN, sender.ready()).await,
                        None => return,
                    };
                    self.end(match ready {
                        Ok(Ok(())) => Fit::Again,
                        Ok(Err(_)) => Fit::Not(otherwise),
                        Err(_) => Fit::Not(ClosedBy::Abandoned),
                    });
                });
            }
            None => self.end(Fit::Not(ClosedBy::Peer)),
        }
    }

    /// Its server says for how long it keeps it when it rests.
    pub(crate) fn keep_for(&self, said: Duration) {
        self.pool.keep_for(self.id, said);
    }

    /// What its request does next may end it.
    pub(crate) fn may_end(&self, by: ClosedBy) {
        self.pool.may_end(self.id, by);
    }

    /// The connection is of no more use to anybody.
    pub(crate) fn fail(mut self, by: ClosedBy) {
        if self.speaks == Speaks::Http2 {
            self.pool.retire(self.id, by);
        }
        self.end(Fit::Not(by));
    }

    fn end(&mut self, fit: Fit) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        if std::mem::take(&mut self.is_sent) {
            self.wire.ends();
        }
        let upload = self.upload.take().filter(|upload| !upload.is_over());
        if let Some(upload) = upload {
            self.sender = None;
            self.outlast(upload, fit);
            return;
        }
        let sender = self.sender.take();
        // A clone of HTTP/2's is not what the pool keeps.
        let kept = match (self.speaks, fit) {
            (Speaks::Http1, Fit::Again) => sender,
            _ => {
                drop(sender);
                None
            }
        };
        self.pool.give_back(self.id, fit, kept);
    }

    /// Gives back when the upload is over as well: until then hyper keeps its stream, whatever became of the response.
    fn outlast(&self, upload: Arc<Progress>, fit: Fit) {
        let (pool, id) = (Arc::clone(&self.pool), self.id);
        self.pool.runtime.spawn(async move {
            let is_answered = fit == Fit::Again;
            let ends = timeout(READY_WITHIN, upload.ended());
            if !is_answered || ends.await.is_err() {
                upload.give_up();
                // One that waits for the server to take more is not asked for more, and does not learn of it.
                if timeout(READY_WITHIN, upload.ended()).await.is_err() {
                    pool.retire(id, ClosedBy::Abandoned);
                }
            }
            pool.give_back(id, fit, None);
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end(Fit::Not(ClosedBy::Abandoned));
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.id).finish()
    }
}

/// A connection that is being opened; dropped, it was not.
pub(crate) struct Opening {
    pub(crate) pool: Arc<Pool>,
    pub(crate) id: ConnId,
    pub(crate) wire: Arc<WireState>,
    /// A socket is there, which tells the pool itself when it closes.
    is_open: bool,
}

impl Opening {
    pub(super) const fn new(pool: Arc<Pool>, id: ConnId, wire: Arc<WireState>) -> Self {
        Self {
            pool,
            id,
            wire,
            is_open: false,
        }
    }

    pub(crate) const fn is_open(&mut self) {
        self.is_open = true;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_open {
            self.pool.closed(self.id);
        }
    }
}
