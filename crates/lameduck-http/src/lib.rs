//! A draining HTTP server on hyper: it leaves without losing requests.
//!
//! [`serve`] puts a tower service (an `axum::Router`, a stack of layers, a [`service_fn`]) on a listener that takes part in a
//! [`lameduck::Lifecycle`]. When the service is asked to leave, the listener goes on accepting through the lame-duck window while responses tell clients to
//! go elsewhere, then it is swept and closed; what is in flight is served, idle connections are looked at once more before they
//! end, every close lingers until the peer has everything, and what is still there at the drain deadline is ended and named.
//!
//! HTTP/1.1 and HTTP/2 on one listener, over TCP and Unix sockets: in the clear by "prior knowledge", under TLS by ALPN (feature `tls`,
//! see [`Serve`]). [`Serve::connect_info`] tells handlers who connects.
//!
//! ```no_run
//! # async fn start(life: lameduck::Lifecycle) -> Result<(), lameduck_http::ServeError> {
//! use axum::{Router, routing::get};
//!
//! let app = Router::new().route("/", get(|| async { "hello" }));
//! lameduck_http::serve(&life, "127.0.0.1:8080", app).await?;
//! lameduck_http::probes(&life, "127.0.0.1:8081").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Circuit breakers
//!
//! [`breaker`] is the crate `lameduck-breaker`. A breaker made with [`Settings::lifecycle`](breaker::Settings::lifecycle) knows when this service leaves: what
//! its own drain breaks never counts. It stands on the admin page, in the status and in the metrics, whoever has the token can force it there, and
//! its transitions are in the audit. [`BreakRequests`](breaker::BreakRequests) is the layer for handlers.
//!
//! # Watching a drain
//!
//! [`admin`] puts a page on a loopback address or a Unix socket that shows who holds the exit while it is held, and lets whoever has the token
//! drain, cut and reload: see [the manual](manual::watching).
//!
//! # Control
//!
//! With the feature `control`, `control` opens a Unix socket for operators (`lameduck ctl`) and for participants in other processes and languages; the kernel
//! says who asks, so nobody needs a token: see its manual, `manual::control`.
//!
//! # TLS
//!
//! With the feature `tls`, `Serve::tls` takes the service's own `Arc<rustls::ServerConfig>`, made with whatever crypto provider it likes. A
//! handshake runs in its connection's task within [`Limits::handshake`], so a slow client delays nobody; one that is under way
//! at T is completed, and its first request served. Every orderly close says close_notify, and a cut does not. `tls::Reloading`
//! loads certificates again on SIGHUP; a broken one is refused, and the old one stays in force.
//!
//! # Long responses
//!
//! Every limit on a transfer is a stall limit: a response that goes on, and whose client reads, may take as long as the plan lasts.
//!
//! - An event stream (`text/event-stream` in answer to a GET) is ended by the server between two events, in its connection's turn: its
//!   client connects again, to another instance. [`Serve::event_streams`] adds a `retry`, [`EndStreams`] chooses for a route
//!   ([`Ending::Never`] opts out), [`Ending`] in a response's extensions for one response.
//! - Rows, gRPC calls and the like end the same way where their route says so: [`Ending::AtFrame`], [`Ending::AtGrpcMessage`].
//! - Whatever has a better idea listens to [`drain()`], or is wrapped in [`end_when`].
//! - What a handler has spawned, and nobody would wait for once the request is over, listens to [`cancellation()`]: it says why, and by whom.
//! - What does not end is cut at the drain deadline so that it does not look whole, and named in the report. [`Truncate`] cuts a little earlier,
//!   or whenever an application wants, and says why where that can be said.
//!
//! # WebSockets
//!
//! An upgraded connection stays a connection of the server: counted, named, limited, closed with care. It works with whatever takes hyper's `OnUpgrade`
//! from the request: axum's `WebSocketUpgrade`, tokio-tungstenite on `hyper::upgrade::on`; over HTTP/2 by extended CONNECT (RFC 8441).
//!
//! - In its turn each WebSocket gets a Close (1001) between two messages, without the application's help, and never inside a frame. The application's
//!   writes go nowhere from then on; it reads its client's answer, and the end. [`Serve::websockets`] chooses code, reason and spread.
//! - An application that wants to say more asks for [`farewell()`] and is told when its turn has come.
//! - Clients that do not answer and applications that do not let go are bounded by [`Limits::ws_close`]; they never hold up the exit.
//! - In a protocol that is not WebSocket nothing is said: such a connection goes on until it ends, or is ended at the drain deadline and named.
//!
//! # Outgoing connections
//!
//! With the feature `client`, `client::Client` is an HTTP client that stops after the servers that use it, and leaves nothing open: see its manual,
//! `manual::outgoing`.

mod body;
#[cfg(feature = "client")]
pub mod client;
mod cut;
mod end_when;
mod handler;
mod health;
mod layer;
pub mod manual;
#[cfg(feature = "metrics")]
mod metrics;
mod peer;
mod probes;
mod scope;
mod serve;
mod server;
mod side;
#[cfg(feature = "tls")]
pub mod tls;
mod ws;

pub use lameduck_breaker as breaker;

pub use body::{Body, BodyError};
pub use cut::{Cut, Truncated, TruncatedBy};
pub use end_when::{EndWhen, end_when};
pub use handler::{ServiceFn, service_fn};
pub use health::is_health_check;
pub use layer::{
    EndStreams, EndStreamsFuture, EndStreamsService, EndedBy, ExposeDrain, ExposeDrainService,
    HealthSnapshot, HookRefused, HookedBody, OnEnd, RequestEnd, RequestHooks, RequestHooksFuture,
    RequestHooksService, SnapshotHealth, SnapshotHealthFuture, SnapshotHealthService, Truncate,
    TruncateFuture, TruncateService, TruncatedBody, Truncation,
};
#[cfg(feature = "metrics")]
pub use metrics::{MetricsFormat, MetricsRoute, admin_metrics, metrics, metrics_route};
#[cfg(all(feature = "metrics", feature = "client"))]
pub use metrics::{admin_metrics_with, metrics_with};
pub use peer::Peer;
pub use probes::{ProbeRoutes, probe_routes};
pub use scope::{cancellation, drain};
pub use serve::{Serve, ServeError, Server, serve, serve_listener};
pub use server::Protocols;
pub use server::ending::Ending;
pub use server::exchange::{App, BoxError};
pub use server::limits::{Limits, TcpKeepAlive};
pub use server::listen::{ListenAddr, LocalAddr, ToListenAddr};
pub use server::secure::TlsObjection;
pub use side::{Admin, AdminRequest, AdminRoute, SideServer, TokenError, admin, probes};
#[cfg(feature = "control")]
pub use side::{Control, ControlError, control};
pub use ws::{Farewell, WebSockets, farewell};

/// What reads untrusted or endless bytes, for the fuzzer.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::server::ending::fuzzing::{follow_events, follow_messages};
    pub use crate::server::fuzzing::judge_first_bytes;
    #[cfg(feature = "tls")]
    pub use crate::server::tls::records::follow_records;
    pub use crate::server::upgrade::fuzzing::follow_frames;
}
