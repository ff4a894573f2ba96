//! Who a member is: a name that is its own, and a zone. What it does is not known here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name of a member or a zone, in bytes: that of a host (RFC 1035 §2.3.4).
const LONGEST: usize = 255;

/// The name of a member, its own in the group: that of a pod, a host, an instance.
///
/// 1 to 255 letters, digits, dots, dashes, underscores and colons, all ASCII: it becomes part of keys and lines.
///
/// # Examples
/// ```
/// use lameduck::group::MemberId;
///
/// let id: MemberId = "shop-7f9c-x2x".parse()?;
/// assert_eq!(id.as_str(), "shop-7f9c-x2x");
/// assert!("a/b".parse::<MemberId>().is_err());
/// # Ok::<(), lameduck::group::IdentityError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Arc<str>);

impl MemberId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MemberId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        check(text).map(|()| Self(text.into()))
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A member as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) id: MemberId,
    pub(super) zone: Arc<str>,
}

impl Identity {
    /// A member of this name, in a zone without a name.
    ///
    /// # Errors
    /// [`IdentityError`] if the name is none.
    pub fn new(id: &str) -> Result<Self, IdentityError> {
        Ok(Self {
            id: id.parse()?,
            zone: Arc::from(""),
        })
    }

    /// The same in this zone: an availability zone, a rack, a shard. It counts where the group's rules do.
    ///
    /// # Errors
    /// [`IdentityError`] if the zone's name is none.
    pub fn in_zone(mut self, zone: &str) -> Result<Self, IdentityError> {
        if !zone.is_empty() {
            check(zone)?;
        }
        self.zone = zone.into();
        Ok(self)
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &MemberId {
        &self.id
    }

    /// Its zone; empty if it was given none.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.zone
    }
}

/// A name that cannot be one of a member or a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityError(());

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the name of a member or a zone is 1 to {LONGEST} letters, digits, dots, dashes, underscores and colons"
        )
    }
}

impl std::error::Error for IdentityError {}

fn check(text: &str) -> Result<(), IdentityError> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b".-_:".contains(&c);
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain) {
        Ok(())
    } else {
        Err(IdentityError(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["a", "shop-1", "10.0.0.7:8080", "fe80::1", &"x".repeat(255)] {
            assert_eq!(Identity::new(name).expect(name).id().as_str(), name);
        }
        for name in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(256)] {
            assert!(Identity::new(name).is_err(), "{name:?}");
        }
        let here = Identity::new("a").expect("a name");
        assert_eq!(here.clone().in_zone("").expect("none is one").zone(), "");
        assert!(here.in_zone("eu/1").is_err());
    }
}
