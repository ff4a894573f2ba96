//! An HTTP client whose connections leave with the service (feature `client`).
//!
//! A [`Client`] is a participant that stops after the servers that use it. Its pool is bounded, its idle connections go first when the service
//! drains, it sends again only what is known to be unprocessed or may be done twice, and at the end it proves that nothing is open:
//! see [the manual](crate::manual::outgoing).
//!
//! | module | owns |
//! |---|---|
//! | `builder` | limits, and how a client comes about |
//! | `attempt` | one try of a request, and what became of it |
//! | `retry` | whether it is tried again |
//! | `pool` | which connection a request gets, and which end |
//! | `connect`, `tls`, `conn` | a socket, TLS, HTTP on it |
//! | `wire`, `frames` | the bytes of a connection, and what its server says about streams |
//! | `body`, `response` | what is sent, what comes back |
//! | `keeper` | the participant |
//! | `fields` | the fields that say where a request ends, and where it goes |
//! | `error`, `figures`, `target` | errors, numbers, where a request goes |

mod attempt;
mod body;
mod builder;
mod conn;
mod connect;
mod error;
mod fields;
mod figures;
mod frames;
mod keeper;
mod pool;
mod response;
mod retry;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod wire;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Method, Request, Response, Uri};
use lameduck::{Lifecycle, Member, Place};
use tokio::time::sleep;
use tower_service::Service;

use self::attempt::{Course, Missed};
pub use self::body::Body;
pub use self::builder::{ClientBuilder, ClientLimits};
use self::connect::Connector;
pub use self::error::{BodyError, ClientError, ErrorKind};
pub use self::figures::ClientFigures;
use self::pool::Pool;
pub use self::pool::counts::ClosedBy;
use self::pool::machine::Wish;
pub use self::response::{ResponseBody, Tries};
use self::retry::{Budget, Failed, Verdict};
pub use self::retry::{GivenUp, RetryReason};
use self::target::Target;

/// An HTTP client with a pool that is drained with the service. Clones share it.
///
/// # Phases
/// Running: connections are kept for [`ClientLimits::idle`]. Terminating: as before, but nothing is opened in advance.
/// Draining: idle connections are closed at once, those in flight when they come back, and what is opened now is kept for 100 ms. When
/// everybody who [depends on it](crate::Serve::after) has ended, the client is stopped: requests are refused from then on, and what is
/// still open after its budget is closed and named in the report.
///
/// # Examples
/// ```
/// # use lameduck::{Lifecycle, Outcome, Plan, Preset, Window};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use http::Request;
/// use lameduck_http::client::Client;
///
/// # let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
/// let client = Client::builder(&life).build()?;
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// // Its handlers may use the client until the last of them is done.
/// let server = lameduck_http::serve(&life, "127.0.0.1:0", app).after(&client).await?;
/// # life.ready();
/// # life.running().await;
///
/// let request = Request::get(format!("http://{}/", server.local_addr())).body(())?;
/// let response = client.send(request).await?;
/// assert_eq!(response.status(), 200);
/// drop(response);
///
/// life.shutdown("the example is over");
/// assert_eq!(life.outcome().await, Outcome::Drained);
/// assert_eq!(client.snapshot().open, 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    place: Place,
    pool: Arc<Pool>,
    connector: Connector,
    limits: ClientLimits,
    budget: Mutex<Budget>,
}

impl Client {
    /// A client that takes part in this lifecycle.
    pub fn builder(life: &Lifecycle) -> ClientBuilder<'_> {
        ClientBuilder::new(life)
    }

    /// Sends a request and waits for the head of its response; the response's extensions have its [`Tries`].
    ///
    /// `Host` is added where it is missing, `Transfer-Encoding` is replaced, and a `Content-Length` that is not the body's is refused. Redirects are not followed, upgrades not made, and interim responses (1xx) not handed on.
    ///
    /// # Phases
    /// Any, until the client is stopped; a connection that a drain opens is not kept for long.
    ///
    /// # Errors
    /// [`ClientError`] says what became of the last try, and why there was no other.
    ///
    /// # Cancel safety
    /// Dropping the future ends the request: a stream is reset, a connection of HTTP/1.1 closed. The server may have processed it.
    /// A place in the queue, or a connection that was opened or free already, is given to the next.
    pub async fn send<B: Into<Body>>(
        &self,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, ClientError> {
        let request = request.map(Into::into);
        self.inner.send(request).await
    }

    /// Opens a connection before it is needed, and leaves it idle. Changes nothing where one is idle already.
    ///
    /// # Phases
    /// Only before Terminating.
    ///
    /// # Errors
    /// As [`send`](Self::send), with [`ErrorKind::Stopped`] from Terminating on.
    ///
    /// # Cancel safety
    /// Dropped, what was not opened yet is not.
    pub async fn warm(&self, uri: &Uri) -> Result<(), ClientError> {
        let target = Target::of(uri).ok_or(ClientError::of(ErrorKind::Unsendable))?;
        let lease = self.inner.connection(&target, Wish::Spare).await;
        lease
            .map(|lease| {
                if let Some(lease) = lease {
                    lease.give_back(ClosedBy::Peer);
                }
            })
            .map_err(|missed| match missed {
                Missed::Refused(refused) => ClientError::refused(refused, &Tries::none()),
                Missed::NoTls => ClientError::of(ErrorKind::NoTls),
                Missed::Failed { mishap, source, .. } => {
                    ClientError::given_up(mishap, GivenUp::Final, &Tries::none(), source)
                }
            })
    }

    /// Its numbers, now.
    #[must_use]
    pub fn snapshot(&self) -> ClientFigures {
        ClientFigures::of(self.inner.pool.levels())
    }

    /// Its name among the participants.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }
}

impl Member for Client {
    fn place(&self) -> &Place {
        &self.inner.place
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.inner.name)
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn send(&self, request: Request<Body>) -> Result<Response<ResponseBody>, ClientError> {
        let (mut parts, body) = request.into_parts();
        let target = Target::of(&parts.uri).filter(|_| parts.method != Method::CONNECT);
        let target = target.filter(|_| fields::settle(&mut parts, &body).is_some());
        let target = target.ok_or(ClientError::of(ErrorKind::Unsendable))?;
        self.pool.count(|counts| counts.requests += 1);
        self.with_budget(Budget::earn);
        let is_idempotent = retry::is_idempotent(&parts.method);
        let mut course = Course {
            target,
            parts,
            body: Some(body),
            wish: Wish::Any,
        };
        let mut tries = Tries::none();
        loop {
            tries.count += 1;
            let (mishap, replay, source) = match self.attempt(&mut course).await {
                Ok(mut response) => {
                    response.extensions_mut().insert(tries);
                    return Ok(response);
                }
                Err(Missed::Refused(refused)) => {
                    return Err(ClientError::refused(refused, &tries));
                }
                Err(Missed::NoTls) => return Err(ClientError::of(ErrorKind::NoTls)),
                Err(Missed::Failed {
                    mishap,
                    replay,
                    source,
                }) => (mishap, replay, source),
            };
            let verdict = retry::decide(Failed {
                mishap,
                is_idempotent,
                replay,
                tries: tries.count,
                most_tries: self.limits.tries,
            });
            let verdict = self.afford(verdict);
            match verdict {
                Verdict::Retry(reason) => {
                    tries.reasons.push(reason);
                    course.wish = Wish::Fresh;
                    let pause = retry::pause(reason, tries.count, dice());
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                }
                Verdict::GiveUp(why) => {
                    return Err(ClientError::given_up(mishap, why, &tries, source));
                }
            }
        }
    }

    /// Pays for a retry, if it can be paid for.
    fn afford(&self, verdict: Verdict) -> Verdict {
        let Verdict::Retry(reason) = verdict else {
            return verdict;
        };
        if self.with_budget(|budget| budget.pay(reason)) {
            self.pool.count(|counts| counts.retried(reason));
            verdict
        } else {
            self.pool.count(|counts| counts.retries_denied += 1);
            Verdict::GiveUp(GivenUp::Budget)
        }
    }

    fn with_budget<R>(&self, deed: impl FnOnce(&mut Budget) -> R) -> R {
        deed(&mut self.budget.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A random number; if the system has none, pauses are as long as they may be.
fn dice() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}

/// The future of a [`Client`] as a service.
///
/// # Cancel safety
/// As that of [`Client::send`].
pub struct SendFuture {
    sending: Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, ClientError>> + Send>>,
}

impl fmt::Debug for SendFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").finish_non_exhaustive()
    }
}

impl Future for SendFuture {
    type Output = Result<Response<ResponseBody>, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.sending.as_mut().poll(cx)
    }
}

/// Always ready: a request waits for its connection in its own future, where it has a place in the queue.
impl<B: Into<Body>> Service<Request<B>> for Client {
    type Response = Response<ResponseBody>;
    type Error = ClientError;
    type Future = SendFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> SendFuture {
        let inner = Arc::clone(&self.inner);
        let request = request.map(Into::into);
        SendFuture {
            sending: Box::pin(async move { inner.send(request).await }),
        }
    }
}
