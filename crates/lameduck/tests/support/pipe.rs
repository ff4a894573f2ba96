//! A reader of stderr that never reads.

use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// A pipe without room, whose write end blocks: both ends.
pub(crate) fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = std::io::pipe().expect("a pipe");
    // SAFETY: the descriptor is open; the commands take no pointer.
    let set = |flags: libc::c_int| unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETFL, flags) };
    assert_eq!(set(libc::O_NONBLOCK), 0);
    let mut to = &write;
    while to.write(&[b'.'; 4096]).is_ok() {}
    assert_eq!(set(0), 0);
    (read.into(), write.into())
}
