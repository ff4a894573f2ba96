//! The admin role: the status, the page to watch a drain on, the events it lives by, and what somebody with the token may do.
//!
//! | module | owns |
//! |---|---|
//! | `routes` | the routing table: paths, methods, what each needs |
//! | `visitor` | who may ask: hosts, other sites, the token |
//! | `desk` | from a request to its answer, by that table and those rules |
//! | `token` | the token's file |
//! | `actions` | drain, cut, reload |
//! | `breakers` | circuit breakers: in the status, forced and released |
//! | `events` | the status as an event stream |
//! | `page` | the page, and the headers of every answer |

mod actions;
mod breakers;
mod desk;
mod events;
mod page;
mod routes;
mod token;
mod visitor;

use std::fmt;
use std::future::{IntoFuture, Ready, ready};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lameduck::Lifecycle;
use tokio::runtime::Handle;

#[cfg(feature = "control")]
pub(super) use actions::Asker;
pub(super) use desk::{Body, Desk};
pub use routes::{AdminRequest, AdminRoute};
pub use token::TokenError;

use self::events::Feed;
use self::token::Token;
use self::visitor::Hosts;
use super::{SideServer, start};
use crate::serve::ServeError;
use crate::server::listen::{Bound, ToListenAddr};

/// Answers on `addr`, a loopback address or a Unix socket, from now until the last stop hook: `/`, a page to watch the service on; `/status`,
/// the same as JSON; `/events`, the same as an event stream that ends when the service does; the probes. Await the builder to start.
///
/// With a [token file](Admin::token_file) `POST /drain`, `/cut` and `/reload` do what they say, and `/breakers/open`, `/breakers/close` and
/// `/breakers/release` do it to the [circuit breaker](crate::breaker) whose number stands behind `?id=`. The status lists those that belong to the
/// lifecycle.
///
/// Bounded like [`probes`](crate::probes()); 32 may watch besides.
///
/// # Who may ask
/// A browser on the same machine runs pages of strangers, so nothing is answered for a `Host` that is not this listener's (loopback, the
/// bound address, [names that were given](Admin::host)), nothing is shown to other sites' pages, and to change something takes
/// POST, the token, and a request that no other site sent. On a Unix socket the `Host` means nothing.
///
/// # Examples
/// ```no_run
/// # async fn run(life: lameduck::Lifecycle) -> Result<(), lameduck_http::ServeError> {
/// let admin = lameduck_http::admin(&life, "127.0.0.1:9000")
///     .token_file("/run/app/admin-token")
///     .await?;
/// println!("watch it on http://{}/", admin.local_addr());
/// # Ok(())
/// # }
/// ```
pub fn admin(life: &Lifecycle, addr: impl ToListenAddr) -> Admin<'_> {
    Admin {
        life,
        bound: addr.to_listen_addr().and_then(|addr| Bound::bind(&addr)),
        reach: Reach::Home,
        hosts: Vec::new(),
        debug: Debugging::Off,
        token: None,
        routes: routes::built_in(),
    }
}

/// An admin listener to be; await it.
#[must_use = "an admin listener starts only when it is awaited"]
pub struct Admin<'a> {
    life: &'a Lifecycle,
    bound: io::Result<Bound>,
    reach: Reach,
    hosts: Vec<String>,
    debug: Debugging,
    token: Option<PathBuf>,
    routes: Vec<AdminRoute>,
}

/// From where the listener may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Home,
    Anywhere,
}

/// Whether debug endpoints answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Debugging {
    Off,
    On,
}

impl Admin<'_> {
    /// Lets the address be one that other machines reach.
    ///
    /// Without TLS and without a login: whoever gets there reads paths and addresses of requests in flight and, with debug endpoints, the stacks of
    /// the process; whoever listens on the way reads the token. Behind a proxy that knows its users, or not at all.
    pub fn dangerously_reachable_from_elsewhere(mut self) -> Self {
        self.reach = Reach::Anywhere;
        self
    }

    /// A name under which it may be asked, besides loopback and its address: that of a proxy or a tunnel before it. Any port.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Switches the endpoints below `/debug/` on.
    pub fn with_debug(mut self) -> Self {
        self.debug = Debugging::On;
        self
    }

    /// Lets whoever has the token in this file drain, cut, reload and force breakers. Where there is no such file one is made, mode 0600, with random content.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Some(path.into());
        self
    }

    /// Adds a route. What was added first keeps its path, and the listener's own paths stay its own.
    pub fn route(mut self, route: AdminRoute) -> Self {
        self.routes.push(route);
        self
    }

    fn start(self) -> Result<SideServer, ServeError> {
        let runtime = Handle::try_current().map_err(|_| ServeError::Runtime)?;
        let bound = self.bound.map_err(ServeError::Bind)?;
        if self.reach == Reach::Home
            && bound
                .local
                .tcp()
                .is_some_and(|addr| !addr.ip().to_canonical().is_loopback())
        {
            return Err(ServeError::Reachable(bound.local.clone()));
        }
        let token = self.token.as_deref().map(Token::at).transpose();
        let feed = Feed::new(self.life.clone());
        let desk = Desk {
            hosts: Hosts::of(&bound.local, self.hosts),
            token: token.map_err(ServeError::Token)?,
            debug: self.debug,
            routes: self.routes,
            no_path: desk::NO_PATH,
            feed: Arc::clone(&feed),
        };
        let server = start(self.life, bound, Arc::new(desk))?;
        sample(&runtime, self.life, feed);
        Ok(server)
    }
}

/// The same answers for somebody whom the kernel has named, but the page, with these routes besides. Samples from now on.
#[cfg(feature = "control")]
pub(super) fn desk_for_control(runtime: &Handle, life: &Lifecycle, more: Vec<AdminRoute>) -> Desk {
    let own = routes::built_in().into_iter();
    let own = own.filter(|route| !matches!(route.answers, routes::Answers::Page));
    let feed = Feed::new(life.clone());
    sample(runtime, life, Arc::clone(&feed));
    Desk {
        hosts: Hosts::any(),
        token: None,
        debug: Debugging::On,
        routes: own.chain(more).collect(),
        no_path: desk::NO_PATH_HERE,
        feed,
    }
}

/// Samples for those who watch, to the end.
fn sample(runtime: &Handle, life: &Lifecycle, feed: Arc<Feed>) {
    let life = life.clone();
    runtime.spawn(async move {
        tokio::select! {
            () = feed.sample() => {}
            _ = life.outcome() => {}
        }
    });
}

impl IntoFuture for Admin<'_> {
    type Output = Result<SideServer, ServeError>;
    type IntoFuture = Ready<Self::Output>;

    /// Starts. Needs a tokio runtime; never waits.
    fn into_future(self) -> Self::IntoFuture {
        ready(self.start())
    }
}

impl fmt::Debug for Admin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("bound", &self.bound)
            .field("reach", &self.reach)
            .field("hosts", &self.hosts)
            .field("debug", &self.debug)
            .field("token", &self.token)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}
