//! The small world: a coordinator, participants, messages on their way; what may happen, and what must hold.

use alloc::{string::String, vec, vec::Vec};
use core::{hash::BuildHasher as _, time::Duration};
use std::{collections::BTreeSet, hash::BuildHasherDefault, hash::DefaultHasher};

use super::super::ms;
use crate::{
    machine::{Answer, Effect, Enrolment, Hook, Input, Listens, Machine, ParticipantId, Traffic},
    negotiation::{End, Event, Follower, FromParticipant, Heard, Ledger, ToParticipant},
    vocab::{Cause, Outcome, Phase, Plan, Preset, Repeat, Terms, Window},
};

/// The first participant's; the others have none.
const BUDGET: Duration = ms(400);
/// What a wish asks for.
const WISH: Duration = ms(300);
/// What may be on its way at once; more would be sent only by whoever does not wait for an answer.
const MOST_ON_THE_WAY: usize = 4;
const ID: &str = "d";

/// One search.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) participants: usize,
    pub(super) most_lost: u8,
    pub(super) most_repeated: u8,
    pub(super) most_wishes: u8,
    pub(super) most_crashes: u8,
    pub(super) most_breaks: u8,
    /// Whether who crashed, or lost its connection, comes back.
    pub(super) comes_back: bool,
    pub(super) coordinator_crashes: bool,
    /// Whether it goes on when the clean-up has begun, until every participant has ended.
    pub(super) to_the_end: bool,
}

impl Setting {
    /// Whether trouble may come to this one: of several only to the last, on which nobody depends. The others' messages arrive
    /// at once.
    const fn is_troubled(&self, member: usize) -> bool {
        member + 1 == self.participants
    }

    /// Nothing goes wrong.
    pub(super) const fn quiet(participants: usize) -> Self {
        Self {
            participants,
            most_lost: 0,
            most_repeated: 0,
            most_wishes: 0,
            most_crashes: 0,
            most_breaks: 0,
            comes_back: participants == 1,
            coordinator_crashes: false,
            to_the_end: participants == 1,
        }
    }
}

/// What may happen. A packet is known by its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Wake,
    Terminate,
    Deliver(usize),
    Lose(usize),
    Repeat(usize),
    Wish(usize),
    Finish(usize),
    Refuse(usize),
    Crash(usize),
    Break(usize),
    Restart(usize),
    Reconnect(usize),
    CoordinatorCrash,
}

/// Something on its way, in one session of one participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Packet {
    to: usize,
    session: u8,
    load: Load,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Load {
    Down(ToParticipant),
    Up(FromParticipant),
    /// The end of the connection, as the coordinator, or the participant, will notice it.
    EndedUp,
    EndedDown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Member {
    session: u8,
    ledger: Ledger,
    /// `None`: crashed.
    follower: Option<Follower>,
    /// Whether its last word is true: it has done what it had to do, or never will.
    ended: bool,
    /// It crashed, or its connection broke, and it was not back before the request.
    vanished: bool,
    broken: bool,
    /// It was asked, as the machine has it.
    asked: bool,
    closed_at: Option<Duration>,
    granted: Duration,
    /// By its own clock: when the drain ends that it heard of first.
    bound: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    machine: Machine,
    now: Duration,
    members: Vec<Member>,
    way: Vec<Packet>,
    requested_at: Option<Duration>,
    stopped: bool,
    dead: bool,
    lost: u8,
    repeated: u8,
    wishes: u8,
    crashes: u8,
    breaks: u8,
}

macro_rules! holds {
    ($condition:expr, $($said:tt)+) => {
        if !$condition {
            return Err(format!($($said)+));
        }
    };
}

/// The drain ends at 2.5 s, the deadline is at 3.5 s.
fn plan() -> Plan {
    Plan::preset(Preset::Local)
        .with_grace(ms(4_000))
        .and_then(|plan| plan.with_window(Window::NONE))
        .expect("a plan that can be kept")
        .with_repeat(Repeat::Record)
}

/// Every process has a clock of its own: nobody may compare them.
const fn own_clock(now: Duration, member: usize) -> Duration {
    now.saturating_add(Duration::from_secs(1_000 * (member as u64 + 1)))
}

fn number(member: usize) -> ParticipantId {
    ParticipantId::new(u32::try_from(member).expect("few"))
}

impl Node {
    pub(super) fn start(setting: &Setting) -> Self {
        let mut machine = Machine::new(plan());
        let mut members = Vec::new();
        for member in 0..setting.participants {
            machine.handle(
                Duration::ZERO,
                Input::Enrol(Enrolment {
                    id: number(member),
                    name: format!("p{member}"),
                    after: if member == 0 { vec![] } else { vec![number(0)] },
                    budget: (member == 0).then_some(BUDGET),
                    listens: Listens::Never,
                    hook: Hook::None,
                }),
            );
            machine.handle(Duration::ZERO, Input::Ready(number(member)));
            members.push(Member {
                session: 0,
                ledger: Ledger::new("0"),
                follower: Some(ready()),
                ended: false,
                vanished: false,
                broken: false,
                asked: false,
                closed_at: None,
                granted: Duration::ZERO,
                bound: None,
            });
        }
        machine.handle(Duration::ZERO, Input::Started);
        while machine.poll_effect().is_some() {}
        Self {
            machine,
            now: Duration::ZERO,
            members,
            way: Vec::new(),
            requested_at: None,
            stopped: false,
            dead: false,
            lost: 0,
            repeated: 0,
            wishes: 0,
            crashes: 0,
            breaks: 0,
        }
    }

    pub(super) fn acts(&self, setting: &Setting) -> Vec<Act> {
        let mut acts = Vec::new();
        let over = self.machine.is_over();
        let followed = self.members.iter().any(Member::is_leaving);
        if over && !followed || self.stopped && !setting.to_the_end {
            return acts;
        }
        let mut may = |when: bool, act: Act| {
            if when {
                acts.push(act);
            }
        };
        may(self.next_time().is_some(), Act::Wake);
        may(self.requested_at.is_none() && !self.dead, Act::Terminate);
        let crashes = setting.coordinator_crashes && !self.dead && !over;
        may(
            crashes && self.requested_at.is_some(),
            Act::CoordinatorCrash,
        );
        for (at, packet) in self.way.iter().enumerate() {
            may(true, Act::Deliver(at));
            let is_message = matches!(packet.load, Load::Up(_) | Load::Down(_));
            let is_message = is_message && setting.is_troubled(packet.to);
            may(is_message && self.lost < setting.most_lost, Act::Lose(at));
            let repeats = self.repeated < setting.most_repeated && self.way.len() < MOST_ON_THE_WAY;
            may(is_message && repeats, Act::Repeat(at));
        }
        for (at, member) in self.members.iter().enumerate() {
            let Some(follower) = &member.follower else {
                may(setting.comes_back, Act::Restart(at));
                continue;
            };
            let leaving = follower.is_leaving() && !follower.has_ended();
            may(leaving && self.wishes < setting.most_wishes, Act::Wish(at));
            may(leaving, Act::Finish(at));
            may(leaving && setting.most_wishes > 0, Act::Refuse(at));
            let troubled = setting.is_troubled(at);
            may(
                troubled && self.crashes < setting.most_crashes,
                Act::Crash(at),
            );
            let breaks = troubled && self.breaks < setting.most_breaks && !self.dead;
            may(breaks && !member.broken, Act::Break(at));
            let back = setting.comes_back && !self.dead;
            may(member.broken && back, Act::Reconnect(at));
        }
        acts
    }

    /// The next time at which anybody has something to do.
    fn next_time(&self) -> Option<Duration> {
        let machine = self.machine.poll_timeout().filter(|_| !self.dead);
        let members = self.members.iter().enumerate().filter_map(|(at, member)| {
            let due = member.follower.as_ref()?.poll_timeout()?;
            due.checked_sub(own_clock(Duration::ZERO, at))
        });
        members.chain(machine).min()
    }

    pub(super) fn step(
        &mut self,
        act: Act,
        setting: &Setting,
        seen: &mut BTreeSet<&'static str>,
    ) -> Result<(), String> {
        match act {
            Act::Wake => self.wake(seen)?,
            Act::Terminate => {
                let why = String::new();
                self.give(Input::Terminate { why }, seen)?;
            }
            Act::Deliver(at) => {
                let packet = self.way.remove(at);
                self.deliver(packet, seen)?;
            }
            Act::Lose(at) => {
                self.lost += 1;
                self.way.remove(at);
                seen.insert("lost");
            }
            Act::Repeat(at) => {
                self.repeated += 1;
                self.way.push(self.way[at].clone());
                seen.insert("repeated");
            }
            Act::Wish(at) => {
                self.wishes += 1;
                self.tell(at, |follower| {
                    follower.need_more(WISH, "");
                });
            }
            Act::Finish(at) => {
                self.members[at].ended = true;
                self.tell(at, |follower| follower.done([("rows", 1)]));
            }
            Act::Refuse(at) => {
                self.members[at].ended = true;
                self.tell(at, |follower| follower.refuse(""));
            }
            Act::Crash(at) => {
                self.crashes += 1;
                self.members[at].follower = None;
                self.vanish(at);
                seen.insert("crashed");
            }
            Act::Break(at) => {
                self.breaks += 1;
                self.vanish(at);
                self.members[at].broken = true;
                self.send(at, Load::EndedDown);
                seen.insert("broken");
            }
            Act::Restart(at) => {
                let member = &mut self.members[at];
                (member.follower, member.bound) = (Some(ready()), None);
                self.reconnect(at, seen)?;
            }
            Act::Reconnect(at) => self.reconnect(at, seen)?,
            Act::CoordinatorCrash => {
                self.dead = true;
                seen.insert("coordinator crashed");
                for at in 0..self.members.len() {
                    self.send(at, Load::EndedDown);
                }
            }
        }
        let at_once = |packet: &Packet| !setting.is_troubled(packet.to);
        while let Some(at) = self.way.iter().position(at_once) {
            let packet = self.way.remove(at);
            self.deliver(packet, seen)?;
        }
        self.hear(seen);
        self.rest()
    }

    /// Time goes on to the next timer; whoever's it is acts.
    fn wake(&mut self, seen: &mut BTreeSet<&'static str>) -> Result<(), String> {
        self.now = self.next_time().ok_or("no timer")?.max(self.now);
        if !self.dead {
            self.give(Input::Wake, seen)?;
        }
        for at in 0..self.members.len() {
            let now = own_clock(self.now, at);
            self.tell(at, |follower| follower.handle_timeout(now));
        }
        Ok(())
    }

    fn vanish(&mut self, at: usize) {
        self.members[at].vanished = true;
        self.send(at, Load::EndedUp);
    }

    /// The same name is back, by a new connection: the old one is over, also if nobody had noticed.
    fn reconnect(&mut self, at: usize, seen: &mut BTreeSet<&'static str>) -> Result<(), String> {
        let member = &mut self.members[at];
        member.session += 1;
        member.ledger = Ledger::new("1");
        member.vanished = self.requested_at.is_some();
        member.broken = false;
        if self.dead {
            return Ok(());
        }
        self.give(Input::Answer(number(at), away()), seen)?;
        self.give(Input::Returned(number(at)), seen)?;
        let leaving = self.requested_at.is_some();
        seen.insert(if leaving { "back too late" } else { "back" });
        let hello = self.members[at]
            .ledger
            .hello(self.machine.phase(), leaving.then_some(ID));
        self.send(at, Load::Down(hello));
        Ok(())
    }

    fn send(&mut self, to: usize, load: Load) {
        let session = self.members[to].session;
        self.way.push(Packet { to, session, load });
    }

    /// Lets a participant say something, and sends what it says.
    fn tell(&mut self, at: usize, say: impl FnOnce(&mut Follower)) {
        let Some(follower) = &mut self.members[at].follower else {
            return;
        };
        say(follower);
        let messages: Vec<_> = core::iter::from_fn(|| follower.poll_message()).collect();
        for message in messages {
            self.send(at, Load::Up(message));
        }
    }

    fn deliver(&mut self, packet: Packet, seen: &mut BTreeSet<&'static str>) -> Result<(), String> {
        let at = packet.to;
        // A carrier knows which session a connection is.
        if packet.session != self.members[at].session {
            return Ok(());
        }
        let now = own_clock(self.now, at);
        match packet.load {
            Load::Down(message) => {
                let stale = self.members[at].follower.as_ref().map(Follower::stale);
                self.tell(at, |follower| follower.handle(now, &message));
                let member = &mut self.members[at];
                let after = member.follower.as_ref().map(Follower::stale);
                if stale != after {
                    seen.insert("stale down");
                }
                if let (
                    ToParticipant::ShutdownRequest { terms, .. }
                    | ToParticipant::Close { terms, .. },
                    None,
                ) = (&message, member.bound)
                {
                    member.bound = Some(now + terms.left);
                }
            }
            Load::EndedDown => self.tell(at, |follower| {
                seen.insert("alone");
                follower.lost(now);
            }),
            Load::EndedUp if !self.dead => self.give(Input::Answer(number(at), away()), seen)?,
            Load::Up(message) if !self.dead => {
                let heard = self.members[at].ledger.hear(message);
                self.heard(at, heard, seen)?;
            }
            Load::EndedUp | Load::Up(_) => {}
        }
        Ok(())
    }

    fn heard(
        &mut self,
        at: usize,
        heard: Heard,
        seen: &mut BTreeSet<&'static str>,
    ) -> Result<(), String> {
        let id = number(at);
        let answer = match heard {
            Heard::Stale => {
                seen.insert("stale up");
                return Ok(());
            }
            Heard::Awaited => return Ok(()),
            Heard::Known { wish, by } => {
                seen.insert("a wish came again");
                let terms = self.terms(at);
                let message = self.members[at].ledger.granted(wish, by, terms);
                if let Some(message) = message {
                    self.send(at, Load::Down(message));
                }
                return Ok(());
            }
            Heard::New(message) => match message {
                FromParticipant::Ready => return self.give(Input::Ready(id), seen),
                FromParticipant::Ack { .. } => Answer::Ack,
                FromParticipant::Working {
                    done, total, note, ..
                } => Answer::Working { done, total, note },
                FromParticipant::NeedMore { wish, by, why, .. } => {
                    Answer::NeedMore { wish, by, why }
                }
                FromParticipant::Done { figures, .. } => Answer::Done { figures },
                FromParticipant::Refused { why, .. } => Answer::Refused { why },
                FromParticipant::Failed { why, .. } => Answer::Failed { why },
            },
        };
        self.give(Input::Answer(id, answer), seen)
    }

    fn terms(&self, at: usize) -> Terms {
        let status = self.machine.status();
        let one = &status.participants[at];
        let left = status
            .drain_end
            .unwrap_or_default()
            .saturating_sub(self.now);
        let used = one.closed_at().map(|at| self.now.saturating_sub(at));
        Terms::new(left, one.budget(), used)
    }

    /// Gives the machine an input, does what it wants done, and tells those who are waited for no longer.
    fn give(&mut self, input: Input, seen: &mut BTreeSet<&'static str>) -> Result<(), String> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.machine.handle(self.now, input);
            while let Some(effect) = self.machine.poll_effect() {
                inputs.extend(self.effect(&effect, seen)?);
            }
        }
        // Its own last word ended the ledger's part; whoever else has ended is told.
        let waits = |member: &Member| member.asked && !member.ledger.is_over();
        if !self.members.iter().any(waits) {
            return Ok(());
        }
        let (status, report) = (self.machine.status(), self.machine.report());
        let states = status.participants.iter().zip(&report.participants);
        for (at, (status, one)) in states.enumerate() {
            let member = &mut self.members[at];
            let end = End::of(&one.state).filter(|_| status.is_ended() && waits(member));
            if let Some(message) = end.and_then(|end| member.ledger.over(end)) {
                self.send(at, Load::Down(message));
                seen.insert("over");
            }
        }
        Ok(())
    }

    fn effect(
        &mut self,
        effect: &Effect,
        seen: &mut BTreeSet<&'static str>,
    ) -> Result<Option<Input>, String> {
        let cause = Cause::Api { why: String::new() };
        match effect {
            Effect::Broadcast(_) => {
                self.requested_at = Some(self.now);
                for at in 0..self.members.len() {
                    // Whoever is not ready, or away, is not asked.
                    let ended = self.machine.status().participants[at].is_ended();
                    let terms = Terms {
                        used: None,
                        ..self.terms(at)
                    };
                    let member = &mut self.members[at];
                    member.asked = !ended;
                    if !ended {
                        let request = member.ledger.request(ID, &cause, terms);
                        self.send(at, Load::Down(request));
                    }
                }
            }
            Effect::AskAgain(id) => {
                seen.insert("asked again");
                let at = id.number() as usize;
                let terms = self.terms(at);
                let request = self.members[at].ledger.request(ID, &cause, terms);
                self.send(at, Load::Down(request));
            }
            Effect::Close(id) => {
                let at = id.number() as usize;
                let terms = self.terms(at);
                let member = &mut self.members[at];
                member.closed_at = Some(self.now);
                if let Some(close) = member.ledger.close(terms) {
                    self.send(at, Load::Down(close));
                }
            }
            Effect::Granted(id, wish, by) => {
                seen.insert("granted");
                let at = id.number() as usize;
                let terms = self.terms(at);
                let member = &mut self.members[at];
                member.granted += *by;
                let message = wish.and_then(|wish| member.ledger.granted(wish, *by, terms));
                if let Some(message) = message {
                    self.send(at, Load::Down(message));
                }
            }
            Effect::ReadTraffic => {
                return Ok(Some(Input::Traffic(Traffic {
                    requests: 0,
                    mean_gap: None,
                })));
            }
            Effect::CloseConnectionsGate => return Ok(Some(Input::ConnectionsDrained)),
            Effect::CloseGuardsGate => return Ok(Some(Input::GuardsDrained)),
            Effect::EndStragglers => return Ok(Some(Input::Stragglers(Vec::new(), 0))),
            Effect::Enter(Phase::Stopped) => self.cleans_up()?,
            Effect::Exit(outcome) => {
                seen.insert(match outcome {
                    Outcome::Drained => "drained",
                    Outcome::Forced { .. } => "forced",
                    _ => "failed",
                });
            }
            _ => {}
        }
        Ok(None)
    }

    /// N-1, held against what is true of the participants, not against what the coordinator heard.
    fn cleans_up(&mut self) -> Result<(), String> {
        holds!(!self.stopped, "N-1: the final clean-up begins twice");
        self.stopped = true;
        let requested_at = self.requested_at.ok_or("N-1: clean-up without a request")?;
        let drain_end = requested_at + self.machine.plan().drain_end();
        for (at, member) in self.members.iter().enumerate() {
            let budget = (at == 0).then_some(BUDGET);
            let due = member
                .closed_at
                .zip(budget)
                .map_or(drain_end, |(from, budget)| {
                    (from + budget + member.granted).min(drain_end)
                });
            let is_gone = member.vanished || member.follower.is_none();
            holds!(
                member.ended || !member.asked || is_gone || self.now >= due,
                "N-1: clean-up at {:?}, while p{at} is at work and has time until {due:?}",
                self.now
            );
        }
        holds!(self.now <= drain_end, "N-2: clean-up at {:?}", self.now);
        Ok(())
    }

    /// Takes what the participants are told.
    fn hear(&mut self, seen: &mut BTreeSet<&'static str>) {
        for member in &mut self.members {
            let Some(follower) = &mut member.follower else {
                continue;
            };
            while let Some(event) = follower.poll_event() {
                match event {
                    // Its time is over: it does nothing more.
                    Event::TimeUp => {
                        member.ended = true;
                        seen.insert("time up");
                    }
                    Event::Over { .. } => member.ended = true,
                    _ => {}
                }
            }
        }
    }

    /// One of two states that differ in nothing that decides: the order of packets is no matter, the same twice is one.
    fn rest(&mut self) -> Result<(), String> {
        let key = |packet: &Packet| BuildHasherDefault::<DefaultHasher>::default().hash_one(packet);
        self.way.sort_by_key(key);
        self.way.dedup();
        let members = &self.members;
        self.way
            .retain(|packet| packet.session == members[packet.to].session);
        self.machine.forget();
        for (at, member) in self.members.iter().enumerate() {
            let Some(follower) = &member.follower else {
                continue;
            };
            if let (Some(deadline), Some(bound)) = (follower.deadline(), member.bound) {
                holds!(
                    deadline <= bound,
                    "N-6: p{at} may take until {deadline:?}, the drain ended at {bound:?}"
                );
            }
        }
        Ok(())
    }

    /// N-2, N-6, N-7: whatever is left unsaid, time alone ends it for everyone.
    pub(super) fn ends_in_time(&self) -> Result<(), String> {
        if let Some(requested_at) = self.requested_at
            && !self.dead
            && !self.stopped
        {
            let drain_end = requested_at + self.machine.plan().drain_end();
            let mut alone = self.clone();
            let mut seen = BTreeSet::new();
            for _ in 0..32 {
                if alone.stopped {
                    break;
                }
                let due = alone.machine.poll_timeout();
                alone.now = due.ok_or("N-2: leaving without a timer")?;
                holds!(alone.now <= drain_end, "N-2: no clean-up by {drain_end:?}");
                alone.give(Input::Wake, &mut seen)?;
            }
            holds!(alone.stopped, "N-2: time alone does not begin the clean-up");
        }
        for (at, member) in self.members.iter().enumerate() {
            let Some(mut follower) = member.follower.clone().filter(|_| member.is_leaving()) else {
                continue;
            };
            for _ in 0..8 {
                let Some(due) = follower.poll_timeout() else {
                    break;
                };
                holds!(Some(due) <= follower.deadline(), "N-6: p{at} looks late");
                holds!(
                    member.bound.is_none_or(|bound| due <= bound),
                    "N-6: p{at} ends late"
                );
                follower.handle_timeout(due.max(own_clock(self.now, at)));
            }
            holds!(follower.has_ended(), "N-6: p{at} does not end");
        }
        Ok(())
    }
}

impl Member {
    fn is_leaving(&self) -> bool {
        let follower = self.follower.as_ref();
        follower.is_some_and(|one| one.is_leaving() && !one.has_ended())
    }
}

/// One that says in each session that it is ready.
fn ready() -> Follower {
    let mut follower = Follower::new();
    follower.ready();
    while follower.poll_message().is_some() {}
    follower
}

fn away() -> Answer {
    Answer::Away {
        why: "its connection ended".into(),
    }
}
