//! Profiles and `--init`, as a user has them: precedence, mistakes, waivers, expectations, and a first profile that runs.

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{
    seats::seat,
    service::{Ended, Service},
};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

fn verify(arguments: &[&str]) -> Ended {
    let mut all = vec!["verify"];
    all.extend(arguments);
    Service::start(LAMEDUCK, &all, &[]).end()
}

/// A directory of this test, gone when it is over.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lameduck-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for files of the test");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file of the test");
        words(&path).to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left over is in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn words(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr))
}

/// The demo, with its window short.
fn demo() -> String {
    format!(
        r#"
[target]
command = ["{LAMEDUCK}", "demo", "--listen", "127.0.0.1:{{port}}", "--tls-listen", "127.0.0.1:{{tls_port}}", "--window", "0.1,0.05,0.5", "--grace", "4s"]
[paths]
ready = "/"
slow = "/slow?ms={{ms}}"
websocket = "/ws"
[platform]
grace = "4s"
"#
    )
}

#[test]
fn flags_override_the_profile_and_the_profile_the_defaults() {
    let _seat = seat();
    let directory = Directory::new("precedence");
    let text = format!("{}[checks]\nonly = ['P1', 'P2']\n", demo());
    let profile = directory.write("demo.toml", &text);
    let report = json(&verify(&["--profile", &profile, "--format", "json"]));
    let ids = |report: &Value| {
        let checks = report["checks"].as_array().expect("a list").clone();
        checks
            .iter()
            .map(|check| check["id"].as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&report), ["P1", "P2"]);
    assert_eq!(report["target"]["command"][1], "demo");

    let command = [
        "--",
        "python3",
        "-m",
        "http.server",
        "{port}",
        "--bind",
        "127.0.0.1",
    ];
    let mut arguments = vec![
        "--profile",
        profile.as_str(),
        "--only",
        "P1",
        "--format",
        "json",
    ];
    // The demo's paths are not python's: flags override them too.
    arguments.extend(["--ready-path", "/?ready=1"]);
    arguments.extend(command);
    let report = json(&verify(&arguments));
    assert_eq!(ids(&report), ["P1"]);
    assert_eq!(report["target"]["command"][0], "python3");
}

#[test]
fn mistakes_are_2_with_file_line_and_the_nearest_key() {
    let directory = Directory::new("mistakes");
    let profile = directory.write("service.toml", "[paths]\n\nslwo = '/slow'\n");
    let ended = verify(&["--profile", &profile]);
    assert_eq!(ended.how(), "exit 2", "{}", ended.stderr);
    let wanted = format!("{profile}:3: there is no key `slwo` here; did you mean `slow`?");
    assert!(ended.stderr.contains(&wanted), "{}", ended.stderr);

    let profile = directory.write("empty.toml", "[checks]\nonly = ['P1']\n");
    let ended = verify(&["--profile", &profile]);
    assert_eq!(ended.how(), "exit 2");
    assert!(
        ended.stderr.contains("no command to start was given"),
        "{}",
        ended.stderr
    );
    let ended = verify(&["--profile", words(&directory.path("nowhere.toml"))]);
    assert!(ended.how() == "exit 2" && ended.stderr.contains("it can not be read"));
}

#[test]
fn a_profile_in_the_working_directory_is_not_found_by_itself() {
    let _seat = seat();
    let ended = verify(&["--only", "P1", "--format", "json"]);
    assert_eq!(json(&ended)["target"]["label"], "embedded demo");
}

#[test]
fn waived_checks_run_decide_nothing_and_are_shown_with_their_reason() {
    let _seat = seat();
    let directory = Directory::new("waivers");
    let text = "
[target]
command = ['python3', '-m', 'http.server', '{port}', '--bind', '127.0.0.1']
[checks]
only = ['P1', 'P4', 'H1-05']
[[waive]]
id = 'h1-05'
reason = 'a toy'
[[waive]]
id = 'P4'
reason = 'was flaky'
";
    let profile = directory.write("toy.toml", text);
    let ended = verify(&[
        "--profile",
        &profile,
        "--format",
        "json",
        "--fail-on",
        "any",
    ]);
    let report = json(&ended);
    assert_eq!(ended.how(), "exit 0", "{report:#}");
    let of = |id: &str| {
        let checks = report["checks"].as_array().expect("a list");
        checks
            .iter()
            .find(|check| check["id"] == id)
            .expect("was asked for")
            .clone()
    };
    let lossy = of("H1-05");
    assert_eq!(
        (&lossy["verdict"], &lossy["waiver"]),
        (&"waived".into(), &"a toy".into())
    );
    assert_eq!(lossy["without_waiver"], "fail", "{lossy:#}");
    assert!(
        lossy["requests"]["lost"].as_u64() > Some(0),
        "it ran: {lossy:#}"
    );
    let fine = of("P4");
    assert_eq!(fine["without_waiver"], "pass", "{fine:#}");
    let detail = fine["detail"].as_str().expect("a sentence");
    assert!(detail.contains("it passed: the waiver can go"), "{detail}");

    let text = verify(&["--profile", &profile]);
    assert!(
        text.stdout.contains("waived") && text.stdout.contains("a toy"),
        "{}",
        text.stdout
    );
    assert!(text.stdout.contains("2 waived"), "{}", text.stdout);
}

#[test]
fn expectations_are_what_the_judges_hold_it_to() {
    let _seat = seat();
    let directory = Directory::new("expectations");
    // The demo closes with 1001 and says with 124 that it was forced.
    let verdicts = |name: &str, more: &str| {
        let profile = directory.write(name, &format!("{}{more}", demo()));
        let ended = verify(&["--profile", &profile, "--only", "P2", "--format", "json"]);
        json(&ended)["checks"][0].clone()
    };
    let kept = verdicts("kept.toml", "[expect]\nforced_exit = 124\n");
    assert_eq!(kept["verdict"], "pass", "{kept:#}");
    let other = verdicts("other.toml", "[expect]\nforced_exit = 9\n");
    assert_eq!(other["verdict"], "differs", "{other:#}");

    // A service that exits with 7 when it is told to stop.
    let script = "import http.server, os, signal, sys\n\
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n\
        http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()\n";
    let script = directory.write("seven.py", script);
    let command = [
        "--only", "P1", "--format", "json", "--", "python3", &script, "{port}",
    ];
    let plain = json(&verify(&command));
    assert_eq!(plain["checks"][0]["verdict"], "differs", "{plain:#}");
    let profile = directory.write("seven.toml", "[expect]\nexit_codes = [7]\n");
    let mut arguments = vec!["--profile", profile.as_str()];
    arguments.extend(command);
    let declared = json(&verify(&arguments));
    assert_eq!(declared["checks"][0]["verdict"], "pass", "{declared:#}");
}

/// A service that refuses, in the proper way, what comes after the signal, and exits a second later.
const REFUSING: &str = r#"
import http.server, os, signal, sys, threading
leaving = False
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(503 if leaving else 200)
        if leaving:
            self.send_header("Retry-After", "1")
            self.send_header("Connection", "close")
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
def stop(*_):
    global leaving
    leaving = True
    threading.Timer(1, os._exit, [0]).start()
signal.signal(signal.SIGTERM, stop)
http.server.ThreadingHTTPServer.request_queue_size = 256
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

#[test]
fn h1_02_late_requests_may_be_refused_where_that_is_declared() {
    let _seat = seat();
    let directory = Directory::new("late");
    let script = directory.write("refusing.py", REFUSING);
    let profile = directory.write("late.toml", "[expect]\nlate = 'refuse'\n");
    let command = [
        "--only", "H1-02", "--format", "json", "--", "python3", &script, "{port}",
    ];
    let plain = json(&verify(&command))["checks"][0].clone();
    assert_eq!(plain["verdict"], "fail", "{plain:#}");
    let declared = json(&verify(
        &[&["--profile", profile.as_str()], &command[..]].concat(),
    ));
    let declared = &declared["checks"][0];
    // A busy machine writes too late to say that all is well; it still sees no failure.
    let verdict = declared["verdict"].as_str().expect("a word");
    assert!(["pass", "inconclusive"].contains(&verdict), "{declared:#}");
    assert!(
        declared["requests"]["refused-503"].as_u64() > Some(0),
        "{declared:#}"
    );
}

#[test]
fn a_certificate_that_the_given_authorities_do_not_know_is_a_mistake_of_the_set_up() {
    let _seat = seat();
    let directory = Directory::new("trust");
    let signed =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("another");
    let (cert, key) = (
        directory.write("cert.pem", &signed.cert.pem()),
        directory.write("key.pem", &signed.signing_key.serialize_pem()),
    );
    directory.write("other.pem", &other.cert.pem());
    let run = |authorities: &str| {
        let text = demo().replace(
            "\"--window\"",
            &format!("\"--cert\", \"{cert}\", \"--key\", \"{key}\", \"--window\""),
        );
        let text = format!(
            "{text}[urls]\nhttps = 'https://localhost:{{tls_port}}/'\n[tls]\nauthorities = '{authorities}'\n"
        );
        let profile = directory.write("demo.toml", &text);
        verify(&[
            "--profile",
            &profile,
            "--only",
            "P1,TLS-3",
            "--format",
            "json",
        ])
    };
    let trusted = run("cert.pem");
    assert_eq!(
        trusted.how(),
        "exit 0",
        "{}{}",
        trusted.stdout,
        trusted.stderr
    );
    assert_eq!(json(&trusted)["checks"][1]["verdict"], "pass");
    let untrusted = run("other.pem");
    assert_eq!(untrusted.how(), "exit 2", "{}", untrusted.stdout);
    assert!(
        untrusted.stderr.contains("is not trusted"),
        "{}",
        untrusted.stderr
    );
}

/// What `--init` wrote about `command`, after it was run as a profile with `only`.
fn first_profile(directory: &Directory, command: &[&str], only: &str) -> (String, Value) {
    let path = directory.path("first.toml");
    let mut arguments = vec!["--init", "--output", words(&path), "--grace", "4s", "--"];
    arguments.extend(command);
    let ended = verify(&arguments);
    assert_eq!(ended.how(), "exit 0", "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("next       lameduck verify --profile "),
        "{}",
        ended.stderr
    );
    let text = std::fs::read_to_string(&path).expect("it was written");
    let ended = verify(&[
        "--profile",
        words(&path),
        "--only",
        only,
        "--format",
        "json",
    ]);
    (text, json(&ended))
}

#[test]
fn init_finds_what_the_demo_can_do_and_the_profile_runs() {
    let _seat = seat();
    let directory = Directory::new("init-demo");
    let command = [
        LAMEDUCK,
        "demo",
        "--listen",
        "127.0.0.1:{port}",
        "--probes",
        "127.0.0.1:{probes_port}",
        "--tls-listen",
        "127.0.0.1:{tls_port}",
        "--grace",
        "4s",
        "--window",
        "0.2,0.1,1",
    ];
    let (text, report) = first_profile(&directory, &command, "P1,A1,H1-01,H1-14,WS-01,TLS-3");
    for line in [
        "slow = \"/slow?ms={ms}\"",
        "post = \"/echo\"",
        "large = \"/large?bytes={bytes}\"",
        "stream = \"/stream?chunks={chunks}&ms={ms}\"",
        "sse = \"/sse?ms={ms}\"",
        "websocket = \"/ws\"",
        "https = \"https://localhost:{tls_port}/\"",
        "url = \"http://127.0.0.1:{probes_port}/lbz\"",
        "grace = \"4s\"",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
    }
    for check in report["checks"].as_array().expect("a list") {
        assert_eq!(check["verdict"], "pass", "{check:#}");
    }
}

#[test]
fn init_says_what_is_missing_and_does_not_overwrite() {
    let _seat = seat();
    let directory = Directory::new("init-python");
    let command = [
        "python3",
        "-m",
        "http.server",
        "{port}",
        "--bind",
        "127.0.0.1",
    ];
    let (text, report) = first_profile(&directory, &command, "P1,H1-14");
    assert!(
        text.contains("# Not found: H1-14 needs a path with an event stream"),
        "{text}"
    );
    assert!(text.contains("\n# sse = "), "{text}");
    assert_eq!(report["checks"][1]["verdict"], "n/a", "{report:#}");

    let path = directory.path("first.toml");
    let mut arguments = vec!["--init", "--output", words(&path), "--"];
    arguments.extend(command);
    let ended = verify(&arguments);
    assert_eq!(ended.how(), "exit 2");
    assert!(
        ended.stderr.contains("is there already") && ended.stderr.contains("--force"),
        "{}",
        ended.stderr
    );
    std::fs::write(&path, "# mine\n").expect("a file of the test");
    arguments.insert(1, "--force");
    assert_eq!(verify(&arguments).how(), "exit 0");
    let text = std::fs::read_to_string(&path).expect("it was written");
    assert!(
        text.contains("[target]") && !text.contains("# mine"),
        "{text}"
    );
}

#[test]
fn the_reference_page_shows_a_profile_that_can_be_read_and_every_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
    let page = read("docs/reference/profile.md");
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let options = lameduck_verify::Profile::parse(example)
        .expect("the example of the page")
        .options();
    assert_eq!(options.waivers[0].id, "H1-08");
    assert_eq!(options.target.extra_time.as_secs(), 2);

    // Each key that the reader knows stands on the page, if only as a comment.
    let mut keys = 0;
    for line in read("crates/lameduck-verify/src/profile/form.rs").lines() {
        let field = line
            .trim()
            .strip_prefix("pub(super) ")
            .filter(|rest| !rest.starts_with("struct"));
        if let Some((key, _)) = field.and_then(|rest| rest.split_once(':')) {
            keys += 1;
            let known = [format!("{key} ="), format!("[{key}]"), format!("[[{key}]]")];
            assert!(
                known.iter().any(|known| example.contains(known)),
                "{key} in\n{example}"
            );
        }
    }
    assert!(keys > 40, "{keys}");
}
