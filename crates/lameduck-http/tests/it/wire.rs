//! A WebSocket client at the level of frames, and a service whose side of an upgraded connection is the test itself. Every wait has a bound.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::{Html, Response};
use axum::routing::{any, get};
use http::header::{CONNECTION, UPGRADE};
use http::{Method, StatusCode, Uri};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use lameduck::{Lifecycle, Plan};
use lameduck_http::{Limits, Serve, WebSockets};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use crate::support::{Control, Ended, Rig, soon};

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// What the server says when nobody chose something else.
pub(crate) const GOING_AWAY: &[u8] = b"\x03\xe9going away";

/// A page that opens a WebSocket, and tells what comes of it.
const PAGE: &str = r#"<!doctype html><title>duck</title><script>
const say = words => fetch("/said?" + encodeURIComponent(words));
const socket = new WebSocket(`ws://${location.host}/echo`);
socket.onopen = () => socket.send("hi");
socket.onmessage = message => say("echo " + message.data);
socket.onclose = close => say(`closed ${close.code} ${close.reason} ${close.wasClean ? "orderly" : "torn"}`);
</script>"#;

/// The service's side of an upgraded connection.
pub(crate) type Inner = TokioIo<Upgraded>;

/// A service with upgrades, and the connections that its handlers gave to the test.
pub(crate) struct Duck {
    pub rig: Rig,
    inner: Mutex<mpsc::Receiver<Inner>>,
    said: Mutex<mpsc::Receiver<String>>,
}

#[derive(Clone)]
struct Hand {
    inner: mpsc::Sender<Inner>,
    said: mpsc::Sender<String>,
    control: Control,
}

impl Duck {
    pub(crate) async fn start(plan: Plan) -> Self {
        Self::with(plan, Limits::default(), WebSockets::default()).await
    }

    pub(crate) async fn with(plan: Plan, limits: Limits, websockets: WebSockets) -> Self {
        Self::behind(plan, |serve| serve.limits(limits).websockets(websockets)).await
    }

    /// With a listener of the test's choice.
    pub(crate) async fn behind(
        plan: Plan,
        choose: impl FnOnce(Serve<'_, Router>) -> Serve<'_, Router>,
    ) -> Self {
        let control = Control::new();
        let (sender, inner) = mpsc::channel(16);
        let (say, said) = mpsc::channel(16);
        let hand = Hand {
            inner: sender,
            said: say,
            control: control.clone(),
        };
        let life = Lifecycle::embedded(plan).expect("a lifecycle");
        let server = choose(lameduck_http::serve(&life, "127.0.0.1:0", app(hand)))
            .await
            .expect("a server");
        let addr = server.local_addr().tcp().expect("tcp");
        Self {
            rig: Rig::running(life, addr, control).await,
            inner: Mutex::new(inner),
            said: Mutex::new(said),
        }
    }

    /// What a page said next: the query of its `/said`.
    pub(crate) async fn said(&self) -> String {
        soon("a page's words", async {
            self.said.lock().await.recv().await
        })
        .await
        .expect("open")
    }

    pub(crate) async fn open(&self, path: &str) -> Wire {
        Wire::open(&self.rig, path, "websocket").await
    }

    /// The service's side of the last `/raw`.
    pub(crate) async fn inner(&self) -> Inner {
        soon("an upgrade", async { self.inner.lock().await.recv().await })
            .await
            .expect("open")
    }
}

fn app(hand: Hand) -> Router {
    async fn raw(State(hand): State<Hand>, mut request: Request) -> Response {
        let protocol = request.headers().get(UPGRADE).cloned();
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let upgraded = upgrade.await.expect("an upgrade");
            hand.inner.send(TokioIo::new(upgraded)).await.expect("room");
        });
        let mut response = Response::new(axum::body::Body::empty());
        if request.method() != Method::CONNECT {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response
                .headers_mut()
                .insert(CONNECTION, "upgrade".parse().expect("a value"));
            response
                .headers_mut()
                .insert(UPGRADE, protocol.expect("asked"));
        }
        response
    }
    async fn refuses(mut request: Request) -> String {
        let upgrade = hyper::upgrade::on(&mut request);
        let failed = tokio::spawn(async move { upgrade.await.is_err() });
        drop(request);
        tokio::spawn(async move {
            assert!(
                failed.await.expect("no panic"),
                "an upgrade that was not granted"
            )
        });
        "no".to_owned()
    }
    async fn echo(State(hand): State<Hand>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(|socket| async move {
            talk(socket).await;
            // The handler has ended.
            hand.control.entered.add_permits(1);
        })
    }
    async fn holds(State(hand): State<Hand>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(|socket| async move {
            hand.control.release.acquire().await.expect("open").forget();
            drop(socket);
        })
    }
    async fn farewell(upgrade: WebSocketUpgrade) -> Response {
        let farewell = lameduck_http::farewell().expect("asked for an upgrade");
        upgrade.on_upgrade(|socket| say_farewell(socket, farewell))
    }
    async fn promises(upgrade: WebSocketUpgrade) -> Response {
        let farewell = lameduck_http::farewell().expect("asked for an upgrade");
        upgrade.on_upgrade(|socket| async move {
            talk(socket).await;
            drop(farewell);
        })
    }
    async fn said(State(hand): State<Hand>, uri: Uri) {
        let words = uri.query().unwrap_or_default().to_owned();
        hand.said.send(words).await.expect("room");
    }
    Router::new()
        .route("/", any(|| async { "ok" }))
        .route("/page", get(|| async { Html(PAGE) }))
        .route("/said", get(said))
        .route("/raw", any(raw))
        .route("/refuses", any(refuses))
        .route("/echo", any(echo))
        .route("/holds", any(holds))
        .route("/farewell", any(farewell))
        .route("/promises", any(promises))
        .with_state(hand)
}

async fn talk(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let is_echoed = matches!(message, Message::Text(_) | Message::Binary(_));
        if is_echoed && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn say_farewell(mut socket: WebSocket, farewell: lameduck_http::Farewell) {
    farewell.due().await;
    socket.send("farewell".into()).await.expect("sent");
    let close = axum::extract::ws::CloseFrame {
        code: 1012,
        reason: "restarting".into(),
    };
    socket
        .send(Message::Close(Some(close)))
        .await
        .expect("sent");
    while let Some(Ok(_)) = socket.recv().await {}
}

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// The first byte, and the payload.
    Frame(u8, Vec<u8>),
    /// FIN between two frames.
    Fin,
    /// The end within a frame.
    Torn(Ended),
    Reset,
}

pub(crate) fn got(first: u8, payload: impl Into<Vec<u8>>) -> Got {
    Got::Frame(first, payload.into())
}

/// A client's frame; the mask is zero, so that the payload stays readable.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).expect("short")),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(medium).expect("medium").to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// Takes one frame off the front, if it is whole.
pub(crate) fn cut_frame(bytes: &mut Vec<u8>) -> Option<Got> {
    let (head, length) = match *bytes.get(1)? {
        126 => (
            4,
            usize::from(u16::from_be_bytes(
                bytes.get(2..4)?.try_into().expect("two"),
            )),
        ),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(
                bytes.get(2..10)?.try_into().expect("eight"),
            ))
            .expect("a length"),
        ),
        short => (2, usize::from(short)),
    };
    if bytes.len() < head + length {
        return None;
    }
    let first = bytes[0];
    let payload = bytes[head..head + length].to_vec();
    bytes.drain(..head + length);
    Some(Got::Frame(first, payload))
}

/// A client.
pub(crate) struct Wire {
    pub stream: TcpStream,
    bytes: Vec<u8>,
}

impl Wire {
    pub(crate) async fn open(rig: &Rig, path: &str, protocol: &str) -> Self {
        Self::open_saying(rig, path, protocol, b"").await
    }

    /// Says the first words of the new protocol together with the request.
    pub(crate) async fn open_saying(rig: &Rig, path: &str, protocol: &str, words: &[u8]) -> Self {
        let stream = soon("a connection", TcpStream::connect(rig.addr))
            .await
            .expect("connect");
        Self::over(stream, path, protocol, words).await
    }

    /// The same on a connection that is there.
    pub(crate) async fn over(
        mut stream: TcpStream,
        path: &str,
        protocol: &str,
        words: &[u8],
    ) -> Self {
        stream.set_nodelay(true).expect("nodelay");
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes();
        request.extend(words);
        stream.write_all(&request).await.expect("write");
        let mut wire = Self {
            stream,
            bytes: Vec::new(),
        };
        let end = loop {
            if let Some(at) = wire.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(wire.more().await.is_ok_and(|count| count > 0), "no answer");
        };
        let head: Vec<u8> = wire.bytes.drain(..end).collect();
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(&head)
        );
        wire
    }

    async fn more(&mut self) -> std::io::Result<usize> {
        soon("a byte or an end", self.stream.read_buf(&mut self.bytes)).await
    }

    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&masked(first, payload)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        soon("a write", self.stream.write_all(bytes))
            .await
            .expect("write");
    }

    pub(crate) async fn next(&mut self) -> Got {
        loop {
            if let Some(frame) = cut_frame(&mut self.bytes) {
                return frame;
            }
            match (self.more().await, self.bytes.is_empty()) {
                (Ok(0), true) => return Got::Fin,
                (Ok(0), false) => return Got::Torn(Ended::Fin),
                (Ok(_), _) => {}
                (Err(_), true) => return Got::Reset,
                (Err(_), false) => return Got::Torn(Ended::Reset),
            }
        }
    }

    /// Reads exactly so many bytes, whatever they are.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.bytes.len() < count {
            assert!(
                self.more().await.is_ok_and(|count| count > 0),
                "the end instead"
            );
        }
        self.bytes.drain(..count).collect()
    }

    /// Answers the Close that must come next, and sees the end.
    pub(crate) async fn say_goodbye(&mut self, close: &[u8]) {
        assert_eq!(self.next().await, got(CLOSE, close));
        self.send(CLOSE, &close[..2]).await;
        assert_eq!(self.next().await, Got::Fin);
    }
}
