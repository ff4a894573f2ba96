//! WebSockets on the draining server, with axum's own extractor.
//!
//! `LISTEN` is the address; port 0 lets the system choose. `/echo` knows nothing of draining: the server says Close 1001 for it, between two
//! messages, spread over the window's floor. `/chat` says farewell itself.

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::{Router, routing::any};
use lameduck::{Outcome, Plan};
use lameduck_http::Farewell;

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let app = Router::new()
            .route(
                "/echo",
                any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)),
            )
            .route("/chat", any(chat));

        let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
        let server = lameduck_http::serve(&life, address.as_str(), app).await?;
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_))
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

async fn chat(upgrade: WebSocketUpgrade) -> Response {
    // Asked for in the handler: from now on this connection is closed by `talk`, or by the server if that takes too long.
    let farewell = lameduck_http::farewell();
    upgrade.on_upgrade(async move |socket| match farewell {
        Some(farewell) => talk(socket, farewell).await,
        None => echo(socket).await, // another server, which has no farewells
    })
}

async fn talk(mut socket: WebSocket, farewell: Farewell) {
    let mut kept = 0_u32;
    loop {
        tokio::select! {
            biased; // what is here already is heard before the farewell
            message = socket.recv() => match message {
                Some(Ok(Message::Text(_))) => {
                    kept += 1;
                    let receipt = Message::Text(format!("kept {kept}").into());
                    if socket.send(receipt).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            () = farewell.due() => break,
        }
    }
    let summary =
        Message::Text(format!("{kept} messages kept; find them on the other instance").into());
    let restart = CloseFrame {
        code: 1012, // Service Restart: clients come back after a random pause
        reason: "restarting".into(),
    };
    for last in [summary, Message::Close(Some(restart))] {
        if socket.send(last).await.is_err() {
            return;
        }
    }
    // Until the client has answered the Close.
    while let Some(Ok(_)) = socket.recv().await {}
}
