//! One connection of a participant in another process: what it is told in order, and what becomes of what it says.
//!
//! The participant itself is one of the lifecycle's own; this is its handle, held for somebody outside. The connection is its life: [`Hold`] is
//! dropped with it.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use lameduck::inflight::Fired;
use lameduck::negotiation::{End, FromParticipant, Heard, Ledger, ToParticipant};
use lameduck::{Cause, Ended, Epilogue, Given, Lifecycle, Participant, Terms};
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::timeout;

use super::book::Book;
use super::caller::Caller;
use super::join::Join;
use crate::side::accept::PER_CONNECTION;
use crate::side::role::Held;

/// How many messages wait for a participant that does not read: more than there are of different ones.
pub(super) const MOST_WAITING: usize = 64;

pub(super) struct Session {
    /// Names it in its own requests.
    pub(super) id: String,
    /// What it said to join.
    pub(super) join: Join,
    pub(super) caller: Caller,
    life: Lifecycle,
    line: Mutex<Line>,
    /// Rings when more was to be told than it reads.
    overflowed: Notify,
}

/// The way between a participant of the lifecycle and the one that it stands for.
struct Line {
    ledger: Ledger,
    /// None once its last word was said.
    participant: Option<Participant>,
    /// None once it is told nothing more.
    out: Option<Sender<Bytes>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.join.name)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Begins to tell it what happens; what it is told comes out of the queue.
    pub(super) fn begin(
        id: String,
        join: Join,
        caller: Caller,
        life: Lifecycle,
        participant: Participant,
    ) -> (Arc<Self>, Queue) {
        let (into, queue) = mpsc::channel(MOST_WAITING);
        let signs = Signs {
            closing: participant.closing(),
            asked_again: participant.asked_again(),
            ended: participant.ended(),
            given: Some(participant.given()),
        };
        let line = Line {
            ledger: Ledger::new(id.clone()),
            participant: Some(participant),
            out: Some(into),
        };
        let session = Arc::new(Self {
            id,
            join,
            caller,
            life,
            line: Mutex::new(line),
            overflowed: Notify::new(),
        });
        tokio::spawn(tell(Arc::clone(&session), signs));
        (session, Queue(queue))
    }

    pub(super) fn name(&self) -> &str {
        &self.join.name
    }

    /// What it says is taken, or ignored for a reason.
    pub(super) fn take(self: &Arc<Self>, message: FromParticipant) -> Result<(), &'static str> {
        let mut line = self.line();
        match line.ledger.hear(message) {
            Heard::New(message) => self.act(&mut line, message),
            Heard::Known { wish, by } => {
                let terms = self.terms(&line);
                let told = line.ledger.granted(wish, by, terms);
                self.say(&line, told);
            }
            Heard::Awaited => {}
            _ => return Err("it is about another drain, or comes after the last word"),
        }
        Ok(())
    }

    fn act(self: &Arc<Self>, line: &mut Line, message: FromParticipant) {
        if message.is_last() {
            let Some(participant) = line.participant.take() else {
                return;
            };
            match message {
                FromParticipant::Done { figures, .. } => participant.done_with(figures),
                FromParticipant::Refused { why, .. } => participant.refuse(why),
                FromParticipant::Failed { why, .. } => participant.failed(why),
                // The others are not the last.
                _ => {}
            }
            return;
        }
        let Some(participant) = &line.participant else {
            return;
        };
        match message {
            FromParticipant::Ready => participant.ready(),
            FromParticipant::Ack { .. } => participant.ack(),
            FromParticipant::Working {
                done, total, note, ..
            } => participant.working_on(done, total, note),
            FromParticipant::NeedMore { wish, by, why, .. } => {
                let (session, granting) = (Arc::clone(self), participant.need_more(by, why));
                tokio::spawn(async move {
                    let by = granting.await;
                    let mut line = session.line();
                    let terms = session.terms(&line);
                    let told = line.ledger.granted(wish, by, terms);
                    session.say(&line, told);
                });
            }
            _ => {}
        }
    }

    /// How many of its messages were ignored.
    pub(super) fn ignored(&self) -> u64 {
        self.line().ledger.stale()
    }

    /// Whether it was told that it is waited for no longer.
    pub(super) fn is_over(&self) -> bool {
        self.line().out.is_none()
    }

    /// Its handle, if it has not said its last word.
    pub(super) fn take_participant(&self) -> Option<Participant> {
        self.line().participant.take()
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much time it has.
    fn terms(&self, line: &Line) -> Terms {
        let terms = line.participant.as_ref().and_then(Participant::terms);
        terms.unwrap_or_else(|| {
            let end = self.life.drain().drain_end().unwrap_or_default();
            Terms::new(end.saturating_sub(self.life.elapsed()), None, None)
        })
    }

    /// Tells it something; one that does not read what it is told is cut.
    fn say(&self, line: &Line, told: Option<ToParticipant>) {
        let (Some(told), Some(into)) = (told, &line.out) else {
            return;
        };
        if into.try_send(event(&told)).is_err() {
            self.overflowed.notify_one();
        }
    }

    /// Asks it, for the first time or again.
    fn ask(&self) {
        let mut line = self.line();
        let terms = self.terms(&line);
        let unknown = || Cause::Api { why: String::new() };
        let cause = self.life.cause().unwrap_or_else(unknown);
        let request = line.ledger.request(self.life.drain_id(), &cause, terms);
        self.say(&line, Some(request));
    }
}

/// A message as an event of its stream.
fn event(told: &ToParticipant) -> Bytes {
    let kind = match told {
        ToParticipant::Hello { .. } => "hello",
        ToParticipant::ShutdownRequest { .. } => "shutdown_request",
        ToParticipant::Close { .. } => "close",
        ToParticipant::Granted { .. } => "granted",
        ToParticipant::Over { .. } => "over",
        _ => "message",
    };
    format!("event: {kind}\ndata: {}\n\n", told.to_json()).into()
}

/// What a session is told, as the body of its answer.
pub(super) struct Queue(mpsc::Receiver<Bytes>);

impl http_body::Body for Queue {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let told = self.0.poll_recv(cx);
        told.map(|told| told.map(|told| Ok(Frame::data(told))))
    }
}

/// What the lifecycle tells a participant.
struct Signs {
    closing: Fired,
    asked_again: Fired,
    ended: Ended,
    /// None once there is nobody to give to.
    given: Option<Given>,
}

/// What an operator gives.
async fn more(given: &mut Option<Given>) -> Duration {
    match given {
        Some(given) => given.await,
        None => pending().await,
    }
}

/// Tells a session what happens, until it is over for one of the two; then its stream ends.
async fn tell(session: Arc<Session>, signs: Signs) {
    let Signs {
        mut closing,
        mut asked_again,
        mut ended,
        mut given,
    } = signs;
    let life = &session.life;
    {
        let line = session.line();
        let under_way = life.phase().is_leaving().then(|| life.drain_id());
        let hello = line.ledger.hello(life.phase(), under_way);
        session.say(&line, Some(hello));
    }
    let mut steering = life.drain().steering();
    let (mut is_asked, mut is_asked_again, mut is_closing) = (false, false, false);
    let ended = loop {
        tokio::select! {
            biased;
            // First: nothing that follows is understood without it.
            () = &mut steering, if !is_asked => {
                is_asked = true;
                session.ask();
            }
            ended = &mut ended => break ended,
            () = &mut asked_again, if !is_asked_again => {
                is_asked_again = true;
                session.ask();
            }
            () = &mut closing, if !is_closing => {
                is_closing = true;
                let line = session.line();
                let told = line.ledger.close(session.terms(&line));
                session.say(&line, told);
            }
            by = more(&mut given) => {
                let line = session.line();
                given = line.participant.as_ref().map(Participant::given);
                let told = line.ledger.given(by, session.terms(&line));
                session.say(&line, told);
            }
        }
    };
    let mut line = session.line();
    if let Some(end) = ended.as_ref().and_then(End::of) {
        let told = line.ledger.over(end);
        session.say(&line, told);
    }
    line.out = None;
}

/// What the connection of a participant holds: dropped, the participant is gone.
pub(super) struct Hold {
    pub(super) book: Arc<Book>,
    pub(super) joining: Arc<Joining>,
    pub(super) _place: OwnedSemaphorePermit,
    /// Its last word is waited for.
    pub(super) _epilogue: Epilogue,
}

/// Set when it has joined.
#[derive(Default)]
pub(super) struct Joining {
    session: OnceLock<Arc<Session>>,
    rang: Notify,
}

impl Joining {
    pub(super) fn done(&self, session: Arc<Session>) {
        // A connection joins once.
        let _ = self.session.set(session);
        self.rang.notify_one();
    }
}

impl Held for Hold {
    fn stalled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.over_its_limits())
    }
}

impl Hold {
    /// Waits until it has not said who it is for as long as any request may take, or does not read what it is told.
    async fn over_its_limits(&self) {
        if timeout(PER_CONNECTION, self.joining.rang.notified())
            .await
            .is_err()
        {
            return;
        }
        if let Some(session) = self.joining.session.get() {
            session.overflowed.notified().await;
            self.book.count_slow();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(session) = self.joining.session.get() {
            self.book.left(session);
        }
    }
}
