//! L-MIX: every protocol that the target speaks at once across a signal, slow and hostile clients among them.
//! Owns who takes part; not the clients of single protocols. Only the honest are counted.

use std::time::{Duration, Instant};

use super::bench::Bench;
use super::h1::client::{Client, Deed, FILLER, LONG, Sign};
use super::load::{self, Crowd, Habit, Load, stop_under_load};
use super::{deaf, h2, requests, tls, ws};
use crate::observe::engine::Engine;
use crate::observe::flow::When;
use crate::observe::h2::PREFACE;
use crate::observe::h2::flow::Flow as H2Flow;
use crate::observe::h2::script::{Step, Steps};
use crate::observe::link::Door;
use crate::observe::outcome::End;
use crate::observe::rng::Rng;
use crate::observe::talk::{Act, Line, Scene, Talk, Talker};
use crate::target::{Place, Running, VerifyError};

const KEEPING: usize = 24;
const CONNECTING: usize = 4;
const ECHOING: usize = 12;
/// Over HTTP/2, and over TLS, where they are spoken; few, because handshakes are work that keeps the others waiting.
const MANIFOLD: usize = 6;
const SECURED: usize = 4;
const WATCHING: usize = 4;
const SLOW_UPLOADS: usize = 2;
const HOSTILE_GROUP: &str = "hostile";
/// Of each hostile kind.
const HOSTILE: usize = 2;

const DRIP: Duration = Duration::from_millis(50);
/// Requests that a flooder sends at once, and never reads the answers of.
const FLOOD: usize = 256;
/// Small, so that what they do not read is the target's to keep.
const RECEIVE_BUFFER: usize = 16 * 1024;
/// Connections that are broken off by a RST, one after the other.
const BREAKS: u32 = 20;

/// One round of `L-MIX`.
pub(crate) fn round(bench: &Bench<'_>, index: u64) -> Result<Load, VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    let mut rng = bench.rng(0x31b0 + index);
    let habit = Habit::of(index);
    let crowd = Crowd {
        keeping: KEEPING,
        connecting: CONNECTING,
        habit,
    };
    load::add_clients(bench, &running, &mut engine, &rng, crowd);
    ws::load::add_clients(bench, &running, &mut engine, &rng, ECHOING, habit);
    h2::load::add_clients(bench, &running, &mut engine, &rng.fork(2), MANIFOLD, habit);
    if bench.facts.speech.tls {
        let crowd = Crowd {
            keeping: SECURED,
            connecting: 1,
            ..crowd
        };
        tls::load::add_clients(bench, &running, &mut engine, &rng.fork(3), crowd);
    }
    add_lasting(bench, &running, &mut engine);
    add_hostile(bench, &running.place, &mut engine, &rng);
    add_hostile_to_doors(bench, &running.place, &mut engine);
    let t = stop_under_load(bench, &running, &mut engine, &mut rng, index);
    let mut load = load::count(&engine, t);
    ws::load::count(&engine, t, &mut load);
    count_lasting(bench, &engine, t, &mut load);
    load.settle();
    Ok(load)
}

/// Half a preface at the doors of HTTP/2, and silence at that of TLS.
fn add_hostile_to_doors(bench: &Bench<'_>, place: &Place, engine: &mut Engine) {
    let speech = bench.facts.speech;
    let mut add = |door: Door, bytes: &[u8]| {
        let steps = vec![
            Step::Connect(0),
            Step::Bytes(bytes.to_vec()),
            Step::AwaitEnd,
        ];
        let flow = H2Flow::new(HOSTILE_GROUP, vec![door], Steps::new(steps));
        engine.h2.push(flow);
    };
    for door in speech.h2_doors(place) {
        add(door.clone(), &PREFACE[..PREFACE.len() / 2]);
        // Greeted, and then never a word: not even the answer to a PING.
        add(door, PREFACE);
    }
    if let Some(url) = place.tls.as_ref().filter(|_| speech.tls) {
        // The first bytes of a ClientHello, and no more.
        add(Door::Plain(url.addr), &[0x16, 0x03, 0x01, 0x02]);
    }
}

/// Honest clients whose exchanges last: event streams and slow uploads.
fn add_lasting(bench: &Bench<'_>, running: &Running, engine: &mut Engine) {
    let place = &running.place;
    if let Some(template) = &bench.options.target.sse_path {
        for _ in 0..WATCHING {
            let path = place.fill(template).replace("{ms}", "20");
            let deeds = vec![
                Deed::Connect,
                Deed::Send(requests::get(place, &path)),
                Deed::Await(Sign::Body(1), LONG),
                Deed::AwaitEndOrAnswer,
            ];
            engine.add_talk(Talk::new("watching", Client::new(1, deeds)));
        }
    }
    let target = &bench.options.target;
    let upload = target.upload_path.as_deref().map(|path| place.fill(path));
    if let Some(path) = upload.or_else(|| bench.facts.post_path.clone()) {
        for _ in 0..SLOW_UPLOADS {
            let head = requests::head(place, "POST", &path, "Content-Length: 32768\r\n\r\n");
            let deeds = vec![
                Deed::Connect,
                Deed::Send(head.into_bytes()),
                Deed::Drip {
                    bytes: vec![FILLER; 32],
                    every: DRIP,
                    until: When::AfterStop(Duration::from_millis(500)),
                },
                Deed::Fill(32_768),
                Deed::Await(Sign::Answers(1), LONG),
            ];
            engine.add_talk(Talk::new("uploading", Client::new(1, deeds)));
        }
    }
}

fn count_lasting(bench: &Bench<'_>, engine: &Engine, t: Instant, load: &mut Load) {
    for (group, is_post) in [("watching", false), ("uploading", true)] {
        let clients = engine
            .talks_of(group)
            .filter_map(|talk| talk.talker::<Client>());
        for client in clients.filter(|client| client.wrote_at.is_some()) {
            // One that had no event stream from the beginning says nothing about the signal.
            let exchange = client.exchange(0, is_post, bench.facts.usual);
            let is_answered_early =
                client.is_answered_early() || exchange.ended_at.is_some_and(|ended| ended < t);
            if is_answered_early {
                continue;
            }
            // An event stream that began was answered: how it ends is for H1-14 to judge, and its client comes back.
            if !is_post && exchange.first_byte_at.is_some() {
                load.streams.add(&exchange);
            } else {
                load.add(&exchange, t);
            }
        }
    }
}

/// Clients that mean no good, or know no better. Nothing is owed to them, and they must not cost others anything.
fn add_hostile(bench: &Bench<'_>, place: &Place, engine: &mut Engine, rng: &Rng) {
    for index in 0..HOSTILE {
        let mut rng = rng.fork(0xbad0 + index as u64);
        let mut scripts: Vec<Vec<Deed>> = Vec::new();
        let (half, _) = requests::in_halves(&bench.facts, place);
        scripts.push(vec![Deed::Connect, Deed::AwaitEnd]);
        scripts.push(vec![
            Deed::Connect,
            Deed::Send(half.clone()),
            Deed::AwaitEnd,
        ]);
        let field = requests::head(place, "GET", &place.url.path, "X-Drip: ");
        scripts.push(vec![
            Deed::Connect,
            Deed::Send(field.into_bytes()),
            Deed::Drip {
                bytes: vec![FILLER],
                every: DRIP,
                until: When::AfterStop(LONG),
            },
        ]);
        let path = bench.facts.post_path.as_deref().unwrap_or("/");
        let stalled = requests::head(place, "POST", path, "Content-Length: 1000000\r\n\r\n");
        scripts.push(vec![
            Deed::Connect,
            Deed::Send(stalled.into_bytes()),
            Deed::AwaitEnd,
        ]);
        let garbage: Vec<u8> = (0..2_048).map(|_| rng.next() as u8).collect();
        scripts.push(vec![Deed::Connect, Deed::Send(garbage), Deed::AwaitEnd]);
        let flood: Vec<u8> = (0..FLOOD)
            .flat_map(|_| requests::get(place, &place.url.path))
            .collect();
        scripts.push(deaf::deeds(flood));
        if let Some(large) = &bench.facts.large_path {
            scripts.push(deaf::deeds(requests::get(place, large)));
        }
        for deeds in scripts {
            let talk = Talk::new(HOSTILE_GROUP, Client::new(1, deeds));
            engine.add_talk(talk.with_receive_buffer(RECEIVE_BUFFER).unawaited());
        }
        engine.add_talk(Talk::new(HOSTILE_GROUP, Breaker { half, left: BREAKS }).unawaited());
    }
}

/// Connects, sends half a request and resets, again and again.
struct Breaker {
    half: Vec<u8>,
    left: u32,
}

impl Talker for Breaker {
    fn act(&mut self, scene: &Scene) -> Act {
        match scene.line {
            Line::Open if !self.half.is_empty() && self.left > 0 && self.left.is_multiple_of(2) => {
                self.left -= 1;
                Act::Send(self.half.clone())
            }
            Line::Open => {
                self.left = self.left.saturating_sub(1);
                Act::Abort
            }
            Line::None if self.left > 0 && !scene.is_closing_time => Act::Connect,
            Line::None | Line::Refused | Line::Failed(_) | Line::Ended(_) => Act::Finish,
        }
    }

    fn hear(&mut self, _: &[u8], _: Instant) {}

    fn ended(&mut self, _: End, _: Instant) {}

    fn is_poised(&self) -> bool {
        true
    }
}
