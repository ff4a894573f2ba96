//! `lameduck ctl` against a real service: what it says, what the service's report says of who asked, and exit codes.

#[path = "support/control.rs"]
mod control;
mod support;

use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Child, ChildStdout, Command, Stdio};

use control::{Controlled, Holding, Scratch, command, ctl, told};
use support::until;

/// Begins to watch; it has begun when it has written something.
fn watch(mut command: Command) -> (Child, ChildStdout) {
    let mut watch = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command runs");
    let mut stdout = watch.stdout.take().expect("it is piped");
    let mut first = [0; 1];
    stdout.read_exact(&mut first).expect("a line");
    (watch, stdout)
}

/// What it wrote from there on, and its exit code.
fn watched((mut watch, mut stdout): (Child, ChildStdout)) -> (String, Option<i32>) {
    let mut said = String::new();
    stdout.read_to_string(&mut said).expect("text");
    (said, watch.wait().expect("our child").code())
}

#[test]
fn a_watch_that_nobody_reads_ends_and_the_service_does_not() {
    let controlled = Controlled::start("ctl-unread", &[]);
    let (mut watch, stdout) = watch(command(&["--socket", &controlled.socket, "watch"]));
    drop(stdout);
    until("the end of the watch", || {
        watch.try_wait().expect("our child")
    });
    assert_eq!(watch.wait().expect("our child").code(), Some(0));
    let (said, ..) = told(&controlled.ctl(&["status"]));
    assert!(said.starts_with("Running for "), "{said}");
}

#[test]
fn a_drain_that_was_announced_is_seen_and_taken_back() {
    let controlled = Controlled::start("ctl-cancel", &[]);
    let (said, complaint, code) =
        told(&controlled.ctl(&["drain", "--in", "60m", "--reason", "tonight"]));
    assert_eq!(code, Some(0), "{complaint}");
    assert_eq!(said, "drains in 3600.0 s, unless that is cancelled\n");
    until("the announcement in the status", || {
        let (said, ..) = told(&controlled.ctl(&["status"]));
        said.contains("It was announced to leave in 3")
            .then_some(())
    });
    let (said, complaint, code) = told(&controlled.ctl(&["cancel", "--reason", "not tonight"]));
    assert_eq!(code, Some(0), "{complaint}");
    assert_eq!(said, "taken back: it goes on serving\n");
    let (_, complaint, code) = told(&controlled.ctl(&["cancel"]));
    assert_eq!(code, Some(1), "{complaint}");
    let (_, complaint, code) = told(&controlled.ctl(&["drain"]));
    assert_eq!(code, Some(0), "{complaint}");
    controlled.service.end().assert_drained();
}

#[test]
fn a_drain_is_asked_for_watched_and_reported_by_name() {
    let controlled = Controlled::start("ctl-drain", &[]);
    let (said, complaint, code) = told(&controlled.ctl(&["status"]));
    assert_eq!((complaint.as_str(), code), ("", Some(0)));
    assert!(said.starts_with("Running for "), "{said}");
    assert!(said.contains("participants  http 127.0.0.1:"), "{said}");
    let mut holding = Holding::join(&controlled, "holding");
    let watching = watch(command(&["--socket", &controlled.socket, "watch"]));
    let drain = ["drain", "--grace", "60s", "--reason", "the disk is failing"];
    let (said, complaint, code) = told(&controlled.ctl(&drain));
    assert_eq!(code, Some(0), "{complaint}");
    assert_eq!(said, "draining: gone in 58.0 s at the latest\n");
    for (arguments, why) in [
        (&["drain"][..], "error: it is leaving already, in "),
        (&["reload"], "a reload needs Running"),
        (&["cancel"], "phases only advance"),
        (
            &["grant", "nobody", "1s"],
            "no participant is named \"nobody\"",
        ),
    ] {
        let (said, complaint, code) = told(&controlled.ctl(arguments));
        assert_eq!((said.as_str(), code), ("", Some(1)), "{complaint}");
        assert!(complaint.contains(why), "{complaint}");
    }
    holding.told("close");
    let (said, _, code) = told(&controlled.ctl(&["status"]));
    assert_eq!(code, Some(0));
    assert!(said.contains("held by       The exit waits for"), "{said}");
    holding.done();
    let (said, code) = watched(watching);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "Terminating: asked by the program: drain on the control socket by pid ",
        "participant holding done",
        "\ndrained, ",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let report = controlled.service.end().assert_drained();
    let why = report["cause"]["why"].as_str().expect("an API cause");
    assert!(why.ends_with("): the disk is failing"), "{why}");
    assert_eq!(report["plan"]["grace_ms"], 60_000.0, "{report:#}");
    let socket = std::path::Path::new(&controlled.socket);
    assert!(!socket.exists(), "it goes with the service");
}

#[test]
fn a_cut_ends_it_and_a_watcher_says_that_there_was_no_last_word() {
    let controlled = Controlled::start("ctl-cut", &[]);
    let mut by_variable = command(&["watch"]);
    by_variable.env("LAMEDUCK_CONTROL", &controlled.socket);
    let watching = watch(by_variable);
    let (said, complaint, code) = told(&controlled.ctl(&["cut", "--reason", "enough"]));
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.starts_with("cut in Running"), "{said}");
    assert_eq!(watched(watching).1, Some(3));
    assert_eq!(controlled.service.end().how(), "exit 125");
}

#[test]
fn a_dump_is_text_and_a_table_names_who_takes_part() {
    let controlled = Controlled::start("ctl-dump", &[]);
    let (said, complaint, code) = told(&controlled.ctl(&["dump"]));
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains("lameduck"), "{said}");
    let (said, _, code) = told(&controlled.ctl(&["participants"]));
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("http 127.0.0.1:") && said.contains("  up"),
        "{said}"
    );
}

#[test]
fn whoever_cannot_be_asked_is_said_to_be_and_what_to_do() {
    let scratch = Scratch::new("ctl-nobody");
    let (_, complaint, code) = told(&ctl(&["status"]));
    assert_eq!(code, Some(2));
    assert!(complaint.contains("--socket PATH"), "{complaint}");
    let ask = |path: &str| {
        let (said, complaint, code) = told(&ctl(&["--socket", path, "status"]));
        assert_eq!((said.as_str(), code), ("", Some(2)), "{complaint}");
        assert!(complaint.contains("\nhint: "), "{complaint}");
        complaint
    };
    let missing = ask(&scratch.at("missing.sock"));
    assert!(missing.contains("there is no socket at"), "{missing}");
    let stale = scratch.at("stale.sock");
    drop(UnixListener::bind(&stale).expect("bound"));
    assert!(ask(&stale).contains("nobody listens on"));
    let file = scratch.at("file");
    std::fs::write(&file, "").expect("written");
    assert!(ask(&file).contains("is no socket"));
    // Something else listens there.
    let other = scratch.at("other.sock");
    let listener = UnixListener::bind(&other).expect("bound");
    let answers = std::thread::spawn(move || {
        for answer in ["SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\n\r\n<html>"] {
            let (mut stream, _) = listener.accept().expect("one connects");
            stream.write_all(answer.as_bytes()).expect("written");
        }
    });
    assert!(ask(&other).contains("is no control socket of lameduck"));
    let html = ask(&other);
    assert!(
        html.contains("no control socket") && html.contains("<html>"),
        "{html}"
    );
    answers.join().expect("it does not panic");
}

/// Answers one connection after the other, by what is asked; the connection ends behind each answer.
fn scripted(scratch: &Scratch, answers: Vec<(&'static str, String)>) -> String {
    let path = scratch.at("scripted.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    std::thread::spawn(move || {
        for (target, body) in answers {
            let (stream, _) = listener.accept().expect("one connects");
            let mut lines = std::io::BufReader::new(&stream).lines();
            let line = lines.next().expect("a line").expect("text");
            assert!(line.starts_with(target), "{line}, and not {target}");
            lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .for_each(drop);
            let answer = format!("HTTP/1.0 200 OK\r\n\r\n{body}");
            (&stream).write_all(answer.as_bytes()).expect("written");
        }
    });
    path
}

/// One that was stopped for a while is cut by the service, because it did not read: that is no end of the service.
#[test]
fn a_watch_whose_stream_ends_goes_on_while_the_service_does() {
    let event = |status: &str| format!("event: status\ndata: {status}\n\n");
    let running = r#"{"drain_id":"d1","phase":"Running"}"#;
    let over = r#"{"drain_id":"d1","phase":"Stopped","outcome":"drained","outcome_said":"drained","exit":{"code":0}}"#;
    let scratch = Scratch::new("ctl-again");
    let path = scripted(
        &scratch,
        vec![
            ("GET /events", event(running)),
            ("GET /status", running.to_owned()),
            ("GET /events", event(over)),
        ],
    );
    let (said, complaint, code) = told(&ctl(&["--socket", &path, "watch"]));
    assert_eq!(code, Some(0), "{complaint}");
    assert!(
        said.contains("Stopped") && said.ends_with("drained\n"),
        "{said}"
    );
    // The next process at the same path is another service.
    let scratch = Scratch::new("ctl-next");
    let next = r#"{"drain_id":"d2","phase":"Running"}"#;
    let path = scripted(
        &scratch,
        vec![
            ("GET /events", event(running)),
            ("GET /status", next.to_owned()),
        ],
    );
    let (_, complaint, code) = told(&ctl(&["--socket", &path, "watch"]));
    assert_eq!(code, Some(3), "{complaint}");
}

/// Its process is stopped, say: its queue fills up, and connect(2) of a Unix socket has no limit of time.
#[test]
fn a_socket_that_nobody_serves_is_given_up() {
    let scratch = Scratch::new("ctl-full");
    let path = scratch.at("full.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let address = socket2::SockAddr::unix(&path).expect("a path");
    socket.bind(&address).expect("bound");
    socket.listen(0).expect("listens");
    let mut waiting = Vec::new();
    loop {
        let one = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let one = one.expect("a socket");
        one.set_nonblocking(true).expect("set");
        if one.connect(&address).is_err() {
            break;
        }
        waiting.push(one);
    }
    let (_, complaint, code) = told(&ctl(&["--socket", &path, "status"]));
    assert_eq!(code, Some(2), "{complaint}");
    assert!(
        complaint.contains("nobody took the connection within 5s") && complaint.contains("hint: "),
        "{complaint}"
    );
}

#[test]
fn who_asks_for_what_makes_no_sense_is_told_apart_from_who_is_refused() {
    let controlled = Controlled::start("ctl-codes", &[]);
    // Nothing to give: it serves.
    let (_, complaint, code) = told(&controlled.ctl(&["grant", "nobody", "1s"]));
    assert_eq!(code, Some(1), "{complaint}");
    let long = "x".repeat(300);
    let (_, complaint, code) = told(&controlled.ctl(&["drain", "--reason", &long]));
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("more than 256 bytes"), "{complaint}");
}

#[test]
fn a_service_says_why_it_cannot_have_its_socket_there() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new("ctl-place");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&scratch.0, open).expect("our own");
    let socket = scratch.at("control.sock");
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--control", &socket];
    let service = support::service::Service::start(env!("CARGO_BIN_EXE_lameduck"), &arguments, &[]);
    let ended = service.end();
    assert_eq!(ended.how(), "exit 70", "{}", ended.stderr);
    assert!(ended.stderr.contains("chmod go-w"), "{}", ended.stderr);
}
