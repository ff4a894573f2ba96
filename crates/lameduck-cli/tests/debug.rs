//! What `lameduck demo --admin --admin-debug` tells about the inside of the process, and that it does so only where it was asked to.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use support::{BOUND, seats::seat, service::Service, wire::Wire};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

fn start(more: &[&str]) -> (Service, SocketAddr, SocketAddr) {
    let listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let arguments = [&["demo"][..], &listen, more].concat();
    let mut service = Service::start(LAMEDUCK, &arguments, &[]);
    let ready = service.line("listening on ");
    let address = Service::address(&ready, "listening on ");
    let admin = Service::address(&ready, "admin ");
    (service, address, admin)
}

/// An answer's bytes, head included.
fn bytes(admin: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect_timeout(&admin, BOUND).expect("the admin listener");
    stream.set_read_timeout(Some(BOUND)).expect("a time");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("answered");
    all
}

fn has(haystack: &[u8], needle: &str) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

#[test]
fn a_process_tells_what_it_does_inside_and_goes_on() {
    let _seat = seat();
    let (service, address, admin) = start(&["--admin-debug"]);
    let mut busy = Wire::connect(address).expect("served");
    busy.begin_post("/echo", 3);

    let dump = support::until("the request in a dump", || {
        let dump = Wire::ask(admin, "/debug/dump").expect("a dump");
        assert_eq!(dump.status, 200);
        dump.body.contains("POST /echo").then_some(dump.body)
    });
    for told in ["phase Running", "lameduck", "tokio-rt-worker", "_start"] {
        assert!(dump.contains(told), "{told} in\n{dump}");
    }

    let waits = Wire::ask(admin, "/debug/waits?seconds=1").expect("waits");
    assert_eq!(waits.status, 200);
    assert!(waits.body.contains("sleeping in"), "{}", waits.body);

    let heap = Wire::ask(admin, "/debug/heap").expect("the heap");
    let known = heap.status == 200 && heap.body.contains("bytes in use");
    assert!(known || heap.status == 501, "{heap:?}");

    let profile = bytes(admin, "/debug/pprof/profile?seconds=1");
    assert!(profile.starts_with(b"HTTP/1.1 200 "));
    assert!(has(&profile, "application/octet-stream"));
    // Of the string table of a profile.proto.
    assert!(has(&profile, "samples") && has(&profile, "nanoseconds"));

    busy.send("abc").expect("sent");
    assert_eq!(busy.response().expect("served").status, 200);
    drop(busy);
    service.signal(libc::SIGTERM);
    service.end().assert_drained();
}

#[test]
fn what_is_asked_wrongly_is_refused_and_says_how() {
    let _seat = seat();
    let (_service, _, admin) = start(&["--admin-debug"]);
    for path in [
        "/debug/waits?seconds=0",
        "/debug/waits?seconds=61",
        "/debug/pprof/profile?seconds=x",
    ] {
        let refused = Wire::ask(admin, path).expect("answered");
        assert_eq!(refused.status, 400, "{path}");
        assert!(refused.body.contains("from 1 to 60"), "{}", refused.body);
    }
    let refused = Wire::ask(admin, "/debug/pprof/profile?format=gif").expect("answered");
    assert_eq!(
        (refused.status, &*refused.body),
        (400, "the format is pprof or svg\n")
    );
}

#[test]
fn nothing_is_told_where_it_was_not_switched_on() {
    let _seat = seat();
    let (_service, _, admin) = start(&[]);
    for path in ["/debug/dump", "/debug/waits", "/debug/pprof/profile"] {
        let status = Wire::ask(admin, path).expect("answered").status;
        assert!(matches!(status, 403 | 404), "{path}: {status}");
    }
}
