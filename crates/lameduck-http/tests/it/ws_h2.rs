//! WS-05: WebSockets and tunnels over HTTP/2 extended CONNECT (RFC 8441), with the client of the h2 crate.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Version};
use lameduck::{Count, Outcome, Plan, Window};
use lameduck_http::{Limits, WebSockets};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::{Rig, millis, plan, soon};
use crate::wire::{BINARY, CLOSE, Duck, GOING_AWAY, Got, PING, PONG, TEXT, cut_frame, got, masked};
use crate::ws::open_window;

/// A client and its connection.
struct Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// One tunnel.
struct Tunnel {
    incoming: RecvStream,
    outgoing: SendStream<Bytes>,
    bytes: Vec<u8>,
}

impl Client {
    async fn connect(rig: &Rig) -> Self {
        let stream = soon("a connection", TcpStream::connect(rig.addr))
            .await
            .expect("connect");
        let (mut requests, connection) = h2::client::handshake(stream).await.expect("a handshake");
        let connection = tokio::spawn(connection);
        let granted = async {
            while !requests.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
        };
        soon("the server's settings", granted).await;
        requests = soon("room for a stream", requests.ready())
            .await
            .expect("room");
        Self {
            requests,
            connection,
        }
    }

    async fn open(&mut self, path: &str, protocol: &'static str) -> Tunnel {
        let request = Request::builder()
            .method(Method::CONNECT)
            .version(Version::HTTP_2)
            .uri(format!("http://a{path}"))
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static(protocol))
            .body(())
            .expect("a request");
        let (answer, outgoing) = self.requests.send_request(request, false).expect("sent");
        let answer = soon("an answer", answer).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        Tunnel {
            incoming: answer.into_body(),
            outgoing,
            bytes: Vec::new(),
        }
    }

    async fn get(&mut self) -> String {
        let request = Request::get("http://a/").body(()).expect("a request");
        let (answer, _) = self.requests.send_request(request, true).expect("sent");
        let mut body = soon("an answer", answer)
            .await
            .expect("an answer")
            .into_body();
        let mut text = Vec::new();
        while let Some(data) = soon("a body", body.data()).await {
            text.extend(data.expect("whole"));
        }
        String::from_utf8(text).expect("text")
    }

    /// The connection ends in order, when nothing holds it.
    async fn ends(self) {
        drop(self.requests);
        soon("the connection's end", self.connection)
            .await
            .expect("no panic")
            .expect("an orderly end");
    }
}

impl Tunnel {
    async fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&masked(first, payload)).await;
    }

    async fn send_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.outgoing.reserve_capacity(bytes.len());
            let room = std::future::poll_fn(|cx| self.outgoing.poll_capacity(cx));
            let room = soon("room", room).await.expect("open").expect("room");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.outgoing
                .send_data(Bytes::copy_from_slice(now), false)
                .expect("sent");
            bytes = later;
        }
    }

    /// Whether there was more; the error is a reset.
    async fn more(&mut self) -> Result<bool, Option<Reason>> {
        match soon("data or an end", self.incoming.data()).await {
            None => Ok(false),
            Some(Ok(data)) => {
                self.bytes.extend(&data);
                self.incoming
                    .flow_control()
                    .release_capacity(data.len())
                    .expect("read");
                Ok(true)
            }
            Some(Err(error)) => Err(error.reason()),
        }
    }

    async fn next(&mut self) -> Got {
        loop {
            if let Some(frame) = cut_frame(&mut self.bytes) {
                return frame;
            }
            match self.more().await {
                Ok(true) => {}
                Ok(false) => {
                    assert!(self.bytes.is_empty(), "the end within a frame");
                    return Got::Fin;
                }
                Err(_) => return Got::Reset,
            }
        }
    }

    async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.bytes.len() < count {
            assert_eq!(self.more().await, Ok(true), "the end instead");
        }
        self.bytes.drain(..count).collect()
    }
}

#[tokio::test]
async fn ws_05_axum_over_http2_is_closed_with_1001() {
    let duck = Duck::start(open_window()).await;
    let mut client = Client::connect(&duck.rig).await;
    let mut tunnel = client.open("/echo", "websocket").await;
    tunnel.send(TEXT, b"hi").await;
    assert_eq!(tunnel.next().await, got(TEXT, "hi"));
    tunnel.send(PING, b"?").await;
    assert_eq!(tunnel.next().await, got(PONG, "?"));
    assert_eq!(client.get().await, "ok");
    duck.rig.terminate().await;
    assert_eq!(tunnel.next().await, got(CLOSE, GOING_AWAY));
    tunnel.send(CLOSE, &GOING_AWAY[..2]).await;
    assert_eq!(tunnel.next().await, Got::Fin);
    duck.rig.control.entered().await;
    drop(tunnel);
    client.ends().await;
    assert!(!duck.rig.life.drain().is_closing());
    assert_eq!(duck.rig.count(Count::WsExpired), 0);
}

#[tokio::test]
async fn ws_05_a_large_echo_waits_for_its_client_and_precedes_the_close() {
    let duck = Duck::start(open_window()).await;
    let mut client = Client::connect(&duck.rig).await;
    let mut tunnel = client.open("/echo", "websocket").await;
    let large = vec![7; 2 * 1024 * 1024];
    tunnel.send(BINARY, &large).await;
    let begun = tunnel.bytes(10 + 1000).await;
    assert_eq!(begun[0], BINARY);
    duck.rig.terminate().await;
    let rest = tunnel.bytes(large.len() - 1000).await;
    assert!(begun[10..].iter().chain(&rest).all(|byte| *byte == 7));
    assert_eq!(tunnel.next().await, got(CLOSE, GOING_AWAY));
}

#[tokio::test]
async fn ws_05_a_client_that_does_not_answer_holds_nothing_up() {
    let mut limits = Limits::default();
    limits.ws_close = millis(100);
    let duck = Duck::with(plan(Window::NONE), limits, WebSockets::default()).await;
    let mut client = Client::connect(&duck.rig).await;
    let mut tunnel = client.open("/echo", "websocket").await;
    duck.rig.terminate().await;
    assert_eq!(tunnel.next().await, got(CLOSE, GOING_AWAY));
    assert_eq!(tunnel.next().await, Got::Fin);
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
    assert_eq!(duck.rig.count(Count::WsExpired), 1);
}

#[tokio::test]
async fn ws_05_an_application_says_farewell_over_http2() {
    let duck = Duck::start(plan(Window::NONE)).await;
    let mut client = Client::connect(&duck.rig).await;
    let mut tunnel = client.open("/farewell", "websocket").await;
    duck.rig.terminate().await;
    assert_eq!(tunnel.next().await, got(TEXT, "farewell"));
    assert_eq!(
        tunnel.next().await,
        got(CLOSE, b"\x03\xf4restarting".as_slice())
    );
    tunnel.send(CLOSE, b"\x03\xf4").await;
    assert_eq!(tunnel.next().await, Got::Fin);
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn a_foreign_tunnel_over_http2_ends_in_halves() {
    let duck = Duck::start(open_window()).await;
    let mut client = Client::connect(&duck.rig).await;
    let mut tunnel = client.open("/raw", "chess").await;
    let mut inner = duck.inner().await;
    duck.rig.terminate().await;
    inner.write_all(b"mate").await.expect("written");
    inner.shutdown().await.expect("half an end");
    assert_eq!(tunnel.bytes(4).await, b"mate");
    assert_eq!(tunnel.next().await, Got::Fin);
    tunnel.send_bytes(b"well played").await;
    let mut last = [0; 11];
    soon("the other half", inner.read_exact(&mut last))
        .await
        .expect("heard");
    assert_eq!(&last, b"well played");
    tunnel.outgoing.send_data(Bytes::new(), true).expect("sent");
    assert_eq!(
        soon("its end", inner.read(&mut last))
            .await
            .expect("an end"),
        0
    );
    drop((inner, tunnel));
    client.ends().await;
}

#[tokio::test]
async fn what_the_deadline_ends_of_a_tunnel_does_not_look_whole() {
    let hasty: Plan = plan(Window::NONE)
        .with_grace(Plan::LEAST_GRACE)
        .expect("the least grace");
    let duck = Duck::start(hasty).await;
    let mut client = Client::connect(&duck.rig).await;
    let mut tunnel = client.open("/raw", "chess").await;
    let mut inner = duck.inner().await;
    duck.rig.terminate().await;
    assert!(matches!(duck.rig.outcome().await, Outcome::Forced { .. }));
    assert_eq!(tunnel.next().await, Got::Reset);
    let mut nothing = [0; 1];
    assert_eq!(
        soon("its end", inner.read(&mut nothing)).await.unwrap_or(0),
        0
    );
}

#[tokio::test]
async fn an_upgrade_refused_over_http2_is_an_answer_like_any() {
    let duck = Duck::start(open_window()).await;
    let mut client = Client::connect(&duck.rig).await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri("http://a/nowhere")
        .extension(Protocol::from_static("websocket"))
        .body(())
        .expect("a request");
    let (answer, _outgoing) = client.requests.send_request(request, false).expect("sent");
    let answer = soon("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 404);
    assert_eq!(client.get().await, "ok");
}
