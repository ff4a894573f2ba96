//! What a scrape says of connections and requests whose fate the test knows.

use std::collections::BTreeMap;

use lameduck::{Count, Late, Outcome, Phase, Window};
use lameduck_http::{Limits, MetricsFormat, metrics};

use crate::frames::{EVERY_STREAM, Fate, NO_ERROR, Peer, REFUSED, served};
use crate::support::{GET, Rig, SLOW, end_window_now, plan, window};

/// The samples of a page, and every rule of the format that a reader relies on.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let mut family = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(
                ["counter", "gauge", "histogram", "info"].contains(&kind),
                "{line}"
            );
            name.clone_into(&mut family);
        }
        if line.starts_with('#') {
            continue;
        }
        assert!(line.starts_with(&family), "{line} stands under {family}");
        let sample = line.split(" # ").next().expect("a sample");
        let (series, value) = sample.rsplit_once(' ').expect("a series and a value");
        let value = value.parse().expect("a number");
        let twice = found.insert(series.to_owned(), value);
        assert_eq!(twice, None, "{series} stands there twice");
    }
    found
}

fn scrape(rig: &Rig) -> BTreeMap<String, f64> {
    samples(&metrics(&rig.life, MetricsFormat::Prometheus))
}

fn requests(phase: &str, outcome: &str) -> String {
    format!(r#"lameduck_requests_total{{phase="{phase}",outcome="{outcome}"}}"#)
}

#[tokio::test]
async fn requests_are_counted_in_the_phase_in_which_they_end() {
    let rig = Rig::start(plan(window(5_000, 5_000, 5_000))).await;
    let mut early = rig.connect().await;
    early.send(GET).await;
    early.served().await;
    let mut slow = rig.connect().await;
    slow.send(SLOW).await;
    rig.control.entered().await;
    let running = scrape(&rig);
    let owner = format!(r#"{{participant="http {}"}}"#, rig.addr);
    assert_eq!(running[&format!("lameduck_inflight_requests{owner}")], 1.0);
    assert_eq!(running[r#"lameduck_connections{protocol="http/1.1"}"#], 2.0);
    assert_eq!(
        running[r#"lameduck_requests_started_total{phase="Running"}"#],
        2.0
    );
    assert_eq!(running[&requests("Terminating", "served")], 0.0);
    assert!(!running.contains_key("lameduck_deadline_timestamp_seconds"));

    rig.terminate().await;
    rig.control.release.add_permits(1);
    slow.served().await;
    rig.counted(Count::Served, 1).await;
    let mut late = rig.connect().await;
    late.send(GET).await;
    late.served().await;
    rig.counted(Count::Served, 2).await;
    let leaving = scrape(&rig);
    assert_eq!(leaving[&requests("Terminating", "served")], 2.0);
    assert_eq!(leaving[&requests("Draining", "served")], 0.0);
    assert_eq!(leaving[r#"lameduck_phase{phase="Terminating"}"#], 1.0);
    assert_eq!(leaving[r#"lameduck_phase{phase="Running"}"#], 0.0);
    let now = std::time::SystemTime::now();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .expect("past 1970");
    let left = leaving["lameduck_deadline_timestamp_seconds"] - now.as_secs_f64();
    let deadline = rig.life.plan().deadline().as_secs_f64();
    assert!((0.0..=deadline).contains(&left), "{left}");
    let changes =
        r#"lameduck_phase_transitions_total{from="Running",to="Terminating",cause="api"}"#;
    assert_eq!(leaving[changes], 1.0);
}

#[tokio::test]
async fn requests_of_http2_are_their_listeners_too() {
    let rig = Rig::start(plan(window(5_000, 5_000, 5_000))).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let owner = format!(r#"{{participant="http {}"}}"#, rig.addr);
    // The second one is served from what the first one left.
    for _ in 0..2 {
        let stream = peer.ask("/slow").await;
        rig.control.entered().await;
        assert_eq!(
            scrape(&rig)[&format!("lameduck_inflight_requests{owner}")],
            1.0
        );
        rig.control.release.add_permits(1);
        assert_eq!(peer.fate(stream).await, served("slow"));
    }
}

#[tokio::test]
async fn what_the_deadline_ends_is_cut_and_what_is_refused_is_not_served() {
    let short = plan(Window::NONE)
        .with_grace(std::time::Duration::from_secs(3))
        .expect("a plan")
        .with_late(Late::Refuse);
    let mut limits = Limits::default();
    limits.settle = std::time::Duration::from_secs(10);
    let rig = Rig::limited(short, limits).await;
    // HTTP/2 says when it has heard of the window's end.
    let mut late = Peer::greet(rig.addr, &[]).await;
    late.answers = false;
    let mut stuck = rig.connect().await;
    stuck.send(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    rig.control.entered().await;
    rig.counted(Count::Accepted, 2).await;
    end_window_now(&rig);
    assert_eq!(late.goaway().await, (EVERY_STREAM, NO_ERROR));
    let stream = late.ask("/").await;
    assert_eq!(late.fate(stream).await, Fate::Reset(REFUSED));
    drop(late);
    assert!(matches!(rig.outcome().await, Outcome::Forced { .. }));
    rig.counted(Count::RequestCut, 1).await;
    let page = scrape(&rig);
    let sum = |outcome| -> f64 {
        let phases = ["Terminating", "Draining", "Stopped"];
        phases
            .map(|phase| page[&requests(phase, outcome)])
            .iter()
            .sum()
    };
    assert_eq!(sum("cut"), 1.0);
    assert_eq!(sum("refused"), 1.0);
    assert_eq!(sum("served"), 0.0, "a refusal is none");
    assert_eq!(
        page[r#"lameduck_connections_ended_total{fate="ended"}"#],
        1.0
    );
}

#[tokio::test]
async fn the_sweep_and_every_label_of_openmetrics() {
    let rig = Rig::start(plan(Window::NONE)).await;
    // The only thread of this runtime never gets to accept it before the window has ended.
    let waiting = std::net::TcpStream::connect(rig.addr).expect("connected by the kernel");
    end_window_now(&rig);
    assert_eq!(rig.outcome().await, Outcome::Drained);
    drop(waiting);
    let page = metrics(&rig.life, MetricsFormat::OpenMetrics);
    assert!(page.ends_with("# EOF\n"), "{page}");
    let found = samples(&page);
    assert_eq!(found["lameduck_sweep_accepted_total"], 1.0);
    assert!(found.contains_key(r#"lameduck_signal_latency_seconds_bucket{le="+Inf"}"#));
    let drain_id = rig.life.report().expect("over").drain_id.clone();
    let exemplar = format!(r#"cause="api"}} 1 # {{drain_id="{drain_id}"}}"#);
    assert!(page.contains(&exemplar), "{page}");
    let asked = rig.life.figures();
    assert_eq!(asked.drain_id, drain_id);
    let used = format!(
        r#"lameduck_budget_seconds{{participant="http {}",kind="used"}}"#,
        rig.addr
    );
    let report = rig.life.report().expect("over");
    let closing = report.participants[0].ended_at.expect("it ended");
    let told = report
        .phases
        .iter()
        .find(|one| one.phase == Phase::Draining);
    let took = closing - told.expect("a phase").at;
    let differs = (found[&used] - took.as_secs_f64()).abs();
    assert!(differs < 0.05, "{took:?} {found:#?}");
}

#[cfg(feature = "client")]
#[tokio::test]
async fn a_client_that_is_named_is_on_the_page() {
    use lameduck_http::client::Client;
    use lameduck_http::{admin, admin_metrics_with, metrics_route, metrics_with};
    use tower_service::Service as _;

    let life = lameduck::Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let named = |name: &str| Client::builder(&life).name(name).build().expect("a client");
    let (one, two) = (named("one"), named("two"));
    let admin = admin(&life, "127.0.0.1:0").route(admin_metrics_with([&one, &two]));
    let admin = admin.await.expect("a listener").local_addr().clone();
    life.ready();
    assert!(life.running().await);
    let addr = format!("http://{admin}/metrics");
    let request = axum::http::Request::get(addr).body(()).expect("a request");
    let response = one.send(request).await.expect("a response");
    let page = http_body_util::BodyExt::collect(response.into_body()).await;
    let page = page.expect("a page").to_bytes().to_vec();
    let page = samples(&String::from_utf8(page).expect("text"));
    assert_eq!(page[r#"lameduck_client_requests_total{client="one"}"#], 1.0);
    assert_eq!(page[r#"lameduck_client_requests_total{client="two"}"#], 0.0);
    let in_flight = r#"lameduck_client_requests_pending{client="one",state="in_flight"}"#;
    assert_eq!(page[in_flight], 1.0, "the scrape itself");
    let busy = r#"lameduck_client_connections{client="one",use="busy"}"#;
    assert_eq!(page[busy], 1.0);
    let closed = r#"lameduck_client_connections_closed_total{client="one",reason="draining"}"#;
    assert_eq!(page[closed], 0.0);
    assert_eq!(page[r#"lameduck_phase{phase="Running"}"#], 1.0);

    let same = metrics_with(&life, [&one, &two], MetricsFormat::OpenMetrics);
    assert!(same.ends_with("# EOF\n"));
    let mut route = metrics_route(&life).with_clients([&two]);
    let scraped = route
        .call(axum::http::Request::new(()))
        .await
        .expect("infallible");
    assert!(
        scraped
            .body()
            .contains(r#"lameduck_client_requests_total{client="two"} 0"#)
    );
    assert!(!scraped.body().contains(r#"client="one""#));
    life.cut();
    let _ = life.outcome().await;
}
