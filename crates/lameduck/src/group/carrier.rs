//! What carries a group's words: the traits that a Unix socket and etcd implement, and the words themselves. It decides nothing.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use super::{Identity, MemberId};

/// How many names a [`Word::Publish`] has at most: few enough for a line, or a transaction, of any carrier.
pub const PUBLISHED_AT_ONCE: usize = 32;

/// How many names of work a member may have published, and how long each may be, in bytes.
pub(super) const MOST_WORK: usize = 1_024;
pub(super) const LONGEST_WORK: usize = 256;

/// A future of a carrier.
pub type Borne<'a, T> = Pin<Box<dyn Future<Output = Result<T, CarrierError>> + Send + 'a>>;

/// A way to a group: whoever joins by it finds the others.
///
/// [`Group`](super::Group) is the only one who calls it. Implement it to carry a group by something else; both are safe to use as trait
/// objects. What is owed:
///
/// - A [`Link`] is a lease. When its process dies, or cannot be reached for longer than the lease lasts, the member is struck out of the
///   book and its slot is free, without anybody's help.
/// - A slot is lent only to whom [`Book::next`](super::Book::next) names, by a state of the book in which nobody else has been lent one meanwhile.
/// - Tickets order those that wait as they asked, by a clock or counter that all of the group share.
pub trait Carrier: Send + Sync + fmt::Debug {
    /// Joins the group. The claim says what the member had before an earlier link of it ended.
    ///
    /// # Errors
    /// [`CarrierError`]: nobody is there, or it will not have the member.
    ///
    /// # Cancel safety
    /// Dropped, the member has not joined, or is struck out again by its lease.
    fn join<'a>(&'a self, who: &'a Identity, claim: Claim) -> Borne<'a, Box<dyn Link>>;

    /// How long the first pause before another try to join is, and how long the last: each is twice the one before.
    fn pauses(&self) -> (Duration, Duration) {
        (Duration::from_millis(50), Duration::from_millis(500))
    }
}

/// One member's lease on its place in the group. Dropped, it ends, at once or when the lease runs out.
pub trait Link: Send {
    /// Says something to the group.
    ///
    /// # Errors
    /// [`CarrierError`]: the link is over.
    ///
    /// # Cancel safety
    /// Not cancel safe: a link whose `say` was dropped is to be dropped too.
    fn say(&mut self, word: Word) -> Borne<'_, ()>;

    /// Waits for what the group says, and keeps the lease alive meanwhile. It is polled whenever nothing is said.
    ///
    /// # Errors
    /// [`CarrierError`]: the link is over.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not returned is returned by the next call.
    fn hear(&mut self) -> Borne<'_, Heard>;

    /// Ends the lease: the member is struck out, and its slot is free, when this has resolved.
    ///
    /// # Errors
    /// [`CarrierError`]: the lease runs out by itself.
    ///
    /// # Cancel safety
    /// Dropped, the lease runs out by itself.
    fn leave(self: Box<Self>) -> Borne<'static, ()>;
}

/// What a member says it is about when it joins (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It serves.
    Serving,
    /// It waited, with this ticket.
    Waiting {
        /// As it was told.
        ticket: u64,
        /// The wish that it waited for.
        wish: u64,
    },
    /// It was lent a slot and is leaving.
    Holding,
    /// It is leaving without one.
    Alone,
}

/// What a member says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Word {
    /// It wants a slot. Said once more, it keeps its place.
    Ask {
        /// Counts its wishes: a grant names the one that it is for, since it may cross with the wish taken back.
        wish: u64,
    },
    /// It wants none any longer, or gives back the one that it has; it serves.
    GiveBack,
    /// It leaves without a slot.
    Alone,
    /// It wants to hand over this too; what was taken over already is said again. At most [`PUBLISHED_AT_ONCE`] in a word.
    Publish {
        /// The names.
        work: Vec<String>,
    },
    /// It hands over nothing more: what nobody has taken is no longer to be had. Answered by [`Heard::Withdrawn`].
    Withdraw,
    /// It takes this work over from a member that leaves.
    Take {
        /// Who leaves.
        from: MemberId,
        /// What is taken over.
        work: String,
    },
}

/// What a member hears.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// It waits.
    Waiting {
        /// The wish.
        wish: u64,
        /// Its place in the order.
        ticket: u64,
        /// How many asked before it that it has to wait for.
        ahead: usize,
    },
    /// It was lent a slot.
    Granted {
        /// For this wish.
        wish: u64,
    },
    /// Another member wants to hand this over.
    Offered {
        /// Who leaves.
        from: MemberId,
        /// What it hands over.
        work: String,
    },
    /// What this member published was taken over.
    Taken {
        /// What.
        work: String,
        /// By whom.
        by: MemberId,
    },
    /// Nothing of what this member published can be taken over any longer, and it has heard of all that was.
    Withdrawn,
    /// What came of a [`Word::Take`].
    Took {
        /// Who leaves.
        from: MemberId,
        /// What was to be taken over.
        work: String,
        /// Who has it.
        whose: Whose,
    },
}

/// Whose work it is that a member wanted to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// That member's.
    Yours,
    /// Somebody else was earlier, or it is not offered any longer.
    Not,
}

/// Why a carrier did not do it: one sentence that says what failed.
#[derive(Debug)]
pub struct CarrierError {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CarrierError {
    /// An error with this sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            source: None,
        }
    }

    /// The same, because of another error.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for CarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for CarrierError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // Its words are part of ours; what is below it is not.
        self.source.as_ref().and_then(|source| source.source())
    }
}
