//! lameduck's own server, with the same handler as its peers, and a WebSocket beside it where instructions are not counted.
//!
//! Owns: lifecycle, listener, the echo. Not here: the demo, which has routes, reports and probes besides.

use std::convert::Infallible;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lameduck::{Lifecycle, Outcome, Plan, Preset, Start};
use lameduck_http::{App, Body, Protocols, Serve, WebSockets, service_fn, tls};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::answer::answer;
use crate::{Args, Threads};

type Failure = Box<dyn Error + Send + Sync>;

/// Its own default of 128 KiB would be all that one sees of a WebSocket's price.
const READ_BUFFER: usize = 4096;

pub(crate) fn serve(args: &Args) -> Result<Outcome, Failure> {
    let plan = Plan::preset(Preset::Local);
    let window = lameduck::parse_window(&args.window, plan.grace()).ok_or("no such window")?;
    let start = Start::from(plan.with_window(window)?);
    let doors = Doors {
        listen: args.listen.to_string(),
        tls_listen: args.tls_listen.map(|address| address.to_string()),
        pem: args.pem().map(|(cert, key)| (cert.clone(), key.clone())),
        trims_heap: args.trim_heap,
    };
    match args.threads {
        Threads::Many => Ok(lameduck::run(start, async move |life: Lifecycle| {
            doors.open(&life, service_fn(handle)).await
        })),
        Threads::One => {
            let life = start.begin()?;
            crate::runtime(args.threads)?.block_on(async {
                // Instructions are counted: the peers' handler, and not another one around it that stores the request once more.
                doors.open(&life, service_fn(answer::<Body>)).await?;
                life.ready();
                Ok(life.outcome().await)
            })
        }
    }
}

/// Where it lets clients in: with a certificate over TLS, or where there is a second address, over TLS there alone.
struct Doors {
    listen: String,
    tls_listen: Option<String>,
    pem: Option<(PathBuf, PathBuf)>,
    trims_heap: bool,
}

impl Doors {
    async fn open(self, life: &Lifecycle, app: impl App) -> Result<(), Failure> {
        let config = self
            .pem
            .map(|(cert, key)| tls::from_pem_files(cert, key))
            .transpose()?;
        let mut config = config.map(|config| tls::with_alpn(config, Protocols::Both));
        let trims = self.trims_heap;
        let door = |listen: &str, app| {
            let door = door(life, listen, app);
            if trims { door.trim_heap() } else { door }
        };
        if let (Some(listen), Some(config)) = (
            &self.tls_listen,
            config.take_if(|_| self.tls_listen.is_some()),
        ) {
            door(listen, app.clone()).tls(config).await?;
        }
        let server = match config {
            Some(config) => door(&self.listen, app).tls(config).await?,
            None => door(&self.listen, app).await?,
        };
        let line = format!("listening on {}", server.local_addr());
        let life = life.clone();
        tokio::spawn(async move {
            if life.running().await {
                println!("{line}");
            }
        });
        Ok(())
    }
}

fn door<'a, A: App>(life: &'a Lifecycle, listen: &str, app: A) -> Serve<'a, A> {
    let mut websockets = WebSockets::default();
    websockets.spread = Some(Duration::ZERO);
    lameduck_http::serve(life, listen, app).websockets(websockets)
}

async fn handle(request: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/ws" {
        return Ok(upgrade(request));
    }
    answer(request).await
}

fn upgrade(mut request: Request<Body>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = derive_accept_key(key.as_bytes());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = HeaderMap::from_iter([
        (CONNECTION, "upgrade".parse().expect("a word")),
        (UPGRADE, "websocket".parse().expect("a word")),
        (SEC_WEBSOCKET_ACCEPT, accept.parse().expect("base64")),
    ]);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let mut socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config))
                .await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                break;
            }
        }
    });
    response
}
