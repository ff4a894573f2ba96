//! Signals as records: which, how it was sent, by whom.

use core::fmt;

/// A signal that lameduck gives a meaning to.
///
/// The order is the priority in which signals found together are handled: `Quit` first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGQUIT: write a dump, then die by it.
    Quit,
    /// SIGTERM: terminate.
    Term,
    /// SIGINT: terminate.
    Int,
    /// SIGHUP: reload the configuration.
    Hup,
    /// SIGUSR2: reserved for hand-over; opt-in.
    Usr2,
    /// SIGUSR1: status and a dump; opt-in.
    Usr1,
}

impl Signal {
    #[cfg(feature = "signals")]
    pub(crate) const ALL: [Self; 6] = [
        Self::Quit,
        Self::Term,
        Self::Int,
        Self::Hup,
        Self::Usr2,
        Self::Usr1,
    ];

    /// The name with its prefix, such as `SIGTERM`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quit => "SIGQUIT",
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
            Self::Hup => "SIGHUP",
            Self::Usr2 => "SIGUSR2",
            Self::Usr1 => "SIGUSR1",
        }
    }

    /// The signal's number on Linux x86-64 and aarch64 (signal(7)); the same on every POSIX system for the first four.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Quit => 3,
            Self::Usr1 => 10,
            Self::Usr2 => 12,
            Self::Term => 15,
        }
    }

    /// Whether this signal asks the process to terminate.
    #[must_use]
    pub const fn terminates(self) -> bool {
        matches!(self, Self::Term | Self::Int)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a signal was generated (`si_code`, sigaction(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SignalCode {
    /// `SI_USER`: kill(2).
    User,
    /// `SI_QUEUE`: sigqueue(3).
    Queue,
    /// `SI_TKILL`: raise(3), tgkill(2).
    Thread,
    /// `SI_KERNEL`: the kernel itself, among others a key typed at a terminal.
    Kernel,
    /// Any other value.
    Other(i32),
}

impl SignalCode {
    /// The code for a raw `si_code` of Linux.
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        match raw {
            0 => Self::User,
            -1 => Self::Queue,
            -6 => Self::Thread,
            0x80 => Self::Kernel,
            other => Self::Other(other),
        }
    }

    /// Whether `si_pid` and `si_uid` mean something with this code.
    #[must_use]
    pub const fn names_sender(self) -> bool {
        matches!(self, Self::User | Self::Queue | Self::Thread)
    }
}

impl fmt::Display for SignalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("SI_USER"),
            Self::Queue => f.write_str("SI_QUEUE"),
            Self::Thread => f.write_str("SI_TKILL"),
            Self::Kernel => f.write_str("SI_KERNEL"),
            Self::Other(raw) => write!(f, "si_code {raw}"),
        }
    }
}

/// Who sent a signal, as far as it can be known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sender {
    /// A process; its name where `/proc` still told it.
    Process {
        /// The sender's process id.
        pid: u32,
        /// The sender's real user id.
        uid: u32,
        /// The sender's command name (at most 15 bytes, proc(5)), or why it is not known.
        comm: Result<String, SenderUnknown>,
    },
    /// The signal came from this very process.
    Itself,
    /// A key typed at the controlling terminal, or the kernel for another reason.
    Kernel,
    /// The sender is outside this pid namespace (`si_pid` 0): a container runtime or kubelet.
    OutsideNamespace,
    /// The code says nothing about a sender.
    Unknown,
}

/// Why a sender's name is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SenderUnknown {
    /// The sender had exited when it was looked up.
    Exited,
    /// The process with that id started after the signal arrived.
    PidReused,
    /// `/proc` could not be read.
    Unreadable,
}

impl fmt::Display for SenderUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exited => "sender exited",
            Self::PidReused => "pid reused",
            Self::Unreadable => "/proc unreadable",
        })
    }
}

/// What kind of sender a signal had: a word with few values, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SenderClass {
    /// Another process of this pid namespace.
    Process,
    /// This very process.
    Itself,
    /// The kernel, among others for a key typed at a terminal.
    Kernel,
    /// Somebody outside this pid namespace: a container runtime or kubelet.
    OutsideNamespace,
    /// Nobody can tell.
    Unknown,
}

impl SenderClass {
    #[cfg(feature = "signals")]
    pub(crate) const ALL: [Self; 5] = [
        Self::Process,
        Self::Itself,
        Self::Kernel,
        Self::OutsideNamespace,
        Self::Unknown,
    ];

    /// One lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Itself => "self",
            Self::Kernel => "kernel",
            Self::OutsideNamespace => "outside-namespace",
            Self::Unknown => "unknown",
        }
    }
}

impl Sender {
    /// What kind of sender it is.
    #[must_use]
    pub const fn class(&self) -> SenderClass {
        match self {
            Self::Process { .. } => SenderClass::Process,
            Self::Itself => SenderClass::Itself,
            Self::Kernel => SenderClass::Kernel,
            Self::OutsideNamespace => SenderClass::OutsideNamespace,
            Self::Unknown => SenderClass::Unknown,
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process {
                pid,
                uid,
                comm: Ok(comm),
            } => write!(f, "pid {pid} ({comm}), uid {uid}"),
            Self::Process {
                pid,
                uid,
                comm: Err(why),
            } => write!(f, "pid {pid} ({why}), uid {uid}"),
            Self::Itself => f.write_str("this process"),
            Self::Kernel => f.write_str("the kernel (a key at the terminal, for example)"),
            Self::OutsideNamespace => {
                f.write_str("outside this pid namespace (container runtime or kubelet)")
            }
            Self::Unknown => f.write_str("an unknown sender"),
        }
    }
}

/// One received signal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SignalRecord {
    /// Which signal.
    pub signal: Signal,
    /// How it was generated.
    pub code: SignalCode,
    /// Who sent it.
    pub sender: Sender,
}

impl SignalRecord {
    /// A record of these parts.
    #[must_use]
    pub const fn new(signal: Signal, code: SignalCode, sender: Sender) -> Self {
        Self {
            signal,
            code,
            sender,
        }
    }

    /// Whether it was typed at a terminal: generated by the kernel, and one of the keys' signals.
    #[must_use]
    pub const fn is_typed(&self) -> bool {
        matches!(self.code, SignalCode::Kernel) && matches!(self.signal, Signal::Int | Signal::Quit)
    }
}
