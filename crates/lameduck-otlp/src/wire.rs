//! The parts that all three signals are made of.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
};

/// An attribute's value.
pub(crate) enum Attribute {
    Text(String),
    Number(i64),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<Duration> for Attribute {
    /// In milliseconds.
    fn from(duration: Duration) -> Self {
        Self::Number(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }
}

pub(crate) fn value(value: impl Into<Attribute>) -> AnyValue {
    let value = match value.into() {
        Attribute::Text(text) => any_value::Value::StringValue(text),
        Attribute::Number(number) => any_value::Value::IntValue(number),
    };
    AnyValue { value: Some(value) }
}

pub(crate) fn attribute(key: impl Into<String>, of: impl Into<Attribute>) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(value(of)),
        ..KeyValue::default()
    }
}

/// Who speaks: the attributes that were given, this process, and `more`.
pub(crate) fn resource(attributes: &[(String, String)], more: &[(&str, &str)]) -> Resource {
    let mut all: Vec<_> = attributes
        .iter()
        .map(|(key, text)| attribute(key.clone(), text.as_str()))
        .collect();
    let pid = [(
        "process.pid",
        Attribute::from(u64::from(std::process::id())),
    )];
    let more = more
        .iter()
        .map(|(key, text)| (*key, Attribute::from(*text)));
    for (key, text) in pid.into_iter().chain(more) {
        if !attributes.iter().any(|(have, _)| have == key) {
            all.push(attribute(key, text));
        }
    }
    Resource {
        attributes: all,
        ..Resource::default()
    }
}

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "lameduck".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// Nanoseconds of Unix time; before 1970 and after 2554 there is nothing to tell.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The lifecycle's clock: the system's when it began, and monotonic from there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) began: SystemTime,
}

impl Clock {
    pub(crate) fn at(self, at: Duration) -> u64 {
        nanos(self.began.checked_add(at).unwrap_or(self.began))
    }
}
