//! What waits to be sent, bounded; what does not fit is counted.

use lameduck::Observed;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};

use crate::{logs, traces::Traces, wire::scope};

/// How many spans, and how many log records, wait for a collector that is away.
const MOST: usize = 4_096;
/// How many are reason enough to send at once: what the specification has for a batch.
const MANY: usize = 512;

#[derive(Debug)]
pub(crate) struct Batch {
    resource: Resource,
    traces: Traces,
    spans: Vec<Span>,
    records: Vec<LogRecord>,
    lost: u64,
}

impl Batch {
    pub(crate) const fn new(resource: Resource, traces: Traces) -> Self {
        Self {
            resource,
            traces,
            spans: Vec::new(),
            records: Vec::new(),
            lost: 0,
        }
    }

    pub(crate) fn take(&mut self, seen: &Observed) {
        let mut record = logs::record(seen, self.traces.clock());
        // After the trace has heard of it: what begins the drain belongs to the drain.
        let spans = self.traces.observe(seen);
        self.traces.place(&mut record);
        self.keep([record].into_iter(), spans);
    }

    pub(crate) fn missed(&mut self, count: u64) {
        self.traces.missed(count);
        self.lost += count;
    }

    fn keep(&mut self, records: impl Iterator<Item = LogRecord>, spans: Vec<Span>) {
        fn within<T>(kept: &mut Vec<T>, more: impl Iterator<Item = T>) -> u64 {
            let mut lost = 0;
            for one in more {
                if kept.len() < MOST {
                    kept.push(one);
                } else {
                    lost += 1;
                }
            }
            lost
        }
        self.lost += within(&mut self.records, records);
        self.lost += within(&mut self.spans, spans.into_iter());
    }

    pub(crate) fn has_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    pub(crate) fn has_many_spans(&self) -> bool {
        self.spans.len() >= MANY
    }

    pub(crate) fn has_many_records(&self) -> bool {
        self.records.len() >= MANY
    }

    /// How many were lost since this was asked last.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    pub(crate) fn waiting(&self) -> u64 {
        (self.spans.len() + self.records.len()) as u64
    }

    pub(crate) const fn resource(&self) -> &Resource {
        &self.resource
    }

    pub(crate) fn spans(&self) -> Option<ExportTraceServiceRequest> {
        let spans = self.has_spans().then(|| self.spans.clone())?;
        Some(spans_of(self.resource.clone(), spans))
    }

    pub(crate) fn records(&self) -> Option<ExportLogsServiceRequest> {
        let records = (!self.records.is_empty()).then(|| self.records.clone())?;
        Some(records_of(self.resource.clone(), records))
    }

    /// They were sent, or will never be taken.
    pub(crate) fn forget_spans(&mut self, lost: bool) {
        self.lost += if lost { self.spans.len() as u64 } else { 0 };
        self.spans.clear();
    }

    pub(crate) fn forget_records(&mut self, lost: bool) {
        self.lost += if lost { self.records.len() as u64 } else { 0 };
        self.records.clear();
    }
}

pub(crate) fn spans_of(resource: Resource, spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

pub(crate) fn records_of(
    resource: Resource,
    log_records: Vec<LogRecord>,
) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope()),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}
