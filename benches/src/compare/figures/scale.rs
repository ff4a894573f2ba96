//! Many connections of mixed protocols, told to stop.
//!
//! Owns: the mix, the sizes, and what must not grow with them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::{Bench, Failure, Figure};
use crate::compare::contender::Contender;
use crate::compare::crowd::{Crowd, Farewell, Parting};
use crate::compare::link::Cover;
use crate::compare::listener::Probe;
use crate::compare::speech::Speech;
use crate::descriptors;
use crate::memory::{Footprint, Peak};
use crate::server::{Server, describe};

pub(super) const FIGURE: Figure = Figure {
    name: "scale",
    title: "Many connections at once",
    about: "lameduck with 60 % HTTP/1.1, 20 % HTTP/2, 10 % TLS and 10 % WebSocket connections from several \
            loopback addresses, told to stop with a window of exactly 0.5 s: 50 000 in all, or what the limit on descriptors \
            leaves to client and server (`connections` says how many it was), then two fifths of them, then one. Exit \
            counts from the window's end. Phases are those of lameduck's own report.",
    plotted: &["exit, µs per connection"],
    measure,
};

const MOST: usize = 50_000;
/// Descriptors that are not connections.
const RESERVE: usize = 1_000;
/// Floor, quiet, ceiling: floor and ceiling are the same, so the end is known.
const WINDOW: &str = "0.5,0.1,0.5";
const WINDOW_END: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);
const SIZES: [(&str, usize); 3] = [("a fifth", 1), ("two fifths", 2), ("all", 5)];

fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let limit = descriptors::raise((MOST + RESERVE) as u64) as usize;
    let most = MOST.min(limit.saturating_sub(RESERVE));
    if most < MOST {
        bench.note(format!(
            "{limit} descriptors a process allow {most} connections instead of {MOST}"
        ))?;
    }
    for run in 0..bench.effort.runs.min(3) {
        for (case, fifths) in SIZES {
            leave(bench, case, most * fifths / 5, run)?;
        }
    }
    Ok(())
}

fn leave(bench: &mut Bench, case: &str, count: usize, run: u32) -> Result<(), Failure> {
    let (launch, tls_address) = bench.stage.launch_both(WINDOW)?;
    let mut server = Server::start(&launch)?;
    let crowd = admit(server.address(), tls_address, bench.stage.tls(), count)?;
    let admitted = crowd.len() as f64;
    let before = Footprint::of_tree(server.id())?.resident as f64;
    let (peak, probe) = (Peak::watch(server.id()), Probe::new(server.address())?);
    let mut listener = None;
    let farewell = Farewell {
        signal: Contender::Lameduck.signal(),
        busy: None,
        before: Duration::ZERO,
        parting: Parting::Closes,
        patience: PATIENCE,
    };
    let departure = crowd.watch(&mut server, farewell, |since| {
        listener = Some(probe.watch(since, PATIENCE));
    })?;
    let exit = match (departure.exit, departure.status) {
        (Some(exit), Some(status)) if status.success() => beyond(exit),
        (_, status) => {
            let end = status.map_or_else(|| "no end".to_owned(), describe);
            return Err(format!("{count} connections: {end}").into());
        }
    };
    let stderr = server.last_words(PATIENCE);
    let draining = phase_at(&stderr, "Draining").ok_or("no report with its phases on stderr")?;
    let late = draining - WINDOW_END.as_secs_f64() * 1e3;
    let gone = listener.and_then(|thread| thread.join().ok().flatten());
    let gone = gone.ok_or("the listener was not seen to close")?;
    for (measure, value) in [
        ("connections", admitted),
        ("exit, ms after the window's end", exit),
        ("exit, µs per connection", exit * 1e3 / admitted),
        (
            "memory while draining, of before",
            peak.most() as f64 / before,
        ),
        ("listener closed, ms after the window's end", beyond(gone)),
        ("window's end late by, ms", late),
    ] {
        bench.add(measure, case, Contender::Lameduck.name(), run, value)?;
    }
    Ok(())
}

/// The mix.
fn admit(
    address: SocketAddr,
    tls_address: SocketAddr,
    tls: &Cover,
    count: usize,
) -> io::Result<Crowd> {
    let mut crowd = Crowd::new()?;
    for (address, speech, cover, percent) in [
        (address, Speech::Http1, &Cover::Plain, 60),
        (address, Speech::Http2, &Cover::Plain, 20),
        (tls_address, Speech::Http1, tls, 10),
        (address, Speech::WebSocket, &Cover::Plain, 10),
    ] {
        crowd.admit(address, speech, cover, count * percent / 100)?;
    }
    Ok(crowd)
}

/// Milliseconds from the window's end on.
fn beyond(moment: Duration) -> f64 {
    (moment.as_secs_f64() - WINDOW_END.as_secs_f64()) * 1e3
}

/// When a phase began, in milliseconds after the signal, by the report: one line of JSON.
fn phase_at(stderr: &str, phase: &str) -> Option<f64> {
    let report = stderr.lines().rev().find(|line| line.starts_with('{'))?;
    let report: Value = serde_json::from_str(report).ok()?;
    let phases = report["phases"].as_array()?;
    phases.iter().find(|entry| entry["phase"] == phase)?["at_ms"].as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_found_in_the_report() {
        let stderr = "lameduck: bye\n{\"phases\":[{\"phase\":\"Draining\",\"at_ms\":500.25,\"took_ms\":1}]}\n";
        assert_eq!(phase_at(stderr, "Draining"), Some(500.25));
        assert_eq!(phase_at("nothing", "Draining"), None);
    }
}
