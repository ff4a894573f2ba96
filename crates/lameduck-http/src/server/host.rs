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
use tokio::time::{sleep, sleep_until};

use super::Shared;
use super::conn::{self, Rested};
use super::exchange::App;
use super::park::{Aside, Bell, Leaving, Parked, heap};
use super::secure::{Begun, Plain, Secure};
use super::sock::{self, Pending};
use super::watch::Watch;

/// Connections that one task closes between two turns of the others: about a tenth of a millisecond of the kernel's time.
const AT_ONE_GO: usize = 16;

/// Where a listener's connections live.
pub(crate) struct Host<A> {
    shared: Arc<Shared>,
    /// Cloned for each connection; the lock is for applications that are not `Sync`.
    app: Mutex<A>,
    /// What its connections are served through, if they are.
    secure: Option<Secure<A>>,
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
    pub(crate) const fn new(shared: Arc<Shared>, app: A, secure: Option<Secure<A>>) -> Self {
        Self {
            shared,
            app: Mutex::new(app),
            secure,
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
        let Parked {
            socket,
            held,
            facts,
            stay,
        } = parked;
        self.shared.lot.dismiss(&socket);
        let watch = Watch::again(self.shared.clone(), facts);
        match (socket.into_plain(), held) {
            (Ok(plain), Some(held)) => self.secured(Begun::Before(plain, held), watch, stay),
            (Ok(Plain::Tcp(stream)), None) => self.serve(stream, watch, stay),
            (Ok(Plain::Unix(stream)), None) => self.serve(stream, watch, stay),
            // The kernel has no room for it, though what the lot's watch took of that was given back just now.
            (Err(_), _) => self.shared.tally(Count::AcceptError),
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
        while self.end_some(Duration::MAX, |parked| leaving.part(parked)) {
            yield_now().await;
        }
        leaving.settle(&self.shared).await;
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
    tokio::select! {
        () = sleep_until(heap::turn()) => {}
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
