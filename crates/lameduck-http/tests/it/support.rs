//! A service to drain and a client that tells FIN from RST. Every wait has a bound.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::{any, get, post};
use bytes::Bytes;
use http_body::Frame;
use lameduck::{Count, Lifecycle, Outcome, Plan, Preset, Window};
use lameduck_http::Limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore, mpsc};

/// Long enough for the slowest machine, short enough to end a hung test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
pub(crate) const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";

/// Waits for `what`, or fails the test.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// No floor, and a window that lasts as long as the test is patient unless it is ended by hand.
pub(crate) fn window(floor: u64, quiet: u64, ceiling: u64) -> Window {
    Window::new(millis(floor), millis(quiet), millis(ceiling))
}

pub(crate) fn plan(window: Window) -> Plan {
    Plan::preset(Preset::Local)
        .with_grace(Duration::from_secs(30))
        .expect("grace")
        .with_window(window)
        .expect("window")
}

/// A running service.
pub(crate) struct Rig {
    pub life: Lifecycle,
    pub addr: SocketAddr,
    pub control: Control,
}

/// The test's hands on the handlers.
#[derive(Clone)]
pub(crate) struct Control {
    /// Lets one waiting `/slow` go on.
    pub release: Arc<Semaphore>,
    /// One permit for each request that reached its handler.
    pub entered: Arc<Semaphore>,
    /// The sender of the chunks of the next `/stream`.
    chunks: Arc<Mutex<Option<mpsc::Receiver<Bytes>>>>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            release: Arc::new(Semaphore::new(0)),
            entered: Arc::new(Semaphore::new(0)),
            chunks: Arc::default(),
        }
    }

    /// Prepares the next `/stream`; its body ends when the sender is dropped.
    pub(crate) async fn stream(&self) -> mpsc::Sender<Bytes> {
        let (sender, receiver) = mpsc::channel(4);
        *self.chunks.lock().await = Some(receiver);
        sender
    }

    /// The body of the stream that was prepared.
    pub(crate) async fn body(&self) -> axum::body::Body {
        self.entered.add_permits(1);
        let chunks = self.chunks.lock().await.take();
        axum::body::Body::new(Chunks(chunks.expect("a prepared stream")))
    }

    pub(crate) async fn entered(&self) {
        soon("a request in its handler", self.entered.acquire())
            .await
            .expect("open")
            .forget();
    }
}

pub(crate) struct Chunks(mpsc::Receiver<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

#[derive(Clone, Copy)]
struct Length(usize);

pub(crate) fn app(control: Control) -> Router {
    async fn slow(State(control): State<Control>) -> &'static str {
        control.entered.add_permits(1);
        control.release.acquire().await.expect("open").forget();
        "slow"
    }
    async fn echo(State(control): State<Control>, body: axum::body::Body) -> String {
        control.entered.add_permits(1);
        match axum::body::to_bytes(body, usize::MAX).await {
            Ok(bytes) => bytes.len().to_string(),
            Err(error) => error.to_string(),
        }
    }
    async fn stream(State(control): State<Control>) -> Response {
        Response::new(control.body().await)
    }
    async fn large(Query(length): Query<std::collections::HashMap<String, usize>>) -> Vec<u8> {
        vec![b'x'; Length(length["bytes"]).0]
    }
    async fn never(State(control): State<Control>) {
        control.entered.add_permits(1);
        std::future::pending().await
    }
    async fn drain() -> String {
        format!(
            "{:?}",
            lameduck_http::drain().map(|drain| drain.is_steering())
        )
    }
    Router::new()
        .route("/", any(|| async { "ok" }))
        .route("/early", post(|| async { "early" }))
        .route("/slow", get(slow))
        .route("/echo", post(echo))
        .route("/stream", get(stream))
        .route("/large", get(large))
        .route("/never", get(never))
        .route("/drain", get(drain))
        .with_state(control)
        .merge(odd())
}

/// What no good handler does, or rarely.
fn odd() -> Router {
    async fn no_content() -> (
        axum::http::StatusCode,
        [(&'static str, &'static str); 3],
        &'static str,
    ) {
        let fields = [("connection", "x-hop"), ("keep-alive", "1"), ("x-hop", "1")];
        (axum::http::StatusCode::NO_CONTENT, fields, "no content")
    }
    async fn cookie(headers: axum::http::HeaderMap) -> String {
        let cookie = headers
            .get("cookie")
            .map(|value| value.to_str().expect("text"));
        cookie.unwrap_or_default().to_owned()
    }
    async fn panics_late() -> Response {
        struct Late(bool);
        impl http_body::Body for Late {
            type Data = Bytes;
            type Error = std::convert::Infallible;

            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
                assert!(!std::mem::replace(&mut self.0, true), "on purpose");
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"half")))))
            }
        }
        Response::new(axum::body::Body::new(Late(false)))
    }
    async fn panics() {
        panic!("on purpose");
    }
    Router::new()
        .route("/no-content", get(no_content))
        .route("/cookie", get(cookie))
        // The answer begins before the request has said anything.
        .route("/mirror", post(async |body: axum::body::Body| body))
        .route("/panic", get(panics))
        .route("/panic-late", get(panics_late))
}

impl Rig {
    pub(crate) async fn start(plan: Plan) -> Self {
        Self::limited(plan, Limits::default()).await
    }

    pub(crate) async fn limited(plan: Plan, limits: Limits) -> Self {
        let control = Control::new();
        let life = Lifecycle::embedded(plan).expect("a lifecycle");
        let server = lameduck_http::serve(&life, "127.0.0.1:0", app(control.clone()))
            .limits(limits)
            .await
            .expect("a server");
        Self::running(life, server.local_addr().tcp().expect("tcp"), control).await
    }

    /// Serves on a listener made by the test.
    pub(crate) async fn on(plan: Plan, listener: std::net::TcpListener, limits: Limits) -> Self {
        let control = Control::new();
        let life = Lifecycle::embedded(plan).expect("a lifecycle");
        let server = lameduck_http::serve_listener(&life, listener, app(control.clone()))
            .limits(limits)
            .await
            .expect("a server");
        Self::running(life, server.local_addr().tcp().expect("tcp"), control).await
    }

    pub(crate) async fn running(life: Lifecycle, addr: SocketAddr, control: Control) -> Self {
        life.ready();
        assert!(soon("Running", life.running()).await);
        Self {
            life,
            addr,
            control,
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.addr).await
    }

    /// T, and everybody knows.
    pub(crate) async fn terminate(&self) {
        self.life.shutdown("the test says so");
        soon("T", self.life.drain().steering()).await;
    }

    pub(crate) async fn window_end(&self) {
        soon("the window's end", self.life.drain().closing()).await;
    }

    pub(crate) async fn outcome(&self) -> Outcome {
        soon("the end", self.life.outcome()).await
    }

    pub(crate) fn count(&self, what: Count) -> u64 {
        self.life.inflight().tally.value(what)
    }

    /// Waits until that many requests were counted.
    pub(crate) async fn counted_requests(&self, number: u64) {
        let reached = async {
            while self.life.inflight().requests.total() < number {
                tokio::task::yield_now().await;
            }
        };
        soon("requests", reached).await;
    }

    /// Waits until a count has reached a number.
    pub(crate) async fn counted(&self, what: Count, number: u64) {
        let reached = async {
            while self.count(what) < number {
                tokio::task::yield_now().await;
            }
        };
        soon("a count", reached).await;
    }
}

/// Ends the window without giving any task of this thread a turn: what the server has not looked at yet stays in the kernel.
pub(crate) fn end_window_now(rig: &Rig) {
    let drain = rig.life.drain();
    rig.life.shutdown("the test says so");
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while !drain.is_closing() {
        assert!(std::time::Instant::now() < until, "the window did not end");
        std::thread::yield_now();
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// FIN; under TLS behind a close_notify.
    Fin,
    /// FIN without close_notify, under TLS.
    Cut,
    Reset,
}

impl Ended {
    pub(crate) fn by(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Cut,
            _ => Self::Reset,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub close: bool,
    pub head: String,
    pub body: Vec<u8>,
    /// The body ended where the head said it would.
    pub whole: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

pub(crate) struct Client<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
    pub ended: Option<Ended>,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(addr))
            .await
            .expect("connect");
        Self::new(stream)
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("nodelay");
        Self::over(stream)
    }

    /// Asks once and reads the answer: an idle, reused connection from here on.
    pub(crate) async fn reused(addr: SocketAddr) -> Self {
        let mut client = Self::connect(addr).await;
        client.send(GET).await;
        assert!(!client.served().await.close);
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) const fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            ended: None,
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("write");
    }

    /// Sends what the connection may refuse to take.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon("a write", async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }

    async fn more(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        match soon("a byte or an end", self.stream.read_buf(&mut self.buffer)).await {
            Ok(0) => self.ended = Some(Ended::Fin),
            Ok(_) => return true,
            Err(error) => self.ended = Some(Ended::by(&error)),
        }
        false
    }

    /// Waits until the head of a response is here, and leaves it there.
    pub(crate) async fn head_seen(&mut self) {
        while !self.buffer.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(self.more().await, "ended without a head");
        }
    }

    /// Waits until these bytes are here, and leaves them there.
    pub(crate) async fn seen(&mut self, bytes: &[u8]) {
        while !self.buffer.windows(bytes.len()).any(|some| some == bytes) {
            assert!(self.more().await, "ended before that: {:?}", self.buffer);
        }
    }

    /// What came and was not taken.
    pub(crate) fn so_far(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads one interim response.
    pub(crate) async fn interim(&mut self) -> String {
        self.head_seen().await;
        let at = self
            .buffer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("seen");
        String::from_utf8(self.buffer.drain(..at + 4).collect()).expect("text")
    }

    /// Reads one response; None if the connection ends before its first byte.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                assert!(self.buffer.is_empty(), "half a head: {:?}", self.buffer);
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..head_end).collect()).expect("text");
        let lower = head.to_ascii_lowercase();
        let status = head[9..12].parse().expect("a status");
        let close = lower.contains("\r\nconnection: close\r\n");
        let (body, whole) = if lower.contains("transfer-encoding: chunked") {
            self.chunked().await
        } else if let Some(at) = lower.find("content-length: ") {
            let digits = lower[at + 16..].lines().next().expect("a line");
            self.exactly(digits.trim().parse().expect("a length")).await
        } else {
            while self.more().await {}
            (
                std::mem::take(&mut self.buffer),
                self.ended == Some(Ended::Fin),
            )
        };
        Some(Answer {
            status,
            close,
            head,
            body,
            whole,
        })
    }

    /// Reads one response that must be there.
    pub(crate) async fn served(&mut self) -> Answer {
        let answer = self.answer().await.expect("a response");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.whole, "{answer:?}");
        answer
    }

    async fn exactly(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.buffer.len() < length && self.more().await {}
        let got = length.min(self.buffer.len());
        (self.buffer.drain(..got).collect(), got == length)
    }

    async fn chunked(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let line = loop {
                match self.buffer.windows(2).position(|two| two == b"\r\n") {
                    Some(at) => break at,
                    None if self.more().await => {}
                    None => return (body, false),
                }
            };
            let digits = String::from_utf8(self.buffer[..line].to_vec()).expect("text");
            let length = usize::from_str_radix(&digits, 16).expect("a chunk length");
            self.buffer.drain(..line + 2);
            let (chunk, whole) = self.exactly(length + 2).await;
            if !whole {
                return (body, false);
            }
            if length == 0 {
                return (body, true);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    /// Whether the connection ends while its client thinks.
    pub(crate) async fn ends_within(&mut self, pause: Duration) -> bool {
        match tokio::time::timeout(pause, self.stream.read_buf(&mut self.buffer)).await {
            Err(_) => false,
            Ok(Ok(0) | Err(_)) => true,
            Ok(Ok(_)) => panic!("an answer without a question"),
        }
    }

    /// Waits for the end; nothing may come before it.
    pub(crate) async fn end(&mut self) -> &Ended {
        while self.more().await {}
        assert!(
            self.buffer.is_empty(),
            "unexpected: {:?}",
            String::from_utf8_lossy(&self.buffer)
        );
        self.ended.as_ref().expect("an end")
    }
}
