//! What happened to a lifecycle, told while it happens.

use core::{fmt, time::Duration};
use std::time::SystemTime;

use super::{
    Cause, Grant, HookState, Hooked, ListenerReport, Outcome, ParticipantState, Phase,
    SignalRecord, SignalVerdict, Straggler, Switch,
};

/// Something that happened, with its time and what was in flight then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Observed {
    /// Counts what happened to this lifecycle, from 1: whoever misses one sees a gap.
    pub number: u64,
    /// When, since the lifecycle began: the clock of its report.
    pub at: Duration,
    /// When, by the system's clock, which may be set.
    pub time: SystemTime,
    /// What was in flight; read right after it happened, once for all that one input brought about.
    pub inflight: InflightCounts,
    /// What happened.
    pub news: News,
}

impl Observed {
    #[cfg(feature = "signals")]
    pub(crate) const fn new(
        number: u64,
        at: Duration,
        time: SystemTime,
        inflight: InflightCounts,
        news: News,
    ) -> Self {
        Self {
            number,
            at,
            time,
            inflight,
            news,
        }
    }
}

/// How much is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InflightCounts {
    /// Connections that are open and counted.
    pub connections: u64,
    /// Those of them that have a slot and are in a request.
    pub busy: u64,
    /// Those of them that have a slot and are between two requests, or before their first.
    pub idle: u64,
    /// Guards that are held.
    pub guards: u64,
    /// Counted requests since the start.
    pub requests: u64,
}

impl InflightCounts {
    #[cfg(feature = "signals")]
    pub(crate) const fn new(
        connections: u64,
        busy: u64,
        idle: u64,
        guards: u64,
        requests: u64,
    ) -> Self {
        Self {
            connections,
            busy,
            idle,
            guards,
            requests,
        }
    }
}

impl fmt::Display for InflightCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connection(s), {} busy, {} idle, {} guard(s)",
            self.connections, self.busy, self.idle, self.guards
        )
    }
}

/// What may happen to a lifecycle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum News {
    /// A signal came.
    Signal {
        /// The phase in which it came.
        phase: Phase,
        /// The signal.
        record: SignalRecord,
        /// What was made of it.
        verdict: SignalVerdict,
    },
    /// A phase was entered.
    PhaseChanged {
        /// The phase before.
        from: Phase,
        /// The phase now.
        to: Phase,
        /// How long the phase before lasted.
        took: Duration,
        /// Why the process leaves; `None` on the way to `Running`.
        cause: Option<Cause>,
        /// When the process is gone, once it leaves; since the lifecycle began.
        deadline: Option<Duration>,
    },
    /// A participant enrolled.
    Enrolled {
        /// Its name.
        name: String,
        /// Its budget, if it has one of its own.
        budget: Option<Duration>,
    },
    /// A participant is ready.
    Ready {
        /// Its name.
        name: String,
    },
    /// A participant went away before the service leaves: nobody waits for it.
    Away {
        /// Its name.
        name: String,
        /// How that was noticed.
        why: String,
    },
    /// A participant that had gone away came back; it is not ready yet.
    Returned {
        /// Its name.
        name: String,
    },
    /// A participant answered the request to stop for the first time.
    Answered {
        /// Its name.
        name: String,
    },
    /// Nothing that depends on a participant is left: it was told to finish.
    ToldToClose {
        /// Its name.
        name: String,
    },
    /// A silent participant was asked again.
    AskedAgain {
        /// Its name.
        name: String,
    },
    /// A participant asked for more time than its budget, or an operator gave it.
    Granted {
        /// Its name.
        name: String,
        /// What it got, also nothing.
        grant: Grant,
    },
    /// A participant ended, or was given up.
    Ended {
        /// Its name.
        name: String,
        /// How far it came.
        state: ParticipantState,
        /// Its budget, if it has one of its own.
        budget: Option<Duration>,
        /// How long it took from when it was told to finish; `None` if it had not been.
        took: Option<Duration>,
        /// What it counted, by name.
        figures: Vec<(String, i64)>,
    },
    /// A listener closed.
    ListenerClosed {
        /// The name of its participant.
        name: String,
        /// How.
        report: ListenerReport,
    },
    /// A stop hook began.
    HookBegan {
        /// The name of its participant.
        name: String,
    },
    /// A stop hook ended, or was given up.
    HookEnded {
        /// The name of its participant.
        name: String,
        /// How, and how long it took.
        hooked: Hooked,
    },
    /// The drain's end was reached: these were ended.
    Stragglers {
        /// By name, at most [`Report::NOTES`](super::Report::NOTES).
        named: Vec<Straggler>,
        /// How many names did not fit.
        unnamed: u64,
    },
    /// A reload subscriber ran.
    Reloaded {
        /// Its name.
        name: String,
        /// Why the old configuration stays in force, if it does.
        result: Result<(), String>,
    },
    /// A part of the program stands otherwise than before.
    Switched(Switch),
    /// A line for the report.
    Noted {
        /// The line.
        what: String,
    },
    /// The process is about to die by SIGQUIT; what is in flight was said.
    DiesByQuit,
    /// It is over. Nothing follows.
    Exit {
        /// How.
        outcome: Outcome,
    },
}

impl News {
    /// One lower-case word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Signal { .. } => "signal",
            Self::PhaseChanged { .. } => "phase",
            Self::Enrolled { .. } => "enrolled",
            Self::Ready { .. } => "ready",
            Self::Away { .. } => "away",
            Self::Returned { .. } => "returned",
            Self::Answered { .. } => "answered",
            Self::ToldToClose { .. } => "told-to-close",
            Self::AskedAgain { .. } => "asked-again",
            Self::Granted { .. } => "granted",
            Self::Ended { .. } => "ended",
            Self::ListenerClosed { .. } => "listener-closed",
            Self::HookBegan { .. } => "hook-began",
            Self::HookEnded { .. } => "hook-ended",
            Self::Stragglers { .. } => "stragglers",
            Self::Reloaded { .. } => "reload",
            Self::Switched(_) => "switch",
            Self::Noted { .. } => "note",
            Self::DiesByQuit => "dies-by-quit",
            Self::Exit { .. } => "exit",
        }
    }

    /// Whether it is about the whole lifecycle (a signal, a phase, a reload, stragglers, the end), not about one
    /// participant or a note.
    #[must_use]
    pub const fn is_of_the_whole(&self) -> bool {
        matches!(
            self,
            Self::Signal { .. }
                | Self::PhaseChanged { .. }
                | Self::Stragglers { .. }
                | Self::Reloaded { .. }
                | Self::DiesByQuit
                | Self::Exit { .. }
        )
    }
}

/// How much of what happened people should notice, as loggers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Weight {
    /// As it should be.
    Info,
    /// Something did not go as it should, and the rest went on.
    Warning,
    /// The process left otherwise than it should.
    Error,
}

impl News {
    /// How much of it people should notice.
    #[must_use]
    pub fn weight(&self) -> Weight {
        match self {
            Self::Exit {
                outcome: Outcome::Drained,
            } => Weight::Info,
            Self::Exit { .. } | Self::DiesByQuit => Weight::Error,
            Self::Stragglers { .. }
            | Self::AskedAgain { .. }
            | Self::Away { .. }
            | Self::Reloaded { result: Err(_), .. } => Weight::Warning,
            Self::Granted { grant, .. } if grant.by < grant.asked => Weight::Warning,
            Self::Switched(switch) => switch.weight,
            Self::Ended { state, .. } if *state != ParticipantState::Done => Weight::Warning,
            Self::HookEnded { hooked, .. } if hooked.state != HookState::Ok => Weight::Warning,
            _ => Weight::Info,
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal {
                record, verdict, ..
            } => {
                let verdict = verdict.as_str();
                write!(f, "{} from {}: {verdict}", record.signal, record.sender)
            }
            Self::PhaseChanged { from, to, took, .. } => {
                write!(f, "{to} after {} ms of {from}", took.as_millis())
            }
            Self::Enrolled { name, .. } => write!(f, "{name} enrolled"),
            Self::Ready { name } => write!(f, "{name} is ready"),
            Self::Away { name, why } => write!(f, "{name} went away: {why}"),
            Self::Returned { name } => write!(f, "{name} came back"),
            Self::Answered { name } => write!(f, "{name} answered the request to stop"),
            Self::ToldToClose { name } => write!(f, "{name} was told to finish"),
            Self::AskedAgain { name } => write!(f, "{name} was asked again"),
            Self::Granted { name, grant } => {
                let [by, asked] = [grant.by, grant.asked].map(|time| time.as_millis());
                match grant.wish {
                    Some(_) => write!(f, "{name} asked for {asked} ms more and got {by} ms")?,
                    None => write!(f, "an operator gave {name} {by} of {asked} ms more")?,
                }
                if !grant.why.is_empty() {
                    write!(f, ": {}", grant.why)?;
                }
                Ok(())
            }
            Self::Ended { name, state, .. } => write!(f, "{name} ended: {}", state.as_str()),
            Self::ListenerClosed { name, report } => {
                write!(f, "{name} closed its listener {}", report.address)
            }
            Self::HookBegan { name } => write!(f, "the stop hook of {name} began"),
            Self::HookEnded { name, hooked } => {
                let state = hooked.state.as_str();
                let took = hooked.took.as_millis();
                write!(f, "the stop hook of {name} ended after {took} ms: {state}")
            }
            Self::Stragglers { named, unnamed } => {
                let count = named.len() as u64 + unnamed;
                write!(f, "the drain's end: {count} in flight ended")
            }
            Self::Reloaded {
                name,
                result: Ok(()),
            } => write!(f, "reloaded {name}"),
            Self::Reloaded {
                name,
                result: Err(why),
            } => write!(f, "reload of {name} refused, the old one stays: {why}"),
            Self::Switched(switch) => write!(f, "{switch}"),
            Self::Noted { what } => f.write_str(what),
            Self::DiesByQuit => f.write_str("dies by SIGQUIT"),
            Self::Exit { outcome } => write!(f, "over: {outcome}"),
        }
    }
}
