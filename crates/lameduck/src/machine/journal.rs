//! The record of what happened, bounded, from which the report is made.

use core::time::Duration;

use super::{phases::Present, roster::Roster};
use crate::vocab::{
    Event, Outcome, Phase, PhaseReport, Plan, Report, SignalNote, SignalRecord, SignalVerdict,
    Straggler,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Journal {
    phases: Vec<(Phase, Duration)>,
    signals: Vec<SignalNote>,
    stragglers: Vec<Straggler>,
    events: Vec<Event>,
    signals_dropped: u64,
    stragglers_dropped: u64,
    events_dropped: u64,
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
        }
    }

    pub(super) fn enter(&mut self, now: Duration, phase: Phase) {
        debug_assert!(
            self.phases.last().is_some_and(|last| last.0 < phase),
            "INV-1: phases only advance"
        );
        self.phases.push((phase, now));
    }

    /// When the present phase was entered.
    pub(super) fn since(&self) -> Duration {
        self.phases.last().map_or(Duration::ZERO, |last| last.1)
    }

    fn phase(&self) -> Phase {
        self.phases
            .last()
            .map_or(Phase::Initializing, |last| last.0)
    }

    pub(super) fn signal(&mut self, now: Duration, record: SignalRecord, verdict: SignalVerdict) {
        if self.signals.len() < Report::NOTES {
            self.signals
                .push(SignalNote::new(now, self.phase(), record, verdict));
        } else {
            self.signals_dropped += 1;
        }
    }

    pub(super) fn stragglers(&mut self, named: Vec<Straggler>, unnamed: u64) {
        let room = Report::NOTES.saturating_sub(self.stragglers.len());
        let over = named.len().saturating_sub(room) as u64;
        self.stragglers.extend(named.into_iter().take(room));
        self.stragglers_dropped += over + unnamed;
    }

    pub(super) fn note(&mut self, now: Duration, what: String) {
        if self.events.len() < Report::NOTES {
            self.events.push(Event::new(now, what));
        } else {
            self.events_dropped += 1;
        }
    }

    /// What did not fit into the lists, by the list's name.
    pub(super) const fn dropped(&self) -> [(&'static str, u64); 3] {
        [
            ("signals", self.signals_dropped),
            ("stragglers", self.stragglers_dropped),
            ("events", self.events_dropped),
        ]
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
        let ends = self.phases.iter().skip(1).map(|next| next.1).chain([now]);
        let phases = self
            .phases
            .iter()
            .zip(ends)
            .map(|(&(phase, at), end)| PhaseReport::new(phase, at, end.saturating_sub(at)));
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
            phases: phases.collect(),
            signals: self.signals.clone(),
            participants: roster.reports(),
            listeners: roster.listeners(),
            stragglers: self.stragglers.clone(),
            events: self.events.clone(),
            counts: Vec::new(),
            dropped: self
                .dropped()
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}
