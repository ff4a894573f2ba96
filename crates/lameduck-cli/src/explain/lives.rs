//! An audit put in order: one life for each process, with what asked it to stop and what became of it.

use lameduck::wire::{AuditRecord, AuditSender};

/// The records of one process, from its start to its end.
#[derive(Debug)]
pub(super) struct Life<'a> {
    pub(super) records: Vec<&'a AuditRecord>,
}

/// What ended, or did not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End<'a> {
    /// The outcome, and how the process exited.
    Exit(&'a str, &'a AuditRecord),
    /// No record of the end.
    Unknown,
}

/// The lives in the order in which they began; lives of different processes may interleave in one file.
pub(super) fn lives(records: &[AuditRecord]) -> Vec<Life<'_>> {
    let mut lives: Vec<Life<'_>> = Vec::new();
    for record in records {
        let is_it = |life: &Life<'_>| {
            let first = life.first();
            first.pid == record.pid && first.started == record.started
        };
        match lives.iter().rposition(is_it) {
            Some(index) => lives[index].records.push(record),
            None => lives.push(Life {
                records: vec![record],
            }),
        }
    }
    lives
}

impl<'a> Life<'a> {
    pub(super) fn first(&self) -> &'a AuditRecord {
        self.records[0]
    }

    pub(super) fn last(&self) -> &'a AuditRecord {
        self.records[self.records.len() - 1]
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &'a AuditRecord> {
        self.records
            .iter()
            .copied()
            .filter(move |record| record.kind == kind)
    }

    pub(super) fn signals(&self) -> impl Iterator<Item = &'a AuditRecord> {
        self.of_kind("signal")
    }

    /// The name of the process, if its start is on record.
    pub(super) fn name(&self) -> Option<&'a str> {
        self.of_kind("start")
            .find_map(|start| start.name.as_deref())
    }

    /// When it was asked to stop (T), since its start.
    pub(super) fn asked_ms(&self) -> Option<f64> {
        self.asked().map(|record| record.at_ms)
    }

    pub(super) fn asked(&self) -> Option<&'a AuditRecord> {
        self.of_kind("phase")
            .find(|record| record.phase.as_deref() == Some("Terminating"))
    }

    /// Who asked, in words that do not change with a process' number, so that they can be counted.
    pub(super) fn asker(&self) -> Option<String> {
        let asked = self.asked()?;
        let started = self
            .signals()
            .find(|signal| signal.verdict.as_deref() == Some("started"));
        Some(match started {
            Some(signal) => format!(
                "{} from {}",
                signal.signal.as_deref().unwrap_or("a signal"),
                signal
                    .sender
                    .as_ref()
                    .map_or_else(|| "nobody known".to_owned(), who)
            ),
            None => asked
                .cause
                .clone()
                .unwrap_or_else(|| "no reason".to_owned()),
        })
    }

    /// From T to the end, in milliseconds.
    pub(super) fn took_ms(&self) -> Option<f64> {
        let end = self.of_kind("exit").last()?;
        Some(end.at_ms - self.asked_ms()?)
    }

    pub(super) fn end(&self) -> End<'a> {
        match self.of_kind("exit").last() {
            Some(exit) => End::Exit(exit.outcome.as_deref().unwrap_or("over"), exit),
            None => End::Unknown,
        }
    }

    /// How much the end of the drain cut.
    pub(super) fn cut(&self) -> u64 {
        self.of_kind("stragglers")
            .filter_map(|record| record.count)
            .sum()
    }

    /// Repeats of the request to stop.
    pub(super) fn repeats(&self) -> usize {
        self.signals()
            .filter(|signal| {
                let verdict = signal.verdict.as_deref();
                matches!(
                    verdict,
                    Some("merged" | "recorded" | "ended-window" | "cut")
                )
            })
            .count()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.records.iter().map(|record| record.dropped).sum()
    }
}

/// A sender by its name and home: what is the same when it does it again.
pub(super) fn who(sender: &AuditSender) -> String {
    let Some(comm) = &sender.comm else {
        // The words of the writer; the number in them is the best there is.
        return sender.said.clone();
    };
    let mut who = comm.clone();
    if let Some(uid) = sender.uid {
        who.push_str(&format!(", uid {uid}"));
    }
    if let Some(home) = home(sender) {
        who.push_str(&format!(", {home}"));
    }
    who
}

/// Where a sender lives: its pod, container or unit.
pub(super) fn home(sender: &AuditSender) -> Option<String> {
    if let Some(pod) = &sender.pod {
        return Some(format!("pod {pod}"));
    }
    if let Some(container) = &sender.container {
        let short: String = container.chars().take(12).collect();
        return Some(format!("container {short}"));
    }
    sender.unit.clone()
}
