//! WS-01 to WS-06: WebSockets of every manner, open in the drain of `long`.
//! Owns which clients there are and the verdicts; not frames (see `observe::ws`) or load (L-WS).

mod client;
mod judge;
pub(crate) mod load;
mod tunnel;

use std::time::{Duration, Instant};

use super::bench::Bench;
use super::long::{Opening, Seen};
use super::requests;
use crate::observe::engine::Engine;
use crate::observe::talk::Talk;
use crate::target::Place;
use crate::verdict::Finding;

use client::{Manner, WsClient};

pub(crate) const IDS: [&str; 6] = ["WS-01", "WS-02", "WS-03", "WS-04", "WS-05", "WS-06"];

const IDLE: &str = "ws-idle";
const BUSY: &str = "ws-busy";
const LARGE: &str = "ws-large";
const SILENT: &str = "ws-silent";
const FAREWELL: &str = "ws-farewell";

/// Enough to see whether their closes come in one burst.
const IDLE_CLIENTS: usize = 40;
const BUSY_BYTES: usize = 48 * 1024;
/// More than a kernel keeps for a reader that does not read, so that the service itself is in the middle of it at T.
const LARGE_BYTES: usize = 8 * 1024 * 1024;
const RECEIVE_BUFFER: usize = 32 * 1024;

/// Why WebSockets cannot be tested, if they cannot.
pub(crate) fn lacks(bench: &Bench<'_>) -> Option<String> {
    if bench.facts.ws_path.is_some() {
        return None;
    }
    Some(match &bench.options.target.ws_path {
        None => "no path with a WebSocket is known; --ws-path would give one".to_owned(),
        Some(path) => format!("{path} is no WebSocket that echoes (see the notes)"),
    })
}

/// How long the first echo may take.
const TRY_BOUND: Duration = Duration::from_secs(3);

/// Opens one WebSocket and asks for one echo; says what went wrong, if something did.
pub(crate) fn try_out(place: &Place, path: &str) -> Result<(), String> {
    let client = WsClient::new(Manner::Idle, requests::websocket(place, path));
    let mut engine = Engine::new(place.url.addr, Duration::ZERO);
    engine.add_talk(Talk::new(IDLE, client));
    let is_over = |engine: &Engine| {
        let mut talks = engine.talks.iter();
        talks.all(|talk| talk.is_poised() || talk.is_finished())
    };
    engine.run(Instant::now() + TRY_BOUND, is_over);
    let talk = &engine.talks[0];
    match talk.talker::<WsClient>() {
        _ if talk.is_poised() => Ok(()),
        Some(client) => Err(judge::in_words(client)),
        None => Err("it is not answered".to_owned()),
    }
}

/// Adds the clients of every id that is wanted.
pub(crate) fn open(opening: &mut Opening<'_>) {
    let target = &opening.bench.options.target;
    if let Some(path) = opening.bench.facts.ws_path.as_deref() {
        let path = opening.place.fill(path);
        open_echoes(opening, &path);
        if opening.wants("WS-05") {
            tunnel::open(opening, &path);
        }
    }
    if let Some(farewell) = &target.ws_farewell
        && opening.wants("WS-04")
    {
        let handshake = requests::websocket(opening.place, &opening.place.fill(&farewell.path));
        opening.add(FAREWELL, WsClient::new(Manner::Listening, handshake));
    }
}

fn open_echoes(opening: &mut Opening<'_>, path: &str) {
    let wants = |ids: &[&str]| ids.iter().any(|id| opening.wants(id));
    let mut manners = Vec::new();
    if wants(&["WS-01", "WS-06"]) {
        manners.extend([(IDLE, Manner::Idle); IDLE_CLIENTS]);
    }
    if wants(&["WS-02"]) {
        manners.extend([(BUSY, Manner::Busy { bytes: BUSY_BYTES }); 4]);
        let read_for = opening.time.saturating_sub(Duration::from_millis(300));
        manners.extend([1, 64].map(|fragments| {
            let large = Manner::Large {
                bytes: LARGE_BYTES,
                fragments,
                read_for,
            };
            (LARGE, large)
        }));
    }
    if wants(&["WS-03"]) {
        manners.extend([(SILENT, Manner::Silent); 2]);
    }
    for (group, manner) in manners {
        let client = WsClient::new(manner, requests::websocket(opening.place, path));
        let talk = Talk::new(group, client);
        opening.engine.add_talk(if group == LARGE {
            talk.with_receive_buffer(RECEIVE_BUFFER)
        } else {
            talk
        });
    }
}

/// The tunnels are where the signal should find them, or over.
pub(crate) fn are_tunnels_ready(engine: &Engine) -> bool {
    tunnel::are_ready(engine)
}

pub(crate) fn judge(seen: &Seen<'_>) -> Vec<Finding> {
    let mut findings = judge::judge(seen);
    findings.push(tunnel::judge(seen));
    findings
}
