//! Starting a child with posix_spawn(3), and waiting for it.
//!
//! Unlike `fork` and a closure before `exec`, posix_spawn shares the parent's memory until exec: what it costs does not grow with
//! the parent (2 GiB resident: 3.8 ms instead of 146 ms), and a mask and dispositions for the child are part of it.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::eintr;
use super::mask::set_of;

/// What a child is started with.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Looked up in `PATH` unless it has a slash.
    pub(crate) program: &'a CStr,
    pub(crate) arguments: &'a [CString],
    pub(crate) environment: &'a [CString],
    pub(crate) directory: Option<&'a CStr>,
    /// What becomes descriptor 0, 1 and 2; `None` stays as it is. All are above 2.
    pub(crate) streams: [Option<BorrowedFd<'a>>; 3],
    /// Signals whose disposition is to be the default, though this process ignores them.
    pub(crate) defaults: &'a [i32],
}

/// Starts the child with an empty mask of signals; gives its process id.
///
/// # Errors
///
/// What posix_spawn(3) reports, a failed exec included; `Unsupported` for a directory where the system has no way.
pub(crate) fn spawn(plan: &Plan<'_>) -> io::Result<libc::pid_t> {
    let actions = Actions::new(plan)?;
    let attributes = Attributes::new(plan.defaults)?;
    let pointers = |strings: &[CString]| {
        let ends = std::iter::once(ptr::null_mut());
        let all = strings.iter().map(|one| one.as_ptr().cast_mut());
        all.chain(ends).collect::<Vec<_>>()
    };
    let (arguments, environment) = (pointers(plan.arguments), pointers(plan.environment));
    let mut pid = 0;
    // SAFETY: `actions` and `attributes` are initialised and live for the call; both lists end with null, and their strings
    // live as long as `plan`; the call only reads them.
    check(unsafe {
        libc::posix_spawnp(
            &raw mut pid,
            plan.program.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    })?;
    Ok(pid)
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new(plan: &Plan<'_>) -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the call initialises what it is given.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: it succeeded. From here on `drop` destroys it.
        let mut actions = Self(unsafe { actions.assume_init() });
        if let Some(directory) = plan.directory {
            super::os::add_chdir(&mut actions.0, directory)?;
        }
        for (target, source) in (0..).zip(plan.streams) {
            let Some(source) = source else { continue };
            debug_assert!(
                source.as_raw_fd() > 2,
                "or one stream would be closed for another"
            );
            // SAFETY: the actions are initialised; the numbers are only noted here.
            check(unsafe {
                libc::posix_spawn_file_actions_adddup2(
                    &raw mut actions.0,
                    source.as_raw_fd(),
                    target,
                )
            })?;
        }
        Ok(actions)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new(defaults: &[i32]) -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the call initialises what it is given.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: it succeeded. From here on `drop` destroys it.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let none = set_of([]);
        let defaults = set_of(defaults.iter().copied());
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let flags = libc::c_short::try_from(flags).expect("two low bits");
        let to = &raw mut attributes.0;
        // SAFETY: attributes and sets are initialised and live for the calls, which copy the sets.
        unsafe {
            check(libc::posix_spawnattr_setsigmask(to, none.as_ptr()))?;
            check(libc::posix_spawnattr_setsigdefault(to, defaults.as_ptr()))?;
            check(libc::posix_spawnattr_setflags(to, flags))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used again.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

/// These calls give the error's number and leave `errno` alone.
fn check(error: libc::c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Waits for a child's end, or only asks; gives its status as waitpid(2) does.
///
/// # Errors
///
/// What waitpid(2) reports, except `EINTR`: `ECHILD` when somebody else waited for it, or SIGCHLD is ignored.
pub(crate) fn wait_for(pid: libc::pid_t, wait: Wait) -> io::Result<Option<libc::c_int>> {
    let flags = match wait {
        Wait::UntilItEnds => 0,
        Wait::Not => libc::WNOHANG,
    };
    eintr::repeat(|| {
        let mut status = 0;
        // SAFETY: `status` may be written.
        match unsafe { libc::waitpid(pid, &raw mut status, flags) } {
            0 => Ok(None),
            found if found == pid => Ok(Some(status)),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

/// Whether [`wait_for`] waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// As long as it takes.
    UntilItEnds,
    /// Only asks.
    Not,
}

/// Sends a signal to a process.
///
/// # Errors
///
/// What kill(2) reports.
pub(crate) fn kill(pid: libc::pid_t, signo: i32) -> io::Result<()> {
    debug_assert!(pid > 0, "0 and below mean groups");
    // SAFETY: takes no pointer.
    if unsafe { libc::kill(pid, signo) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
