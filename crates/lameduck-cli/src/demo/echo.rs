//! `/ws`: a WebSocket that sends back what it is sent. It knows nothing of draining: the server says Close for it.

use axum::{
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::Response,
};

/// The most bytes of a message.
const MOST_BYTES: usize = 16 << 20;

pub(super) async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(MOST_BYTES)
        .max_frame_size(MOST_BYTES)
        .on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
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
