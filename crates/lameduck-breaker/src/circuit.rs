//! The pure machine: one word that says how a circuit stands, and what every event makes of it. Time is an argument.
//!
//! Owns every decision. It reads no clock and shares nothing: `breaker` swaps the word, `window` counts.
//!
//! A word is `(kind, at)` and a few counts. `at` never goes back from one stay in a kind to the next: `HalfOpen` begins when `Open` is over, which
//! is at least a millisecond after it began, and `Closed` a millisecond after its probes. Within a stay it moves only in `HalfOpen`, forward, and only
//! while no probe is under way. So kind and `at` name whom a call belongs to for good, and whatever comes back from an earlier stay is known to be
//! stale. No counter can wrap to make it look fresh: `at` has 40 bits, some 34 years from the breaker's first reading of its clock.

use crate::rules::{Counts, Rules};

/// How a circuit stands, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Closed = 0,
    Open = 1,
    HalfOpen = 2,
}

/// What an operator has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Force {
    None = 0,
    Open = 1,
    Closed = 2,
}

/// The whole state of a breaker, but for its counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Circuit {
    pub(crate) kind: Kind,
    pub(crate) force: Force,
    /// How many rounds of probes have failed in a row.
    pub(crate) streak: u8,
    /// Probes of this round that are under way, that succeeded, that failed.
    pub(crate) out: u8,
    pub(crate) won: u8,
    pub(crate) lost: u8,
    /// `Closed`: since when. `Open`: until when. `HalfOpen`: since when a probe of this round can be under way; after now, when the next may be. In milliseconds.
    pub(crate) at: u64,
}

const COUNT: u64 = 0b1_1111;
/// The most probes of a round, and the longest streak that is told from the next.
pub(crate) const MOST_PROBES: u8 = 31;
const FORCE_AT: u32 = 2;
const STREAK_AT: u32 = 4;
const OUT_AT: u32 = 9;
const WON_AT: u32 = 14;
const LOST_AT: u32 = 19;
const TIME_AT: u32 = 24;
/// The longest pause within a round, in milliseconds.
const A_WHILE: u64 = 1_000;
/// The latest time that fits.
pub(crate) const LAST: u64 = u64::MAX >> TIME_AT;

impl Circuit {
    pub(crate) const NEW: Self = Self {
        kind: Kind::Closed,
        force: Force::None,
        streak: 0,
        out: 0,
        won: 0,
        lost: 0,
        at: 0,
    };

    /// A circuit that is closed since a time.
    pub(crate) fn closed_since(now: u64) -> Self {
        Self {
            at: now.min(LAST),
            ..Self::NEW
        }
    }

    pub(crate) const fn pack(self) -> u64 {
        self.kind as u64
            | (self.force as u64) << FORCE_AT
            | (self.streak as u64) << STREAK_AT
            | (self.out as u64) << OUT_AT
            | (self.won as u64) << WON_AT
            | (self.lost as u64) << LOST_AT
            | self.at << TIME_AT
    }

    pub(crate) const fn unpack(word: u64) -> Self {
        const fn count(word: u64, at: u32) -> u8 {
            (word >> at & COUNT) as u8
        }
        Self {
            kind: match word & 0b11 {
                0 => Kind::Closed,
                1 => Kind::Open,
                _ => Kind::HalfOpen,
            },
            force: match word >> FORCE_AT & 0b11 {
                0 => Force::None,
                1 => Force::Open,
                _ => Force::Closed,
            },
            streak: count(word, STREAK_AT),
            out: count(word, OUT_AT),
            won: count(word, WON_AT),
            lost: count(word, LOST_AT),
            at: word >> TIME_AT,
        }
    }

    /// Since when it is closed, if it is and nobody has forced it: what is asked before every call.
    #[inline]
    pub(crate) const fn plainly_closed(word: u64) -> Option<u64> {
        if word & 0b1111 == 0 {
            Some(word >> TIME_AT)
        } else {
            None
        }
    }
}

/// How a call was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ticket {
    /// By a circuit that is closed since then.
    Call { at: u64 },
    /// As a probe of the round that began then.
    Probe { at: u64 },
    /// By an operator, whatever the circuit thinks.
    Forced,
}

/// Why a circuit changed by itself, or was made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    FailureRate(Counts),
    SlowRate(Counts),
    InARow(u64),
    TimeOver,
    ProbesFailed,
    ProbesMissing,
    ProbesSucceeded,
}

/// What is to be done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Admission {
    Admit(Ticket),
    /// Not now; perhaps in so many milliseconds.
    Refuse(u64),
}

/// An answer that holds once the circuit has been swapped for this one; at once where it stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step<T> {
    pub(crate) then: T,
    pub(crate) to: Option<Circuit>,
    /// Why the kind is another one, if it is.
    pub(crate) turn: Option<Turn>,
}

impl<T> Step<T> {
    const fn stay(then: T) -> Self {
        Self {
            then,
            to: None,
            turn: None,
        }
    }
}

impl Circuit {
    /// Asks to call. `roll` is chance, for the jitter; asked for only when a circuit opens.
    pub(crate) fn admit(
        self,
        now: u64,
        rules: &Rules,
        roll: impl FnOnce() -> u32,
    ) -> Step<Admission> {
        match (self.force, self.kind) {
            (Force::Open, _) => Step::stay(Admission::Refuse(rules.open_for)),
            (Force::Closed, _) => Step::stay(Admission::Admit(Ticket::Forced)),
            (Force::None, Kind::Closed) => {
                Step::stay(Admission::Admit(Ticket::Call { at: self.at }))
            }
            (Force::None, Kind::Open) if now < self.at => {
                Step::stay(Admission::Refuse(self.at - now))
            }
            (Force::None, Kind::Open) => {
                let at = now.min(LAST);
                let probing = Self {
                    kind: Kind::HalfOpen,
                    out: 1,
                    won: 0,
                    lost: 0,
                    at,
                    ..self
                };
                Step {
                    then: Admission::Admit(Ticket::Probe { at }),
                    to: Some(probing),
                    turn: Some(Turn::TimeOver),
                }
            }
            (Force::None, Kind::HalfOpen) => self.admit_probe(now, rules, roll),
        }
    }

    fn admit_probe(self, now: u64, rules: &Rules, roll: impl FnOnce() -> u32) -> Step<Admission> {
        if self.out == 0 {
            // The round would have ended if no probe of it were left. Nobody is under way who could be missing, or who names the round by its time:
            // that begins anew, however long nobody asked.
            if now < self.at {
                // The last one was excused: not at once again.
                return Step::stay(Admission::Refuse(self.at - now));
            }
            let at = now.min(LAST);
            return Step {
                then: Admission::Admit(Ticket::Probe { at }),
                to: Some(Self { out: 1, at, ..self }),
                turn: None,
            };
        }
        if self.out + self.won + self.lost < rules.probes {
            let one_more = Self {
                out: self.out + 1,
                ..self
            };
            return Step {
                then: Admission::Admit(Ticket::Probe { at: self.at }),
                to: Some(one_more),
                turn: None,
            };
        }
        let given_up_at = self.at.saturating_add(rules.probe_within);
        if now < given_up_at {
            // Whoever probes is likely to be back long before it is given up.
            let soon = rules.open_for.min(A_WHILE);
            return Step::stay(Admission::Refuse(soon.min(given_up_at - now)));
        }
        let open = self.open(now, self.streak.saturating_add(1), rules, roll);
        Step {
            then: Admission::Refuse(open.at.saturating_sub(now).max(1)),
            to: Some(open),
            turn: Some(Turn::ProbesMissing),
        }
    }

    /// A probe came back. `None`: its round is over, it changes nothing.
    pub(crate) fn probed(
        self,
        began: u64,
        result: Probed,
        now: u64,
        rules: &Rules,
        roll: impl FnOnce() -> u32,
    ) -> Option<Step<()>> {
        if self.kind != Kind::HalfOpen || self.at != began || self.out == 0 {
            return None;
        }
        let mut to = Self {
            out: self.out - 1,
            ..self
        };
        let mut turn = None;
        match result {
            Probed::Returned => {}
            Probed::Excused => {
                if to.out == 0 {
                    // What was excused may have been its own failure all the same. One after the other, without a pause, would be no protection.
                    let pause = rules.open_for.min(A_WHILE);
                    to.at = now.max(self.at).saturating_add(pause).min(LAST);
                }
            }
            Probed::Won => {
                to.won += 1;
                if to.won >= rules.probes_to_close {
                    turn = Some(Turn::ProbesSucceeded);
                    to = Self {
                        force: self.force,
                        // Later than whatever a call of an earlier stay can have been counted at.
                        ..Self::closed_since(now.max(self.at).saturating_add(1))
                    };
                }
            }
            Probed::Lost => {
                to.lost += 1;
                if to.lost > rules.probes - rules.probes_to_close {
                    turn = Some(Turn::ProbesFailed);
                    to = self.open(now, self.streak.saturating_add(1), rules, roll);
                }
            }
        }
        Some(Step {
            then: (),
            to: Some(to),
            turn,
        })
    }

    /// A call that was let in by the circuit closed since `at` has failed, or was slow: is it enough?
    pub(crate) fn judge(
        self,
        at: u64,
        counts: Counts,
        now: u64,
        rules: &Rules,
        roll: impl FnOnce() -> u32,
    ) -> Option<(Self, Turn)> {
        if self.kind != Kind::Closed || self.at != at || self.force != Force::None {
            return None;
        }
        let turn = rules.verdict(counts)?;
        Some((self.open(now, self.streak, rules, roll), turn))
    }

    /// An operator's word.
    pub(crate) const fn forced(self, force: Force) -> Self {
        Self { force, ..self }
    }

    fn open(self, now: u64, streak: u8, rules: &Rules, roll: impl FnOnce() -> u32) -> Self {
        let streak = streak.min(MOST_PROBES);
        let until = now
            .max(self.at)
            .saturating_add(rules.open_after(streak, roll()).max(1));
        Self {
            kind: Kind::Open,
            force: self.force,
            streak,
            out: 0,
            won: 0,
            lost: 0,
            at: until.min(LAST),
        }
    }
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Probed {
    Won,
    Lost,
    /// It says nothing: cancelled, or ignored.
    Returned,
    /// It failed, and somebody says that this process may have broken it.
    Excused,
}

#[cfg(all(test, not(loom)))]
mod tests;
