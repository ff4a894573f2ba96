//! `lameduck slots`, and demos that leave in turn: signals that come together, and a process that is killed.

mod support;

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::Value;
use support::{service::Service, until, wire::Wire};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

/// A directory with the host of a group of which one may be away.
struct Ground {
    directory: PathBuf,
    host: Service,
}

impl Ground {
    fn new(name: &str) -> Self {
        let name = format!("lameduck-slots-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        let socket = directory.join("slots.sock");
        let socket = socket.to_str().expect("text");
        let arguments = [
            "slots",
            "--socket",
            socket,
            "--max-unavailable",
            "1",
            "--settling",
            "0s",
        ];
        let mut host = Service::start(LAMEDUCK, &arguments, &[]);
        host.line("1 may be unavailable");
        Self { directory, host }
    }

    fn member(&self, name: &str) -> Member {
        let socket = self.directory.join("slots.sock");
        let listen = ["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let plan = ["--window", "none", "--grace", "60s", "--member", name];
        let group = ["--slots", socket.to_str().expect("text")];
        let mut service = Service::start(LAMEDUCK, &[&listen[..], &plan, &group].concat(), &[]);
        let ready = service.line("listening on ");
        Member {
            address: Service::address(&ready, "listening on "),
            admin: Service::address(&ready, "admin "),
            service,
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

struct Member {
    service: Service,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Member {
    /// A request that is at work until its client goes.
    fn download(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let head = b"GET /stream?chunks=10000&ms=50 HTTP/1.1\r\nHost: demo\r\n\r\n";
        stream.write_all(head).expect("it reads");
        until("the request", || {
            self.status().to_string().contains("/stream").then_some(())
        });
        stream
    }

    fn status(&self) -> Value {
        let answer = Wire::ask(self.admin, "/status").expect("the admin listener answers");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    fn is_in(&self, phase: &str) -> Option<()> {
        (self.status()["phase"] == phase).then_some(())
    }
}

#[test]
fn members_that_are_told_together_leave_one_after_the_other() {
    let ground = Ground::new("together");
    let mut first = ground.member("first");
    let second = ground.member("second");
    let download = first.download();
    first.service.signal(libc::SIGTERM);
    until("the first's drain", || first.is_in("Draining"));
    second.service.signal(libc::SIGTERM);
    until("the second's wish", || {
        let status = second.status().to_string();
        status.contains("SIGTERM").then_some(())
    });
    assert!(
        second.is_in("Running").is_some(),
        "it serves until its turn"
    );
    assert_eq!(Wire::ask(second.address, "/").expect("served").status, 200);
    assert!(!first.service.is_gone());
    drop(download);
    for member in [first, second] {
        let ended = member.service.end();
        let report = ended.assert_drained().to_string();
        assert!(report.contains("the group lent a slot"), "{report}");
    }
    ground.host.signal(libc::SIGTERM);
}

#[test]
fn the_slot_of_a_killed_member_is_lent_at_once() {
    let ground = Ground::new("killed");
    let first = ground.member("first");
    let second = ground.member("second");
    let _download = first.download();
    first.service.signal(libc::SIGTERM);
    until("the first's drain", || first.is_in("Draining"));
    second.service.signal(libc::SIGTERM);
    first.service.signal(libc::SIGKILL);
    assert_eq!(first.service.end().how(), "signal 9");
    let report = second.service.end().assert_drained().to_string();
    assert!(report.contains("the group lent a slot"), "{report}");
}

#[test]
fn a_host_that_cannot_be_one_says_why() {
    let ground = Ground::new("second-host");
    let socket = ground.directory.join("slots.sock");
    let socket = socket.to_str().expect("text");
    let arguments = ["slots", "--socket", socket, "--max-unavailable", "25%"];
    let ended = Service::start(LAMEDUCK, &arguments, &[]).end();
    assert_eq!(ended.how(), "exit 70");
    assert!(
        ended.stderr.contains("has a host already"),
        "{}",
        ended.stderr
    );
}
