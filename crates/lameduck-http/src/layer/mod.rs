//! tower layers of this crate.

mod end_streams;
mod expose;
mod snapshot;

pub use end_streams::{EndStreams, EndStreamsFuture, EndStreamsService};
pub use expose::{ExposeDrain, ExposeDrainService};
pub use snapshot::{HealthSnapshot, SnapshotHealth, SnapshotHealthFuture, SnapshotHealthService};
