//! The admin listener: who may ask what, what somebody with the token may do, and what watchers see to the end.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use lameduck::{Lifecycle, Outcome, Phase};
use lameduck_http::{Admin, AdminRoute, ServeError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::support::{Answer, Client, Ended, Rig, SLOW, plan, soon, window};

/// A file of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lameduck-admin-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A service with an admin listener, and a token file if `made` says so.
struct Watched {
    rig: Rig,
    admin: std::net::SocketAddr,
    token: String,
    _file: Scratch,
}

impl Watched {
    async fn start(name: &str) -> Self {
        Self::with(name, |admin| admin).await
    }

    async fn with(name: &str, made: impl for<'a> FnOnce(Admin<'a>) -> Admin<'a>) -> Self {
        let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
        let file = Scratch::new(name);
        let admin = lameduck_http::admin(&rig.life, "127.0.0.1:0").token_file(&file.0);
        let admin = made(admin).await.expect("admin");
        let token = std::fs::read_to_string(&file.0).expect("made");
        Self {
            rig,
            admin: admin.local_addr().tcp().expect("tcp"),
            token: token.trim().to_owned(),
            _file: file,
        }
    }

    /// Sends a head with these fields, and reads the answer.
    async fn ask(&self, line: &str, fields: &[(&str, &str)]) -> Answer {
        let mut client = Client::connect(self.admin).await;
        client.send(head(line, fields).as_bytes()).await;
        let answer = client.answer().await.expect("an answer");
        assert!(answer.whole, "{answer:?}");
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[HOST]).await
    }

    /// A request with the token.
    async fn act(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![HOST, ("authorization", &bearer)];
        all.extend(fields);
        self.ask(&format!("POST {path}"), &all).await
    }

    /// Begins to watch; the first event is here.
    async fn watch(&self) -> Client {
        let mut client = Client::connect(self.admin).await;
        client.send(head("GET /events", &[HOST]).as_bytes()).await;
        client.seen(b"event: status\n").await;
        client
    }
}

const HOST: (&str, &str) = ("host", "localhost:9000");

fn head(line: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("{line} HTTP/1.1\r\n{fields}\r\n")
}

async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    soon(what, async {
        while !look().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stranger_gets_nothing_but_a_reason() {
    let service = Watched::with("stranger", |admin| admin.host("duck.internal")).await;
    for (line, fields, status) in [
        // DNS rebinding: a name of somebody else's that points to loopback.
        ("GET /status", &[("host", "evil.example:9000")][..], 403),
        ("GET /livez", &[("host", "evil.example")], 403),
        ("GET /nothing", &[("host", "evil.example")], 403),
        ("GET http://evil.example/status", &[HOST], 403),
        ("GET /status", &[("host", "localhost.evil.example")], 403),
        ("GET /status", &[("host", "duck.internal")], 200),
        ("GET http://localhost/status", &[HOST], 200),
        ("GET /status", &[], 400),
        ("GET /status", &[HOST, ("host", "evil.example")], 400),
        // Pages of other sites.
        (
            "GET /events",
            &[HOST, ("sec-fetch-site", "cross-site")],
            403,
        ),
        ("GET /status", &[HOST, ("sec-fetch-site", "same-site")], 403),
        (
            "GET /status",
            &[HOST, ("origin", "http://evil.example")],
            403,
        ),
        ("GET /status", &[HOST, ("origin", "null")], 403),
        (
            "GET /status",
            &[HOST, ("origin", "http://localhost:9000")],
            200,
        ),
        ("GET /status", &[HOST, ("sec-fetch-site", "none")], 200),
        // Paths and methods.
        ("GET //status", &[HOST], 404),
        ("GET /status/", &[HOST], 404),
        ("GET /../status", &[HOST], 404),
        ("GET /%2e%2e/status", &[HOST], 404),
        ("GET /status%00", &[HOST], 404),
        ("GET /STATUS", &[HOST], 404),
        ("GET /status?<script>", &[HOST], 400),
        ("GET /status?a=%3Cscript%3E", &[HOST], 200),
        (
            "OPTIONS /drain",
            &[HOST, ("origin", "http://evil.example")],
            405,
        ),
        ("OPTIONS *", &[HOST], 404),
        ("DELETE /status", &[HOST], 405),
        ("CONNECT localhost:9000", &[HOST], 404),
        ("GET /drain", &[HOST], 405),
        ("POST /status", &[HOST], 405),
    ] {
        let answer = service.ask(line, fields).await;
        assert_eq!(answer.status, status, "{line} {fields:?}: {}", answer.head);
        for part in ["evil", "script"] {
            assert!(!answer.text().contains(part), "{line}: {}", answer.text());
        }
        let head = answer.head.to_ascii_lowercase();
        assert!(!head.contains("access-control-"), "{head}");
    }
    let large = "x".repeat(20 * 1024);
    let answer = service
        .ask("GET /status", &[HOST, ("cookie", &large)])
        .await;
    assert_eq!(answer.status, 431);
    let long = format!("GET /{large}");
    assert!(matches!(
        service.ask(&long, &[HOST]).await.status,
        414 | 431
    ));
    assert_eq!(service.rig.life.phase(), Phase::Running);
}

#[tokio::test]
async fn every_answer_is_guarded_and_the_page_runs_nothing_but_its_own() {
    let service = Watched::start("guarded").await;
    for path in ["/", "/status", "/livez", "/nothing"] {
        let head = service.get(path).await.head.to_ascii_lowercase();
        for field in [
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-store",
            "content-security-policy: default-src 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(head.contains(field), "{path} lacks {field}: {head}");
        }
    }
    let page = service.get("/").await;
    assert!(page.head.contains("script-src 'nonce-"), "{}", page.head);
    let nonce = page.head.split("'nonce-").nth(1).expect("a nonce");
    let nonce = nonce.split('\'').next().expect("its end");
    assert_eq!(page.text().matches(nonce).count(), 2);
    // Somebody may be sent to the page from elsewhere; in a frame it shows nothing.
    for (destination, status) in [("document", 200), ("iframe", 403)] {
        let fields = [
            HOST,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", destination),
        ];
        assert_eq!(service.ask("GET /", &fields).await.status, status);
    }
    let mut stream = TcpStream::connect(service.admin).await.expect("connect");
    let request = head("HEAD /", &[HOST]);
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut text = String::new();
    soon("an answer", stream.read_to_string(&mut text))
        .await
        .expect("text");
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
}

#[tokio::test]
async fn nothing_changes_without_the_token() {
    let service = Watched::start("without").await;
    let bearer = format!("Bearer {}", service.token);
    let wrong = format!("Bearer {}0", &service.token[1..]);
    let short = format!("Bearer {}", &service.token[..8]);
    for path in [
        "/drain",
        "/cut",
        "/reload",
        "/breakers/open",
        "/breakers/close",
    ] {
        for (fields, status) in [
            (&[HOST][..], 401),
            (&[HOST, ("authorization", &wrong)], 401),
            (&[HOST, ("authorization", &short)], 401),
            (&[HOST, ("authorization", "Bearer ")], 401),
            (&[HOST, ("authorization", &service.token)], 401),
            (
                &[HOST, ("authorization", &bearer), ("authorization", &bearer)],
                401,
            ),
            (
                &[
                    HOST,
                    ("authorization", &bearer),
                    ("sec-fetch-site", "cross-site"),
                ],
                403,
            ),
            (
                &[
                    HOST,
                    ("authorization", &bearer),
                    ("sec-fetch-site", "same-site"),
                ],
                403,
            ),
            (
                &[
                    HOST,
                    ("authorization", &bearer),
                    ("origin", "http://evil.example"),
                ],
                403,
            ),
            (
                &[
                    HOST,
                    ("authorization", &bearer),
                    ("origin", "http://localhost:3000"),
                ],
                403,
            ),
            (&[("host", "evil.example"), ("authorization", &bearer)], 403),
        ] {
            let answer = service.ask(&format!("POST {path}"), fields).await;
            assert_eq!(answer.status, status, "{path} {fields:?}");
        }
        let with = [HOST, ("authorization", &bearer[..])];
        let answer = service.ask(&format!("GET {path}"), &with).await;
        assert_eq!(answer.status, 405);
        assert!(answer.head.contains("allow: POST"), "{}", answer.head);
    }
    assert_eq!(service.rig.life.phase(), Phase::Running);
}

#[tokio::test]
async fn a_reason_is_a_short_line_of_text() {
    let service = Watched::start("reason").await;
    let bearer = format!("Bearer {}", service.token);
    let long = "x".repeat(300);
    for body in [&long[..], "two\nlines", "esc\u{1b}"] {
        let mut client = Client::connect(service.admin).await;
        let length = body.len().to_string();
        let fields = [
            HOST,
            ("authorization", &bearer[..]),
            ("content-length", &length),
        ];
        let request = format!("{}{body}", head("POST /drain", &fields));
        client.send(request.as_bytes()).await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    assert_eq!(service.rig.life.phase(), Phase::Running);
}

#[tokio::test]
async fn without_a_token_file_there_are_no_deeds() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    let admin = lameduck_http::admin(&rig.life, "127.0.0.1:0").await;
    let mut client = Client::connect(admin.expect("admin").local_addr().tcp().expect("tcp")).await;
    let fields = [HOST, ("authorization", "Bearer 0123456789abcdef")];
    client.send(head("POST /cut", &fields).as_bytes()).await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("without a token file"));
}

#[tokio::test]
async fn the_token_drains_and_says_why() {
    let service = Watched::start("drains").await;
    let mut busy = service.rig.connect().await;
    busy.send(SLOW).await;
    service.rig.control.entered().await;
    let body = "disk <b>full</b>";
    let mut client = Client::connect(service.admin).await;
    let bearer = format!("bearer  {}", service.token);
    let length = body.len().to_string();
    let fields = [
        HOST,
        ("authorization", &bearer[..]),
        ("sec-fetch-site", "same-origin"),
        ("origin", "http://localhost:9000"),
        ("content-length", &length),
    ];
    let request = format!("{}{body}", head("POST /drain", &fields));
    client.send(request.as_bytes()).await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!(answer.status, 202, "{}", answer.text());
    soon("T", service.rig.life.drain().steering()).await;
    let cause = service.rig.life.cause().expect("asked").to_string();
    assert_eq!(
        cause,
        "asked by the program: drain on the admin listener: disk <b>full</b>"
    );
    let again = service.act("/drain", &[]).await;
    assert_eq!(again.status, 409);
    assert!(
        again.text().starts_with("it is leaving already"),
        "{}",
        again.text()
    );
    let reload = service.act("/reload", &[]).await;
    assert_eq!(reload.status, 409, "{}", reload.text());
    assert!(reload.text().contains("needs Running"), "{}", reload.text());
    let cut = service.act("/cut", &[]).await;
    assert_eq!(cut.status, 202, "the answer comes before the end");
    assert!(matches!(service.rig.outcome().await, Outcome::Cut(_)));
}

#[tokio::test]
async fn the_token_reloads() {
    let service = Watched::start("reloads").await;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    service.rig.life.on_reload("config", move || {
        told.send(()).map_err(|error| error.to_string())
    });
    assert_eq!(service.act("/reload", &[]).await.status, 202);
    soon("the reload", heard.recv()).await.expect("reloaded");
    until("its note", || async {
        service
            .get("/status")
            .await
            .text()
            .contains("reloaded config")
    })
    .await;
}

#[tokio::test]
async fn a_watcher_sees_it_all_and_an_end() {
    let service = Watched::start("watcher").await;
    let mut busy = service.rig.connect().await;
    busy.send(SLOW).await;
    service.rig.control.entered().await;
    let mut watcher = service.watch().await;
    watcher.seen(b"\"phase\":\"Running\"").await;
    service.rig.terminate().await;
    watcher.seen(b"\"phase\":\"Terminating\"").await;
    service.rig.control.release.add_permits(1);
    busy.served().await;
    drop(busy);
    // The window is long: a second client ends it only by being quiet, which the test does not wait for.
    service.rig.life.cut();
    assert!(matches!(service.rig.outcome().await, Outcome::Cut(_)));
}

#[tokio::test]
async fn the_last_event_comes_before_the_end_and_the_stream_ends_properly() {
    let rig = Rig::start(plan(lameduck::Window::NONE)).await;
    let admin = lameduck_http::admin(&rig.life, "127.0.0.1:0").await;
    let addr = admin.expect("admin").local_addr().tcp().expect("tcp");
    let mut busy = rig.connect().await;
    busy.send(SLOW).await;
    rig.control.entered().await;
    let mut watcher = Client::connect(addr).await;
    watcher.send(head("GET /events", &[HOST]).as_bytes()).await;
    watcher.seen(b"retry: 2000\nevent: status\ndata: {").await;
    rig.terminate().await;
    watcher.seen(b"\"phase\":\"Draining\"").await;
    watcher
        .seen(b"The exit waits for 1 request (GET /slow from ")
        .await;
    rig.control.release.add_permits(1);
    busy.served().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    let answer = watcher.answer().await.expect("events");
    assert!(answer.whole, "the body ends as a body does");
    assert!(answer.head.contains("text/event-stream"), "{}", answer.head);
    let text = answer.text();
    let last = text.trim_end().rsplit("\n\n").next().expect("an event");
    assert!(
        last.starts_with("retry: 2000\nevent: end\ndata: {"),
        "{last}"
    );
    assert!(last.contains("\"outcome\":\"drained\""), "{last}");
    assert!(last.contains("\"phase\":\"Stopped\""), "{last}");
    assert_eq!(text.matches("event: end").count(), 1);
    assert!(watcher.answer().await.is_none());
    assert_eq!(watcher.ended, Some(Ended::Fin));
}

/// Begins to watch and reads no further than the status code.
async fn begin(addr: std::net::SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(addr).await.expect("connect");
    let request = head("GET /events", &[HOST]);
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut first = [0; 12];
    soon("the first bytes", stream.read_exact(&mut first))
        .await
        .expect("an answer");
    let code = String::from_utf8_lossy(&first[9..]).into_owned();
    (stream, code)
}

#[tokio::test]
async fn watchers_do_not_hold_the_end_even_if_they_read_nothing() {
    let rig = Rig::start(plan(lameduck::Window::NONE)).await;
    let admin = lameduck_http::admin(&rig.life, "127.0.0.1:0").await;
    let addr = admin.expect("admin").local_addr().tcp().expect("tcp");
    let mut watchers = Vec::new();
    for _ in 0..32 {
        let (stream, code) = begin(addr).await;
        assert_eq!(code, "200");
        watchers.push(stream);
    }
    let mut late = Client::connect(addr).await;
    late.send(head("GET /events", &[HOST]).as_bytes()).await;
    let refused = late.answer().await.expect("an answer");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    drop(watchers);
}

#[tokio::test]
async fn a_watcher_that_left_gives_its_place_back() {
    let service = Watched::start("left").await;
    let mut watchers = Vec::new();
    for _ in 0..32 {
        watchers.push(service.watch().await);
    }
    assert_eq!(begin(service.admin).await.1, "503");
    drop(watchers.pop());
    until("a free place", || async {
        begin(service.admin).await.1 == "200"
    })
    .await;
    // Those who watch shut nobody out.
    assert_eq!(service.get("/livez").await.status, 200);
}

#[tokio::test]
async fn slow_peers_do_not_block_the_probes() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    for admin in [false, true] {
        let server = if admin {
            lameduck_http::admin(&rig.life, "127.0.0.1:0").await
        } else {
            lameduck_http::probes(&rig.life, "127.0.0.1:0").await
        };
        let addr = server.expect("a listener").local_addr().tcp().expect("tcp");
        let mut slow = Vec::new();
        for number in 0..200 {
            let mut stream = TcpStream::connect(addr).await.expect("connect");
            if number % 2 == 0 {
                stream.write_all(b"GET /livez HT").await.expect("write");
            }
            slow.push(stream);
        }
        for _ in 0..20 {
            let mut client = Client::connect(addr).await;
            client.send(head("GET /livez", &[HOST]).as_bytes()).await;
            assert_eq!(client.answer().await.expect("an answer").status, 200);
        }
        drop(slow);
    }
}

#[tokio::test]
async fn routes_are_added_and_debug_ones_are_off_unless_switched_on() {
    let version = |path: &'static str| {
        AdminRoute::get(path, async |request: lameduck_http::AdminRequest| {
            let of = request.parameter("of").unwrap_or("nobody").len();
            let phase = request.life().phase();
            http::Response::new(Bytes::from(format!("{phase} {of}\n")))
        })
    };
    let off = Watched::with("off", |admin| {
        admin
            .route(version("/metrics"))
            .route(version("/cut"))
            .route(version("/debug/dump"))
    })
    .await;
    let answer = off.get("/metrics?of=me").await;
    assert_eq!((answer.status, answer.text()), (200, "Running 2\n"));
    assert!(answer.head.contains("nosniff"), "{}", answer.head);
    assert_eq!(off.get("/cut").await.status, 405, "it stays its own");
    let answer = off.get("/debug/dump").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("switched off"));
    let foreign = [HOST, ("sec-fetch-site", "cross-site")];
    assert_eq!(off.ask("GET /metrics", &foreign).await.status, 403);

    let on = Watched::with("on", |admin| {
        let never = AdminRoute::get("/debug/never", async |_| std::future::pending().await);
        admin
            .with_debug()
            .route(version("/debug/dump"))
            .route(never.within(Duration::from_millis(20)))
    })
    .await;
    assert_eq!(on.get("/debug/dump").await.text(), "Running 6\n");
    assert_eq!(on.ask("GET /debug/dump", &foreign).await.status, 403);
    let mut client = Client::connect(on.admin).await;
    client
        .send(head("GET /debug/never", &[HOST]).as_bytes())
        .await;
    assert!(
        client.answer().await.is_none(),
        "past its time it is dropped"
    );
}

#[tokio::test]
async fn it_is_at_home_unless_told_otherwise() {
    let life = Lifecycle::embedded(plan(window(0, 5_000, 5_000))).expect("a lifecycle");
    let refused = lameduck_http::admin(&life, "0.0.0.0:0")
        .await
        .expect_err("reachable");
    assert!(matches!(refused, ServeError::Reachable(_)), "{refused}");
    let open = lameduck_http::admin(&life, "0.0.0.0:0")
        .dangerously_reachable_from_elsewhere()
        .await
        .expect("on purpose");
    let port = open.local_addr().tcp().expect("tcp").port();
    for (host, status) in [("192.0.2.7:80", 200), ("evil.example", 403)] {
        let mut client = Client::connect(([127, 0, 0, 1], port).into()).await;
        client
            .send(head("GET /status", &[("host", host)]).as_bytes())
            .await;
        assert_eq!(client.answer().await.expect("an answer").status, status);
    }

    let file = Scratch::new("open");
    std::fs::write(&file.0, "0123456789abcdef0123456789abcdef\n").expect("written");
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file.0, readable).expect("ours");
    let refused = lameduck_http::admin(&life, "127.0.0.1:0")
        .token_file(&file.0)
        .await
        .expect_err("others can read it");
    assert!(refused.to_string().contains("chmod 0600"), "{refused}");

    let socket = Scratch::new("socket");
    let addr = format!("unix:{}", socket.0.display());
    lameduck_http::admin(&life, addr.as_str())
        .await
        .expect("a socket");
    let mut stream = UnixStream::connect(&socket.0).await.expect("connect");
    let request = head("GET /status", &[("host", "anything at all")]);
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut text = String::new();
    soon("an answer", stream.read_to_string(&mut text))
        .await
        .expect("text");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn connections_are_told_apart_by_what_they_speak() {
    let service = Watched::start("protocols").await;
    let _silent = service.rig.connect().await;
    let _idle = [
        Client::reused(service.rig.addr).await,
        Client::reused(service.rig.addr).await,
    ];
    let mut second = service.rig.connect().await;
    // The preface and empty SETTINGS; the answer's SETTINGS are 9 bytes and more.
    second
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    second.seen(b"\x04").await;
    let wanted = "\"protocols\":{\"unknown\":1,\"http/1.1\":2,\"http/2\":1}";
    until("the protocols", || async {
        service.get("/status").await.text().contains(wanted)
    })
    .await;
}

#[tokio::test]
async fn it_stays_until_the_last_stop_hook_has_run() {
    let rig = Rig::start(plan(lameduck::Window::NONE)).await;
    let admin = lameduck_http::admin(&rig.life, "127.0.0.1:0").await;
    let addr = admin.expect("admin").local_addr().tcp().expect("tcp");
    let pool = rig.life.participate("pool").register().expect("taken");
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    pool.on_stop(move || ended.blocking_recv());
    pool.ready();
    let mut watcher = Client::connect(addr).await;
    watcher.send(head("GET /events", &[HOST]).as_bytes()).await;
    watcher.seen(b"event: status").await;
    rig.terminate().await;
    soon("its turn", pool.closing()).await;
    pool.done();
    watcher
        .seen(b"The exit waits for the stop hook of pool (running for ")
        .await;
    let mut other = Client::connect(addr).await;
    other.send(head("GET /status", &[HOST]).as_bytes()).await;
    let status = other.answer().await.expect("an answer");
    assert!(status.text().contains("\"hook\":\"running\""), "{status:?}");
    end.send(()).expect("the hook waits for it");
    assert_eq!(rig.outcome().await, Outcome::Drained);
    watcher.seen(b"event: end").await;
}
