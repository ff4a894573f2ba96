//! lameduck beside its peers, figure by figure.
//!
//! Owns: the contenders and how they are started, the guests that watch them, what is measured and how it is told.
//! Used by the binary `peers` alone. Not here: lost requests (`lost`), micro-benchmarks (`benches/micro`).

pub mod baseline;
pub mod callgrind;
pub mod contender;
pub mod crowd;
pub mod figures;
pub mod goals;
pub mod link;
pub mod listener;
pub mod machine;
pub mod page;
pub mod plot;
pub mod record;
pub mod speech;
