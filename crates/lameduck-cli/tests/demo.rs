//! `lameduck demo` and `lameduck explain`, as a user has them: flags, the ready line, reload, limits, the report.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;
use support::{
    seats::seat,
    service::{Ended, Service},
    until,
    wire::{Response, Wire},
};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

/// A demo on ports of the system's choice, ready.
struct Demo {
    service: Service,
    address: SocketAddr,
    admin: SocketAddr,
    ready: String,
}

impl Demo {
    #[track_caller]
    fn start(flags: &[&str]) -> Self {
        let mut arguments = vec!["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        arguments.extend(flags);
        let mut service = Service::start(LAMEDUCK, &arguments, &[]);
        let ready = service.line("listening on ");
        Self {
            address: Service::address(&ready, "listening on "),
            admin: Service::address(&ready, "admin "),
            ready,
            service,
        }
    }

    fn get(&self, path: &str) -> Response {
        Wire::ask(self.address, path).expect("served")
    }

    fn status(&self) -> Value {
        let answer = Wire::ask(self.admin, "/status").expect("the admin listener answers");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    fn wait_for_phase(&self, phase: &str) {
        until(phase, || (self.status()["phase"] == phase).then_some(()));
    }

    #[track_caller]
    fn stop(self) -> Ended {
        self.service.signal(libc::SIGTERM);
        self.service.end()
    }
}

/// Runs the command to its end.
fn run(arguments: &[&str]) -> Ended {
    Service::start(LAMEDUCK, arguments, &[]).end()
}

/// A file of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("lameduck-demo-{}-{name}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the path is text")
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("written");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

// ---- what it says ---------------------------------------------------------------------------------------------------

#[test]
fn the_ready_line_names_every_address_and_the_plan() {
    let _seat = seat();
    let demo = Demo::start(&[
        "--probes",
        "127.0.0.1:0",
        "--window",
        "local",
        "--grace",
        "4s",
    ]);
    assert!(
        demo.ready
            .starts_with("lameduck demo listening on 127.0.0.1:"),
        "{}",
        demo.ready
    );
    assert!(
        demo.ready.contains("plan local: grace 4s"),
        "{}",
        demo.ready
    );
    let probes = Service::address(&demo.ready, "probes ");
    for path in ["/livez", "/readyz", "/startupz", "/lbz"] {
        let answer = Wire::ask(probes, path).expect("probed");
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "Running\n"),
            "{path}"
        );
    }
    assert_eq!(Wire::ask(probes, "/").expect("answered").status, 404);
    let ended = demo.stop();
    ended.assert_drained();
    assert_eq!(
        ended.stdout.lines().count(),
        1,
        "one line on stdout: {}",
        ended.stdout
    );
}

#[test]
fn status_says_what_is_in_flight_and_who_blocks() {
    let _seat = seat();
    let demo = Demo::start(&["--window", "none", "--grace", "60s"]);
    let mut busy = Wire::connect(demo.address).expect("served");
    busy.begin_post("/echo?who=me", 3);
    let running = demo.status();
    assert_eq!(running["schema"], "lameduck.status/1");
    assert_eq!(running["phase"], "Running");
    assert_eq!(running["in_flight"]["busy"], 1, "{running:#}");
    assert!(running.get("deadline_in_ms").is_none(), "{running:#}");

    demo.service.signal(libc::SIGTERM);
    demo.wait_for_phase("Draining");
    let draining = demo.status();
    let blocker = draining["blockers"][0].as_str().expect("it is named");
    assert!(
        blocker.starts_with("POST /echo from 127.0.0.1:"),
        "{blocker}"
    );
    assert!(
        draining["deadline_in_ms"].as_f64() > Some(0.0),
        "{draining:#}"
    );
    let cause = draining["cause"].as_str().expect("it is told");
    let sender = format!("SIGTERM from pid {}", std::process::id());
    assert!(cause.starts_with(&sender), "{cause}");

    busy.send("abc").expect("its connection is open");
    assert_eq!(busy.response().expect("whole").body, "abc");
    demo.service.end().assert_drained();
}

#[test]
fn p6_sigquit_and_sigusr1_name_the_request_in_flight_and_every_thread() {
    let _seat = seat();
    let mut demo = Demo::start(&[]);
    let mut busy = Wire::connect(demo.address).expect("served");
    busy.begin_post("/echo", 3);
    demo.service.signal(libc::SIGUSR1);
    for part in [
        "SIGUSR1, the process goes on",
        "POST /echo from ",
        "\"accept 127.0.0.1:",
        "thread ",
        "== end of the dump",
    ] {
        demo.service.complaint(part);
    }
    demo.service.signal(libc::SIGQUIT);
    let ended = demo.service.end();
    assert_eq!(ended.how(), "signal 3");
    assert!(
        ended.stderr.contains("POST /echo from 127.0.0.1:"),
        "{}",
        ended.stderr
    );
    if cfg!(target_arch = "x86_64") {
        assert!(
            ended.stderr.contains("stacks taken within"),
            "{}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains("lameduck::driver::thread::Driver"),
            "{}",
            ended.stderr
        );
    }
}

// ---- what it answers ------------------------------------------------------------------------------------------------

#[test]
fn every_route_answers_within_its_caps_and_refuses_beyond() {
    let _seat = seat();
    let demo = Demo::start(&[]);
    assert_eq!(demo.get("/").body, "hello\n");
    assert_eq!(demo.get("/slow?ms=1").body, "done\n");
    assert_eq!(
        demo.get("/stream?chunks=2&ms=1").body,
        "chunk 1 of 2\nchunk 2 of 2\n"
    );
    assert_eq!(demo.get("/large?bytes=100000").body.len(), 100_000);
    let mut wire = Wire::connect(demo.address).expect("served");
    assert_eq!(wire.post("/echo", "abc").body, "abc");
    assert_eq!(wire.post("/upload", "12345").body, "5\n");
    for (path, complaint) in [
        ("/slow?ms=3600001", "ms=3600001 is more than 3600000\n"),
        (
            "/stream?chunks=100001",
            "chunks=100001 is more than 100000\n",
        ),
        ("/stream?ms=3600001", "ms=3600001 is more than 3600000\n"),
        (
            "/large?bytes=1073741825",
            "bytes=1073741825 is more than 1073741824\n",
        ),
    ] {
        let answer = demo.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (400, complaint));
    }
    assert_eq!(demo.get("/slow?ms=-1").status, 400);
    assert_eq!(demo.get("/nowhere").status, 404);
    assert_eq!(demo.get("/echo").status, 405);
    let most = 1 << 20;
    let answer = wire.post("/echo", &"x".repeat(most + 1));
    assert_eq!(
        (answer.status, answer.body),
        (413, format!("the body has more than {most} bytes\n"))
    );
    demo.stop().assert_drained();
}

/// A self-signed certificate for the demo's names, as PEM: the certificate and its key.
fn certificate() -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Whether curl, trusting this certificate alone, gets an answer.
fn trusts(trusted: &Scratch, address: SocketAddr) -> bool {
    let url = format!("https://{address}/");
    let arguments = ["-sf", "--max-time", "30", "-o", "/dev/null", "--cacert"];
    std::process::Command::new("curl")
        .args(arguments)
        .args([trusted.path(), &url])
        .status()
        .expect("curl runs")
        .success()
}

#[test]
fn p7_sighup_changes_the_certificate_and_a_broken_one_changes_nothing() {
    let _seat = seat();
    if std::process::Command::new("curl")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: curl does not run here");
        return;
    }
    let [first, second, cert, key] =
        ["first.pem", "second.pem", "cert.pem", "key.pem"].map(Scratch::new);
    let (old, new) = (certificate(), certificate());
    first.write(&old.0);
    second.write(&new.0);
    cert.write(&old.0);
    key.write(&old.1);
    let files = ["--cert", cert.path(), "--key", key.path()];
    let mut demo = Demo::start(&[&["--tls-listen", "127.0.0.1:0"], &files[..]].concat());
    let tls = Service::address(&demo.ready, "tls ");
    assert!(trusts(&first, tls) && !trusts(&second, tls));
    // One that belongs to another key, then one that is none.
    for broken in [new.0.as_str(), "-----BEGIN CERTIFICATE-----\nnone"] {
        cert.write(broken);
        demo.service.signal(libc::SIGHUP);
        let complaint = demo.service.complaint("lameduck: reload of ");
        assert!(
            complaint.contains("refused, the old one stays"),
            "{complaint}"
        );
        assert!(trusts(&first, tls));
    }
    cert.write(&new.0);
    key.write(&new.1);
    demo.service.signal(libc::SIGHUP);
    demo.service.complaint("lameduck: reloaded ");
    assert!(trusts(&second, tls) && !trusts(&first, tls));
    demo.stop().assert_drained();
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_before_the_start() {
    let _seat = seat();
    let [cert, key] = ["alone.pem", "alone.key"].map(Scratch::new);
    cert.write(&certificate().0);
    key.write(&certificate().1);
    let listen = [
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--tls-listen",
        "127.0.0.1:0",
    ];
    let files = ["--cert", cert.path(), "--key", key.path()];
    let ended = run(&[&listen[..], &files].concat());
    assert_eq!(ended.status.code(), Some(78), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("does not belong to"),
        "{}",
        ended.stderr
    );
}

#[test]
fn p7_sighup_reloads_and_a_broken_file_changes_nothing() {
    let _seat = seat();
    let config = Scratch::new("config.json");
    config.write(r#"{"greeting":"one"}"#);
    let demo = Demo::start(&["--config", config.path()]);
    let mut service = demo.service;
    let mut kept = Wire::connect(demo.address).expect("served");
    assert_eq!(kept.get("/").body, "one");

    config.write(r#"{"greeting":"two","max_echo_bytes":2}"#);
    service.signal(libc::SIGHUP);
    service.complaint("lameduck: reloaded ");
    assert_eq!(kept.get("/").body, "two", "on the same connection");
    assert_eq!(
        Wire::connect(demo.address)
            .expect("served")
            .post("/echo", "abc")
            .status,
        413
    );

    for broken in ["{", r#"{"greating":"three"}"#] {
        config.write(broken);
        service.signal(libc::SIGHUP);
        let complaint = service.complaint("lameduck: reload of ");
        assert!(
            complaint.contains("refused, the old one stays"),
            "{complaint}"
        );
        assert!(complaint.contains(config.path()), "{complaint}");
        assert_eq!(kept.get("/").body, "two", "the old one is in force");
    }
    drop(kept);
    service.signal(libc::SIGTERM);
    service.end().assert_drained();
}

// ---- how it leaves --------------------------------------------------------------------------------------------------

#[test]
fn the_report_of_a_forced_end_is_a_story() {
    let _seat = seat();
    let report = Scratch::new("report.json");
    let demo = Demo::start(&[
        "--window",
        "none",
        "--grace",
        "2s",
        "--report",
        report.path(),
    ]);
    let mut stuck = Wire::connect(demo.address).expect("served");
    stuck
        .send("GET /slow?ms=3600000 HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("sent");
    until("a request in flight", || {
        (demo.status()["in_flight"]["busy"] == 1).then_some(())
    });
    let ended = demo.stop();
    assert_eq!(ended.how(), "exit 124", "{}", ended.stderr);
    let straggler = &ended.report()["stragglers"][0];
    assert_eq!(straggler["path"], "/slow");

    let told = run(&["explain", report.path()]);
    assert_eq!(told.how(), "exit 0", "{}", told.stderr);
    for part in [
        "forced, exit 124",
        &format!("asked by   SIGTERM from pid {}", std::process::id()),
        "admission is closed: Draining",
        "GET /slow from 127.0.0.1:",
        "what to change",
    ] {
        assert!(told.stdout.contains(part), "{part:?} in\n{}", told.stdout);
    }
}

/// The window is over, and a connection that was accepted a moment ago writes its first byte: 503, with `--late refuse`.
#[test]
fn a_late_request_is_refused_where_that_is_wanted() {
    let _seat = seat();
    let refused = (0..20).find_map(|_| {
        let demo = Demo::start(&["--window", "none", "--grace", "30s", "--late", "refuse"]);
        let mut late = Wire::connect(demo.address).expect("served");
        // Nothing else tells that the connection was accepted: a second one, answered, came after it.
        demo.get("/");
        demo.service.signal(libc::SIGTERM);
        until("the end of admission", || Wire::connect(demo.address).err());
        // A machine that stood still for the connection's 250 ms shows nothing: again.
        let answer = late
            .send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .and_then(|()| late.response());
        demo.service.end().assert_drained();
        // One whose first byte was there when its connection heard of the end is not late: again, too.
        answer.ok().filter(|answer| answer.status != 200)
    });
    let refused = refused.expect("one of twenty was in time");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.header("retry-after").is_some() && refused.says_close(),
        "{}",
        refused.head
    );
}

#[test]
fn p5_sigint_is_sigterm_unless_it_is_left_alone() {
    let _seat = seat();
    let demo = Demo::start(&[]);
    demo.service.signal(libc::SIGINT);
    let report = demo.service.end().assert_drained();
    assert_eq!(report["cause"]["signal"], "SIGINT");

    let demo = Demo::start(&["--no-sigint"]);
    demo.service.signal(libc::SIGINT);
    assert_eq!(
        demo.service.end().how(),
        "signal 2",
        "the default disposition"
    );
}

// ---- wrong usage ----------------------------------------------------------------------------------------------------

#[test]
fn what_cannot_be_done_is_said_with_numbers_and_a_code() {
    let _seat = seat();
    let missing = "/nonexistent/config.json";
    let rows: [(&[&str], &str, &str); 7] = [
        (&["demo", "--grace", "1s"], "exit 78", "1s"),
        (&["demo", "--window", "0,1,600"], "exit 78", "600s"),
        (&["demo", "--config", missing], "exit 78", missing),
        (
            &["demo", "--window", "soon"],
            "exit 2",
            "hint: give none, the name of a preset",
        ),
        (
            &["demo", "--grace", "soon"],
            "exit 2",
            "not a duration such as 4s",
        ),
        (
            &["demo", "--late", "perhaps"],
            "exit 2",
            "possible values: serve, refuse",
        ),
        (
            &["demo", "--listen", "nowhere"],
            "exit 70",
            "cannot bind the listener",
        ),
    ];
    for (arguments, how, part) in rows {
        let ended = run(arguments);
        assert_eq!(ended.how(), how, "{arguments:?}: {}", ended.stderr);
        // A wrong word is the caller's; everything else leaves a report, also where nothing began.
        let reported = ended.stderr.contains("lameduck.shutdown/1");
        assert_eq!(reported, how != "exit 2", "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(part),
            "{arguments:?}: {part:?} in\n{}",
            ended.stderr
        );
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[test]
fn a_taken_port_is_a_failed_start() {
    let _seat = seat();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = run(&["demo", "--listen", &address]);
    assert_eq!(ended.how(), "exit 70", "{}", ended.stderr);
    assert!(
        ended.stderr.contains("lameduck: start failed: cannot bind"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.report()["outcome"], "start-failed");
}

#[test]
fn explain_needs_a_report() {
    let _seat = seat();
    let none = Scratch::new("none.txt");
    none.write("nothing here\n");
    let ended = run(&["explain", none.path()]);
    assert_eq!(ended.how(), "exit 2");
    assert!(
        ended
            .stderr
            .contains("there is no line with schema lameduck.shutdown/1"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    let ended = run(&["explain", "/nonexistent"]);
    assert_eq!(ended.how(), "exit 2");
    assert!(
        ended.stderr.contains("cannot read /nonexistent"),
        "{}",
        ended.stderr
    );
}
