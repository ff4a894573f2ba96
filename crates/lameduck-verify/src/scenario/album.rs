//! Owns what the report shows of single connections: which are kept, and in which words.
//! Not: judging them (see each scenario), or drawing them (see `render`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::lanes::words;
use crate::observe::engine::Engine;
use crate::observe::flow::Flow;
use crate::observe::h2;
use crate::observe::outcome::{End, Exchange, Outcome};
use crate::observe::talk::{Talk, TalkMark};
use crate::verdict::{Connection, Mark, millis, relative_ms};

/// Connections kept in all.
const MAX_KEPT: usize = 240;
/// Of one kind of a sweep, which has eight offsets.
const MAX_OF_A_SWEEP: usize = 8;
/// Of any other kind.
const MAX_OF_A_KIND: usize = 4;
/// Events kept of one connection.
const MAX_EVENTS: usize = 24;

/// The connections of all drains of a run.
#[derive(Debug, Default)]
pub(crate) struct Album(Mutex<Shots>);

#[derive(Debug, Default)]
struct Shots {
    kept: Vec<Connection>,
    left_out: u64,
    of_a_kind: BTreeMap<String, usize>,
}

impl Album {
    /// Keeps the connections of `engine`, those that met trouble first.
    pub(crate) fn add(&self, engine: &Engine, t: Instant) {
        let flows = engine.flows.iter().map(|flow| of_flow(flow, t));
        let wide = engine.h2.iter().map(|flow| of_h2(flow, t));
        let talks = engine.talks.iter().map(|talk| of_talk(talk, t));
        let mut all: Vec<Connection> = flows.chain(wide).chain(talks).collect();
        all.retain(|connection| !connection.events.is_empty());
        all.sort_by_key(|connection| std::cmp::Reverse(trouble(connection)));
        let mut shots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shots = &mut *shots;
        for mut connection in all {
            // One connection for each offset of a sweep, a few of each other kind.
            let slot = (connection.kind.to_string(), connection.offset_ms);
            let doubled = slot.1.is_some()
                && shots
                    .kept
                    .iter()
                    .any(|kept| (kept.kind.as_ref(), kept.offset_ms) == (&slot.0, slot.1));
            let count = shots.of_a_kind.entry(slot.0).or_default();
            let most = if slot.1.is_some() {
                MAX_OF_A_SWEEP
            } else {
                MAX_OF_A_KIND
            };
            if doubled || *count >= most || shots.kept.len() >= MAX_KEPT {
                shots.left_out += 1;
                continue;
            }
            *count += 1;
            connection.events.truncate(MAX_EVENTS);
            shots.kept.push(connection);
        }
    }

    /// What was kept, by kind and offset, and how many were not.
    pub(crate) fn take(&self) -> (Vec<Connection>, u64) {
        let mut shots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shots = std::mem::take(&mut *shots);
        let mut kinds: Vec<String> = Vec::new();
        for connection in &shots.kept {
            if !kinds.iter().any(|kind| *kind == connection.kind) {
                kinds.push(connection.kind.to_string());
            }
        }
        let mut kept = shots.kept;
        kept.sort_by(|one, other| {
            let place =
                |connection: &Connection| kinds.iter().position(|kind| *kind == connection.kind);
            let offset = |connection: &Connection| connection.offset_ms.unwrap_or(0.0);
            place(one)
                .cmp(&place(other))
                .then(offset(one).total_cmp(&offset(other)))
        });
        (kept, shots.left_out)
    }
}

fn trouble(connection: &Connection) -> bool {
    connection
        .outcome
        .is_some_and(|outcome| outcome.is_unanswered() || outcome == Outcome::Error)
}

fn mark(at: Instant, t: Instant, event: &'static str, note: String) -> Mark {
    Mark {
        at_ms: relative_ms(at, t),
        event: event.into(),
        note,
    }
}

fn of_flow(flow: &Flow, t: Instant) -> Connection {
    let events = flow.marks.iter().filter_map(|(at, seen)| {
        let (event, note) = words(*seen)?;
        Some(mark(*at, t, event, note))
    });
    let mut events: Vec<Mark> = events.collect();
    events.extend(hung(flow.exchanges.last(), t));
    Connection {
        kind: kind(flow.group),
        offset_ms: flow.offset.map(millis),
        outcome: worst(flow.exchanges.iter(), t),
        events,
    }
}

fn of_h2(flow: &h2::flow::Flow, t: Instant) -> Connection {
    let mut events = Vec::new();
    for conn in &flow.conns {
        events.push(mark(conn.opened_at, t, "connected", String::new()));
        for goaway in &conn.goaways {
            let which = if goaway.is_notice() {
                "goes soon".to_owned()
            } else {
                format!("last stream {}", goaway.last)
            };
            events.push(mark(goaway.at, t, "goaway", which));
        }
        events.extend(
            conn.end
                .map(|(at, end)| mark(at, t, ended(end), String::new())),
        );
    }
    for call in &flow.calls {
        let exchange = &call.exchange;
        if let Some(at) = exchange.written_at {
            events.push(mark(at, t, "sent", String::new()));
        }
        if let (Some(at), Some(outcome)) = (exchange.ended_at, exchange.outcome) {
            let status = exchange.status.map(|status| status.to_string());
            let (event, note) = if outcome.is_served() || outcome == Outcome::Error {
                ("answered", status.unwrap_or_default())
            } else if outcome.is_unanswered() {
                ("unanswered", outcome.word().to_owned())
            } else {
                ("refused", outcome.word().to_owned())
            };
            events.push(mark(at, t, event, note));
        }
    }
    for (_, at) in &flow.refused_connects {
        events.push(mark(*at, t, "refused", String::new()));
    }
    events.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
    Connection {
        kind: kind(flow.group),
        offset_ms: flow.offset.map(millis),
        outcome: worst(flow.calls.iter().map(|call| &call.exchange), t),
        events,
    }
}

fn of_talk(talk: &Talk, t: Instant) -> Connection {
    let events = talk.marks.iter().map(|(at, seen)| {
        let event = match seen {
            TalkMark::Connected => "connected",
            TalkMark::Refused => "refused",
            TalkMark::Wrote => "sent",
            TalkMark::Heard => "heard",
            TalkMark::Ended(end) => ended(*end),
        };
        mark(*at, t, event, String::new())
    });
    Connection {
        kind: kind(talk.group),
        offset_ms: None,
        outcome: None,
        events: events.collect(),
    }
}

fn ended(end: End) -> &'static str {
    match end {
        End::Fin => "closed",
        End::Reset => "reset",
        End::GaveUp => "unanswered",
    }
}

fn hung(last: Option<&Exchange>, t: Instant) -> Option<Mark> {
    let last = last.filter(|exchange| exchange.outcome == Some(Outcome::Hung))?;
    Some(mark(last.ended_at?, t, "unanswered", String::new()))
}

/// What became of the requests that the signal could have harmed: the worst of it.
fn worst<'e>(exchanges: impl Iterator<Item = &'e Exchange>, t: Instant) -> Option<Outcome> {
    let at_stake = exchanges.filter(|exchange| exchange.is_at_stake(t));
    // A write that came after the end was seen never left this machine.
    let judged = at_stake.filter(|exchange| {
        exchange.written_at.is_some() || !exchange.outcome.is_some_and(Outcome::is_unanswered)
    });
    judged
        .filter_map(|exchange| exchange.outcome)
        .max_by_key(|outcome| (outcome.is_unanswered(), *outcome))
}

/// The group of a scenario in words for people.
fn kind(group: &'static str) -> std::borrow::Cow<'static, str> {
    let words = match group {
        "in-flight" => "in flight at T",
        "idle" => "idle, reused after T",
        "silent" => "silent until after T",
        "half-fresh" => "half a head, new connection",
        "half-reused" => "half a head, reused connection",
        "buffered" => "in the socket buffer at T",
        "left-alone" => "idle, left alone",
        "newcomers" | "plain-newcomers" => "new connections",
        "half-heads" => "half a head, never completed",
        "tls-stalled" => "TLS: handshake stalled",
        "tls-hostile" => "TLS: hostile handshake",
        "tls-shaking" => "TLS: handshake under way at T",
        "tls-idle" => "TLS: idle",
        "tls-newcomers" => "TLS: new connections",
        "h2-idle" => "HTTP/2: idle",
        "h2-between" => "HTTP/2: stream between GOAWAYs",
        "h2-sweep" => "HTTP/2: stream after T",
        "h2-credit" => "HTTP/2: slow reader",
        "h2-silent" => "HTTP/2: answers no PING",
        "h2-half" => "HTTP/2: half a preface",
        "h2-in-flight" => "HTTP/2: stream open at T",
        "h2-above" => "HTTP/2: stream above the last",
        "h2-grpc" => "gRPC: call open at T",
        "h2-hundred" => "HTTP/2: 100 streams at T",
        "h2-newcomers" => "HTTP/2: new connections",
        "ws-tunnels" => "WebSocket over HTTP/2",
        "expecting" => "waiting for 100-continue",
        "ws-idle" => "WebSocket: idle",
        "ws-busy" => "WebSocket: busy",
        "ws-large" => "WebSocket: large message",
        "ws-silent" => "WebSocket: answers no Close",
        "ws-farewell" => "WebSocket: own farewell",
        other => return other.replace('-', " ").into(),
    };
    words.into()
}
