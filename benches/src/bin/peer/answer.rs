//! The handler that all contenders answer with.
//!
//! Owns: the routes, for whatever body a server gives. Not here: axum's, which has a router of its own.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::{Method, Request, Response, StatusCode};

pub(crate) const GREETING: &[u8] = b"hello\n";
const LARGEST_ECHO: usize = 1 << 20;
const LONGEST_SLOW: Duration = Duration::from_secs(10);

pub(crate) async fn answer<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.method() == Method::POST {
        return Ok(match Limited::new(request, LARGEST_ECHO).collect().await {
            Ok(body) => Response::new(Full::new(body.to_bytes())),
            Err(_) => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                response
            }
        });
    }
    if request.uri().path() == "/slow" {
        tokio::time::sleep(slowness(request.uri().query())).await;
    }
    Ok(Response::new(Full::new(Bytes::from_static(GREETING))))
}

pub(crate) fn slowness(query: Option<&str>) -> Duration {
    query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("ms="))
        .and_then(|millis| millis.parse().ok())
        .map_or(Duration::from_millis(300), Duration::from_millis)
        .min(LONGEST_SLOW)
}
