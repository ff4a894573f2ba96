//! Holds profiles to their promises: what they say is done, and what they say wrongly is named with its line.

use std::time::Duration;

use super::*;
use crate::declared::{Interrupt, LatePolicy, TlsTrust};
use crate::options::{RepeatPolicy, Stop, StopSignal};
use crate::protocol::Protocol;

/// Every key that does not exclude another one.
pub(crate) const WHOLE: &str = r#"
[target]
name = "orders"
command = ["./serve", "--port", "{port}"]
env = { LOG = "info" }
copies = 2
cwd = "service"
ready_line = "listening"
ready_within = "5s"

[urls]
http = "http://127.0.0.1:{port}/hello"
https = "https://localhost:{tls_port}/"

[paths]
ready = "/healthz"
slow = "/slow?ms={ms}"
large = "/large?bytes={bytes}"
post = "/echo"
upload = "/upload"
stream = "/stream?chunks={chunks}&ms={ms}"
sse = "/events"
websocket = "/ws"

[grpc]
path = "/a.B/C"
message = "0a01"
slow_message = "0a02"

[websocket]
spread = "400ms"
farewell = { path = "/ws?farewell=1", message = "bye", code = 4001 }

[drain_signal]
url = "http://127.0.0.1:{probes_port}/lbz"
liveness = "http://127.0.0.1:{probes_port}/livez"

[tls]
name = "orders.internal"

[platform]
grace = "30s"
signal = "QUIT"
front = "kubernetes:2s"
pre_stop = "1s"

[expect]
close_codes = [4000]
exit_codes = [7]
forced_exit = 124
late = "refuse"
repeats = "record"
interrupt = "left-alone"
quiet = 0.1
extra_time = 2

[reload]
arguments = ["--config", "{config}"]
first = "a"
second = "b"
broken = "{"
path = "/config"
signal = "USR1"

[control]
path = "/run/orders/control"
arguments = ["--control", "/run/orders/control"]

[checks]
skip = ["p9"]
protocols = ["h1", "ws"]
rounds = 5

[[waive]]
id = "H1-08"
reason = "no client of ours pipelines"
"#;

#[test]
fn everything_that_it_says_is_done() {
    let options = Profile::parse(WHOLE).unwrap().options();
    let target = &options.target;
    assert_eq!(target.label, "orders");
    assert_eq!(target.argv, ["./serve", "--port", "{port}"]);
    assert_eq!(target.env, [("LOG".to_owned(), "info".to_owned())]);
    assert_eq!(target.copies, 2);
    assert_eq!(target.cwd.as_deref(), Some(Path::new("service")));
    assert_eq!(target.ready_line.as_deref(), Some("listening"));
    assert_eq!(target.ready_within, Some(Duration::from_secs(5)));
    assert_eq!(options.front.propagation(), Duration::from_secs(2));
    assert_eq!(options.pre_stop, Duration::from_secs(1));
    assert_eq!(target.url.as_deref(), Some("http://127.0.0.1:{port}/hello"));
    assert_eq!(
        target.tls_url.as_deref(),
        Some("https://localhost:{tls_port}/")
    );
    assert_eq!(target.tls_name.as_deref(), Some("orders.internal"));
    assert_eq!(target.tls_trust, TlsTrust::Any);
    for (path, wanted) in [
        (&target.ready_path, "/healthz"),
        (&target.slow_path, "/slow?ms={ms}"),
        (&target.large_path, "/large?bytes={bytes}"),
        (&target.post_path, "/echo"),
        (&target.upload_path, "/upload"),
        (&target.stream_path, "/stream?chunks={chunks}&ms={ms}"),
        (&target.sse_path, "/events"),
        (&target.ws_path, "/ws"),
    ] {
        assert_eq!(path.as_deref(), Some(wanted));
    }
    assert_eq!(target.grpc.as_ref().unwrap().message, [0x0a, 0x01]);
    assert_eq!(target.ws_spread, Some(Duration::from_millis(400)));
    assert_eq!(target.ws_farewell.as_ref().unwrap().code, 4001);
    assert!(target.drain_signal.as_ref().unwrap().liveness_url.is_some());
    assert_eq!((target.close_codes[0], target.exit_codes[0]), (4000, 7));
    assert_eq!(target.forced_exit, Some(124));
    assert_eq!(
        (target.late, target.repeats),
        (LatePolicy::Refuse, Some(RepeatPolicy::Record))
    );
    assert_eq!(target.interrupt, Interrupt::LeftAlone);
    let reload = target.reload.as_ref().unwrap();
    assert_eq!((&*reload.path, &*reload.broken), ("/config", "{"));
    assert_eq!(reload.signal, StopSignal::Usr1);
    assert_eq!(target.quiet, Some(Duration::from_millis(100)));
    assert_eq!(options.grace, Duration::from_secs(30));
    assert_eq!(options.patience(), Duration::from_secs(32));
    assert_eq!(options.stop, StopSignal::Quit.into());
    assert_eq!(options.skip, ["P9"]);
    assert_eq!(options.protocols, [Protocol::H1, Protocol::Ws]);
    assert_eq!(options.rounds, 5);
    assert_eq!(options.waivers[0].id, "H1-08");
    assert_eq!(options.waivers[0].reason, "no client of ours pipelines");
}

#[test]
fn a_service_may_be_driven_by_commands_and_stopped_by_one() {
    let text =
        "[target]\nstart = 'docker run -d x'\nalive = 'a'\ncleanup = 'c'\nlogs = 'l'\nstop = 's'\n";
    let options = Profile::parse(text).unwrap().options();
    let driven = options.target.driven.unwrap();
    assert_eq!(
        (driven.start.as_str(), driven.alive.as_deref()),
        ("docker run -d x", Some("a"))
    );
    assert_eq!(
        (driven.cleanup.as_deref(), options.target.logs.as_deref()),
        (Some("c"), Some("l"))
    );
    assert_eq!(options.stop, Stop::Command("s".to_owned()));
    let call = Profile::parse("[target]\nstop_url = 'PUT http://127.0.0.1:{port}/stop'\n").unwrap();
    assert_eq!(
        call.options().stop,
        Stop::http("PUT http://127.0.0.1:{port}/stop")
    );
    for (text, line) in [
        ("[target]\ncommand = ['x']\nstart = 'y'\n", 3),
        ("[target]\nstop = 'x'\nstop_url = 'http://127.0.0.1/'\n", 3),
        ("[target]\nstop = 'x'\n[platform]\nsignal = 'TERM'\n", 4),
    ] {
        let error = Profile::parse(text).unwrap_err();
        assert_eq!(error.line(), Some(line), "{error}");
        assert!(error.to_string().contains("only one of them"), "{error}");
    }
}

#[test]
fn what_it_leaves_open_is_left_alone() {
    let mut options = Options::new(TargetSpec::command(["./other"]));
    options.rounds = 3;
    Profile::parse("[paths]\nslow = '/s'\n")
        .unwrap()
        .apply(&mut options);
    assert_eq!(
        (options.target.argv[0].as_str(), options.rounds),
        ("./other", 3)
    );
    assert_eq!(options.target.slow_path.as_deref(), Some("/s"));
    assert_eq!(Profile::parse("").unwrap().options().target.argv, [""; 0]);
}

#[test]
fn mistakes_are_named_with_their_line_and_what_was_meant() {
    let rows: [(&str, usize, &str); 14] = [
        (
            "[paths]\nslwo = '/s'\n",
            2,
            "there is no key `slwo` here; did you mean `slow`?",
        ),
        ("\n[pahts]\nslow = '/s'\n", 2, "did you mean `paths`?"),
        (
            "[expect]\n\nclose_code = [1000]\n",
            3,
            "did you mean `close_codes`?",
        ),
        (
            "[paths]\nzebra = '/s'\n",
            2,
            "there is no key `zebra` here; Known: ready, slow",
        ),
        (
            "[[waive]]\nid = 'H1-99'\nreason = 'x'\n",
            2,
            "no check is named `H1-99`; did you mean `H1-",
        ),
        (
            "[[waive]]\nid = 'H1-08'\nreason = '  '\n",
            3,
            "a waiver needs a reason",
        ),
        ("[[waive]]\nid = 'H1-08'\n", 1, "missing field `reason`"),
        (
            "[[waive]]\nid='P1'\nreason='x'\n[[waive]]\nid='p1'\nreason='y'\n",
            5,
            "`P1` is waived twice",
        ),
        (
            "[platform]\nsignal = 'KILL'\n",
            2,
            "`KILL` is no stop signal",
        ),
        ("[platform]\ngrace = 'soon'\n", 2, "`soon` is no duration"),
        (
            "[expect]\nlate = 'maybe'\n",
            2,
            "unknown variant `maybe`, expected `serve` or `refuse`",
        ),
        (
            "[checks]\nprotocols = ['h1', 'h3']\n",
            2,
            "`h3` is no protocol",
        ),
        (
            "[grpc]\npath = '/a.B/C'\nmessage = 'abc'\n",
            3,
            "not bytes in hexadecimal",
        ),
        (
            "[tls]\n\nauthorities = 'no/such/file.pem'\n",
            3,
            "no/such/file.pem: No such file",
        ),
    ];
    for (text, line, part) in rows {
        let error = Profile::parse(text).unwrap_err();
        assert_eq!(error.line(), Some(line), "{text}: {error}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    let broken = Profile::parse("[paths\n").unwrap_err();
    assert_eq!(broken.line(), Some(1), "{broken}");
}

#[test]
fn files_are_beside_the_profile() {
    let directory = std::env::temp_dir().join(format!("lameduck-profile-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("orders.toml");
    std::fs::write(directory.join("ca.pem"), "nothing").unwrap();
    std::fs::write(&path, "[tls]\nauthorities = 'ca.pem'\n").unwrap();
    let error = Profile::read(&path).unwrap_err().to_string();
    let wanted = format!(
        "{}:2: {}",
        path.display(),
        directory.join("ca.pem").display()
    );
    assert!(error.starts_with(&wanted), "{error}");
    assert!(error.contains("no certificate"), "{error}");
    std::fs::write(&path, "[checks]\nrounds = 2\n").unwrap();
    let profile = Profile::read(&path).unwrap();
    assert_eq!(
        profile.options().profile.unwrap().path(),
        Some(path.as_path())
    );
    let reload = "[reload]\nfirst = 'a'\nsecond = 'b'\nbroken = '{'\nfile = 'orders.conf'\n";
    std::fs::write(&path, reload).unwrap();
    let reload = Profile::read(&path).unwrap().options().target.reload;
    assert_eq!(reload.unwrap().file, Some(directory.join("orders.conf")));
    let absolute = "[reload]\nfirst = 'a'\nsecond = 'b'\nbroken = '{'\nfile = '/etc/orders.conf'\n";
    std::fs::write(&path, absolute).unwrap();
    let reload = Profile::read(&path).unwrap().options().target.reload;
    assert_eq!(
        reload.unwrap().file,
        Some(PathBuf::from("/etc/orders.conf"))
    );
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(
        Profile::read(&path)
            .unwrap_err()
            .to_string()
            .contains("it can not be read")
    );
}
