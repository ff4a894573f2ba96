//! A closed-loop HTTP/2 client for load across the signal.
//! Not: rounds and verdicts (see `wide`).

use std::time::Duration;

use crate::observe::flow::When;
use crate::observe::h2::script::{Request, Script, Seen, Step};
use crate::observe::rng::Rng;
use crate::scenario::load::{Habit, Think};

/// Asks, one or a few streams at a time, thinks, and asks again; goes elsewhere or comes back after a GOAWAY.
pub(crate) struct Client {
    make: Box<dyn FnMut() -> Request + Send>,
    /// Streams at a time.
    width: u32,
    habit: Habit,
    think: Think,
    rng: Rng,
    next: Next,
    begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Think,
    Connect,
    Greet,
    Open(u32),
    Await,
}

impl Client {
    pub(crate) fn new(
        make: Box<dyn FnMut() -> Request + Send>,
        width: u32,
        habit: Habit,
        think: Think,
        rng: Rng,
    ) -> Self {
        Self {
            make,
            width,
            habit,
            think,
            rng,
            next: Next::Think,
            begun: false,
        }
    }
}

impl Script for Client {
    fn next(&mut self, seen: &Seen<'_>) -> Option<Step> {
        let (step, next) = match self.next {
            Next::Think => {
                // The first pause is spread over the whole span, so that clients do not march in step.
                let from = if self.begun {
                    self.think.from
                } else {
                    Duration::ZERO
                };
                self.begun = true;
                let pause = self.rng.between(from, self.think.to);
                (Step::Pause(When::For(pause)), Next::Connect)
            }
            Next::Connect if seen.welcome() => {
                self.next = Next::Open(0);
                return self.next(seen);
            }
            Next::Connect => {
                let told = seen.conn.is_some_and(|conn| !conn.goaways.is_empty());
                if seen.stopped && told && self.habit == Habit::GoElsewhere {
                    return None;
                }
                (Step::Connect(0), Next::Greet)
            }
            Next::Greet if seen.refused && seen.stopped => return None,
            Next::Greet if !seen.connected => {
                self.next = Next::Think;
                return self.next(seen);
            }
            Next::Greet => (Step::Greet, Next::Open(0)),
            Next::Open(opened) if opened < self.width => {
                (Step::Open((self.make)()), Next::Open(opened + 1))
            }
            Next::Open(_) => {
                self.next = Next::Await;
                return self.next(seen);
            }
            Next::Await => (Step::AwaitAnswers, Next::Think),
        };
        self.next = next;
        Some(step)
    }
}
