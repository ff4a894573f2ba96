//! Owns the process that stands between us and a target: it adopts what the target leaves behind (a child subreaper), or
//! is outside of a pid namespace in which the target is PID 1; and it ends all of that when it is told to, or when we are
//! gone, however we went.
//! Not: what becomes of the target, which is watched like any other.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub(crate) use linux::Armed;

/// Tells the process between to make an end of all that it keeps; it comes by itself when we die.
pub(super) const END: libc::c_int = libc::SIGTERM;

/// Who stands between us and a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ward {
    /// A parent that outlives it as long as anything lives that it started; where the system has none, nobody.
    #[default]
    Keeps,
    /// The same, and without one there is no launch.
    Adopts,
    /// A parent outside of a pid namespace of its own: the target is PID 1.
    FirstProcess,
}

/// What a refused namespace is called in [`VerifyError::Machine`](super::VerifyError::Machine).
pub(crate) const NO_NAMESPACE: &str = "make a pid namespace";

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::process::Command;

    use super::Ward;
    use crate::target::{Ending, VerifyError};

    /// Nobody stands between on this system.
    #[derive(Debug)]
    pub(crate) enum Armed {}

    impl Armed {
        pub(crate) fn arm(ward: Ward, _: &mut Command) -> Result<Option<Self>, VerifyError> {
            if ward == Ward::Keeps {
                return Ok(None);
            }
            let error = std::io::Error::from(std::io::ErrorKind::Unsupported);
            Err(VerifyError::Machine(super::NO_NAMESPACE, error))
        }

        pub(crate) fn begun(&mut self) -> Result<Option<u32>, VerifyError> {
            match *self {}
        }

        pub(crate) fn await_end(self) -> Option<Ending> {
            match self {}
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Armed;
