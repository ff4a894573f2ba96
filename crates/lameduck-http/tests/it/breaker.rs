//! Circuit breakers before handlers, over real sockets: what clients get, what operators see and do, what is on record.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use lameduck::{Audit, Lifecycle, Outcome, Plan};
use lameduck_http::breaker::{BreakRequests, Breaker, Breakers, Settings, State};

use crate::support::{Answer, Client, Control, Rig, app, plan, soon, window};

/// The handlers' clock, moved by hand: no test waits for a breaker.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn settings(&self, life: &Lifecycle) -> Settings {
        let now = Arc::clone(&self.0);
        Settings::new()
            .failures_in_a_row(2)
            .jitter(0.0)
            .clock(move || Duration::from_millis(now.load(Ordering::Relaxed)))
            .lifecycle(life)
    }

    fn pass(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("a short time");
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

/// Files of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("lameduck-breaker-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A service whose `/stock` breaks when it is told to, behind a breaker; with an admin listener.
struct Shop {
    rig: Rig,
    stock: Breaker,
    hands: Hands,
    /// What `/stock` answers.
    status: Arc<AtomicU64>,
    admin: std::net::SocketAddr,
    token: Scratch,
}

impl Shop {
    async fn open(name: &str, plan: Plan) -> Self {
        let life = Lifecycle::embedded(plan).expect("a lifecycle");
        let hands = Hands::default();
        let stock = Breaker::new("stock", hands.settings(&life)).expect("settings that fit");
        let status = Arc::new(AtomicU64::new(200));
        let answers = Arc::clone(&status);
        let handler = get(move || {
            let status = u16::try_from(answers.load(Ordering::Relaxed)).expect("a status");
            std::future::ready(StatusCode::from_u16(status).expect("a status"))
        });
        let layer = BreakRequests::new(&stock).json(r#"{"stock":"unknown"}"#);
        let control = Control::new();
        let guarded = Router::new()
            .route("/stock", handler)
            .merge(app(control.clone()))
            .layer(layer);
        let server = lameduck_http::serve(&life, "127.0.0.1:0", guarded);
        let server = server.await.expect("a server");
        let addr = server.local_addr().tcp().expect("tcp");
        let token = Scratch::new(name);
        let admin = lameduck_http::admin(&life, "127.0.0.1:0").token_file(&token.0);
        let admin = admin.await.expect("an admin listener");
        Self {
            rig: Rig::running(life, addr, control).await,
            stock,
            hands,
            status,
            admin: admin.local_addr().tcp().expect("tcp"),
            token,
        }
    }

    async fn stock(&self) -> Answer {
        ask(self.rig.addr, "GET /stock", "").await
    }

    fn answers(&self, status: u64) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Two failures, and it is open.
    async fn fail(&self) {
        self.answers(500);
        for _ in 0..2 {
            assert_eq!(self.stock().await.status, 500);
        }
        assert_eq!(self.stock.state(), State::Open);
    }

    /// Does something to the breaker with the token.
    async fn act(&self, deed: &str, reason: &str) -> Answer {
        let id = self.stock.id();
        let token = self.token.read();
        let fields = format!(
            "authorization: Bearer {}\r\ncontent-length: {}\r\n",
            token.trim(),
            reason.len()
        );
        let head = format!("POST /breakers/{deed}?id={id}");
        let mut client = Client::connect(self.admin).await;
        client
            .send(format!("{head} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n{reason}").as_bytes())
            .await;
        client.answer().await.expect("an answer")
    }
}

async fn ask(addr: std::net::SocketAddr, line: &str, fields: &str) -> Answer {
    let mut client = Client::connect(addr).await;
    let head = format!("{line} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
    client.send(head.as_bytes()).await;
    client.answer().await.expect("an answer")
}

#[tokio::test]
async fn clients_get_503_with_retry_after_and_the_fallback_until_a_probe_succeeds() {
    let shop = Shop::open("fallback", plan(window(5_000, 5_000, 5_000))).await;
    assert_eq!(shop.stock().await.status, 200);
    shop.fail().await;
    shop.hands.pass(Duration::from_millis(1_500));
    let refused = shop.stock().await;
    assert_eq!(refused.status, 503);
    let head = refused.head.to_ascii_lowercase();
    for field in [
        // 3.5 s are left.
        "retry-after: 4",
        "content-type: application/json",
        "cache-control: no-store",
        "content-length: 19",
    ] {
        assert!(head.contains(field), "{head} lacks {field}");
    }
    assert_eq!(refused.text(), r#"{"stock":"unknown"}"#);
    assert!(refused.whole && !refused.close, "its connection may go on");
    shop.hands.pass(Duration::from_millis(3_500));
    shop.answers(200);
    assert_eq!(shop.stock().await.status, 200);
    assert_eq!(shop.stock.state(), State::Closed);
    assert_eq!(shop.stock.figures().rejected, 1);
}

#[tokio::test]
async fn a_probe_whose_client_goes_away_is_made_by_the_next_one() {
    let shop = Shop::open("gone", plan(window(5_000, 5_000, 5_000))).await;
    shop.fail().await;
    shop.hands.pass(Duration::from_secs(5));
    let mut goes = Client::connect(shop.rig.addr).await;
    goes.send(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    shop.rig.control.entered().await;
    assert_eq!(shop.stock.probes_out(), 1);
    assert_eq!(shop.stock().await.status, 503);
    drop(goes);
    soon("the probe's return", async {
        while shop.stock.probes_out() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(shop.stock.state(), State::HalfOpen);
    shop.answers(200);
    assert_eq!(shop.stock().await.status, 200);
    assert_eq!(shop.stock.state(), State::Closed);
}

#[tokio::test]
async fn an_operator_forces_it_from_the_admin_listener_and_it_is_on_record() {
    let shop = Shop::open("forces", plan(window(0, 0, 5_000))).await;
    let audit = Scratch::new("audit");
    let asked = Audit::file(&audit.0);
    shop.rig.life.audit(asked).expect("an audit");
    let opened = shop.act("open", "the stock is counted").await;
    assert_eq!(
        (opened.status, opened.text()),
        (200, "stock is forced-open now\n")
    );
    assert_eq!(shop.act("open", "").await.status, 409);
    assert_eq!(shop.stock().await.status, 503);
    assert_eq!(shop.act("close", "").await.status, 200);
    shop.answers(500);
    for _ in 0..5 {
        assert_eq!(shop.stock().await.status, 500, "whatever comes of it");
    }
    assert_eq!(shop.act("release", "done").await.status, 200);
    assert_eq!(shop.stock.state(), State::Closed);
    shop.fail().await;
    shop.rig.life.shutdown("the test");
    assert_eq!(shop.rig.outcome().await, Outcome::Drained);
    soon("the audit's end", async {
        while !audit.read().contains(r#""kind":"exit""#) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let audit = audit.read();
    let switches: Vec<_> = audit
        .lines()
        .filter(|line| line.contains(r#""kind":"switch""#))
        .collect();
    for (nth, words) in [
        r#""from":"closed","state":"forced-open","why":"forced: on the admin listener: the stock is counted""#,
        r#""from":"forced-open","state":"forced-closed","why":"forced: on the admin listener""#,
        r#""from":"forced-closed","state":"closed","why":"released: on the admin listener: done""#,
        r#""from":"closed","state":"open","why":"2 calls failed in a row""#,
    ]
    .iter()
    .enumerate()
    {
        let all = format!(r#""what":"breaker","name":"stock",{words}"#);
        assert!(switches[nth].contains(&all), "{words} in {audit}");
    }
    assert_eq!(switches.len(), 4, "{audit}");
}

#[tokio::test]
async fn the_status_and_its_events_list_breakers_and_hostile_keys_are_text() {
    let shop = Shop::open("lists", plan(window(5_000, 5_000, 5_000))).await;
    let settings = shop.hands.settings(&shop.rig.life);
    let hosts = Breakers::<String>::new("hosts", settings).expect("settings that fit");
    let hostile = "</script><script>alert(1)</script>\n\ndata: x";
    let _held = hosts.of(hostile).expect("a place");
    shop.fail().await;
    shop.hands.pass(Duration::from_secs(2));
    let status = ask(shop.admin, "GET /status", "").await;
    let mut watcher = Client::connect(shop.admin).await;
    let head = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    watcher.send(head).await;
    watcher.seen(b"breakers_unlisted").await;
    let status = String::from_utf8(status.body).expect("text");
    let events = String::from_utf8_lossy(watcher.so_far()).into_owned();
    for text in [&status, &events] {
        let open = format!(
            r#""breakers":[{{"id":{},"name":"stock","state":"open","since_ms":2000,"probes_in_ms":3000,"probes_out":0,"window":{{"calls":0,"failures":0,"slow":0}},"calls":2,"failures":2"#,
            shop.stock.id()
        );
        assert!(text.contains(&open), "{text}");
        assert!(
            text.contains(r#""name":"hosts","key":"\u003c/script\u003e"#),
            "{text}"
        );
        assert!(!text.contains("<script"), "{text}");
    }
    let count = |field: &str| {
        events
            .lines()
            .filter(|line| line.starts_with(field))
            .count()
    };
    let (data, events_seen) = (count("data: "), count("event: "));
    assert_eq!(
        data, events_seen,
        "a key makes no line of its own: {events}"
    );
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn metrics_tell_calls_transitions_and_forces_by_name() {
    let shop = Shop::open("metrics", plan(window(5_000, 5_000, 5_000))).await;
    let settings = shop.hands.settings(&shop.rig.life);
    let hosts = Breakers::<String>::builder("hosts \"\\\n", settings).capacity(1);
    let hosts = hosts.build::<String>().expect("settings that fit");
    for key in ["a", "b", "c"] {
        _ = hosts.of(key);
    }
    shop.fail().await;
    assert_eq!(shop.stock().await.status, 503);
    shop.hands.pass(Duration::from_secs(5));
    shop.answers(404);
    assert_eq!(shop.stock().await.status, 404, "the client's mistake");
    shop.stock.force_open("");
    for format in [
        lameduck_http::MetricsFormat::Prometheus,
        lameduck_http::MetricsFormat::OpenMetrics,
    ] {
        let page = lameduck_http::metrics(&shop.rig.life, format);
        for line in [
            r#"lameduck_breakers{breaker="stock",state="forced-open"} 1"#,
            r#"lameduck_breakers{breaker="stock",state="closed"} 0"#,
            r#"lameduck_breaker_calls_total{breaker="stock",outcome="success"} 1"#,
            r#"lameduck_breaker_calls_total{breaker="stock",outcome="failure"} 2"#,
            r#"lameduck_breaker_calls_total{breaker="stock",outcome="rejected"} 1"#,
            r#"lameduck_breaker_probes_total{breaker="stock"} 1"#,
            r#"lameduck_breaker_transitions_total{breaker="stock",to="open"} 1"#,
            r#"lameduck_breaker_transitions_total{breaker="stock",to="closed"} 1"#,
            r#"lameduck_breaker_forced_total{breaker="stock"} 1"#,
            r#"lameduck_breaker_keys_total{breaker="hosts \"\\\n",event="evicted"} 2"#,
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }
}

#[tokio::test]
async fn what_our_own_drain_breaks_never_counts() {
    // The window stays open until the test has seen it.
    let short = plan(window(0, 20_000, 20_000));
    let shop = Shop::open("drain", short).await;
    shop.rig.terminate().await;
    // In the window 503 is how handlers turn work away; anything else is a failure as ever.
    shop.answers(503);
    for _ in 0..4 {
        assert_eq!(shop.stock().await.status, 503);
    }
    assert_eq!(shop.stock.state(), State::Closed);
    assert_eq!(shop.stock.figures().ignored, 4);
    shop.answers(500);
    assert_eq!(shop.stock().await.status, 500);
    assert_eq!(shop.stock.figures().failures, 1);
    // What is cut is nothing; that is so in the drain too, which a cut does without.
    let held = shop.rig.life.enter().expect("not over yet");
    let mut late = Client::connect(shop.rig.addr).await;
    late.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    shop.rig.control.entered().await;
    let attempts = [(); 3].map(|()| shop.stock.acquire().expect("closed"));
    shop.rig.life.cut();
    let cut = shop.rig.outcome().await;
    assert!(matches!(cut, Outcome::Cut(_)), "{cut:?}");
    drop(late);
    for attempt in attempts {
        attempt.failure();
    }
    assert_eq!(shop.stock.state(), State::Closed);
    assert_eq!(shop.stock.figures().failures, 1);
    assert_eq!(shop.stock.figures().ignored, 7);
    drop(held);
}
