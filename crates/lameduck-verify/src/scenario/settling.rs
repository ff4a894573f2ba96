//! Owns when the clients of a drain stand where the signal should find them: all of them, or all that will.
//! Not: what standing there means for each.

use std::time::{Duration, Instant};

/// When nobody more has come to stand ready for so long, nobody will: the others wait for a server that is busy with those
/// who do. To wait on would lose these, whom a server with a short keep-alive closes meanwhile; but who finds the accept queue
/// full knocks again after a second (RFC 6298 §2.1).
const NOBODY_MORE: Duration = Duration::from_millis(1_300);

#[derive(Debug)]
pub(crate) struct Settling {
    ready: usize,
    since: Instant,
}

impl Settling {
    pub(crate) fn new() -> Self {
        Self {
            ready: 0,
            since: Instant::now(),
        }
    }

    /// `each` client stands ready, or does not yet.
    pub(crate) fn is_over(&mut self, each: impl Iterator<Item = bool>, now: Instant) -> bool {
        let (mut ready, mut all) = (0, 0);
        for is_ready in each {
            ready += usize::from(is_ready);
            all += 1;
        }
        if ready != self.ready {
            (self.ready, self.since) = (ready, now);
        }
        ready == all || ready > 0 && now.saturating_duration_since(self.since) >= NOBODY_MORE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_with_all_or_when_nobody_more_comes() {
        let mut settling = Settling::new();
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let [nobody, one, all] =
            [[false, false], [true, false], [true, true]].map(<[_; 2]>::into_iter);
        // Nobody yet: a slow start is waited for.
        assert!(!settling.is_over(nobody.clone(), at(2_000)));
        assert!(!settling.is_over(one.clone(), at(2_100)));
        assert!(!settling.is_over(one.clone(), at(3_300)));
        assert!(settling.is_over(one, at(3_400)));
        assert!(settling.is_over(all, at(3_400)));
        assert!(Settling::new().is_over(std::iter::empty(), at(0)));
    }
}
