//! What the cluster and the audit of `lameduck-etcd`'s tests stand on, there as here: waits have a bound.

use std::future::Future;
use std::time::Duration;

pub(crate) const BOUND: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come within {BOUND:?}"))
}
