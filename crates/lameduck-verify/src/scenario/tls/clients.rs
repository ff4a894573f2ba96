//! Owns the TLS clients of the second drain: one kind for each promise.
//! Not: when the signal is sent (see `second`), or what they prove (see `judge`).

use std::time::Duration;

use crate::observe::engine::Engine;
use crate::observe::flow::{Flow, Part, Step, Steps, When};
use crate::observe::link::Door;
use crate::observe::tls::{Alpn, Reach};
use crate::scenario::bench::Bench;
use crate::scenario::drain::{Newcomer, SWEEP};
use crate::scenario::requests;
use crate::scenario::speech::tls_door;
use crate::target::Running;

/// Clients that never go on with their handshake.
const STALLED: usize = 12;
/// Clients that speak no TLS.
const HOSTILE: usize = 4;
/// Idle connections that are left alone.
const LEFT_ALONE: usize = 4;

/// Opens all of them, where the target speaks TLS: the bad ones first.
pub(crate) fn open(bench: &Bench<'_>, running: &Running, engine: &mut Engine) {
    if !bench.facts.speech.tls {
        return;
    }
    let place = &running.place;
    let door = tls_door(place, Alpn::Http1);
    let ask = || {
        let bytes = requests::usual(&bench.facts, place);
        let part = Part::Whole;
        [Step::Send { bytes, part }, Step::AwaitAnswer]
    };
    let flow = |group, steps| {
        Flow::new(group, Steps::new(steps))
            .posting(bench.posts())
            .with_usual(bench.facts.usual)
            .through(door.clone())
    };
    let wait = Step::Pause(When::AfterStop(Duration::ZERO));
    for index in 0..STALLED {
        let reach = [Reach::HalfHello, Reach::Hello][index % 2];
        let steps = vec![Step::Dial, Step::Shake(reach), wait.clone(), Step::AwaitEnd];
        engine.add(flow("tls-stalled", steps));
    }
    for _ in 0..HOSTILE {
        let bytes = b"GET / HTTP/1.1\r\nHost: this is no TLS\r\n\r\n".to_vec();
        let part = Part::First;
        let steps = vec![
            Step::Connect,
            Step::Send { bytes, part },
            wait.clone(),
            Step::AwaitEnd,
        ];
        let plain = match &door {
            Door::Tls(tls) => Door::Plain(tls.addr),
            other => other.clone(),
        };
        engine.add(flow("tls-hostile", steps).through(plain));
    }
    for offset in SWEEP {
        for reach in [Reach::HalfHello, Reach::Hello] {
            for _ in 0..2 {
                let mut steps = vec![
                    Step::Dial,
                    Step::Shake(reach),
                    Step::Pause(When::AfterStop(offset)),
                    Step::Shake(Reach::Done),
                ];
                steps.extend(ask());
                engine.add(flow("tls-shaking", steps).at_offset(offset));
            }
        }
    }
    for _ in 0..LEFT_ALONE {
        let mut steps = vec![Step::Connect];
        steps.extend(ask());
        steps.extend([wait.clone(), Step::AwaitEnd]);
        engine.add(flow("tls-idle", steps));
    }
}

/// Opens those who connect anew for each request, where the target speaks TLS; and beside them, where it answers in plain text
/// too, some who shake no hands: what they have to wait for is no handshake of others.
pub(crate) fn open_newcomers(bench: &Bench<'_>, running: &Running, engine: &mut Engine) {
    if !bench.facts.speech.tls {
        return;
    }
    let place = &running.place;
    let door = tls_door(place, Alpn::Http1);
    let flow = |group, index| {
        let request = requests::usual(&bench.facts, place);
        let newcomer = Newcomer::new(request, Duration::from_millis(5) * index);
        let flow = Flow::new(group, newcomer).posting(bench.posts());
        flow.with_usual(bench.facts.usual)
    };
    for index in 0..4 {
        engine.add(flow("tls-newcomers", index).through(door.clone()));
    }
    if bench.facts.speaks_h1 {
        for index in 0..2 {
            engine.add(flow("plain-newcomers", index));
        }
    }
}
