//! Owns the process between, as Linux makes it: forked from what would have become the target, right before its exec.

use std::ffi::CString;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{END, NO_NAMESPACE, Ward};
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
        let failed = |error| VerifyError::Machine("make a pipe", error);
        let (heard, said) = io::pipe().map_err(failed)?;
        let fd = said.as_raw_fd();
        let maps = Maps::of_this_user();
        // SAFETY: takes nothing and always succeeds.
        let us = unsafe { libc::getpid() };
        // SAFETY: between fork and exec, in the one thread there is: `stand_between` makes system calls only, on
        // memory that was allocated before. `said` is open until after the spawn.
        unsafe { command.pre_exec(move || stand_between(ward, fd, us, maps.as_ref())) };
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
    // EINTR: none of these files makes anybody wait.
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

/// What it waits for: a child that changes, and being told to make an end.
fn awaited() -> libc::sigset_t {
    // SAFETY: all-zero is a valid set, which these calls fill.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigaddset(&raw mut set, END);
        set
    }
}

/// Runs in the child. Forks: the new process goes on to become the target, this one watches it and never returns.
fn stand_between(ward: Ward, fd: RawFd, us: libc::pid_t, maps: Option<&Maps>) -> io::Result<()> {
    let waited_for = awaited();
    // SAFETY: numbers, and a live set. The signal comes when the thread that launched the target ends; a `Running`
    // never outlives that thread.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, END);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const waited_for, std::ptr::null_mut());
        if libc::getppid() != us {
            // We were killed before that: nobody would tell it any more.
            libc::_exit(0);
        }
    }
    let prepared = match ward {
        Ward::FirstProcess => make_namespaces(maps),
        // SAFETY: takes numbers only.
        _ => check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }).map(|_| ()),
    };
    if ward != Ward::Keeps {
        prepared.inspect_err(|error| say(fd, REFUSED, error.raw_os_error().unwrap_or(0)))?;
    }
    // SAFETY: this process has one thread, and the new one makes system calls only until it execs.
    match unsafe { libc::fork() } {
        -1 => {
            let error = io::Error::last_os_error();
            say(fd, REFUSED, error.raw_os_error().unwrap_or(0));
            Err(error)
        }
        0 => {
            // SAFETY: numbers, a live set, and literals that end in NUL. With the process between, the target dies too;
            // and it leads a group of its own, as it would without one.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                let set = &raw const waited_for;
                libc::sigprocmask(libc::SIG_UNBLOCK, set, std::ptr::null_mut());
                libc::setpgid(0, 0);
                if ward == Ward::FirstProcess {
                    // Where it is refused, /proc shows the processes of outside, which few targets mind.
                    let (name, at) = (c"proc".as_ptr(), c"/proc".as_ptr());
                    libc::mount(name, at, name, 0, std::ptr::null());
                }
            }
            Ok(())
        }
        target => watch(target, fd, &waited_for),
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
    // EINTR: this process handles no signal.
    // SAFETY: the record lives through the call; a pipe takes so few bytes at once or not at all.
    unsafe { libc::write(fd, record.as_ptr().cast(), RECORD) };
}

/// Tells how the target ended, and stays as long as anything lives that it started, which it ends when it is told to.
fn watch(target: libc::pid_t, fd: RawFd, waited_for: &libc::sigset_t) -> ! {
    // None of them is meant for us; and once nobody listens, there is nobody to tell.
    for signal in [
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
    let (mut is_over, mut has_target) = (false, true);
    loop {
        loop {
            let mut status = 0;
            // EINTR: it does not wait.
            // SAFETY: `status` is live.
            let gone = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if gone == target {
                say(fd, ENDED, status);
                has_target = false;
            } else if gone < 0 {
                // ECHILD: nothing lives any more.
                exit();
            } else if gone == 0 {
                break;
            }
        }
        // A child that dies leaves its own children to us before we hear of its end: all of them have their turn.
        if is_over && !kill_children() {
            if has_target {
                let mut status = 0;
                // EINTR: this process handles no signal.
                // SAFETY: numbers of a child that was not reaped, and `status` is live. A first process takes its
                // namespace along.
                unsafe {
                    libc::kill(-target, libc::SIGKILL);
                    libc::kill(target, libc::SIGKILL);
                    libc::waitpid(target, &raw mut status, 0);
                }
                say(fd, ENDED, status);
            }
            exit();
        }
        // EINTR: after SIGCONT, and it looks again.
        // SAFETY: the set is live; who sent it does not matter.
        is_over |= unsafe { libc::sigwaitinfo(waited_for, std::ptr::null_mut()) } == END;
    }
}

fn exit() -> ! {
    // SAFETY: ends this process at once, without what a program does at its end.
    unsafe { libc::_exit(0) }
}

/// Kills the children of this process, or the first thousand of them; false where nobody says which they are.
fn kill_children() -> bool {
    let mut buffer = [0_u8; 8192];
    // EINTR: this process handles no signal.
    // SAFETY: a literal that ends in NUL, and a live buffer of that size.
    let count = unsafe {
        let fd = libc::open(
            c"/proc/thread-self/children".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        );
        let count = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
        libc::close(fd);
        count
    };
    let Ok(count) = usize::try_from(count) else {
        return false;
    };
    let mut pid: libc::pid_t = 0;
    for byte in &buffer[..count] {
        match byte {
            b'0'..=b'9' => pid = pid * 10 + libc::pid_t::from(byte - b'0'),
            _ => {
                if pid > 1 {
                    // SAFETY: numbers only, of a child that was not reaped.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
                // A number without a space behind it is cut: its turn comes.
                pid = 0;
            }
        }
    }
    true
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
            // EINTR: never called again.
            // SAFETY: as above.
            unsafe { libc::close(other) };
        }
    }
}
