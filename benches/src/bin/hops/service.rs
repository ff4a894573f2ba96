//! The front and the back: what a service of this kind has in use, all of it at once.
//!
//! Owns: hooks that keep the ledger, responses that can be cut, a pool that is lent from; at the front a client behind a breaker.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use lameduck::lending::{Counts, Gate, Lending};
use lameduck::{Lifecycle, Plan, Preset, Start, Window};
use lameduck_breaker::{Breaker, Settings, State};
use lameduck_http::client::Client;
use lameduck_http::{Body, Protocols, RequestHooks, Truncate, service_fn};
use tokio::sync::Semaphore;
use tower::Layer as _;

use crate::Failure;
use crate::ledger::Ledger;

/// How long the front believes an address: successors are told late, as everywhere. Shorter than the back's window.
const BELIEVED: Duration = Duration::from_millis(150);
/// Largest answer of the back that the front reads.
const LARGEST: usize = 4 * 1024;
const BOOKS: usize = 8;

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Place {
    Front,
    Back,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Speech {
    Http1,
    Http2,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    place: Place,
    /// Loopback address to listen on
    listen: SocketAddr,
    /// Where requests are written down
    #[arg(long)]
    book: PathBuf,
    /// The file that says where the back is
    #[arg(long, required_if_eq("place", "front"))]
    next: Option<PathBuf>,
    /// What the front speaks with the back
    #[arg(long, value_enum, default_value = "http1")]
    speech: Speech,
}

pub(crate) fn serve(args: ServiceArgs) -> ExitCode {
    if !args.listen.ip().is_loopback() {
        eprintln!("error: {} is not a loopback address", args.listen);
        return ExitCode::from(2);
    }
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: ServiceArgs) -> Result<ExitCode, Failure> {
    let window = Window::new(
        Duration::from_millis(400),
        Duration::from_millis(150),
        Duration::from_secs(2),
    );
    let plan = Plan::preset(Preset::Local)
        .with_grace(Duration::from_secs(12))?
        .with_window(window)?;
    let ledger = Arc::new(Ledger::create(&args.book)?);
    let shelf = Shelf::new();
    let upstream = Arc::new(OnceLock::new());
    let (kept, lent, called) = (ledger.clone(), shelf.clone(), upstream.clone());
    let outcome = lameduck::run(Start::from(plan), async move |life: Lifecycle| {
        open(&life, &args, kept, lent, called).await
    });
    ledger.left("books lent", (BOOKS - shelf.available()) as u64);
    if let Some(upstream) = upstream.get() {
        let upstream: &Upstream = upstream;
        let figures = upstream.breaker.figures();
        ledger.left(
            "connections of the client",
            upstream.client.snapshot().open as u64,
        );
        ledger.left("calls that the breaker refused", figures.rejected);
        ledger.left("calls that failed", figures.failures);
    }
    eprintln!("{outcome}");
    Ok(ExitCode::from(outcome.exit_code()))
}

async fn open(
    life: &Lifecycle,
    args: &ServiceArgs,
    ledger: Arc<Ledger>,
    shelf: Arc<Shelf>,
    called: Arc<OnceLock<Upstream>>,
) -> Result<(), Failure> {
    let gate = Arc::new(Gate::new(shelf.clone()));
    let counting = Lending::counted(move || Counts::with_idle(BOOKS - shelf.available(), 0));
    let books = life.participate("books").drains(counting.behind(&gate))?;
    let writing = ledger.clone();
    let hooks = RequestHooks::new(life).on_end(move |end| {
        if let Some(id) = id_of(&end.uri) {
            writing.end(id, &format!("{:?}", end.how));
        }
    });
    let truncate = Truncate::new(life);
    let listen = args.listen.to_string();
    let server = match (args.place, &args.next) {
        (Place::Front, Some(next)) => {
            let protocols = match args.speech {
                Speech::Http1 => Protocols::Http1,
                Speech::Http2 => Protocols::Http2,
            };
            let client = Client::builder(life).protocols(protocols).build()?;
            let cutting = truncate.clone();
            let settings = Settings::new().on_transition(move |transition| {
                if transition.to == State::Open {
                    // Nobody waits for what the back will not give.
                    cutting.cut_all("the back is broken");
                }
            });
            let breaker = Breaker::new("back", settings)?;
            let upstream = Upstream {
                client: client.clone(),
                breaker,
                next: Signpost::new(next),
            };
            let _ = called.set(upstream);
            let handler = move |request: Request<Body>| {
                let (ledger, gate, called) = (ledger.clone(), gate.clone(), called.clone());
                async move {
                    let upstream = called.get().expect("set before the server is there");
                    Ok::<_, Infallible>(begin(&request, &ledger, &gate, Some(upstream)).await)
                }
            };
            let app = hooks.layer(truncate.layer(service_fn(handler)));
            lameduck_http::serve(life, listen, app)
                .after(&client)
                .after(&books)
                .await?
        }
        _ => {
            let handler = move |request: Request<Body>| {
                let (ledger, gate) = (ledger.clone(), gate.clone());
                async move { Ok::<_, Infallible>(begin(&request, &ledger, &gate, None).await) }
            };
            let app = hooks.layer(truncate.layer(service_fn(handler)));
            lameduck_http::serve(life, listen, app)
                .after(&books)
                .await?
        }
    };
    println!("listening on {}", server.local_addr());
    Ok(())
}

fn id_of(uri: &Uri) -> Option<u64> {
    uri.path().strip_prefix("/do/")?.parse().ok()
}

async fn begin(
    request: &Request<Body>,
    ledger: &Ledger,
    gate: &Gate<Arc<Shelf>>,
    upstream: Option<&Upstream>,
) -> Response<Full<Bytes>> {
    let (Some(id), &Method::POST) = (id_of(request.uri()), request.method()) else {
        return answer(StatusCode::NOT_FOUND, "no such path");
    };
    ledger.begin(id);
    let book = gate
        .lend(async |shelf: Arc<Arc<Shelf>>| shelf.lend().await)
        .await;
    let Ok(_book) = book else {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "the pool is closed");
    };
    let query = request.uri().query().unwrap_or_default();
    let work = query.strip_prefix("ms=").and_then(|ms| ms.parse().ok());
    tokio::time::sleep(Duration::from_millis(work.unwrap_or(0).min(1_000))).await;
    match upstream {
        Some(upstream) => upstream.call(request.uri()).await,
        None => answer(StatusCode::OK, "done"),
    }
}

fn answer(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

/// A pool of things that requests need for a while.
struct Shelf(Arc<Semaphore>);

impl Shelf {
    fn new() -> Arc<Self> {
        Arc::new(Self(Arc::new(Semaphore::new(BOOKS))))
    }

    fn available(&self) -> usize {
        self.0.available_permits()
    }

    async fn lend(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Infallible> {
        let permit = self.0.clone().acquire_owned().await;
        Ok(permit.expect("it is never closed"))
    }
}

/// The back, as the front sees it.
struct Upstream {
    client: Client,
    breaker: Breaker,
    next: Signpost,
}

impl Upstream {
    async fn call(&self, uri: &Uri) -> Response<Full<Bytes>> {
        let Ok(attempt) = self.breaker.acquire() else {
            return answer(StatusCode::SERVICE_UNAVAILABLE, "the breaker is open");
        };
        match self.ask(uri).await {
            Ok(body) => {
                attempt.success();
                answer(StatusCode::OK, body)
            }
            Err(error) => {
                attempt.failure();
                answer(StatusCode::BAD_GATEWAY, error.to_string())
            }
        }
    }

    async fn ask(&self, uri: &Uri) -> Result<Bytes, Failure> {
        let target = format!("http://{}{uri}", self.next.address()?);
        let request = Request::post(target).body("abc")?;
        let response = self.client.send(request).await?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), LARGEST);
        let body = body.collect().await?.to_bytes();
        match status {
            StatusCode::OK => Ok(body),
            status => Err(format!("the back answered {status}").into()),
        }
    }
}

/// Where the back is, as far as the front knows.
struct Signpost {
    path: PathBuf,
    read: Mutex<Option<(Instant, String)>>,
}

impl Signpost {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            read: Mutex::new(None),
        }
    }

    fn address(&self) -> std::io::Result<String> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            Some((at, address)) if at.elapsed() < BELIEVED => Ok(address.clone()),
            _ => {
                let address = std::fs::read_to_string(&self.path)?;
                *read = Some((Instant::now(), address.clone()));
                Ok(address)
            }
        }
    }
}
