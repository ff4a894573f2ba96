//! The small world of the model: what it may do in each state, and what must hold after it.

macro_rules! holds {
    ($condition:expr, $($said:tt)+) => {
        if !$condition {
            return Err(format!($($said)+));
        }
    };
}

mod shape;
mod turns;

use std::{collections::BTreeSet, time::Duration};

pub(super) use shape::Shape;

use super::bargain::{Bargain, GIFT, Talk, wish};
use crate::{
    machine::{
        Answer, Effect, Enrolment, Hook, Input, Listens, Machine, ParticipantId, Traffic,
        roster::{HookStanding, Standing},
    },
    vocab::{
        ListenerKind, ListenerReport, Outcome, ParticipantState, Phase, Plan, Sender, Signal,
        SignalCode, SignalRecord, Straggler, Switch, SynGate,
    },
};

/// More effects than this from one input would be a queue without a bound (INV-11).
const MOST_EFFECTS: usize = 24;
/// More timers than this from a request to the end would be a machine that spins.
const MOST_WAKES: usize = 64;

/// One search.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) shape: Shape,
    pub(super) plan: Plan,
    /// Which signals come.
    pub(super) signals: Vec<Signal>,
    pub(super) most_signals: u8,
    /// Failures of participants, hooks or the start.
    pub(super) most_trouble: u8,
    pub(super) most_requests: u8,
    /// Time that the driver did not notice, and how often.
    pub(super) leap: Duration,
    pub(super) most_leaps: u8,
    /// Whether turns are given, and how much of the drain's time its own work needs.
    pub(super) needs: Option<Duration>,
    /// How often a departure is announced or taken back.
    pub(super) most_changes: u8,
    /// A grace period that may be asked for instead of the plan's.
    pub(super) hurry: Option<Duration>,
    /// Whether a participant enrols, and a hook is given, after the request.
    pub(super) late_comers: bool,
    /// How many wishes for more time there are; refusals only if there are any.
    pub(super) most_wishes: u8,
    /// How many grants of an operator.
    pub(super) most_gifts: u8,
    /// How often a participant goes away.
    pub(super) most_gone: u8,
}

/// What the world may do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Wake,
    Leap,
    Ready(u32),
    Started,
    StartFailed,
    Ack(u32),
    Done(u32),
    Failed(u32),
    Signal(Signal),
    Terminate,
    Announce,
    Cancel,
    TurnGiven,
    TurnGivenLate,
    NoTurns,
    /// The same, with less time.
    Hurry,
    Cut,
    NoRequest,
    OneRequest,
    AdmissionClosed(u32),
    ConnectionsDrained,
    GuardsDrained,
    Stragglers,
    HookOk(u32),
    HookFailed(u32),
    LateEnrol,
    LateHook,
    Talk(Talk),
}

impl Act {
    /// Something goes wrong: that has a bound of its own.
    const fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::StartFailed
                | Self::Failed(_)
                | Self::HookFailed(_)
                | Self::Talk(Talk::Refused(_))
        )
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Gate {
    #[default]
    Open,
    Closed,
    Drained,
}

/// What the world has seen and still may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    phase: u8,
    /// How much less time there is, once somebody asked so.
    hurry: Option<Duration>,
    signals: u8,
    trouble: u8,
    requests: u8,
    leaps: u8,
    started: bool,
    late_enrolled: bool,
    late_hooked: bool,
    opened: bool,
    requested_at: Option<Duration>,
    /// When it began to leave.
    begun_at: Option<Duration>,
    /// The wish that is open.
    wish: Option<u64>,
    wishes: u64,
    announced: bool,
    /// Nobody gives turns any longer.
    no_turns: bool,
    /// A request to take something back has had no answer.
    cancelling: bool,
    changes: u8,
    /// A signal asked for the departure that waits.
    signalled: bool,
    /// A reading of the traffic is owed.
    read: bool,
    admission_closed: bool,
    connections: Gate,
    guards: Gate,
    stragglers_owed: bool,
    stragglers_asked: bool,
    escalated: bool,
    /// One bit a participant.
    closed: u8,
    asked_again: u8,
    hooks_run: u8,
    hooks_owed: u8,
    over: Option<Outcome>,
    bargain: Bargain,
}

impl World {
    /// The plan by which it leaves.
    fn plan(&self, setting: &Setting) -> Plan {
        match self.hurry {
            Some(grace) => setting.plan.clone().shortened(grace),
            None => setting.plan.clone(),
        }
    }
}

/// A state of both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) machine: Machine,
    world: World,
}

impl Node {
    /// The plan by which it leaves.
    pub(super) fn plan(&self, setting: &Setting) -> Plan {
        self.world.plan(setting)
    }

    pub(super) fn start(setting: &Setting) -> Self {
        let mut machine = Machine::new(setting.plan.clone());
        for enrolment in setting.shape.enrolments() {
            machine.handle(Duration::ZERO, Input::Enrol(enrolment));
        }
        let needs = setting.needs;
        machine.handle(Duration::ZERO, Input::TakesTurns { needs });
        Self {
            machine,
            world: World::default(),
        }
    }

    /// Everything that may happen now.
    pub(super) fn acts(&self, setting: &Setting) -> Vec<Act> {
        let world = &self.world;
        let mut acts = Vec::new();
        if world.over.is_some() {
            return acts;
        }
        let leaving = self.machine.phase().is_leaving();
        let trouble = world.trouble < setting.most_trouble;
        let mut may = |when: bool, act: Act| {
            if when {
                acts.push(act);
            }
        };
        let waits = world.wish.is_some() || world.announced;
        let changes = world.changes < setting.most_changes;
        may(leaving || waits, Act::Wake);
        may(changes && !leaving && world.wish.is_none(), Act::Announce);
        may(changes, Act::Cancel);
        may(world.wish.is_some(), Act::TurnGiven);
        may(changes && world.wishes > 0, Act::TurnGivenLate);
        may(
            changes && setting.needs.is_some() && !world.no_turns,
            Act::NoTurns,
        );
        may(leaving && world.leaps < setting.most_leaps, Act::Leap);
        may(!world.started && !leaving, Act::Started);
        may(trouble && !leaving, Act::StartFailed);
        may(!leaving, Act::Terminate);
        may(!leaving && setting.hurry.is_some(), Act::Hurry);
        may(true, Act::Cut);
        may(world.read, Act::NoRequest);
        may(
            world.read && world.requests < setting.most_requests,
            Act::OneRequest,
        );
        may(world.connections == Gate::Closed, Act::ConnectionsDrained);
        may(world.guards == Gate::Closed, Act::GuardsDrained);
        may(world.stragglers_owed, Act::Stragglers);
        if setting.late_comers {
            may(leaving && !world.late_enrolled, Act::LateEnrol);
            may(leaving && !world.late_hooked, Act::LateHook);
        }
        if world.signals < setting.most_signals {
            for signal in &setting.signals {
                may(true, Act::Signal(*signal));
            }
        }
        for id in self.ids() {
            let entry = self.machine.core.roster.find(ParticipantId::new(id));
            let Some(entry) = entry else { continue };
            let starting = entry.standing == Standing::Starting;
            let silent = entry.standing == Standing::Asked { answered: false };
            may(starting && !leaving, Act::Ready(id));
            may(silent, Act::Ack(id));
            may(!entry.is_ended(), Act::Done(id));
            may(!entry.is_ended() && trouble, Act::Failed(id));
            for talk in world.bargain.talks(id, &entry.standing, trouble, setting) {
                may(true, Act::Talk(talk));
            }
            let admits = self
                .machine
                .core
                .roster
                .admitting()
                .contains(&id.to_string().as_str());
            may(admits && world.admission_closed, Act::AdmissionClosed(id));
            let owed = world.hooks_owed & bit(id) != 0;
            may(owed, Act::HookOk(id));
            may(owed && trouble, Act::HookFailed(id));
        }
        acts
    }

    pub(super) fn requested_at(&self) -> Option<Duration> {
        self.world.requested_at
    }

    pub(super) fn bargain(&self) -> &Bargain {
        &self.world.bargain
    }

    pub(super) fn ids(&self) -> core::ops::Range<u32> {
        0..u32::try_from(self.machine.core.roster.reports().len()).unwrap_or(0)
    }

    /// Does it, and checks everything that must hold.
    pub(super) fn step(
        &mut self,
        act: Act,
        setting: &Setting,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let before = self.machine.now;
        let now = match act {
            Act::Leap => before + setting.leap,
            Act::Wake => self
                .machine
                .poll_timeout()
                .ok_or("no timer while leaving")?,
            _ => before,
        };
        let input = self.input(act, setting);
        self.give(now, input, setting, seen)?;
        if self.world.read && setting.most_requests == 0 {
            // As the driver does it: at once.
            let input = self.input(Act::NoRequest, setting);
            self.give(now, input, setting, seen)?;
        }
        self.look(seen);
        if self.world.over.is_some() {
            self.stays_over(seen)
        } else {
            self.machine.core.journal.forget();
            self.machine.core.roster.forget();
            for id in self.ids() {
                let entry = self.machine.core.roster.find(ParticipantId::new(id));
                if entry.is_some_and(|entry| entry.is_ended()) {
                    // Nothing is asked of it any more.
                    self.world.closed |= bit(id);
                    self.world.asked_again |= bit(id);
                }
            }
            Ok(())
        }
    }

    /// Gives the machine an input, and takes every effect of it.
    fn give(
        &mut self,
        now: Duration,
        input: Input,
        setting: &Setting,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let before = self.before();
        self.machine.handle(now, input);
        let effects: Vec<Effect> = core::iter::from_fn(|| self.machine.poll_effect()).collect();
        holds!(effects.len() <= MOST_EFFECTS, "INV-11: {effects:?}");
        for (index, effect) in effects.iter().enumerate() {
            let over = self.world.over.is_some();
            holds!(!over, "{effect:?} after the end: {effects:?}");
            if *effect == Effect::OpenAdmission {
                let next = effects.get(index + 1);
                holds!(
                    next == Some(&Effect::Enter(Phase::Running)),
                    "listeners open right before Running: {effects:?}"
                );
            }
            self.effect(effect, now, setting, seen)?;
        }
        self.keeps_its_word(&before, now, setting)
    }

    fn input(&mut self, act: Act, setting: &Setting) -> Input {
        let world = &mut self.world;
        let why = String::from("why");
        world.trouble += u8::from(act.is_trouble());
        match act {
            Act::Wake | Act::Leap => {
                world.leaps += u8::from(matches!(act, Act::Leap));
                Input::Wake
            }
            Act::Started => {
                world.started = true;
                Input::Started
            }
            Act::StartFailed => Input::StartFailed { why },
            Act::Talk(talk) => world.bargain.say(talk),
            Act::Signal(signal) => {
                world.signals += 1;
                world.signalled |= matches!(signal, Signal::Term | Signal::Int);
                Input::Signal(typed(signal))
            }
            Act::Terminate => Input::Terminate { why },
            Act::Announce | Act::Cancel | Act::TurnGiven | Act::TurnGivenLate | Act::NoTurns => {
                turns::input(world, act, setting)
            }
            Act::Hurry => {
                let grace = setting.hurry.unwrap_or_default();
                // T stays that of a request that waits.
                let since = world.requested_at.filter(|_| world.wish.is_some());
                let all = grace + self.machine.now - since.unwrap_or(self.machine.now);
                world.hurry = Some(world.hurry.map_or(all, |one| one.min(all)));
                Input::TerminateWithin { why, grace }
            }
            Act::Cut => Input::Cut,
            Act::NoRequest | Act::OneRequest => {
                world.read = false;
                world.requests += u8::from(matches!(act, Act::OneRequest));
                Input::Traffic(Traffic {
                    requests: u64::from(world.requests),
                    mean_gap: None,
                })
            }
            Act::ConnectionsDrained => {
                world.connections = Gate::Drained;
                Input::ConnectionsDrained
            }
            Act::GuardsDrained => {
                world.guards = Gate::Drained;
                Input::GuardsDrained
            }
            Act::Stragglers => {
                world.stragglers_owed = false;
                Input::Stragglers(Vec::new(), 0)
            }
            Act::LateEnrol => {
                world.late_enrolled = true;
                Input::Enrol(late_comer(self.ids().end))
            }
            Act::LateHook => {
                world.late_hooked = true;
                Input::Hooked(ParticipantId::new(0))
            }
            _ => of_participant(world, act),
        }
    }

    /// Takes an effect, and checks that it may come now.
    fn effect(
        &mut self,
        effect: &Effect,
        now: Duration,
        setting: &Setting,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let world = &mut self.world;
        let since = now.saturating_sub(world.requested_at.unwrap_or(now));
        let drain_over = world.requested_at.is_some() && since >= world.plan(setting).drain_end();
        match effect {
            Effect::OpenAdmission => {
                holds!(!world.opened, "listeners open twice");
                world.opened = true;
            }
            Effect::Enter(phase) => {
                enters(world, *phase, drain_over)?;
                holds!(
                    *phase != Phase::Stopped || self.machine.core.roster.all_ended(),
                    "N-1: Stopped before every participant ended or ran out"
                );
            }
            Effect::Broadcast(request) => {
                holds!(world.begun_at.is_none(), "two requests");
                let requested_at = *world.requested_at.get_or_insert(now);
                holds!(
                    request.deadline == requested_at + world.plan(setting).deadline(),
                    "INV-2: the wait for a turn moved the deadline"
                );
                world.begun_at = Some(now);
                world.announced = false;
            }
            Effect::AskTurn(_) | Effect::EndWish(..) | Effect::CancelAnswered(_) => {
                return turns::effect(world, effect, now, setting, seen);
            }
            Effect::ReadTraffic => world.read = true,
            Effect::CloseAdmission
            | Effect::CloseConnectionsGate
            | Effect::CloseGuardsGate
            | Effect::EndStragglers => {
                return self.closing(effect, since, drain_over, setting, seen);
            }
            Effect::Exit(outcome) => {
                world.over = Some(*outcome);
                seen.insert(format!("exit {outcome}"));
                let drained = world.connections == Gate::Drained && world.guards == Gate::Drained;
                holds!(
                    *outcome != Outcome::Drained || drained && !world.stragglers_asked,
                    "INV-4: drained without the final scans"
                );
                holds!(
                    since <= world.plan(setting).deadline() || setting.most_leaps > 0,
                    "INV-2"
                );
            }
            Effect::Reload => {
                holds!(world.phase == Phase::Running as u8, "reload while leaving");
                seen.insert("reload".to_owned());
            }
            Effect::DumpAndDie => {
                seen.insert("dump".to_owned());
            }
            Effect::ShowStatus => {
                seen.insert("status".to_owned());
            }
            Effect::Granted(id, wish, by) => return world.bargain.granted(id.0, *wish, *by, seen),
            Effect::Close(id) | Effect::AskAgain(id) | Effect::RunHook(id) => {
                return self.about(effect, id.0, since, setting, seen);
            }
        }
        Ok(())
    }

    /// Effects that close something for everyone: each once, each after what it stands on.
    fn closing(
        &mut self,
        effect: &Effect,
        since: Duration,
        drain_over: bool,
        setting: &Setting,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let world = &mut self.world;
        match effect {
            Effect::CloseAdmission => {
                holds!(!world.admission_closed, "admission closes twice");
                world.admission_closed = true;
                let window = world.plan(setting).window();
                // The window counts from when clients were first told.
                let waited =
                    world.begun_at.unwrap_or_default() - world.requested_at.unwrap_or_default();
                let since = since.saturating_sub(waited);
                let early = world.opened && since < window.floor;
                let escalated =
                    early && world.plan(setting).repeat() == crate::vocab::Repeat::Escalate;
                holds!(!early || escalated, "INV-3: admission closed before floor");
                let why = match since {
                    _ if !world.opened => "never opened",
                    _ if since < window.floor => "escalated",
                    _ if since >= window.ceiling => "ceiling",
                    _ => "quiet",
                };
                seen.insert(format!("window {why}"));
                world.escalated |= escalated;
            }
            Effect::CloseConnectionsGate => {
                holds!(world.connections == Gate::Open, "a gate closes twice");
                holds!(world.admission_closed, "a gate closes before admission");
                world.connections = Gate::Closed;
            }
            Effect::CloseGuardsGate => {
                holds!(world.guards == Gate::Open, "a gate closes twice");
                holds!(
                    world.connections == Gate::Drained || drain_over,
                    "guards are refused while connections may need them"
                );
                world.guards = Gate::Closed;
            }
            _ => {
                holds!(!world.stragglers_asked, "stragglers ended twice");
                holds!(drain_over, "stragglers ended before the drain is over");
                holds!(
                    world.connections != Gate::Open && world.guards != Gate::Open,
                    "INV-5: named before the gates closed: what enters now is lost"
                );
                world.stragglers_asked = true;
                world.stragglers_owed = true;
            }
        }
        Ok(())
    }

    /// Effects that concern one participant: each at most once, each in its order.
    fn about(
        &mut self,
        effect: &Effect,
        id: u32,
        since: Duration,
        setting: &Setting,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let roster = &self.machine.core.roster;
        let dependents = self
            .ids()
            .filter(|other| setting.shape.stops_before(*other as usize, id as usize))
            .filter_map(|other| roster.find(ParticipantId::new(other)));
        let world = &mut self.world;
        match effect {
            Effect::Close(_) => {
                holds!(world.closed & bit(id) == 0, "#{id} closed twice");
                world.closed |= bit(id);
                for other in dependents {
                    holds!(other.is_ended(), "#{id} closed before {}", other.id());
                }
            }
            Effect::AskAgain(_) => {
                holds!(world.asked_again & bit(id) == 0, "#{id} asked a third time");
                holds!(world.closed & bit(id) != 0, "#{id} asked before its turn");
                world.asked_again |= bit(id);
                seen.insert("asked again".to_owned());
            }
            _ => {
                holds!(world.hooks_run & bit(id) == 0, "INV-10: a hook runs twice");
                holds!(
                    world.phase == Phase::Stopped as u8,
                    "INV-10: a hook too early"
                );
                holds!(
                    since < world.plan(setting).deadline(),
                    "INV-10: after the deadline"
                );
                world.hooks_run |= bit(id);
                world.hooks_owed |= bit(id);
                for other in dependents {
                    let started = !matches!(
                        other.standing,
                        Standing::Starting
                            | Standing::Away { .. }
                            | Standing::Ended(
                                ParticipantState::NotStarted | ParticipantState::Away { .. }
                            )
                    );
                    let open = match other.hook {
                        HookStanding::Waiting => started,
                        HookStanding::Running { .. } => true,
                        HookStanding::Absent | HookStanding::Ended(_) => false,
                    };
                    holds!(!open, "INV-10: hook of #{id} before that of {}", other.id());
                }
            }
        }
        Ok(())
    }

    /// Notes what kinds of ends there were.
    fn look(&self, seen: &mut BTreeSet<String>) {
        for one in self.machine.core.roster.reports() {
            seen.insert(format!("participant {}", one.state.as_str()));
            // Before the end a running hook is reported as if it were given up now.
            if let Some(hook) = one.hook
                && (self.world.over.is_some() || !hook.took.is_zero())
            {
                let state = format!("{:?}", hook.state).to_lowercase();
                let word = state.split_whitespace().next().unwrap_or_default();
                let word = word.replace("notrun", "not-run");
                seen.insert(format!("hook {word}"));
            }
        }
        let overdue = "not known to have closed its listener";
        let report = self.machine.report();
        if report
            .events
            .iter()
            .any(|one| one.what.starts_with(overdue))
        {
            seen.insert("listener overdue".to_owned());
        }
        if self.world.over.is_some() && self.world.stragglers_asked && !self.world.stragglers_owed {
            seen.insert("named at the end".to_owned());
        }
    }

    /// INV-2: whatever is left undone, time alone ends it, by the deadline.
    pub(super) fn ends_in_time(&self, setting: &Setting) -> Result<(), String> {
        if self.world.over.is_some() {
            return Ok(());
        }
        holds!(
            !self.world.cancelling,
            "nobody was told what became of a cancel"
        );
        holds!(
            !self.world.no_turns || self.world.wish.is_none(),
            "it waits for a turn that nobody gives"
        );
        let Some(requested_at) = self.world.requested_at else {
            holds!(
                self.machine.poll_timeout().is_some() == self.world.announced,
                "a timer before a request, or none of one that was announced"
            );
            return Ok(());
        };
        let deadline = requested_at + self.world.plan(setting).deadline();
        let status = self.machine.status();
        let status = status
            .deadline
            .or_else(|| status.waits.and_then(|waits| waits.deadline));
        holds!(status == Some(deadline), "the deadline moved: {status:?}");
        let mut alone = self.machine.clone();
        for _ in 0..MOST_WAKES {
            let due = alone.poll_timeout();
            let due = due.ok_or("INV-2: leaving without a timer")?;
            holds!(due > alone.now, "INV-2: a timer that is due was not served");
            holds!(due <= deadline, "INV-2: a timer after the deadline");
            alone.handle(due, Input::Wake);
            while alone.poll_effect().is_some() {}
            if alone.is_over() {
                return Ok(());
            }
        }
        Err("INV-2: time alone does not end it".to_owned())
    }

    /// After the end nothing happens, except that names which are still owed are kept.
    fn stays_over(&mut self, seen: &mut BTreeSet<String>) -> Result<(), String> {
        holds!(self.machine.is_over(), "an exit that is not the end");
        let report = self.machine.report();
        let mut after = self.machine.clone();
        let later = after.now + Duration::from_secs(1);
        for input in [
            Input::Wake,
            Input::Cut,
            Input::Signal(typed(Signal::Term)),
            Input::HookEnded(ParticipantId::new(0), Ok(())),
            Input::Note("late".to_owned()),
            Input::Switched(Switch::new("breaker", "late")),
            wish(0, 1),
            Input::Grant(ParticipantId::new(0), GIFT),
            Input::Returned(ParticipantId::new(0)),
        ] {
            after.handle(later, input);
        }
        holds!(after.poll_effect().is_none(), "an effect after the end");
        holds!(
            after.report() == report,
            "a report that changes after the end"
        );
        if self.world.stragglers_owed {
            let named = Straggler::new(
                crate::vocab::Known::Connection,
                None,
                Duration::from_secs(1),
            );
            after.handle(later, Input::Stragglers(vec![named], 0));
            holds!(
                after.report().stragglers.len() == 1,
                "INV-5: what was ended last is not named"
            );
            seen.insert("named after the end".to_owned());
        }
        Ok(())
    }
}

/// What a participant says, or what came of its hook.
fn of_participant(world: &mut World, act: Act) -> Input {
    let why = String::from("why");
    match act {
        Act::Ready(id) => Input::Ready(ParticipantId::new(id)),
        Act::Ack(id) => Input::Answer(ParticipantId::new(id), Answer::Ack),
        Act::Done(id) => Input::Answer(ParticipantId::new(id), Answer::done()),
        Act::Failed(id) => Input::Answer(ParticipantId::new(id), Answer::Failed { why }),
        Act::AdmissionClosed(id) => {
            Input::AdmissionClosed(ParticipantId::new(id), listener_report())
        }
        Act::HookOk(id) | Act::HookFailed(id) => {
            let failed = matches!(act, Act::HookFailed(_));
            world.hooks_owed &= !bit(id);
            Input::HookEnded(
                ParticipantId::new(id),
                if failed { Err(why) } else { Ok(()) },
            )
        }
        _ => Input::Wake,
    }
}

/// A phase is entered.
fn enters(world: &mut World, phase: Phase, drain_over: bool) -> Result<(), String> {
    holds!(world.phase < phase as u8, "INV-1: {phase} entered late");
    world.phase = phase as u8;
    holds!(
        !phase.is_leaving() || world.wish.is_none(),
        "it leaves, and nobody was told that the wish is over"
    );
    let drained = world.connections == Gate::Drained && world.guards == Gate::Drained;
    holds!(
        phase != Phase::Stopped || drained || drain_over,
        "INV-4: Stopped before the final scans"
    );
    Ok(())
}

/// It depends on the first, and by mistake on itself.
fn late_comer(number: u32) -> Enrolment {
    let id = ParticipantId::new(number);
    Enrolment {
        id,
        name: number.to_string(),
        after: vec![ParticipantId::new(0), id],
        budget: None,
        listens: Listens::UntilClosed,
        hook: Hook::Some,
    }
}

const fn bit(id: u32) -> u8 {
    1 << id
}

/// As from a terminal, so that a second SIGINT cuts under every policy.
fn typed(signal: Signal) -> SignalRecord {
    SignalRecord::new(signal, SignalCode::Kernel, Sender::Kernel)
}

fn listener_report() -> ListenerReport {
    ListenerReport {
        address: String::new(),
        kind: ListenerKind::Exclusive,
        gate: SynGate::Off,
        swept: 0,
        took: Duration::ZERO,
    }
}
