//! Owns what stands between users and a service: which front it is, how long it goes on sending requests to an
//! instance that leaves, and which failures it hides by asking elsewhere; and what its users saw.
//! Not: making requests (see `scenario` and `rollout`).

mod grace;
mod moment;
mod rollout;
mod table;
mod view;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::observe::outcome::Outcome;

pub(crate) use grace::Exits;
pub use grace::{ExitSeen, GraceReport, PlatformFit};
pub(crate) use moment::parse_duration;
pub use rollout::Rollout;
pub use view::FrontView;
pub(crate) use view::Sightings;

/// What stands before a service, as [`fronts`] lists it, and how long it goes on sending new requests.
///
/// `"kubernetes".parse()` takes the front's own propagation time, `"kubernetes:8s".parse()` another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Front {
    info: &'static FrontInfo,
    propagation: Duration,
}

/// What is known of one front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrontInfo {
    /// How options and reports name it.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// From the deregistration of an instance until the front sends it nothing new.
    #[serde(rename = "propagation_ms", serialize_with = "in_millis")]
    pub propagation: Duration,
    /// What it sends to another instance, so that its users see no error.
    pub retries: &'static [Retry],
    /// Where the time and the retries come from.
    pub source: &'static str,
    /// What can not be known from outside, or differs between installations.
    pub unknown: &'static str,
}

/// A failure that a front hides by asking another instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Retry {
    /// A connect that was refused: nothing was sent.
    Connect,
    /// A request with an idempotent method that got no byte of an answer.
    Idempotent,
    /// HTTP/2 streams that the server said it had not processed.
    RefusedH2,
    /// A 503 answer.
    Unavailable,
}

impl Retry {
    /// The word in lists.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "refused connects",
            Self::Idempotent => "idempotent requests without an answer",
            Self::RefusedH2 => "refused HTTP/2 streams",
            Self::Unavailable => "503",
        }
    }
}

/// The fronts that `--front` knows, in the order of their propagation time.
#[must_use]
pub fn fronts() -> &'static [FrontInfo] {
    table::FRONTS
}

impl Front {
    /// Clients connect directly: no propagation time, nothing is retried.
    pub const NONE: Self = Self {
        info: &table::FRONTS[0],
        propagation: Duration::ZERO,
    };

    /// The front of that name with its own propagation time.
    ///
    /// # Errors
    /// Fails for a name that [`fronts`] does not list.
    pub fn named(name: &str) -> Result<Self, UnknownFront> {
        table::FRONTS
            .iter()
            .find(|info| info.name.eq_ignore_ascii_case(name))
            .map(|info| Self {
                info,
                propagation: info.propagation,
            })
            .ok_or_else(|| UnknownFront::Name(name.to_owned()))
    }

    /// The same front with another propagation time: that of your installation.
    #[must_use]
    pub fn with_propagation(mut self, propagation: Duration) -> Self {
        self.propagation = propagation;
        self
    }

    /// What is known of it.
    #[must_use]
    pub fn info(self) -> &'static FrontInfo {
        self.info
    }

    /// How options and reports name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info.name
    }

    /// From the deregistration until it sends nothing new.
    #[must_use]
    pub fn propagation(self) -> Duration {
        self.propagation
    }

    /// Clients connect directly.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.info.name == Self::NONE.info.name
    }

    /// Its users do not see a request that ended so: it asks another instance.
    pub(crate) fn hides(self, outcome: Outcome, is_post: bool) -> bool {
        let retries = |retry| self.info.retries.contains(&retry);
        match outcome {
            Outcome::RefusedConnect => retries(Retry::Connect),
            Outcome::RefusedH2 => retries(Retry::RefusedH2),
            Outcome::Refused503 => retries(Retry::Unavailable),
            Outcome::Eof | Outcome::Reset => !is_post && retries(Retry::Idempotent),
            _ => false,
        }
    }
}

impl Default for Front {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for Front {
    /// As it can be parsed again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info.name)?;
        if self.propagation == self.info.propagation {
            return Ok(());
        }
        write!(f, ":{}ms", self.propagation.as_millis())
    }
}

impl FromStr for Front {
    type Err = UnknownFront;

    fn from_str(text: &str) -> Result<Self, UnknownFront> {
        let (name, time) = match text.split_once(':') {
            Some((name, time)) => (name, Some(time)),
            None => (text, None),
        };
        let front = Self::named(name)?;
        let Some(time) = time else { return Ok(front) };
        if front.is_none() {
            return Err(UnknownFront::NothingToLearn);
        }
        parse_duration(time)
            .map(|time| front.with_propagation(time))
            .ok_or_else(|| UnknownFront::Time(time.to_owned()))
    }
}

/// The text names no front.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownFront {
    /// No front has this name.
    Name(String),
    /// What stands behind the colon is no time.
    Time(String),
    /// `none` was given a time.
    NothingToLearn,
}

impl fmt::Display for UnknownFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                let names: Vec<_> = table::FRONTS.iter().map(|info| info.name).collect();
                write!(f, "`{name}` is no front; use one of {}", names.join(", "))
            }
            Self::Time(time) => write!(
                f,
                "`{time}` is no propagation time such as 8s, 1500ms or 2m"
            ),
            Self::NothingToLearn => {
                f.write_str("without a front nobody has to learn: `none` takes no time")
            }
        }
    }
}

impl std::error::Error for UnknownFront {}

fn in_millis<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_is_read_by_its_name_and_its_time() {
        let front: Front = "kubernetes".parse().unwrap();
        assert_eq!(
            (front.name(), front.propagation().as_secs()),
            ("kubernetes", 5)
        );
        let slow: Front = "ALB:90s".parse().unwrap();
        assert_eq!((slow.name(), slow.propagation().as_secs()), ("alb", 90));
        assert_eq!(slow.to_string().parse(), Ok(slow));
        assert_eq!("none".parse(), Ok(Front::NONE));
        assert!(Front::default().is_none());
        for (text, words) in [
            ("k8s", "none, kubernetes, istio"),
            ("alb:soon", "`soon`"),
            ("none:5s", "takes no time"),
        ] {
            let error = text.parse::<Front>().unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn each_front_hides_what_it_retries_and_nothing_that_may_have_been_carried_out() {
        let hidden =
            |name: &str, outcome, is_post| Front::named(name).unwrap().hides(outcome, is_post);
        for name in ["none", "kubernetes", "alb", "nlb"] {
            for outcome in Outcome::ALL {
                assert!(!hidden(name, outcome, false), "{name} {outcome}");
            }
        }
        assert!(hidden("istio", Outcome::RefusedConnect, true));
        assert!(hidden("istio", Outcome::RefusedH2, true));
        assert!(hidden("istio", Outcome::Refused503, true));
        assert!(!hidden("istio", Outcome::Eof, false));
        assert!(hidden("ingress-nginx", Outcome::RefusedConnect, true));
        assert!(hidden("ingress-nginx", Outcome::Reset, false));
        assert!(!hidden("ingress-nginx", Outcome::Reset, true));
        for front in fronts() {
            for outcome in [Outcome::Truncated, Outcome::Hung, Outcome::Error] {
                assert!(
                    !hidden(front.name, outcome, false),
                    "{} {outcome}",
                    front.name
                );
            }
        }
    }

    #[test]
    fn what_is_known_of_a_front_is_whole() {
        for (index, front) in fronts().iter().enumerate() {
            assert!(
                fronts()[..index]
                    .iter()
                    .all(|other| other.name != front.name)
            );
            for text in [front.what, front.source, front.unknown] {
                assert!(text.len() > 20, "{}: {text:?}", front.name);
            }
        }
        assert!(fronts().is_sorted_by_key(|front| front.propagation));
    }
}
