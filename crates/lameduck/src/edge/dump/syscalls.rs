//! Names for the system calls in which threads are found waiting.

/// The name of a system call of this processor, where it is one of those that wait.
#[cfg(target_arch = "x86_64")]
pub(super) const fn name(number: i64) -> Option<&'static str> {
    // arch/x86/entry/syscalls/syscall_64.tbl
    Some(match number {
        0 => "read",
        1 => "write",
        7 => "poll",
        17 => "pread64",
        18 => "pwrite64",
        19 => "readv",
        20 => "writev",
        23 => "select",
        34 => "pause",
        35 => "nanosleep",
        42 => "connect",
        43 => "accept",
        44 => "sendto",
        45 => "recvfrom",
        46 => "sendmsg",
        47 => "recvmsg",
        61 => "wait4",
        72 => "fcntl",
        73 => "flock",
        74 => "fsync",
        75 => "fdatasync",
        128 => "rt_sigtimedwait",
        130 => "rt_sigsuspend",
        202 => "futex",
        230 => "clock_nanosleep",
        232 => "epoll_wait",
        247 => "waitid",
        257 => "openat",
        270 => "pselect6",
        271 => "ppoll",
        281 => "epoll_pwait",
        288 => "accept4",
        426 => "io_uring_enter",
        441 => "epoll_pwait2",
        449 => "futex_waitv",
        _ => return None,
    })
}

/// The numbers of other processors are others.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const fn name(_number: i64) -> Option<&'static str> {
    None
}
