//! `serve`: from an address and a service to a listener that takes part in the lifecycle.
//!
//! Owns the builder, its errors and the handle. Accepting is [`crate::server::accept`]'s business.

use std::error::Error;
use std::fmt;
use std::future::{IntoFuture, Ready, ready};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use lameduck::{EnrolError, Late, Lifecycle, Member, Place};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::peer::{self, Introduction, Make, Peer};
use crate::server::accept::{Acceptor, Door, Ownership};
use crate::server::course::Wishes;
use crate::server::ending::Ending;
use crate::server::exchange::App;
use crate::server::host::Host;
use crate::server::limits::Limits;
use crate::server::listen::{Bound, LocalAddr, ToListenAddr};
use crate::server::secure::{Secure, TlsObjection};
use crate::server::sweep::Gate;
use crate::server::{Protocols, Shared};
use crate::side::TokenError;
use crate::ws::WebSockets;

/// Serves `app` on `addr` as a participant of `life`: bound at once, listening from Running on, drained when asked to leave.
///
/// Await the builder to bind; that returns as soon as the listener is ready for Running, not when it ends.
///
/// # Phases
/// Initializing: bound, refusing. Running and Terminating: accepting and serving. At the end of the lame-duck window the listener is swept and closed; what
/// is in flight is served with `Connection: close` until the drain deadline.
///
/// # Examples
/// ```no_run
/// # async fn run(life: lameduck::Lifecycle, app: axum::Router) -> Result<(), lameduck_http::ServeError> {
/// let server = lameduck_http::serve(&life, "127.0.0.1:8080", app).await?;
/// println!("listening on {}", server.local_addr());
/// # Ok(())
/// # }
/// ```
pub fn serve<A: App>(life: &Lifecycle, addr: impl ToListenAddr, app: A) -> Serve<'_, A> {
    let bound = addr.to_listen_addr().and_then(|addr| Bound::bind(&addr));
    Serve::new(life, bound, app)
}

/// Serves `app` on a TCP listener that was made elsewhere, and is ours alone: it will be swept and closed.
///
/// A listener that other processes hold too (systemd's `LISTEN_FDS`, a hand-over) needs [`shared`](Serve::shared).
pub fn serve_listener<A: App>(life: &Lifecycle, listener: TcpListener, app: A) -> Serve<'_, A> {
    Serve::new(life, Bound::inherited(listener), app)
}

/// A server to be; await it.
#[must_use = "a server listens only when it is awaited"]
pub struct Serve<'a, A> {
    life: &'a Lifecycle,
    bound: io::Result<Bound>,
    app: A,
    name: Option<String>,
    after: Vec<Place>,
    limits: Limits,
    protocols: Protocols,
    wishes: Wishes,
    event_streams: Ending,
    websockets: WebSockets,
    ownership: Ownership,
    trims_heap: bool,
    introduce: Option<Make>,
    secure: Option<Secure<A>>,
}

impl<'a, A: App> Serve<'a, A> {
    fn new(life: &'a Lifecycle, bound: io::Result<Bound>, app: A) -> Self {
        Self {
            life,
            bound,
            app,
            name: None,
            after: Vec::new(),
            limits: Limits::default(),
            protocols: Protocols::default(),
            wishes: Wishes::default(),
            event_streams: Ending::default(),
            websockets: WebSockets::default(),
            ownership: Ownership::Exclusive(Gate::Try),
            trims_heap: false,
            introduce: None,
            secure: None,
        }
    }

    /// Names the participant; otherwise it is called `http` and its address.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Declares that requests need `other`: this server stops before it.
    pub fn after(mut self, other: &impl Member) -> Self {
        self.after.push(other.place().clone());
        self
    }

    /// The same as [`after`](Self::after), in the words of a dependency.
    pub fn depends_on(self, other: &impl Member) -> Self {
        self.after(other)
    }

    /// Replaces the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Chooses the versions of HTTP; both by default.
    pub fn protocols(mut self, protocols: Protocols) -> Self {
        self.protocols = protocols;
        self
    }

    /// Keeps this listener as it is in Running until nothing that [depends on](Self::depends_on) it is at work: for metrics, and for
    /// what the rest of the service needs while it drains.
    ///
    /// Its clients are told to go, and it is swept and closed, only then, or when the drain ends. Its connections are waited for like
    /// any; its requests do not prolong the window.
    pub fn inner(mut self) -> Self {
        self.wishes.inner = true;
        self
    }

    /// Closes admission so long after T, if the service's window is not over before.
    ///
    /// No effect on an [`inner`](Self::inner) listener.
    pub fn window_at_most(mut self, window: Duration) -> Self {
        self.wishes.window_at_most = Some(window);
        self
    }

    /// Decides what becomes of late requests here, instead of the plan.
    pub fn late(mut self, late: Late) -> Self {
        self.wishes.late = Some(late);
        self
    }

    /// Spreads the steering of the connections open at T over so long, instead of the window's floor. The window's end steers the rest.
    pub fn spread(mut self, spread: Duration) -> Self {
        self.wishes.spread = Some(spread);
        self
    }

    /// Chooses how event streams end that say nothing themselves: `text/event-stream` in answer to a GET. By default between two events,
    /// without a `retry`. [`EndStreams`](crate::EndStreams) chooses for one route, [`Ending`] in a response's extensions for one response.
    pub fn event_streams(mut self, ending: Ending) -> Self {
        self.event_streams = ending;
        self
    }

    /// Serves HTTPS: with this configuration, an `Arc<rustls::ServerConfig>` or one that is reloaded.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: impl Into<crate::tls::Tls>) -> Self {
        self.secure = Some(crate::server::tls::secure(tls.into()));
        self
    }

    /// Makes a value of each connection's peer, once; a clone of it stands in the extensions of each of its requests.
    ///
    /// # Examples
    /// For axum's extractor `ConnectInfo<SocketAddr>`:
    /// ```no_run
    /// # async fn run(life: lameduck::Lifecycle, app: axum::Router) -> Result<(), lameduck_http::ServeError> {
    /// use axum::extract::ConnectInfo;
    ///
    /// lameduck_http::serve(&life, "127.0.0.1:8080", app)
    ///     .connect_info(|peer| ConnectInfo(peer.addr().expect("the listener is TCP")))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_info<T, F>(mut self, make: F) -> Self
    where
        T: Clone + Send + Sync + 'static,
        F: Fn(&Peer) -> T + Send + Sync + 'static,
    {
        self.introduce = Some(peer::erased(make));
        self
    }

    /// Chooses what the clients of WebSockets are told when the service leaves, and over which time.
    pub fn websockets(mut self, websockets: WebSockets) -> Self {
        self.websockets = websockets;
        self
    }

    /// Declares that other processes hold the listening socket too: at the end it is let go without a sweep.
    pub fn shared(mut self) -> Self {
        self.ownership = Ownership::Shared;
        self
    }

    /// Leaves the SYN gate out of the sweep: connections are accepted until none came for a while.
    pub fn without_syn_gate(mut self) -> Self {
        if self.ownership == Ownership::Exclusive(Gate::Try) {
            self.ownership = Ownership::Exclusive(Gate::Off);
        }
        self
    }

    /// Has glibc hand free pages back to the system (malloc_trim(3)) when 512 more connections were [parked](Limits::park_after) than before and fewer than that
    /// have come for half a second, or after 5 s.
    ///
    /// What parked connections give back stays in glibc's heap otherwise, for the next allocation. The call walks the heap of the whole
    /// process and holds the lock of each of its arenas meanwhile: milliseconds for a small heap, more for a large one. It is made off the runtime's workers, at
    /// most every 30 s, and not after T. No effect with another allocator or another libc.
    pub fn trim_heap(mut self) -> Self {
        self.trims_heap = true;
        self
    }

    fn start(self) -> Result<Server, ServeError> {
        Handle::try_current().map_err(|_| ServeError::Runtime)?;
        let bound = self.bound.map_err(ServeError::Bind)?;
        if let Some(secure) = &self.secure
            && let Some(objection) = (secure.objection)(self.protocols)
        {
            return Err(ServeError::Tls(objection));
        }
        let local = bound.local.clone();
        let (bound, file) = bound.into_parts();
        let (opener, opened) = oneshot::channel();
        // Run by the lifecycle when Running is entered, before anybody can see the phase.
        let open = move || {
            bound.listen()?;
            // A listener that was given up meanwhile is closed by dropping it.
            let _ = opener.send(bound.into_socket());
            Ok(())
        };
        let name = self.name.unwrap_or_else(|| format!("http {local}"));
        let mut enrol = self.life.participate(name);
        for other in &self.after {
            enrol = enrol.after(other);
        }
        let enrol = if self.wishes.inner {
            enrol.inner_listener(open)
        } else {
            enrol.listener(open)
        };
        let participant = enrol.register().map_err(ServeError::Enrol)?;
        participant.ready();
        let place = participant.place().clone();
        let introduction = self
            .introduce
            .map(|make| Introduction::new(local.clone(), make));
        let shared = Shared {
            owner: Some(place.id().number()),
            cancellation: participant.cancellation(),
            event_streams: self.event_streams,
            websockets: self.websockets,
            trims_heap: self.trims_heap,
            introduction,
            ..Shared::new(self.life, self.limits, self.protocols, self.wishes)
        };
        let shared = Arc::new(shared);
        let host = Host::new(shared.clone(), self.app, self.secure);
        // A task for each listener: dumps say what it does. Those of connections are named by their slots, which cost a request nothing.
        let life = shared.life.clone();
        let door = Door {
            shared,
            host: Arc::new(host),
            participant,
            local: local.clone(),
            file: file.into(),
            ownership: self.ownership,
            turn: Default::default(),
        };
        let acceptor = Acceptor { door, opened };
        life.spawn(format!("accept {local}"), acceptor.run());
        Ok(Server { local, place })
    }
}

impl<'a, A: App> IntoFuture for Serve<'a, A> {
    type Output = Result<Server, ServeError>;
    type IntoFuture = Ready<Self::Output>;

    /// Enrols and starts. Needs a tokio runtime; never waits.
    fn into_future(self) -> Self::IntoFuture {
        ready(self.start())
    }
}

impl<A> fmt::Debug for Serve<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("bound", &self.bound)
            .field("name", &self.name)
            .field("limits", &self.limits)
            .field("ownership", &self.ownership)
            .finish_non_exhaustive()
    }
}

/// A server that takes part in the lifecycle. Dropping the handle changes nothing.
#[derive(Clone, Debug)]
pub struct Server {
    local: LocalAddr,
    place: Place,
}

impl Member for Server {
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Server {
    /// Where it listens, with the port that the kernel chose for port 0.
    #[must_use]
    pub const fn local_addr(&self) -> &LocalAddr {
        &self.local
    }
}

/// Why a server could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is none, or could not be bound.
    Bind(io::Error),
    /// The lifecycle did not take it as a participant.
    Enrol(EnrolError),
    /// There is no tokio runtime here.
    Runtime,
    /// An admin listener must not be reachable from other machines.
    Reachable(LocalAddr),
    /// The TLS configuration and the listener do not go together.
    Tls(TlsObjection),
    /// The token file of an admin listener cannot be used.
    Token(TokenError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => write!(f, "cannot bind the listener: {error}"),
            Self::Enrol(error) => write!(f, "cannot enrol the server: {error}"),
            Self::Runtime => f.write_str("a server needs a tokio runtime to start in"),
            Self::Reachable(addr) => write!(
                f,
                "the admin listener must be on loopback or a Unix socket, {addr} can be reached from elsewhere"
            ),
            Self::Tls(objection) => write!(f, "the TLS configuration cannot be used: {objection}"),
            Self::Token(error) => error.fmt(f),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Bind(error) => Some(error),
            Self::Enrol(error) => Some(error),
            Self::Token(error) => error.source(),
            Self::Runtime | Self::Reachable(_) | Self::Tls(_) => None,
        }
    }
}
