//! A lifecycle within a test, and waits with a bound.

use std::time::Duration;

use lameduck::{Lifecycle, Plan, Preset, Window};

/// Far beyond what any wait here takes; a wait that reaches it has failed.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// No window, and a grace period that no test reaches.
pub(crate) fn begin() -> Lifecycle {
    let plan = Plan::preset(Preset::Systemd)
        .with_window(Window::NONE)
        .expect("a plan that can be kept");
    Lifecycle::embedded(plan).expect("a driver")
}

pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come within {BOUND:?}"))
}

pub(crate) async fn running(life: &Lifecycle) {
    life.ready();
    assert!(within("Running", life.running()).await);
}
