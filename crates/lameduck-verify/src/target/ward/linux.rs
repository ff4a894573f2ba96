//! Owns the process between, as Linux makes it: forked from what would have become the target, right before its exec.

use std::ffi::CString;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{NO_NAMESPACE, Ward};
use crate::target::{Ending, VerifyError};

/// What the process between says: a word and a number.
const RECORD: usize = 8;
/// The target's process id, as we see it.
const BEGUN: i32 = 1;
/// The status of waitpid(2), when the target is gone.
const ENDED: i32 = 2;
/// The errno of a namespace that could not be made.
const REFUSED: i32 = 3;

/// The link to the process between.
#[derive(Debug)]
pub(crate) struct Armed {
    heard: PipeReader,
    said: Option<PipeWriter>,
}

impl Armed {
    /// Lets `command` start with the process between; to be called last, after everything else was set.
    pub(crate) fn arm(ward: Ward, command: &mut Command) -> Result<Option<Self>, VerifyError> {
        if ward == Ward::None {
            return Ok(None);
        }
        let failed = |error| VerifyError::Machine("make a pipe", error);
        let (heard, said) = io::pipe().map_err(failed)?;
        let fd = said.as_raw_fd();
        let maps = Maps::of_this_user();
        // SAFETY: between fork and exec, in the one thread there is: `stand_between` makes system calls only, on
        // memory that was allocated before. `said` is open until after the spawn.
        unsafe { command.pre_exec(move || stand_between(ward, fd, maps.as_ref())) };
        Ok(Some(Self {
            heard,
            said: Some(said),
        }))
    }

    /// To be called after the spawn, whatever came of it: the target's process id, if there is a target.
    ///
    /// # Errors
    /// Fails where no namespace can be made.
    pub(crate) fn begun(&mut self) -> Result<Option<u32>, VerifyError> {
        self.said = None;
        match self.read() {
            Some((BEGUN, pid)) => Ok(u32::try_from(pid).ok()),
            Some((REFUSED, errno)) => Err(VerifyError::Machine(
                NO_NAMESPACE,
                io::Error::from_raw_os_error(errno),
            )),
            _ => Ok(None),
        }
    }

    /// Waits until the target is gone; `None` when the process between was killed first.
    pub(crate) fn await_end(mut self) -> Option<Ending> {
        let (word, status) = self.read()?;
        if word != ENDED {
            return None;
        }
        Some(if libc::WIFEXITED(status) {
            Ending::Code(libc::WEXITSTATUS(status))
        } else {
            Ending::Signal(libc::WTERMSIG(status))
        })
    }

    fn read(&mut self) -> Option<(i32, i32)> {
        let mut record = [0; RECORD];
        self.heard.read_exact(&mut record).ok()?;
        let (word, number) = record.split_first_chunk::<4>()?;
        let number = number.first_chunk::<4>()?;
        Some((i32::from_ne_bytes(*word), i32::from_ne_bytes(*number)))
    }
}

/// The lines of `uid_map` and `gid_map` that an unprivileged user may write for itself.
#[derive(Debug)]
struct Maps {
    uid: CString,
    gid: CString,
}

impl Maps {
    /// `None` for root, who needs no user namespace.
    fn of_this_user() -> Option<Self> {
        // SAFETY: these calls take nothing and always succeed.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let line = |id| CString::new(format!("{id} {id} 1")).ok();
        (uid != 0).then_some(())?;
        Some(Self {
            uid: line(uid)?,
            gid: line(gid)?,
        })
    }

    /// Only system calls: it runs between fork and exec.
    fn write(&self) -> io::Result<()> {
        write_file(c"/proc/self/setgroups", c"deny")?;
        write_file(c"/proc/self/uid_map", &self.uid)?;
        write_file(c"/proc/self/gid_map", &self.gid)
    }
}

fn write_file(path: &std::ffi::CStr, text: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: both strings end in NUL and live through the calls.
    unsafe {
        let fd = check(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let bytes = text.to_bytes();
        let written = libc::write(fd, bytes.as_ptr().cast(), bytes.len());
        let error = io::Error::last_os_error();
        libc::close(fd);
        if written < 0 { Err(error) } else { Ok(()) }
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Runs in the child. Forks: the new process goes on to become the target, this one watches it and never returns.
fn stand_between(ward: Ward, fd: RawFd, maps: Option<&Maps>) -> io::Result<()> {
    let prepared = match ward {
        Ward::FirstProcess => make_namespaces(maps),
        // SAFETY: takes numbers only.
        _ => check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }).map(|_| ()),
    };
    prepared.inspect_err(|error| say(fd, REFUSED, error.raw_os_error().unwrap_or(0)))?;
    // SAFETY: this process has one thread, and the new one makes system calls only until it execs.
    match unsafe { libc::fork() } {
        -1 => {
            let error = io::Error::last_os_error();
            say(fd, REFUSED, error.raw_os_error().unwrap_or(0));
            Err(error)
        }
        0 => {
            // SAFETY: numbers, and literals that end in NUL. With the process between, the target dies too.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if ward == Ward::FirstProcess {
                    // Where it is refused, /proc shows the processes of outside, which few targets mind.
                    let (name, at) = (c"proc".as_ptr(), c"/proc".as_ptr());
                    libc::mount(name, at, name, 0, std::ptr::null());
                }
            }
            Ok(())
        }
        target => watch(target, fd),
    }
}

fn make_namespaces(maps: Option<&Maps>) -> io::Result<()> {
    let user = if maps.is_some() {
        libc::CLONE_NEWUSER
    } else {
        0
    };
    // SAFETY: numbers, and literals that end in NUL.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS | user))?;
        maps.map_or(Ok(()), Maps::write)?;
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null(),
            flags,
            std::ptr::null(),
        ))?;
    }
    Ok(())
}

fn say(fd: RawFd, word: i32, number: i32) {
    let mut record = [0; RECORD];
    record[..4].copy_from_slice(&word.to_ne_bytes());
    record[4..].copy_from_slice(&number.to_ne_bytes());
    // SAFETY: the record lives through the call; a pipe takes so few bytes at once or not at all.
    unsafe { libc::write(fd, record.as_ptr().cast(), RECORD) };
}

/// Tells how the target ended, and stays as long as anything lives that it started.
fn watch(target: i32, fd: RawFd) -> ! {
    // Meant for the target's group, they are not meant for us.
    for signal in [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGPIPE,
    ] {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    say(fd, BEGUN, target);
    close_all_but(fd);
    loop {
        let mut status = 0;
        // SAFETY: `status` is live.
        let gone = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if gone == target {
            say(fd, ENDED, status);
        }
        if gone < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            // ECHILD: nothing lives any more.
            // SAFETY: ends this process at once, without what a program does at its end.
            unsafe { libc::_exit(0) };
        }
    }
}

/// Lets go of the target's output, of the pipe on which a failed exec is told, and of whatever else was open.
fn close_all_but(fd: RawFd) {
    let close = |from: libc::c_uint, to: libc::c_uint| {
        // SAFETY: takes numbers only; nothing in this process uses these descriptors.
        unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) }
    };
    let keep = fd as libc::c_uint;
    if keep > 0 {
        close(0, keep - 1);
    }
    if close(keep + 1, libc::c_uint::MAX) < 0 {
        // Older kernels.
        for other in (0..4096).filter(|other| *other != fd) {
            // SAFETY: as above.
            unsafe { libc::close(other) };
        }
    }
}
