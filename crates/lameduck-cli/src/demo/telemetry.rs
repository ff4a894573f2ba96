//! Where the demo says what happens, beside its report: lines on stderr, and an OpenTelemetry collector.

use lameduck::{Lifecycle, Tracing};
use lameduck_http::MetricsFormat;
use lameduck_otlp::{BadOtlp, Otlp, OtlpObserver};

use crate::args::{DemoArguments, LogArgument};

/// From the flag, else from the variables.
pub(super) fn otlp(arguments: &DemoArguments) -> Result<Option<Otlp>, BadOtlp> {
    let otlp = match &arguments.otlp {
        Some(endpoint) => Some(Otlp::to(endpoint)?.with_env()?),
        None => Otlp::from_env()?,
    };
    if let Some(otlp) = &otlp {
        otlp.check()?;
    }
    Ok(otlp)
}

pub(super) fn exporter(life: &Lifecycle, otlp: Otlp) -> Result<OtlpObserver, BadOtlp> {
    let metered = life.clone();
    otlp.metrics(move || lameduck_http::metrics(&metered, MetricsFormat::OpenMetrics))
        .observer(life)
}

/// Lines on stderr, of this program and of the libraries that it is made of.
pub(super) fn log(form: LogArgument) {
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match form {
        LogArgument::Text => lines.init(),
        LogArgument::Json => lines.json().init(),
    }
}

pub(super) fn logger(life: &Lifecycle) -> Tracing {
    Tracing::new(life.drain_id())
}
