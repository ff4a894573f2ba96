//! tower layers of this crate.

mod expose;

pub use expose::{ExposeDrain, ExposeDrainService};
