//! Everything that is counted, read at once: what exporters of metrics are made of.

use std::time::{Duration, SystemTime};

use super::{Count, Shared, ledger::BOUNDS};
use crate::{
    inflight::Census,
    machine::ParticipantStatus,
    vocab::{Cause, Phase, SenderClass, Signal},
};

/// The machine's bounded lists.
const LISTS: [&str; 5] = ["signals", "stragglers", "events", "figures", "news"];

/// What was counted so far. Instants are durations since the process started.
///
/// It is read when it is asked for and costs requests nothing; [`Lifecycle::figures`](crate::Lifecycle::figures) reads it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Figures {
    /// Names this lifecycle wherever it is spoken of: 32 hexadecimal digits. It stands in the report, too.
    pub drain_id: String,
    /// When the process started, on the wall clock.
    pub started_on: SystemTime,
    /// When they were read.
    pub at: Duration,
    /// Why it leaves, once it was asked to.
    pub cause: Option<Cause>,
    /// When the process is gone, once it was asked to leave.
    pub deadline: Option<Duration>,
    /// The phases so far, in order; the last one is the present one.
    pub phases: Vec<PhaseFigures>,
    /// Connections that are open and counted.
    pub connections: usize,
    /// Guards that are held.
    pub guards: usize,
    /// Connections and requests in flight by participant.
    pub census: Census,
    /// Every participant's time, in the order of enrolment: a participant's number is its place here.
    pub participants: Vec<ParticipantFigures>,
    /// Signals by sender, those that came at all.
    pub signals: Vec<SignalFigures>,
    /// From a signal's handler until the driver had done what the signal asks for: for the first SIGTERM until the phase was published.
    pub latency: Latency,
    /// What did not fit into a bounded list or queue, by its name.
    pub dropped: Vec<(&'static str, u64)>,
}

impl Figures {
    /// The phase when they were read.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let last = self.phases.last();
        last.map_or(Phase::Initializing, |last| last.phase)
    }

    /// A count, over all phases.
    #[must_use]
    pub fn count(&self, count: Count) -> u64 {
        self.phases.iter().map(|phase| phase.count(count)).sum()
    }
}

/// One phase, and what was counted in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhaseFigures {
    /// Which phase.
    pub phase: Phase,
    /// When it was entered.
    pub at: Duration,
    /// Counted requests that began in it.
    pub requests: u64,
    counts: Vec<u64>,
}

impl PhaseFigures {
    /// How often something happened in this phase.
    #[must_use]
    pub fn count(&self, count: Count) -> u64 {
        self.counts.get(count as usize).copied().unwrap_or_default()
    }
}

/// One participant's time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantFigures {
    /// Its name.
    pub name: String,
    /// The budget that it asked for at enrolment; `None`: until the drain ends.
    pub budget: Option<Duration>,
    /// What it was granted beyond that.
    pub granted: Duration,
    /// How long it took or has taken since it was told to close.
    pub used: Option<Duration>,
}

/// How often a signal came from a kind of sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalFigures {
    /// Which signal.
    pub signal: Signal,
    /// From whom.
    pub sender: SenderClass,
    /// How often.
    pub count: u64,
}

/// A histogram of durations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// Classes: those up to the bound and above the one before; the last class has no bound.
    pub classes: Vec<(Option<Duration>, u64)>,
    /// All of them together.
    pub sum: Duration,
}

impl Shared {
    pub(crate) fn figures(&self) -> Figures {
        let at = self.now();
        let status = self.machine();
        let inflight = self.inflight();
        let mut dropped = vec![
            ("signal_records", self.ledger().lost_so_far()),
            ("commands", self.commands().dropped()),
            ("slots", inflight.slots.dropped()),
            ("notifications", self.notifications_dropped()),
            ("observed", self.observers().dropped()),
        ];
        dropped.extend(LISTS.map(|name| {
            let found = status.dropped.iter().find(|(list, _)| *list == name);
            (name, found.map_or(0, |(_, count)| *count))
        }));
        let (classes, sum) = self.ledger().latencies();
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        Figures {
            drain_id: self.ledger().drain_id().to_owned(),
            started_on: self.started_on(),
            at,
            cause: status.cause,
            deadline: status.deadline,
            phases: self.phase_figures(),
            connections: inflight.connections.count(),
            guards: inflight.guards.count(),
            census: inflight.slots.census(),
            participants: self.participant_figures(&status.participants, at),
            signals: self
                .ledger()
                .signals()
                .map(|(signal, sender, count)| SignalFigures {
                    signal,
                    sender,
                    count,
                })
                .collect(),
            latency: Latency {
                classes: bounds.zip(classes).collect(),
                sum,
            },
            dropped,
        }
    }

    /// What was counted between each mark and the next.
    fn phase_figures(&self) -> Vec<PhaseFigures> {
        let inflight = self.inflight();
        let marks: Vec<_> = self.ledger().marks().collect();
        // After the marks: a count never falls.
        let (requests, counts) = (inflight.requests.total(), inflight.tally.values());
        let ends = marks
            .iter()
            .skip(1)
            .map(|mark| (mark.requests, &mark.counts))
            .chain([(requests, &counts)]);
        marks
            .iter()
            .zip(ends)
            .map(|(mark, (requests, counts))| PhaseFigures {
                phase: mark.phase,
                at: mark.at,
                requests: requests.saturating_sub(mark.requests),
                counts: counts
                    .iter()
                    .zip(&mark.counts)
                    .map(|(end, begin)| end.saturating_sub(*begin))
                    .collect(),
            })
            .collect()
    }
}

impl Shared {
    /// By seats: these are there before the driver has heard of them.
    fn participant_figures(
        &self,
        statuses: &[ParticipantStatus],
        now: Duration,
    ) -> Vec<ParticipantFigures> {
        let seats = self.seats();
        let named = seats.iter().enumerate().map(|(index, seat)| {
            let mut all = statuses.iter();
            let status = all.find(|one| one.enrolment().id.number() as usize == index);
            let of = |status| ParticipantFigures::of(status, now);
            status.map_or_else(|| ParticipantFigures::named(&seat.name), of)
        });
        named.collect()
    }
}

impl ParticipantFigures {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            budget: None,
            granted: Duration::ZERO,
            used: None,
        }
    }

    fn of(one: &ParticipantStatus, now: Duration) -> Self {
        let end = one.ended_at().unwrap_or(now);
        let used = one.closed_at().map(|told_at| end.saturating_sub(told_at));
        Self {
            name: one.name().to_owned(),
            budget: one.enrolment().budget,
            granted: one.grants().iter().map(|grant| grant.by).sum(),
            used,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        machine::ParticipantId,
        vocab::{Plan, Preset},
    };

    #[test]
    fn counts_belong_to_the_phase_in_which_they_were_counted() {
        let plan = Plan::preset(Preset::Local);
        let status = crate::machine::Machine::new(plan.clone()).status();
        let (shared, _bell) = Shared::new(plan, status, false).expect("a pipe");
        let inflight = shared.inflight();
        let enter = |phase| {
            shared.mark(phase);
        };
        inflight.tally.add(Count::Served, 1);
        enter(Phase::Running);
        inflight.requests.count_one();
        inflight.tally.add(Count::Served, 10);
        enter(Phase::Terminating);
        inflight.tally.add(Count::Served, 100);
        let figures = shared.figures();
        let found: Vec<_> = figures
            .phases
            .iter()
            .map(|phase| (phase.phase, phase.requests, phase.count(Count::Served)))
            .collect();
        assert_eq!(
            found,
            [
                (Phase::Initializing, 0, 1),
                (Phase::Running, 1, 10),
                (Phase::Terminating, 0, 100)
            ]
        );
        assert_eq!(figures.phase(), Phase::Terminating);
        assert_eq!(figures.count(Count::Served), 111);
    }

    #[test]
    fn time_is_used_from_the_word_to_close_until_the_end() {
        use crate::machine::{Answer, Enrolment, Hook, Input, Listens, Machine};
        let plan = Plan::preset(Preset::Local).with_window(crate::vocab::Window::NONE);
        let plan = plan.expect("a plan");
        let secs = Duration::from_secs;
        let mut machine = Machine::new(plan);
        for (number, name) in ["ended", "at work"].into_iter().enumerate() {
            let id = ParticipantId::new(number as u32);
            machine.handle(
                Duration::ZERO,
                Input::Enrol(Enrolment {
                    id,
                    name: name.to_owned(),
                    after: Vec::new(),
                    budget: Some(secs(3)),
                    listens: Listens::Never,
                    hook: Hook::None,
                }),
            );
            machine.handle(Duration::ZERO, Input::Ready(id));
        }
        machine.handle(Duration::ZERO, Input::Started);
        let used = |machine: &Machine, now| -> Vec<_> {
            let participants = machine.status().participants;
            let figures = participants
                .iter()
                .map(|one| ParticipantFigures::of(one, now));
            figures.map(|one| one.used).collect()
        };
        assert_eq!(used(&machine, secs(1)), [None, None], "nobody was told");
        machine.handle(secs(4), Input::Terminate { why: "test".into() });
        machine.handle(secs(4), Input::Wake);
        while machine.poll_effect().is_some() {}
        machine.handle(secs(5), Input::ConnectionsDrained);
        machine.handle(
            secs(6),
            Input::Answer(ParticipantId::new(0), Answer::done()),
        );
        let told: Vec<_> = machine
            .status()
            .participants
            .iter()
            .map(|one| one.closed_at().expect("told to close"))
            .collect();
        assert_eq!(
            used(&machine, secs(7)),
            [Some(secs(6) - told[0]), Some(secs(7) - told[1])]
        );
    }
}
