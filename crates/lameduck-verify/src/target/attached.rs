//! Owns a process that ran before us: seeing that it is there, signalling it, and seeing it end.
//! Never kills it: it is not ours.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::error::LaunchError;

/// A process by its id; on Linux by a descriptor that can not come to mean another one.
#[derive(Debug)]
pub(crate) struct Attached {
    id: libc::pid_t,
    handle: Option<OwnedFd>,
}

impl Attached {
    pub(crate) fn to(pid: u32) -> Result<Self, LaunchError> {
        let unknown = || LaunchError::NoProcess(pid);
        let id = libc::pid_t::try_from(pid).map_err(|_| unknown())?;
        // 0 and 1 would mean our group and the system.
        if id <= 1 {
            return Err(unknown());
        }
        // SAFETY: kill(2) takes numbers only; signal 0 only asks.
        if unsafe { libc::kill(id, 0) } != 0 {
            return Err(match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::EPERM) => LaunchError::NotAllowed(pid),
                _ => unknown(),
            });
        }
        Ok(Self {
            id,
            handle: handle(id),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.id.unsigned_abs()
    }

    pub(crate) fn signal(&self, number: i32) {
        // A reaped process leaves its id to others; the descriptor is asked first: readable means that it is gone.
        if !self.is_gone(Duration::ZERO) {
            // SAFETY: kill(2) takes numbers only.
            unsafe { libc::kill(self.id, number) };
        }
    }

    /// Waits for its end, for so long at most.
    pub(crate) fn is_gone(&self, wait: Duration) -> bool {
        let Some(handle) = &self.handle else {
            std::thread::park_timeout(wait);
            // SAFETY: kill(2) takes numbers only; signal 0 only asks.
            return unsafe { libc::kill(self.id, 0) } != 0
                && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
        };
        let mut entry = libc::pollfd {
            fd: handle.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let millis = libc::c_int::try_from(wait.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: one live entry.
        unsafe { libc::poll(&raw mut entry, 1, millis) > 0 }
    }
}

#[cfg(target_os = "linux")]
fn handle(id: libc::pid_t) -> Option<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just made it, for us alone.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(not(target_os = "linux"))]
fn handle(_: libc::pid_t) -> Option<OwnedFd> {
    None
}
