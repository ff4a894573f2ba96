//! The listeners: accepting, the sweep before closing, and the health pages.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Duck, WINDOW};

/// How long the sweep accepts what the kernel completes after the gate: long, because on a starved machine the last
/// ACK of a handshake can lie in the loopback queue for tens of milliseconds.
const SWEEP: Duration = Duration::from_millis(120);

/// The open public listener.
pub(crate) struct Door {
    serve: Arc<Serve>,
    listener: Arc<TcpListener>,
    state: Arc<State>,
}

/// What is done with a connection.
type Serve = dyn Fn(&Arc<Duck>, TcpStream) + Send + Sync;

struct State {
    shut: AtomicBool,
    /// Held while the accepting thread works on the listener.
    accepting: Mutex<()>,
}

pub(crate) fn open(
    duck: &Arc<Duck>,
    port: u16,
    serve: impl Fn(&Arc<Duck>, TcpStream) + Send + Sync + 'static,
) -> Door {
    let serve: Arc<Serve> = Arc::new(serve);
    let listener = Arc::new(TcpListener::bind(("127.0.0.1", port)).expect("the port is free"));
    listener
        .set_nonblocking(true)
        .expect("a listener can be made non-blocking");
    let state = Arc::new(State {
        shut: AtomicBool::new(false),
        accepting: Mutex::new(()),
    });
    let door = Door {
        serve: Arc::clone(&serve),
        listener: Arc::clone(&listener),
        state: Arc::clone(&state),
    };
    let duck = Arc::clone(duck);
    std::thread::spawn(move || {
        loop {
            poll_in(listener.as_raw_fd(), 2);
            let _accepting = state
                .accepting
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if state.shut.load(Ordering::SeqCst) {
                return;
            }
            while let Ok((stream, _)) = listener.accept() {
                serve(&duck, stream);
            }
        }
    });
    door
}

impl Door {
    pub(crate) fn close(self, duck: &Arc<Duck>) {
        let Self {
            serve,
            listener,
            state,
        } = self;
        let accepting = state
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if duck.is_broken("A3") {
            // Nobody accepts for a while, then the queue is thrown away.
            std::thread::sleep(Duration::from_millis(40));
        } else {
            if !duck.is_broken("A5") {
                gate(listener.as_raw_fd());
            }
            let sweep = if duck.is_broken("A4") {
                Duration::ZERO
            } else {
                SWEEP
            };
            let until = Instant::now() + sweep;
            loop {
                // Read before accepting: however late this thread runs, the queue is emptied once after the time.
                let over = Instant::now() >= until;
                while let Ok((stream, _)) = listener.accept() {
                    serve(duck, stream);
                }
                if over {
                    break;
                }
                poll_in(listener.as_raw_fd(), 1);
            }
        }
        state.shut.store(true, Ordering::SeqCst);
        drop(accepting);
        if duck.is_broken("A5") {
            let port = listener
                .local_addr()
                .expect("a bound listener has an address")
                .port();
            drop(listener);
            accept_and_drop(port);
        }
    }
}

/// The broken way: refuses for a moment, then takes connections and drops them unanswered.
fn accept_and_drop(port: u16) {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        loop {
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                for stream in listener.incoming() {
                    drop(stream);
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    // The process stays long enough for clients to meet it.
    std::thread::sleep(Duration::from_millis(500));
}

/// Drops bare SYNs from now on: no new connection joins the queue.
fn gate(fd: i32) {
    let ld = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        ld(0x30, 0, 0, 13),
        ld(0x54, 0, 0, 0x12),
        ld(0x15, 0, 1, 0x02),
        ld(0x06, 0, 0, 0),
        ld(0x06, 0, 0, u32::MAX),
    ];
    let filter = libc::sock_fprog {
        len: 5,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` points to five live instructions; the kernel copies them.
    unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
}

/// Waits until `fd` is readable, so many milliseconds at most.
pub(crate) fn poll_in(fd: i32, millis: i32) -> bool {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live entry.
    unsafe { libc::poll(&raw mut entry, 1, millis) > 0 }
}

/// `/lbz` is true until the signal (broken: until the process is gone), `/livez` always.
pub(crate) fn probes(duck: &Arc<Duck>, port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let duck = Arc::clone(duck);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
            let mut head = [0; 1024];
            let count = stream.read(&mut head).unwrap_or(0);
            if head[..count].starts_with(b"POST /stop") {
                crate::signals::ask_to_stop();
            }
            let asks_lbz = head[..count].starts_with(b"GET /lbz");
            let leaving = !duck.is_broken("A1") && duck.phase() >= WINDOW;
            let status = if asks_lbz && leaving {
                "503 Service Unavailable"
            } else {
                "200 OK"
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
}
