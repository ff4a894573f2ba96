//! A participant's side of the negotiation: what it heard, what it says, and its own deadline.
//!
//! Pure: the time is an argument, of a clock that nobody else has to share. Messages are state, not steps: each of the
//! coordinator's bears all that it knows of the time, so that a later one makes good what an earlier one should have told.

use alloc::{borrow::ToOwned, collections::VecDeque, string::String, vec::Vec};
use core::time::Duration;

use super::{End, FromParticipant, ToParticipant};
use crate::vocab::{Grant, Progress, Terms, cut};

/// How many messages and events wait to be taken; they are few, unless the other side repeats itself without end.
const MOST_WAITING: usize = 64;

/// One participant, as it follows its coordinator.
///
/// - **in**: [`handle`](Self::handle) takes a message, [`lost`](Self::lost) the end of the connection,
///   [`handle_timeout`](Self::handle_timeout) the time; [`ready`](Self::ready), [`working`](Self::working),
///   [`need_more`](Self::need_more), [`done`](Self::done), [`refuse`](Self::refuse) and [`failed`](Self::failed) what the participant has to say.
/// - **out**: [`poll_message`](Self::poll_message) what is to be sent, [`poll_event`](Self::poll_event) what the participant
///   is told, [`poll_timeout`](Self::poll_timeout) when to come back with the time.
///
/// # Examples
/// ```
/// use lameduck::negotiation::{Event, Follower, ToParticipant};
/// use std::time::Duration;
///
/// let secs = Duration::from_secs;
/// let mut follower = Follower::new();
/// let request = r#"{"type":"shutdown_request","id":"d1","cause":{"kind":"api","text":"deploy"},"left_ms":8000,"budget_ms":2000}"#;
/// follower.handle(secs(100), &ToParticipant::parse(request)?);
/// assert!(matches!(follower.poll_event(), Some(Event::Leave { .. })));
/// let ack = follower.poll_message().expect("it heard the request");
/// assert_eq!(ack.to_json(), r#"{"type":"ack","id":"d1"}"#);
///
/// let close = r#"{"type":"close","id":"d1","left_ms":7000,"budget_ms":2000,"used_ms":0}"#;
/// follower.handle(secs(101), &ToParticipant::parse(close)?);
/// assert_eq!(follower.poll_event(), Some(Event::Close));
/// assert_eq!(follower.deadline(), Some(secs(103)));
///
/// follower.done([("rows", 12)]);
/// let done = follower.poll_message().expect("its last word");
/// assert_eq!(done.to_json(), r#"{"type":"done","id":"d1","figures":{"rows":12}}"#);
/// assert!(follower.has_ended());
/// # Ok::<(), lameduck::negotiation::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Follower {
    is_ready: bool,
    /// It has failed while the service served; said in each session.
    failed: Option<String>,
    leaving: Option<Leaving>,
    /// No message can come or go.
    is_alone: bool,
    stale: u64,
    messages: VecDeque<FromParticipant>,
    events: VecDeque<Event>,
}

/// The drain under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Leaving {
    id: String,
    /// When the drain is over; only ever earlier than it was thought before.
    drain_end: Duration,
    /// With all that was granted; only ever more.
    budget: Option<Duration>,
    /// Since when the budget runs; only ever earlier.
    closed_at: Option<Duration>,
    progress: Option<Progress>,
    wishes: u32,
    wish: Option<Wish>,
    end: Option<Ended>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wish {
    number: u32,
    by: Duration,
    why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ended {
    Done(Vec<(String, i64)>),
    Refused(String),
    Failed(String),
    /// The coordinator waits no longer.
    Over,
}

/// What a participant is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The service leaves: take no new work from elsewhere, and go on with what others in the service need.
    Leave {
        /// Why, in one word.
        kind: String,
        /// Why, for people; empty if that message was lost.
        cause: String,
    },
    /// Nothing that depends on it is at work any longer: finish now.
    Close,
    /// It was asked again, because nothing was heard of it.
    AskedAgain,
    /// A wish got so much more.
    Granted {
        /// Its number.
        wish: u32,
        /// How much.
        by: Duration,
    },
    /// An operator gave so much more.
    Given {
        /// How much.
        by: Duration,
    },
    /// It is waited for no longer.
    Over {
        /// What became of it.
        state: End,
    },
    /// Its own deadline has come: it ends, whatever is left.
    TimeUp,
}

impl Follower {
    /// One that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a message of the coordinator.
    pub fn handle(&mut self, now: Duration, message: &ToParticipant) {
        match message {
            // While it leaves, a new session is none of the drain that the old one was asked for.
            ToParticipant::Hello { .. } if self.leaving.is_some() => {}
            ToParticipant::Hello { .. } => {
                self.is_alone = false;
                if let Some(why) = self.failed.clone() {
                    self.say(FromParticipant::Failed { id: None, why });
                } else if self.is_ready {
                    self.say(FromParticipant::Ready);
                }
            }
            ToParticipant::ShutdownRequest {
                id,
                kind,
                cause,
                terms,
                again,
            } => {
                self.join(now, id, (kind, cause), *terms);
                if *again && !self.has_ended() {
                    self.tell(Event::AskedAgain);
                }
                self.answer();
            }
            ToParticipant::Close { id, terms } => {
                // Whoever is told to finish was asked to, even if that message is still on its way.
                let present = self.leaving.as_ref().map(|leaving| &leaving.id);
                if present.is_some_and(|present| present != id) {
                    self.stale = self.stale.saturating_add(1);
                    return;
                }
                let is_first = present.is_none();
                let used = terms.used.or(Some(Duration::ZERO));
                self.join(now, id, ("", ""), Terms { used, ..*terms });
                if is_first {
                    self.answer();
                }
            }
            ToParticipant::Granted {
                id,
                wish,
                by,
                terms,
            } => self.granted(now, id, *wish, *by, *terms),
            ToParticipant::Over { id, state } => self.over(id, *state),
        }
    }

    /// Begins to leave, or learns more of it. A process leaves once: another drain joins the one under way.
    fn join(&mut self, now: Duration, id: &str, cause: (&str, &str), terms: Terms) {
        self.is_alone = false;
        match &mut self.leaving {
            Some(leaving) => leaving.go_on(id),
            None => {
                self.leaving = Some(Leaving::begin(now, id, terms));
                let (kind, cause) = (cause.0.to_owned(), cause.1.to_owned());
                self.events.push_back(Event::Leave { kind, cause });
            }
        }
        self.learn(now, terms);
    }

    /// Takes what a message tells of the time.
    fn learn(&mut self, now: Duration, terms: Terms) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let was_closed = leaving.closed_at.is_some();
        leaving.learn(now, terms);
        if !was_closed && leaving.closed_at.is_some() && leaving.end.is_none() {
            self.events.push_back(Event::Close);
        }
    }

    fn granted(&mut self, now: Duration, id: &str, wish: Option<u32>, by: Duration, terms: Terms) {
        let is_of_this = |leaving: &&mut Leaving| leaving.id == id && leaving.end.is_none();
        let Some(leaving) = self.leaving.as_mut().filter(is_of_this) else {
            self.stale = self.stale.saturating_add(1);
            return;
        };
        match wish {
            // Given twice, it would be told twice: only the terms count.
            None if leaving.grows(terms) => self.tell(Event::Given { by }),
            None => {}
            Some(number)
                if leaving
                    .wish
                    .as_ref()
                    .is_some_and(|wish| wish.number == number) =>
            {
                leaving.wish = None;
                let wish = number;
                self.events.push_back(Event::Granted { wish, by });
            }
            Some(_) => self.stale = self.stale.saturating_add(1),
        }
        self.learn(now, terms);
    }

    fn over(&mut self, id: &str, state: End) {
        let is_of_this = |leaving: &&mut Leaving| leaving.id == id && leaving.end.is_none();
        match self.leaving.as_mut().filter(is_of_this) {
            Some(leaving) => {
                leaving.end = Some(Ended::Over);
                self.events.push_back(Event::Over { state });
            }
            None => self.stale = self.stale.saturating_add(1),
        }
    }

    /// Tells what may come as often as the other side likes.
    fn tell(&mut self, event: Event) {
        if self.events.len() < MOST_WAITING {
            self.events.push_back(event);
        }
    }

    /// Says where it stands: the same, however often it is asked.
    fn answer(&mut self) {
        if let Some(message) = self.leaving.as_ref().and_then(Leaving::stand) {
            self.say(message);
        }
    }

    /// The oldest makes room: where it stands is said last.
    fn say(&mut self, message: FromParticipant) {
        if self.messages.len() >= MOST_WAITING {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// The connection has ended. While the service leaves, it goes on by its own deadline; before that, it waits for
    /// another connection.
    pub fn lost(&mut self, now: Duration) {
        self.is_alone = true;
        self.messages.clear();
        self.handle_timeout(now);
    }

    /// Takes the time; to be called when [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        let is_alone = self.is_alone;
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        if leaving.end.is_some() {
            return;
        }
        if is_alone && leaving.closed_at.is_none() && now >= leaving.latest_close() {
            leaving.closed_at = Some(now);
            self.events.push_back(Event::Close);
        }
        if now >= leaving.deadline() {
            leaving.end = Some(Ended::Failed("its time was over".to_owned()));
            self.events.push_back(Event::TimeUp);
            self.answer();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let leaving = self.leaving.as_ref().filter(|one| one.end.is_none())?;
        let deadline = leaving.deadline();
        if self.is_alone && leaving.closed_at.is_none() {
            return Some(deadline.min(leaving.latest_close()));
        }
        Some(deadline)
    }

    /// When it ends at the latest; `None` while the service serves, and after its end.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let leaving = self.leaving.as_ref().filter(|one| one.end.is_none())?;
        Some(leaving.deadline())
    }

    /// What is to be sent next. After a lost connection nothing is.
    pub fn poll_message(&mut self) -> Option<FromParticipant> {
        let message = self.messages.pop_front()?;
        (!self.is_alone).then_some(message)
    }

    /// What the participant is told next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// It is ready to serve; said again in each session.
    pub fn ready(&mut self) {
        self.is_ready = true;
        self.failed = None;
        if self.leaving.is_none() {
            self.say(FromParticipant::Ready);
        }
    }

    /// It is at work: `done` of `total`, and at what.
    pub fn working(&mut self, done: u64, total: u64, note: impl Into<String>) {
        if let Some(leaving) = self.leaving.as_mut().filter(|one| one.end.is_none()) {
            let progress = Progress::new(done, total, note);
            let message = leaving.at_work(&progress);
            leaving.progress = Some(progress);
            self.say(message);
        }
    }

    /// It wishes for more time, and why; the number of the wish, which its answer bears. It takes the place of a wish that
    /// is not answered yet. `None`: it does not leave, or has made 16 wishes, which is as many as are granted.
    pub fn need_more(&mut self, by: Duration, why: impl Into<String>) -> Option<u32> {
        let leaving = self.leaving.as_mut().filter(|one| one.end.is_none())?;
        if leaving.wishes as usize >= Grant::MOST {
            return None;
        }
        leaving.wishes += 1;
        let number = leaving.wishes;
        let why = cut(why.into(), Progress::NOTE);
        leaving.wish = Some(Wish { number, by, why });
        self.answer();
        Some(number)
    }

    /// It finished, and counted this.
    pub fn done<N: Into<String>>(&mut self, figures: impl IntoIterator<Item = (N, i64)>) {
        let figures = figures.into_iter();
        let figures = figures
            .map(|(name, figure)| (name.into(), figure))
            .collect();
        self.end(Ended::Done(figures));
    }

    /// It will not finish for this drain.
    pub fn refuse(&mut self, why: impl Into<String>) {
        self.end(Ended::Refused(why.into()));
    }

    /// It failed. While the service serves, that ends the service; it is said again in each session, unless it is [ready](Self::ready) again.
    pub fn failed(&mut self, why: impl Into<String>) {
        if self.leaving.is_none() {
            let (id, why) = (None, why.into());
            self.failed = Some(why.clone());
            self.say(FromParticipant::Failed { id, why });
            return;
        }
        self.end(Ended::Failed(why.into()));
    }

    fn end(&mut self, end: Ended) {
        if let Some(leaving) = self.leaving.as_mut().filter(|one| one.end.is_none()) {
            leaving.end = Some(end);
            self.answer();
        }
    }

    /// Whether it was asked to leave.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether its last word is said, its time is over, or it is waited for no longer.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.leaving.as_ref().is_some_and(|one| one.end.is_some())
    }

    /// How many messages were stale: of another drain, for another wish, or after the end.
    #[must_use]
    pub const fn stale(&self) -> u64 {
        self.stale
    }
}

impl Leaving {
    fn begin(now: Duration, id: &str, terms: Terms) -> Self {
        Self {
            id: id.to_owned(),
            drain_end: now.saturating_add(terms.left),
            budget: None,
            closed_at: None,
            progress: None,
            wishes: 0,
            wish: None,
            end: None,
        }
    }

    /// In this drain, which may be another: a coordinator that has forgotten what it said waits for a last word.
    fn go_on(&mut self, id: &str) {
        if self.id != id && self.end == Some(Ended::Over) {
            let why = "it was waited for no longer in an earlier drain";
            self.end = Some(Ended::Failed(why.to_owned()));
        }
        id.clone_into(&mut self.id);
    }

    /// A message takes time, so that an instant reckoned from its arrival is never too early: the earliest one is the best.
    fn learn(&mut self, now: Duration, terms: Terms) {
        self.drain_end = self.drain_end.min(now.saturating_add(terms.left));
        self.budget = self.budget.max(terms.budget);
        if let Some(used) = terms.used {
            let closed_at = now.saturating_sub(used);
            self.closed_at = Some(self.closed_at.map_or(closed_at, |at| at.min(closed_at)));
        }
    }

    fn grows(&self, terms: Terms) -> bool {
        terms.budget > self.budget
    }

    fn deadline(&self) -> Duration {
        let due = self.closed_at.zip(self.budget);
        let due = due.map(|(from, budget)| from.saturating_add(budget));
        due.map_or(self.drain_end, |due| due.min(self.drain_end))
    }

    /// Alone, nobody tells it when: the latest instant at which its budget still fits. Without one, at once.
    fn latest_close(&self) -> Duration {
        let budget = self.budget;
        budget.map_or(Duration::ZERO, |budget| {
            self.drain_end.saturating_sub(budget)
        })
    }

    fn at_work(&self, progress: &Progress) -> FromParticipant {
        FromParticipant::Working {
            id: self.id.clone(),
            done: progress.done,
            total: progress.total,
            note: progress.note.clone(),
        }
    }

    /// What it has to say, as things stand.
    fn stand(&self) -> Option<FromParticipant> {
        let id = self.id.clone();
        Some(match &self.end {
            Some(Ended::Over) => return None,
            Some(Ended::Done(figures)) => FromParticipant::Done {
                id,
                figures: figures.clone(),
            },
            Some(Ended::Refused(why)) => FromParticipant::Refused {
                id,
                why: why.clone(),
            },
            Some(Ended::Failed(why)) => FromParticipant::Failed {
                id: Some(id),
                why: why.clone(),
            },
            None => match (&self.wish, &self.progress) {
                (Some(wish), _) => FromParticipant::NeedMore {
                    id,
                    wish: wish.number,
                    by: wish.by,
                    why: wish.why.clone(),
                },
                (None, Some(progress)) => self.at_work(progress),
                (None, None) => FromParticipant::Ack { id },
            },
        })
    }
}
