//! What reaches a collector, and what a collector that is away, slow or unwilling costs.

mod collector;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use lameduck::{Lifecycle, News, Outcome, Phase, Plan, Preset, Weight, Window};
use lameduck_otlp::Otlp;
use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{metric::Data, number_data_point},
    trace::v1::{Span, status::StatusCode},
};

use collector::{Answer, Collector, Got};

/// Far beyond what any wait here takes.
const BOUND: Duration = Duration::from_secs(20);

fn life() -> Lifecycle {
    let plan = Plan::preset(Preset::Local).with_window(Window::NONE);
    Lifecycle::embedded(plan.expect("a plan")).expect("a driver")
}

type Troubles = Arc<Mutex<Vec<String>>>;

fn otlp(endpoint: &str) -> (Otlp, Troubles) {
    let troubles = Troubles::default();
    let heard = Arc::clone(&troubles);
    let otlp = Otlp::to(endpoint)
        .expect("an endpoint")
        .service("shop")
        .attribute("deployment.environment", "test")
        .on_trouble(move |what| heard.lock().expect("not poisoned").push(what.to_owned()));
    (otlp, troubles)
}

fn said(troubles: &Troubles) -> Vec<String> {
    troubles.lock().expect("not poisoned").clone()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let found = attributes.iter().find(|one| one.key == key);
    let value = found.and_then(|one| one.value.as_ref()?.value.as_ref());
    match value {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?} in {attributes:?}"),
    }
}

/// A whole life with one participant that works and one that fails.
fn live(life: &Lifecycle) -> Outcome {
    let outbox = life.participate("outbox").register().expect("a free name");
    outbox.ready();
    let broken = life.participate("broken").register().expect("a free name");
    broken.ready();
    life.ready();
    life.shutdown("a test");
    outbox.done();
    broken.failed("no disk");
    life.wait()
}

/// What a collector gets of a whole life that failed.
struct Exported {
    life: Lifecycle,
    got: Got,
    /// The trace of the drain, and that of the life before.
    drain: Vec<Span>,
    before: Vec<Span>,
}

impl Exported {
    fn new() -> Self {
        let collector = Collector::start(|_| Answer::Ok);
        let (otlp, troubles) = otlp(&collector.endpoint);
        let life = life();
        let metered = life.clone();
        let otlp = otlp.header("x-tenant", "7").metrics(move || {
            lameduck_http::metrics(&metered, lameduck_http::MetricsFormat::OpenMetrics)
        });
        let observer = otlp.observer(&life).expect("an exporter");
        life.observe("otlp", observer).expect("a thread");
        assert_eq!(live(&life), Outcome::Failed);
        assert_eq!(said(&troubles), Vec::<String>::new());
        let got = collector.got();
        let id = id_of(&life);
        let of = |id: u128| -> Vec<Span> {
            let spans = got.spans().into_iter();
            spans
                .filter(|span| span.trace_id == id.to_be_bytes())
                .collect()
        };
        let (drain, before) = (of(id), of(!id));
        assert_eq!(drain.len() + before.len(), got.spans().len());
        Self {
            life,
            got,
            drain,
            before,
        }
    }

    fn drained(&self, name: &str) -> &Span {
        let found = self.drain.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#?}", self.drain))
    }
}

fn id_of(life: &Lifecycle) -> u128 {
    u128::from_str_radix(life.drain_id(), 16).expect("hexadecimal")
}

fn names(spans: &[Span]) -> Vec<&str> {
    let mut names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn all_of_it_says_who_speaks() {
    let exported = Exported::new();
    let resources = exported.got.resources();
    assert!(resources.len() >= 3, "{resources:?}");
    for resource in &resources {
        assert_eq!(text(resource, "service.name"), "shop");
        assert_eq!(text(resource, "deployment.environment"), "test");
        assert_eq!(
            text(resource, "lameduck.drain_id"),
            exported.life.drain_id()
        );
    }
    let heads = &exported.got.heads;
    assert!(
        heads.iter().all(|head| head.contains("x-tenant: 7")),
        "{heads:?}"
    );
}

#[test]
fn a_drain_is_a_trace_whose_id_is_the_drain_id() {
    let exported = Exported::new();
    let expected = [
        "Initializing",
        "Running",
        "life",
        "start broken",
        "start outbox",
    ];
    assert_eq!(names(&exported.before), expected);
    let expected = [
        "Draining",
        "Stopped",
        "Terminating",
        "shutdown",
        "stop broken",
        "stop outbox",
    ];
    assert_eq!(names(&exported.drain), expected);

    // One root each, under which everything stands in its time.
    for (trace, root) in [(&exported.before, "life"), (&exported.drain, "shutdown")] {
        let root = trace.iter().find(|span| span.name == root).expect("a root");
        assert!(root.parent_span_id.is_empty());
        for span in trace.iter().filter(|span| span.name != root.name) {
            assert_eq!(span.parent_span_id, root.span_id, "{span:?}");
            assert!(
                span.start_time_unix_nano >= root.start_time_unix_nano,
                "{span:?}"
            );
            assert!(
                span.end_time_unix_nano <= root.end_time_unix_nano,
                "{span:?}"
            );
            assert!(
                span.start_time_unix_nano <= span.end_time_unix_nano,
                "{span:?}"
            );
        }
    }
    let spans = exported.got.spans();
    let mut ids: Vec<_> = spans.iter().map(|span| &span.span_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());
    let life = exported
        .before
        .iter()
        .find(|span| span.name == "life")
        .expect("a root");
    assert_eq!(exported.drained("shutdown").links[0].span_id, life.span_id);
}

#[test]
fn a_span_says_how_it_went_and_lasts_as_the_report_has_it() {
    let exported = Exported::new();
    let status = |name: &str| exported.drained(name).status.clone().unwrap_or_default();
    assert_eq!(status("shutdown").code, StatusCode::Error as i32);
    assert_eq!(status("stop broken").code, StatusCode::Error as i32);
    assert_eq!(status("stop broken").message, "no disk");
    assert_eq!(status("stop outbox").code, StatusCode::Unset as i32);
    let shutdown = &exported.drained("shutdown").attributes;
    assert_eq!(text(shutdown, "lameduck.outcome"), "failed");
    assert_eq!(
        text(shutdown, "lameduck.cause"),
        "asked by the program: a test"
    );

    let report = exported.life.report().expect("over");
    for phase in report
        .phases
        .iter()
        .filter(|one| one.phase == Phase::Terminating || one.phase == Phase::Draining)
    {
        let span = exported.drained(phase.phase.as_str());
        let took = span.end_time_unix_nano - span.start_time_unix_nano;
        assert_eq!(u128::from(took), phase.took.as_nanos());
    }
}

#[test]
fn whatever_an_observer_hears_is_a_record_in_its_trace() {
    let exported = Exported::new();
    let records = exported.got.records();
    let happened = exported.life.recent().happened;
    assert_eq!(records.len(), happened.len());
    let id = id_of(&exported.life);
    let mut leaving = false;
    for (record, seen) in records.iter().zip(&happened) {
        assert_eq!(
            record.event_name,
            format!("lameduck.{}", seen.news.as_str())
        );
        let body = record.body.as_ref().and_then(|body| body.value.clone());
        assert_eq!(body, Some(Value::StringValue(seen.news.to_string())));
        leaving |= matches!(
            seen.news,
            News::PhaseChanged {
                to: Phase::Terminating,
                ..
            }
        );
        let trace = if leaving { id } else { !id };
        assert_eq!(record.trace_id, trace.to_be_bytes(), "{record:?}");
    }
    assert!(leaving);
    assert_eq!(
        records.last().map(|last| last.severity_text.as_str()),
        Some("ERROR")
    );
}

#[test]
fn the_last_metrics_are_of_the_end() {
    let metrics = Exported::new().got.metrics();
    let phase = metrics
        .iter()
        .find(|one| one.name == "lameduck_phase")
        .expect("a metric");
    let Some(Data::Gauge(gauge)) = &phase.data else {
        panic!("{phase:?}");
    };
    let one = Some(number_data_point::Value::AsInt(1));
    let now = gauge.data_points.iter().find(|point| point.value == one);
    assert_eq!(text(&now.expect("one is 1").attributes, "phase"), "Stopped");
}

#[test]
fn a_collector_that_is_away_is_said_once_and_costs_the_exit_nothing() {
    // A port at which nobody listens any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let (otlp, troubles) = otlp(&format!("http://{gone}"));
    let life = life();
    life.observe(
        "otlp",
        otlp.patience(BOUND).observer(&life).expect("a thread"),
    )
    .expect("a thread");
    let began = Instant::now();
    let _ = live(&life);
    assert!(began.elapsed() < BOUND / 2, "{:?}", began.elapsed());
    let said = said(&troubles);
    let last = said.last().expect("it was said");
    assert!(
        last.contains("did not reach") && last.contains(&gone.to_string()),
        "{said:?}"
    );
}

#[test]
fn inv_2_a_collector_that_never_answers_holds_the_exit_no_longer_than_patience() {
    let collector = Collector::start(|_| Answer::Never);
    let (otlp, troubles) = otlp(&collector.endpoint);
    let life = life();
    let patience = Duration::from_millis(300);
    life.observe(
        "otlp",
        otlp.patience(patience).observer(&life).expect("a thread"),
    )
    .expect("a thread");
    let began = Instant::now();
    let _ = live(&life);
    let took = began.elapsed();
    assert!(took >= patience && took < BOUND, "{took:?}");
    let until = Instant::now() + BOUND;
    while said(&troubles).is_empty() {
        assert!(Instant::now() < until, "nothing was said");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_may_be_sent_again_is_and_what_is_refused_is_counted() {
    // Traces: at first not now, then all but two. Logs: never.
    let collector = Collector::start(|request| match (request.path.as_str(), request.number) {
        ("/v1/traces", 0) => Answer::Busy,
        ("/v1/traces", _) => Answer::Partly(2),
        _ => Answer::Bad,
    });
    let (otlp, troubles) = otlp(&collector.endpoint);
    let life = life();
    life.observe(
        "otlp",
        otlp.patience(BOUND).observer(&life).expect("a thread"),
    )
    .expect("a thread");
    let _ = live(&life);
    let got = collector.got();
    // What was not taken the first time came again.
    let ids = |requests: &[_]| -> BTreeSet<Vec<u8>> {
        let traces = Got {
            traces: requests.to_vec(),
            ..Got::default()
        };
        traces
            .spans()
            .into_iter()
            .map(|span| span.span_id)
            .collect()
    };
    let (first, again) = got.traces.split_at(1);
    assert!(!again.is_empty() && ids(first).is_subset(&ids(again)));
    let (records, said) = (got.records().len(), said(&troubles));
    let lost = records + 2 * again.len();
    assert!(
        said.iter()
            .any(|line| line.contains("/v1/logs refuses") && line.contains("400")),
        "{said:?}"
    );
    assert!(
        said.last()
            .is_some_and(|line| line.contains(&format!(" {lost} spans and records"))),
        "{lost}: {said:?}"
    );
}

#[test]
fn while_it_lives_it_sends_together_and_comes_back() {
    let collector = Collector::start(|request| {
        if request.number == 0 {
            Answer::Busy
        } else {
            Answer::Ok
        }
    });
    let (otlp, troubles) = otlp(&collector.endpoint);
    let life = life();
    life.observe("otlp", otlp.observer(&life).expect("a thread"))
        .expect("a thread");
    life.ready();
    collector.wait_for(2);
    life.note("again");
    let comes = |what: &str| {
        let until = Instant::now() + BOUND;
        while !said(&troubles).iter().any(|line| line.contains(what)) {
            assert!(Instant::now() < until, "{what}: {:?}", said(&troubles));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    comes("/v1/logs takes nothing at present: 503");
    comes("/v1/logs answers again; 0 spans");
    comes("/v1/traces answers again; 0 spans");
    life.shutdown("a test");
    assert_eq!(life.wait(), Outcome::Drained);
    let bodies: Vec<_> = collector
        .got()
        .records()
        .into_iter()
        .filter_map(|one| one.body?.value)
        .collect();
    assert!(
        bodies.contains(&Value::StringValue("again".to_owned())),
        "{bodies:?}"
    );
}

#[test]
fn what_is_sent_once_is_tried_for_each_of_the_three() {
    let collector = Collector::start(|request| match request.path.as_str() {
        "/v1/traces" => Answer::Bad,
        _ => Answer::Ok,
    });
    let (otlp, _) = otlp(&collector.endpoint);
    let mut once = otlp.once("a run", SystemTime::now()).expect("an endpoint");
    once.attribute("lameduck.verdict", "pass");
    once.record(
        Weight::Warning,
        "lameduck.check",
        "it differs",
        &[("lameduck.id", "P3")],
    );
    let trace = once.trace_id();
    let refused = once
        .send(None, "lost 0\n")
        .expect_err("traces were not taken");
    let said = refused.to_string();
    assert!(
        said.contains("/v1/traces refuses it: 400") && !said.contains("/v1/logs"),
        "{said}"
    );
    let got = collector.got();
    let [record] = &got.records()[..] else {
        panic!("{:?}", got.records());
    };
    let digits: String = record
        .trace_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!((digits, record.severity_text.as_str()), (trace, "WARN"));
    assert_eq!(got.metrics()[0].name, "lost");
}
