//! Signals by number: what they are called, and which a program may take.

use core::fmt;
use std::error::Error;

use crate::vocab::Signal;

/// The signal's number on this system, which is not everywhere that of [`Signal::number`].
pub(crate) const fn number_of(signal: Signal) -> i32 {
    match signal {
        Signal::Quit => libc::SIGQUIT,
        Signal::Term => libc::SIGTERM,
        Signal::Int => libc::SIGINT,
        Signal::Hup => libc::SIGHUP,
        Signal::Usr2 => libc::SIGUSR2,
        Signal::Usr1 => libc::SIGUSR1,
    }
}

/// A signal that a program can take: an ordinary one, or a real-time one (`SIGRTMIN+n`, signal(7)).
///
/// Those that nobody can take well have no value of this type: SIGKILL and SIGSTOP, the faults of the running code, SIGABRT,
/// and the real-time signals that the C library keeps for itself (32 and 33, with musl 34 too).
///
/// # Examples
///
/// ```
/// use lameduck::{Signal, signals::Signo};
///
/// assert_eq!(Signo::from(Signal::Term), Signo::TERM);
/// assert_eq!(Signo::real_time(1)?.to_string(), "SIGRTMIN+1");
/// let refused = Signo::from_raw(9).unwrap_err();
/// assert_eq!(refused.to_string(), "signal 9 (SIGKILL) cannot be taken: the kernel does not ask the process");
/// # Ok::<(), lameduck::signals::SignoError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signo(u8);

macro_rules! ordinary {
    ($($(#[$doc:meta])* $name:ident = $libc:ident;)*) => {
        impl Signo {
            $($(#[$doc])* pub const $name: Self = Self::known(libc::$libc);)*
        }
        /// The names of the ordinary signals.
        const NAMES: &[(Signo, &str)] = &[$((Signo::$name, stringify!($libc)),)*];
    };
}

ordinary! {
    /// SIGQUIT: with priority over the others.
    QUIT = SIGQUIT;
    /// SIGTERM.
    TERM = SIGTERM;
    /// SIGINT: a key at the terminal, usually.
    INT = SIGINT;
    /// SIGHUP.
    HUP = SIGHUP;
    /// SIGUSR2.
    USR2 = SIGUSR2;
    /// SIGUSR1.
    USR1 = SIGUSR1;
    /// SIGALRM: alarm(2), setitimer(2).
    ALRM = SIGALRM;
    /// SIGCHLD: a child ended, stopped or went on.
    CHLD = SIGCHLD;
    /// SIGCONT: go on after a stop. The process goes on whoever takes it.
    CONT = SIGCONT;
    /// SIGIO: a descriptor with `O_ASYNC` is ready.
    IO = SIGIO;
    /// SIGPIPE: a write to a pipe or socket without a reader. Rust programs ignore it from their start.
    PIPE = SIGPIPE;
    /// SIGPROF: the timer of a profiler.
    PROF = SIGPROF;
    /// SIGTSTP: stop, typed at the terminal.
    TSTP = SIGTSTP;
    /// SIGTTIN: a background process reads from the terminal.
    TTIN = SIGTTIN;
    /// SIGTTOU: a background process writes to the terminal.
    TTOU = SIGTTOU;
    /// SIGURG: out-of-band data on a socket.
    URG = SIGURG;
    /// SIGVTALRM: the timer of CPU time.
    VTALRM = SIGVTALRM;
    /// SIGWINCH: the terminal's window changed its size.
    WINCH = SIGWINCH;
    /// SIGXCPU: the soft limit of CPU time is reached.
    XCPU = SIGXCPU;
    /// SIGXFSZ: a file would grow above its limit.
    XFSZ = SIGXFSZ;
}

/// Why a number is refused, with the numbers it holds for.
const REFUSED: &[(i32, &str, Why)] = &[
    (libc::SIGKILL, "SIGKILL", Why::Uncatchable),
    (libc::SIGSTOP, "SIGSTOP", Why::Uncatchable),
    (libc::SIGSEGV, "SIGSEGV", Why::Fault),
    (libc::SIGBUS, "SIGBUS", Why::Fault),
    (libc::SIGFPE, "SIGFPE", Why::Fault),
    (libc::SIGILL, "SIGILL", Why::Fault),
    (libc::SIGTRAP, "SIGTRAP", Why::Fault),
    (libc::SIGSYS, "SIGSYS", Why::Fault),
    (libc::SIGABRT, "SIGABRT", Why::Abort),
];

impl Signo {
    const fn known(number: i32) -> Self {
        assert!(0 < number && number <= 64, "the systems' numbers are small");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked in the line above, at compile time"
        )]
        Self(number as u8)
    }

    /// The real-time signal `SIGRTMIN+nth`. The C library may keep the first numbers for itself; `nth` counts from the first
    /// that it leaves, so 0 to 30 exist with glibc, 0 to 29 with musl.
    ///
    /// Real-time signals queue: each that was sent arrives, with its value (up to `RLIMIT_SIGPENDING` a user; then the *sender*
    /// gets `EAGAIN`). Ordinary ones of a kind that wait together become one.
    ///
    /// # Errors
    ///
    /// There is no such signal on this system.
    pub fn real_time(nth: u32) -> Result<Self, SignoError> {
        let (first, last) = real_time();
        i32::try_from(nth)
            .ok()
            .and_then(|nth| first.checked_add(nth))
            .filter(|number| *number <= last)
            .map(Self::known)
            .ok_or(SignoError {
                number: i32::try_from(nth).map_or(i32::MAX, |nth| first.saturating_add(nth)),
                why: Why::Missing,
            })
    }

    /// The signal with this number on this system.
    ///
    /// # Errors
    ///
    /// It is no signal, or none that a program can take; the error says why.
    pub fn from_raw(number: i32) -> Result<Self, SignoError> {
        let (first, last) = real_time();
        let why = if let Some((_, _, why)) = REFUSED.iter().find(|(refused, ..)| *refused == number)
        {
            *why
        } else if NAMES.iter().any(|(known, _)| known.number() == number)
            || (first..=last).contains(&number)
        {
            return Ok(Self::known(number));
        } else if cfg!(target_os = "linux") && (32..first).contains(&number) {
            Why::Library
        } else if cfg!(target_os = "linux") && (1..32).contains(&number) {
            // The rest of Linux' ordinary signals: SIGSTKFLT, SIGPWR. They have no name here, and nothing against them.
            return Ok(Self::known(number));
        } else {
            Why::Missing
        };
        Err(SignoError { number, why })
    }

    /// The number on this system.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0 as i32
    }

    /// Whether it is a real-time signal: each that was sent arrives, and can carry a value.
    #[must_use]
    pub fn is_real_time(self) -> bool {
        let (first, last) = real_time();
        (first..=last).contains(&self.number())
    }

    /// The signal, if it is one that lameduck gives a meaning to.
    #[must_use]
    pub fn signal(self) -> Option<Signal> {
        const ALL: [Signal; 6] = [
            Signal::Quit,
            Signal::Term,
            Signal::Int,
            Signal::Hup,
            Signal::Usr2,
            Signal::Usr1,
        ];
        ALL.into_iter()
            .find(|signal| number_of(*signal) == self.number())
    }
}

impl From<Signal> for Signo {
    fn from(signal: Signal) -> Self {
        Self::known(number_of(signal))
    }
}

impl fmt::Display for Signo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, name)) = NAMES.iter().find(|(known, _)| known == self) {
            return f.write_str(name);
        }
        let (first, _) = real_time();
        match self.number() - first {
            0 => f.write_str("SIGRTMIN"),
            nth if nth > 0 => write!(f, "SIGRTMIN+{nth}"),
            _ => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first and the last real-time signal that the C library leaves to programs; an empty range where there are none.
#[cfg(target_os = "linux")]
fn real_time() -> (i32, i32) {
    (libc::SIGRTMIN(), libc::SIGRTMAX())
}

/// The first and the last real-time signal that the C library leaves to programs; an empty range where there are none.
#[cfg(not(target_os = "linux"))]
const fn real_time() -> (i32, i32) {
    (65, 64)
}

/// Why a number is no signal that a program can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignoError {
    number: i32,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Why {
    Uncatchable,
    Fault,
    Abort,
    Library,
    Missing,
}

impl SignoError {
    /// The number.
    #[must_use]
    pub const fn number(&self) -> i32 {
        self.number
    }
}

impl fmt::Display for SignoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signal {}", self.number)?;
        if let Some((_, name, _)) = REFUSED.iter().find(|(number, ..)| *number == self.number) {
            write!(f, " ({name})")?;
        }
        f.write_str(match self.why {
            Why::Uncatchable => " cannot be taken: the kernel does not ask the process",
            Why::Fault => {
                " cannot be taken: it says that the running code is at fault, which cannot go on until somebody reads it"
            }
            Why::Abort => " cannot be taken: abort(3) ends the process before anybody reads it",
            Why::Library => {
                " cannot be taken: the C library uses it for its threads; take SIGRTMIN or a higher one"
            }
            Why::Missing => " does not exist on this system",
        })
    }
}

impl Error for SignoError {}

/// A set of signals.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signos(u64);

impl Signos {
    pub(crate) const fn with(self, signo: Signo) -> Self {
        Self(self.0 | bit(signo))
    }

    pub(crate) const fn contains(self, signo: Signo) -> bool {
        self.0 & bit(signo) != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As the kernel writes sets: bit 0 is signal 1 (proc(5), `SigBlk`).
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The members, by number.
    pub(crate) fn iter(self) -> impl Iterator<Item = Signo> + use<> {
        (1..=64_u8)
            .map(Signo)
            .filter(move |signo| self.contains(*signo))
    }

    pub(crate) fn numbers(self) -> impl Iterator<Item = i32> + use<> {
        self.iter().map(Signo::number)
    }
}

const fn bit(signo: Signo) -> u64 {
    1 << (signo.0 - 1)
}

impl<S: Into<Signo>> FromIterator<S> for Signos {
    fn from_iter<I: IntoIterator<Item = S>>(signos: I) -> Self {
        signos
            .into_iter()
            .fold(Self::default(), |set, signo| set.with(signo.into()))
    }
}

impl fmt::Debug for Signos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_taken_is_refused_with_its_reason() {
        for (number, reason) in [
            (libc::SIGKILL, "does not ask"),
            (libc::SIGSTOP, "does not ask"),
            (libc::SIGSEGV, "at fault"),
            (libc::SIGBUS, "at fault"),
            (libc::SIGABRT, "abort(3)"),
            (0, "does not exist"),
            (-1, "does not exist"),
            (65, "does not exist"),
        ] {
            let error = Signo::from_raw(number).expect_err("refused");
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(error.number(), number);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_libraries_own_real_time_signals_are_refused() {
        for number in [32, 33] {
            let error = Signo::from_raw(number).expect_err("refused");
            assert!(
                error.to_string().contains("the C library uses it"),
                "{error}"
            );
        }
        let first = Signo::real_time(0).expect("there are some");
        assert_eq!(first.number(), libc::SIGRTMIN());
        assert!(first.is_real_time() && !Signo::USR1.is_real_time());
        let last = u32::try_from(libc::SIGRTMAX() - libc::SIGRTMIN()).expect("a range");
        assert_eq!(
            Signo::real_time(last).map(Signo::number),
            Ok(libc::SIGRTMAX())
        );
        assert!(Signo::real_time(last + 1).is_err() && Signo::real_time(u32::MAX).is_err());
    }

    #[test]
    fn every_taken_number_comes_back_with_its_name() {
        for (signo, name) in NAMES {
            assert_eq!(Signo::from_raw(signo.number()), Ok(*signo));
            assert_eq!(signo.to_string(), *name);
        }
        for signal in [Signal::Quit, Signal::Term, Signal::Usr1] {
            assert_eq!(Signo::from(signal).signal(), Some(signal));
        }
        assert_eq!(Signo::WINCH.signal(), None);
    }

    #[test]
    fn a_set_is_what_was_put_in() {
        let set: Signos = [Signo::USR1, Signo::HUP, Signo::USR1].into_iter().collect();
        assert!(set.iter().eq([Signo::HUP, Signo::USR1]));
        assert_eq!(
            set.bits(),
            1 << (libc::SIGUSR1 - 1) | 1 << (libc::SIGHUP - 1)
        );
        assert!(Signos::default().is_empty());
    }
}
