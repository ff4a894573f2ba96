//! Owns the participants of the shared drain: who they are, what each says and when, and what they write down of it.
//! Not: the connection (see `client`), or what follows from it (see `judge`).

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Answer, Heard, NotJoined, Session, Told};
use super::hostile::{Affront, HOSTILE};

/// A drain that never was.
const OTHER_DRAIN: &str = "another-drain";
/// No drain leaves so much.
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
/// A wish is waited for so long.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// An end of a connection is noticed within this time.
pub(super) const AT_ONCE: Duration = Duration::from_millis(500);
/// Between two tries to join again.
const STEP: Duration = Duration::from_millis(10);
/// More messages than this are not written down.
const MOST_TOLD: usize = 256;

/// Something that was said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) at: Instant,
    pub(super) what: What,
    pub(super) answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Ready,
    Ack,
    Working,
    Wish(u64),
    Done,
    Refused,
    /// `ack` for a drain that never was.
    StrangeAck,
    StrangeDone,
    /// `failed` behind its own `done`.
    LateFailed,
}

/// What one participant went through.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    pub(super) budget: Option<Duration>,
    pub(super) told: Vec<Told>,
    pub(super) said: Vec<Said>,
    /// When it hung up without a word.
    pub(super) dropped_at: Option<Instant>,
    /// How long it took until it had joined again under its name, if it did.
    pub(super) back_after: Option<Duration>,
    /// What it said that is no message.
    pub(super) affronts: Vec<Affront>,
    /// How many messages and answers it got.
    pub(super) count: usize,
    /// What of them does not fit the schema.
    pub(super) misfits: Vec<String>,
}

impl Record {
    pub(super) fn first(&self, kind: &str) -> Option<&Told> {
        self.told.iter().find(|told| told.kind == kind)
    }

    /// What it said of this kind, in order.
    pub(super) fn all(&self, what: What) -> impl Iterator<Item = &Said> {
        self.said.iter().filter(move |said| said.what == what)
    }

    /// The answer to the first that it said of this kind.
    pub(super) fn answer(&self, what: What) -> Option<Answer> {
        self.all(what).next().map(|said| said.answer)
    }

    /// As what it was given up or thanked, if it was.
    pub(super) fn state(&self) -> Option<&str> {
        self.first("over")?.state.as_deref()
    }
}

/// One that has joined, with its record.
#[derive(Debug)]
pub(super) struct Player {
    session: Session,
    pub(super) record: Record,
    /// A unit of time: a twentieth of the grace period, or 200 ms.
    unit: Duration,
    /// Nobody waits for longer.
    until: Instant,
}

impl Player {
    /// Joins and says that it is ready.
    pub(super) fn enter(
        socket: &Path,
        part: &Part,
        unit: Duration,
        until: Instant,
    ) -> Result<Self, NotJoined> {
        let budget = part.budget.map(|units| unit * units);
        let mut back_after = None;
        let mut session = Session::join(socket, part.name, part.after, budget)?;
        if part.comes_back {
            drop(session);
            let begun = Instant::now();
            session = loop {
                match Session::join(socket, part.name, part.after, budget) {
                    // Its old connection was not missed yet.
                    Err(NotJoined::Taken) if begun.elapsed() < 2 * AT_ONCE => {
                        std::thread::park_timeout(STEP);
                    }
                    other => break other?,
                }
            };
            back_after = Some(begun.elapsed());
        }
        let mut player = Self {
            session,
            record: Record {
                budget,
                back_after,
                ..Record::default()
            },
            unit,
            until,
        };
        player.say(What::Ready, &json!({ "type": "ready" }));
        Ok(player)
    }

    /// Plays its part, to the end of its stream.
    pub(super) fn play(mut self, part: &Part) -> Record {
        (part.play)(&mut self);
        if self.record.dropped_at.is_none() {
            self.hear_until(self.until, |_| false);
        }
        self.record.count = self.session.count;
        self.record.misfits = self.session.misfits;
        self.record
    }

    fn say(&mut self, what: What, message: &Value) -> Answer {
        let answer = self.session.say(message);
        let at = Instant::now();
        self.record.said.push(Said { at, what, answer });
        answer
    }

    /// Says something about the drain that it was asked for.
    fn answer(&mut self, what: What, kind: &str, more: &Value) -> Answer {
        let id = self.record.first("shutdown_request");
        let id = id.and_then(|told| told.id.clone());
        let mut message = json!({ "type": kind, "id": id });
        if let (Some(message), Some(more)) = (message.as_object_mut(), more.as_object()) {
            message.extend(more.clone());
        }
        self.say(what, &message)
    }

    /// Writes down what it is told, until it `is_it` or the time is over; whether it was it.
    fn hear_until(&mut self, until: Instant, is_it: impl Fn(&Told) -> bool) -> bool {
        let until = until.min(self.until);
        while self.record.told.len() < MOST_TOLD {
            match self.session.next(until) {
                Heard::Told(told) => {
                    let found = is_it(&told);
                    self.record.told.push(told);
                    if found {
                        return true;
                    }
                }
                Heard::Silence | Heard::End => return false,
            }
        }
        false
    }

    /// Waits for a message of this kind, also one that came before.
    fn hear(&mut self, kind: &'static str) -> bool {
        self.record.first(kind).is_some() || self.hear_until(self.until, |told| told.kind == kind)
    }

    fn hear_for(&mut self, units: u32) {
        self.hear_until(Instant::now() + self.unit * units, |_| false);
    }

    /// Asks for more, and waits for the answer.
    fn wish(&mut self, wish: u64, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let more = json!({ "wish": wish, "by_ms": by, "why": "a batch is left" });
        self.answer(What::Wish(wish), "need_more", &more);
        let is_it = |told: &Told| told.kind == "granted" && told.wish == Some(wish);
        self.hear_until(Instant::now() + ANSWERED_WITHIN, is_it);
    }

    /// Says everything that is no message, up to the first that is not answered.
    fn affront(&mut self) {
        let drain = self.record.first("shutdown_request");
        let id = drain.and_then(|told| told.id.clone());
        for (what, body) in HOSTILE {
            let body = body(id.as_deref().unwrap_or(OTHER_DRAIN));
            let mut affront = Affront::new(what, &body, id.is_some());
            affront.reply = self.session.send(&body);
            affront.took = affront.at.elapsed();
            let is_unheard = affront.reply.is_none();
            self.record.affronts.push(affront);
            if is_unheard {
                return;
            }
        }
    }

    fn working(&mut self, done: u32) {
        let more = json!({ "done": done, "total": 2, "note": "batch" });
        self.answer(What::Working, "working", &more);
    }
}

/// One participant: how it joins, and what it does.
pub(super) struct Part {
    pub(super) name: &'static str,
    after: &'static [&'static str],
    /// In units.
    budget: Option<u32>,
    /// It loses its first connection before it is ready, and joins again.
    pub(super) comes_back: bool,
    play: fn(&mut Player),
}

/// Who is who among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    Silent,
    Refuser,
    Wisher,
    Repeater,
    Store,
    Frail,
    Stranger,
}

/// How long the longest works after it was told to finish, in units.
pub(super) const WORK: u32 = 5;
/// The budget of the one that is silent, in units.
pub(super) const SILENCE: u32 = 4;

const fn part(name: &'static str, budget: Option<u32>, play: fn(&mut Player)) -> Part {
    Part {
        name,
        after: &[],
        budget,
        comes_back: false,
        play,
    }
}

/// All parts, in the order in which they join.
pub(super) const CAST: [Part; 8] = [
    part("verify-worker", None, worker),
    part("verify-silent", Some(SILENCE), silent),
    part("verify-refuser", None, refuser),
    part("verify-wisher", Some(2), wisher),
    part("verify-repeater", None, repeater),
    part("verify-store", None, store),
    Part {
        after: &["verify-store"],
        comes_back: true,
        ..part("verify-frail", None, frail)
    },
    part("verify-stranger", None, stranger),
];

/// The one of the drain in which nobody else takes part.
pub(super) const ALONE: Part = part("verify-silent", None, silent);

/// Answers, works, and is done.
fn worker(player: &mut Player) {
    if player.hear("shutdown_request") {
        player.answer(What::Ack, "ack", &json!({}));
    }
    if player.hear("close") {
        player.working(0);
        player.hear_for(WORK);
        player.answer(What::Done, "done", &json!({ "figures": { "batches": 2 } }));
    }
}

/// Says nothing at all.
fn silent(_: &mut Player) {}

/// Will not finish for this drain.
fn refuser(player: &mut Player) {
    if player.hear("shutdown_request") {
        player.answer(What::Refused, "refused", &json!({ "why": "a backup runs" }));
    }
}

/// Needs more than its budget, and wishes for it.
fn wisher(player: &mut Player) {
    if !player.hear("close") {
        return;
    }
    let begun = Instant::now();
    player.wish(1, player.unit * 2);
    player.wish(1, player.unit * 2);
    player.wish(2, HOUR);
    player.hear_until(begun + player.unit * 3, |_| false);
    player.answer(What::Done, "done", &json!({}));
}

/// Says all twice, and speaks of another drain.
fn repeater(player: &mut Player) {
    let strange = |kind| json!({ "type": kind, "id": OTHER_DRAIN });
    player.say(What::StrangeAck, &strange("ack"));
    if !player.hear("shutdown_request") {
        return;
    }
    player.say(What::StrangeDone, &strange("done"));
    for _ in 0..2 {
        player.answer(What::Ack, "ack", &json!({}));
    }
    for _ in 0..2 {
        player.working(1);
    }
    if player.hear("close") {
        player.hear_for(1);
        for _ in 0..2 {
            player.answer(What::Done, "done", &json!({}));
        }
        player.answer(What::LateFailed, "failed", &json!({ "why": "too late" }));
    }
}

/// Others depend on it.
fn store(player: &mut Player) {
    if player.hear("shutdown_request") {
        player.answer(What::Ack, "ack", &json!({}));
    }
    if player.hear("close") {
        player.answer(What::Done, "done", &json!({}));
    }
}

/// Loses its connection when it is told to finish.
fn frail(player: &mut Player) {
    if player.hear("shutdown_request") {
        player.answer(What::Ack, "ack", &json!({}));
    }
    if player.hear("close") {
        player.record.dropped_at = Some(Instant::now());
        player.session.hang_up();
    }
}

/// Says what is no message, while the service serves and when it was told to finish, and is done as if nothing had been.
fn stranger(player: &mut Player) {
    player.affront();
    if player.hear("shutdown_request") {
        player.answer(What::Ack, "ack", &json!({}));
    }
    if player.hear("close") {
        player.affront();
        player.answer(What::Done, "done", &json!({}));
    }
}
