//! Clients that nobody here wrote cross T without an error: curl, h2load and the Python package h2.
//!
//! A client that is not installed is skipped and says so; `.ci/run` installs all of them.

mod support;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use support::{seats::seat, service::Service};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

/// Longer than any client below takes to finish, so that it meets the same service again after it was sent away.
const WINDOW: &str = "2,0.2,20";

struct Demo {
    service: Service,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Demo {
    #[track_caller]
    fn start() -> Self {
        let listen = ["--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0"];
        let plan = ["--window", WINDOW, "--grace", "40s"];
        let arguments = [&["demo"], &listen[..], &plan].concat();
        let mut service = Service::start(LAMEDUCK, &arguments, &[]);
        let ready = service.line("listening on ");
        Self {
            plain: Service::address(&ready, "listening on "),
            tls: Service::address(&ready, "tls "),
            service,
        }
    }

    /// Nobody was lost, as far as the service knows.
    #[track_caller]
    fn ended_well(self) {
        let ended = self.service.end();
        assert!(ended.status.success(), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(r#""outcome":"drained""#),
            "{}",
            ended.stderr
        );
    }
}

/// Whether a client is here; says so if not.
fn is_here(program: &str, arguments: &[&str]) -> bool {
    let here = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !here {
        eprintln!(
            "skipped: {program} {} does not run here",
            arguments.join(" ")
        );
    }
    here
}

fn client(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// curl asks sixty times on connections that it keeps; T comes after the tenth answer.
#[track_caller]
fn curl(flags: &[&str], version: &str, url: impl FnOnce(&Demo) -> String) {
    let _seat = seat();
    if !is_here("curl", &["--version"]) {
        return;
    }
    let demo = Demo::start();
    let url = format!("{}/slow?ms=20&n=[1-60]", url(&demo));
    // Written to stderr, which curl does not hold back.
    let line = "%{stderr}answer %{http_code} %{http_version}\n";
    let mut arguments = vec!["-sS", "--fail", "-o", "/dev/null", "-w", line];
    arguments.extend(flags);
    arguments.push(&url);
    let mut curl = Service::launch(&mut client("curl", &arguments));
    let expected = format!("answer 200 {version}");
    for _ in 0..10 {
        assert_eq!(curl.complaint("answer "), expected);
    }
    demo.service.signal(libc::SIGTERM);
    for _ in 10..60 {
        assert_eq!(curl.complaint("answer "), expected);
    }
    assert!(curl.end().status.success());
    demo.ended_well();
}

#[test]
fn curl_crosses_t_over_http1() {
    curl(&["--http1.1"], "1.1", |demo| {
        format!("http://{}", demo.plain)
    });
}

#[test]
fn curl_crosses_t_over_tls_and_http2() {
    // Not by prior knowledge: curl 7.88.1 fails to use such a connection twice, whatever server it talks to.
    curl(&["--insecure"], "2", |demo| format!("https://{}", demo.tls));
}

#[test]
fn curl_sees_the_end_of_an_event_stream() {
    let _seat = seat();
    if !is_here("curl", &["--version"]) {
        return;
    }
    for flags in [&["--http1.1"][..], &["--http2-prior-knowledge"]] {
        let demo = Demo::start();
        let url = format!("http://{}/sse?ms=20", demo.plain);
        let mut arguments = vec!["-sS", "-N", "--fail"];
        arguments.extend(flags);
        arguments.push(&url);
        let mut curl = Service::launch(&mut client("curl", &arguments));
        curl.line("data: 5");
        demo.service.signal(libc::SIGTERM);
        let ended = curl.end();
        // curl calls an end without terminator or END_STREAM an error.
        assert!(ended.status.success(), "{}", ended.stderr);
        let last = ended.stdout.lines().rfind(|line| !line.is_empty());
        let last = last.expect("events");
        assert!(last.starts_with("data: "), "{last:?} is no end of an event");
        demo.ended_well();
    }
}

#[test]
fn h2load_keeps_what_is_in_flight_at_t() {
    let _seat = seat();
    if !is_here("h2load", &["--version"]) {
        return;
    }
    let demo = Demo::start();
    // As many requests as there are streams: h2load opens no second connection after a GOAWAY.
    let url = format!("http://{}/slow?ms=1500", demo.plain);
    let arguments = ["-n", "100", "-c", "2", "-m", "50", &url];
    let mut h2load = Service::launch(&mut client("h2load", &arguments));
    h2load.line("Application protocol: h2c");
    demo.service.signal(libc::SIGTERM);
    let ended = h2load.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let all =
        "requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(ended.stdout.contains(all), "{}", ended.stdout);
    demo.ended_well();
}

#[test]
fn the_python_package_h2_crosses_t() {
    let _seat = seat();
    if !is_here("python3", &["-c", "import h2"]) {
        return;
    }
    let demo = Demo::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/http2.py");
    let address = demo.plain.to_string();
    let mut python = Service::launch(&mut client("python3", &[script, &address, "3000"]));
    python.line("crossing");
    demo.service.signal(libc::SIGTERM);
    let ended = python.end();
    assert!(ended.status.success(), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("answered 3000"), "{}", ended.stdout);
    demo.ended_well();
}
