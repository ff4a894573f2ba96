//! The five phases, in the only order in which they can be entered.

use core::fmt;

/// Where a process stands on its way from start to exit.
///
/// Phases only advance (INV-1); `Initializing` may go straight to `Terminating`.
///
/// # Examples
/// ```
/// use lameduck::Phase;
/// assert!(Phase::Running < Phase::Terminating);
/// assert!(!Phase::Running.is_leaving());
/// assert_eq!(Phase::Draining.to_string(), "Draining");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(
    clippy::exhaustive_enums,
    reason = "five phases are the contract; a sixth would be another machine"
)]
pub enum Phase {
    /// The process starts; nothing is admitted yet.
    Initializing = 0,
    /// Everything is ready and served.
    Running = 1,
    /// A termination was requested: still accepting and serving, clients are asked to go elsewhere.
    Terminating = 2,
    /// Admission is closed; what is in flight completes.
    Draining = 3,
    /// Nothing is in flight; stop hooks run, then the process exits.
    Stopped = 4,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 5] = [
        Self::Initializing,
        Self::Running,
        Self::Terminating,
        Self::Draining,
        Self::Stopped,
    ];

    /// Whether a termination request was made: `Terminating` or later.
    #[must_use]
    pub const fn is_leaving(self) -> bool {
        self as u8 >= Self::Terminating as u8
    }

    /// The phase's name, as it stands in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "Initializing",
            Self::Running => "Running",
            Self::Terminating => "Terminating",
            Self::Draining => "Draining",
            Self::Stopped => "Stopped",
        }
    }

    /// The phase with this discriminant; anything above `Stopped` is `Stopped`.
    #[must_use]
    pub const fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Initializing,
            1 => Self::Running,
            2 => Self::Terminating,
            3 => Self::Draining,
            _ => Self::Stopped,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
