//! The few socket calls that neither std, tokio nor socket2 offer.
//!
//! Owns every `unsafe` call of this crate that is one of the kernel's. Linux-only facts have a portable twin that says "unknown".

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use lameduck::eintr;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::limits::TcpKeepAlive;

/// What stands in a socket's receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// At least one byte.
    Data,
    /// The peer sent its FIN, or the socket is broken.
    Ended,
    /// Nothing yet.
    Nothing,
}

/// Looks into the receive queue without taking anything out of it and without waiting.
///
/// A plain poll of the runtime's socket is no such look: it answers from cached readiness, without a system call.
pub(crate) fn look(fd: BorrowedFd<'_>) -> Pending {
    let mut byte = 0_u8;
    let got = eintr::repeat(|| {
        // SAFETY: the descriptor is open for the call (it is borrowed), the buffer is one writable byte that outlives the call.
        let got = unsafe {
            libc::recv(
                fd.as_raw_fd(),
                (&raw mut byte).cast(),
                1,
                libc::MSG_PEEK | libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    });
    match got {
        Ok(0) => Pending::Ended,
        Ok(_) => Pending::Data,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pending::Nothing,
        Err(_) => Pending::Ended,
    }
}

/// Waits until a socket has something to read or to accept, or the time is over; says which. For threads that may block.
///
/// Exact to the kernel's timer slack where there is ppoll(2), to a millisecond elsewhere. A signal ends it early.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, time: Duration) -> bool {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    system::poll(&mut entry, time) > 0
}

/// Lets the kernel find out about a peer that is gone.
///
/// # Errors
/// When the kernel takes none of the values.
pub(crate) fn keep_alive(stream: &TcpStream, wanted: TcpKeepAlive) -> io::Result<()> {
    let wanted = socket2::TcpKeepalive::new()
        .with_time(wanted.after)
        .with_interval(wanted.every)
        .with_retries(wanted.probes);
    SockRef::from(stream).set_tcp_keepalive(&wanted)
}

/// The soft limit of open descriptors, `None` when unlimited or unknown.
pub(crate) fn descriptor_limit() -> Option<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a writable rlimit that outlives the call.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0;
    if failed || limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    usize::try_from(limit.rlim_cur).ok()
}

pub(crate) use self::system::{
    attach_syn_gate, limit_unsent, monotonic, round_trip, unacknowledged,
};

#[cfg(all(target_os = "linux", not(lameduck_portable)))]
mod system {
    use super::{AsRawFd, BorrowedFd, Duration, io};
    use std::mem;

    pub(super) fn poll(entry: &mut libc::pollfd, time: Duration) -> libc::c_int {
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // EINTR: ends the wait early, as its caller is told.
        // SAFETY: one entry is passed, borrowed mutably, whose descriptor its caller has borrowed; the time outlives the call; a null mask is
        // none.
        unsafe { libc::ppoll(entry, 1, &raw const time, std::ptr::null()) }
    }

    /// The clock under `std::time::Instant` (clock_gettime(2)), in nanoseconds.
    #[inline]
    pub(crate) fn monotonic() -> Option<u64> {
        let mut time = mem::MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the call writes one timespec, `time` is one and outlives the call.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr()) } != 0;
        if failed {
            return None;
        }
        // SAFETY: it succeeded, so it was written.
        let time = unsafe { time.assume_init() };
        // Neither is negative on a monotonic clock, and 64 bits last for 584 years.
        Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    /// Bytes written (FIN included) that the peer has not acknowledged; `None` when the kernel does not say.
    pub(crate) fn unacknowledged(fd: BorrowedFd<'_>) -> Option<usize> {
        let mut queued: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (the value of TIOCOUTQ) writes one int, `queued` is one and outlives the call; the descriptor is borrowed.
        let failed = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) } != 0;
        if failed {
            None
        } else if queued > 0 && is_over(fd) {
            // After a reset the queue keeps its count for ever: nothing of it can be delivered any more.
            Some(0)
        } else {
            usize::try_from(queued).ok()
        }
    }

    /// The connection is in state CLOSE: reset, or ended by both sides.
    fn is_over(fd: BorrowedFd<'_>) -> bool {
        /// `TCP_CLOSE` of the kernel's tcp_states.h.
        const CLOSE: u8 = 7;
        tcp_info(fd).is_some_and(|info| info.tcpi_state == CLOSE)
    }

    fn tcp_info(fd: BorrowedFd<'_>) -> Option<libc::tcp_info> {
        // SAFETY: tcp_info is plain integers, for which all-zero is a value.
        let mut info: libc::tcp_info = unsafe { mem::zeroed() };
        let mut size = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
        // SAFETY: the kernel writes at most `size` bytes to `info`, which is that large and outlives the call; the descriptor is borrowed.
        let failed = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut size,
            )
        } != 0;
        (!failed).then_some(info)
    }

    /// The kernel's smoothed round-trip time of a TCP connection (`tcpi_rtt`, tcp(7)).
    pub(crate) fn round_trip(fd: BorrowedFd<'_>) -> Option<Duration> {
        tcp_info(fd).map(|info| Duration::from_micros(u64::from(info.tcpi_rtt)))
    }

    /// Classic BPF over the TCP header: offset 13 holds the flags; SYN without ACK is dropped, the rest passes.
    ///
    /// On a listening TCP socket the filter sees the segment from its TCP header on, over IPv4 and IPv6 alike.
    const SYN_GATE: [libc::sock_filter; 5] = [
        libc::sock_filter {
            code: 0x30,
            jt: 0,
            jf: 0,
            k: 13,
        }, // ldb [13]
        libc::sock_filter {
            code: 0x54,
            jt: 0,
            jf: 0,
            k: 0x12,
        }, // and #SYN|ACK
        libc::sock_filter {
            code: 0x15,
            jt: 0,
            jf: 1,
            k: 0x02,
        }, // jeq #SYN
        libc::sock_filter {
            code: 0x06,
            jt: 0,
            jf: 0,
            k: 0,
        }, // drop
        libc::sock_filter {
            code: 0x06,
            jt: 0,
            jf: 0,
            k: u32::MAX,
        }, // pass whole
    ];

    /// How much of what the service wrote may wait unsent in the kernel, for a socket and all that are accepted from it (`TCP_NOTSENT_LOWAT`, tcp(7)).
    ///
    /// # Errors
    /// What the kernel answers: the limit is then that of `tcp_wmem`.
    pub(crate) fn limit_unsent(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
        socket2::SockRef::from(&socket).set_tcp_notsent_lowat(bytes)
    }

    /// Makes a listening socket drop new SYNs while handshakes under way complete.
    ///
    /// # Errors
    /// What the kernel or a sandbox answers: the listener is then as before.
    pub(crate) fn attach_syn_gate(listener: BorrowedFd<'_>) -> io::Result<()> {
        let mut filter = SYN_GATE;
        let program = libc::sock_fprog {
            len: 5,
            filter: filter.as_mut_ptr(),
        };
        let size = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).expect("a few bytes");
        // SAFETY: `program` points to five instructions that outlive the call, the kernel copies them; the descriptor is borrowed.
        let failed = unsafe {
            libc::setsockopt(
                listener.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size,
            )
        } != 0;
        if failed {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
mod system {
    use super::{BorrowedFd, Duration, io};

    pub(super) fn poll(entry: &mut libc::pollfd, time: Duration) -> libc::c_int {
        let millis = time.as_micros().div_ceil(1_000);
        let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
        // EINTR: ends the wait early, as its caller is told.
        // SAFETY: one entry is passed, borrowed mutably, whose descriptor its caller has borrowed.
        unsafe { libc::poll(entry, 1, millis) }
    }

    /// Not the clock under `std::time::Instant` everywhere.
    pub(crate) fn monotonic() -> Option<u64> {
        None
    }

    /// Unknown on this platform.
    pub(crate) fn unacknowledged(_fd: BorrowedFd<'_>) -> Option<usize> {
        None
    }

    /// Unknown on this platform.
    pub(crate) fn round_trip(_fd: BorrowedFd<'_>) -> Option<Duration> {
        None
    }

    /// The platform's own limit stays.
    pub(crate) fn limit_unsent(_socket: BorrowedFd<'_>, _bytes: u32) -> io::Result<()> {
        Ok(())
    }

    /// There is no such filter on this platform.
    pub(crate) fn attach_syn_gate(_listener: BorrowedFd<'_>) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOPROTOOPT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(target_os = "linux", not(lameduck_portable)))]
    #[test]
    fn what_a_reset_left_in_the_queue_is_not_waited_for() {
        use std::io::Write as _;
        use std::os::fd::AsFd as _;
        use std::time::Instant;

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("an address");
        let client = std::net::TcpStream::connect(addr).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        drop(client);
        // To one who has closed both ways: the answer is RST.
        server.write_all(b"bye").expect("the first write is taken");
        let until = Instant::now() + Duration::from_secs(10);
        while look(server.as_fd()) != Pending::Ended || unacknowledged(server.as_fd()) != Some(0) {
            assert!(
                Instant::now() < until,
                "{:?}",
                unacknowledged(server.as_fd())
            );
            std::thread::yield_now();
        }
    }

    #[cfg(all(target_os = "linux", not(lameduck_portable)))]
    #[test]
    fn accepted_connections_inherit_the_limit_of_unsent_bytes() {
        use std::os::fd::AsFd as _;

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        limit_unsent(listener.as_fd(), 65_536).expect("the kernel takes it");
        let addr = listener.local_addr().expect("an address");
        let _client = std::net::TcpStream::connect(addr).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        assert_eq!(
            SockRef::from(&server).tcp_notsent_lowat().expect("known"),
            65_536
        );
    }

    #[tokio::test]
    async fn keep_alive_is_set_as_wanted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(addr).await.expect("connect");
        let wanted = TcpKeepAlive {
            after: Duration::from_secs(30),
            every: Duration::from_secs(7),
            probes: 3,
        };
        keep_alive(&stream, wanted).expect("the kernel takes it");
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("known"));
        assert_eq!(socket.tcp_keepalive_time().expect("known"), wanted.after);
        assert_eq!(
            socket.tcp_keepalive_interval().expect("known"),
            wanted.every
        );
        assert_eq!(
            socket.tcp_keepalive_retries().expect("known"),
            wanted.probes
        );
    }
}
