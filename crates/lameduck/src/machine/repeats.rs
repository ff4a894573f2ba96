//! Repeated termination signals: which count, and what they mean.

use core::time::Duration;

use crate::vocab::{Plan, Repeat, Signal, SignalRecord};

/// Repeats of SIGTERM within this of the last counted one are the same request (process groups, forwarding parents, kubelet).
const MERGE_TERM: Duration = Duration::from_secs(1);
/// Repeats of SIGINT within this of the last counted one are the same key.
const MERGE_INT: Duration = Duration::from_millis(300);

/// Counts termination signals. The first one, the cause, counts too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Repeats {
    last_counted: Option<Duration>,
    terms: u32,
    ints: u32,
}

/// What a repeat means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Same,
    Noted,
    EndsWindow,
    Cuts,
}

/// Whether a signal that comes so long after the request, when all is drained and only others are told of it, means "now".
#[cfg(feature = "signals")]
pub(crate) fn ends_waiting(record: &SignalRecord, repeat: Repeat, since: Duration) -> bool {
    match record.signal {
        Signal::Int => since > MERGE_INT && (record.is_typed() || repeat == Repeat::Escalate),
        Signal::Term => since > MERGE_TERM && repeat == Repeat::Escalate,
        _ => false,
    }
}

impl Repeats {
    /// After a request that came by `signal`, or by none.
    pub(super) fn after(now: Duration, signal: Option<Signal>) -> Self {
        let mut repeats = Self {
            last_counted: None,
            terms: 0,
            ints: 0,
        };
        if let Some(signal) = signal {
            repeats.count(now, signal);
        }
        repeats
    }

    pub(super) fn take(&mut self, now: Duration, record: &SignalRecord, plan: &Plan) -> Meaning {
        let merge = if record.signal == Signal::Int {
            MERGE_INT
        } else {
            MERGE_TERM
        };
        if self
            .last_counted
            .is_some_and(|last| now.saturating_sub(last) < merge)
        {
            return Meaning::Same;
        }
        self.count(now, record.signal);
        let second_int = record.signal == Signal::Int && self.ints >= 2;
        match plan.repeat() {
            _ if second_int && record.is_typed() => Meaning::Cuts,
            Repeat::Record => Meaning::Noted,
            Repeat::Escalate if second_int => Meaning::Cuts,
            Repeat::Escalate => match (record.signal, self.terms) {
                (Signal::Term, 2) => Meaning::EndsWindow,
                (Signal::Term, 3..) => Meaning::Cuts,
                _ => Meaning::Noted,
            },
        }
    }

    fn count(&mut self, now: Duration, signal: Signal) {
        self.last_counted = Some(now);
        let counter = if signal == Signal::Int {
            &mut self.ints
        } else {
            &mut self.terms
        };
        *counter = counter.saturating_add(1);
    }
}
