//! What was read and not yet handed over, most urgent first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::edge::signal::Received;
use crate::sys::Signo;
use crate::vocab::Signal;

/// By rank, then in the order of arrival.
type Entry = Reverse<(u16, u64, Held)>;

/// A record in the heap; its rank and number order it, and nothing else does.
#[derive(Clone, Copy, Debug)]
struct Held(Received);

impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// See the module. As many records as the channel's bound says, and one more for each kind of which some were dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    records: BinaryHeap<Entry>,
    dropped: Vec<Received>,
    arrived: u64,
    first: Vec<Signo>,
}

/// What [`Waiting::next`] gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// A record that had a place in the queue.
    Queued(Received),
    /// The number of those that had none.
    Dropped(Received),
}

impl Waiting {
    pub(super) const fn new(first: Vec<Signo>) -> Self {
        Self {
            records: BinaryHeap::new(),
            dropped: Vec::new(),
            arrived: 0,
            first,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn put(&mut self, received: Received) {
        if received.dropped() == 0 {
            self.arrived += 1;
            let rank = self.rank(received.signal());
            self.records
                .push(Reverse((rank, self.arrived, Held(received))));
            return;
        }
        let same = |known: &&mut Received| known.signal() == received.signal();
        match self.dropped.iter_mut().find(same) {
            Some(known) => known.merge_dropped(&received),
            None => self.dropped.push(received),
        }
    }

    /// The most urgent one. Of one kind, what is known comes before the number of what is not.
    pub(super) fn next(&mut self) -> Option<Next> {
        let ranks = self.dropped.iter().map(|one| self.rank(one.signal()));
        let dropped = ranks.enumerate().min_by_key(|(_, rank)| *rank);
        let queued = self.records.peek().map(|Reverse((rank, ..))| *rank);
        match (queued, dropped) {
            (Some(queued), Some((at, dropped))) if dropped < queued => {
                Some(Next::Dropped(self.dropped.swap_remove(at)))
            }
            (None, Some((at, _))) => Some(Next::Dropped(self.dropped.swap_remove(at))),
            _ => {
                let Reverse((_, _, Held(received))) = self.records.pop()?;
                Some(Next::Queued(received))
            }
        }
    }

    /// Those that were named first, in that order; then the lifecycle's, in its order; then by number, as the kernel has it.
    fn rank(&self, signo: Signo) -> u16 {
        const NAMED: u16 = 0;
        const LIFECYCLE: u16 = 100;
        const OTHERS: u16 = 200;
        let ordinal = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        if let Some(at) = self.first.iter().position(|named| *named == signo) {
            return NAMED + ordinal(at);
        }
        match signo.signal() {
            Some(signal) => LIFECYCLE + ordinal(urgency(signal)),
            None => OTHERS + u16::try_from(signo.number()).unwrap_or(0),
        }
    }
}

/// The order of [`Signal`]: QUIT > TERM, INT > HUP > USR2 > USR1.
fn urgency(signal: Signal) -> usize {
    let all = [
        Signal::Quit,
        Signal::Term,
        Signal::Int,
        Signal::Hup,
        Signal::Usr2,
        Signal::Usr1,
    ];
    all.iter().filter(|other| **other < signal).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(mut waiting: Waiting) -> Vec<(Signo, u32)> {
        let next = std::iter::from_fn(|| waiting.next());
        next.map(|next| match next {
            Next::Queued(one) | Next::Dropped(one) => (one.signal(), one.dropped()),
        })
        .collect()
    }

    #[test]
    fn the_most_urgent_comes_first_and_one_kind_in_order() {
        let mut waiting = Waiting::new(vec![Signo::WINCH]);
        let sent = [
            Signo::CHLD,
            Signo::USR1,
            Signo::TERM,
            Signo::WINCH,
            Signo::QUIT,
        ];
        for (at, signo) in sent.into_iter().chain(sent).enumerate() {
            waiting.put(Received::test(signo, at, 0));
        }
        waiting.put(Received::test(Signo::USR2, 0, 3));
        waiting.put(Received::test(Signo::USR2, 0, 4));
        let expected = [
            Signo::WINCH,
            Signo::WINCH,
            Signo::QUIT,
            Signo::QUIT,
            Signo::TERM,
            Signo::TERM,
            Signo::USR2,
            Signo::USR1,
            Signo::USR1,
            Signo::CHLD,
            Signo::CHLD,
        ];
        let seen = order(waiting);
        assert!(
            seen.iter().map(|(signo, _)| *signo).eq(expected),
            "{seen:?}"
        );
        assert_eq!(seen[6], (Signo::USR2, 7), "told once, with their number");
    }

    #[test]
    fn of_one_kind_the_first_is_the_first() {
        let mut waiting = Waiting::new(Vec::new());
        for value in 0..100 {
            waiting.put(Received::test(Signo::USR1, value, 0));
        }
        for value in 0..100 {
            let Some(Next::Queued(one)) = waiting.next() else {
                panic!("100 were put in");
            };
            assert_eq!(one, Received::test(Signo::USR1, value, 0));
        }
    }
}
