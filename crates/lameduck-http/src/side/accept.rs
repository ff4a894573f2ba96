//! The accept loop of a side listener, and one connection from accept to its end.
//!
//! One request a connection, a second for its head and two for all of it (or what its route asks for), at most 64 at the same time: where
//! all places are taken, whoever has sent no head for longest gives its place up, so that peers that say nothing keep nobody waiting.
//! Whoever watches events, or takes part, leaves its place to others, and takes one of those that are counted apart.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::Request;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use lameduck::Lifecycle;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::role::{Held, Role, Said};
use crate::server::io::{Stream, Unnoted};
use crate::server::linger::{self, Input};
use crate::server::listen::{Bound, LocalAddr};

const AT_ONCE: usize = 64;
/// How long whoever has just connected may take to send its head, also when others want its place: many come at once when a
/// service asks all of its participants.
const MOMENT: Duration = Duration::from_millis(100);
/// From the connection to the end of its request's head.
const HEAD: Duration = Duration::from_secs(1);
/// From the end of the head to the end of the connection, where its route asks for no more.
pub(super) const PER_CONNECTION: Duration = Duration::from_secs(2);
/// The most of a head: browsers send every cookie of `localhost`, whatever the port.
const HEAD_BYTES: usize = 16 * 1024;
const LINGER: Duration = Duration::from_millis(500);
/// How long a request body that nobody reads may still be coming.
const UNREAD: Duration = Duration::from_millis(100);
const AFTER_ERROR: Duration = Duration::from_millis(50);

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Whom a listener accepted.
enum Met {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub(super) fn listen(bound: Bound) -> io::Result<Listener> {
    bound.listen()?;
    match bound.local {
        LocalAddr::Tcp(_) => TcpListener::from_std(bound.into_socket().into()).map(Listener::Tcp),
        LocalAddr::Unix(_) => {
            UnixListener::from_std(bound.into_socket().into()).map(Listener::Unix)
        }
    }
}

pub(super) async fn accept(life: &Lifecycle, listener: Listener, role: Arc<dyn Role>) {
    let room = Arc::new(Room::new());
    loop {
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Met::Tcp(stream)),
            Listener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| Met::Unix(stream))
            }
        };
        match accepted {
            Ok(Met::Tcp(stream)) => {
                spawn(life, Arc::clone(&role), stream, room.place().await);
            }
            Ok(Met::Unix(stream)) => {
                let role = role
                    .meet(stream.as_fd())
                    .unwrap_or_else(|| Arc::clone(&role));
                spawn(life, role, stream, room.place().await);
            }
            Err(_) => sleep(AFTER_ERROR).await,
        }
    }
}

fn spawn<S: Stream>(life: &Lifecycle, role: Arc<dyn Role>, stream: S, place: Place) {
    tokio::spawn(converse(life.clone(), role, stream, place));
}

/// The places of a listener.
struct Room {
    places: Arc<Semaphore>,
    /// Those that have not sent their head, in the order in which they came: at most twice as many as there are places, for some may have
    /// gone since.
    silent: Mutex<VecDeque<Silent>>,
}

/// A connection that has not sent its head.
struct Silent {
    since: Instant,
    /// Tells it that others need its place.
    wanted: oneshot::Sender<()>,
}

/// A connection's place.
struct Place {
    permit: OwnedSemaphorePermit,
    /// Others need it.
    wanted: oneshot::Receiver<()>,
}

impl Room {
    fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            silent: Mutex::default(),
        }
    }

    /// A place; if all are taken, that of whoever has been silent for longest, and for a moment at least.
    async fn place(&self) -> Place {
        let mut wait = Duration::ZERO;
        let permit = loop {
            let free = self.places.clone().acquire_owned();
            match timeout(wait, free).await {
                Ok(permit) => break permit.expect("the semaphore is never closed"),
                Err(_) => wait = self.free_one(),
            }
        };
        let (silent, wanted) = oneshot::channel();
        let mut all = self.lock();
        if all.len() >= 2 * AT_ONCE {
            all.retain(|silent| !silent.wanted.is_closed());
        }
        all.push_back(Silent {
            since: Instant::now(),
            wanted: silent,
        });
        Place { permit, wanted }
    }

    /// Takes the place of one that has been silent for long enough; how long to wait for it, or until there is such a one.
    fn free_one(&self) -> Duration {
        let mut all = self.lock();
        while let Some(silent) = all.pop_front() {
            let left = MOMENT.saturating_sub(silent.since.elapsed());
            if silent.wanted.is_closed() {
                continue;
            }
            if !left.is_zero() {
                all.push_front(silent);
                return left;
            }
            if silent.wanted.send(()).is_ok() {
                break;
            }
        }
        MOMENT
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Silent>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a connection's request once its head is here.
#[derive(Default)]
struct Asked {
    asked: bool,
    within: Duration,
    has_body: bool,
    held: Option<Box<dyn Held>>,
    afterwards: Option<Afterwards>,
}

/// What follows an answer, when it is out or was given up; dropping it does it.
pub(super) struct Afterwards(Option<Box<dyn FnOnce() + Send>>);

impl Afterwards {
    pub(super) fn new(act: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(act)))
    }
}

impl Drop for Afterwards {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

/// How far a connection came within the time for a head.
enum Progress {
    Asked,
    Over,
}

async fn converse<S: Stream>(
    life: Lifecycle,
    role: Arc<dyn Role>,
    stream: S,
    Place { permit, wanted }: Place,
) {
    // For a held connection; made here, for hyper lends its stream to nobody.
    let mut twin = stream.as_fd().try_clone_to_owned().ok();
    let noted = Mutex::new(Asked::default());
    let note = || noted.lock().unwrap_or_else(PoisonError::into_inner);
    let service = service_fn(|request: Request<Incoming>| {
        let has_body = !request.body().is_end_stream();
        let answering = role.answer(&life, request);
        *note() = Asked {
            asked: true,
            within: answering.within,
            has_body,
            held: answering.held,
            afterwards: None,
        };
        async move {
            let Said {
                response,
                afterwards,
            } = answering.said.await;
            note().afterwards = afterwards;
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new()
        .header_read_timeout(None)
        .keep_alive(false)
        .max_header_size(HEAD_BYTES)
        .serve_connection(Unnoted(stream), service);
    // An error is the peer's: it went away or sent no HTTP, and has its answer.
    let head = poll_fn(|cx| match Pin::new(&mut http).poll(cx) {
        Poll::Ready(_) => Poll::Ready(Progress::Over),
        Poll::Pending if note().asked => Poll::Ready(Progress::Asked),
        Poll::Pending => Poll::Pending,
    });
    let heard = tokio::select! {
        biased;
        heard = timeout(HEAD, head) => heard.ok(),
        // The other end is gone when nobody can want the place any more.
        Ok(()) = wanted => None,
    };
    let answered = match heard {
        Some(Progress::Over) => true,
        Some(Progress::Asked) => {
            let (within, held) = {
                let mut asked = note();
                (asked.within, asked.held.take())
            };
            match held {
                Some(held) => {
                    // Its place is for others now.
                    drop(permit);
                    watch(&mut http, held, twin.take()).await
                }
                None => timeout(within, &mut http).await.is_ok(),
            }
        }
        None => false,
    };
    // As long as it is open, the socket is.
    drop(twin);
    let has_body = note().has_body;
    let afterwards = note().afterwards.take();
    drop(afterwards);
    if !answered {
        // Past its time it is dropped: a prober that is this slow has given up long ago, and others wait for its place.
        return;
    }
    let input = if has_body {
        Input::UnreadUntilQuiet(UNREAD)
    } else {
        Input::Complete
    };
    let Unnoted(stream) = http.into_parts().io;
    linger::close(stream, input, LINGER).await;
}

/// Sees an event stream to its end; whether all was sent.
async fn watch(http: impl Future, held: Box<dyn Held>, twin: Option<OwnedFd>) -> bool {
    tokio::select! {
        biased;
        _ = http => true,
        () = held.stalled() => false,
        () = gone(twin) => false,
    }
}

/// Waits until the peer sends no more, which on a stream means that it has gone; `twin` is a duplicate of the socket's descriptor.
///
/// hyper looks for that only while it has read nothing behind the request: one byte more, and a peer that died would be here for good.
async fn gone(twin: Option<OwnedFd>) {
    // epoll_ctl(2) takes a descriptor once, and hyper's is taken: hence the duplicate.
    #[allow(
        deprecated,
        reason = "sound with an OwnedFd, which is one descriptor for life; what replaces it is unsafe, and older tokios have it not"
    )]
    let twin = twin.and_then(|twin| AsyncFd::with_interest(twin, Interest::READABLE).ok());
    if let Some(twin) = twin {
        while let Ok(mut ready) = twin.readable().await {
            if ready.ready().is_read_closed() {
                return;
            }
            // Bytes that nobody reads: the next edge wakes this again.
            ready.clear_ready();
        }
    }
    // Without a descriptor to spare, what hyper notices must do.
    pending().await
}

#[cfg(test)]
mod tests {
    use lameduck::{Plan, Preset};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::super::role::Probes;
    use super::*;

    fn life() -> Lifecycle {
        Lifecycle::embedded(Plan::preset(Preset::Local)).expect("a lifecycle")
    }

    /// What a connection takes by the runtime's clock, which jumps over every wait.
    async fn taken(said: &[u8]) -> (Duration, Vec<u8>) {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(said).await.expect("room in the socket");
        let room = Room::new();
        let place = room.place().await;
        let began = Instant::now();
        converse(life(), Arc::new(Probes), ours, place).await;
        let took = began.elapsed();
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.expect("orderly");
        (took, heard)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_ask_gives_its_place_up_after_a_second() {
        for said in [&b""[..], b"GET /livez HT"] {
            let (took, heard) = taken(said).await;
            assert!((HEAD..PER_CONNECTION).contains(&took), "{took:?}");
            assert_eq!(heard, b"");
        }
    }

    #[tokio::test]
    async fn a_peer_that_asks_is_answered() {
        let (_, heard) = taken(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(heard.starts_with(b"HTTP/1.1 200 "), "{heard:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_silent_longest_goes_first() {
        let room = Room::new();
        let mut places = Vec::new();
        for _ in 0..AT_ONCE {
            places.push(room.place().await);
        }
        // The first has sent its head meanwhile: nobody waits for it to go.
        let first = places.remove(0);
        drop(first.wanted);
        let second = places.remove(0);
        let freed = tokio::join!(room.place(), async {
            let began = Instant::now();
            second.wanted.await.expect("it is wanted");
            assert_eq!(
                began.elapsed(),
                MOMENT,
                "whoever has just come has a moment"
            );
            drop(second.permit);
        });
        assert_eq!(room.places.available_permits(), 0);
        drop((freed, first.permit, places));
        assert_eq!(room.places.available_permits(), AT_ONCE);
    }
}
