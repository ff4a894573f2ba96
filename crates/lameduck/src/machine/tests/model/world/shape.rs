//! Of the model's world: which participants there are.

use std::time::Duration;

use crate::machine::{Enrolment, Hook, Listens, ParticipantId};

/// Who depends on whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine::tests::model) enum Shape {
    /// One that listens, and has a hook.
    Alone,
    /// A worker, and a server after it.
    Pair,
    /// Three that know nothing of each other.
    Apart,
    /// 2 after 1 after 0; the one in the middle has no hook.
    Chain,
    /// 1 and 2 after 0.
    Fork,
}

impl Shape {
    pub(super) fn enrolments(self) -> Vec<Enrolment> {
        let after: &[&[u32]] = match self {
            Self::Alone => &[&[]],
            Self::Pair => &[&[], &[0]],
            Self::Apart => &[&[], &[], &[]],
            Self::Chain => &[&[], &[0], &[1]],
            Self::Fork => &[&[], &[0], &[0]],
        };
        let last = after.len() - 1;
        (0_u32..)
            .zip(after)
            .map(|(number, after)| Enrolment {
                id: ParticipantId::new(number),
                name: number.to_string(),
                after: after.iter().map(|id| ParticipantId::new(*id)).collect(),
                budget: self.budget(number),
                listens: if number as usize == last {
                    Listens::UntilClosed
                } else {
                    Listens::Never
                },
                hook: if number == 1 && last == 2 {
                    Hook::None
                } else {
                    Hook::Some
                },
            })
            .collect()
    }

    /// The first has one.
    pub(in crate::machine::tests::model) fn budget(self, id: u32) -> Option<Duration> {
        (id == 0).then_some(Duration::from_millis(400))
    }

    /// Whether `who` stops before `whom`, directly or not.
    pub(super) fn stops_before(self, who: usize, whom: usize) -> bool {
        match self {
            Self::Alone | Self::Apart => false,
            Self::Pair | Self::Chain => who > whom,
            Self::Fork => whom == 0 && who > 0,
        }
    }
}
