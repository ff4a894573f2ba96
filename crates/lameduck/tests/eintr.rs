//! Calls under a hail of signals: nothing that was read, written, accepted or connected is lost or doubled.
#![cfg(all(feature = "signals", target_os = "linux"))]

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lameduck::eintr;

/// Far more than any test here takes.
const PATIENCE: Duration = Duration::from_secs(60);

extern "C" fn handle(_: libc::c_int) {}

/// Counts the interruptions of one kind of call.
fn noting<T>(hits: &AtomicU64, done: io::Result<T>) -> io::Result<T> {
    if matches!(&done, Err(error) if error.raw_os_error() == Some(libc::EINTR)) {
        hits.fetch_add(1, Ordering::Relaxed);
    }
    done
}

/// Handles the signal without `SA_RESTART`: every wait ends with `EINTR`.
fn take(signal: libc::c_int) {
    // SAFETY: zeroed memory is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(libc::c_int) = handle;
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: `action` lives for the call, and its handler only adds to an atomic.
    let refused = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(refused, 0);
}

/// Throws signals at the threads that stand in it, one after the other, until it is dropped.
struct Hail {
    targets: Arc<Mutex<Vec<libc::pthread_t>>>,
    over: Arc<AtomicBool>,
    thrower: Option<thread::JoinHandle<()>>,
}

/// A thread stands in the hail as long as this lives.
struct Standing(Arc<Mutex<Vec<libc::pthread_t>>>);

impl Hail {
    fn new() -> Self {
        take(libc::SIGUSR1);
        let targets = Arc::<Mutex<Vec<libc::pthread_t>>>::default();
        let over = Arc::new(AtomicBool::new(false));
        let (there, is_over) = (targets.clone(), over.clone());
        let thrower = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                // Locked while it throws: nobody who is hit has ended.
                for target in there.lock().expect("not poisoned").iter() {
                    // SAFETY: a thread is in the list only while it runs.
                    unsafe { libc::pthread_kill(*target, libc::SIGUSR1) };
                }
                thread::sleep(Duration::from_micros(50));
            }
        });
        Self {
            targets,
            over,
            thrower: Some(thrower),
        }
    }

    fn stand(&self) -> Standing {
        // SAFETY: has no precondition.
        let own = unsafe { libc::pthread_self() };
        self.targets.lock().expect("not poisoned").push(own);
        Standing(self.targets.clone())
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        // SAFETY: has no precondition.
        let own = unsafe { libc::pthread_self() };
        let mut targets = self.0.lock().expect("not poisoned");
        targets.retain(|target| *target != own);
    }
}

impl Drop for Hail {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thrower) = self.thrower.take() {
            thrower.join().expect("it ends");
        }
    }
}

fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the descriptor is borrowed, the buffer is live and as long as said.
    let got = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the descriptor is borrowed, the bytes are live and as many as said.
    let put = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(put).map_err(|_| io::Error::last_os_error())
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (address, length) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the descriptor is borrowed; no address is asked for.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), address, length, libc::SOCK_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made, and nobody else owns it.
    Ok(unsafe { TcpStream::from_raw_fd(fd) })
}

fn socket() -> OwnedFd {
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: it was just made, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn connect(socket: BorrowedFd<'_>, port: u16) -> io::Result<()> {
    // SAFETY: zeroed memory is a valid address.
    let mut to: libc::sockaddr_in = unsafe { MaybeUninit::zeroed().assume_init() };
    to.sin_family = libc::sa_family_t::try_from(libc::AF_INET).expect("small");
    to.sin_port = port.to_be();
    to.sin_addr.s_addr = u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets());
    let length = libc::socklen_t::try_from(size_of_val(&to)).expect("small");
    // SAFETY: the descriptor is borrowed, the address is live and as long as said.
    match unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8], hits: &AtomicU64) {
    while !bytes.is_empty() {
        let put = eintr::repeat(|| noting(hits, write(fd, bytes))).expect("somebody reads");
        bytes = &bytes[put..];
    }
}

fn read_all(fd: BorrowedFd<'_>, to: &mut Vec<u8>, hits: &AtomicU64) {
    let mut buffer = [0; 3_001];
    loop {
        match eintr::repeat(|| noting(hits, read(fd, &mut buffer))).expect("a pipe") {
            0 => return,
            got => to.extend_from_slice(&buffer[..got]),
        }
    }
}

#[test]
fn what_is_written_is_read_once_and_in_order() {
    let hail = Hail::new();
    let (reads, writes) = (AtomicU64::new(0), AtomicU64::new(0));
    let until = Instant::now() + PATIENCE;
    let before = eintr::count();
    // Until the hail has hit both ends while they waited.
    while reads.load(Ordering::Relaxed) < 20 || writes.load(Ordering::Relaxed) < 20 {
        assert!(Instant::now() < until, "{reads:?} {writes:?}");
        let sent: Vec<u8> = (0_u32..100_000).flat_map(u32::to_ne_bytes).collect();
        let (reader, writer) = io::pipe().expect("a pipe");
        let got = thread::scope(|scope| {
            scope.spawn(|| {
                let _standing = hail.stand();
                write_all(writer.as_fd(), &sent, &writes);
                drop(writer);
            });
            let reading = scope.spawn(|| {
                let _standing = hail.stand();
                let mut got = Vec::new();
                read_all(reader.as_fd(), &mut got, &reads);
                got
            });
            reading.join().expect("it reads")
        });
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    }
    assert!(eintr::count() >= before + 40, "they are counted");
}

#[test]
fn every_connection_that_is_made_is_accepted_once() {
    const CLIENTS: u32 = 300;
    let hail = Hail::new();
    let (accepts, others) = (AtomicU64::new(0), AtomicU64::new(0));
    let until = Instant::now() + PATIENCE;
    while accepts.load(Ordering::Relaxed) < 5 {
        assert!(Instant::now() < until, "no accept was interrupted");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("bound").port();
        let mut seen = thread::scope(|scope| {
            let accepting = scope.spawn(|| {
                let _standing = hail.stand();
                let name = |_| {
                    let stream = eintr::repeat(|| noting(&accepts, accept(&listener)));
                    let stream = stream.expect("a client");
                    let mut name = Vec::new();
                    read_all(stream.as_fd(), &mut name, &others);
                    u32::from_ne_bytes(name.try_into().expect("a whole name"))
                };
                (0..CLIENTS).map(name).collect::<Vec<u32>>()
            });
            scope.spawn(|| {
                let _standing = hail.stand();
                for client in 0..CLIENTS {
                    let socket = socket();
                    let call = || connect(socket.as_fd(), port);
                    eintr::connect(&socket, PATIENCE, call).expect("it listens");
                    write_all(socket.as_fd(), &client.to_ne_bytes(), &others);
                    if client % 50 == 0 {
                        // Whoever accepts has to wait now and then.
                        thread::sleep(Duration::from_millis(1));
                    }
                    eintr::close(socket).expect("closed");
                }
            });
            accepting.join().expect("it accepts")
        });
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..CLIENTS), "each of them once");
    }
}

/// Lets nobody in but those who are accepted: one waits in the kernel, the next one's connect(2) has to wait.
fn narrow(listener: &impl AsFd) {
    // SAFETY: the descriptor is borrowed.
    let refused = unsafe { libc::listen(listener.as_fd().as_raw_fd(), 0) };
    assert_eq!(refused, 0);
}

#[test]
fn a_tcp_connect_that_is_interrupted_goes_on_and_is_not_called_again() {
    let hail = Hail::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    narrow(&listener);
    let port = listener.local_addr().expect("bound").port();
    let waiting = TcpStream::connect(("127.0.0.1", port)).expect("the one that waits");
    let interrupted = AtomicBool::new(false);
    thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            let standing = hail.stand();
            let socket = socket();
            let mut calls = 0;
            let call = || {
                calls += 1;
                let done = connect(socket.as_fd(), port);
                let hit = done
                    .as_ref()
                    .is_err_and(|error| error.raw_os_error() == Some(libc::EINTR));
                interrupted.store(hit, Ordering::Release);
                done
            };
            eintr::connect(&socket, PATIENCE, call).expect("there is room in the end");
            drop(standing);
            assert_eq!(calls, 1);
            let mut stream = TcpStream::from(socket);
            io::Write::write_all(&mut stream, b"it is connected").expect("somebody reads");
        });
        let until = Instant::now() + PATIENCE;
        while !interrupted.load(Ordering::Acquire) {
            assert!(Instant::now() < until, "connect was not interrupted");
            thread::sleep(Duration::from_millis(1));
        }
        drop(listener.accept().expect("the one that waited"));
        drop(waiting);
        // Linux lets one more in than it was told.
        let mut said = String::new();
        while said.is_empty() {
            let (mut stream, _) = listener.accept().expect("the other");
            io::Read::read_to_string(&mut stream, &mut said).expect("text");
        }
        assert_eq!(said, "it is connected");
        connecting.join().expect("it connects");
    });
}

#[test]
fn a_unix_connect_that_is_interrupted_has_not_begun_and_says_so() {
    let hail = Hail::new();
    let path = std::env::temp_dir().join(format!("lameduck-hail-{}", std::process::id()));
    let listener = UnixListener::bind(&path).expect("a listener");
    narrow(&listener);
    let waiting = UnixStream::connect(&path).expect("the one that waits");
    let hits = AtomicU64::new(0);
    thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            let _standing = hail.stand();
            // SAFETY: takes no pointer.
            let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) };
            assert!(fd >= 0, "{}", io::Error::last_os_error());
            // SAFETY: it was just made, and nobody else owns it.
            let socket = unsafe { OwnedFd::from_raw_fd(fd) };
            eintr::repeat(|| {
                let call = || noting(&hits, connect_unix(socket.as_fd(), &path));
                eintr::connect(&socket, PATIENCE, call)
            })
            .expect("there is room in the end");
            UnixStream::from(socket).peer_addr().expect("connected");
        });
        let until = Instant::now() + PATIENCE;
        while hits.load(Ordering::Relaxed) < 3 {
            assert!(Instant::now() < until, "connect was not interrupted");
            thread::sleep(Duration::from_millis(1));
        }
        drop(listener.accept().expect("the one that waited"));
        drop(waiting);
        connecting.join().expect("it connects");
    });
    std::fs::remove_file(&path).expect("it is there");
}

fn connect_unix(socket: BorrowedFd<'_>, path: &std::path::Path) -> io::Result<()> {
    // SAFETY: zeroed memory is a valid address.
    let mut to: libc::sockaddr_un = unsafe { MaybeUninit::zeroed().assume_init() };
    to.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).expect("small");
    let bytes = path.as_os_str().as_encoded_bytes();
    assert!(bytes.len() < to.sun_path.len(), "a short path");
    for (to, byte) in to.sun_path.iter_mut().zip(bytes) {
        *to = byte.cast_signed();
    }
    let length = libc::socklen_t::try_from(size_of_val(&to)).expect("small");
    // SAFETY: the descriptor is borrowed, the address is live and as long as said.
    match unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn a_connect_that_does_not_wait_is_waited_for_and_its_error_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    let hasty = || {
        let socket = socket();
        // SAFETY: takes no pointer.
        unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        socket
    };
    let one = hasty();
    eintr::connect(&one, Duration::MAX, || connect(one.as_fd(), port)).expect("it listens");
    drop(listener);
    let other = hasty();
    let refused = eintr::connect(&other, PATIENCE, || connect(other.as_fd(), port));
    let refused = refused.expect_err("nobody listens");
    assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
}

#[test]
fn a_wait_is_as_long_as_it_was_to_be_and_a_doze_is_not() {
    let hail = Hail::new();
    let time = Duration::from_millis(30);
    let hit = thread::spawn(move || {
        let _standing = hail.stand();
        let (reader, _writer) = io::pipe().expect("a pipe");
        let mut entry = libc::pollfd {
            fd: reader.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let until = Instant::now() + PATIENCE;
        loop {
            let mut waits = 0;
            let began = Instant::now();
            let ready = eintr::repeat_within(Some(time), |left| {
                waits += 1;
                let left = left.expect("a limit").as_micros().div_ceil(1_000);
                let left = i32::try_from(left).expect("short");
                // SAFETY: one live entry, whose descriptor is open.
                let ready = unsafe { libc::poll(&raw mut entry, 1, left) };
                usize::try_from(ready).map_err(|_| io::Error::last_os_error())
            });
            match ready {
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
                Ok(ready) => assert_eq!(ready, 0, "nothing was written"),
            }
            assert!(began.elapsed() >= time, "{:?}", began.elapsed());
            if waits > 1 {
                break;
            }
            assert!(Instant::now() < until, "no wait was interrupted");
        }
        while eintr::doze(PATIENCE).is_zero() {
            assert!(Instant::now() < until, "a doze was not disturbed");
        }
        assert!(Instant::now() < until, "it slept on");
    });
    hit.join().expect("it waits as it should");
}
