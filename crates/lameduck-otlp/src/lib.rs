//! A lifecycle as OpenTelemetry signals, over OTLP/HTTP with protobuf bodies: what happened as traces and logs, what was counted as
//! metrics. The `drain_id` of the lifecycle is the id of its trace and an attribute of everything.
//!
//! Everything is sent from threads of its own. While the process lives a collector that is slow or away costs a bounded queue, whose
//! losses are counted; at the end, after the last stop hook, the exit waits for what is left as long as [`Otlp::patience`] says and
//! never past the deadline.
//!
//! ```
//! use lameduck::{Lifecycle, Plan, Preset, Window};
//! use lameduck_otlp::Otlp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
//! // Nobody listens there: it is said on stderr, and costs the exit next to nothing.
//! let otlp = Otlp::to("http://127.0.0.1:9")?.service("shop").on_trouble(|_| {});
//! life.observe("otlp", otlp.observer(&life)?)?;
//! life.ready();
//! life.shutdown("the example is over");
//! let _ = life.wait();
//! # Ok(()) }
//! ```
//!
//! # What is sent
//!
//! | signal | what |
//! |---|---|
//! | traces | one for the drain, whose id is the `drain_id`: a root span from the request to the end, a span for each phase, for each participant from the request until it ended, and for each stop hook; signals, stragglers and answers as events. One for the life before (the same id with every bit turned), linked from the drain: `Initializing` with each participant's start, and `Running` once it is over |
//! | logs | one record for each [`Observed`](lameduck::Observed), with the trace that it belongs to |
//! | metrics | what [`Otlp::metrics`] hands over as OpenMetrics text, every interval and once more at the end |
//!
//! Times are those of the report: the system's clock when the process began, and the monotonic clock from there.

mod batch;
mod logs;
mod metrics;
mod observer;
mod once;
mod send;
mod settings;
mod traces;
mod wire;
mod worker;

pub use observer::OtlpObserver;
pub use once::{NotSent, Once};
pub use settings::{BadOtlp, Otlp};
