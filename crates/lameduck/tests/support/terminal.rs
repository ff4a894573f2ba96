//! A child with a terminal of its own, on whose keyboard the test types.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use super::child::Child;

/// Starts a child whose controlling terminal is new; gives the keyboard of that terminal.
pub fn start() -> (Child, impl FnMut(u8)) {
    let (master, slave) = open().expect("a pseudo-terminal");
    let terminal = slave.as_raw_fd();
    let mut command = Command::new(std::env::current_exe().expect("the test has a path"));
    let attach = move || {
        // SAFETY: both are plain system calls without pointers, allowed between fork and exec; `terminal` is open in
        // the copy, because the parent closes it only after the start.
        let done = unsafe { libc::setsid() >= 0 && libc::ioctl(terminal, libc::TIOCSCTTY, 0) == 0 };
        if done {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: the closure makes two system calls and touches no memory that another thread could hold locked.
    unsafe { command.pre_exec(attach) };
    let child = Child::launch(&mut command);
    drop(slave);
    let mut master = File::from(master);
    (child, move |key| {
        master.write_all(&[key]).expect("the terminal is there")
    })
}

fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: the first two pointers are to integers that may be written; null asks for no name and the defaults.
    let opened = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if opened != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were just opened and belong to nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) })
}
