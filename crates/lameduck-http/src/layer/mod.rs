//! tower layers of this crate.

mod end_streams;
mod expose;

pub use end_streams::{EndStreams, EndStreamsFuture, EndStreamsService};
pub use expose::{ExposeDrain, ExposeDrainService};
