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
        let handle = match handle(id) {
            Ok(handle) => Some(handle),
            // It went away between the two questions.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(unknown()),
            // An older kernel, another system, or a sandbox: there is only the number.
            Err(_) => None,
        };
        Ok(Self { id, handle })
    }

    pub(crate) fn id(&self) -> u32 {
        self.id.unsigned_abs()
    }

    pub(crate) fn signal(&self, number: i32) {
        match &self.handle {
            // A reaped process leaves its id to others; the descriptor keeps meaning the one that it was made for.
            Some(handle) => send(handle, number),
            // SAFETY: kill(2) takes numbers only.
            None => unsafe {
                libc::kill(self.id, number);
            },
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
        // EINTR: not gone yet, its caller asks again.
        // SAFETY: one live entry.
        unsafe { libc::poll(&raw mut entry, 1, millis) > 0 }
    }
}

#[cfg(target_os = "linux")]
fn handle(id: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(target_os = "linux")]
fn send(handle: &OwnedFd, number: i32) {
    let (fd, nothing) = (handle.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: a live descriptor and numbers; without a siginfo_t it is sent as kill(2) sends it.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, nothing, 0) };
}

#[cfg(not(target_os = "linux"))]
fn handle(_: libc::pid_t) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn send(_: &OwnedFd, _: i32) {}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn it_is_signalled_and_seen_to_end_and_then_left_alone() {
        let mut process = Command::new("sleep").arg("600").spawn().unwrap();
        let attached = Attached::to(process.id()).unwrap();
        assert!(!attached.is_gone(Duration::ZERO));
        attached.signal(libc::SIGTERM);
        assert_eq!(process.wait().unwrap().signal(), Some(libc::SIGTERM));
        assert!(attached.is_gone(Duration::from_secs(30)));
        attached.signal(libc::SIGTERM);
        let again = Attached::to(process.id());
        assert!(matches!(again, Err(LaunchError::NoProcess(_))), "{again:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_id_of_nobody_gives_no_descriptor() {
        let mut process = Command::new("true").spawn().unwrap();
        let id = libc::pid_t::try_from(process.id()).unwrap();
        process.wait().unwrap();
        let error = handle(id).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }
}
