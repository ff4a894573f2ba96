//! The breaker's example with an upstream that breaks and comes back: who is asked, what callers get, what the page shows.

#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use support::{service::Service, until, wire::Wire};

/// An upstream that answers, or hangs up on whoever asks. It keeps its port all the time, until this process ends.
struct Upstream {
    address: SocketAddr,
    is_well: Arc<AtomicBool>,
}

impl Upstream {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let is_well = Arc::new(AtomicBool::new(true));
        let looks = Arc::clone(&is_well);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if looks.load(Ordering::Relaxed) {
                    // Who asks has lost patience, perhaps: that is no failure of the test.
                    _ = answer(&stream);
                }
            }
        });
        Self { address, is_well }
    }

    fn is(&self, well: bool) {
        self.is_well.store(well, Ordering::Relaxed);
    }
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut question = String::new();
    BufReader::new(stream).read_line(&mut question)?;
    assert_eq!(question, "?\n");
    stream.write_all(b"seven\n")
}

/// The breakers in the admin listener's status.
fn breakers(admin: SocketAddr) -> Value {
    let status = Wire::ask(admin, "/status").expect("a status");
    let status: Value = serde_json::from_str(&status.body).expect("JSON");
    status["breakers"].clone()
}

/// Whether Chromium and what drives it are here; says so if not.
fn has_browser() -> bool {
    let commands = [
        ("chromium", "--version"),
        ("python3", "-cimport websockets"),
    ];
    commands.iter().all(|(program, argument)| {
        let status = Command::new(program)
            .arg(argument)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let is_here = status.is_ok_and(|status| status.success());
        if !is_here {
            eprintln!("skipped: {program} {argument} does not run here");
        }
        is_here
    })
}

/// Forces and releases the breaker on the page, as a person would.
fn on_the_page(admin: SocketAddr, profile: &str, token: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/breaker_page.py");
    let mut command = Command::new("python3");
    command
        .arg(script)
        .args([&format!("http://{admin}/"), profile, token])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let ended = Service::launch(&mut command).end();
    let last = ended.stdout.lines().last().expect(&ended.stderr);
    let seen: Value = serde_json::from_str(last).expect(&ended.stderr);
    let row = seen["row"].as_str().expect("a row");
    assert!(
        row.starts_with("upstream stock") && row.contains("closed for"),
        "{row}"
    );
    assert_eq!(seen["buttons"], 0, "nobody has shown the token yet");
    let open = "upstream \"stock\": It refuses every call from now on, until it is released.";
    assert_eq!(seen["forced"][0], open);
    let said = "breakers/open: upstream \"stock\" is forced-open now";
    assert_eq!(seen["forced"][1], said);
    assert_eq!(
        seen["released"][1],
        "breakers/release: upstream \"stock\" is closed now"
    );
    for nothing in ["nameless", "wide", "errors"] {
        assert_eq!(seen[nothing], Value::Array(Vec::new()), "{nothing}");
    }
}

#[test]
fn callers_of_a_broken_upstream_are_refused_at_once_and_come_back_with_it() {
    let scratch = std::env::temp_dir().join(format!("lameduck-breaker-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("a directory");
    let [token, profile] =
        ["token", "profile"].map(|name| scratch.join(name).display().to_string());
    let upstream = Upstream::open();
    let upstreams = format!("stock={}", upstream.address);
    let variables = [
        ("LISTEN", "127.0.0.1:0"),
        ("ADMIN", "127.0.0.1:0"),
        ("TOKEN", &token),
        ("UPSTREAMS", &upstreams),
        ("LAMEDUCK_WINDOW", "none"),
        ("LAMEDUCK_GRACE", "20s"),
    ];
    let mut service = Service::start(env!("CARGO_BIN_EXE_breaker"), &[], &variables);
    let admin = Service::address(&service.line("admin on "), "admin on ");
    let server = Service::address(&service.line("listening on "), "listening on ");
    drop(Wire::connect_when_ready(server));
    let ask = |name: &str| Wire::ask(server, &format!("/ask/{name}")).expect("an answer");

    // How long all this takes is the machine's matter: a slow answer is 504, and a probe may come in between.
    let stock = |status: u16| {
        until(&format!("an answer of {status}"), || {
            Some(ask("stock")).filter(|one| one.status == status)
        })
    };
    stock(200);
    assert_eq!(ask("nobody").status, 404);
    upstream.is(false);
    stock(502);
    let refused = stock(503);
    let seconds = refused
        .header("retry-after")
        .and_then(|one| one.parse().ok());
    assert!(seconds.is_some_and(|one: u64| one >= 1), "{seconds:?}");
    assert!(
        refused.body.starts_with(r#"{"answer":null"#),
        "{}",
        refused.body
    );
    let listed = breakers(admin);
    assert_eq!(
        listed.as_array().map(Vec::len),
        Some(1),
        "a name that nobody has gets none"
    );
    assert_eq!(listed[0]["key"], "stock");
    let count = |what: &str| listed[0][what].as_u64().expect("a number");
    assert!(count("opened") >= 1 && count("failures") >= 3, "{listed}");
    assert!(count("rejected") >= 1, "{listed}");

    // It is well again, and a probe finds out.
    upstream.is(true);
    stock(200);
    assert_eq!(breakers(admin)[0]["state"], "closed");

    if has_browser() {
        on_the_page(admin, &profile, &token);
    }
    service.signal(libc::SIGTERM);
    service.end().assert_drained();
    std::fs::remove_dir_all(&scratch).expect("it is ours");
}
