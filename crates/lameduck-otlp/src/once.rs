//! What is known already, sent once: for programs that are no service, such as a test of one.

use std::{
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::SystemTime,
};

use lameduck::Weight;
use opentelemetry_proto::tonic::{
    logs::v1::LogRecord,
    trace::v1::{Span, Status, span, status::StatusCode},
};
use prost::Message;

use crate::{
    batch, logs, metrics,
    send::{Sender, Sent},
    settings::{BadOtlp, Otlp},
    wire::{attribute, nanos, resource, value},
};

/// One span with records and metrics, sent when it is over. See [`Otlp::once`].
#[must_use = "nothing is sent before `send`"]
pub struct Once {
    otlp: Otlp,
    sender: Sender,
    began: SystemTime,
    span: Span,
    records: Vec<LogRecord>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("span", &self.span.name)
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}

/// What did not reach the collector, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent(String);

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotSent {}

impl Otlp {
    /// For a program without a lifecycle: a span of this name that began then, with a trace id of its own.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn once(self, name: impl Into<String>, began: SystemTime) -> Result<Once, BadOtlp> {
        let sender = Sender::new(&self)?;
        // From the keys that the standard library draws for its maps.
        let half = || {
            RandomState::new()
                .build_hasher()
                .finish()
                .max(1)
                .to_be_bytes()
        };
        Ok(Once {
            sender,
            began,
            span: Span {
                trace_id: [half(), half()].concat(),
                span_id: half().to_vec(),
                name: name.into(),
                kind: span::SpanKind::Internal as i32,
                start_time_unix_nano: nanos(began),
                ..Span::default()
            },
            records: Vec::new(),
            otlp: self,
        })
    }
}

impl Once {
    /// The id of the trace, as tools show it.
    #[must_use]
    pub fn trace_id(&self) -> String {
        let digits = |text: String, byte: &u8| text + &format!("{byte:02x}");
        self.span.trace_id.iter().fold(String::new(), digits)
    }

    /// An attribute of the span.
    pub fn attribute(&mut self, key: &str, text: &str) {
        self.span.attributes.push(attribute(key, text));
    }

    /// A log record in the span's trace.
    pub fn record(&mut self, weight: Weight, event: &str, body: &str, attributes: &[(&str, &str)]) {
        let (severity, word) = logs::severity(weight);
        let now = nanos(SystemTime::now());
        self.records.push(LogRecord {
            time_unix_nano: now,
            observed_time_unix_nano: now,
            severity_number: severity as i32,
            severity_text: word.to_owned(),
            body: Some(value(body)),
            attributes: attributes
                .iter()
                .map(|(key, text)| attribute(*key, *text))
                .collect(),
            trace_id: self.span.trace_id.clone(),
            span_id: self.span.span_id.clone(),
            event_name: event.to_owned(),
            ..LogRecord::default()
        });
    }

    /// Sends the span, which ends now, well or with this error, its records, and metrics given as OpenMetrics text. Each of the three is tried
    /// once.
    ///
    /// # Errors
    /// [`NotSent`] names what was not taken.
    pub fn send(mut self, error: Option<String>, text: &str) -> Result<(), NotSent> {
        self.span.end_time_unix_nano = nanos(SystemTime::now());
        self.span.status = Some(match error {
            None => Status {
                code: StatusCode::Ok as i32,
                ..Status::default()
            },
            Some(message) => Status {
                code: StatusCode::Error as i32,
                message,
            },
        });
        let resource = resource(&self.otlp.attributes, &[]);
        let spans = batch::spans_of(resource.clone(), vec![self.span.clone()]);
        let records = batch::records_of(resource.clone(), self.records.clone());
        let metrics = metrics::export(text, self.began, &resource);
        // A collector may take one and not another.
        let sent = [
            self.post("/v1/traces", &spans),
            self.post("/v1/logs", &records),
            metrics.and_then(|metrics| self.post("/v1/metrics", &metrics)),
        ];
        let failed: Vec<_> = sent.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(NotSent(failed.join("; ")))
        }
    }

    fn post(&self, path: &str, message: &impl Message) -> Result<(), String> {
        let at = || format!("{}{path}", self.sender.endpoint());
        match self.sender.send(path, message, None) {
            Sent::Taken { refused: 0, .. } => Ok(()),
            Sent::Taken { refused, said } => {
                let said = said.unwrap_or_default();
                Err(format!("{} took all but {refused}: {said}", at()))
            }
            Sent::Never { why } => Err(format!("{} refuses it: {why}", at())),
            Sent::Later(later) => Err(format!("{}: {}", at(), later.why)),
        }
    }
}
