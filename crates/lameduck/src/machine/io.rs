//! What goes into the machine and what comes out of it.

use core::{fmt, time::Duration};

use crate::vocab::{
    Cause, ListenerReport, MOST_FIGURE_NAME, MOST_FIGURES, Outcome, Phase, Progress, SignalRecord,
    Straggler, Switch, cut,
};

/// A participant's number, given by the driver in the order of enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantId(pub(crate) u32);

impl ParticipantId {
    /// The participant with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What a participant says of itself when it enrols.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "scripts and drivers build it")]
pub struct Enrolment {
    /// Its number.
    pub id: ParticipantId,
    /// Its name in reports.
    pub name: String,
    /// What it depends on; it stops before these. Only participants enrolled earlier, so there are no cycles.
    pub after: Vec<ParticipantId>,
    /// How long it may take once it is told to close; `None`: until the drain ends.
    pub budget: Option<Duration>,
    /// Whether it admits connections: the phase changes to `Draining` only when it has closed.
    pub listens: Listens,
    /// Whether it has a stop hook.
    pub hook: Hook,
}

/// Whether a participant admits connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a yes-or-no answer with a name")]
pub enum Listens {
    /// It does not.
    Never,
    /// It does, and reports when it has closed.
    UntilClosed,
}

/// Whether a participant has a stop hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a yes-or-no answer with a name")]
pub enum Hook {
    /// It has none.
    None,
    /// It has one.
    Some,
}

/// What a participant answers to a [`ShutdownRequest`]. Repeated and late answers are harmless.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Answer {
    /// It heard the request.
    Ack,
    /// It is at work.
    Working {
        /// How much is done.
        done: u64,
        /// Of how much.
        total: u64,
        /// What it is at, at most [`Progress::NOTE`] bytes; may be empty.
        note: String,
    },
    /// It wishes for more time than its budget. Every wish is answered by [`Effect::Granted`], a repeated one as the first
    /// time.
    NeedMore {
        /// The number of the wish, among those of this participant for this shutdown.
        wish: u32,
        /// How much more.
        by: Duration,
        /// Why, at most [`Progress::NOTE`] bytes.
        why: String,
    },
    /// It has finished.
    Done {
        /// What it counted, by name; the last of a name counts. 32 are kept, of names at most 64 bytes long.
        figures: Vec<(String, i64)>,
    },
    /// It will not finish for this shutdown: it is not waited for any longer.
    Refused {
        /// Why, at most [`Progress::NOTE`] bytes.
        why: String,
    },
    /// It failed.
    Failed {
        /// Why.
        why: String,
    },
    /// It has gone, for all that is known. Before a request to terminate it may return, and is not waited for meanwhile;
    /// afterwards that is a failure.
    Away {
        /// How that was noticed.
        why: String,
    },
}

impl Answer {
    /// It has finished, and counted nothing.
    #[must_use]
    pub const fn done() -> Self {
        Self::Done {
            figures: Vec::new(),
        }
    }

    /// The same within its bounds, and how many figures had no room (INV-11).
    pub(super) fn bounded(self) -> (Self, u64) {
        let text = |text| cut(text, Progress::NOTE);
        match self {
            Self::Working { done, total, note } => {
                let note = text(note);
                (Self::Working { done, total, note }, 0)
            }
            Self::NeedMore { wish, by, why } => {
                let why = text(why);
                (Self::NeedMore { wish, by, why }, 0)
            }
            Self::Refused { why } => (Self::Refused { why: text(why) }, 0),
            Self::Away { why } => (Self::Away { why: text(why) }, 0),
            Self::Done { figures } => {
                let (figures, dropped) = bounded_figures(figures);
                (Self::Done { figures }, dropped)
            }
            Self::Ack | Self::Failed { .. } => (self, 0),
        }
    }
}

fn bounded_figures(figures: Vec<(String, i64)>) -> (Vec<(String, i64)>, u64) {
    let mut kept: Vec<(String, i64)> = Vec::new();
    let mut dropped = 0;
    for (name, figure) in figures {
        let name = cut(name, MOST_FIGURE_NAME);
        if let Some(known) = kept.iter_mut().find(|one| one.0 == name) {
            known.1 = figure;
        } else if kept.len() < MOST_FIGURES {
            kept.push((name, figure));
        } else {
            dropped += 1;
        }
    }
    (kept, dropped)
}

/// How busy the service is, as the driver read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "scripts and drivers build it")]
pub struct Traffic {
    /// Counted requests since the start.
    pub requests: u64,
    /// The mean gap between the counted requests of the last 60 s; `None` with fewer than two.
    pub mean_gap: Option<Duration>,
}

/// What happens to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Input {
    /// Time passed: [`poll_timeout`](super::Machine::poll_timeout) was reached.
    Wake,
    /// A participant enrolled.
    Enrol(Enrolment),
    /// A participant is ready.
    Ready(ParticipantId),
    /// Start-up is complete: no further participant is needed for `Running`.
    Started,
    /// Start-up failed.
    StartFailed {
        /// Why.
        why: String,
    },
    /// A listener did not open when `Running` was entered: start-up failed after all.
    NotOpened(ParticipantId, String),
    /// A participant answered, finished or failed.
    Answer(ParticipantId, Answer),
    /// An operator gives a participant more time than its budget, as far as the end of the drain allows.
    Grant(ParticipantId, Duration),
    /// A participant that had gone [away](Answer::Away) is back, and is ready when it says so.
    Returned(ParticipantId),
    /// A participant got a stop hook.
    Hooked(ParticipantId),
    /// A signal came.
    Signal(SignalRecord),
    /// The program asked to terminate.
    Terminate {
        /// Why.
        why: String,
    },
    /// The same with less time than the plan gives, or the plan's own where that is shorter; see
    /// [`Plan::shortened`](crate::Plan::shortened). A request that waits for its turn waits less long, if that is earlier.
    TerminateWithin {
        /// Why.
        why: String,
        /// From now to SIGKILL.
        grace: Duration,
    },
    /// The program will ask to terminate after a while; said again, the last word counts.
    Announce {
        /// Why.
        why: String,
        /// After how long.
        delay: Duration,
    },
    /// What waits for its time or its turn is to be forgotten; answered by [`Effect::CancelAnswered`].
    Cancel {
        /// Why.
        why: String,
    },
    /// From now on requests wait for a turn, but leave when so much is left before the drain's end; `None`: they do not wait.
    TakesTurns {
        /// What the drain itself needs.
        needs: Option<Duration>,
    },
    /// The answer to [`Effect::AskTurn`]: it leaves now.
    TurnGiven {
        /// Which wish; one that is over is passed over.
        wish: u64,
        /// Why, for the report.
        note: String,
    },
    /// The program, or an operator, cuts the shutdown.
    Cut,
    /// The program, or an operator, asked to reload; refused outside `Running`.
    Reload,
    /// The answer to [`Effect::ReadTraffic`].
    Traffic(Traffic),
    /// A listening participant has closed its listener.
    AdmissionClosed(ParticipantId, ListenerReport),
    /// The connections' gate is closed and the final scan found none.
    ConnectionsDrained,
    /// The guards' gate is closed and the final scan found none.
    GuardsDrained,
    /// The answer to [`Effect::EndStragglers`]: what was ended, and how many names did not fit.
    Stragglers(Vec<Straggler>, u64),
    /// A stop hook ended.
    HookEnded(ParticipantId, Result<(), String>),
    /// Something worth a line in the report.
    Note(String),
    /// A part of the program stands otherwise: told on, and nothing is decided by it.
    Switched(Switch),
    /// A reload subscriber ran.
    Reloaded {
        /// Its name.
        name: String,
        /// Why the old configuration stays in force, if it does.
        result: Result<(), String>,
    },
}

/// What every participant is told when a termination was requested.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ShutdownRequest {
    /// What started it.
    pub cause: Cause,
    /// When the request came (T), since the start.
    pub requested_at: Duration,
    /// When it began to leave, since the start: later than T if it waited for its turn.
    pub begun_at: Duration,
    /// When the drain ends and stragglers are ended, since the start.
    pub drain_end: Duration,
    /// When the process is gone, since the start.
    pub deadline: Duration,
    /// Over how long clients are steered away: the window's floor.
    pub spread: Duration,
}

/// A wish for a turn to leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TurnRequest {
    /// Its number.
    pub number: u64,
    /// Why it wants to leave.
    pub cause: Cause,
    /// When it leaves without a turn, since the start.
    pub until: Duration,
    /// When the drain ends, whenever it begins, since the start.
    pub drain_end: Duration,
}

/// How a wish for a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WishEnd {
    /// The service leaves now, with its turn or without.
    Leaves,
    /// The request was taken back.
    Cancelled,
    /// The service was cut.
    Cut,
}

/// Why a request to leave is not taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Uncancellable {
    /// There is none.
    NothingWaits,
    /// A signal asked: whoever sent it will kill the process.
    Signalled,
    /// Clients and participants have been told: phases only advance (INV-1).
    Leaving,
}

impl fmt::Display for Uncancellable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingWaits => "nothing was announced, and nothing waits for its turn",
            Self::Signalled => "a signal asked for it, and whoever sent that will kill the process",
            Self::Leaving => "clients have been told that it leaves, and phases only advance",
        })
    }
}

impl core::error::Error for Uncancellable {}

/// What the machine wants done, in this order. An effect is executed once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// Open every listener; comes right before `Enter(Running)`.
    OpenAdmission,
    /// Publish the phase.
    Enter(Phase),
    /// Ask for a turn, and hand it back as [`Input::TurnGiven`].
    AskTurn(TurnRequest),
    /// A wish for a turn is over.
    EndWish(u64, WishEnd),
    /// The answer to [`Input::Cancel`].
    CancelAnswered(Result<(), Uncancellable>),
    /// Tell every participant; begin to steer.
    Broadcast(ShutdownRequest),
    /// Tell a participant by how much its budget grew: for its wish of this number, or for none.
    Granted(ParticipantId, Option<u32>, Duration),
    /// Ask a silent participant again.
    AskAgain(ParticipantId),
    /// Read the traffic and hand it back as [`Input::Traffic`].
    ReadTraffic,
    /// The window is over: listeners sweep and close, each answers [`Input::AdmissionClosed`]; idle connections are looked at once more and closed.
    CloseAdmission,
    /// Close the connections' gate and watch for [`Input::ConnectionsDrained`].
    CloseConnectionsGate,
    /// Tell a participant that nothing depends on it any longer: it finishes now.
    Close(ParticipantId),
    /// Close the guards' gate and watch for [`Input::GuardsDrained`].
    CloseGuardsGate,
    /// Name what is in flight, end it, and hand the names back as [`Input::Stragglers`].
    EndStragglers,
    /// Run a participant's stop hook and hand its end back as [`Input::HookEnded`].
    RunHook(ParticipantId),
    /// Tell the reload subscribers.
    Reload,
    /// Say what is in flight, then die by SIGQUIT.
    DumpAndDie,
    /// Write the status.
    ShowStatus,
    /// Write the report and let the process end like this. The last effect.
    Exit(Outcome),
}
