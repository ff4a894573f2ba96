//! How many there are: slots counted by whose they are and by what they speak.

use std::collections::BTreeMap;

use super::Protocol;

/// What [`Slots::census`](super::Slots::census) counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// One entry for each owner and protocol that there was, ordered by both.
    pub held: Vec<Held>,
}

/// The slots of one owner that speak the same protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The number of the participant that they belong to, where one said so.
    pub owner: Option<u32>,
    /// What they speak.
    pub protocol: Protocol,
    /// How many there are.
    pub slots: usize,
    /// How many of them are in a request.
    pub busy: usize,
}

impl Census {
    pub(super) fn of(slots: impl Iterator<Item = (Option<u32>, Protocol, bool)>) -> Self {
        // Bound: participants (1,024) times protocols.
        let mut sums: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for (owner, protocol, busy) in slots {
            let sum = sums.entry((owner, protocol)).or_default();
            sum.0 += 1;
            sum.1 += usize::from(busy);
        }
        let held = sums
            .into_iter()
            .map(|((owner, protocol), (slots, busy))| Held {
                owner,
                protocol,
                slots,
                busy,
            });
        Self {
            held: held.collect(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::inflight::Slots;

    #[test]
    fn a_census_counts_whose_they_are_and_who_is_busy() {
        let slots = Slots::new();
        let claim = |owner, protocol| {
            let slot = slots.claim(None);
            slot.owned_by(owner);
            slot.speaks(protocol);
            slot
        };
        let held = [
            claim(0, Protocol::Http1),
            claim(0, Protocol::Http1),
            claim(u32::MAX, Protocol::Http2),
        ];
        held[0].begin("GET", "/", std::time::Duration::ZERO);
        let found = |census: &Census| -> Vec<_> {
            let held = census.held.iter();
            held.map(|one| (one.owner, one.protocol, one.slots, one.busy))
                .collect()
        };
        assert_eq!(
            found(&slots.census()),
            [
                (Some(0), Protocol::Http1, 2, 1),
                (Some(u32::MAX), Protocol::Http2, 1, 0)
            ]
        );
        drop(held);
        assert_eq!(slots.census(), Census::default());
        let _again = slots.claim(None);
        assert_eq!(
            found(&slots.census()),
            [(None, Protocol::Unknown, 1, 0)],
            "a slot forgets its last holder"
        );
    }
}
