//! What a shutdown looked like, as data. Instants are durations since the process started.

use core::{fmt, net::SocketAddr, time::Duration};

use super::{Cause, Health, Outcome, Phase, Plan, SignalRecord};

/// A whole shutdown. Written as one JSON line, `lameduck.shutdown/1`, by [`to_json`](Self::to_json).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Names the lifecycle wherever it is spoken of: in metrics, traces and logs; empty in reports made without a driver.
    pub drain_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What started it; `None` if the process ended before any request.
    pub cause: Option<Cause>,
    /// The plan it followed.
    pub plan: Plan,
    /// When the request came (T).
    pub requested_at: Option<Duration>,
    /// When the machine let go of the process.
    pub ended_at: Duration,
    /// The phases it went through, in order.
    pub phases: Vec<PhaseReport>,
    /// Every signal, at most [`Report::NOTES`].
    pub signals: Vec<SignalNote>,
    /// Every participant.
    pub participants: Vec<ParticipantReport>,
    /// Every listener that closed.
    pub listeners: Vec<ListenerReport>,
    /// What the drain deadline ended, by name, at most [`Report::NOTES`].
    pub stragglers: Vec<Straggler>,
    /// What happened besides, at most [`Report::NOTES`].
    pub events: Vec<Event>,
    /// How the process was at its end; `None` in reports made without a driver.
    pub health: Option<Health>,
    /// Counts by name: requests, connections and how they ended.
    pub counts: Vec<(&'static str, u64)>,
    /// What did not fit into a bounded list or queue, by the list's name; only those above zero.
    pub dropped: Vec<(&'static str, u64)>,
}

impl Report {
    /// How many entries each list of a report holds; more are counted under `dropped`.
    pub const NOTES: usize = 256;
}

/// One phase of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PhaseReport {
    /// Which phase.
    pub phase: Phase,
    /// When it was entered.
    pub at: Duration,
    /// How long it lasted, up to the report.
    pub took: Duration,
}

impl PhaseReport {
    pub(crate) const fn new(phase: Phase, at: Duration, took: Duration) -> Self {
        Self { phase, at, took }
    }
}

/// What was made of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalVerdict {
    /// It started the shutdown.
    Started,
    /// It came within the merge interval of the last counted one: the same request.
    Merged,
    /// A repeat that was written down and changed nothing.
    Recorded,
    /// It asked to leave, and waits for its turn.
    Waits,
    /// A repeat that ended the wait for a turn.
    EndedWait,
    /// A repeat that ended the lame-duck window.
    EndedWindow,
    /// A repeat that cut the shutdown.
    Cut,
    /// A reload was asked for.
    Reload,
    /// It came in a phase that has no use for it.
    Refused,
    /// It asked for something to be shown: what is in flight, or the status.
    Shown,
}

impl SignalVerdict {
    /// One lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Merged => "merged",
            Self::Recorded => "recorded",
            Self::Waits => "waits",
            Self::EndedWait => "ended-wait",
            Self::EndedWindow => "ended-window",
            Self::Cut => "cut",
            Self::Reload => "reload",
            Self::Refused => "refused",
            Self::Shown => "shown",
        }
    }
}

/// One signal, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SignalNote {
    /// When it was handled.
    pub at: Duration,
    /// The phase in which it came.
    pub phase: Phase,
    /// The signal.
    pub record: SignalRecord,
    /// What it did.
    pub verdict: SignalVerdict,
}

impl SignalNote {
    pub(crate) const fn new(
        at: Duration,
        phase: Phase,
        record: SignalRecord,
        verdict: SignalVerdict,
    ) -> Self {
        Self {
            at,
            phase,
            record,
            verdict,
        }
    }
}

/// How far a participant came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParticipantState {
    /// It was not ready when the request came; it is not waited for, and its stop hook does not run.
    NotStarted,
    /// It was ready and had not answered the request.
    Silent,
    /// It had answered and was still at work.
    Working,
    /// It finished.
    Done,
    /// It failed.
    Failed {
        /// What it said.
        why: String,
    },
    /// Its budget, or the drain, ended first: the rest went on without it.
    Overdue {
        /// Whether it had answered the request at all.
        answered: bool,
    },
}

impl ParticipantState {
    /// One lower-case word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotStarted => "not-started",
            Self::Silent => "silent",
            Self::Working => "working",
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Overdue { .. } => "overdue",
        }
    }
}

/// How a stop hook ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HookState {
    /// It succeeded.
    Ok,
    /// It failed.
    Failed {
        /// What it said.
        why: String,
    },
    /// Its share of the reserve ended first.
    Overran,
    /// The process ended before its turn.
    NotRun,
}

impl HookState {
    /// One lower-case word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed { .. } => "failed",
            Self::Overran => "overran",
            Self::NotRun => "not-run",
        }
    }
}

/// A stop hook that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Hooked {
    /// How.
    pub state: HookState,
    /// How long it ran.
    pub took: Duration,
}

impl Hooked {
    pub(crate) const fn new(state: HookState, took: Duration) -> Self {
        Self { state, took }
    }
}

/// One participant of a shutdown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ParticipantReport {
    /// Its name.
    pub name: String,
    /// What it depends on: it stops before these.
    pub after: Vec<String>,
    /// How far it came.
    pub state: ParticipantState,
    /// The budget it had.
    pub budget: Option<Duration>,
    /// When it finished, failed or was given up.
    pub ended_at: Option<Duration>,
    /// Its stop hook, if it had one.
    pub hook: Option<Hooked>,
}

/// What kind of listener closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenerKind {
    /// A TCP listener of this process alone.
    Exclusive,
    /// A listener that other processes hold too: not swept, only let go.
    Shared,
    /// A Unix socket.
    Unix,
    /// A listener of another server, which closes it itself.
    Foreign,
}

impl ListenerKind {
    /// One lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
            Self::Unix => "unix",
            Self::Foreign => "foreign",
        }
    }
}

/// What became of the SYN gate on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SynGate {
    /// The kernel took it: no new connection was begun during the sweep.
    Attached,
    /// The kernel or a sandbox refused it; connections were accepted until none came for a while.
    Refused {
        /// The error number of setsockopt(2).
        errno: i32,
    },
    /// It was not tried.
    Off,
}

/// How a listener closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "servers outside this crate build it"
)]
pub struct ListenerReport {
    /// Its address.
    pub address: String,
    /// What kind it was.
    pub kind: ListenerKind,
    /// The SYN gate.
    pub gate: SynGate,
    /// How many connections were accepted after the window had ended.
    pub swept: u32,
    /// From the end of the window to the close.
    pub took: Duration,
}

/// Whether a fact about a straggler is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Known {
    /// A request on a connection.
    Request {
        /// Its method.
        method: String,
        /// The first 64 bytes of its path, without the query.
        path: String,
    },
    /// A connection between requests, or before its first.
    Connection,
    /// Guards without a name.
    Guards {
        /// How many.
        count: u64,
    },
}

/// What was still in flight when the drain ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Straggler {
    /// What it was.
    pub what: Known,
    /// The peer, where there is one.
    pub peer: Option<SocketAddr>,
    /// How old it was; zero where that is not known.
    pub age: Duration,
}

impl Straggler {
    /// A straggler of these parts.
    #[must_use]
    pub const fn new(what: Known, peer: Option<SocketAddr>, age: Duration) -> Self {
        Self { what, peer, age }
    }
}

impl fmt::Display for Straggler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Known::Request { method, path } => write!(f, "{method} {path}")?,
            Known::Connection => f.write_str("connection without a request")?,
            Known::Guards { count } => write!(f, "{count} guard(s)")?,
        }
        if let Some(peer) = self.peer {
            write!(f, " from {peer}")?;
        }
        if self.age.is_zero() {
            return Ok(());
        }
        write!(f, ", {} ms old", self.age.as_millis())
    }
}

/// Something that happened, with its time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What, as a sentence without a full stop.
    pub what: String,
}

impl Event {
    pub(crate) const fn new(at: Duration, what: String) -> Self {
        Self { at, what }
    }
}
