//! tower layers of this crate.

mod end_streams;
mod expose;
mod extent;
mod request_hooks;
mod snapshot;
mod truncate;

pub use end_streams::{EndStreams, EndStreamsFuture, EndStreamsService};
pub use expose::{ExposeDrain, ExposeDrainService};
pub use request_hooks::{
    EndedBy, HookRefused, HookedBody, OnEnd, RequestEnd, RequestHooks, RequestHooksFuture,
    RequestHooksService,
};
pub use snapshot::{HealthSnapshot, SnapshotHealth, SnapshotHealthFuture, SnapshotHealthService};
pub use truncate::{Truncate, TruncateFuture, TruncateService, TruncatedBody, Truncation};
