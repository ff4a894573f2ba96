//! What the coordinator keeps of one session: which drain it was asked for, what its wishes got, whether its last word
//! is said. Carriers share it; the machine decides.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::time::Duration;

use super::{End, FromParticipant, ToParticipant};
use crate::vocab::{Cause, Grant, Phase, Terms};

/// One session, seen from the coordinator.
///
/// It makes the messages to the participant, and says which of the participant's are to be acted on. What a message says
/// is acted on once; repeated, late and stray ones are told apart here and counted, so that behind it nothing has to be
/// idempotent.
///
/// # Examples
/// ```
/// use lameduck::negotiation::{FromParticipant, Heard, Ledger};
/// use lameduck::{Cause, Terms};
/// use std::time::Duration;
///
/// let mut ledger = Ledger::new("7");
/// let terms = Terms::new(Duration::from_secs(8), Some(Duration::from_secs(2)), None);
/// let cause = Cause::Api { why: "deploy".into() };
/// let request = ledger.request("d1", &cause, terms);
/// assert!(request.to_json().starts_with(r#"{"type":"shutdown_request","id":"d1","cause":{"kind":"api""#));
///
/// let wish = FromParticipant::parse(r#"{"type":"need_more","id":"d1","wish":1,"by_ms":500}"#)?;
/// assert!(matches!(ledger.hear(wish.clone()), Heard::New(_)), "the machine is asked");
/// let by = Duration::from_millis(500);
/// assert!(ledger.granted(1, by, terms).is_some(), "and its answer is sent");
/// assert_eq!(ledger.hear(wish), Heard::Known { wish: 1, by }, "once more, without the machine");
///
/// let late = FromParticipant::parse(r#"{"type":"done","id":"another drain"}"#)?;
/// assert_eq!(ledger.hear(late), Heard::Stale);
/// assert_eq!(ledger.stale(), 1);
/// # Ok::<(), lameduck::negotiation::Malformed>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ledger {
    session: String,
    drain: Option<String>,
    /// At most [`Grant::MOST`]; what a wish got, once that is known.
    wishes: Vec<(u32, Option<Duration>)>,
    is_over: bool,
    stale: u64,
}

/// What a message of a participant is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Heard {
    /// To be acted on.
    New(FromParticipant),
    /// A wish whose answer is known: it is to be sent again, with [`Ledger::granted`].
    Known {
        /// Its number.
        wish: u32,
        /// What it got.
        by: Duration,
    },
    /// A wish whose answer is awaited.
    Awaited,
    /// Of another drain, or after the last word: counted, and nothing is to be done.
    Stale,
}

impl Ledger {
    /// A session of this name, that was asked for nothing.
    #[must_use]
    pub fn new(session: impl Into<String>) -> Self {
        Self {
            session: session.into(),
            drain: None,
            wishes: Vec::new(),
            is_over: false,
            stale: 0,
        }
    }

    /// The first message; a drain that is under way is named, and this session takes no part in it.
    #[must_use]
    pub fn hello(&self, phase: Phase, drain_id: Option<&str>) -> ToParticipant {
        ToParticipant::Hello {
            session: self.session.clone(),
            phase,
            drain_id: drain_id.map(ToOwned::to_owned),
        }
    }

    /// Asks it, the first time or, for the same drain, again.
    pub fn request(&mut self, id: &str, cause: &Cause, terms: Terms) -> ToParticipant {
        let again = self.drain.as_deref() == Some(id);
        if !again {
            self.drain = Some(id.to_owned());
            self.wishes = Vec::new();
        }
        ToParticipant::ShutdownRequest {
            id: id.to_owned(),
            kind: cause.kind().to_owned(),
            cause: super::words(cause),
            terms,
            again,
        }
    }

    /// Tells it to finish; `None` before it was asked, and after its end.
    #[must_use]
    pub fn close(&self, terms: Terms) -> Option<ToParticipant> {
        let id = self.present()?;
        Some(ToParticipant::Close { id, terms })
    }

    /// Tells what a wish got; the first answer stands. `None` before it was asked, and after its end.
    pub fn granted(&mut self, wish: u32, by: Duration, terms: Terms) -> Option<ToParticipant> {
        let id = self.present()?;
        let known = self.wishes.iter_mut().find(|one| one.0 == wish);
        let by = match known {
            Some((_, answer)) => *answer.get_or_insert(by),
            None => by,
        };
        let wish = Some(wish);
        Some(ToParticipant::Granted {
            id,
            wish,
            by,
            terms,
        })
    }

    /// Tells what an operator gave; `None` before it was asked, and after its end.
    #[must_use]
    pub fn given(&self, by: Duration, terms: Terms) -> Option<ToParticipant> {
        let (id, wish) = (self.present()?, None);
        Some(ToParticipant::Granted {
            id,
            wish,
            by,
            terms,
        })
    }

    /// Tells it that it is waited for no longer: whatever it says from here on is stale. `None` before it was asked; told
    /// again, it is said again.
    pub fn over(&mut self, state: End) -> Option<ToParticipant> {
        let id = self.drain.clone()?;
        self.is_over = true;
        Some(ToParticipant::Over { id, state })
    }

    /// What a message of the participant is.
    pub fn hear(&mut self, message: FromParticipant) -> Heard {
        let is_of_this = match message.id() {
            Some(id) => self.drain.as_deref() == Some(id),
            None => true,
        };
        if self.is_over || !is_of_this {
            self.stale = self.stale.saturating_add(1);
            return Heard::Stale;
        }
        if let FromParticipant::NeedMore { wish, .. } = message
            && let Some(heard) = self.wished(wish)
        {
            return heard;
        }
        self.is_over = message.is_last();
        Heard::New(message)
    }

    /// What is known of a wish; `None` if it is new, and is kept from here on.
    fn wished(&mut self, wish: u32) -> Option<Heard> {
        let known = self.wishes.iter().find(|one| one.0 == wish);
        match known {
            Some((_, Some(by))) => Some(Heard::Known { wish, by: *by }),
            Some((_, None)) => Some(Heard::Awaited),
            None if self.wishes.len() >= Grant::MOST => Some(Heard::Known {
                wish,
                by: Duration::ZERO,
            }),
            None => {
                self.wishes.push((wish, None));
                None
            }
        }
    }

    /// The drain that it is asked for and still part of.
    fn present(&self) -> Option<String> {
        self.drain.clone().filter(|_| !self.is_over)
    }

    /// Its name.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Whether its last word is said, or it is waited for no longer.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many messages were stale.
    #[must_use]
    pub const fn stale(&self) -> u64 {
        self.stale
    }
}
