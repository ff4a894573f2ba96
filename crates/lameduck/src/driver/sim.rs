//! The same machine under virtual time: for tests, and for examples that say what a plan would do.
//!
//! A simulation answers for the world as a well-behaved one would: listeners close at once, connections and guards end
//! when it was told, hooks succeed after a given time, nobody sends requests unless told so. Every other input is scripted.

use core::{fmt, time::Duration};
use std::{
    collections::{BTreeMap, VecDeque},
    time::SystemTime,
};

use crate::{
    machine::{Effect, Input, Machine, ParticipantId, Traffic},
    vocab::{
        InflightCounts, Known, ListenerKind, ListenerReport, Observed, Outcome, Phase, Plan,
        Report, Straggler, SynGate,
    },
};

/// A scripted run of the machine.
///
/// # Examples
/// ```
/// use lameduck::{machine::Input, sim::Sim, Outcome, Phase, Plan, Preset};
/// use std::time::Duration;
///
/// let mut sim = Sim::new(Plan::preset(Preset::Local));
/// sim.at(Duration::ZERO, Input::Started);
/// sim.at(Duration::from_secs(1), Input::Terminate { why: "deploy".into() });
/// sim.connection(Duration::from_millis(1_400));
/// let run = sim.run();
/// assert_eq!(run.outcome, Some(Outcome::Drained));
/// // Quiet for 100 ms, then admission closes; the last connection ends 400 ms after the request.
/// assert_eq!(run.entered(Phase::Draining), Some(Duration::from_millis(1_100)));
/// assert_eq!(run.entered(Phase::Stopped), Some(Duration::from_millis(1_400)));
/// ```
#[derive(Clone, Debug)]
pub struct Sim {
    machine: Machine,
    script: BTreeMap<Duration, VecDeque<Input>>,
    hooks: BTreeMap<ParticipantId, (Duration, Result<(), String>)>,
    listening: Vec<ParticipantId>,
    requests: Vec<Duration>,
    mean_gap: Option<Duration>,
    connections: Vec<Duration>,
    guards: Vec<Duration>,
}

/// What happened in a simulation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// How it ended; `None` if the script ran out before the machine was over.
    pub outcome: Option<Outcome>,
    /// Every effect, with its time.
    pub trace: Vec<(Duration, Effect)>,
    /// What an observer would have been told. Its clock begins with 1970, busy connections are not simulated.
    pub observed: Vec<Observed>,
    /// The report.
    pub report: Report,
}

impl Run {
    /// When a phase was entered.
    #[must_use]
    pub fn entered(&self, phase: Phase) -> Option<Duration> {
        self.report
            .phases
            .iter()
            .find(|one| one.phase == phase)
            .map(|one| one.at)
    }
}

impl fmt::Display for Run {
    /// One line per effect: milliseconds, then the effect.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, effect) in &self.trace {
            match effect {
                Effect::ReadTraffic => {}
                Effect::Broadcast(request) => {
                    writeln!(f, "{:>6} Broadcast({})", at.as_millis(), request.cause)?
                }
                other => writeln!(f, "{:>6} {other:?}", at.as_millis())?,
            }
        }
        Ok(())
    }
}

impl Sim {
    /// A simulation of this plan, with nothing scripted.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            machine: Machine::new(plan),
            script: BTreeMap::new(),
            hooks: BTreeMap::new(),
            listening: Vec::new(),
            requests: Vec::new(),
            mean_gap: None,
            connections: Vec::new(),
            guards: Vec::new(),
        }
    }

    /// Scripts an input.
    pub fn at(&mut self, at: Duration, input: Input) {
        self.script.entry(at).or_default().push_back(input);
    }

    /// A request comes: the window stays open for it.
    pub fn request(&mut self, at: Duration) {
        self.requests.push(at);
    }

    /// Requests came with this mean gap in the minute before the request to terminate.
    pub fn mean_gap(&mut self, gap: Duration) {
        self.mean_gap = Some(gap);
    }

    /// A connection is open until `until`.
    pub fn connection(&mut self, until: Duration) {
        self.connections.push(until);
    }

    /// A guard is held until `until`.
    pub fn guard(&mut self, until: Duration) {
        self.guards.push(until);
    }

    /// A participant's stop hook takes this long; without this it takes none.
    pub fn hook_takes(&mut self, id: ParticipantId, time: Duration) {
        self.hooks.insert(id, (time, Ok(())));
    }

    /// A participant's stop hook fails after this long.
    pub fn hook_fails(&mut self, id: ParticipantId, time: Duration, why: impl Into<String>) {
        self.hooks.insert(id, (time, Err(why.into())));
    }

    /// Runs until the machine is over, or until nothing is scripted and no timer is set.
    #[must_use]
    pub fn run(mut self) -> Run {
        let mut trace = Vec::new();
        let mut observed = Vec::new();
        let mut now = Duration::ZERO;
        loop {
            while let Some(effect) = self.machine.poll_effect() {
                self.answer(now, &effect);
                trace.push((now, effect));
            }
            self.observe(now, &mut observed);
            if self.machine.is_over() {
                break;
            }
            let scripted = self.script.keys().next().copied();
            let due = match (scripted, self.machine.poll_timeout()) {
                (Some(scripted), Some(timer)) => scripted.min(timer),
                (Some(at), None) | (None, Some(at)) => at,
                (None, None) => break,
            };
            now = now.max(due);
            let input = self.next_input(now).unwrap_or(Input::Wake);
            if let Input::Enrol(enrolment) = &input
                && enrolment.listens == crate::machine::Listens::UntilClosed
            {
                self.listening.push(enrolment.id);
            }
            self.machine.handle(now, input);
        }
        Run {
            outcome: self
                .machine
                .is_over()
                .then(|| self.machine.report().outcome),
            trace,
            observed,
            report: self.machine.report(),
        }
    }

    fn observe(&mut self, now: Duration, observed: &mut Vec<Observed>) {
        let open = |ends: &[Duration]| ends.iter().filter(|until| **until > now).count() as u64;
        let connections = open(&self.connections);
        let requests = self.requests.iter().filter(|at| **at <= now).count() as u64;
        let counts = InflightCounts::new(connections, 0, connections, open(&self.guards), requests);
        while let Some((at, news)) = self.machine.poll_news() {
            let number = observed.len() as u64 + 1;
            let time = SystemTime::UNIX_EPOCH + at;
            observed.push(Observed::new(number, at, time, counts, news));
        }
    }

    fn next_input(&mut self, now: Duration) -> Option<Input> {
        let mut entry = self.script.first_entry()?;
        if *entry.key() > now {
            return None;
        }
        let input = entry.get_mut().pop_front();
        if entry.get().is_empty() {
            entry.remove();
        }
        input
    }

    /// What a well-behaved world answers.
    fn answer(&mut self, now: Duration, effect: &Effect) {
        match effect {
            Effect::ReadTraffic => {
                let requests = self.requests.iter().filter(|at| **at <= now).count() as u64;
                self.soon(
                    now,
                    Input::Traffic(Traffic {
                        requests,
                        mean_gap: self.mean_gap,
                    }),
                );
            }
            Effect::CloseAdmission => {
                for id in core::mem::take(&mut self.listening) {
                    let report = ListenerReport {
                        address: id.to_string(),
                        kind: ListenerKind::Exclusive,
                        gate: SynGate::Off,
                        swept: 0,
                        took: Duration::ZERO,
                    };
                    self.soon(now, Input::AdmissionClosed(id, report));
                }
            }
            Effect::CloseConnectionsGate => {
                self.at(last(&self.connections, now), Input::ConnectionsDrained);
            }
            Effect::CloseGuardsGate => self.at(last(&self.guards, now), Input::GuardsDrained),
            Effect::EndStragglers => {
                let stragglers = self.stragglers(now);
                self.soon(now, Input::Stragglers(stragglers, 0));
            }
            Effect::RunHook(id) => {
                let (takes, result) = self.hooks.remove(id).unwrap_or((Duration::ZERO, Ok(())));
                self.at(now.saturating_add(takes), Input::HookEnded(*id, result));
            }
            _ => {}
        }
    }

    fn stragglers(&self, now: Duration) -> Vec<Straggler> {
        let open = |until: &&Duration| **until > now;
        let mut named: Vec<_> = self
            .connections
            .iter()
            .filter(open)
            .map(|_| Straggler::new(Known::Connection, None, now))
            .collect();
        let count = self.guards.iter().filter(open).count() as u64;
        if count > 0 {
            named.push(Straggler::new(Known::Guards { count }, None, now));
        }
        named
    }

    fn soon(&mut self, now: Duration, input: Input) {
        self.script.entry(now).or_default().push_front(input);
    }
}

/// When the last of them ends, but not before now.
fn last(ends: &[Duration], now: Duration) -> Duration {
    ends.iter().copied().max().unwrap_or(now).max(now)
}
