//! What a program holds of a group: the member, and the slot that it was lent. The work that it hands over is in `work`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::driver::Driver;
use super::state::{Aim, Contact, State};
use super::{Carrier, Identity};

/// A member of a group whose members must not all leave at once.
///
/// A cheap handle on a task that keeps the member in the group; when the last handle, [`Slot`] and [`Offer`](super::Offer) is dropped, the member leaves the group.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use lameduck::group::{Group, Identity, Turn, UnixCarrier};
///
/// # async fn leave() -> Result<(), Box<dyn std::error::Error>> {
/// let group = Group::join(UnixCarrier::new("/run/shop/slots.sock"), Identity::new("shop-1")?);
/// // Told to stop, with 20 s in which it can wait for the others.
/// match group.turn(Duration::from_secs(20)).await {
///     Turn::Granted(slot) => {
///         // Drain here. At the very end:
///         slot.give_back().await;
///     }
///     late => println!("leaves without a slot: {late}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "dropped, the member leaves the group"]
pub struct Group {
    pub(super) member: Arc<Member>,
}

/// The task's counterpart: dropped, the task ends.
pub(super) struct Member {
    pub(super) state: Arc<watch::Sender<State>>,
    who: Identity,
    /// One hand-over at a time.
    pub(super) handing: Mutex<()>,
    /// How many want the slot or have it.
    wanted: std::sync::Mutex<usize>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.state.send_modify(|state| state.leaves = true);
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("who", &self.member.who)
            .finish_non_exhaustive()
    }
}

/// What came of the wish to leave.
#[derive(Debug)]
#[must_use = "a slot that is dropped is given back"]
pub enum Turn {
    /// It may leave now.
    Granted(Slot),
    /// The time is over, and others are still before it: it leaves without a slot, and the group knows.
    RanOut {
        /// How many had asked before it that it had to wait for, if the group has said.
        ahead: Option<usize>,
    },
    /// The time is over, and the group could not be asked: it leaves alone.
    Alone {
        /// What stands between it and the group.
        why: String,
    },
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(_) => f.write_str("the group lent a slot"),
            Self::RanOut { ahead: Some(ahead) } => {
                write!(
                    f,
                    "the group lent no slot in time, with {ahead} that asked before"
                )
            }
            Self::RanOut { ahead: None } => f.write_str("the group lent no slot in time"),
            Self::Alone { why } => write!(f, "the group could not be asked: {why}"),
        }
    }
}

impl Group {
    /// Joins a group, and stays in it: when the link is lost, it is made again, with pauses that grow. It does not wait for the first one.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn join(carrier: impl Carrier + 'static, who: Identity) -> Self {
        Self::join_by(Arc::new(carrier), who)
    }

    /// As [`join`](Self::join), by a carrier that is chosen while the program runs.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn join_by(carrier: Arc<dyn Carrier>, who: Identity) -> Self {
        let state = Arc::new(watch::Sender::new(State::default()));
        let driver = Driver {
            carrier,
            who: who.clone(),
            state: Arc::clone(&state),
        };
        tokio::spawn(driver.run());
        Self {
            member: Arc::new(Member {
                state,
                who,
                handing: Mutex::new(()),
                wanted: std::sync::Mutex::new(0),
            }),
        }
    }

    /// Its name and zone.
    #[must_use]
    pub fn who(&self) -> &Identity {
        &self.member.who
    }

    /// Waits until the member is in the group.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn joined(&self) {
        let mut states = self.member.state.subscribe();
        // The sender lives as long as `self`.
        let _ = states
            .wait_for(|state| state.contact == Contact::Linked)
            .await;
    }

    /// Waits until the member is cut off from its group; says by what.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn lost(&self) -> String {
        let mut states = self.member.state.subscribe();
        // The sender lives as long as `self`.
        let _ = states
            .wait_for(|state| state.contact != Contact::Linked)
            .await;
        self.cut_off().unwrap_or_default()
    }

    /// Waits until the group has said how many that asked before have to go first. It stays pending while no slot is wanted.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn waiting(&self) -> usize {
        let mut states = self.member.state.subscribe();
        // The sender lives as long as `self`.
        let placed = states.wait_for(|state| state.place.is_some()).await;
        placed
            .ok()
            .and_then(|state| state.place)
            .map_or(0, |(_, ahead)| ahead)
    }

    /// What stands between the member and its group, at present; `None` if nothing does.
    #[must_use]
    pub fn cut_off(&self) -> Option<String> {
        match &self.member.state.borrow().contact {
            Contact::Linked => None,
            Contact::CutOff { why } => Some(why.clone()),
        }
    }

    /// Asks for a slot, and waits in order, but not longer than this: then the member leaves without one, never late.
    ///
    /// While the group cannot be reached it is tried again, and the wish keeps its place where the carrier can keep it.
    /// Two calls at a time share one slot, which goes back when both have given it back. When the time of one is over, the other waits on, and
    /// the member leaves without a slot when the time of the last is.
    ///
    /// # Cancel safety
    /// Dropping it takes the wish back: others move up, and a later call waits behind them.
    pub async fn turn(&self, at_most: Duration) -> Turn {
        let by = Instant::now() + at_most;
        let mut slot = Slot::wish(&self.member);
        let mut states = self.member.state.subscribe();
        let lent = timeout_at(by, states.wait_for(|state| state.has_slot)).await;
        if matches!(lent, Ok(Ok(_))) {
            return Turn::Granted(slot);
        }
        match slot.unlent() {
            Some(late) => late,
            // It came this very moment.
            None => Turn::Granted(slot),
        }
    }

    /// The member leaves without a slot, and without having asked for one: it counts as unavailable.
    pub fn leaves_alone(&self) {
        self.member
            .state
            .send_modify(|state| state.aim = Aim::Alone);
    }

    /// The member serves after all: it was told to leave without a slot, and does not.
    pub fn serves(&self) {
        self.member.state.send_modify(State::serve);
        *self.member.wanted() = 0;
    }

    /// Leaves the group, with its slot; waits a second at most for the group to know.
    ///
    /// # Cancel safety
    /// Dropped, the member leaves all the same.
    pub async fn leave(self) {
        let mut states = self.member.state.subscribe();
        self.member.state.send_modify(|state| state.leaves = true);
        // By then the lease ends by itself.
        let _ = timeout(Duration::from_secs(1), states.wait_for(|state| state.over)).await;
    }
}

impl Member {
    fn wanted(&self) -> std::sync::MutexGuard<'_, usize> {
        self.wanted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    /// Why there is no slot.
    fn unlent(&self) -> Turn {
        match &self.contact {
            Contact::Linked => Turn::RanOut {
                ahead: self.place.map(|(_, ahead)| ahead),
            },
            Contact::CutOff { why } => Turn::Alone { why: why.clone() },
        }
    }
}

/// A slot that the group has lent; dropped, it goes back.
#[must_use = "dropped, it is given back"]
pub struct Slot {
    member: Arc<Member>,
    kept: bool,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("who", &self.member.who)
            .finish_non_exhaustive()
    }
}

impl Slot {
    fn wish(member: &Arc<Member>) -> Self {
        *member.wanted() += 1;
        member.state.send_modify(State::wish);
        Self {
            member: Arc::clone(member),
            kept: false,
        }
    }

    /// The time for it is over: why there is none, if there is none. The member leaves then, and does not go on serving, unless another call waits on.
    fn unlent(&mut self) -> Option<Turn> {
        let mut wanted = self.member.wanted();
        let is_last = *wanted <= 1;
        let mut late = None;
        self.member.state.send_modify(|state| {
            if !state.has_slot {
                late = Some(state.unlent());
                if is_last {
                    state.aim = Aim::Alone;
                }
            }
        });
        if late.is_some() {
            *wanted = wanted.saturating_sub(1);
            self.kept = true;
        }
        late
    }

    /// Does not give it back.
    fn keep(mut self) {
        self.kept = true;
        let mut wanted = self.member.wanted();
        *wanted = wanted.saturating_sub(1);
    }

    /// Gives it back by leaving the group: for the very end of a process. Waits a second at most for the group to know; after that, the lease ends by itself.
    ///
    /// # Cancel safety
    /// Dropped, it is given back all the same.
    pub async fn give_back(self) {
        let group = Group {
            member: Arc::clone(&self.member),
        };
        // Not as if it served again: where a number of members is expected, it is missing from here on.
        self.keep();
        group.leave().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let mut wanted = self.member.wanted();
        *wanted = wanted.saturating_sub(1);
        if *wanted == 0 {
            self.member.state.send_modify(State::serve);
        }
    }
}
