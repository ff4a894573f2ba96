//! Who serves the connections of one listener: a task for each that says something, a place in the lot for each that does not.
//!
//! Owns what passes between the two, and what a connection counts for from its accept to its end. What happens on a connection is
//! [`super::conn`]'s business, where parked ones lie [`super::park`]'s.

use std::fmt;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lameduck::Count;
use lameduck::inflight::Pass;
use tokio::runtime::Handle;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::conn::{self, Rested};
use super::exchange::App;
use super::park::{Aside, Bell, Leaving, Parked, Parting, heap};
use super::secure::{Begun, Plain, Secure};
use super::sock::{self, Pending};
use super::watch::Watch;

/// Connections that one task closes between two turns of the others: about a tenth of a millisecond of the kernel's time.
const AT_ONE_GO: usize = 16;

/// Between two tries to take up a connection that the kernel has no room for.
const SCARCE: Duration = Duration::from_millis(5);

/// Where a listener's connections live.
pub(crate) struct Host<A> {
    shared: Arc<Shared>,
    /// Cloned for each connection; the lock is for applications that are not `Sync`.
    app: Mutex<A>,
    /// What its connections are served through, if they are.
    secure: Option<Secure<A>>,
    /// Those who have said FIN at the window's end, when their tasks ended.
    parting: Parting,
}

/// What a connection counts for, given back also when its task panics.
pub(crate) struct Stay {
    /// Whose crowd it is one of.
    shared: Arc<Shared>,
    /// None on an inner listener, whose participant stands for it.
    _pass: Option<Pass>,
}

impl Stay {
    pub(crate) fn new(shared: &Arc<Shared>, pass: Option<Pass>) -> Self {
        shared.crowd.enter();
        Self {
            shared: shared.clone(),
            _pass: pass,
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.shared.crowd.leave();
    }
}

impl fmt::Debug for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stay").finish_non_exhaustive()
    }
}

/// Lets nobody stay in the lot when nobody hears the bell any more: the lot is part of what its connections hold, so without this a
/// runtime that goes away would leave them open, with no one to answer and no one to close them.
struct Warden(Arc<Shared>);

impl Drop for Warden {
    fn drop(&mut self) {
        self.0.lot.close();
        while let Some(parked) = self.0.lot.take_oldest(Duration::MAX) {
            drop(parked);
        }
    }
}

impl<A: App> Host<A> {
    pub(crate) fn new(shared: Arc<Shared>, app: A, secure: Option<Secure<A>>) -> Self {
        Self {
            shared,
            app: Mutex::new(app),
            secure,
            parting: Parting::default(),
        }
    }

    /// For a connection's own task: if the application's `clone` panics, that costs this connection, not the one who accepts or who hears the bell.
    fn app(&self) -> A {
        // A panic in the application's `clone` leaves what was to be cloned.
        let app = self.app.lock().unwrap_or_else(PoisonError::into_inner);
        app.clone()
    }

    /// Serves a new connection in a task of its own.
    pub(crate) fn serve<S: Aside + Into<Plain>>(
        self: &Arc<Self>,
        stream: S,
        watch: Watch,
        stay: Stay,
    ) {
        if self.secure.is_some() {
            return self.secured(Begun::Now(stream.into()), watch, stay);
        }
        let (host, watch) = (self.clone(), Arc::new(watch));
        tokio::spawn(async move {
            let rested = conn::drive(stream, host.app(), watch).await;
            host.keep(rested, stay);
        });
    }

    fn secured(self: &Arc<Self>, begun: Begun, watch: Watch, stay: Stay) {
        let (host, watch) = (self.clone(), Arc::new(watch));
        tokio::spawn(async move {
            let Some(secure) = &host.secure else {
                return;
            };
            let rested = (secure.drive)(begun, host.app(), watch).await;
            host.keep(rested, stay);
        });
    }

    /// Takes up a parked connection, in a task of its own.
    fn take_up(self: &Arc<Self>, parked: Parked) {
        self.shared.lot.dismiss(&parked.socket);
        if let Err(left) = self.try_take_up(parked) {
            self.shared.tally(Count::AcceptError);
            if let Some(parked) = left {
                tokio::spawn(self.clone().take_up_later(*parked));
            }
        }
    }

    /// The connection comes back when the kernel has no room for it, though what the lot's watch took of that was given back just now; unless
    /// it had to be closed.
    fn try_take_up(self: &Arc<Self>, parked: Parked) -> Result<(), Option<Box<Parked>>> {
        let Parked {
            socket,
            held,
            facts,
            stay,
        } = parked;
        let plain = match socket.into_plain() {
            Ok(plain) => plain,
            Err(socket) => {
                return Err(socket.map(|socket| {
                    Box::new(Parked {
                        socket,
                        held,
                        facts,
                        stay,
                    })
                }));
            }
        };
        let watch = Watch::again(self.shared.clone(), facts);
        match (plain, held) {
            (plain, Some(held)) => self.secured(Begun::Before(plain, held), watch, stay),
            (Plain::Tcp(stream), None) => self.serve(stream, watch, stay),
            (Plain::Unix(stream), None) => self.serve(stream, watch, stay),
        }
        Ok(())
    }

    /// Tries again until the kernel has room, for as long as a request's head may take: what its client has said waits in the socket.
    async fn take_up_later(self: Arc<Self>, mut parked: Parked) {
        let limit = self.shared.limits.head;
        let until = Instant::now()
            + self
                .shared
                .before_deadline(limit, self.shared.life.elapsed());
        while Instant::now() < until && !self.shared.drain.is_ending() {
            sleep(SCARCE).await;
            match self.try_take_up(parked) {
                Err(Some(left)) => parked = *left,
                Ok(()) | Err(None) => return,
            }
        }
    }

    /// What becomes of a connection whose task is over.
    fn keep(self: &Arc<Self>, rested: Option<Rested>, stay: Stay) {
        let Some(rested) = rested else {
            return;
        };
        let parked = Parked {
            socket: rested.socket,
            held: rested.held,
            facts: rested.facts,
            stay,
        };
        if self.shared.drain.is_closing() {
            return self.part(parked);
        }
        match self.shared.lot.park(parked, self.shared.limits.idle) {
            Ok(bell) => {
                if let Some(bell) = bell {
                    let warden = Warden(self.shared.clone());
                    tokio::spawn(self.clone().hear(bell, warden));
                }
                if self.shared.trims_heap && self.shared.lot.wants_tidying() {
                    tokio::spawn(tidy(self.shared.clone()));
                }
            }
            // Too late, no room, or no place: it waits in a task.
            Err(parked) => self.take_up(*parked),
        }
    }

    /// Ends a connection after the window, in the company of others; unless it is owed more than FIN.
    fn part(self: &Arc<Self>, parked: Parked) {
        if let Some(parked) = self.end(parked)
            && self.parting.part(parked, &self.shared)
        {
            let host = self.clone();
            tokio::spawn(async move { host.parting.settle(&host.shared).await });
        }
    }

    /// Answers the bell until the listener leaves: takes up whoever says something, ends whoever was idle for too long, and at last ends them all.
    ///
    /// It hears of the window's end itself, as the task of a connection does: what becomes of the listener meanwhile changes nothing here.
    /// The warden comes from outside, so that it is there even if this is never polled.
    async fn hear(self: Arc<Self>, mut bell: Bell, _warden: Warden) {
        let lot = &self.shared.lot;
        let mut closing = pin!(self.shared.drain.closing().first());
        while !self.shared.drain.is_closing() {
            let due = lot.oldest_since().map(|since| {
                let due = since.saturating_add(self.shared.limits.idle);
                due.saturating_sub(self.shared.life.elapsed())
            });
            tokio::select! {
                () = closing.as_mut() => break,
                rang = bell.rings(lot, |parked| self.answer(parked)) => {
                    if rang.is_err() {
                        return self.give_up();
                    }
                    // Between two rings others have their turn.
                    yield_now().await;
                }
                () = pause(due.unwrap_or_default()), if due.is_some() => {
                    // Some at a time: the bell is looked at in between.
                    if let Some(before) = self.shared.life.elapsed().checked_sub(self.shared.limits.idle) {
                        self.end_some(before, drop);
                    }
                    yield_now().await;
                }
                () = lot.changed() => {}
            }
        }
        self.clear().await;
    }

    /// The bell has failed: who waits for it would wait for ever.
    fn give_up(self: &Arc<Self>) {
        self.shared.lot.close();
        while let Some(parked) = self.shared.lot.take_oldest(Duration::MAX) {
            self.take_up(parked);
        }
    }

    /// A client of the lot has said something, or has gone.
    fn answer(self: &Arc<Self>, parked: Parked) {
        let is_gone = || sock::look(parked.socket.as_fd()) == Pending::Ended;
        if parked.held.is_none() && has_everything(&parked) && is_gone() {
            return;
        }
        self.take_up(parked);
    }

    /// The window is over: ends whoever waits in the lot, on every worker of the runtime. Who has said something by then is served.
    async fn clear(self: &Arc<Self>) {
        self.shared.lot.close();
        let mut others = JoinSet::new();
        for _ in 1..Handle::current().metrics().num_workers() {
            others.spawn(self.clone().end_all());
        }
        self.clone().end_all().await;
        others.join_all().await;
    }

    async fn end_all(self: Arc<Self>) {
        let mut leaving = Leaving::default();
        while self.end_some(Duration::MAX, |parked| leaving.part(parked, &self.shared)) {
            yield_now().await;
        }
        leaving.settle(&self.shared, |_| ()).await;
    }

    /// Ends some of those that have been idle since `before`; false if there are no more. Who only has to be closed is given to `close`.
    fn end_some(self: &Arc<Self>, before: Duration, mut close: impl FnMut(Parked)) -> bool {
        for _ in 0..AT_ONE_GO {
            let Some(parked) = self.shared.lot.take_oldest(before) else {
                return false;
            };
            if let Some(parked) = self.end(parked) {
                close(parked);
            }
        }
        true
    }

    /// Ends a connection that was idle for long enough, unless its client has said something since. Gives it back if all that is left to do is
    /// to close it.
    fn end(self: &Arc<Self>, parked: Parked) -> Option<Parked> {
        let shared = &self.shared;
        let since = parked.since();
        let is_closing = shared.drain.is_closing();
        let is_quiet = !is_closing
            || shared.life.elapsed() >= since + shared.before_deadline(shared.limits.settle, since);
        // What says goodbye, or waits for its client, does so in a task. The last look comes last.
        if is_quiet
            && parked.held.is_none()
            && has_everything(&parked)
            && sock::look(parked.socket.as_fd()) != Pending::Data
        {
            let situation = parked.facts.situation();
            shared.tally(conn::quiet_count(situation, is_closing));
            return Some(parked);
        }
        self.take_up(parked);
        None
    }
}

/// Waits; not for the timer's next tick if there is nothing to wait for.
async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Gives back to the system, off the workers, what many parked connections have left. A process that leaves gives back all it has anyway.
async fn tidy(shared: Arc<Shared>) {
    let turn = async {
        let mut grown = shared.lot.grown();
        for _ in 0..heap::LOOKS {
            sleep(heap::QUIET).await;
            let before = std::mem::replace(&mut grown, shared.lot.grown());
            if grown < before + heap::WORTH {
                break;
            }
        }
        sleep_until(heap::turn()).await;
    };
    tokio::select! {
        () = turn => {}
        () = shared.drain.steering() => return,
    }
    shared.lot.note_tidied();
    // Nobody waits for it; a runtime that is shut down has no use for it.
    drop(tokio::task::spawn_blocking(heap::give_back));
}

/// Whether its client has acknowledged every byte: then closing the socket sends FIN and loses nothing.
fn has_everything(parked: &Parked) -> bool {
    sock::unacknowledged(parked.socket.as_fd()) == Some(0)
}

#[cfg(test)]
mod tests;
