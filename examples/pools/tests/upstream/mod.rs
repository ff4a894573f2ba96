//! A server that counts its connections, and holds its answers back when it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::support::BOUND;

/// The most of a head.
const MOST_HEAD: u64 = 64 << 10;

#[derive(Clone)]
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    accepted: usize,
    open: usize,
    /// Requests wait until there are none of them.
    holds: bool,
    held: usize,
    /// The next answer stops after its head.
    holds_body: bool,
    /// One has stopped there.
    body_held: bool,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let upstream = Self {
            address: listener.local_addr().expect("it is bound"),
            shared: Arc::default(),
        };
        let serving = upstream.clone();
        // Ends with the process; each test has one.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let upstream = serving.clone();
                upstream.state().accepted += 1;
                upstream.state().open += 1;
                thread::spawn(move || {
                    let _ = upstream.serve(stream);
                    upstream.state().open -= 1;
                });
            }
        });
        upstream
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn accepted(&self) -> usize {
        self.state().accepted
    }

    /// Connections that the client has not closed.
    pub(crate) fn open(&self) -> usize {
        self.state().open
    }

    /// Holds the answers to what comes from here on.
    pub(crate) fn hold(&self) {
        self.state().holds = true;
    }

    pub(crate) fn release(&self) {
        self.state().holds = false;
        self.shared.1.notify_all();
    }

    /// Waits until so many requests are held.
    #[track_caller]
    pub(crate) fn until_held(&self, many: usize) {
        self.wait_until("requests", |state| state.held >= many);
    }

    /// Holds the body of the next answer, whose head is sent.
    pub(crate) fn hold_a_body(&self) {
        self.state().holds_body = true;
    }

    /// Waits until it is held.
    #[track_caller]
    pub(crate) fn until_body_held(&self) {
        self.wait_until("an answer", |state| state.body_held);
    }

    pub(crate) fn release_body(&self) {
        self.state().body_held = false;
        self.shared.1.notify_all();
    }

    #[track_caller]
    fn wait_until(&self, what: &str, is: impl Fn(&State) -> bool) {
        let waited = self
            .shared
            .1
            .wait_timeout_while(self.state(), BOUND, |state| !is(state));
        let (_state, waited) = waited.expect("no thread panics with it");
        assert!(!waited.timed_out(), "{what} did not come in {BOUND:?}");
    }

    /// Answers until the client closes.
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut path = None;
            let mut head = std::io::Read::by_ref(&mut reader).take(MOST_HEAD);
            loop {
                let mut line = String::new();
                if head.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if path.is_none() {
                    path = line.split(' ').nth(1).map(str::to_owned);
                } else if line == "\r\n" {
                    break;
                }
            }
            self.wait_if_held();
            let (length, body) = match path.as_deref() {
                Some("/quote") => (7, "a quote"),
                // Never comes to its end.
                _ => (1_000_000, "begun"),
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let stream = reader.get_mut();
            stream.write_all(head.as_bytes())?;
            self.wait_if_body_held();
            stream.write_all(body.as_bytes())?;
        }
    }

    fn wait_if_held(&self) {
        let mut state = self.state();
        state.held += 1;
        self.shared.1.notify_all();
        let mut state = self
            .shared
            .1
            .wait_timeout_while(state, BOUND, |state| state.holds)
            .expect("no thread panics with it")
            .0;
        state.held -= 1;
    }

    fn wait_if_body_held(&self) {
        let mut state = self.state();
        if !std::mem::take(&mut state.holds_body) {
            return;
        }
        state.body_held = true;
        self.shared.1.notify_all();
        let waited = self
            .shared
            .1
            .wait_timeout_while(state, BOUND, |state| state.body_held);
        drop(waited.expect("no thread panics with it"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("no thread panics with it")
    }
}
