//! WS-*: what is owed to WebSockets that are answered as they should be, through axum and through tokio-tungstenite alone.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use lameduck::{Count, Known, Lifecycle, Outcome, Plan, Window};
use lameduck_http::{Body, Limits, WebSockets, service_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

use crate::support::{Client, Control, Ended, GET, Rig, millis, plan, soon, window};
use crate::wire::{BINARY, CLOSE, Duck, GOING_AWAY, Got, PING, PONG, TEXT, Wire, got, masked};

/// A window that stays open as long as the test is patient.
pub(crate) fn open_window() -> Plan {
    plan(window(0, 20_000, 20_000))
}

#[tokio::test]
async fn ws_01_axum_is_closed_with_1001_without_its_help() {
    let duck = Duck::start(open_window()).await;
    let mut client = duck.open("/echo").await;
    client.send(TEXT, b"hi").await;
    assert_eq!(client.next().await, got(TEXT, "hi"));
    duck.rig.terminate().await;
    client.say_goodbye(GOING_AWAY).await;
    // The handler saw the answer and ended.
    duck.rig.control.entered().await;
    assert!(!duck.rig.life.drain().is_closing());
    assert_eq!(duck.rig.count(Count::Steered), 1);
    assert_eq!(duck.rig.count(Count::WsExpired), 0);
}

#[tokio::test]
async fn ws_01_tungstenite_on_a_plain_upgrade_is_closed_the_same_way() {
    let duck = Duck::start(open_window()).await;
    let mut client = duck.open("/raw").await;
    let inner = duck.inner().await;
    let served = tokio::spawn(async move {
        let mut socket = WebSocketStream::from_raw_socket(inner, Role::Server, None).await;
        let mut seen = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message.clone()).await.expect("sent");
            }
            seen.push(message);
        }
        seen
    });
    client.send(TEXT, b"hi").await;
    assert_eq!(client.next().await, got(TEXT, "hi"));
    duck.rig.terminate().await;
    client.say_goodbye(GOING_AWAY).await;
    let seen = soon("the handler's end", served).await.expect("no panic");
    let Some(Message::Close(Some(frame))) = seen.last() else {
        panic!("it sees its client's Close: {seen:?}");
    };
    assert_eq!(frame.code, CloseCode::Away);
}

#[tokio::test]
async fn ws_01_a_client_of_tungstenite_sees_1001() {
    let duck = Duck::start(open_window()).await;
    let stream = TcpStream::connect(duck.rig.addr).await.expect("connect");
    let uri = format!("ws://{}/echo", duck.rig.addr);
    let (mut client, _) = soon("a handshake", tokio_tungstenite::client_async(uri, stream))
        .await
        .expect("a handshake");
    let large = Message::binary(vec![7; 300_000]);
    client.send(large.clone()).await.expect("sent");
    assert_eq!(
        soon("an echo", client.next())
            .await
            .expect("one")
            .expect("whole"),
        large
    );
    duck.rig.terminate().await;
    let Some(Ok(Message::Close(Some(frame)))) = soon("a Close", client.next()).await else {
        panic!("no Close");
    };
    assert_eq!(
        (frame.code, frame.reason.as_str()),
        (CloseCode::Away, "going away")
    );
    assert!(
        soon("the end", client.next()).await.is_none(),
        "an orderly end"
    );
}

#[tokio::test]
async fn ws_code_and_reason_are_the_listeners_choice() {
    let mut websockets = WebSockets::default();
    websockets.code = 1012;
    websockets.reason = "bis gleich".into();
    let duck = Duck::with(open_window(), Limits::default(), websockets).await;
    let mut client = duck.open("/echo").await;
    duck.rig.terminate().await;
    client.say_goodbye(b"\x03\xf4bis gleich").await;
}

#[tokio::test]
async fn ws_04_an_application_says_farewell_itself() {
    let duck = Duck::start(plan(Window::NONE)).await;
    let mut client = duck.open("/farewell").await;
    duck.rig.terminate().await;
    assert_eq!(client.next().await, got(TEXT, "farewell"));
    client.say_goodbye(b"\x03\xf4restarting").await;
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
    assert_eq!(duck.rig.count(Count::WsExpired), 0);
}

#[tokio::test]
async fn ws_04_a_farewell_that_is_not_said_is_said_for_it() {
    let mut limits = Limits::default();
    limits.ws_close = millis(100);
    let duck = Duck::with(open_window(), limits, WebSockets::default()).await;
    let mut client = duck.open("/promises").await;
    duck.rig.terminate().await;
    assert_eq!(client.next().await, got(CLOSE, GOING_AWAY));
}

#[tokio::test]
async fn ws_06_closes_are_spread() {
    let mut websockets = WebSockets::default();
    websockets.spread = Some(Duration::from_secs(20));
    let duck = Duck::with(open_window(), Limits::default(), websockets).await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(duck.open("/echo").await);
    }
    duck.rig.terminate().await;
    duck.rig.counted(Count::Steered, 1).await;
    assert!(duck.rig.count(Count::Steered) < 64, "all at once");
}

#[tokio::test]
async fn ws_06_what_is_left_at_the_windows_end_is_closed_then() {
    let mut websockets = WebSockets::default();
    websockets.spread = Some(Duration::from_secs(3600));
    let duck = Duck::with(plan(window(0, 50, 500)), Limits::default(), websockets).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(duck.open("/echo").await);
    }
    duck.rig.terminate().await;
    for client in &mut clients {
        client.say_goodbye(GOING_AWAY).await;
    }
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
    assert_eq!(duck.rig.count(Count::Steered), 8);
}

#[tokio::test]
async fn ws_pings_and_messages_are_answered_between_t_and_the_turn() {
    let mut websockets = WebSockets::default();
    websockets.spread = Some(Duration::from_secs(3600 * 24 * 365));
    let duck = Duck::with(open_window(), Limits::default(), websockets).await;
    let mut client = duck.open("/echo").await;
    duck.rig.terminate().await;
    client.send(PING, b"still there?").await;
    assert_eq!(client.next().await, got(PONG, "still there?"));
    client.send(BINARY, b"more").await;
    assert_eq!(client.next().await, got(BINARY, "more"));
    // One that comes now is served, too.
    let mut late = duck.open("/echo").await;
    late.send(TEXT, b"late").await;
    assert_eq!(late.next().await, got(TEXT, "late"));
}

#[tokio::test]
async fn words_said_with_the_request_reach_the_application() {
    let duck = Duck::start(open_window()).await;
    let words = masked(TEXT, b"early");
    let mut client = Wire::open_saying(&duck.rig, "/echo", "websocket", &words).await;
    assert_eq!(client.next().await, got(TEXT, "early"));
}

#[tokio::test]
async fn an_upgrade_that_is_not_granted_leaves_the_connection_as_it_was() {
    let duck = Duck::start(open_window()).await;
    let mut client = Client::connect(duck.rig.addr).await;
    for protocol in ["websocket", "h2c"] {
        let asks = format!(
            "GET /refuses HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n"
        );
        client.send(asks.as_bytes()).await;
        assert_eq!(client.served().await.text(), "no");
        client.send(GET).await;
        assert_eq!(client.served().await.text(), "ok");
    }
    duck.rig.terminate().await;
    let asks =
        b"GET /refuses HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.send(asks).await;
    let answer = client.served().await;
    assert!(answer.close, "{answer:?}");
    assert_eq!(client.end().await, &Ended::Fin);
}

#[tokio::test]
async fn an_upgraded_connection_is_waited_for_and_named_at_the_deadline() {
    let hasty = plan(Window::NONE)
        .with_grace(Duration::from_secs(3))
        .expect("a plan");
    let duck = Duck::start(hasty).await;
    let mut client = Wire::open(&duck.rig, "/raw", "chess").await;
    let mut inner = duck.inner().await;
    duck.rig.terminate().await;
    duck.rig.window_end().await;
    // Nothing is said in a protocol that nobody here knows; it goes on.
    inner.write_all(b"e4").await.expect("written");
    assert_eq!(client.bytes(2).await, b"e4");
    client.send_bytes(b"e5").await;
    let mut move_back = [0; 2];
    soon("a move", inner.read_exact(&mut move_back))
        .await
        .expect("a move");
    assert!(matches!(duck.rig.outcome().await, Outcome::Forced { .. }));
    assert_eq!(straggler_paths(&duck.rig), ["/raw"]);
    assert_ne!(client.next().await, got(CLOSE, GOING_AWAY));
    assert_eq!(
        inner.read(&mut move_back).await.unwrap_or(0),
        0,
        "its end is told to the application"
    );
}

fn straggler_paths(rig: &Rig) -> Vec<String> {
    let report = rig.life.report().expect("a report");
    let paths = report
        .stragglers
        .iter()
        .filter_map(|straggler| match &straggler.what {
            Known::Request { path, .. } => Some(path.clone()),
            _ => None,
        });
    paths.collect()
}

#[tokio::test]
async fn a_connect_is_answered_with_a_tunnel() {
    async fn tunnel(mut request: Request<Body>) -> Result<Response<String>, Infallible> {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut inner = TokioIo::new(upgrade.await.expect("an upgrade"));
            let mut said = [0; 4];
            inner.read_exact(&mut said).await.expect("words");
            inner.write_all(&said).await.expect("written");
        });
        Ok(Response::new(String::new()))
    }
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let server = lameduck_http::serve(&life, "127.0.0.1:0", service_fn(tunnel))
        .await
        .expect("a server");
    let addr = server.local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, addr, Control::new()).await;
    let mut client = Client::connect(addr).await;
    client
        .send(b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n")
        .await;
    assert!(client.interim().await.starts_with("HTTP/1.1 200 "));
    rig.terminate().await;
    rig.window_end().await;
    client.send(b"ping").await;
    let mut said = [0; 4];
    soon("an echo", client.stream.read_exact(&mut said))
        .await
        .expect("an echo");
    assert_eq!(&said, b"ping");
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn a_tunnel_ends_in_halves() {
    let duck = Duck::start(open_window()).await;
    let mut client = Wire::open(&duck.rig, "/raw", "chess").await;
    let mut inner = duck.inner().await;
    inner.write_all(b"mate").await.expect("written");
    inner.shutdown().await.expect("half an end");
    assert_eq!(client.bytes(4).await, b"mate");
    assert_eq!(client.next().await, Got::Fin);
    client.send_bytes(b"well played").await;
    let mut last = [0; 11];
    soon("the other half", inner.read_exact(&mut last))
        .await
        .expect("heard");
    assert_eq!(&last, b"well played");
}
