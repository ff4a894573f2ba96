//! The record of what happened, bounded, from which the report is made.

use core::time::Duration;
use std::collections::VecDeque;

use super::{
    phases::Present,
    roster::{MOST_PARTICIPANTS, Roster},
};
use crate::vocab::{
    Event, News, Outcome, Phase, PhaseReport, Plan, Report, SignalNote, SignalRecord,
    SignalVerdict, Straggler,
};

/// Room for news that nobody has taken yet: two of each participant, and every list of a report (INV-11).
const MOST_NEWS: usize = 2 * MOST_PARTICIPANTS + 4 * Report::NOTES;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Journal {
    phases: Vec<(Phase, Duration)>,
    signals: Vec<SignalNote>,
    stragglers: Vec<Straggler>,
    events: Vec<Event>,
    signals_dropped: u64,
    stragglers_dropped: u64,
    events_dropped: u64,
    figures_dropped: u64,
    news: VecDeque<(Duration, News)>,
    news_dropped: u64,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            phases: vec![(Phase::Initializing, Duration::ZERO)],
            signals: Vec::new(),
            stragglers: Vec::new(),
            events: Vec::new(),
            signals_dropped: 0,
            stragglers_dropped: 0,
            events_dropped: 0,
            figures_dropped: 0,
            news: VecDeque::new(),
            news_dropped: 0,
        }
    }

    pub(super) fn enter(&mut self, now: Duration, phase: Phase) {
        debug_assert!(
            self.phases.last().is_some_and(|last| last.0 < phase),
            "INV-1: phases only advance"
        );
        self.phases.push((phase, now));
    }

    /// Keeps it for whoever observes; the oldest makes room.
    pub(super) fn news(&mut self, at: Duration, news: News) {
        if self.news.len() >= MOST_NEWS {
            self.news.pop_front();
            self.news_dropped += 1;
        }
        self.news.push_back((at, news));
    }

    pub(super) fn take_news(&mut self) -> Option<(Duration, News)> {
        self.news.pop_front()
    }

    /// When the present phase was entered.
    pub(super) fn since(&self) -> Duration {
        self.phases.last().map_or(Duration::ZERO, |last| last.1)
    }

    /// The phases so far, with how long each lasted up to `now`.
    pub(super) fn phases(&self, now: Duration) -> Vec<PhaseReport> {
        let ends = self.phases.iter().skip(1).map(|next| next.1).chain([now]);
        self.phases
            .iter()
            .zip(ends)
            .map(|(&(phase, at), end)| PhaseReport::new(phase, at, end.saturating_sub(at)))
            .collect()
    }

    /// What did not fit, by the list's name; only what is above zero.
    pub(super) fn dropped(&self) -> Vec<(&'static str, u64)> {
        [
            ("signals", self.signals_dropped),
            ("stragglers", self.stragglers_dropped),
            ("events", self.events_dropped),
            ("figures", self.figures_dropped),
            ("news", self.news_dropped),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
    }

    /// Figures of participants that had no room.
    pub(super) fn drop_figures(&mut self, count: u64) {
        self.figures_dropped = self.figures_dropped.saturating_add(count);
    }

    pub(super) fn phase(&self) -> Phase {
        self.phases
            .last()
            .map_or(Phase::Initializing, |last| last.0)
    }

    pub(super) fn signal(&mut self, now: Duration, record: SignalRecord, verdict: SignalVerdict) {
        self.news(
            now,
            News::Signal {
                phase: self.phase(),
                record: record.clone(),
                verdict,
            },
        );
        if self.signals.len() < Report::NOTES {
            self.signals
                .push(SignalNote::new(now, self.phase(), record, verdict));
        } else {
            self.signals_dropped += 1;
        }
    }

    pub(super) fn stragglers(&mut self, now: Duration, named: Vec<Straggler>, unnamed: u64) {
        if !named.is_empty() || unnamed > 0 {
            let over = named.len().saturating_sub(Report::NOTES);
            self.news(
                now,
                News::Stragglers {
                    named: named.iter().take(Report::NOTES).cloned().collect(),
                    unnamed: unnamed + over as u64,
                },
            );
        }
        let room = Report::NOTES.saturating_sub(self.stragglers.len());
        let over = named.len().saturating_sub(room) as u64;
        self.stragglers.extend(named.into_iter().take(room));
        self.stragglers_dropped += over + unnamed;
    }

    pub(super) fn note(&mut self, now: Duration, what: String) {
        self.news(now, News::Noted { what: what.clone() });
        self.keep(now, what);
    }

    /// What a reload subscriber said: a line of the report.
    pub(super) fn reloaded(&mut self, now: Duration, name: String, result: Result<(), String>) {
        let reloaded = News::Reloaded { name, result };
        let what = reloaded.to_string();
        self.news(now, reloaded);
        self.keep(now, what);
    }

    fn keep(&mut self, now: Duration, what: String) {
        if self.events.len() < Report::NOTES {
            self.events.push(Event::new(now, what));
        } else {
            self.events_dropped += 1;
        }
    }

    /// Forgets all but the present phase, so that the model's states differ only in what decides.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        let phase = self.phase();
        *self = Self::new();
        self.phases = vec![(phase, Duration::ZERO)];
    }

    pub(super) fn report(
        &self,
        now: Duration,
        plan: &Plan,
        roster: &Roster,
        present: &Present,
    ) -> Report {
        let leaving = present.leaving();
        Report {
            drain_id: String::new(),
            // A report made before the end can only be one of a process that is being ended: the caller says otherwise.
            outcome: present.outcome().unwrap_or(Outcome::Forced {
                code: plan.forced_exit_code(),
            }),
            cause: leaving.map(|leaving| leaving.cause.clone()),
            plan: plan.clone(),
            requested_at: leaving.map(|leaving| leaving.requested_at),
            ended_at: now,
            phases: self.phases(now),
            signals: self.signals.clone(),
            participants: roster.reports(),
            listeners: roster.listeners(),
            stragglers: self.stragglers.clone(),
            events: self.events.clone(),
            health: None,
            counts: Vec::new(),
            dropped: self.dropped(),
        }
    }
}
