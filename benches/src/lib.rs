//! Load clients that count what a server loses when it is told to stop.
//!
//! Owns: the clients (raw sockets on one thread, a look before every write), the classification of how each request
//! ended, server processes under test, seeded plans; honest clients of the other protocols, and hostile peers. Shared by
//! the binaries `lost` (the four load modes, beside peers), `chaos` (random mixed load, random instants) and `adversary`
//! (one attack at a time, measured); `compare` serves the binary `peers` alone. Deliberately independent of `lameduck-verify` and of
//! every lameduck crate (only what is measured imports one: the micro-benchmarks, the binaries `signal`, `broadcast` and
//! `peer`): what judges must not share code with what is judged.
//! Not here: micro-benchmarks (`benches/`), the verdicts of the shutdown contract (`lameduck verify`).

pub mod compare;
pub mod descriptors;
pub mod engine;
pub mod honest;
pub mod hostile;
pub mod http1;
pub mod launch;
pub mod memory;
pub mod modes;
pub mod outcome;
pub mod plan;
pub mod rng;
pub mod round;
pub mod script;
pub mod server;
pub mod siege;
pub mod stats;
pub mod tally;
pub mod target;
mod wire;
