//! What a Prometheus reads (feature `metrics`): the figures of a lifecycle as text, and the route that answers a scrape.
//!
//! Owns formats and their negotiation; which metrics there are stands in `collect` and `breakers`. Everything is read when it is asked for: a request
//! pays nothing for it.

mod breakers;
#[cfg(feature = "client")]
mod clients;
mod collect;

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Request, Response, StatusCode};
use lameduck::Lifecycle;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{prometheus_text, text as openmetrics};
use prometheus_client::registry::Registry;
use tower_service::Service;

#[cfg(feature = "client")]
pub use self::clients::{admin_metrics_with, metrics_with};
use self::collect::Scrape;
use crate::side::{AdminRoute, text};

/// How metrics are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricsFormat {
    /// The Prometheus text format, version 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics text, version 1.0.0, with exemplars that name the `drain_id`.
    OpenMetrics,
}

/// The media type of OpenMetrics, as an `Accept` has it.
const OPEN_METRICS: &str = "application/openmetrics-text";

impl MetricsFormat {
    /// What an `Accept` header prefers: OpenMetrics where it is named and weighs no less than plain text.
    ///
    /// # Examples
    /// ```
    /// use lameduck_http::MetricsFormat;
    ///
    /// let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    /// assert_eq!(MetricsFormat::accepted(prometheus), MetricsFormat::OpenMetrics);
    /// assert_eq!(MetricsFormat::accepted("text/html,*/*;q=0.8"), MetricsFormat::Prometheus);
    /// ```
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let weight = |wanted: &str| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_wanted = parts.next()?.eq_ignore_ascii_case(wanted);
                is_wanted.then(|| quality(parts))
            });
            ranges.max().unwrap_or_default()
        };
        let open_metrics = weight(OPEN_METRICS);
        if open_metrics > 0 && open_metrics >= weight("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The `Content-Type` of this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A weight in thousandths (RFC 9110 §12.4.2): 1 unless said otherwise, 0 when it cannot be read.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let said = parameters.find_map(|one| one.strip_prefix("q="));
    let Some(said) = said else { return 1_000 };
    match said.parse::<f32>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number between 0 and 1000"
        )]
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1_000.0) as u16,
        _ => 0,
    }
}

/// Everything that is counted, as text: phase, what is in flight, how requests and connections ended, budgets, signals.
///
/// The names stand in `docs/reference/metrics.md`. Append it to what the application's own registry writes, or serve it: by [`admin_metrics`]
/// on the admin listener, by [`metrics_route`] anywhere else.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// use lameduck::{Lifecycle, Plan, Preset};
/// use lameduck_http::{MetricsFormat, metrics};
///
/// let life = Lifecycle::embedded(Plan::preset(Preset::Local))?;
/// let text = metrics(&life, MetricsFormat::Prometheus);
/// assert!(text.contains(r#"lameduck_phase{phase="Initializing"} 1"#));
/// # Ok(()) }
/// ```
#[must_use]
pub fn metrics(life: &Lifecycle, format: MetricsFormat) -> String {
    write(life, &[], format)
}

/// What is scraped beside a lifecycle.
#[derive(Clone)]
struct Beside(Arc<dyn Fn() -> Box<dyn Collector> + Send + Sync>);

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

fn write(life: &Lifecycle, beside: &[Beside], format: MetricsFormat) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape::of(life)));
    for one in beside {
        registry.register_collector((one.0)());
    }
    let mut written = String::new();
    let done = match format {
        MetricsFormat::Prometheus => prometheus_text::encode(&mut written, &registry),
        MetricsFormat::OpenMetrics => openmetrics::encode(&mut written, &registry),
    };
    debug_assert!(done.is_ok(), "writing to a string does not fail");
    written
}

/// A service that answers a scrape with [`metrics`], to be mounted in an application's router or on a listener of its own.
///
/// To be scraped until the end of a drain, it belongs on a listener that [stays](crate::Serve::inner), or on [`admin`](crate::admin).
///
/// # Examples
/// ```
/// # fn app(life: &lameduck::Lifecycle) -> axum::Router {
/// axum::Router::new().route_service("/metrics", lameduck_http::metrics_route(life))
/// # }
/// ```
#[must_use]
pub fn metrics_route(life: &Lifecycle) -> MetricsRoute {
    MetricsRoute {
        life: life.clone(),
        beside: Vec::new(),
    }
}

/// The service that [`metrics_route`] makes.
#[derive(Clone, Debug)]
pub struct MetricsRoute {
    life: Lifecycle,
    beside: Vec<Beside>,
}

impl<B> Service<Request<B>> for MetricsRoute {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(answer(&self.life, &self.beside, request.headers())))
    }
}

/// `/metrics` for the [`admin`](crate::admin) listener, which answers until `Stopped`.
///
/// # Examples
/// ```no_run
/// # async fn run(life: lameduck::Lifecycle) -> Result<(), lameduck_http::ServeError> {
/// lameduck_http::admin(&life, "127.0.0.1:9090")
///     .route(lameduck_http::admin_metrics())
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn admin_metrics() -> AdminRoute {
    route_beside(Vec::new())
}

fn route_beside(beside: Vec<Beside>) -> AdminRoute {
    AdminRoute::get("/metrics", move |request| {
        ready(answer(request.life(), &beside, request.headers()).map(Bytes::from))
    })
}

/// The answer to a scrape, in the format that it prefers.
fn answer(life: &Lifecycle, beside: &[Beside], headers: &HeaderMap) -> Response<String> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = accept.map_or_else(MetricsFormat::default, MetricsFormat::accepted);
    let mut response = text(StatusCode::OK, write(life, beside, format));
    let content_type = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heavier_format_is_chosen_and_plain_text_where_nothing_is_said() {
        for (accept, format) in [
            ("", MetricsFormat::Prometheus),
            ("*/*", MetricsFormat::Prometheus),
            ("application/openmetrics-text", MetricsFormat::OpenMetrics),
            (
                "text/plain;q=0.9, Application/OpenMetrics-Text; version=1.0.0; q=0.5",
                MetricsFormat::Prometheus,
            ),
            (
                "application/openmetrics-text;q=0",
                MetricsFormat::Prometheus,
            ),
            (
                "application/openmetrics-text;q=much",
                MetricsFormat::Prometheus,
            ),
        ] {
            assert_eq!(MetricsFormat::accepted(accept), format, "{accept}");
        }
    }
}
