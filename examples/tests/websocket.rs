//! The WebSocket example, drained: one connection that the server closes, one that the application closes.

#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use std::net::{SocketAddr, TcpStream};

use support::{BOUND, service::Service, until};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket, client};

const PLAN: [(&str, &str); 3] = [
    ("LISTEN", "127.0.0.1:0"),
    ("LAMEDUCK_WINDOW", "0.3,0.1,2"),
    ("LAMEDUCK_GRACE", "20s"),
];

fn connect(address: SocketAddr, path: &str) -> WebSocket<TcpStream> {
    // It is bound, and listens from Running on.
    let stream = until("Running", || TcpStream::connect(address).ok());
    stream.set_read_timeout(Some(BOUND)).expect("set");
    let url = format!("ws://{address}{path}");
    client(url, stream).expect("upgraded").0
}

/// The messages up to the Close, and its code and reason; then the end of the connection.
fn last_words(mut socket: WebSocket<TcpStream>) -> (Vec<String>, CloseCode, String) {
    let mut said = Vec::new();
    let close = loop {
        match socket.read().expect("a message or a Close") {
            Message::Text(text) => said.push(text.to_string()),
            Message::Close(close) => break close.expect("a code"),
            _ => {}
        }
    };
    let end = socket.read().expect_err("nothing comes after the Close");
    assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");
    (said, close.code, close.reason.to_string())
}

#[test]
fn ws_01_ws_04_both_are_told_and_nobody_is_lost() {
    let mut service = Service::start(env!("CARGO_BIN_EXE_websocket"), &[], &PLAN);
    let address = Service::address(&service.line("listening on "), "listening on ");
    let mut echo = connect(address, "/echo");
    let mut chat = connect(address, "/chat");
    echo.send(Message::text("hello")).expect("sent");
    assert_eq!(echo.read().expect("an echo"), Message::text("hello"));
    for (word, receipt) in [("one", "kept 1"), ("two", "kept 2")] {
        chat.send(Message::text(word)).expect("sent");
        assert_eq!(chat.read().expect("a receipt"), Message::text(receipt));
    }
    service.signal(libc::SIGTERM);
    let (said, code, reason) = last_words(echo);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!((code, reason.as_str()), (CloseCode::Away, "going away"));
    let (said, code, reason) = last_words(chat);
    assert_eq!(said, ["2 messages kept; find them on the other instance"]);
    assert_eq!((code, reason.as_str()), (CloseCode::Restart, "restarting"));
    service.end().assert_drained();
}
