//! Traces, logs, metrics and log lines of a demo that drains: through a real collector (rotel) and into a real Prometheus.
//!
//! What is not installed is skipped, and says so; `.ci/run` installs both.

#[path = "../../lameduck-otlp/tests/collector/mod.rs"]
mod collector;
mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use opentelemetry_proto::tonic::{logs::v1::LogRecord, trace::v1::status::StatusCode};
use serde_json::Value;

use collector::{Answer, Collector};
use support::{
    seats::seat,
    service::{Service, command},
    until,
    wire::Wire,
};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

/// A demo that leaves as soon as it is told to.
fn demo(more: &[&str], variables: &[(&str, &str)]) -> (Service, String) {
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--window", "none"];
    let mut service = Service::start(LAMEDUCK, &[&arguments[..], more].concat(), variables);
    let ready = service.line("listening on ");
    (service, ready)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Whether somebody listens there by now.
fn listens(port: u16) -> Option<()> {
    let addr: SocketAddr = ([127, 0, 0, 1], port).into();
    std::net::TcpStream::connect(addr).ok().map(drop)
}

/// The program of the package `rotel`; None where it is not installed.
fn rotel() -> Option<PathBuf> {
    let found = Command::new("python3")
        .args([
            "-c",
            "import rotel, os; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))",
        ])
        .output();
    let said = found.ok().filter(|output| output.status.success());
    let path = said.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    if path.is_none() {
        eprintln!("skipped: rotel does not run here");
    }
    path
}

/// A directory of this test's own, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lameduck-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn join(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A collector that people run, which hands on what it gets; None where it is not installed.
fn collector_before(behind: &Collector) -> Option<(Service, String, Place)> {
    let program = rotel()?;
    let place = Place::new("rotel");
    let (port, grpc) = (free_port(), free_port());
    let (pid, http) = (place.join("pid"), format!("127.0.0.1:{port}"));
    let grpc = format!("127.0.0.1:{grpc}");
    let at = [
        "start",
        "--pid-file",
        &pid,
        "--otlp-http-endpoint",
        &http,
        "--otlp-grpc-endpoint",
        &grpc,
    ];
    let on = [
        "--exporter",
        "otlp",
        "--otlp-exporter-protocol",
        "http",
        "--otlp-exporter-endpoint",
        &behind.endpoint,
    ];
    let arguments = [&at[..], &on].concat();
    let mut agent = Service::launch(&mut command(&program.to_string_lossy(), &arguments, &[]));
    until("rotel listens", || {
        assert!(!agent.is_gone(), "rotel ended");
        listens(port)
    });
    Some((agent, format!("http://{http}"), place))
}

/// Every line of the log bears the id.
#[track_caller]
fn assert_logged_with(drain_id: &str, stderr: &str) {
    let lines: Vec<Value> = stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["target"] == "lameduck")
        .collect();
    assert!(lines.len() >= 8, "{stderr}");
    let bears = |line: &Value| line["fields"]["drain_id"] == drain_id;
    assert!(lines.iter().all(bears), "{stderr}");
}

#[test]
fn a_drain_reaches_the_far_side_of_a_real_collector() {
    let _seat = seat();
    let behind = Collector::start(|_| Answer::Ok);
    let Some((agent, endpoint, _place)) = collector_before(&behind) else {
        return;
    };
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_SERVICE_NAME", "duck-pond"),
    ];
    let (service, ready) = demo(&["--log", "json"], &variables);
    let address = Service::address(&ready, "listening on ");
    let mut wire = Wire::connect(address).expect("served");
    assert_eq!(wire.get("/").status, 200);
    service.signal(libc::SIGTERM);
    let ended = service.end();
    let report = ended.assert_drained();
    let drain_id = report["drain_id"].as_str().expect("an id");
    assert_logged_with(drain_id, &ended.stderr);

    // What was exported before the exit comes out at the other side.
    let got = until("the trace, the records and the metrics", || {
        let got = behind.got();
        let drained = got.spans().iter().any(|span| span.name == "shutdown");
        let over = got
            .records()
            .iter()
            .any(|record| record.event_name == "lameduck.exit");
        (drained && over && !got.metrics.is_empty()).then_some(got)
    });
    let spans = got.spans();
    let id = u128::from_str_radix(drain_id, 16).expect("hexadecimal");
    let root = spans.iter().find(|span| span.name == "shutdown");
    let root = root.expect("a root");
    assert_eq!(root.trace_id, id.to_be_bytes());
    let status = root.status.as_ref().map(|status| status.code);
    assert_eq!(status, Some(StatusCode::Ok as i32));
    let server = format!("stop http {address}");
    assert!(spans.iter().any(|span| span.name == server), "{spans:?}");
    // Who asked for it stands in the drain, not in the life before.
    let signal = |record: &LogRecord| record.event_name == "lameduck.signal";
    let record = got.records().into_iter().find(signal).expect("a signal");
    assert_eq!(record.trace_id, id.to_be_bytes());
    let event = root
        .events
        .iter()
        .find(|event| event.name.starts_with("SIGTERM from "));
    assert!(event.is_some(), "{:?}", root.events);
    let metrics = got.metrics();
    assert!(
        metrics
            .iter()
            .any(|metric| metric.name == "lameduck_requests_started")
    );
    let resources = format!("{:?}", got.resources());
    assert!(resources.contains("duck-pond"), "{resources}");
    agent.signal(libc::SIGTERM);
}

#[test]
fn inv_2_a_dead_collector_does_not_hold_the_exit() {
    let _seat = seat();
    let deaf = Collector::start(|_| Answer::Never);
    let (mut service, _) = demo(&["--grace", "60s", "--otlp", &deaf.endpoint], &[]);
    service.signal(libc::SIGTERM);
    // The report does not wait for the collector; the process does, for as long as the exporter asked for, and says so.
    service.complaint(r#""outcome":"drained""#);
    let began = std::time::Instant::now();
    service.complaint("spans and records did not reach");
    assert_eq!(service.end().how(), "exit 0");
    // A request may take ten seconds while the service lives: at the end it may not.
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(9), "{took:?}");
}

#[test]
fn an_endpoint_that_cannot_be_one_is_78_and_says_why() {
    for (more, variables, said) in [
        (
            &["--otlp", "collector"][..],
            &[][..],
            "http://127.0.0.1:4318",
        ),
        (
            &["--otlp", "http://127.0.0.1:4318"],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            "only http/protobuf",
        ),
    ] {
        let ended = Service::start(LAMEDUCK, &[&["demo"], more].concat(), variables).end();
        assert_eq!(ended.how(), "exit 78", "{}", ended.stderr);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
}

#[test]
fn a_run_of_verify_is_exported_whatever_came_of_it() {
    let _seat = seat();
    let collector = Collector::start(|_| Answer::Ok);
    let arguments = [
        "verify",
        "--only",
        "H1-02,P1",
        "--rounds",
        "2",
        "--otlp",
        &collector.endpoint,
    ];
    let ended = Service::start(LAMEDUCK, &arguments, &[]).end();
    assert_eq!(ended.how(), "exit 0", "{}", ended.stderr);
    let got = collector.got();
    let [span] = &got.spans()[..] else {
        panic!("{:?}", got.spans());
    };
    assert_eq!(span.name, "lameduck verify");
    let digits: String = span
        .trace_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(
        ended
            .stderr
            .contains(&format!("exported as trace {digits}")),
        "{}",
        ended.stderr
    );
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    let records = got.records();
    assert_eq!(records.len(), 2);
    assert!(
        records
            .iter()
            .all(|record| record.trace_id == span.trace_id)
    );
    let metrics = got.metrics();
    let names: Vec<_> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "lameduck_verify_lost",
            "lameduck_verify_requests",
            "lameduck_verify_checks"
        ]
    );

    // Nobody there: said, and no reason for another exit code. A mistyped URL costs no run.
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let arguments = ["verify", "--only", "P1", "--rounds", "1", "--otlp", &nobody];
    let ended = Service::start(LAMEDUCK, &arguments, &[]).end();
    assert_eq!(ended.how(), "exit 0", "{}", ended.stderr);
    assert!(
        ended.stderr.contains("warning: --otlp: "),
        "{}",
        ended.stderr
    );
    let ended = Service::start(LAMEDUCK, &["verify", "--otlp", "collector"], &[]).end();
    assert_eq!(ended.how(), "exit 2", "{}", ended.stderr);
}

/// A Prometheus that scrapes this admin listener and has our rules.
fn prometheus(admin: SocketAddr) -> (Service, u16, Place) {
    let place = Place::new("prometheus");
    let rules = std::fs::canonicalize(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/prometheus/lameduck.rules.yml"
    ))
    .expect("rules");
    let config = format!(
        "global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}\nrule_files: [{rules:?}]\nscrape_configs:\n  - {{job_name: duck, static_configs: [{{targets: ['{admin}']}}]}}\n"
    );
    let config_file = place.join("prometheus.yml");
    std::fs::write(&config_file, config).expect("written");
    let port = free_port();
    let arguments = [
        format!("--config.file={config_file}"),
        format!("--storage.tsdb.path={}", place.join("data")),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--enable-feature=exemplar-storage".to_owned(),
    ];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut prometheus = Service::launch(&mut command("prometheus", &arguments, &[]));
    until("Prometheus listens", || {
        assert!(!prometheus.is_gone(), "Prometheus ended");
        listens(port)
    });
    (prometheus, port, place)
}

#[test]
fn a_real_prometheus_reads_it_and_its_rules() {
    let _seat = seat();
    if Command::new("prometheus")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: prometheus does not run here");
        return;
    }
    let (service, ready) = demo(&["--admin", "127.0.0.1:0"], &[]);
    let admin = Service::address(&ready, "admin ");
    let (prometheus, port, _place) = prometheus(admin);
    let asked = |path: &str| -> Option<Value> {
        let mut wire = Wire::connect(([127, 0, 0, 1], port).into()).ok()?;
        let answer = wire.get(path);
        (answer.status == 200).then(|| serde_json::from_str(&answer.body).expect("JSON"))
    };
    let running = until("the phase is known", || {
        let answer = asked("/api/v1/query?query=lameduck_phase%7Bphase%3D%22Running%22%7D")?;
        answer["data"]["result"][0]["value"][1]
            .as_str()
            .map(str::to_owned)
    });
    assert_eq!(running, "1");
    let target = until("the target is up", || {
        let answer = asked("/api/v1/targets")?;
        let target = answer["data"]["activeTargets"][0].clone();
        (target["health"] == "up").then_some(target)
    });
    assert_eq!(target["lastError"], "", "{target:#}");
    // The rules are evaluated on what was really scraped, and a service that runs is no reason for an alert.
    let groups = until("the rules were evaluated", || {
        let answer = asked("/api/v1/rules")?;
        let rules = answer["data"]["groups"][0]["rules"].as_array()?.clone();
        let all = rules.iter().all(|rule| rule["health"] != "unknown");
        (all && !rules.is_empty()).then_some(rules)
    });
    for rule in &groups {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        assert_eq!(rule["state"], "inactive", "{rule:#}");
    }
    // A metric for each family of the page, with its type.
    let metadata = asked("/api/v1/metadata").expect("metadata");
    assert_eq!(
        metadata["data"]["lameduck_requests_started"][0]["type"], "counter",
        "{metadata:#}"
    );
    prometheus.signal(libc::SIGTERM);
    service.signal(libc::SIGTERM);
    service.end().assert_drained();
}
