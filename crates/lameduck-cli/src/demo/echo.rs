//! `/ws`: a WebSocket that sends back what it is sent.
//!
//! As it stands it knows nothing of draining: the server says Close for it. With `?farewell=CODE` it says farewell itself.

use axum::{
    extract::{
        Query,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use lameduck_http::Farewell;
use serde::Deserialize;

/// The most bytes of a message.
const MOST_BYTES: usize = 16 << 20;

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// The code of the application's own Close.
    farewell: Option<u16>,
}

pub(super) async fn upgrade(Query(wanted): Query<Wanted>, upgrade: WebSocketUpgrade) -> Response {
    let farewell = wanted.farewell.and_then(|code| {
        let farewell = lameduck_http::farewell()?;
        Some((farewell, code))
    });
    upgrade
        .max_message_size(MOST_BYTES)
        .max_frame_size(MOST_BYTES)
        .on_upgrade(async move |mut socket| match farewell {
            None => echo(&mut socket).await,
            Some((farewell, code)) => {
                tokio::select! {
                    () = echo(&mut socket) => return,
                    () = farewell.due() => {}
                }
                leave(socket, &farewell, code).await;
            }
        })
}

async fn echo(socket: &mut WebSocket) {
    // Pings are answered by the library; an error or the end means that the client is gone.
    while let Some(Ok(message)) = socket.recv().await {
        let answered = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => break,
        };
        if answered.is_err() {
            break;
        }
    }
}

/// The last words of the application: a message, then Close with its own code, then its client's answer.
async fn leave(mut socket: WebSocket, _promise: &Farewell, code: u16) {
    let close = CloseFrame {
        code,
        reason: "the demo says farewell".into(),
    };
    for last in [
        Message::Text("farewell".into()),
        Message::Close(Some(close)),
    ] {
        if socket.send(last).await.is_err() {
            return;
        }
    }
    while let Some(Ok(_)) = socket.recv().await {}
}
