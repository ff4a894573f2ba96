//! The turn of a pool as a machine: what is to be done next, by the time and the counts. It has no clock, no task and no pool.

use std::fmt;
use std::time::Duration;

use super::{Call, Counts, Lent};

/// Between the first two looks; each pause is twice the one before, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(1);

/// Between two looks at most: what comes back last is seen by then.
const LONGEST: Duration = Duration::from_millis(20);

/// A pool that is being emptied. Times count from the beginning of its turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Turn {
    ends_at: Duration,
    /// What there was at the beginning; none before lending was stopped.
    first: Option<Counts>,
    closed_once: bool,
    /// There was a look since idle ones were last told to close.
    looked: bool,
    pause: Duration,
}

/// Whether a call that closes idle ones is still at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Closing {
    Rests,
    AtWork,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    StopLending,
    CloseIdle,
    /// Look again at this time, or when a call that closes idle ones has ended.
    Look {
        at: Duration,
    },
    Over(Emptied),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Emptied {
    /// What there was at the beginning.
    pub(super) first: Counts,
    /// What is left: a leak, unless it is nothing.
    pub(super) left: Counts,
    pub(super) took: Duration,
    /// Whether a call that closes idle ones was cut short by the end.
    pub(super) closing: Closing,
    /// Some of what is lent.
    pub(super) lent: Vec<Lent>,
    /// The first call to the pool that panicked.
    pub(super) panicked: Option<Call>,
}

impl Turn {
    pub(super) const fn new(allowed: Duration) -> Self {
        Self {
            ends_at: allowed,
            first: None,
            closed_once: false,
            looked: false,
            pause: SHORTEST,
        }
    }

    /// Its time is over, whatever it was allowed.
    pub(super) fn end(&mut self, now: Duration) {
        self.ends_at = self.ends_at.min(now);
    }

    pub(super) fn next(&mut self, now: Duration, counts: Counts, closing: Closing) -> Step {
        let Some(first) = self.first else {
            self.first = Some(counts);
            return Step::StopLending;
        };
        // Before any verdict: pools also tidy up in it.
        if !self.closed_once {
            self.closed_once = true;
            return Step::CloseIdle;
        }
        // A pool may count nothing as soon as it was told to close, with its farewells still to be said.
        let is_empty = counts.is_empty() && closing == Closing::Rests;
        if is_empty || now >= self.ends_at {
            return Step::Over(Emptied {
                first,
                left: counts,
                took: now,
                closing,
                lent: Vec::new(),
                panicked: None,
            });
        }
        // What came back to a pool that keeps it. A look in between, so that one that closes nothing is not asked without a pause.
        if counts.idle() > 0 && closing == Closing::Rests && self.looked {
            self.looked = false;
            return Step::CloseIdle;
        }
        self.looked = true;
        let at = (now + self.pause).min(self.ends_at);
        self.pause = (self.pause * 2).min(LONGEST);
        Step::Look { at }
    }
}

impl Emptied {
    /// Nothing is left, and everything was done that had to be.
    pub(crate) fn is_whole(&self) -> bool {
        self.left.is_empty() && self.closing == Closing::Rests && self.panicked.is_none()
    }
}

impl fmt::Display for Emptied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(call) = self.panicked {
            write!(f, "`{call}` panicked; ")?;
            if call == Call::Counts {
                return f.write_str("what is left is not known");
            }
        }
        if self.left.is_empty() {
            self.say_none(f)?;
        } else {
            self.say_left(f)?;
        }
        // With something lent that is no news: closing may wait for it.
        if self.closing == Closing::AtWork && self.left.lent == 0 {
            f.write_str("; closing what was idle was cut short")?;
        }
        Ok(())
    }
}

impl Emptied {
    fn say_none(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, took) = (self.first, self.took.as_millis());
        let (open, lent) = (first.open.max(first.lent), first.lent);
        write!(
            f,
            "none of {open} is left, {lent} of which were still lent, after {took} ms"
        )
    }

    fn say_left(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, took) = (self.left, self.took.as_millis());
        let most = left.open.max(left.lent);
        write!(f, "{most} left after {took} ms: {} lent", left.lent)?;
        self.list(f)?;
        write!(f, ", {} neither lent nor closed", left.idle())
    }

    /// Where those went that are known: " (12.3 s ago at src/orders.rs:40, and 2 more)".
    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lent.is_empty() {
            return Ok(());
        }
        let mut before = " (";
        for lent in &self.lent {
            write!(f, "{before}{lent}")?;
            before = ", ";
        }
        match self.left.lent.saturating_sub(self.lent.len()) {
            0 => f.write_str(")"),
            more => write!(f, ", and {more} more)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Counts = Counts { open: 0, lent: 0 };
    const SECOND: Duration = Duration::from_secs(1);

    const fn counts(open: usize, lent: usize) -> Counts {
        Counts { open, lent }
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A turn that has stopped the lending and told idle ones to close.
    fn begun(first: Counts) -> Turn {
        let mut turn = Turn::new(SECOND);
        assert_eq!(turn.next(ms(0), first, Closing::Rests), Step::StopLending);
        assert_eq!(turn.next(ms(0), first, Closing::Rests), Step::CloseIdle);
        turn
    }

    #[test]
    fn what_is_lent_is_waited_for_and_the_end_is_looked_at() {
        let mut turn = begun(counts(3, 1));
        // The idle ones are closed, and the call has ended: the pool says it is done, and is not believed.
        let look = turn.next(ms(0), counts(1, 1), Closing::Rests);
        assert_eq!(look, Step::Look { at: ms(1) });
        let Step::Over(emptied) = turn.next(ms(1), NONE, Closing::Rests) else {
            panic!("nothing is left");
        };
        assert!(emptied.is_whole());
        assert_eq!((emptied.first, emptied.took), (counts(3, 1), ms(1)));
    }

    #[test]
    fn an_empty_pool_is_still_told_to_stop_and_to_close() {
        let mut turn = begun(NONE);
        assert!(matches!(
            turn.next(ms(0), NONE, Closing::Rests),
            Step::Over(_)
        ));
    }

    #[test]
    fn zero_counts_are_no_end_while_farewells_are_said() {
        let mut turn = begun(counts(3, 0));
        let look = turn.next(ms(0), NONE, Closing::AtWork);
        assert_eq!(look, Step::Look { at: ms(1) });
        let Step::Over(emptied) = turn.clone().next(ms(1), NONE, Closing::Rests) else {
            panic!("they are said");
        };
        assert!(emptied.is_whole());
        let Step::Over(emptied) = turn.next(SECOND, NONE, Closing::AtWork) else {
            panic!("the time is over");
        };
        assert!(!emptied.is_whole());
        assert_eq!(
            emptied.to_string(),
            "none of 3 is left, 0 of which were still lent, after 1000 ms; closing what was idle was cut short"
        );
    }

    #[test]
    fn an_end_from_outside_is_the_end() {
        let mut turn = begun(counts(1, 1));
        turn.end(ms(5));
        turn.end(ms(9));
        let look = turn.next(ms(4), counts(1, 1), Closing::AtWork);
        assert_eq!(look, Step::Look { at: ms(5) }, "the first counts");
        let over = turn.next(ms(5), counts(1, 1), Closing::AtWork);
        assert!(matches!(over, Step::Over(_)), "{over:?}");
    }

    #[test]
    fn a_panic_is_named_with_what_is_left() {
        let Step::Over(mut emptied) = begun(NONE).next(ms(0), NONE, Closing::Rests) else {
            panic!("nothing is left");
        };
        emptied.panicked = Some(Call::StopLending);
        assert!(!emptied.is_whole());
        assert_eq!(
            emptied.to_string(),
            "`stop_lending` panicked; none of 0 is left, 0 of which were still lent, after 0 ms"
        );
        emptied.panicked = Some(Call::Counts);
        assert_eq!(
            emptied.to_string(),
            "`counts` panicked; what is left is not known"
        );
    }

    #[test]
    fn looks_become_rarer_and_never_pass_the_end() {
        let mut turn = begun(counts(1, 1));
        let mut now = ms(0);
        let mut pauses = Vec::new();
        while let Step::Look { at } = turn.next(now, counts(1, 1), Closing::AtWork) {
            assert!(at > now && at <= SECOND, "{at:?} after {now:?}");
            pauses.push(at - now);
            now = at;
        }
        assert_eq!(now, SECOND);
        assert_eq!(pauses[..6], [1, 2, 4, 8, 16, 20].map(ms));
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
    }

    #[test]
    fn what_came_back_to_a_pool_that_keeps_it_is_closed_then() {
        let mut turn = begun(counts(1, 1));
        assert_eq!(
            turn.next(ms(0), counts(1, 1), Closing::Rests),
            Step::Look { at: ms(1) }
        );
        assert_eq!(
            turn.next(ms(1), counts(1, 0), Closing::Rests),
            Step::CloseIdle
        );
        // One that closes nothing is not called again without a pause, nor while it is at work.
        for closing in [Closing::Rests, Closing::AtWork, Closing::AtWork] {
            let look = turn.next(ms(1), counts(1, 0), closing);
            assert!(matches!(look, Step::Look { .. }), "{look:?}");
        }
        assert_eq!(
            turn.next(ms(9), counts(1, 0), Closing::Rests),
            Step::CloseIdle
        );
    }

    #[test]
    fn the_end_of_the_time_is_the_end() {
        let mut turn = begun(counts(4, 3));
        let Step::Over(emptied) = turn.next(SECOND, counts(3, 2), Closing::AtWork) else {
            panic!("the time is over");
        };
        assert!(!emptied.is_whole());
        assert_eq!(
            emptied.to_string(),
            "3 left after 1000 ms: 2 lent, 1 neither lent nor closed"
        );
        // Lent is a leak also where nothing counts as open.
        let Step::Over(emptied) = begun(NONE).next(SECOND, counts(0, 1), Closing::Rests) else {
            panic!("the time is over");
        };
        assert!(!emptied.is_whole());
    }

    #[test]
    fn a_leak_is_named_as_far_as_it_is_known() {
        let by = std::panic::Location::caller();
        let emptied = Emptied {
            first: counts(5, 5),
            left: counts(3, 3),
            took: SECOND,
            closing: Closing::Rests,
            panicked: None,
            lent: vec![
                Lent {
                    age: ms(12_345),
                    by,
                },
                Lent { age: ms(90), by },
            ],
        };
        let (file, line) = (by.file(), by.line());
        assert_eq!(
            emptied.to_string(),
            format!(
                "3 left after 1000 ms: 3 lent (12.3 s ago at {file}:{line}, 0.0 s ago at {file}:{line}, and 1 more), 0 neither lent nor closed"
            )
        );
    }
}
