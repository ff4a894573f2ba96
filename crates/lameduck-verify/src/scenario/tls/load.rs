//! L-TLS: closed-loop clients over TLS, HTTP/1.1 and HTTP/2, across the signal.
//! Not: the clients themselves (see `load` and `h2::load`).

use crate::observe::engine::Engine;
use crate::observe::rng::Rng;
use crate::observe::tls::Alpn;
use crate::scenario::bench::Bench;
use crate::scenario::h2;
use crate::scenario::load::{self, Crowd, Habit, Load, stop_under_load};
use crate::scenario::speech::tls_door;
use crate::target::{Running, VerifyError};

/// Clients that keep their connection, and that shake hands for each request.
const KEEPING: usize = 20;
const CONNECTING: usize = 4;
/// Clients that speak HTTP/2, where it is spoken.
const MANIFOLD: usize = 12;

/// Why the target can not be asked over TLS.
pub(crate) fn lacks(bench: &Bench<'_>) -> Option<String> {
    (!bench.facts.speech.tls).then(|| super::judge::LACKING.to_owned())
}

/// One round of `L-TLS`.
pub(crate) fn round(bench: &Bench<'_>, index: u64) -> Result<Load, VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    let mut rng = bench.rng(0x715a + index);
    let crowd = Crowd {
        keeping: KEEPING,
        connecting: CONNECTING,
        habit: Habit::of(index),
    };
    add_clients(bench, &running, &mut engine, &rng, crowd);
    let t = stop_under_load(bench, &running, &mut engine, &mut rng, index);
    Ok(load::count(&engine, t))
}

/// Adds the clients of both protocols.
pub(crate) fn add_clients(
    bench: &Bench<'_>,
    running: &Running,
    engine: &mut Engine,
    rng: &Rng,
    crowd: Crowd,
) {
    let place = &running.place;
    let door = tls_door(place, Alpn::Http1);
    load::add_clients_at(bench, running, engine, &rng.fork(1), crowd, &door);
    if bench.facts.speech.tls_h2 {
        let door = tls_door(place, Alpn::Http2);
        let count = MANIFOLD.min(crowd.keeping);
        h2::load::add_clients_at(
            bench,
            running,
            engine,
            &rng.fork(2),
            count,
            crowd.habit,
            &door,
        );
    }
}
