//! What a participant's budget becomes by what its last shutdowns needed.
//!
//! Owns the arithmetic, in whole numbers: the same needs give the same budget on every machine. Not here: what is remembered of a shutdown
//! and where (the history's edge), and what a budget means (the roster). Why it is these two rules, and these figures:
//! `docs/decisions/0014-budgets-learn-by-two-rules.md`.

use core::time::Duration;

use crate::vocab::{Learned, LearnedBy};

/// How many needs of a participant are remembered, and so count for [`learn`]; of more the last ones do.
pub const NEEDS: usize = 50;

/// Of so many last shutdowns it counts in how many the budget was too short.
const COUNTED: usize = 3;

/// No budget becomes longer than this by being learned: the seed's bound on what a participant that hangs can cost.
const CAP: Duration = Duration::from_secs(30);

/// One of so many shutdowns may need more than what is learned from needs: it is their 95th percentile.
const ONE_OF: u128 = 20;

/// How long a participant needed in one shutdown, from when it was told to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// It was done after this long.
    Met(Duration),
    /// Its budget of this length ended first: it needs more.
    Overdue(Duration),
    /// After this long something else ended first, such as the drain, or the participant failed: it needs more, and its budget is not to
    /// blame.
    Open(Duration),
}

impl Need {
    /// What it needed, or what it had when that was not enough.
    #[must_use]
    pub const fn at_least(self) -> Duration {
        match self {
            Self::Met(took) | Self::Overdue(took) | Self::Open(took) => took,
        }
    }
}

/// The budget of a participant with this base and these needs, the oldest first, in a plan whose drain ends `drain_end` after the request.
///
/// The longest of three, of which the last two end at 30 s and at the drain's end:
///
/// - the base: learning takes nothing away;
/// - base × 1.5ⁿ, with n of the last three shutdowns in which a budget of at least this base was too short;
/// - the 95th percentile of the last fifty needs (Kaplan and Meier's estimator, so that needs of which only the least is known count as
///   that), and a quarter of it beside; where that percentile is beyond all that was seen, the longest time that was not enough.
///
/// # Examples
/// ```
/// use lameduck::{LearnedBy, machine::{Need, learn}};
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let (base, drain_end) = (ms(5_000), ms(21_250));
/// let first = learn(base, &[Need::Overdue(base)], drain_end);
/// assert_eq!((first.budget, first.by), (ms(7_500), LearnedBy::Overdue));
/// // It was done in 7 s: that is remembered when the overdue one is not counted any longer.
/// let needs = [Need::Overdue(base), Need::Met(ms(7_000)), Need::Met(ms(7_000)), Need::Met(ms(7_000))];
/// let later = learn(base, &needs, drain_end);
/// assert_eq!((later.budget, later.by), (ms(8_750), LearnedBy::Needs));
/// ```
#[must_use]
pub fn learn(base: Duration, needs: &[Need], drain_end: Duration) -> Learned {
    let needs = last(needs, NEEDS);
    // A budget below the present base says nothing about that: somebody has raised it since. Histories hold whole microseconds.
    let too_short =
        |need: &&Need| matches!(need, Need::Overdue(had) if had.as_micros() >= base.as_micros());
    let overdue = (last(needs, COUNTED).iter())
        .filter(too_short)
        .fold(0, |count, _| count + 1);
    let most = CAP.min(drain_end);
    let backed_off = backed_off(base, overdue).min(most);
    let needed = needed(needs).min(most);
    let (budget, by) = if base >= backed_off.max(needed) {
        (base, LearnedBy::Base)
    } else if backed_off >= needed {
        (backed_off, LearnedBy::Overdue)
    } else {
        (needed, LearnedBy::Needs)
    };
    Learned::new(base, budget, by, overdue)
}

fn last(needs: &[Need], count: usize) -> &[Need] {
    &needs[needs.len().saturating_sub(count)..]
}

/// `base` × 1.5ⁿ.
fn backed_off(base: Duration, n: u32) -> Duration {
    (0..n).fold(base, |budget, _| budget.saturating_add(budget / 2))
}

/// What the needs ask for; zero where there are none.
fn needed(needs: &[Need]) -> Duration {
    match percentile(needs) {
        Some(percentile) => percentile.saturating_add(percentile / 4),
        // Not even that was enough, and nobody knows what is: no guess is put on top.
        None => needs
            .iter()
            .map(|need| need.at_least())
            .max()
            .unwrap_or_default(),
    }
}

/// The least time within which all but one of [`ONE_OF`] needs are met; `None` where too few were met for that.
fn percentile(needs: &[Need]) -> Option<Duration> {
    /// What "all" is, in the fractions below: a power of two that leaves room for a product with a count of needs.
    const ALL: u128 = 1 << 96;
    let met = |need: &Need| matches!(need, Need::Met(_));
    let mut order: Vec<&Need> = needs.iter().collect();
    // Where both took as long, the one that was met was met just before the other was given up.
    order.sort_by_key(|need| (need.at_least(), !met(need)));
    // The share that needs more than the time looked at. Who was given up leaves those that still count, without being met.
    let mut more = ALL;
    for (index, need) in order.iter().enumerate() {
        if met(need) {
            let left = (order.len() - index) as u128;
            more = more * (left - 1) / left;
            if more * ONE_OF <= ALL {
                return Some(need.at_least());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAR: Duration = Duration::from_secs(3_600);

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn budget(base: Duration, needs: &[Need]) -> (Duration, LearnedBy) {
        let learned = learn(base, needs, FAR);
        (learned.budget, learned.by)
    }

    #[test]
    fn the_seeds_table_is_its_formula() {
        let rows = [(0, 5_000_000), (2, 11_250_000), (4, 25_312_500)];
        for (n, micros) in rows {
            assert_eq!(backed_off(ms(5_000), n), Duration::from_micros(micros));
        }
        assert_eq!(backed_off(Duration::MAX, 200), Duration::MAX);
    }

    #[test]
    fn three_shutdowns_are_counted_so_the_tables_last_row_is_not_reached_by_counting() {
        let mut needs = Vec::new();
        let mut used = Vec::new();
        for _ in 0..6 {
            let (budget, by) = budget(ms(5_000), &needs);
            used.push(budget);
            needs.push(Need::Overdue(budget));
            assert_eq!(by == LearnedBy::Base, needs.len() == 1);
        }
        assert_eq!(
            used,
            [5_000, 7_500, 11_250, 16_875, 16_875, 16_875].map(ms),
            "what hangs costs 3.4 bases, and no more"
        );
    }

    #[test]
    fn a_need_that_was_met_is_kept_when_overdue_ones_are_forgotten() {
        let base = ms(5_000);
        for need in [6_000, 7_400, 11_000, 16_800].map(ms) {
            let mut needs = Vec::new();
            let mut too_short = 0;
            for shutdown in 0..200 {
                let budget = learn(base, &needs, FAR).budget;
                if budget < need {
                    too_short += 1;
                    assert!(shutdown < 3, "{need:?} was not enough again: {needs:?}");
                    needs.push(Need::Overdue(budget));
                } else {
                    needs.push(Need::Met(need));
                }
            }
            assert!((1..=3).contains(&too_short), "{need:?}: {too_short}");
        }
    }

    #[test]
    fn one_of_twenty_may_need_more() {
        let base = ms(1_000);
        let mut needs = vec![Need::Met(ms(2_000)); 48];
        needs.extend([Need::Met(ms(20_000)); 2]);
        assert_eq!(budget(base, &needs), (ms(2_500), LearnedBy::Needs));
        needs[0] = Need::Met(ms(20_000));
        assert_eq!(budget(base, &needs), (ms(25_000), LearnedBy::Needs));
        // Of a few it is the longest.
        assert_eq!(budget(base, &needs[47..]).0, ms(25_000));
    }

    #[test]
    fn what_was_given_up_counts_as_the_least_that_it_needs() {
        let base = ms(1_000);
        let (met, given_up) = (Need::Met(ms(2_000)), Need::Open(ms(8_000)));
        // One of eleven: the percentile lies beyond all that is known, and 8 s were not enough.
        let mut needs = vec![met; 10];
        needs.push(given_up);
        assert_eq!(budget(base, &needs), (ms(8_000), LearnedBy::Needs));
        // One of twenty-one may.
        needs.extend([met; 10]);
        assert_eq!(budget(base, &needs), (ms(2_500), LearnedBy::Needs));
        // Given up early it says little, and takes nothing from what the others say.
        let early = [&needs[11..], &[Need::Open(ms(1)); 5]].concat();
        assert_eq!(budget(base, &early), (ms(2_500), LearnedBy::Needs));
        // Dropped, it would pull the percentile down to those that were quick: this is what is not done.
        let slow = [
            Need::Met(ms(2_000)),
            Need::Open(ms(3_000)),
            Need::Met(ms(4_000)),
        ];
        assert_eq!(percentile(&slow), Some(ms(4_000)));
        let same_time = [Need::Open(ms(4_000)), Need::Met(ms(4_000))];
        assert_eq!(percentile(&same_time), None);
    }

    #[test]
    fn only_a_budget_counts_as_too_short_and_only_one_of_todays_base() {
        let open = [Need::Open(ms(900)); 3];
        assert_eq!(learn(ms(1_000), &open, FAR).overdue, 0);
        // The base was 1 s, and is 3 s now: nobody knows whether that is too short.
        let raised = [Need::Overdue(ms(1_000)), Need::Overdue(ms(1_500))];
        assert_eq!(budget(ms(3_000), &raised), (ms(3_000), LearnedBy::Base));
        assert_eq!(learn(ms(1_000), &raised, FAR).overdue, 2);
    }

    #[test]
    fn the_plan_and_the_cap_bound_what_is_learned_and_nothing_bounds_the_base() {
        let overdue = |base| vec![Need::Overdue(base); 3];
        let learned = |base, drain_end| learn(base, &overdue(base), drain_end).budget;
        assert_eq!(learned(ms(5_000), ms(8_500)), ms(8_500));
        assert_eq!(learned(ms(20_000), FAR), ms(30_000));
        assert_eq!(learned(ms(45_000), FAR), ms(45_000));
        assert_eq!(learned(ms(9_000), ms(8_500)), ms(9_000));
        assert_eq!(learned(Duration::ZERO, FAR), Duration::ZERO);
    }

    fn any_need() -> impl Strategy<Value = Need> {
        (0..3, 0_u64..60_000).prop_map(|(kind, took)| match kind {
            0 => Need::Met(ms(took)),
            1 => Need::Overdue(ms(took)),
            _ => Need::Open(ms(took)),
        })
    }

    proptest! {
        #[test]
        fn whatever_was_needed_the_budget_lies_between_base_and_bounds(
            needs in prop::collection::vec(any_need(), 0..80),
            base in 0_u64..60_000,
            drain_end in 0_u64..60_000,
        ) {
            let learned = learn(ms(base), &needs, ms(drain_end));
            prop_assert!(learned.budget >= ms(base));
            prop_assert!(learned.budget <= ms(base).max(CAP.min(ms(drain_end))));
            prop_assert_eq!(learned.by == LearnedBy::Base, learned.budget == ms(base));
            prop_assert!(learned.overdue <= 3);
            // What is older than fifty shutdowns counts for nothing.
            let kept = last(&needs, NEEDS);
            prop_assert_eq!(learned, learn(ms(base), kept, ms(drain_end)));
        }

        #[test]
        fn where_all_were_met_it_is_the_nearest_rank(
            took in prop::collection::vec(0_u64..60_000, 1..=50),
        ) {
            let needs: Vec<_> = took.iter().map(|took| Need::Met(ms(*took))).collect();
            let mut order = took;
            order.sort_unstable();
            let rank = (order.len() * 19).div_ceil(20);
            prop_assert_eq!(percentile(&needs), Some(ms(order[rank - 1])));
        }

        #[test]
        fn the_percentile_does_not_depend_on_the_order(
            needs in prop::collection::vec(any_need(), 0..50),
        ) {
            let mut turned = needs.clone();
            turned.reverse();
            prop_assert_eq!(percentile(&needs), percentile(&turned));
        }
    }
}
