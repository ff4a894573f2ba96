//! How a client comes about: its limits, its name among the participants, and what it depends on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lameduck::{EnrolError, Lifecycle, Member, Place};

use super::connect::{Connector, Secure};
use super::keeper::Keeper;
use super::pool::Pool;
use super::pool::machine::Bounds;
use super::{Client, Inner};
use crate::server::Protocols;

/// What a [`Client`] allows itself and its servers. Every number has a bound, and what it refuses is counted.
///
/// # Examples
/// ```
/// use lameduck_http::client::ClientLimits;
///
/// let mut limits = ClientLimits::default();
/// limits.per_host = 8;
/// assert_eq!(limits.connections, 100);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// Connections at a time, those that open and close included. 100 by default.
    pub connections: usize,
    /// Of these, to one host: scheme, name and port. 50 by default.
    pub per_host: usize,
    /// Streams at a time on one connection of HTTP/2, if its server allows as many. 100 by default.
    pub streams: usize,
    /// Requests that wait for a connection at a time. 1,024 by default.
    pub waiting: usize,
    /// For how long a request waits for a connection. 5 s by default.
    pub wait: Duration,
    /// For how long a connection is kept that nobody uses; for less where a server says `Keep-Alive: timeout=`, by a second. 30 s by default, and no more than that: it has to be below the keep-alive of the
    /// servers, so that it is this side that ends an idle connection, and no request crosses a FIN. nginx and lameduck's own server keep them for 75 s, an
    /// Application Load Balancer for 60 s; Node.js keeps them for 5 s, which needs less here.
    pub idle: Duration,
    /// For a connection to come about: name, TCP to whichever address answers, TLS. 5 s by default.
    pub connect: Duration,
    /// For the head of a response, since the body of the request moved last. 60 s by default.
    pub answer: Duration,
    /// How long the body of a response may stand still while somebody reads it. 60 s by default.
    pub stall: Duration,
    /// The longest head of a response, in bytes. 64 KiB by default.
    pub head: usize,
    /// The longest body that is sent more than once, in bytes. 1 MiB by default.
    pub replay: usize,
    /// How often a request is tried, the first time included. 3 by default; 1 never tries again.
    pub tries: u32,
}

impl ClientLimits {
    /// The longest that an idle connection is kept, whatever is asked for.
    pub const MOST_IDLE: Duration = Duration::from_secs(30);

    /// So that a point in time can be made of each of them.
    fn clamped(mut self) -> Self {
        for limit in [
            &mut self.wait,
            &mut self.connect,
            &mut self.answer,
            &mut self.stall,
        ] {
            *limit = FOREVER.min(*limit);
        }
        self
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connections: 100,
            per_host: 50,
            streams: 100,
            waiting: 1_024,
            wait: Duration::from_secs(5),
            idle: Self::MOST_IDLE,
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            head: 64 * 1_024,
            replay: 1_024 * 1_024,
            tries: 3,
        }
    }
}

/// As good as without a limit: ten years.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// A client to be; made by [`Client::builder`].
#[must_use = "a client is made by `build`"]
pub struct ClientBuilder<'a> {
    life: &'a Lifecycle,
    name: String,
    after: Vec<Place>,
    budget: Duration,
    limits: ClientLimits,
    protocols: Protocols,
    secure: Option<MakeSecure>,
}

/// Made when the protocols are known.
type MakeSecure = Box<dyn FnOnce(Protocols) -> Arc<dyn Secure> + Send>;

impl<'a> ClientBuilder<'a> {
    pub(super) fn new(life: &'a Lifecycle) -> Self {
        Self {
            life,
            name: "client".to_owned(),
            after: Vec::new(),
            budget: Duration::from_secs(5),
            limits: ClientLimits::default(),
            protocols: Protocols::default(),
            secure: None,
        }
    }

    /// Names the participant; otherwise it is called `client`. Each client of a service needs a name of its own.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Declares that the client needs `other`, and stops before it.
    pub fn after(mut self, other: &impl Member) -> Self {
        self.after.push(other.place().clone());
        self
    }

    /// How long requests that are still in flight may take when whoever declared to use the client has ended; 5 s by default. There should be
    /// none.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// Replaces the limits.
    pub fn limits(mut self, limits: ClientLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Chooses the versions of HTTP. By default both: what ALPN agrees on under TLS, HTTP/1.1 in the clear.
    /// [`Protocols::Http2`] speaks HTTP/2 in the clear by prior knowledge (RFC 9113 §3.3).
    pub fn protocols(mut self, protocols: Protocols) -> Self {
        self.protocols = protocols;
        self
    }

    /// Speaks `https`, with this configuration: whom to trust, which crypto provider. Its ALPN protocols are replaced by those of
    /// [`protocols`](Self::protocols).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: impl Into<Arc<rustls::ClientConfig>>) -> Self {
        let config = config.into();
        self.secure = Some(Box::new(move |protocols| {
            super::tls::secure(&config, protocols)
        }));
        self
    }

    /// Enrols the client.
    ///
    /// # Errors
    /// [`EnrolError`] of its participant.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn build(self) -> Result<Client, EnrolError> {
        let secure = self.secure.map(|make| make(self.protocols));
        let limits = self.limits.clamped();
        let connector = Connector::new(self.protocols, secure, limits.connect);
        let pool = Pool::new(Bounds {
            connections: limits.connections.max(1),
            per_host: limits.per_host.max(1),
            waiting: limits.waiting,
            streams: limits.streams.max(1),
            idle: limits.idle.min(ClientLimits::MOST_IDLE),
        });
        let mut enrol = self.life.participate(self.name.clone()).budget(self.budget);
        for other in &self.after {
            enrol = enrol.after(other);
        }
        let participant = enrol.register()?;
        let place = participant.place().clone();
        let keeper = Keeper {
            pool: Arc::clone(&pool),
            life: self.life.clone(),
            name: self.name.clone(),
            budget: participant.budget().unwrap_or(self.budget).min(FOREVER),
        };
        keeper.start(participant);
        let inner = Inner {
            name: self.name,
            place,
            pool,
            connector,
            limits,
            budget: std::sync::Mutex::new(super::retry::Budget::new()),
        };
        Ok(Client {
            inner: Arc::new(inner),
        })
    }
}

impl fmt::Debug for ClientBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
