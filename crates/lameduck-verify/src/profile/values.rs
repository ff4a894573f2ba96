//! Owns the kinds of value in a profile that are more than text or a number.
//! Not: the keys that they stand at (see `form`).

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::error::nearest;
use crate::catalogue;

/// A duration as people write it: `"4s"`, `"1500ms"`, `"2m"`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

/// Longer than this is a slip of the pen.
const MAX_SECONDS: f64 = 86_400.0;

impl Time {
    fn of_seconds(seconds: f64) -> Option<Self> {
        (0.0..=MAX_SECONDS)
            .contains(&seconds)
            .then(|| Self(Duration::from_secs_f64(seconds)))
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (digits, factor) = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)]
            .into_iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
            .unwrap_or((text, 1.0));
        let plain = |c: char| c.is_ascii_digit() || c == '.';
        let number: f64 = digits.trim_end().parse().ok()?;
        digits
            .trim_end()
            .chars()
            .all(plain)
            .then(|| Self::of_seconds(number * factor))?
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Times;
        impl Visitor<'_> for Times {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"4s\", \"1500ms\" or \"2m\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                Time::parse(text).ok_or_else(|| {
                    E::custom(format_args!(
                        "`{text}` is no duration such as 4s, 1500ms or 2m"
                    ))
                })
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Time, E> {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "what is precise is far below the bound"
                )]
                self.visit_f64(seconds as f64)
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Time, E> {
                Time::of_seconds(seconds)
                    .ok_or_else(|| E::custom("a duration is between 0 and one day"))
            }
        }
        deserializer.deserialize_any(Times)
    }
}

/// A word that a type of ours reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Words<T> {
            type Value = Parsed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word in quotes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Parsed<T>, E> {
                text.parse().map(Parsed).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Words(PhantomData))
    }
}

/// An id of the contract that this version checks, as the contract writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CheckId(pub(super) String);

impl<'de> Deserialize<'de> for CheckId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let ids: Vec<&str> = catalogue::list().iter().map(|entry| entry.id).collect();
        if let Some(id) = ids.iter().find(|id| id.eq_ignore_ascii_case(&text)) {
            return Ok(Self((*id).to_owned()));
        }
        let hint = nearest(&text, &ids).map_or_else(
            || "`lameduck verify --list` shows all".to_owned(),
            |id| format!("did you mean `{id}`?"),
        );
        Err(D::Error::custom(format_args!(
            "no check is named `{text}`; {hint}"
        )))
    }
}

/// A reason: anything but nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason(pub(super) String);

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() {
            return Err(D::Error::custom(
                "a waiver needs a reason: it is shown in every report",
            ));
        }
        Ok(Self(text.trim().to_owned()))
    }
}

/// Bytes in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hex(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pair = |pair: &[u8]| {
            let digits = std::str::from_utf8(pair).ok().filter(|_| pair.len() == 2)?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u8::from_str_radix(digits, 16).ok())?
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
        bytes
            .map(Self)
            .ok_or_else(|| D::Error::custom("not bytes in hexadecimal, two digits each"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let millis = |text| Time::parse(text).map(|time| time.0.as_millis());
        for (text, wanted) in [
            ("4s", Some(4_000)),
            ("1500ms", Some(1_500)),
            ("2m", Some(120_000)),
            ("0.5", Some(500)),
            ("1 s", Some(1_000)),
            ("-1s", None),
            ("soon", None),
            ("inf", None),
            ("1e3s", None),
            ("99h", None),
            ("", None),
        ] {
            assert_eq!(millis(text), wanted, "{text}");
        }
    }
}
