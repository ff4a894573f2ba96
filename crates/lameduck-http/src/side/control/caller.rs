//! Who is at the other end, as the kernel says (`SO_PEERCRED`, unix(7)): what a process that connects cannot choose.
//!
//! Owns what is found out about a caller, and the rule who may ask.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::Arc;

use super::door::effective_uid;

/// The most that is kept of an executable's path.
const MOST_OF_PATH: usize = 256;

/// A process that has connected, as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) uid: u32,
    /// `None` for a process outside our pid namespace.
    pub(super) pid: Option<u32>,
    /// Its executable, or the name of its process where that may not be read.
    pub(super) program: Option<Arc<str>>,
}

impl Caller {
    fn of(uid: u32, pid: Option<u32>) -> Self {
        // At once: a number is another process's one day.
        let program = pid.and_then(Self::program_of).map(Arc::from);
        Self { uid, pid, program }
    }

    fn program_of(pid: u32) -> Option<String> {
        let exe = fs::read_link(format!("/proc/{pid}/exe"));
        let name = match exe {
            Ok(exe) => exe.to_string_lossy().into_owned(),
            Err(_) => comm(pid)?,
        };
        Some(printable(&name))
    }

    pub(super) fn is_ours_or_root(&self) -> bool {
        self.uid == 0 || self.uid == effective_uid()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uid = self.uid;
        match (self.pid, &self.program) {
            (Some(pid), Some(program)) => write!(f, "pid {pid} (uid {uid}, {program})"),
            (Some(pid), None) => write!(f, "pid {pid} (uid {uid}, gone since)"),
            (None, _) => write!(f, "a process outside this pid namespace (uid {uid})"),
        }
    }
}

fn comm(pid: u32) -> Option<String> {
    let file = fs::File::open(format!("/proc/{pid}/comm")).ok()?;
    // The kernel keeps 15 bytes of it, and a line's end (proc_pid_comm(5)).
    let mut name = Vec::new();
    file.take(64).read_to_end(&mut name).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// On one line, and of bounded length.
pub(super) fn printable(text: &str) -> String {
    let shown = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    text.chars().take(MOST_OF_PATH).map(shown).collect()
}

/// Whose socket it is at the other end; `None` if the kernel does not tell.
#[cfg(target_os = "linux")]
pub(super) fn peer_of(socket: BorrowedFd<'_>) -> Option<Caller> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = libc::socklen_t::try_from(size_of_val(&peer)).ok()?;
    // SAFETY: the descriptor is open; `peer` and `length` are live, and `length` is the size of `peer`.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    (done == 0).then(|| {
        let pid = u32::try_from(peer.pid).ok();
        Caller::of(peer.uid, pid.filter(|pid| *pid != 0))
    })
}

/// Whose socket it is at the other end.
#[cfg(not(target_os = "linux"))]
pub(super) fn peer_of(socket: BorrowedFd<'_>) -> Option<Caller> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: the descriptor is open, the numbers are live.
    let done = unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) };
    (done == 0).then(|| Caller::of(uid, None))
}

/// Who may ask: whoever runs as we do, root, and those who were named.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowed {
    pub(super) uids: Vec<u32>,
}

impl Allowed {
    pub(super) fn lets(&self, caller: &Caller) -> bool {
        caller.is_ours_or_root() || self.uids.contains(&caller.uid)
    }

    /// The mode of the socket's file: where others are allowed it is this rule that keeps the rest out.
    pub(super) const fn mode(&self) -> u32 {
        if self.uids.is_empty() { 0o600 } else { 0o666 }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_kernel_says_who_it_is() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let caller = peer_of(ours.as_fd()).expect("the kernel tells");
        assert_eq!(caller.uid, effective_uid());
        assert_eq!(caller.pid, Some(std::process::id()));
        let said = caller.to_string();
        assert!(said.contains(&format!("uid {}", caller.uid)), "{said}");
        let test = std::env::current_exe().expect("there is one");
        assert!(said.contains(&*test.to_string_lossy()), "{said}");
    }

    #[test]
    fn only_the_same_user_root_and_the_named_are_let_in() {
        let us = effective_uid();
        let other = us + 1_000;
        let caller = |uid| Caller::of(uid, None);
        let allowed = Allowed::default();
        assert!(allowed.lets(&caller(us)) && allowed.lets(&caller(0)));
        assert!(!allowed.lets(&caller(other)));
        assert_eq!(allowed.mode(), 0o600);
        let named = Allowed { uids: vec![other] };
        assert!(named.lets(&caller(other)) && !named.lets(&caller(other + 1)));
        assert_eq!(named.mode(), 0o666);
    }

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(printable("a\nb\u{1b}[2J"), "a\u{fffd}b\u{fffd}[2J");
        assert_eq!(printable(&"x".repeat(1_000)).len(), MOST_OF_PATH);
    }
}
