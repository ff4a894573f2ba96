//! What a participant got beyond its budget, on its way from the machine to whoever waits for it.
//!
//! Owns the answers and those who wait; how much is granted is decided by the machine.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    inflight::{Fired, Token},
    vocab::Grant,
};

/// The wishes of one participant and their answers, shared by its handle and its seat.
pub(crate) struct Grants {
    state: Mutex<State>,
}

struct State {
    /// At most [`Grant::MOST`]: a wish's number, less one, is its place.
    wishes: Vec<(Token, Duration)>,
    /// All that operators gave, and what fires when they give more.
    given: Duration,
    more: Token,
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").finish_non_exhaustive()
    }
}

impl Grants {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                wishes: Vec::new(),
                given: Duration::ZERO,
                more: Token::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new wish: its number, and what fires when it is answered. `None`: it has made as many as are answered.
    pub(crate) fn wish(&self) -> Option<(u32, Fired)> {
        let mut state = self.lock();
        if state.wishes.len() >= Grant::MOST {
            return None;
        }
        let answered = Token::new();
        let fired = answered.fired();
        state.wishes.push((answered, Duration::ZERO));
        let number = u32::try_from(state.wishes.len()).ok()?;
        Some((number, fired))
    }

    /// What a wish got; nothing while it is not answered.
    pub(crate) fn of(&self, wish: u32) -> Duration {
        let state = self.lock();
        let answer = place(wish).and_then(|at| state.wishes.get(at));
        answer.map_or(Duration::ZERO, |(_, by)| *by)
    }

    /// All that operators gave so far, and what fires when they give more.
    pub(crate) fn given(&self) -> (Duration, Fired) {
        let state = self.lock();
        (state.given, state.more.fired())
    }

    /// The machine's answer; wakes who waits for it.
    pub(super) fn answer(&self, wish: Option<u32>, by: Duration) {
        let mut state = self.lock();
        let fired = match wish {
            Some(wish) => {
                let answer = place(wish).and_then(|at| state.wishes.get_mut(at));
                let Some((answered, got)) = answer else {
                    return;
                };
                *got = by;
                answered.clone()
            }
            None => {
                state.given = state.given.saturating_add(by);
                std::mem::take(&mut state.more)
            }
        };
        // Wakers are foreign code: they run outside the lock.
        drop(state);
        fired.fire();
    }
}

fn place(wish: u32) -> Option<usize> {
    usize::try_from(wish).ok()?.checked_sub(1)
}
