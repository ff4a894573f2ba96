//! How many there are: slots counted by whose they are and by what they speak.

use std::collections::BTreeMap;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Speaks {
    /// Nothing yet, or nothing that is known.
    #[default]
    Nothing,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// One stream of an HTTP/2 connection: no connection of its own.
    Stream,
    /// What an HTTP/1.1 connection was upgraded to: a WebSocket, or a tunnel.
    Upgraded,
}

impl Speaks {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Http1,
        Self::Http2,
        Self::Stream,
        Self::Upgraded,
    ];

    /// One lower-case word, as metrics have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Stream => "stream",
            Self::Upgraded => "upgraded",
        }
    }
}

/// What [`Slots::census`](super::Slots::census) counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// One entry for each owner and language that there was, ordered by both.
    pub held: Vec<Held>,
}

/// The slots of one owner that speak the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The number of the participant that they belong to, where one said so.
    pub owner: Option<u32>,
    /// What they speak.
    pub speaks: Speaks,
    /// How many there are.
    pub slots: usize,
    /// How many of them are in a request.
    pub busy: usize,
}

impl Census {
    pub(super) fn of(slots: impl Iterator<Item = (u64, bool)>) -> Self {
        // Bound: participants (1,024) times languages.
        let mut sums: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for (tags, busy) in slots {
            let sum = sums.entry(tags).or_default();
            sum.0 += 1;
            sum.1 += usize::from(busy);
        }
        let held = sums.into_iter().map(|(tags, (slots, busy))| {
            let (owner, speaks) = decode(tags);
            Held {
                owner,
                speaks,
                slots,
                busy,
            }
        });
        Self {
            held: held.collect(),
        }
    }
}

/// The owner plus one above the language.
pub(super) fn encode(owner: Option<u32>, speaks: Speaks) -> u64 {
    let owner = owner.map_or(0, |owner| u64::from(owner) + 1);
    owner << 8 | speaks as u64
}

fn decode(tags: u64) -> (Option<u32>, Speaks) {
    let owner = (tags >> 8)
        .checked_sub(1)
        .and_then(|owner| u32::try_from(owner).ok());
    let speaks = Speaks::ALL.get((tags & 0xff) as usize);
    (owner, speaks.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_they_were_written() {
        for owner in [None, Some(0), Some(1_023), Some(u32::MAX)] {
            for speaks in Speaks::ALL {
                assert_eq!(decode(encode(owner, speaks)), (owner, speaks));
            }
        }
    }

    #[cfg(not(loom))]
    #[test]
    fn a_census_counts_whose_they_are_and_who_is_busy() {
        use crate::inflight::Slots;
        let slots = Slots::new();
        let claim = |owner, speaks| {
            let slot = slots.claim(None);
            slot.tag(owner, speaks);
            slot
        };
        let held = [
            claim(Some(0), Speaks::Http1),
            claim(Some(0), Speaks::Http1),
            claim(Some(1), Speaks::Http2),
        ];
        held[0].begin("GET", "/", std::time::Duration::ZERO);
        let found = |census: &Census| -> Vec<_> {
            let held = census.held.iter();
            held.map(|one| (one.owner, one.speaks, one.slots, one.busy))
                .collect()
        };
        assert_eq!(
            found(&slots.census()),
            [
                (Some(0), Speaks::Http1, 2, 1),
                (Some(1), Speaks::Http2, 1, 0)
            ]
        );
        drop(held);
        assert_eq!(slots.census(), Census::default());
        let _again = slots.claim(None);
        assert_eq!(
            found(&slots.census()),
            [(None, Speaks::Nothing, 1, 0)],
            "a slot forgets its last holder"
        );
    }
}
