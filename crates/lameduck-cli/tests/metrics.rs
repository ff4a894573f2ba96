//! `/metrics` of a demo that serves and drains, the alerts and the dashboard that are made of it, all judged by Prometheus' own tool.
//!
//! promtool is skipped where it is not installed, and says so; `.ci/run` unpacks it.

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{
    seats::seat,
    service::Service,
    until,
    wire::{Response, Wire},
};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"))
}

/// What promtool says of `input`; None where it is not installed.
fn promtool(arguments: &[&str], within: &Path, input: &str) -> Option<(bool, String)> {
    let started = Command::new("promtool")
        .args(arguments)
        .current_dir(within)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: promtool does not run here");
        return None;
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Some((output.status.success(), said))
}

#[track_caller]
fn assert_promtool_takes(page: &str) {
    if let Some((takes, said)) = promtool(&["check", "metrics"], examples(), page) {
        assert!(takes && said.is_empty(), "{said}\n{page}");
    }
}

fn scrape(admin: SocketAddr, accept: &str) -> Response {
    let mut wire = Wire::connect(admin).expect("the admin listener");
    wire.send(&format!(
        "GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    ))
    .expect("sent");
    wire.response().expect("answered")
}

#[track_caller]
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| {
        let value = line.strip_prefix(series)?.strip_prefix(' ')?;
        value.split(' ').next()
    });
    let line = line.unwrap_or_else(|| panic!("{series} in\n{page}"));
    line.parse().expect("a number")
}

/// Names of families, as rules and dashboards would have them.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !is_name(c));
    words
        .filter(|word| word.starts_with("lameduck_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_real_drain_is_told_as_it_was() {
    let _seat = seat();
    let listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let plan = ["--window", "none", "--grace", "60s"];
    let arguments = [&["demo"][..], &listen, &plan].concat();
    let mut service = Service::start(LAMEDUCK, &arguments, &[]);
    let ready = service.line("listening on ");
    let address = Service::address(&ready, "listening on ");
    let admin = Service::address(&ready, "admin ");
    let mut kept = Wire::connect(address).expect("served");
    assert_eq!(kept.get("/").status, 200);
    let mut busy = Wire::connect(address).expect("served");
    busy.begin_post("/echo", 3);
    let inflight = format!(r#"lameduck_inflight_requests{{participant="http {address}"}}"#);
    let running = until("a request in flight", || {
        let page = scrape(admin, "text/plain").body;
        (value(&page, &inflight) == 1.0).then_some(page)
    });
    assert_promtool_takes(&running);
    assert_eq!(value(&running, r#"lameduck_phase{phase="Running"}"#), 1.0);
    assert_eq!(
        value(&running, r#"lameduck_connections{protocol="http/1.1"}"#),
        2.0
    );
    let started = r#"lameduck_requests_started_total{phase="Running"}"#;
    assert_eq!(value(&running, started), 2.0);

    service.signal(libc::SIGTERM);
    let draining = until("Draining", || {
        let page = scrape(admin, "text/plain").body;
        (value(&page, r#"lameduck_phase{phase="Draining"}"#) == 1.0).then_some(page)
    });
    assert_promtool_takes(&draining);
    let signals = r#"lameduck_signals_total{signal="SIGTERM",sender_class="process"}"#;
    assert_eq!(value(&draining, signals), 1.0);
    assert_eq!(
        value(&draining, "lameduck_signal_latency_seconds_count"),
        1.0
    );
    let sum = value(&draining, "lameduck_signal_latency_seconds_sum");
    assert!((0.0..60.0).contains(&sum) && sum > 0.0, "{sum}");
    let asked =
        r#"lameduck_phase_transitions_total{from="Running",to="Terminating",cause="signal"}"#;
    assert_eq!(value(&draining, asked), 1.0);

    let open = scrape(admin, "application/openmetrics-text;version=1.0.0");
    let content_type = open.header("content-type").expect("a type");
    assert!(
        content_type.starts_with("application/openmetrics-text"),
        "{content_type}"
    );
    assert!(open.body.ends_with("# EOF\n"), "{}", open.body);
    busy.send("abc").expect("sent");
    assert_eq!(busy.response().expect("served").status, 200);
    let report = service.end().assert_drained();
    // The exemplar leads from the graph to the report.
    let drain_id = report["drain_id"].as_str().expect("an id");
    let exemplar = format!(r#"# {{drain_id="{drain_id}"}} 1"#);
    assert!(open.body.contains(&exemplar), "{}", open.body);
    assert_eq!(report["counts"]["served_leaving"], 1, "{report:#}");

    // What alerts and the dashboard ask for is there, under these names.
    let there = names(&draining);
    for file in ["prometheus/lameduck.rules.yml", "grafana/lameduck.json"] {
        let text = std::fs::read_to_string(examples().join(file)).expect(file);
        let asked = names(&text);
        assert!(!asked.is_empty(), "{file}");
        let missing: Vec<_> = asked.difference(&there).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}");
    }
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    let within = examples().join("prometheus");
    for arguments in [
        ["check", "rules", "lameduck.rules.yml"],
        ["test", "rules", "lameduck.rules.test.yml"],
    ] {
        if let Some((passed, said)) = promtool(&arguments, &within, "") {
            assert!(passed, "{said}");
        }
    }
    let rules = std::fs::read_to_string(within.join("lameduck.rules.yml")).expect("rules");
    let tests = std::fs::read_to_string(within.join("lameduck.rules.test.yml")).expect("tests");
    for alert in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let fires = format!("alertname: {alert}\n        exp_alerts:\n");
        assert!(tests.contains(&fires), "no test in which {alert} fires");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let text = std::fs::read_to_string(examples().join("grafana/lameduck.json")).expect("read");
    let board: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels
        .iter()
        .filter_map(|panel| panel["id"].as_u64())
        .collect();
    assert_eq!(ids.len(), panels.len(), "each has an id of its own");
    for panel in panels {
        let place = &panel["gridPos"];
        let right = place["x"].as_u64().zip(place["w"].as_u64());
        assert!(right.is_some_and(|(x, w)| x + w <= 24), "{panel:#}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel:#}");
        for target in panel["targets"].as_array().expect("targets") {
            let expr = target["expr"].as_str().expect("a query");
            assert!(expr.contains("$job"), "{expr}");
        }
    }
}
