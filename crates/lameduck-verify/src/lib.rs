//! Does a service lose requests when it is told to stop? A black-box tester for graceful shutdown.
//!
//! It starts a service as a child process, talks to it over raw sockets so that every byte, FIN and RST is seen with
//! its time, sends it the stop signal, and names what became of each request. What is owed is the shutdown contract;
//! [`list`] shows the part of it that this version checks.
//!
//! ```no_run
//! use lameduck_verify::{FailOn, Style, TargetSpec, verify};
//!
//! let target = TargetSpec::command(["python3", "-m", "http.server", "{port}"]);
//! let report = verify(target).rounds(5).run()?;
//! println!("{}", report.render_text(Style::plain()));
//! assert_eq!(report.exit_code(FailOn::Loss), 1);
//! # Ok::<(), lameduck_verify::VerifyError>(())
//! ```
//!
//! It blocks, uses threads and `poll(2)`, and needs no async runtime. It depends on no other lameduck crate: our own
//! server is judged from outside like any other.

mod catalogue;
mod declared;
mod front;
mod observe;
mod options;
mod profile;
mod protocol;
mod render;
mod scenario;
mod survey;
mod target;
mod verdict;
mod verification;

pub use catalogue::{
    CheckInfo, Checked, Class, Fix, ServerKind, UnknownServer, check, contract_page,
    contract_table, fix, fixes, list, nearest_id,
};
pub use declared::{
    Authorities, BadAuthorities, ControlSocket, Interrupt, LatePolicy, Reload, TlsTrust, Waiver,
};
pub use front::{
    ExitSeen, Front, FrontInfo, FrontView, GraceReport, PlatformFit, Retry, Rollout, UnknownFront,
    fronts,
};
pub use observe::outcome::{Outcome, Tally};
pub use options::{
    DrainSignal, Driven, Farewell, Options, Progress, RepeatPolicy, Stop, StopSignal, TargetSpec,
    UnknownSignal,
};
pub use profile::{Profile, ProfileError};
pub use protocol::{GrpcCall, Protocol, UnknownProtocol};
pub use render::{Colour, Style, harmless, printable};
pub use scenario::rollout;
pub use survey::Survey;
pub use target::{LaunchError, VerifyError, kin::abandon};
pub use verdict::{
    Bucket, Change, Comparison, Connection, ExitReport, FailOn, Figure, Finding, Instrument,
    LaneEvent, MAX_SAMPLES, Mark, Output, PhaseSpan, Phases, Rate, ReadError, Report, Sample,
    Series, SignalReport, Spread, StopLoss, TargetReport, Trend, Verdict, WriteLateness,
    interval_95, one_in, upper_bound_95,
};
pub use verification::{Verification, verify};
