//! One plan: how long there is, and what is done with it. Computed once, never renegotiated.

use core::{fmt, time::Duration};

use super::Preset;

/// The lame-duck window: how long a service keeps accepting and serving after it was told to stop.
///
/// It ends when no counted request came for `quiet` (or five mean gaps of the last minute, whichever is longer), not before `floor`, not after `ceiling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "three numbers are what a window is"
)]
pub struct Window {
    /// The least time from the request to the end of admission.
    pub floor: Duration,
    /// How long no counted request must have come.
    pub quiet: Duration,
    /// The most time from the request to the end of admission.
    pub ceiling: Duration,
}

impl Window {
    /// No window: admission closes at once, as the seed's literal machine has it.
    pub const NONE: Self = Self {
        floor: Duration::ZERO,
        quiet: Duration::ZERO,
        ceiling: Duration::ZERO,
    };

    /// A window of these three durations.
    #[must_use]
    pub const fn new(floor: Duration, quiet: Duration, ceiling: Duration) -> Self {
        Self {
            floor,
            quiet,
            ceiling,
        }
    }

    /// What of it fits into a grace period: floor ≤ 20 % and ceiling ≤ 45 % of that, and both end before the drain does.
    pub(super) fn within(self, grace: Duration) -> Self {
        let ceiling = self
            .ceiling
            .min(grace.saturating_mul(9) / 20)
            .min(drain_end_of(grace));
        Self {
            floor: self.floor.min(grace / 5).min(ceiling),
            quiet: self.quiet,
            ceiling,
        }
    }

    /// Whether admission closes at once.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.ceiling.is_zero()
    }
}

/// What happens to a request whose first byte comes after the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Late {
    /// It is served, with `Connection: close`.
    #[default]
    Serve,
    /// It is refused: 503, `Retry-After`, `Connection: close`.
    Refuse,
}

impl Late {
    /// One lower-case word: `serve` or `refuse`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Refuse => "refuse",
        }
    }
}

impl Repeat {
    /// One lower-case word: `record` or `escalate`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Escalate => "escalate",
        }
    }
}

/// What a termination signal means that comes after the merge interval of the last counted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Repeat {
    /// It is written down and changes nothing. A second SIGINT typed at a terminal cuts all the same.
    #[default]
    Record,
    /// The second SIGTERM ends the window, the third cuts; the second SIGINT cuts.
    Escalate,
}

/// How long there is from the stop signal to SIGKILL, and how it is spent.
///
/// ```text
/// T                                    drain end          deadline     grace
/// |-- window --|-------- drain ------------|---- reserve ----|- margin -|
/// ```
///
/// `margin` = clamp(5 % of grace, 0.5 s, 2 s) and `reserve` = clamp(10 % of grace, 1 s, 5 s) unless set.
///
/// # Examples
/// ```
/// use lameduck::{Plan, Preset};
/// use std::time::Duration;
///
/// let plan = Plan::preset(Preset::Kubernetes);
/// assert_eq!(plan.grace(), Duration::from_secs(25));
/// assert_eq!(plan.deadline(), Duration::from_millis(23_750));
/// assert_eq!(plan.drain_end(), Duration::from_millis(21_250));
///
/// let error = Plan::preset(Preset::Local).with_grace(Duration::from_millis(300)).unwrap_err();
/// assert!(error.to_string().contains("300ms"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    preset: Preset,
    grace: Duration,
    margin: Duration,
    reserve: Duration,
    window: Window,
    late: Late,
    repeat: Repeat,
    forced_exit_code: Option<u8>,
}

impl Plan {
    /// The least grace period that leaves anything after margin and reserve.
    pub const LEAST_GRACE: Duration = Duration::from_millis(1_600);

    /// The plan of a platform preset; see [`Preset`] for the numbers and their sources.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let grace = preset.grace();
        let mut plan = Self {
            preset,
            grace,
            margin: margin_of(grace),
            reserve: reserve_of(grace),
            window: preset.window(),
            late: Late::default(),
            repeat: preset.repeat(),
            forced_exit_code: None,
        };
        plan.window = preset.window_within(grace);
        plan
    }

    /// The same plan with another grace period. A smaller one than the preset's scales the preset's window: floor at most 20 %, ceiling at most 45 % of it.
    ///
    /// # Errors
    /// [`PlanError::GraceTooShort`] if nothing is left after margin and reserve.
    pub fn with_grace(mut self, grace: Duration) -> Result<Self, PlanError> {
        let own_window = self.window != self.preset.window_within(self.grace);
        self.grace = grace;
        self.margin = margin_of(grace);
        self.reserve = reserve_of(grace);
        if !own_window {
            self.window = self.preset.window_within(grace);
        }
        self.checked()
    }

    /// The same plan for a shutdown that has less time: a shorter grace period, at least [`LEAST_GRACE`](Self::LEAST_GRACE), and of the window what
    /// fits into it: floor at most 20 %, ceiling at most 45 % of it. A grace period that is not shorter changes nothing, so no deadline ever moves
    /// back.
    ///
    /// # Examples
    /// ```
    /// use lameduck::{Plan, Preset};
    /// use std::time::Duration;
    ///
    /// let plan = Plan::preset(Preset::Kubernetes);
    /// let hurried = plan.clone().shortened(Duration::from_secs(10));
    /// assert_eq!(hurried.deadline(), Duration::from_millis(9_500));
    /// assert_eq!(plan.clone().shortened(Duration::from_secs(600)), plan);
    /// ```
    #[must_use]
    pub fn shortened(mut self, grace: Duration) -> Self {
        let grace = grace.max(Self::LEAST_GRACE);
        if grace >= self.grace {
            return self;
        }
        self.grace = grace;
        self.margin = margin_of(grace);
        self.reserve = reserve_of(grace);
        self.window = self.window.within(grace);
        self
    }

    /// The same plan with another window.
    ///
    /// # Errors
    /// [`PlanError::WindowInverted`] if the floor is above the ceiling, [`PlanError::WindowTooLong`] if the ceiling does not fit before the drain ends.
    pub fn with_window(mut self, window: Window) -> Result<Self, PlanError> {
        self.window = window;
        self.checked()
    }

    /// The same plan with another policy for late requests.
    #[must_use]
    pub const fn with_late(mut self, late: Late) -> Self {
        self.late = late;
        self
    }

    /// The same plan with another policy for repeated signals.
    #[must_use]
    pub const fn with_repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// The same plan with another exit code for [`Outcome::Forced`](super::Outcome::Forced).
    #[must_use]
    pub const fn with_forced_exit_code(mut self, code: u8) -> Self {
        self.forced_exit_code = Some(code);
        self
    }

    fn checked(self) -> Result<Self, PlanError> {
        if self.grace < Self::LEAST_GRACE {
            return Err(PlanError::GraceTooShort {
                grace: self.grace,
                margin: self.margin,
                reserve: self.reserve,
            });
        }
        if self.window.floor > self.window.ceiling {
            return Err(PlanError::WindowInverted {
                floor: self.window.floor,
                ceiling: self.window.ceiling,
            });
        }
        if self.window.ceiling > self.drain_end() {
            return Err(PlanError::WindowTooLong {
                ceiling: self.window.ceiling,
                drain_end: self.drain_end(),
            });
        }
        Ok(self)
    }

    /// The preset that the plan began with.
    #[must_use]
    pub const fn origin(&self) -> Preset {
        self.preset
    }

    /// From the stop signal to SIGKILL, after any preStop.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        self.grace
    }

    /// What is kept between the deadline and SIGKILL.
    #[must_use]
    pub const fn margin(&self) -> Duration {
        self.margin
    }

    /// What is kept for stop hooks before the deadline.
    #[must_use]
    pub const fn reserve(&self) -> Duration {
        self.reserve
    }

    /// From the stop signal to the instant at which the process is gone, whatever happens (INV-2).
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.grace.saturating_sub(self.margin)
    }

    /// From the stop signal to the instant at which stragglers are ended and named.
    #[must_use]
    pub const fn drain_end(&self) -> Duration {
        self.deadline().saturating_sub(self.reserve)
    }

    /// The lame-duck window.
    #[must_use]
    pub const fn window(&self) -> Window {
        self.window
    }

    /// The policy for late requests.
    #[must_use]
    pub const fn late(&self) -> Late {
        self.late
    }

    /// The policy for repeated signals.
    #[must_use]
    pub const fn repeat(&self) -> Repeat {
        self.repeat
    }

    /// The exit code of a forced end, where it is set.
    #[must_use]
    pub const fn forced_exit_code(&self) -> Option<u8> {
        self.forced_exit_code
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: grace {:?}, window {:?}/{:?}/{:?} (floor/quiet/ceiling), drain ends at {:?}, deadline {:?}",
            self.preset,
            self.grace,
            self.window.floor,
            self.window.quiet,
            self.window.ceiling,
            self.drain_end(),
            self.deadline()
        )
    }
}

fn margin_of(grace: Duration) -> Duration {
    (grace / 20).clamp(Duration::from_millis(500), Duration::from_secs(2))
}

/// Where the drain ends with this grace period.
fn drain_end_of(grace: Duration) -> Duration {
    grace
        .saturating_sub(margin_of(grace))
        .saturating_sub(reserve_of(grace))
}

fn reserve_of(grace: Duration) -> Duration {
    (grace / 10).clamp(Duration::from_secs(1), Duration::from_secs(5))
}

/// A plan that cannot be kept; the message names the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// Nothing is left of the grace period after margin and reserve.
    GraceTooShort {
        /// The grace period asked for.
        grace: Duration,
        /// The margin it must hold.
        margin: Duration,
        /// The reserve it must hold.
        reserve: Duration,
    },
    /// The floor is above the ceiling.
    WindowInverted {
        /// The floor asked for.
        floor: Duration,
        /// The ceiling asked for.
        ceiling: Duration,
    },
    /// The ceiling comes after the end of the drain.
    WindowTooLong {
        /// The ceiling asked for.
        ceiling: Duration,
        /// Where the drain ends.
        drain_end: Duration,
    },
    /// A platform that has no long-lived server to drain.
    NoServer {
        /// The platform.
        preset: Preset,
    },
    /// A variable or option that does not say what it should.
    Unreadable {
        /// The variable's or option's name.
        name: &'static str,
        /// What it held.
        value: String,
        /// What it takes.
        takes: &'static str,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GraceTooShort {
                grace,
                margin,
                reserve,
            } => write!(
                f,
                "a grace period of {grace:?} leaves no time to drain: {margin:?} margin and {reserve:?} reserve are kept back; give at least {:?}",
                Plan::LEAST_GRACE
            ),
            Self::WindowInverted { floor, ceiling } => {
                write!(
                    f,
                    "the window's floor ({floor:?}) is above its ceiling ({ceiling:?})"
                )
            }
            Self::WindowTooLong { ceiling, drain_end } => write!(
                f,
                "the window may last {ceiling:?}, but the drain ends {drain_end:?} after the signal; shorten the ceiling or lengthen the grace period"
            ),
            Self::NoServer { preset } => {
                write!(
                    f,
                    "on {preset} no server outlives a request, so there is nothing to drain"
                )
            }
            Self::Unreadable { name, value, takes } => write!(f, "{name}={value:?} is not {takes}"),
        }
    }
}

impl std::error::Error for PlanError {}
