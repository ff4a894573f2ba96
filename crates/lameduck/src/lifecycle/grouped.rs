//! A lifecycle that leaves when its group lends it a slot: the turns of `turns`, given by a `group`.

use std::{fmt, sync::Arc, time::Duration};

use super::{Epilogue, Lifecycle, Turns, Wish};
use crate::{
    driver::Speaker,
    group::{Group, Slot, Turn},
    machine::WishEnd,
};

impl Lifecycle {
    /// Lets requests to terminate wait for a slot of this group: in order, and not longer than the deadline allows. The slot goes back when the
    /// outcome is known, by leaving the group; the end waits for that, a second at most and not past the deadline. A process that is cut or killed gives it back by its lease.
    ///
    /// `needs` is how long its own drain takes, as for [`turns`](Self::turns). What was lent, or why it leaves without, stands in the report. A
    /// service that leaves without asking, since it has failed, counts as unavailable too.
    ///
    /// # Phases
    /// Requests wait in `Running`. A request that is [taken back](Self::cancel) gives the slot back.
    ///
    /// # Errors
    /// [`TurnsTaken`]: somebody gives turns already.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Examples
    /// ```no_run
    /// use lameduck::{Lifecycle, group::{Group, Identity, UnixCarrier}};
    ///
    /// # fn join(life: &Lifecycle) -> Result<(), Box<dyn std::error::Error>> {
    /// let group = Group::join(UnixCarrier::new("/run/shop/slots.sock"), Identity::new("shop-1")?);
    /// life.leave_in_turn(group, None)?;
    /// # Ok(()) }
    /// ```
    pub fn leave_in_turn(
        &self,
        group: Group,
        needs: impl Into<Option<Duration>>,
    ) -> Result<(), TurnsTaken> {
        let mut turns = self.turns(needs.into()).ok_or(TurnsTaken(()))?;
        let life = self.clone();
        let epilogue = Epilogue::new(Arc::clone(&self.shared), Speaker::MEMBER);
        tokio::spawn(async move {
            let slot = life.leave_by(&group, &mut turns).await;
            // Where it was cut, or its deadline has passed, nobody is heard out: then what is left is that it is over.
            tokio::select! {
                _ = epilogue.begun() => {}
                _ = life.outcome() => {}
            }
            match slot {
                Some(slot) => slot.give_back().await,
                None => group.leave().await,
            }
            drop(epilogue);
        });
        Ok(())
    }

    /// Until the service leaves; the slot, if one was lent.
    async fn leave_by(&self, group: &Group, turns: &mut Turns) -> Option<Slot> {
        let leaving = self.drain();
        loop {
            let wish = tokio::select! {
                biased;
                wish = turns.wanted() => wish,
                // It has failed, or never ran: nobody asks then.
                () = leaving.steering() => {
                    group.leaves_alone();
                    return None;
                }
            };
            let slot = self.ask(group, &wish).await;
            match wish.over().await {
                WishEnd::Cancelled => group.serves(),
                _ => return slot,
            }
        }
    }

    async fn ask(&self, group: &Group, wish: &Wish) -> Option<Slot> {
        let turn = tokio::select! {
            turn = group.turn(wish.left()) => turn,
            end = wish.over() => {
                // In the same moment its own time was over, or it was cut.
                if end != WishEnd::Cancelled {
                    group.leaves_alone();
                    self.note("it leaves without a slot of its group");
                }
                return None;
            }
        };
        let why = turn.to_string();
        match turn {
            Turn::Granted(slot) => {
                wish.granted(why);
                Some(slot)
            }
            late => {
                drop(late);
                wish.granted(why.clone());
                // It may have begun without.
                self.note(why);
                None
            }
        }
    }
}

/// Somebody gives turns to leave already: a lifecycle asks one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnsTaken(());

impl fmt::Display for TurnsTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("somebody gives turns to leave already; a lifecycle asks one")
    }
}

impl std::error::Error for TurnsTaken {}
