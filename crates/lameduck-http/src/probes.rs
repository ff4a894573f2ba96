//! The probes as answers and as routes of an application.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use lameduck::Lifecycle;
use tower_service::Service;

use crate::side::text;

/// A service that answers `/livez`, `/readyz`, `/startupz` and `/lbz`, to be mounted in an application's router; anything else is 404.
///
/// It answers only while the application's listener does. For a prober that must see the service drain use [`probes`](crate::probes()).
///
/// # Examples
/// ```
/// # fn app(life: &lameduck::Lifecycle) -> axum::Router {
/// let probes = lameduck_http::probe_routes(life);
/// axum::Router::new()
///     .route_service("/livez", probes.clone())
///     .route_service("/readyz", probes.clone())
///     .route_service("/lbz", probes)
/// # }
/// ```
#[must_use]
pub fn probe_routes(life: &Lifecycle) -> ProbeRoutes {
    ProbeRoutes { life: life.clone() }
}

/// The service that [`probe_routes`] makes.
#[derive(Clone, Debug)]
pub struct ProbeRoutes {
    life: Lifecycle,
}

impl<B> Service<Request<B>> for ProbeRoutes {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(answer(&self.life, request.uri().path())))
    }
}

/// 200 or 503 for a probe, 404 for what is none.
pub(crate) fn answer(life: &Lifecycle, path: &str) -> Response<String> {
    match life.probe(path) {
        Some(probe) if probe.ok => text(StatusCode::OK, probe.body),
        Some(probe) => text(StatusCode::SERVICE_UNAVAILABLE, probe.body),
        None => text(StatusCode::NOT_FOUND, "no such probe\n".to_owned()),
    }
}
