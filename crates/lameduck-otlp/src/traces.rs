//! Happenings as spans: a trace for the life before the request to stop, and one for the drain.

use std::{collections::BTreeMap, time::Duration};

use lameduck::{HookState, News, Observed, Outcome, ParticipantState, Phase, SignalVerdict};
use opentelemetry_proto::tonic::{
    logs::v1::LogRecord,
    trace::v1::{Span, Status, span, status::StatusCode},
};

use crate::{
    logs,
    wire::{Attribute, Clock, attribute},
};

/// How many events one span holds; more are counted in it.
const MOST_EVENTS: usize = 128;

/// A trace that grows.
#[derive(Debug)]
struct Trace {
    id: Vec<u8>,
    root: Span,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Traces {
    clock: Clock,
    ids: Ids,
    life: Trace,
    /// Once it was asked to leave.
    drain: Option<Trace>,
    /// Since when the present phase lasts.
    since: Duration,
    phase: Phase,
    /// Participants that have not ended, and since when they are starting, while they are.
    enrolled: BTreeMap<String, Option<Duration>>,
    /// Their spans, and those of hooks, in the trace of the drain.
    stopping: BTreeMap<String, Span>,
    hooks: BTreeMap<String, Span>,
    missed: u64,
}

/// Ids of spans: unique in their trace, and different from process to process.
#[derive(Debug)]
struct Ids {
    next: u64,
}

impl Ids {
    fn next(&mut self) -> Vec<u8> {
        // An odd step: 2^64 ids until one comes again. Zero is no id.
        self.next = self.next.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.next.max(1).to_be_bytes().to_vec()
    }

    /// A span of this trace, under its root.
    fn open(&mut self, trace: &Trace, name: &str, start: u64) -> Span {
        Span {
            trace_id: trace.id.clone(),
            span_id: self.next(),
            parent_span_id: trace.root.span_id.clone(),
            name: name.to_owned(),
            kind: span::SpanKind::Internal as i32,
            start_time_unix_nano: start,
            ..Span::default()
        }
    }
}

impl Traces {
    /// `drain_id`: 32 hexadecimal digits, the bytes of a trace id.
    pub(crate) fn new(drain_id: &str, clock: Clock) -> Self {
        let id = u128::from_str_radix(drain_id, 16).unwrap_or(1).max(1);
        let mut ids = Ids {
            // The low half of the id.
            next: (id & u128::from(u64::MAX)) as u64,
        };
        let life = (!id).max(1).to_be_bytes().to_vec();
        let root = Span {
            trace_id: life.clone(),
            span_id: ids.next(),
            name: "life".to_owned(),
            kind: span::SpanKind::Internal as i32,
            start_time_unix_nano: clock.at(Duration::ZERO),
            ..Span::default()
        };
        Self {
            clock,
            ids,
            life: Trace { id: life, root },
            drain: None,
            since: Duration::ZERO,
            phase: Phase::Initializing,
            enrolled: BTreeMap::new(),
            stopping: BTreeMap::new(),
            hooks: BTreeMap::new(),
            missed: 0,
        }
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    /// Where it belongs now.
    fn present(&self) -> &Trace {
        self.drain.as_ref().unwrap_or(&self.life)
    }

    /// Puts a log record beside the spans of its time.
    pub(crate) fn place(&self, record: &mut LogRecord) {
        let trace = self.present();
        record.trace_id.clone_from(&trace.id);
        record.span_id.clone_from(&trace.root.span_id);
    }

    /// The root of the present trace.
    fn root(&mut self) -> &mut Span {
        &mut self.drain.as_mut().unwrap_or(&mut self.life).root
    }

    /// A span of the present trace, under its root.
    fn open(&mut self, name: &str, at: Duration) -> Span {
        let trace = self.drain.as_ref().unwrap_or(&self.life);
        self.ids.open(trace, name, self.clock.at(at))
    }

    fn close(&self, mut span: Span, at: Duration, status: Option<Status>) -> Span {
        span.end_time_unix_nano = self.clock.at(at);
        span.status = status;
        span
    }

    /// The spans that this ends.
    pub(crate) fn observe(&mut self, seen: &Observed) -> Vec<Span> {
        let at = seen.at;
        match &seen.news {
            News::PhaseChanged { to, .. } => return self.enter(seen, *to),
            News::Exit { outcome } => return self.end(seen, how_it_was(*outcome)),
            News::DiesByQuit => return self.end(seen, error("dies by SIGQUIT".to_owned())),
            // What begins the drain belongs to the drain; its phase follows.
            News::Signal {
                verdict: SignalVerdict::Started,
                ..
            } => {
                let event = self.event(seen);
                self.begin_drain(seen);
                keep(self.root(), event);
                None
            }
            News::Enrolled { name, .. } => {
                self.enrolled.insert(name.clone(), Some(at));
                if self.drain.is_some() {
                    self.begin_to_stop(name, at);
                }
                None
            }
            News::Ready { name } => self.is_ready(name, at),
            News::Answered { name }
            | News::ToldToClose { name }
            | News::AskedAgain { name }
            | News::Granted { name, .. }
            | News::ListenerClosed { name, .. } => {
                let event = self.event(seen);
                if let Some(span) = self.stopping.get_mut(name) {
                    keep(span, event);
                }
                None
            }
            News::Ended { name, state, .. } => self.has_ended(name, state, at),
            News::HookBegan { name } => {
                let span = self.open_for(name, "hook", at);
                self.hooks.insert(name.clone(), span);
                None
            }
            News::HookEnded { name, hooked } => {
                let span = self.hooks.remove(name);
                span.map(|span| {
                    self.close_as(span, at, hooked.state.as_str(), how_it_went(&hooked.state))
                })
            }
            // Signals, stragglers, reloads and notes belong to the whole.
            _ => {
                let event = self.event(seen);
                keep(
                    &mut self.drain.as_mut().unwrap_or(&mut self.life).root,
                    event,
                );
                None
            }
        }
        .into_iter()
        .collect()
    }

    fn is_ready(&mut self, name: &str, at: Duration) -> Option<Span> {
        let began = self.enrolled.get_mut(name).and_then(Option::take)?;
        let span = self.open_for(name, "start", began);
        Some(self.close(span, at, None))
    }

    fn has_ended(&mut self, name: &str, state: &ParticipantState, at: Duration) -> Option<Span> {
        self.enrolled.remove(name);
        let span = self.stopping.remove(name)?;
        Some(self.close_as(span, at, state.as_str(), how_it_ended(state)))
    }

    /// A span of one participant.
    fn open_for(&mut self, name: &str, what: &str, at: Duration) -> Span {
        let mut span = self.open(&format!("{what} {name}"), at);
        span.attributes
            .push(attribute("lameduck.participant", name));
        span
    }

    fn close_as(&self, mut span: Span, at: Duration, state: &str, status: Option<Status>) -> Span {
        span.attributes.push(attribute("lameduck.state", state));
        self.close(span, at, status)
    }

    pub(crate) fn missed(&mut self, count: u64) {
        self.missed += count;
    }

    fn event(&self, seen: &Observed) -> span::Event {
        span::Event {
            time_unix_nano: self.clock.at(seen.at),
            name: seen.news.to_string(),
            attributes: attributes(&seen.news),
            ..span::Event::default()
        }
    }

    /// The span of the phase that ends, in the trace of its time.
    fn end_phase(&mut self, at: Duration) -> Span {
        let (phase, since) = (self.phase, self.since);
        let name = phase.as_str();
        let mut span = match &self.drain {
            Some(drain) if phase.is_leaving() => self.ids.open(drain, name, self.clock.at(since)),
            _ => self.ids.open(&self.life, name, self.clock.at(since)),
        };
        span.attributes.push(attribute("lameduck.phase", name));
        self.close(span, at, None)
    }

    fn enter(&mut self, seen: &Observed, to: Phase) -> Vec<Span> {
        let at = seen.at;
        let mut ended = vec![self.end_phase(at)];
        let begins = to.is_leaving() && !self.phase.is_leaving();
        self.since = at;
        self.phase = to;
        if begins {
            self.begin_drain(seen);
            self.explain_drain(seen);
            ended.push(self.close(self.life.root.clone(), at, None));
        }
        ended
    }

    /// Begins the trace of the drain, unless its signal did: every participant has a span from here on.
    fn begin_drain(&mut self, seen: &Observed) {
        if self.drain.is_some() {
            return;
        }
        let life = &self.life.root;
        let link = span::Link {
            trace_id: life.trace_id.clone(),
            span_id: life.span_id.clone(),
            ..span::Link::default()
        };
        let id: Vec<u8> = self.life.id.iter().map(|byte| !byte).collect();
        self.drain = Some(Trace {
            root: Span {
                trace_id: id.clone(),
                span_id: self.ids.next(),
                name: "shutdown".to_owned(),
                kind: span::SpanKind::Internal as i32,
                start_time_unix_nano: self.clock.at(seen.at),
                links: vec![link],
                ..Span::default()
            },
            id,
        });
        let names: Vec<_> = self.enrolled.keys().cloned().collect();
        for name in names {
            self.begin_to_stop(&name, seen.at);
        }
    }

    /// Why, and until when: its first phase says so.
    fn explain_drain(&mut self, seen: &Observed) {
        let News::PhaseChanged {
            cause, deadline, ..
        } = &seen.news
        else {
            return;
        };
        let cause = cause
            .as_ref()
            .map(|cause| attribute("lameduck.cause", cause.to_string()));
        let left = deadline.map(|deadline| deadline.saturating_sub(seen.at));
        let left = left.map(|left| attribute("lameduck.deadline_in_ms", left));
        self.root().attributes.extend(cause.into_iter().chain(left));
    }

    fn begin_to_stop(&mut self, name: &str, at: Duration) {
        let span = self.open_for(name, "stop", at);
        self.stopping.insert(name.to_owned(), span);
    }

    /// Everything that is open ends, the root last.
    fn end(&mut self, seen: &Observed, status: Status) -> Vec<Span> {
        let at = seen.at;
        let mut ended = vec![self.end_phase(at)];
        let open = std::mem::take(&mut self.stopping).into_values();
        let open = open.chain(std::mem::take(&mut self.hooks).into_values());
        for span in open {
            ended.push(self.close(span, at, Some(error("had not ended".to_owned()))));
        }
        let mut root = self.present().root.clone();
        if self.missed > 0 {
            root.attributes
                .push(attribute("lameduck.missed", self.missed));
        }
        root.attributes.extend(attributes(&seen.news));
        ended.push(self.close(root, at, Some(status)));
        ended
    }
}

fn attributes(news: &News) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
    logs::facts(news)
        .into_iter()
        .map(|(key, of): (_, Attribute)| attribute(key, of))
        .collect()
}

fn keep(span: &mut Span, event: span::Event) {
    if span.events.len() < MOST_EVENTS {
        span.events.push(event);
    } else {
        span.dropped_events_count += 1;
    }
}

fn error(why: String) -> Status {
    Status {
        code: StatusCode::Error as i32,
        message: why,
    }
}

fn how_it_ended(state: &ParticipantState) -> Option<Status> {
    match state {
        ParticipantState::Done | ParticipantState::NotStarted | ParticipantState::Away { .. } => {
            None
        }
        ParticipantState::Failed { why } | ParticipantState::Refused { why } => {
            Some(error(why.clone()))
        }
        other => Some(error(other.as_str().to_owned())),
    }
}

fn how_it_went(state: &HookState) -> Option<Status> {
    match state {
        HookState::Ok => None,
        HookState::Failed { why } => Some(error(why.clone())),
        other => Some(error(other.as_str().to_owned())),
    }
}

fn how_it_was(outcome: Outcome) -> Status {
    match outcome {
        Outcome::Drained => Status {
            code: StatusCode::Ok as i32,
            ..Status::default()
        },
        other => error(other.to_string()),
    }
}
