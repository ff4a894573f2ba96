//! A host without an acceptor: what parked connections are owed whatever becomes of their listener.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response};
use lameduck::{Late, Lifecycle, Plan, Preset, Window};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::body::Body;
use crate::handler::service_fn;
use crate::server::Protocols;
use crate::server::course::Wishes;
use crate::server::limits::Limits;
use crate::server::park::Socket;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A host in Running, and the mark that each clone of its application holds.
fn host(life: &Lifecycle, limits: Limits) -> (Arc<Host<impl App>>, Arc<()>) {
    let mark = Arc::new(());
    let held = mark.clone();
    let app = service_fn(move |_: Request<Body>| {
        let _held = &held;
        async { Ok::<_, Infallible>(Response::new("ok".to_owned())) }
    });
    let shared = Shared::new(life, limits, Protocols::Both, Wishes::default());
    (Arc::new(Host::new(Arc::new(shared), app, None)), mark)
}

async fn running() -> Lifecycle {
    let plan = Plan::preset(Preset::Local)
        .with_window(Window::NONE)
        .expect("a window")
        .with_late(Late::Refuse);
    let life = Lifecycle::embedded(plan).expect("a lifecycle");
    life.ready();
    assert!(life.running().await);
    life
}

fn limits() -> Limits {
    Limits {
        park_after: Some(Duration::from_millis(5)),
        settle: Duration::from_secs(10),
        ..Limits::default()
    }
}

/// A client and its connection's server side.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("an address");
    let client = TcpStream::connect(addr).await.expect("connect");
    let (server, _) = listener.accept().await.expect("accept");
    (client, server)
}

/// What a connection is registered as.
fn admitted<A: App>(host: &Host<A>) -> (Watch, Stay) {
    let pass = host.shared.life.inflight().connections.enter();
    let watch = Watch::new(host.shared.clone(), None, 0);
    (watch, Stay::new(&host.shared, Some(pass.expect("open"))))
}

/// A connection that has been idle since just now.
fn rested(server: TcpStream, watch: Watch) -> Rested {
    let since = watch.shared.life.elapsed();
    Rested {
        socket: Socket::Tcp(server.into_std().expect("a socket")),
        held: None,
        facts: watch.into_facts(since),
    }
}

/// A parked connection that nobody watches.
fn left_alone<A: App>(host: &Host<A>, server: TcpStream) -> Parked {
    let (watch, stay) = admitted(host);
    let Rested {
        socket,
        held,
        facts,
    } = rested(server, watch);
    Parked {
        socket,
        held,
        facts,
        stay,
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        yield_now().await;
    }
}

#[tokio::test]
async fn the_end_of_the_window_is_heard_while_the_listener_is_still_open() {
    let life = running().await;
    let (host, mark) = host(&life, limits());
    let (mut client, server) = pair().await;
    let (watch, stay) = admitted(&host);
    host.serve(server, watch, stay);
    until("parked", || host.shared.lot.oldest_since().is_some()).await;
    life.shutdown("the test says so");
    // Not quiet for long enough: it gets a task again, in which it is late.
    until("taken up", || host.shared.lot.oldest_since().is_none()).await;
    // The turn in which its task clones the application is the one in which it hears of the window's end.
    until("in its task", || Arc::strong_count(&mark) > 2).await;
    client.write_all(GET).await.expect("write");
    let mut head = [0; 12];
    client.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 503");
}

/// An application that cannot be cloned the next time, if it is so told.
struct Fragile(Arc<AtomicBool>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!self.0.swap(false, Ordering::Relaxed), "on purpose");
        Self(self.0.clone())
    }
}

#[tokio::test]
async fn an_application_that_panics_when_it_is_cloned_costs_one_connection() {
    let life = running().await;
    let breaks = Arc::new(AtomicBool::new(false));
    let fragile = Fragile(breaks.clone());
    let app = service_fn(move |_: Request<Body>| {
        let _fragile = &fragile;
        async { Ok::<_, Infallible>(Response::new("ok".to_owned())) }
    });
    let shared = Shared::new(&life, limits(), Protocols::Both, Wishes::default());
    let host = Arc::new(Host::new(Arc::new(shared), app, None));
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (client, server) = pair().await;
        let (watch, stay) = admitted(&host);
        host.keep(Some(rested(server, watch)), stay);
        clients.push(client);
    }
    breaks.store(true, Ordering::Relaxed);
    clients[0].write_all(GET).await.expect("write");
    // With a request unread, its end may be either.
    assert!(matches!(clients[0].read(&mut [0; 1]).await, Ok(0) | Err(_)));
    assert_eq!(life.inflight().connections.count(), 1, "given back");
    clients[1].write_all(GET).await.expect("write");
    let mut head = [0; 12];
    clients[1].read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[tokio::test]
async fn the_last_look_finds_what_no_bell_has_rung_for() {
    let life = running().await;
    let (host, _mark) = host(&life, limits());
    let (mut client, server) = pair().await;
    // Its bell is dropped: nobody hears it.
    assert!(
        host.shared
            .lot
            .park(left_alone(&host, server), Duration::MAX)
            .is_ok()
    );
    client.write_all(GET).await.expect("write");
    host.clear().await;
    let mut head = [0; 12];
    client.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
}

/// Parks a connection with this place in the floor, and asks on it.
async fn asked_after_parking<A: App>(host: &Arc<Host<A>>, place: u64) -> TcpStream {
    let (mut client, server) = pair().await;
    let pass = host.shared.life.inflight().connections.enter();
    let watch = Watch::new(host.shared.clone(), None, place);
    let stay = Stay::new(&host.shared, Some(pass.expect("open")));
    host.keep(Some(rested(server, watch)), stay);
    assert!(host.shared.lot.oldest_since().is_some(), "parked");
    client.write_all(GET).await.expect("write");
    client
}

/// Whether the answer tells its client to go.
async fn says_close(client: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        let read = client.read_buf(&mut answer).await.expect("an answer");
        assert!(read > 0, "ended early");
    }
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.contains("connection: close")
}

#[tokio::test]
async fn parking_leaves_a_connection_its_place_in_the_floor() {
    let hour = Duration::from_secs(3_600);
    let plan = Plan::preset(Preset::Local)
        .with_grace(3 * hour)
        .and_then(|plan| plan.with_window(Window::new(hour, hour, hour)))
        .expect("a plan");
    let life = Lifecycle::embedded(plan).expect("a lifecycle");
    life.ready();
    assert!(life.running().await);
    let (host, _mark) = host(&life, limits());
    life.shutdown("the test says so");
    life.drain().steering().await;
    for (place, goes) in [(0, true), (u64::MAX / 2, false)] {
        let mut client = asked_after_parking(&host, place).await;
        assert_eq!(says_close(&mut client).await, goes, "place {place}");
    }
}

#[tokio::test]
async fn a_connection_ages_while_it_is_parked() {
    let life = running().await;
    for (age, goes) in [
        (Duration::from_secs(3_600), false),
        (Duration::from_millis(1), true),
    ] {
        let limits = Limits {
            age: Some(age),
            ..limits()
        };
        let (host, _mark) = host(&life, limits);
        let (mut client, server) = pair().await;
        let (watch, stay) = admitted(&host);
        host.keep(Some(rested(server, watch)), stay);
        let parked_at = life.elapsed();
        until("older", || {
            life.elapsed() > parked_at + Duration::from_millis(1)
        })
        .await;
        client.write_all(GET).await.expect("write");
        assert_eq!(says_close(&mut client).await, goes, "{age:?}");
    }
}

/// Makes `number` another name of what `with` is.
fn replace(number: i32, with: &impl AsFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: both are open descriptors, and what owns `number` owns what it then stands for.
    let replaced = unsafe { libc::dup2(with.as_fd().as_raw_fd(), number) };
    assert_eq!(replaced, number);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_finds_no_room_in_the_kernel_is_served_when_there_is() {
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::fs::OpenOptionsExt;

    let life = running().await;
    let (host, _mark) = host(&life, limits());
    let (mut client, server) = pair().await;
    let server = server.into_std().expect("a socket");
    // epoll(7) takes no regular file, as it takes no socket when a user has too many registered.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(std::env::current_exe().expect("a path"))
        .expect("a file");
    let mut parked = left_alone(&host, pair().await.1);
    parked.socket = Socket::Tcp(OwnedFd::from(file).into());
    let number = parked.socket.as_fd().as_raw_fd();
    client.write_all(GET).await.expect("write");
    host.take_up(parked);
    assert_eq!(life.inflight().tally.value(Count::AcceptError), 1);
    assert!(!host.shared.crowd.is_below(1), "it is still one of them");
    replace(number, &server);
    drop(server);
    assert!(!says_close(&mut client).await);
}

#[tokio::test]
async fn who_has_been_idle_for_longer_goes_first_though_parked_later() {
    let life = running().await;
    let (host, _mark) = host(&life, limits());
    let mut clients = Vec::new();
    let now = life.elapsed() + Duration::from_secs(100);
    for idle in [1, 60, 30] {
        let (client, server) = pair().await;
        let mut parked = left_alone(&host, server);
        parked.facts.since = now - Duration::from_secs(idle);
        let limit = Duration::from_secs(75);
        assert!(host.shared.lot.park(parked, limit).is_ok());
        clients.push(client);
    }
    let idle = std::iter::from_fn(|| host.shared.lot.take_oldest(Duration::MAX))
        .map(|parked| (now - parked.since()).as_secs());
    assert_eq!(idle.collect::<Vec<_>>(), [60, 30, 1]);
}

#[tokio::test]
async fn memory_is_given_back_for_those_who_came_and_stayed() {
    let life = running().await;
    let (host, _mark) = host(&life, limits());
    let lot = &host.shared.lot;
    let (_client, server) = pair().await;
    let mut parked = left_alone(&host, server);
    for _ in 0..2_000 {
        assert!(lot.park(parked, Duration::MAX).is_ok());
        assert!(!lot.wants_tidying(), "one that comes again and again");
        parked = lot.take_oldest(Duration::MAX).expect("parked just now");
        lot.dismiss(&parked.socket);
    }
    for number in 1..=heap::WORTH {
        let (ours, _) = std::os::unix::net::UnixStream::pair().expect("descriptors");
        let (watch, stay) = admitted(&host);
        let one = Parked {
            socket: Socket::Unix(ours),
            held: None,
            facts: watch.into_facts(life.elapsed()),
            stay,
        };
        assert!(lot.park(one, Duration::MAX).is_ok());
        assert_eq!(lot.wants_tidying(), number == heap::WORTH);
    }
    assert!(!lot.wants_tidying(), "one is told so");
    while let Some(parked) = lot.take_oldest(Duration::MAX) {
        drop(parked);
    }
}

#[tokio::test]
async fn a_request_that_crosses_the_end_meets_fin() {
    let life = running().await;
    let (host, _mark) = host(&life, limits());
    let (mut client, server) = pair().await;
    let mut leaving = Leaving::default();
    leaving.part(left_alone(&host, server), &host.shared);
    client.write_all(GET).await.expect("write");
    leaving.settle(&host.shared, |_| ()).await;
    assert!(host.shared.crowd.is_below(1));
    assert_eq!(client.read(&mut [0; 1]).await.expect("FIN, no reset"), 0);
}

/// A parked connection whose client does not take what was sent to it.
#[cfg(all(target_os = "linux", not(lameduck_portable)))]
async fn unread<A: App>(host: &Host<A>) -> (TcpStream, Parked) {
    let (client, server) = pair().await;
    let parked = left_alone(host, server);
    let socket = socket2::SockRef::from(&parked.socket);
    while socket.send(&[0; 65_536]).is_ok() {}
    (client, parked)
}

#[cfg(all(target_os = "linux", not(lameduck_portable)))]
#[tokio::test]
async fn a_connection_counts_until_its_fin_has_arrived() {
    let life = running().await;
    let (host, _mark) = host(&life, limits());
    let (mut client, parked) = unread(&host).await;
    let mut leaving = Leaving::default();
    leaving.part(parked, &host.shared);
    let shared = host.shared.clone();
    let settled = tokio::spawn(async move { leaving.settle(&shared, |_| ()).await });
    // As long as it takes to close another one.
    let (_other, server) = pair().await;
    let mut others = Leaving::default();
    others.part(left_alone(&host, server), &host.shared);
    others.settle(&host.shared, |_| ()).await;
    assert!(!host.shared.crowd.is_below(1));
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.expect("all and FIN");
    settled.await.expect("settled");
    assert!(host.shared.crowd.is_below(1));
    assert_eq!(life.inflight().tally.value(Count::LingerExpired), 0);
}

#[cfg(all(target_os = "linux", not(lameduck_portable)))]
#[tokio::test]
async fn who_acknowledges_nothing_is_left_after_the_limit() {
    let life = running().await;
    let mut limits = limits();
    limits.linger = Duration::from_millis(50);
    let (host, _mark) = host(&life, limits);
    let (_client, parked) = unread(&host).await;
    let mut leaving = Leaving::default();
    leaving.part(parked, &host.shared);
    leaving.settle(&host.shared, |_| ()).await;
    assert!(host.shared.crowd.is_below(1));
    assert_eq!(life.inflight().tally.value(Count::LingerExpired), 1);
}

#[tokio::test]
async fn nobody_stays_where_nobody_hears() {
    let life = running().await;
    let (host, _mark) = host(&life, limits());
    let (mut client, server) = pair().await;
    let bell = host
        .shared
        .lot
        .park(left_alone(&host, server), Duration::MAX);
    let bell = bell.expect("room").expect("the first one's bell");
    // A runtime that goes away drops what it never polled.
    drop(host.clone().hear(bell, Warden(host.shared.clone())));
    assert_eq!(client.read(&mut [0; 1]).await.expect("FIN"), 0);
    assert!(host.shared.crowd.is_below(1));
    assert_eq!(life.inflight().connections.count(), 0);
    assert!(!host.shared.lot.is_open());
}
