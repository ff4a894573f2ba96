//! What a service manager is told of the lifecycle, and when. How it is said is an edge's business.
//!
//! Owns the two clocks of that: while leaving, a second between two looks at what moved; for a watchdog, half of its interval.

use std::{sync::Arc, time::Duration};

use super::{Driver, Shared};
use crate::{machine::Input, vocab::Phase};

/// How often a manager hears how far the way out is.
const EVERY: Duration = Duration::from_secs(1);

/// For how long progress buys time: the stall limit of a drain (contract, "does not hold the exit").
const EXTENSION: Duration = Duration::from_secs(5);

/// One thing to say to a service supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Start-up, or a reload, is complete.
    Ready,
    /// A reload begins.
    Reloading,
    /// The process leaves.
    Stopping,
    /// Something for people.
    Status(String),
    /// The process is at work and asks for so much time from now on.
    Extend(Duration),
    /// The program is alive.
    Alive,
}

/// Who started this process and wants to hear how it is.
pub(crate) trait Supervisor: Send + Sync {
    /// Says something, all in one message; never waits.
    fn tell(&self, words: Vec<Word>);
    /// Within which time it wants to hear that the program is alive, if it does.
    fn watchdog(&self) -> Option<Duration>;
    /// Messages that found no room.
    fn dropped(&self) -> u64;
}

/// What was said last, and what it was based on.
#[derive(Debug, Default)]
pub(super) struct Told {
    status_at: Option<Duration>,
    alive_at: Option<Duration>,
    beats: u64,
    /// Answers of participants and ends of hooks.
    answers: u64,
    moved: Option<Moved>,
}

/// What changes when the way out is making progress.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moved {
    phase: Phase,
    connections: usize,
    guards: usize,
    requests: u64,
    counts: Vec<u64>,
    answers: u64,
}

impl Told {
    /// An input that came from a participant shows that it is at work.
    pub(super) fn note(&mut self, input: &Input) {
        if matches!(
            input,
            Input::Answer(..) | Input::HookEnded(..) | Input::AdmissionClosed(..)
        ) {
            self.answers += 1;
        }
    }

    /// When there is something to say again.
    pub(super) fn due(&self) -> Option<Duration> {
        let status = self.status_at.map(|at| at + EVERY);
        [status, self.alive_at].into_iter().flatten().min()
    }
}

impl Shared {
    /// Says something to the service supervisor, if there is one.
    pub(super) fn tell(&self, words: impl FnOnce() -> Vec<Word>) {
        if let Some(supervisor) = self.supervisor() {
            supervisor.tell(words());
        }
    }

    pub(super) fn notifications_dropped(&self) -> u64 {
        self.supervisor()
            .map_or(0, |supervisor| supervisor.dropped())
    }

    /// What people read in `systemctl status`.
    fn word_of_status(&self, phase: Phase, now: Duration) -> Word {
        let named = self.name_inflight(0);
        let left = self
            .request()
            .map(|request| request.deadline.saturating_sub(now));
        let mut text = format!(
            "{phase}: {} connection(s), {} in requests, {} guard(s)",
            named.connections, named.busy, named.guards
        );
        if let Some(left) = left {
            text.push_str(&format!("; gone in {} s at the latest", left.as_secs()));
        }
        Word::Status(text)
    }

    fn moved(&self, answers: u64) -> Moved {
        let inflight = self.inflight();
        Moved {
            phase: self.phase(),
            connections: inflight.connections.count(),
            guards: inflight.guards.count(),
            requests: inflight.requests.total(),
            counts: inflight.tally.values(),
            answers,
        }
    }
}

impl Driver {
    pub(super) fn tell_phase(&mut self, phase: Phase) {
        let shared = Arc::clone(&self.shared);
        let now = shared.now();
        shared.tell(|| {
            let first = match phase {
                Phase::Running => Some(Word::Ready),
                // A process that stops without a window has its one message, too.
                Phase::Terminating => Some(Word::Stopping),
                Phase::Initializing | Phase::Draining | Phase::Stopped => None,
            };
            let mut words: Vec<_> = first.into_iter().collect();
            words.push(shared.word_of_status(phase, now));
            if phase.is_leaving() {
                // A change of the phase is progress.
                self.told.status_at = Some(now);
                self.told.moved = Some(shared.moved(self.told.answers));
                words.extend(self.extension(now));
            }
            words
        });
    }

    /// Says what is due: that the program is alive, how far the way out is.
    pub(super) fn keep_informed(&mut self) {
        let now = self.shared.now();
        let Some(supervisor) = self.shared.supervisor() else {
            return;
        };
        let mut words = Vec::new();
        if let Some(interval) = supervisor.watchdog()
            && self.told.alive_at.is_none_or(|at| at <= now)
        {
            self.told.alive_at = Some(now + interval / 2);
            let beats = self.shared.beats();
            if beats != self.told.beats {
                self.told.beats = beats;
                words.push(Word::Alive);
            }
        }
        if self.told.status_at.is_some_and(|at| at + EVERY <= now) {
            self.told.status_at = Some(now);
            words.push(self.shared.word_of_status(self.shared.phase(), now));
            let moved = Some(self.shared.moved(self.told.answers));
            if moved != self.told.moved {
                self.told.moved = moved;
                words.extend(self.extension(now));
            }
        }
        if !words.is_empty() {
            supervisor.tell(words);
        }
    }

    /// Never past our own deadline.
    fn extension(&self, now: Duration) -> Option<Word> {
        let deadline = self.shared.request()?.deadline;
        let left = deadline.saturating_sub(now).min(EXTENSION);
        (!left.is_zero()).then_some(Word::Extend(left))
    }
}
