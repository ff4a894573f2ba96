//! What must hold of wishes and grants in every state of the small world.

use std::{collections::BTreeSet, time::Duration};

use super::world::{Node, Setting};
use crate::{
    machine::{Answer, Input, ParticipantId, roster::Standing},
    vocab::ParticipantState,
};

/// What was granted so far: to whom, for which wish, how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bargain {
    granted: Vec<(u32, Option<u32>, Duration)>,
    wishes: u8,
    gifts: u8,
    gone: u8,
}

/// What participants and operators may say beside the answers that every participant gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Talk {
    /// A wish of this number, the first time or again.
    Wish(u32, u32),
    Gift(u32),
    Refused(u32),
    Gone(u32),
    Back(u32),
}

/// One participant before an input: whether it had ended, and since when its budget runs.
pub(super) type Before = Vec<(bool, Option<Duration>)>;

/// The first wish asks for little, the second for more than any drain has.
const fn asked(wish: u32) -> Duration {
    match wish {
        1 => Duration::from_millis(300),
        _ => Duration::from_secs(60),
    }
}

pub(super) const GIFT: Duration = Duration::from_millis(200);

pub(super) fn wish(id: u32, wish: u32) -> Input {
    let answer = Answer::NeedMore {
        wish,
        by: asked(wish),
        why: String::new(),
    };
    Input::Answer(ParticipantId::new(id), answer)
}

impl Bargain {
    /// The wishes of one participant so far are those from 1 up to this number.
    fn last_wish(&self, id: u32) -> u32 {
        let of = self.granted.iter().filter(|one| one.0 == id);
        of.filter_map(|one| one.1).max().unwrap_or(0)
    }

    /// What may be said of one participant.
    pub(super) fn talks(
        &self,
        id: u32,
        standing: &Standing,
        trouble: bool,
        setting: &Setting,
    ) -> Vec<Talk> {
        let last = self.last_wish(id);
        // Wishes may be late, and come again after the end.
        let mut talks: Vec<_> = (1..=last).map(|known| Talk::Wish(id, known)).collect();
        let ended = matches!(standing, Standing::Ended(_));
        let away = matches!(standing, Standing::Away { .. });
        let asked = matches!(standing, Standing::Asked { .. });
        let more = [
            (
                asked && self.wishes < setting.most_wishes,
                Talk::Wish(id, last + 1),
            ),
            (asked && self.gifts < setting.most_gifts, Talk::Gift(id)),
            (
                !ended && trouble && setting.most_wishes > 0,
                Talk::Refused(id),
            ),
            (
                !ended && !away && self.gone < setting.most_gone,
                Talk::Gone(id),
            ),
            (away, Talk::Back(id)),
        ];
        talks.extend(more.into_iter().filter(|one| one.0).map(|one| one.1));
        talks
    }

    /// Says it.
    pub(super) fn say(&mut self, talk: Talk) -> Input {
        let why = String::from("why");
        match talk {
            Talk::Wish(id, number) => {
                self.wishes += u8::from(number > self.last_wish(id));
                wish(id, number)
            }
            Talk::Gift(id) => {
                self.gifts += 1;
                Input::Grant(ParticipantId::new(id), GIFT)
            }
            Talk::Refused(id) => Input::Answer(ParticipantId::new(id), Answer::Refused { why }),
            Talk::Gone(id) => {
                self.gone += 1;
                Input::Answer(ParticipantId::new(id), Answer::Away { why })
            }
            Talk::Back(id) => Input::Returned(ParticipantId::new(id)),
        }
    }

    /// Takes a grant, and checks that the same wish gets the same again, and no more than was asked for.
    pub(super) fn granted(
        &mut self,
        id: u32,
        wish: Option<u32>,
        by: Duration,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let most = wish.map_or(GIFT, asked);
        if by > most {
            return Err(format!("#{id} asked for {most:?} and got {by:?}"));
        }
        let said = match by {
            _ if wish.is_none() => "given",
            Duration::ZERO => "granted nothing",
            by if by < most => "granted less",
            _ => "granted all",
        };
        seen.insert(said.to_owned());
        let known = self
            .granted
            .iter()
            .find(|one| wish.is_some() && one.0 == id && one.1 == wish);
        match known {
            Some(known) if known.2 != by => Err(format!(
                "N-4: wish {wish:?} of #{id} got {:?}, then {by:?}",
                known.2
            )),
            Some(_) => Ok(()),
            None => {
                self.granted.push((id, wish, by));
                Ok(())
            }
        }
    }

    fn sum(&self, id: u32) -> Duration {
        let of = self.granted.iter().filter(|one| one.0 == id);
        of.map(|one| one.2).sum()
    }
}

impl Node {
    pub(super) fn before(&self) -> Before {
        self.ids()
            .filter_map(|id| self.machine.core.roster.find(ParticipantId::new(id)))
            .map(|entry| (entry.is_ended(), entry.closed_at))
            .collect()
    }

    /// Nobody is given up before its budget with all its grants is over, or the drain is.
    pub(super) fn keeps_its_word(
        &self,
        before: &Before,
        now: Duration,
        setting: &Setting,
    ) -> Result<(), String> {
        let Some(requested_at) = self.requested_at() else {
            return Ok(());
        };
        let drain_end = requested_at + self.plan(setting).drain_end();
        for (id, (had_ended, closed_at)) in (0..).zip(before) {
            let entry = self.machine.core.roster.find(ParticipantId::new(id));
            let is_overdue = entry.is_some_and(|entry| {
                matches!(
                    entry.standing,
                    Standing::Ended(ParticipantState::Overdue { .. })
                )
            });
            if *had_ended || !is_overdue {
                continue;
            }
            let budget = setting.shape.budget(id);
            let due = closed_at.zip(budget).map_or(drain_end, |(from, budget)| {
                (from + budget + self.bargain().sum(id)).min(drain_end)
            });
            if now < due {
                return Err(format!(
                    "N-5: #{id} was given up at {now:?}, it had time until {due:?}"
                ));
            }
        }
        Ok(())
    }
}
