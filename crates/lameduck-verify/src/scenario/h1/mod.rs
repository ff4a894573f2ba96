//! H1-07 to H1-14: exchanges that last (uploads, streams, pipelines, heads that never end), all in the drain of `long`.
//! Owns their clients and verdicts; not the drain itself, nor the sweeps (see `drain`).

pub(crate) mod client;
mod heads;
mod pipeline;
mod streams;
mod uploads;

use std::time::Instant;

use super::long::{Opening, Seen};
use crate::observe::outcome::{Exchange, Outcome, Usual};
use crate::verdict::Finding;

use client::Client;

pub(crate) const IDS: [&str; 7] = [
    "H1-07", "H1-08", "H1-09", "H1-11", "H1-12", "H1-13", "H1-14",
];

/// Adds the clients of every id that is wanted.
pub(crate) fn open(opening: &mut Opening<'_>) {
    heads::open(opening);
    pipeline::open(opening);
    uploads::open(opening);
    streams::open(opening);
}

/// Those whose time runs from their beginning.
pub(crate) fn open_last(opening: &mut Opening<'_>) {
    streams::open_last(opening);
}

pub(crate) fn judge(seen: &Seen<'_>) -> Vec<Finding> {
    let mut findings = vec![heads::judge(seen), pipeline::judge(seen)];
    findings.extend(uploads::judge(seen));
    findings.extend(streams::judge(seen));
    findings
}

impl Client {
    /// Its request of that index, as the taxonomy counts it.
    pub(crate) fn exchange(&self, index: usize, is_post: bool, usual: Usual) -> Exchange {
        let answer = self.answers.get(index);
        let now = Instant::now();
        let outcome = self.answers.outcome(index, usual);
        let whole_write = !self.was_cut || outcome.is_some_and(|outcome| !outcome.is_unanswered());
        Exchange {
            is_post,
            is_first: index == 0,
            planned_at: None,
            begun_at: self.opened_at.unwrap_or(now),
            opened_at: self.opened_at.unwrap_or(now),
            written_at: self.wrote_at.filter(|_| whole_write),
            look_gap: self.look_gap,
            first_byte_at: answer.and_then(|answer| answer.first_byte_at),
            ended_at: answer
                .and_then(|answer| answer.whole_at)
                .or(self.answers.end.map(|(at, _)| at)),
            outcome: Some(outcome.unwrap_or(Outcome::Hung)),
            status: answer
                .and_then(|answer| answer.reader.head())
                .map(|head| head.status),
            body_bytes: answer.map_or(0, |answer| answer.reader.body_bytes()),
            crossed: false,
        }
    }
}
