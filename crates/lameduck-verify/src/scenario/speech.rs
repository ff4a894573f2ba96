//! Owns finding out which protocols a target speaks besides HTTP/1.1, and the doors that follow from it.
//! Not: judging them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::h2::requests as h2;
use super::requests;
use crate::declared::TlsTrust;
use crate::observe::engine::Engine;
use crate::observe::flow::{Flow, Part, Step, Steps};
use crate::observe::h2 as wire;
use crate::observe::link::Door;
use crate::observe::outcome::Outcome;
use crate::observe::tls::{Alpn, TlsDoor};
use crate::options::Options;
use crate::target::{Place, VerifyError};

/// Bound for all questions of one try.
const BOUND: Duration = Duration::from_secs(2);

/// What a target speaks besides HTTP/1.1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Speech {
    /// HTTP/2 by prior knowledge, in plain text.
    pub(crate) h2: bool,
    /// HTTP/1.1 under TLS.
    pub(crate) tls: bool,
    /// HTTP/2 under TLS, by ALPN.
    pub(crate) tls_h2: bool,
    /// The declared gRPC call is answered.
    pub(crate) grpc: bool,
    /// From the TLS connect to the answer.
    pub(crate) tls_took: Duration,
}

impl Speech {
    /// Tries the target out.
    pub(crate) fn learn(options: &Options, place: &Place, notes: &mut Vec<String>) -> Self {
        let mut engine = Engine::new(place.url.addr, Duration::ZERO);
        engine.h2.push(asking("plain", place, Door::Usual));
        if place.tls.is_some() {
            engine
                .h2
                .push(asking("tls", place, tls_door(place, Alpn::Http2)));
            let request = requests::get(place, &tls_path(place));
            let steps = vec![
                Step::Connect,
                Step::Send {
                    bytes: request,
                    part: Part::Whole,
                },
                Step::AwaitAnswer,
            ];
            let flow = Flow::new("tls", Steps::new(steps));
            engine.add(flow.through(tls_door(place, Alpn::Http1)));
        }
        engine.run(Instant::now() + BOUND, Engine::all_finished);
        engine.give_up();
        let answered = |group| {
            let mut flows = engine.h2.iter().filter(|flow| flow.group == group);
            flows.any(|flow| flow.calls.first().is_some_and(is_answered))
        };
        let tls = engine.flows.first().and_then(|flow| flow.exchanges.first());
        let tls = tls.filter(|exchange| exchange.outcome.is_some_and(Outcome::is_served));
        let mut speech = Self {
            h2: answered("plain"),
            tls: tls.is_some(),
            tls_h2: answered("tls"),
            grpc: false,
            tls_took: tls.map_or(Duration::ZERO, |exchange| {
                let ended = exchange.ended_at.unwrap_or(exchange.opened_at);
                ended.saturating_duration_since(exchange.opened_at)
            }),
        };
        speech.grpc = speech.answers_grpc(options, place);
        notes.extend(speech.note(options, place));
        speech
    }

    /// Where certificates are judged, a TLS door that only opens without that is no lack of TLS, but a mistake.
    ///
    /// # Errors
    /// Says that the certificate is not trusted.
    pub(crate) fn check_trust(&self, options: &Options, place: &Place) -> Result<(), VerifyError> {
        let Some(url) = place.tls.as_ref() else {
            return Ok(());
        };
        if place.trust == TlsTrust::Any || self.tls || self.tls_h2 {
            return Ok(());
        }
        let mut anyone = place.clone();
        anyone.trust = TlsTrust::Any;
        let speech = Self::learn(options, &anyone, &mut Vec::new());
        if speech.tls || speech.tls_h2 {
            let name = place.tls_name.as_ref().unwrap_or(&url.host);
            return Err(VerifyError::Untrusted(name.clone()));
        }
        Ok(())
    }

    fn answers_grpc(&self, options: &Options, place: &Place) -> bool {
        let (Some(call), Some(door)) = (&options.target.grpc, self.h2_doors(place).pop()) else {
            return false;
        };
        let request = h2::grpc(place, &door, &call.path, &call.message);
        let mut engine = Engine::new(place.url.addr, Duration::ZERO);
        engine.h2.push(h2::one("grpc", door, request));
        engine.run(Instant::now() + BOUND, Engine::all_finished);
        engine.give_up();
        let outcome = engine.h2[0]
            .calls
            .first()
            .and_then(|call| call.exchange.outcome);
        outcome.is_some_and(Outcome::is_served)
    }

    fn note(&self, options: &Options, place: &Place) -> Option<String> {
        let spoken: Vec<&str> = [
            (self.h2, "HTTP/2 by prior knowledge"),
            (self.tls, "HTTP/1.1 over TLS"),
            (self.tls_h2, "HTTP/2 over TLS"),
            (self.grpc, "gRPC"),
        ]
        .into_iter()
        .filter_map(|(speaks, name)| speaks.then_some(name))
        .collect();
        let mut text = match spoken.as_slice() {
            [] => return (place.tls.is_some()).then(|| "no TLS handshake succeeded".to_owned()),
            _ => format!("it speaks {}", spoken.join(", ")),
        };
        if options.target.grpc.is_some() && !self.grpc {
            text.push_str("; the gRPC call is not answered with grpc-status 0");
        }
        Some(text)
    }

    /// Every door at which HTTP/2 is spoken, plain first.
    pub(crate) fn h2_doors(&self, place: &Place) -> Vec<Door> {
        let mut doors = Vec::new();
        if self.h2 {
            doors.push(Door::Usual);
        }
        if self.tls_h2 {
            doors.push(tls_door(place, Alpn::Http2));
        }
        doors
    }

    pub(crate) fn speaks_h2(&self) -> bool {
        self.h2 || self.tls_h2
    }
}

/// The target's TLS door, for clients that offer `alpn`; plain where it has none.
pub(crate) fn tls_door(place: &Place, alpn: Alpn) -> Door {
    place.tls.as_ref().map_or(Door::Usual, |url| {
        let name = place.tls_name.as_deref().unwrap_or(&url.host);
        Door::Tls(Arc::new(TlsDoor::new(url.addr, name, alpn, &place.trust)))
    })
}

/// The path of the TLS URL, unless it says nothing.
fn tls_path(place: &Place) -> String {
    let path = place.tls.as_ref().map_or("/", |url| url.path.as_str());
    if path == "/" { &place.url.path } else { path }.to_owned()
}

fn asking(group: &'static str, place: &Place, door: Door) -> wire::flow::Flow {
    let request = h2::get(place, &door, &place.url.path);
    h2::one(group, door, request)
}

fn is_answered(call: &wire::call::Call) -> bool {
    // An error is an answer too: the same is asked over HTTP/1.1, and what it gives there is known.
    let outcome = call.exchange.outcome;
    outcome.is_some_and(|outcome| outcome.is_served() || outcome == Outcome::Error)
}
