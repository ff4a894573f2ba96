//! The observer behind the audit: finds out who sent a signal, makes the record, hands it to the writer.

use std::{
    io,
    sync::Weak,
    time::{Duration, SystemTime},
};

use super::{
    facts::{Argv, Facts},
    record::{Process, Record, why_unknown},
    sink::Sink,
    writer::{Complaint, Writer},
};
use crate::{
    driver::{Observer, Shared},
    machine::Input,
    sys,
    vocab::{News, Observed, Sender},
};

/// How long the end waits for the disk. The driver does not wait for that: it is for an embedded lifecycle, whose process
/// lives on.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Witness {
    process: Process,
    argv: Argv,
    shared: Weak<Shared>,
    writer: Writer,
}

impl Witness {
    pub(super) fn begin(
        sink: Sink,
        place: String,
        argv: Argv,
        shared: Weak<Shared>,
    ) -> io::Result<Self> {
        let counting = Weak::clone(&shared);
        let count_lost = move |count| {
            if let Some(shared) = counting.upgrade() {
                shared.count_lost_audit(count);
            }
        };
        let telling = Weak::clone(&shared);
        let complain = move |complaint: Complaint<'_>| {
            let Some(shared) = telling.upgrade() else {
                return;
            };
            let (what, more) = match complaint {
                Complaint::Lost(error) => (
                    format!("the audit cannot be written to {place}: {error}"),
                    "; what is lost is counted, this is said once",
                ),
                Complaint::Grows(why) => (format!("the audit {place}: {why}"), "; nothing is lost"),
            };
            shared.say(&format!("lameduck: warning: {what}{more}"));
            shared.send(Input::Note(what));
        };
        let writer = Writer::begin(sink, count_lost, Box::new(complain))?;
        let process = Process::this(&shared);
        writer.write(Record::start(&process));
        Ok(Self {
            process,
            argv,
            shared,
            writer,
        })
    }

    /// The facts of a signal's sender, as far as there is one that can be looked at.
    fn facts(&self, sender: &Sender, at: Duration) -> Facts {
        let pid = match sender {
            Sender::Process {
                pid, comm: Ok(_), ..
            } => *pid,
            Sender::Itself => sys::getpid(),
            other => return why_unknown(other).map_or_else(Facts::default, Facts::unknown),
        };
        // The age is measured on a clock that nobody sets.
        let age = self
            .shared
            .upgrade()
            .map_or(Duration::ZERO, |shared| shared.now().saturating_sub(at));
        Facts::of(pid, sys::since_boot().saturating_sub(age), self.argv)
    }
}

impl Observer for Witness {
    fn observe(&mut self, seen: &Observed) {
        let facts = match &seen.news {
            News::Signal { record, .. } => self.facts(&record.sender, seen.at),
            _ => Facts::default(),
        };
        if let Some(record) = Record::observed(&self.process, seen, &facts)
            && !self.writer.write(record)
            && let Some(shared) = self.shared.upgrade()
        {
            shared.count_lost_audit(1);
        }
    }

    fn missed(&mut self, count: u64) {
        self.writer.missed(count);
    }

    fn finish(&mut self) {
        self.writer.finish(PATIENCE);
    }
}

impl Process {
    fn this(shared: &Weak<Shared>) -> Self {
        let pid = sys::getpid();
        let name = sys::process_facts(pid).map_or_else(
            |_| "lameduck".to_owned(),
            |facts| String::from_utf8_lossy(&facts.comm).into_owned(),
        );
        let (age, drain_id, plan) = shared.upgrade().map_or_else(
            || (Duration::ZERO, String::new(), String::new()),
            |shared| {
                let drain_id = shared.ledger().drain_id().to_owned();
                (shared.now(), drain_id, shared.plan().to_string())
            },
        );
        let now = SystemTime::now();
        Self {
            pid,
            name,
            started: now.checked_sub(age).unwrap_or(now),
            drain_id,
            plan,
            facts: Facts::of(pid, sys::since_boot(), Argv::Left),
        }
    }
}
