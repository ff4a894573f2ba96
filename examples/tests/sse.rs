//! The event stream's example, drained: its client comes back to another instance and misses nothing.

#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use support::{service::Service, wire::Wire};

const PLAN: [(&str, &str); 3] = [
    ("LISTEN", "127.0.0.1:0"),
    ("LAMEDUCK_WINDOW", "0.5,0.1,2"),
    ("LAMEDUCK_GRACE", "20s"),
];

fn instance() -> (Service, SocketAddr) {
    let mut service = Service::start(env!("CARGO_BIN_EXE_sse"), &[], &PLAN);
    let address = Service::address(&service.line("listening on "), "listening on ");
    (service, address)
}

/// What an `EventSource` remembers.
struct Source {
    last_id: u64,
    retry: Duration,
}

impl Source {
    /// Connects and waits for the head.
    fn connect(&self, address: SocketAddr) -> (Wire, String) {
        let mut wire = Wire::connect_when_ready(address);
        let last = self.last_id;
        wire.send(&format!(
            "GET /ticks HTTP/1.1\r\nhost: a\r\nlast-event-id: {last}\r\n\r\n"
        ))
        .expect("sent");
        let head = wire.head().expect("a head");
        (wire, head)
    }

    /// Reads to the end of a stream, of which nothing may be missing.
    fn read(&mut self, wire: &mut Wire, head: String) {
        let answer = wire.rest(head).expect("a whole response");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert!(answer.body.ends_with("\n\n"), "{:?}", answer.body);
        for block in answer.body.split_terminator("\n\n") {
            if let Some(wait) = block.strip_prefix("retry: ") {
                self.retry = Duration::from_millis(wait.parse().expect("a number"));
                continue;
            }
            let id = block.lines().find_map(|line| line.strip_prefix("id: "));
            let id: u64 = id.expect(block).parse().expect("a number");
            assert_eq!(id, self.last_id + 1, "nothing lost, nothing twice");
            assert!(block.lines().any(|line| line == "data: tick"), "{block:?}");
            self.last_id = id;
        }
    }
}

#[test]
fn h1_14_the_stream_ends_between_two_events_and_goes_on_elsewhere() {
    let (first, second) = (instance(), instance());
    let mut source = Source {
        last_id: 0,
        retry: Duration::ZERO,
    };
    for (service, address) in [first, second] {
        let (mut wire, head) = source.connect(address);
        let before = source.last_id;
        service.signal(libc::SIGTERM);
        source.read(&mut wire, head);
        assert!(source.last_id > before, "it ticked until its turn came");
        assert_eq!(source.retry, Duration::from_millis(500));
        drop(wire);
        let report = service.end().assert_drained();
        assert_eq!(report["counts"]["streams_ended"], 1, "{report:#}");
        // What its client does, not what the test waits for.
        sleep(source.retry);
    }
}

#[test]
fn a_stream_that_ends_by_itself_is_waited_for() {
    let (service, address) = instance();
    let mut wire = Wire::connect_when_ready(address);
    wire.send("GET /import HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("sent");
    let head = wire.head().expect("a head");
    service.signal(libc::SIGTERM);
    let answer = wire.rest(head).expect("a whole response");
    assert_eq!(answer.body.matches("data: ").count(), 10);
    assert!(answer.body.ends_with("data: 10 of 10\n\n"));
    drop(wire);
    let report = service.end().assert_drained();
    assert_eq!(report["counts"]["streams_ended"], 0, "{report:#}");
}
