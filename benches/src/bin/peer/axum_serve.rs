//! `axum::serve` with its graceful shutdown.
//!
//! Owns: the same routes in axum's router.

use std::io;

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;

use crate::answer::{GREETING, slowness};
use crate::door::Door;

pub(crate) async fn serve(door: Door) -> io::Result<()> {
    let Door {
        listener,
        mut terminate,
        ..
    } = door;
    let listener = listener.tap_io(|stream| {
        // A socket that refuses NODELAY is only slower.
        let _ = stream.set_nodelay(true);
    });
    let app = Router::new()
        .route("/", get(async || GREETING))
        .route(
            "/slow",
            get(async |request: Request| {
                tokio::time::sleep(slowness(request.uri().query())).await;
                GREETING
            }),
        )
        .route("/echo", post(async |body: Bytes| body));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await
}
