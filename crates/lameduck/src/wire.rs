//! Mirrors of the report and the audit for readers (feature `serde`): what `lameduck.shutdown/1` and `lameduck.audit/1`
//! look like from the other side.
//!
//! Unknown fields are ignored and missing ones take their default, so that a reader outlives a version of the writer.
//! Times are milliseconds after T, negative before it.

mod audit;

pub use audit::{Audit, AuditExit, AuditInflight, AuditRecord, AuditSender};
use serde::{Deserialize, Serialize};

/// A shutdown report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Shutdown {
    /// `lameduck.shutdown/1`.
    pub schema: String,
    /// Names the lifecycle in metrics, traces and logs.
    pub drain_id: String,
    /// One word: `drained`, `failed`, `start-failed`, `impossible`, `forced` or `cut`.
    pub outcome: String,
    /// The outcome for people.
    pub said: String,
    /// How the process exited.
    pub exit: Exit,
    /// What started it.
    pub cause: Option<Cause>,
    /// When the process started.
    pub started_ms: f64,
    /// When the report was made.
    pub ended_ms: f64,
    /// The plan.
    pub plan: Plan,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// The signals, in order.
    pub signals: Vec<Signal>,
    /// The participants.
    pub participants: Vec<Participant>,
    /// The listeners.
    pub listeners: Vec<Listener>,
    /// What the drain deadline ended.
    pub stragglers: Vec<Straggler>,
    /// What happened besides.
    pub events: Vec<Event>,
    /// How the process was at its end.
    pub health: Option<Health>,
    /// Counts by name.
    pub counts: std::collections::BTreeMap<String, u64>,
    /// What did not fit into a bounded list, by the list's name.
    pub dropped: std::collections::BTreeMap<String, u64>,
}

impl Shutdown {
    /// Finds the last report in a text that may hold other lines, such as a service's whole stderr.
    ///
    /// # Errors
    /// [`NoReport`] if no line is one.
    pub fn find(text: &str) -> Result<Self, NoReport> {
        let mut error = None;
        for line in text.lines().rev().chain([text]) {
            if !line.contains(crate::Report::SCHEMA) {
                continue;
            }
            match serde_json::from_str::<Self>(line.trim()) {
                Ok(report) if report.schema == crate::Report::SCHEMA => return Ok(report),
                Ok(_) => {}
                Err(why) => error = Some(why.to_string()),
            }
        }
        Err(NoReport { why: error })
    }
}

/// A text holds no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoReport {
    why: Option<String>,
}

impl core::fmt::Display for NoReport {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.why {
            Some(why) => write!(f, "the report cannot be read: {why}"),
            None => write!(f, "there is no line with schema {}", crate::Report::SCHEMA),
        }
    }
}

impl std::error::Error for NoReport {}

macro_rules! mirror {
    ($(#[doc = $doc:literal] $name:ident { $(#[doc = $field_doc:literal] $field:ident: $type:ty,)+ })+) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            #[serde(default)]
            #[non_exhaustive]
            pub struct $name {
                $(#[doc = $field_doc] pub $field: $type,)+
            }
        )+
    };
}

mirror! {
    /// How a process was at its end; what its system did not tell is missing.
    Health {
        /// Since it began.
        uptime_ms: f64,
        /// Resident memory.
        resident_bytes: Option<u64>,
        /// Threads.
        threads: Option<u64>,
        /// Open file descriptors.
        open_files: Option<u64>,
        /// Tasks of the runtime.
        tasks: Option<u64>,
        /// Connections that were open and counted.
        connections: u64,
        /// Guards that were held.
        guards: u64,
    }
    /// How a process exited.
    Exit {
        /// The exit code.
        code: i32,
        /// The signal that it died by, if it did.
        signal: Option<String>,
    }
    /// What started a shutdown.
    Cause {
        /// `signal`, `api`, `participant-failed` or `start-failed`.
        kind: String,
        /// The cause for people.
        said: String,
    }
    /// The plan.
    Plan {
        /// The preset it began with.
        preset: String,
        /// From the stop signal to SIGKILL.
        grace_ms: f64,
        /// When stragglers are ended.
        drain_end_ms: f64,
        /// When the process is gone.
        deadline_ms: f64,
        /// The window.
        window: Window,
        /// What happens to late requests.
        late: String,
        /// What repeats mean.
        repeat: String,
    }
    /// The lame-duck window.
    Window {
        /// The least.
        floor_ms: f64,
        /// How long without a request.
        quiet_ms: f64,
        /// The most.
        ceiling_ms: f64,
    }
    /// A phase.
    Phase {
        /// Its name.
        phase: String,
        /// When it was entered.
        at_ms: f64,
        /// How long it lasted.
        took_ms: f64,
    }
    /// A signal.
    Signal {
        /// When it was handled.
        at_ms: f64,
        /// The phase in which it came.
        phase: String,
        /// Its name.
        signal: String,
        /// Its `si_code`.
        code: String,
        /// Who sent it.
        sender: Sender,
        /// What was made of it.
        verdict: String,
    }
    /// Who sent a signal.
    Sender {
        /// The sender's process id.
        pid: Option<u32>,
        /// The sender's user id.
        uid: Option<u32>,
        /// The sender's command name.
        comm: Option<String>,
        /// The sender for people.
        said: String,
    }
    /// A participant.
    Participant {
        /// Its name.
        name: String,
        /// What it depends on.
        after: Vec<String>,
        /// How far it came.
        state: String,
        /// Why it failed, refused or was away.
        why: Option<String>,
        /// Whether it had answered when it was given up.
        answered: Option<bool>,
        /// Its budget.
        budget_ms: Option<f64>,
        /// What it got beyond that.
        grants: Vec<Grant>,
        /// How far it was, last.
        progress: Option<Progress>,
        /// What it counted, by name.
        figures: std::collections::BTreeMap<String, i64>,
        /// When it ended.
        ended_ms: Option<f64>,
        /// Its stop hook.
        hook: Option<Hook>,
    }
    /// A stop hook.
    Hook {
        /// `ok`, `failed`, `overran` or `not-run`.
        state: String,
        /// Why it failed.
        why: Option<String>,
        /// How long it ran.
        took_ms: f64,
    }
    /// What a wish for more time, or an operator, brought a participant.
    Grant {
        /// When.
        at_ms: f64,
        /// The number of the wish; missing if nobody wished for it.
        wish: Option<u32>,
        /// How much was asked for.
        asked_ms: f64,
        /// How much more it got.
        by_ms: f64,
        /// Why.
        why: String,
    }
    /// How far a participant is.
    Progress {
        /// How much is done.
        done: u64,
        /// Of how much.
        total: u64,
        /// What it is at.
        note: String,
    }
    /// A listener.
    Listener {
        /// Its address.
        address: String,
        /// `exclusive`, `shared`, `unix` or `foreign`.
        kind: String,
        /// `attached`, `refused` or `off`.
        gate: String,
        /// The error number of a refused gate.
        errno: Option<i32>,
        /// Connections accepted after the window.
        swept: u64,
        /// From the end of the window to the close.
        took_ms: f64,
    }
    /// What the drain deadline ended.
    Straggler {
        /// `request`, `connection` or `guards`.
        kind: String,
        /// The straggler for people.
        said: String,
        /// How old it was.
        age_ms: f64,
    }
    /// Something that happened.
    Event {
        /// When.
        at_ms: f64,
        /// What.
        what: String,
    }
}
