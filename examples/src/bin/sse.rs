//! An event stream on the draining server: its clients connect again, elsewhere, and miss nothing.
//!
//! `LISTEN` is the address; port 0 lets the system choose. `GET /ticks` is endless: the server ends it between two events when its
//! connection's turn comes. `GET /import` ends by itself and is waited for.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::{Router, routing::get};
use futures_util::stream::{self, Stream};
use lameduck::{Outcome, Plan};
use lameduck_http::{EndStreams, Ending};

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let import = get(import).layer(EndStreams::new(Ending::Never));
        let app = Router::new()
            .route("/ticks", get(ticks))
            .route("/import", import);

        let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
        let retry = Some(Duration::from_millis(500));
        let server = lameduck_http::serve(&life, address.as_str(), app)
            .event_streams(Ending::AtEvent { retry })
            .await?;
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

/// Ticks, from the one after which the client was.
async fn ticks(headers: HeaderMap) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let first = last.and_then(|id| id.parse().ok()).unwrap_or(0_u64) + 1;
    let ticks = stream::unfold(first, async |number| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let event = Event::default().id(number.to_string()).data("tick");
        Some((Ok(event), number + 1))
    });
    Sse::new(ticks).keep_alive(KeepAlive::default())
}

/// Progress of something that is to be finished here.
async fn import() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let steps = stream::unfold(1_u32, async |step| {
        if step > 10 {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let event = Event::default().data(format!("{step} of 10"));
        Some((Ok(event), step + 1))
    });
    Sse::new(steps)
}
