//! The numbers of clients, beside those of their service (features `metrics` and `client`).

use std::fmt;
use std::sync::Arc;

use lameduck::Lifecycle;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::collect::{Labels, Page, labels};
use super::{Beside, MetricsFormat, MetricsRoute, route_beside, write};
use crate::client::{Client, ClientFigures};
use crate::side::AdminRoute;

/// [`metrics`](crate::metrics) with the numbers of these clients.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lameduck::{Lifecycle, Plan, Preset};
/// use lameduck_http::{MetricsFormat, client::Client, metrics_with};
///
/// let life = Lifecycle::embedded(Plan::preset(Preset::Local))?;
/// let client = Client::builder(&life).name("inventory").build()?;
/// let text = metrics_with(&life, [&client], MetricsFormat::Prometheus);
/// assert!(text.contains(r#"lameduck_client_connections{client="inventory",use="idle"} 0"#));
/// # Ok(()) }
/// ```
pub fn metrics_with<'a>(
    life: &Lifecycle,
    clients: impl IntoIterator<Item = &'a Client>,
    format: MetricsFormat,
) -> String {
    write(life, &[beside(clients)], format)
}

/// [`admin_metrics`](crate::admin_metrics) with the numbers of these clients.
pub fn admin_metrics_with<'a>(clients: impl IntoIterator<Item = &'a Client>) -> AdminRoute {
    route_beside(vec![beside(clients)])
}

impl MetricsRoute {
    /// Shows the numbers of these clients as well, in the place of those that were named before.
    #[must_use]
    pub fn with_clients<'a>(mut self, clients: impl IntoIterator<Item = &'a Client>) -> Self {
        self.beside = vec![beside(clients)];
        self
    }
}

/// One collector for all of them: a family stands once on a page.
fn beside<'a>(clients: impl IntoIterator<Item = &'a Client>) -> Beside {
    let clients: Vec<_> = clients.into_iter().cloned().collect();
    Beside(Arc::new(move || {
        let scraped = clients.iter();
        let scraped = scraped.map(|client| (client.name().to_owned(), client.snapshot()));
        Box::new(Clients(scraped.collect()))
    }))
}

/// The figures of one scrape, by the client's name.
#[derive(Debug)]
struct Clients(Vec<(String, ClientFigures)>);

/// A figure that is told apart by a label.
type Kind = (&'static str, fn(&ClientFigures) -> u64);

impl Clients {
    /// A row for each client and each of these kinds.
    fn rows<const N: usize>(
        &self,
        label: &'static str,
        kinds: [Kind; N],
    ) -> impl Iterator<Item = (Labels, u64)> {
        let each = self.0.iter();
        each.flat_map(move |(name, figures)| {
            kinds.map(|(kind, of)| (labels([("client", name), (label, kind)]), of(figures)))
        })
    }

    fn plain(&self, of: fn(&ClientFigures) -> u64) -> impl Iterator<Item = (Labels, u64)> {
        let each = self.0.iter();
        each.map(move |(name, figures)| (labels([("client", name)]), of(figures)))
    }
}

impl Collector for Clients {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.requests(&mut page)?;
        self.connections(&mut page)?;
        self.retries(&mut page)
    }
}

impl Clients {
    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauges(
            "lameduck_client_requests_pending",
            "Requests of a client: waiting for a connection, or in flight until their response is read",
            self.rows(
                "state",
                [
                    ("waiting", |figures| figures.waiting as u64),
                    ("in_flight", |figures| figures.in_flight as u64),
                ],
            ),
        )?;
        page.counters(
            "lameduck_client_requests",
            "Requests of a client that began",
            self.plain(|figures| figures.requests),
        )?;
        page.counters(
            "lameduck_client_requests_refused",
            "Requests of a client that got no connection, by why",
            self.rows(
                "reason",
                [
                    ("too_many_waiting", |figures| figures.refused_full),
                    ("waited_too_long", |figures| figures.refused_late),
                    ("stopped", |figures| figures.refused_stopped),
                ],
            ),
        )
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauges(
            "lameduck_client_connections",
            "Connections of a client: idle, or in use, which they are while they open and close, too",
            self.rows(
                "use",
                [
                    ("idle", |figures| figures.idle as u64),
                    ("busy", |figures| (figures.open - figures.idle) as u64),
                ],
            ),
        )?;
        page.counters(
            "lameduck_client_connections_opened",
            "Connections of a client that came about",
            self.plain(|figures| figures.opened),
        )?;
        let each = self.0.iter();
        let closed = each.flat_map(|(name, figures)| {
            let all = figures.closed.iter();
            all.map(move |(by, count)| {
                (labels([("client", name), ("reason", by.as_str())]), *count)
            })
        });
        page.counters(
            "lameduck_client_connections_closed",
            "Connections of a client that ended, by why",
            closed,
        )
    }

    fn retries(&self, page: &mut Page<'_>) -> fmt::Result {
        let each = self.0.iter();
        let retries = each.flat_map(|(name, figures)| {
            let all = figures.retries.iter();
            all.map(move |(why, count)| {
                (labels([("client", name), ("reason", why.as_str())]), *count)
            })
        });
        page.counters(
            "lameduck_client_retries",
            "Requests of a client that were sent once more, by why",
            retries,
        )?;
        page.counters(
            "lameduck_client_retries_denied",
            "Retries of a client that its budget did not allow",
            self.plain(|figures| figures.retries_denied),
        )
    }
}
