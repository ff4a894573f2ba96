//! A service that needs another one: its client is drained after its server, so that requests that are late still find what is behind them.
//!
//! `LISTEN` is the address; port 0 lets the system choose. `UPSTREAM` is where orders go, as `http://HOST:PORT`; without it, this is the
//! service behind.

use axum::extract::State;
use axum::{Router, http::StatusCode, routing::get, routing::post};
use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use lameduck::{Outcome, Plan};
use lameduck_http::client::{Client, ClientError};

/// The longest answer that is handed on.
const MOST_BYTES: usize = 64 * 1_024;

#[derive(Clone)]
struct Upstream {
    client: Client,
    root: String,
}

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let listen = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
        let server = match std::env::var("UPSTREAM") {
            Ok(root) => {
                let client = Client::builder(&life).name("upstream").build()?;
                let upstream = Upstream {
                    client: client.clone(),
                    root,
                };
                let app = Router::new()
                    .route("/", get(hello))
                    .route("/orders", post(forward))
                    .with_state(upstream);
                // It needs the client, so the client is stopped after it.
                lameduck_http::serve(&life, listen.as_str(), app)
                    .after(&client)
                    .await?
            }
            Err(_) => {
                let app = Router::new()
                    .route("/", get(hello))
                    .route("/orders", post(take));
                lameduck_http::serve(&life, listen.as_str(), app).await?
            }
        };
        println!("listening on {}", server.local_addr());
        Ok(()) // all ready: Running
    })
}

async fn hello() -> &'static str {
    "hello"
}

/// The service behind.
async fn take(order: String) -> String {
    println!("took {order}");
    format!("took {order}")
}

/// The service in front.
async fn forward(State(upstream): State<Upstream>, order: String) -> (StatusCode, String) {
    match upstream.ask(order).await {
        Ok(answer) => answer,
        // What was certainly not taken may be sent again by whoever asked.
        Err(error) if error.is_unprocessed() => {
            (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
    }
}

impl Upstream {
    async fn ask(&self, order: String) -> Result<(StatusCode, String), ClientError> {
        let request = Request::post(format!("{}/orders", self.root)).body(order);
        let request = request.expect("UPSTREAM is a URI");
        let response = self.client.send(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BYTES);
        Ok(match body.collect().await {
            Ok(body) => {
                let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                (status, text)
            }
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
        })
    }
}
