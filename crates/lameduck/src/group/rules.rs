//! How many may be away at once: the arithmetic of a group's rules. It owns no member; those are in the book.

use std::fmt;
use std::str::FromStr;

/// How many members may be unavailable at once: a number, or a percentage of the group.
///
/// A percentage is rounded **down**, and is never less than one. Down, because it promises how many stay; at least one, because a group of
/// three with 30 % could otherwise never be updated. (A Deployment of Kubernetes rounds its `maxUnavailable` in the same way, a
/// PodDisruptionBudget rounds up.)
///
/// # Examples
/// ```
/// use lameduck::group::Share;
///
/// let share: Share = "30%".parse()?;
/// assert_eq!([1, 3, 7, 10].map(|members| share.of(members)), [1, 1, 2, 3]);
/// assert_eq!("2".parse::<Share>()?.of(7), 2);
/// assert!("0".parse::<Share>().is_err(), "nobody could ever leave");
/// # Ok::<(), lameduck::group::RulesError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share(Amount);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Amount {
    Count(u32),
    Percent(u8),
}

impl Share {
    /// So many members.
    ///
    /// # Errors
    /// [`RulesError`] for none: nobody could ever leave.
    pub const fn count(members: u32) -> Result<Self, RulesError> {
        match members {
            0 => Err(RulesError(Fault::Nobody)),
            _ => Ok(Self(Amount::Count(members))),
        }
    }

    /// So much of the group, in percent.
    ///
    /// # Errors
    /// [`RulesError`] for anything but 1 to 100.
    pub const fn percent(percent: u8) -> Result<Self, RulesError> {
        match percent {
            0 => Err(RulesError(Fault::Nobody)),
            1..=100 => Ok(Self(Amount::Percent(percent))),
            _ => Err(RulesError(Fault::TooMuch)),
        }
    }

    /// How many that is of so many members; at least one.
    #[must_use]
    pub const fn of(self, members: u32) -> u32 {
        match self.0 {
            Amount::Count(count) => count,
            Amount::Percent(percent) => {
                let whole = members as u64 * percent as u64 / 100;
                // At most `members`, since the percentage is at most 100.
                if whole == 0 { 1 } else { whole as u32 }
            }
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Amount::Count(count) => write!(f, "{count}"),
            Amount::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Share {
    type Err = RulesError;

    fn from_str(text: &str) -> Result<Self, RulesError> {
        let not_a_share = |_| RulesError(Fault::NotAShare);
        match text.strip_suffix('%') {
            Some(percent) => Self::percent(percent.parse().map_err(not_a_share)?),
            None => Self::count(text.parse().map_err(not_a_share)?),
        }
    }
}

/// Whose members are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    Group,
    Zone,
}

/// The rules of a group: how many of its members may be away at once, and of whom.
///
/// # Examples
/// ```
/// use lameduck::group::{Rules, Share};
///
/// // One in each zone, and none while a zone has fewer than three.
/// let rules = Rules::new(Share::count(1)?).per_zone().expecting(3);
/// assert_eq!(rules.to_string(), "1 of 3 in each zone");
/// assert_eq!(rules.to_string().parse::<Rules>()?, rules);
/// # Ok::<(), lameduck::group::RulesError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    max_unavailable: Share,
    scope: Scope,
    expected: Option<u32>,
}

impl Rules {
    /// So many of the whole group, by the members that there are.
    #[must_use]
    pub const fn new(max_unavailable: Share) -> Self {
        Self {
            max_unavailable,
            scope: Scope::Group,
            expected: None,
        }
    }

    /// So many in each zone instead.
    #[must_use]
    pub const fn per_zone(mut self) -> Self {
        self.scope = Scope::Zone;
        self
    }

    /// How many members there should be (in each zone, [where zones count](Self::per_zone)). Those that are missing, for whatever reason, are
    /// unavailable too, and a percentage is one of this number. Without it, who is gone is forgotten.
    #[must_use]
    pub const fn expecting(mut self, members: u32) -> Self {
        self.expected = Some(members);
        self
    }

    /// Whether members are counted by zone, each zone for itself.
    #[must_use]
    pub const fn is_per_zone(&self) -> bool {
        matches!(self.scope, Scope::Zone)
    }

    /// Whether fewer may leave when a member that serves goes away: a percentage of those that there are becomes less, and a member that is
    /// missing counts. Where a plain number may leave, it does not matter how many members there are.
    #[must_use]
    pub const fn depends_on_members(&self) -> bool {
        matches!(self.max_unavailable.0, Amount::Percent(_)) || self.expected.is_some()
    }

    pub(super) const fn scope(&self) -> Scope {
        self.scope
    }

    /// How many may be unavailable among so many registered ones.
    #[must_use]
    pub const fn allowed(&self, members: u32) -> u32 {
        match self.expected {
            Some(expected) => self.max_unavailable.of(expected),
            None => self.max_unavailable.of(members),
        }
    }

    /// How many are missing among so many registered ones.
    #[must_use]
    pub const fn missing(&self, members: u32) -> u32 {
        match self.expected {
            Some(expected) => expected.saturating_sub(members),
            None => 0,
        }
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.max_unavailable)?;
        if let Some(expected) = self.expected {
            write!(f, " of {expected}")?;
        }
        match self.scope {
            Scope::Group => Ok(()),
            Scope::Zone => f.write_str(" in each zone"),
        }
    }
}

/// As [`Display`](fmt::Display) writes them.
impl FromStr for Rules {
    type Err = RulesError;

    fn from_str(text: &str) -> Result<Self, RulesError> {
        let (text, scope) = match text.strip_suffix(" in each zone") {
            Some(text) => (text, Scope::Zone),
            None => (text, Scope::Group),
        };
        let (share, expected) = match text.split_once(" of ") {
            Some((share, expected)) => {
                let expected = expected.parse();
                (
                    share,
                    Some(expected.map_err(|_| RulesError(Fault::NotAShare))?),
                )
            }
            None => (text, None),
        };
        Ok(Self {
            max_unavailable: share.parse()?,
            scope,
            expected,
        })
    }
}

/// Rules that cannot be kept, or are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError(Fault);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nobody,
    TooMuch,
    NotAShare,
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Fault::Nobody => {
                "with none unavailable nobody could ever leave; give 1 or more, or 1% or more"
            }
            Fault::TooMuch => "more than 100% of a group cannot be unavailable",
            Fault::NotAShare => "not a number of members such as 1, nor a percentage such as 30%",
        })
    }
}

impl std::error::Error for RulesError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_rounded_down_to_one_at_least() {
        let share = Share::percent(34).expect("a percentage");
        let of = [0, 1, 2, 3, 5, 6, 100].map(|members| share.of(members));
        assert_eq!(of, [1, 1, 1, 1, 1, 2, 34]);
        let all = Share::percent(100).expect("a percentage");
        assert_eq!(all.of(u32::MAX), u32::MAX);
    }

    #[test]
    fn what_is_written_can_be_read() {
        for text in [
            "1",
            "25%",
            "2 of 5",
            "1% of 300 in each zone",
            "3 in each zone",
        ] {
            let rules: Rules = text.parse().expect(text);
            assert_eq!(rules.to_string(), text);
        }
        for text in [
            "",
            "0",
            "0%",
            "101%",
            "256%",
            "-1",
            "1 of",
            "1 of x",
            "all",
            "1 in each",
        ] {
            assert!(text.parse::<Rules>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn who_is_missing_counts_only_where_a_number_is_expected() {
        let rules = Rules::new(Share::percent(50).expect("a percentage"));
        assert_eq!((rules.allowed(4), rules.missing(4)), (2, 0));
        let rules = rules.expecting(8);
        assert_eq!((rules.allowed(4), rules.missing(4)), (4, 4));
        assert_eq!((rules.allowed(9), rules.missing(9)), (4, 0));
    }
}
