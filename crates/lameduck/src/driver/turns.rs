//! The desk at which turns are asked for: the wish that is open, who gives turns, and who waits to hear whether a request was taken back.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::Waker,
};

use crate::{
    inflight::Token,
    machine::{TurnRequest, Uncancellable, WishEnd},
};

/// A wish, as the driver and its giver see it.
#[derive(Debug)]
pub(crate) struct Wished {
    pub(crate) request: TurnRequest,
    pub(crate) over: Token,
    /// Set before `over` fires.
    pub(crate) end: OnceLock<WishEnd>,
}

/// A request to take something back.
#[derive(Debug, Default)]
pub(crate) struct Cancelling {
    pub(crate) heard: Token,
    /// Set before `heard` fires.
    pub(crate) answer: OnceLock<Result<(), Uncancellable>>,
}

#[derive(Debug, Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether somebody gives turns.
    given: bool,
    wish: Option<Arc<Wished>>,
    /// The last wish that was handed to the giver.
    handed: u64,
    giver: Option<Waker>,
    /// In the order in which the driver was told; at most one a call that waits, and every one is answered.
    cancelling: VecDeque<Arc<Cancelling>>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the giver's place, if it is free, and tells the driver so by `send`: in the order in which the place changes hands.
    pub(crate) fn attach(&self, send: impl FnOnce()) -> bool {
        let mut state = self.lock();
        if state.given {
            return false;
        }
        state.given = true;
        send();
        true
    }

    /// Gives the place back; what waits is let go by the machine, which hears of it by `send`.
    pub(crate) fn detach(&self, send: impl FnOnce()) {
        let mut state = self.lock();
        state.given = false;
        state.giver = None;
        send();
    }

    /// The open wish, once; otherwise the giver is woken when there is one.
    pub(crate) fn poll_wish(&self, waker: &Waker) -> Option<Arc<Wished>> {
        let mut state = self.lock();
        if let Some(wish) = &state.wish
            && wish.request.number > state.handed
        {
            let wish = Arc::clone(wish);
            state.handed = wish.request.number;
            return Some(wish);
        }
        if !state.giver.as_ref().is_some_and(|old| old.will_wake(waker)) {
            state.giver = Some(waker.clone());
        }
        None
    }

    pub(super) fn ask(&self, request: TurnRequest) {
        let wish = Arc::new(Wished {
            request,
            over: Token::new(),
            end: OnceLock::new(),
        });
        let mut state = self.lock();
        state.wish = Some(wish);
        let giver = state.giver.take();
        drop(state);
        if let Some(giver) = giver {
            giver.wake();
        }
    }

    pub(super) fn end(&self, number: u64, end: WishEnd) {
        let wish = self
            .lock()
            .wish
            .take_if(|wish| wish.request.number == number);
        if let Some(wish) = wish {
            let _ = wish.end.set(end);
            wish.over.fire();
        }
    }

    /// Enters a request to take something back while `send` tells the driver, so that both queues have the same order.
    pub(crate) fn cancelling(&self, send: impl FnOnce()) -> Arc<Cancelling> {
        let cancelling = Arc::new(Cancelling::default());
        let mut state = self.lock();
        state.cancelling.push_back(Arc::clone(&cancelling));
        send();
        cancelling
    }

    pub(super) fn answer(&self, answer: Result<(), Uncancellable>) {
        let asked = self.lock().cancelling.pop_front();
        if let Some(asked) = asked {
            let _ = asked.answer.set(answer);
            asked.heard.fire();
        }
    }

    /// The driver is gone: nothing can be taken back any more, and nothing waits.
    pub(crate) fn close(&self) {
        let open = self.lock().wish.as_ref().map(|wish| wish.request.number);
        if let Some(number) = open {
            self.end(number, WishEnd::Cut);
        }
        while !self.lock().cancelling.is_empty() {
            self.answer(Err(Uncancellable::Leaving));
        }
    }
}
