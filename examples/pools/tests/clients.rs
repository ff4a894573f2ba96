//! The services with HTTP clients, drained before a server that counts its connections: what is in flight ends well, what is idle is closed
//! by the swap, nothing is open at the end, and a leak is named.

#[path = "../../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

mod report;
mod upstream;

use std::net::SocketAddr;

use support::{service::Service, until, wire::Wire};
use upstream::Upstream;

fn start(program: &str, upstream: &Upstream) -> (Service, SocketAddr) {
    let upstream = upstream.address().to_string();
    let variables = [
        ("UPSTREAM", &*upstream),
        ("LISTEN", "127.0.0.1:0"),
        ("LAMEDUCK_WINDOW", "0.5,0.1,2"),
        ("LAMEDUCK_GRACE", "20s"),
    ];
    let mut service = Service::start(program, &[], &variables);
    let address = Service::address(&service.line("listening on "), "listening on ");
    (service, address)
}

/// A request that asks the other service at once.
fn relay(address: SocketAddr) -> Wire {
    let mut wire = Wire::connect_when_ready(address);
    wire.begin_post("/relay", 4);
    wire.send("body").expect("sent");
    wire
}

#[track_caller]
fn gets_a_quote(wire: &mut Wire) {
    let answer = wire.response().expect("a whole response");
    assert_eq!((answer.status, &*answer.body), (200, "a quote"));
}

fn is_drained(program: &str) {
    let upstream = Upstream::start();
    let (mut service, address) = start(program, &upstream);
    // Three connections at once, idle then.
    upstream.hold();
    let mut asked: Vec<_> = (0..3).map(|_| relay(address)).collect();
    upstream.until_held(3);
    upstream.release();
    asked.iter_mut().for_each(gets_a_quote);
    assert_eq!(upstream.open(), 3, "they are kept");

    // One that has the head of its quote, one whose own body has still to come, one that waits for its quote.
    upstream.hold_a_body();
    let mut slow = relay(address);
    upstream.until_body_held();
    let mut late = Wire::connect_when_ready(address);
    late.begin_post("/relay", 4);
    upstream.hold();
    let mut in_flight = relay(address);
    upstream.until_held(1);

    service.signal(libc::SIGTERM);
    until("the end of admission", || Wire::connect(address).err());
    assert!(upstream.open() >= 1, "what is in flight is not disturbed");
    upstream.release();
    gets_a_quote(&mut in_flight);
    until("the end of the idle connections", || {
        (upstream.open() == 1).then_some(())
    });
    upstream.release_body();
    gets_a_quote(&mut slow);
    until("the end of the slow one's", || {
        (upstream.open() == 0).then_some(())
    });
    assert!(!service.is_gone(), "it waits for the late one");

    let before = upstream.accepted();
    late.send("late").expect("its connection is open");
    gets_a_quote(&mut late);
    report::says_empty(service, "quotes");
    assert_eq!(
        upstream.accepted(),
        before + 1,
        "the late one had a new client"
    );
    until("zero connections", || (upstream.open() == 0).then_some(()));
}

fn names_its_leak(program: &str, leak: &str) {
    let upstream = Upstream::start();
    let (service, address) = start(program, &upstream);
    let mut wire = Wire::connect_when_ready(address);
    assert_eq!(wire.get("/leak").status, 200);
    drop(wire);
    service.signal(libc::SIGTERM);
    report::names_leak(service, "quotes", 1, leak);
}

#[test]
fn reqwest_is_swapped_and_nothing_is_open_at_the_end() {
    is_drained(env!("CARGO_BIN_EXE_client_reqwest"));
}

#[test]
fn reqwest_that_is_never_given_back_is_named_by_its_line() {
    let line = "s ago at examples/pools/src/bin/client_reqwest.rs:";
    names_its_leak(env!("CARGO_BIN_EXE_client_reqwest"), line);
}

#[test]
fn the_legacy_client_is_swapped_and_nothing_is_open_at_the_end() {
    is_drained(env!("CARGO_BIN_EXE_client_hyper"));
}

#[test]
fn a_connection_of_the_legacy_client_that_never_ends_is_found() {
    let left = "0 lent, 1 neither lent nor closed";
    names_its_leak(env!("CARGO_BIN_EXE_client_hyper"), left);
}
