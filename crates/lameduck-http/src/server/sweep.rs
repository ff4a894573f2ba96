//! Closing a listener without resetting anybody who is already on the way in.
//!
//! Owns how a queue of connections is emptied and when it counts as empty; what becomes of a connection is its caller's business.
//!
//! Closing a listening socket resets what stands in its accept queue and every handshake whose last ACK is still under way. So: new SYNs are
//! dropped by a filter (the client's kernel repeats them after a second and meets a successor or a refusal), handshakes under way get a few
//! round trips to complete, what completed is accepted, and only then the socket is closed. For listeners of this process alone: the
//! filter sits on the socket, which a successor or systemd may share. A Unix socket has no handshake: without its file nobody new finds it.
//!
//! It is done on a thread of its own: the runtime's timers round up by as much as a sweep takes, and at the window's end thousands of tasks
//! stand before whoever waits for his turn.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net as unix;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use lameduck::SynGate;
use lameduck::inflight::Fired;
use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;

use super::errors::{Trouble, trouble};
use super::listen::BACKLOG;
use super::sock;

const LEAST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// Bound of everything that can prolong a sweep: accepting until quiet, and waiting for free descriptors.
const LONGEST_SWEEP: Duration = Duration::from_secs(1);
/// Between two tries when descriptors or memory are scarce.
const SCARCE: Duration = Duration::from_millis(5);

/// Whether the SYN gate is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Try,
    Off,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) gate: SynGate,
    pub(crate) connections: u32,
    /// Errors of accept(2), and connections that could not be handed to the runtime.
    pub(crate) errors: u32,
}

impl Swept {
    /// Nothing, without a gate.
    pub(crate) const NOTHING: Self = Self::through(SynGate::Off);

    const fn through(gate: SynGate) -> Self {
        Self {
            gate,
            connections: 0,
            errors: 0,
        }
    }
}

/// How long handshakes under way are waited for: four of the largest recent round trips, between 2 ms and 200 ms.
pub(crate) fn patience(largest_round_trip: Duration) -> Duration {
    (largest_round_trip * 4).clamp(LEAST_WAIT, LONGEST_WAIT)
}

/// Begins something on a thread of its own when its waker is woken, by the one who wakes it: no task has to have its turn first.
pub(crate) struct Alarm {
    runtime: Handle,
    work: Mutex<Option<Work>>,
}

type Work = Box<dyn FnOnce() + Send>;

impl Alarm {
    /// `work` is done once at most, on a thread that knows the runtime. It is dropped undone with the alarm.
    pub(crate) fn new(work: impl FnOnce() + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            runtime: Handle::current(),
            work: Mutex::new(Some(Box::new(work))),
        })
    }

    /// Goes off when this comes, as long as what is returned is kept.
    pub(crate) fn goes_off_at(self: Arc<Self>, mut when: Fired) -> Fired {
        let waker = Waker::from(self.clone());
        if Pin::new(&mut when)
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            self.go_off();
        }
        when
    }

    fn go_off(&self) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(work) = work.take() else {
            return;
        };
        let (hand_over, taken) = mpsc::sync_channel::<Work>(1);
        let runtime = self.runtime.clone();
        let spawned = thread::Builder::new()
            .name("lameduck-sweep".to_owned())
            .spawn(move || {
                let _entered = runtime.enter();
                if let Ok(work) = taken.recv() {
                    work();
                }
            });
        if spawned.is_ok() {
            hand_over.send(work).expect("the thread waits for it");
        } else {
            // No thread is to be had: a worker is held up instead.
            self.runtime.spawn(async move { work() });
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.go_off();
    }
}

/// Takes a listening socket away from its clients, whoever else of this process has a descriptor of it.
pub(crate) fn shut(listener: BorrowedFd<'_>) {
    // Fails where the kernel does not do that to a socket that listens: then the last descriptor's end does.
    let _ = SockRef::from(&listener).shutdown(net::Shutdown::Both);
}

/// Accepts what is on the way in; then the listener is to be closed. Blocks the thread, which must know the runtime.
pub(crate) fn sweep(
    listener: &TcpListener,
    gate: Gate,
    patience: Duration,
    mut admit: impl FnMut(TcpStream, SocketAddr),
) -> Swept {
    let began = Instant::now();
    let mut swept = Swept::through(shut_gate(listener.as_fd(), gate));
    let has_gate = swept.gate == SynGate::Attached;
    let end = began + LONGEST_SWEEP;
    let mut until = began + patience;
    let accept = || {
        let (socket, addr) = SockRef::from(listener).accept()?;
        let peer = addr.as_socket().ok_or(io::ErrorKind::NotConnected)?;
        Ok((socket, peer))
    };
    let mut adopt = |(socket, peer): (Socket, SocketAddr)| {
        socket.set_nonblocking(true)?;
        admit(TcpStream::from_std(net::TcpStream::from(socket))?, peer);
        Ok(())
    };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        if sock::wait_readable(listener.as_fd(), left) {
            let before = swept.connections;
            empty(&mut swept, until, accept, &mut adopt);
            if !has_gate && swept.connections > before {
                // Without the gate only quiet tells that nobody is on the way.
                until = (Instant::now() + patience).min(end);
            }
        }
    }
    empty(&mut swept, end, accept, &mut adopt);
    swept
}

/// Accepts what found a Unix socket before its file was removed; then the listener is to be closed. Blocks the thread, which must know the
/// runtime.
pub(crate) fn sweep_unix(listener: &UnixListener, mut admit: impl FnMut(UnixStream)) -> Swept {
    let mut swept = Swept::NOTHING;
    let until = Instant::now() + LONGEST_SWEEP;
    let accept = || SockRef::from(listener).accept();
    let mut adopt = |(socket, _): (Socket, _)| {
        socket.set_nonblocking(true)?;
        admit(UnixStream::from_std(unix::UnixStream::from(socket))?);
        Ok(())
    };
    empty(&mut swept, until, accept, &mut adopt);
    // connect(2) looks the path up first and queues after: who was between the two needs a moment.
    thread::sleep(LEAST_WAIT);
    empty(&mut swept, until, accept, &mut adopt);
    swept
}

fn shut_gate(listener: BorrowedFd<'_>, gate: Gate) -> SynGate {
    match gate {
        Gate::Off => SynGate::Off,
        Gate::Try => match sock::attach_syn_gate(listener) {
            Ok(()) => SynGate::Attached,
            Err(error) => SynGate::Refused {
                errno: error.raw_os_error().unwrap_or(0),
            },
        },
    }
}

/// Accepts until the kernel says that the queue is empty.
///
/// Errors are waited out until `until`. Past it at most one more queue of connections is taken: a process that slept
/// through its time still serves who waited, and clients that connect without end keep nobody.
fn empty<T>(
    swept: &mut Swept,
    until: Instant,
    mut accept: impl FnMut() -> io::Result<T>,
    mut adopt: impl FnMut(T) -> io::Result<()>,
) {
    let mut late = 0_u32;
    // The kernel lets one more in than the backlog says.
    while late <= BACKLOG.unsigned_abs() {
        let overdue = Instant::now() >= until;
        late += u32::from(overdue);
        match accept() {
            Ok(connection) => match adopt(connection) {
                Ok(()) => swept.connections += 1,
                Err(_) => swept.errors += 1,
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                swept.errors += 1;
                if overdue {
                    return;
                }
                recover(&error);
            }
        }
    }
}

fn recover(error: &io::Error) {
    if trouble(error) == Trouble::Resources {
        thread::sleep(SCARCE);
    } else {
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_the_round_trip() {
        assert_eq!(patience(Duration::ZERO), Duration::from_millis(2));
        assert_eq!(
            patience(Duration::from_millis(30)),
            Duration::from_millis(120)
        );
        assert_eq!(patience(Duration::from_secs(3)), Duration::from_millis(200));
    }

    fn failure<T>(number: i32) -> io::Result<T> {
        Err(io::Error::from_raw_os_error(number))
    }

    #[test]
    fn only_an_empty_queue_ends_the_emptying() {
        let mut answers = [
            Ok(1),
            failure(libc::EMFILE),
            failure(libc::ECONNABORTED),
            Ok(2),
            failure(libc::EAGAIN),
            Ok(3),
        ]
        .into_iter();
        let mut swept = Swept::NOTHING;
        let mut taken = Vec::new();
        let until = Instant::now() + LONGEST_SWEEP;
        let accept = || answers.next().expect("not asked beyond the end");
        let adopt = |one| {
            taken.push(one);
            Ok(())
        };
        empty(&mut swept, until, accept, adopt);
        assert_eq!(taken, [1, 2]);
        assert_eq!((swept.connections, swept.errors), (2, 2));
    }

    #[test]
    fn lasting_scarcity_ends_with_the_time() {
        let mut swept = Swept::NOTHING;
        let until = Instant::now() + 10 * SCARCE;
        empty(&mut swept, until, || failure(libc::EMFILE), |()| Ok(()));
        assert!(Instant::now() >= until);
        assert_eq!(swept.connections, 0);
        assert!((2..=11).contains(&swept.errors), "{swept:?}");
    }

    #[test]
    fn a_queue_that_never_empties_is_left_after_the_time_and_one_backlog() {
        let mut swept = Swept::NOTHING;
        let until = Instant::now();
        empty(&mut swept, until, || Ok(()), Ok);
        assert_eq!(swept.connections, BACKLOG.unsigned_abs() + 1);
    }

    #[test]
    fn a_connection_that_cannot_be_adopted_is_counted() {
        let mut answers = [Ok(()), failure(libc::EAGAIN)].into_iter();
        let mut swept = Swept::NOTHING;
        let accept = || answers.next().expect("not asked beyond the end");
        empty(&mut swept, Instant::now(), accept, |()| {
            failure(libc::ENOMEM)
        });
        assert_eq!((swept.connections, swept.errors), (0, 1));
    }
}
