//! Who else takes part in a chaos round: honest clients of every protocol, and in half of the rounds hostile peers.
//!
//! Owns: drawing them. Not here: the HTTP/1.1 clients without TLS (parent), playing any of them.

use std::time::Duration;

use super::{Window, draw_script, ms};
use crate::honest::{Member, Role, Route};
use crate::hostile::{self, Then};
use crate::rng::Rng;
use crate::script::{AfterClose, Kind, Think};
use crate::target::Door;

/// Rounds in a hundred that hostile peers take part in.
const HOSTILE_ROUNDS: u64 = 50;

/// Draws the honest clients. At least one of each kind is certain, without TLS and with it.
pub(super) fn honest(rng: &mut Rng, window: Window, leaving: u64) -> Vec<Member> {
    let half = Think::Between(ms(1), window.quiet / 2);
    let mut roles = Vec::new();
    for door in [Door::Plain, Door::Tls] {
        for _ in 0..rng.within(1..=2) {
            roles.push(http2(rng, door, &half));
            roles.push(Role::WebSocket {
                door,
                route: *rng.pick(&[Route::Http1, Route::Http1, Route::Http2]),
                largest: *rng.pick(&[125, 16 * 1024, 100 * 1024]),
                think: half.clone(),
            });
        }
        roles.push(Role::Grpc {
            door,
            streams: rng.within(1..=6),
            longest: *rng.pick(&[ms(0), ms(20), ms(300)]),
            think: half.clone(),
        });
        roles.push(Role::Events {
            door,
            every: *rng.pick(&[ms(5), ms(30), ms(100)]),
        });
    }
    for index in 0..rng.within(2..=4) {
        // Beyond the first ten, kinds are drawn; the last kind idles longer than any promise, which the figure tells.
        let script = draw_script(rng, 10 + index, window, leaving);
        let door = Door::Tls;
        roles.push(Role::Http1 { door, script });
    }
    let mut enrol = |role| Member {
        role,
        after_close: if rng.chance(leaving) {
            AfterClose::Leave
        } else {
            AfterClose::Reconnect
        },
        seed: rng.next(),
        start: rng.duration(Duration::ZERO..=ms(40)),
    };
    roles.into_iter().map(&mut enrol).collect()
}

fn http2(rng: &mut Rng, door: Door, think: &Think) -> Role {
    let kinds = [
        Kind::Get,
        Kind::Echo { largest: 64 * 1024 },
        Kind::Slow { longest: ms(400) },
        Kind::Stream {
            chunks: 10,
            pause: ms(40),
        },
        Kind::Large {
            bytes: 1 << 20,
            sip: 32 * 1024,
            pause: ms(10),
        },
        Kind::Upload {
            pieces: 8,
            piece: 8 * 1024,
            gap: ms(40),
        },
    ];
    Role::Http2 {
        door,
        streams: rng.within(1..=8),
        kind: rng.pick(&kinds).clone(),
        think: think.clone(),
    }
}

/// Draws one to three attacks with a few peers each, or none.
pub(super) fn hostile(rng: &mut Rng) -> Vec<(&'static str, usize)> {
    if !rng.chance(HOSTILE_ROUNDS) {
        return Vec::new();
    }
    let attacks = hostile::catalogue();
    (0..rng.within(1..=3))
        .map(|_| {
            let attack = rng.pick(&attacks);
            // Rounds are played side by side on a small machine: floods are to disturb, not to starve it.
            let most = match attack.then {
                Then::Flood { most: 2.., .. } => 2,
                _ => 16,
            };
            (attack.name, rng.within(1..=most) as usize)
        })
        .collect()
}
