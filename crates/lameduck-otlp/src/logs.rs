//! A happening as a log record.

use lameduck::{News, Observed, Weight};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use crate::wire::{Attribute, Clock, attribute, nanos, value};

pub(crate) fn record(seen: &Observed, clock: Clock) -> LogRecord {
    let (severity, word) = severity(seen.news.weight());
    let mut attributes = vec![
        attribute("lameduck.number", seen.number),
        attribute("lameduck.connections", seen.inflight.connections),
        attribute("lameduck.busy", seen.inflight.busy),
        attribute("lameduck.guards", seen.inflight.guards),
    ];
    attributes.extend(
        facts(&seen.news)
            .into_iter()
            .map(|(key, of)| attribute(key, of)),
    );
    LogRecord {
        time_unix_nano: clock.at(seen.at),
        observed_time_unix_nano: nanos(seen.time),
        severity_number: severity as i32,
        severity_text: word.to_owned(),
        body: Some(value(seen.news.to_string())),
        attributes,
        event_name: format!("lameduck.{}", seen.news.as_str()),
        ..LogRecord::default()
    }
}

pub(crate) const fn severity(weight: Weight) -> (SeverityNumber, &'static str) {
    match weight {
        Weight::Error => (SeverityNumber::Error, "ERROR"),
        Weight::Warning => (SeverityNumber::Warn, "WARN"),
        _ => (SeverityNumber::Info, "INFO"),
    }
}

/// What programs may ask for, beside the sentence. Spans have the same.
pub(crate) fn facts(news: &News) -> Vec<(&'static str, Attribute)> {
    match news {
        News::Signal {
            phase,
            record,
            verdict,
        } => vec![
            ("lameduck.signal", record.signal.to_string().into()),
            ("lameduck.sender", record.sender.to_string().into()),
            ("lameduck.verdict", verdict.as_str().into()),
            ("lameduck.phase", phase.as_str().into()),
        ],
        News::PhaseChanged {
            from,
            to,
            took,
            cause,
            ..
        } => {
            let mut facts = vec![
                ("lameduck.phase", to.as_str().into()),
                ("lameduck.phase.from", from.as_str().into()),
                ("lameduck.took_ms", Attribute::from(*took)),
            ];
            facts.extend(
                cause
                    .as_ref()
                    .map(|cause| ("lameduck.cause", cause.to_string().into())),
            );
            facts
        }
        News::Stragglers { named, unnamed } => {
            vec![("lameduck.stragglers", (named.len() as u64 + unnamed).into())]
        }
        News::Reloaded { name, .. } => vec![("lameduck.reloaded", name.as_str().into())],
        News::Exit { outcome } => vec![
            ("lameduck.outcome", outcome.as_str().into()),
            ("process.exit.code", u64::from(outcome.exit_code()).into()),
        ],
        news => of_participant(news),
    }
}

fn of_participant(news: &News) -> Vec<(&'static str, Attribute)> {
    match news {
        News::Enrolled { name, .. }
        | News::Ready { name }
        | News::Away { name, .. }
        | News::Returned { name }
        | News::Answered { name }
        | News::ToldToClose { name }
        | News::AskedAgain { name }
        | News::HookBegan { name } => vec![("lameduck.participant", name.as_str().into())],
        News::Granted { name, grant } => vec![
            ("lameduck.participant", name.as_str().into()),
            ("lameduck.asked_ms", grant.asked.into()),
            ("lameduck.granted_ms", grant.by.into()),
        ],
        News::Ended {
            name, state, took, ..
        } => {
            let mut facts = vec![
                ("lameduck.participant", name.as_str().into()),
                ("lameduck.state", state.as_str().into()),
            ];
            facts.extend(took.map(|took| ("lameduck.took_ms", Attribute::from(took))));
            facts
        }
        News::ListenerClosed { name, report } => vec![
            ("lameduck.participant", name.as_str().into()),
            ("lameduck.listener", report.address.to_string().into()),
            ("lameduck.took_ms", report.took.into()),
        ],
        News::HookEnded { name, hooked } => vec![
            ("lameduck.participant", name.as_str().into()),
            ("lameduck.state", hooked.state.as_str().into()),
            ("lameduck.took_ms", hooked.took.into()),
        ],
        _ => Vec::new(),
    }
}
