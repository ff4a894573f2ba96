//! What `--admin-debug` adds to the admin listener: a dump, where threads wait, the heap, and where processor time goes.
//!
//! Owns paths, parameters and their bounds; each answer is made on a thread that may block.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use lameduck::dump::{self, NotSampled};
use lameduck::profile::{self, NotProfiled};
use lameduck_http::{AdminRequest, AdminRoute};

/// What is looked at for a time is looked at for so long at most.
const LONGEST: u64 = 60;
/// Beyond that time: for naming functions and for writing.
const TO_WRITE: Duration = Duration::from_secs(30);
/// Looks at all threads in a second.
const LOOKS: u32 = 100;
/// Samples of processor time in a second: not a multiple of what timers have.
const SAMPLES: u32 = 99;

const TEXT: &str = "text/plain; charset=utf-8";

/// What is answered, and as what.
type Answer = Result<(&'static str, Vec<u8>), Refusal>;

/// Why not.
struct Refusal {
    status: StatusCode,
    why: String,
}

impl Refusal {
    fn new(status: StatusCode, why: impl Display) -> Self {
        let why = format!("{why}\n");
        Self { status, why }
    }

    fn bad(why: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    fn failed(error: impl Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }
}

impl From<NotSampled> for Refusal {
    fn from(error: NotSampled) -> Self {
        match error {
            NotSampled::Busy => Self::new(StatusCode::CONFLICT, error),
            NotSampled::Time(_) | NotSampled::Rate(_) => Self::bad(error),
            error => Self::failed(error),
        }
    }
}

impl From<NotProfiled> for Refusal {
    fn from(error: NotProfiled) -> Self {
        match error {
            NotProfiled::Busy => Self::new(StatusCode::CONFLICT, error),
            NotProfiled::Time(_) | NotProfiled::Rate(_) => Self::bad(error),
            error => Self::failed(error),
        }
    }
}

/// `/debug/dump`, `/debug/waits`, `/debug/heap`, `/debug/pprof/profile`.
pub(super) fn routes() -> [AdminRoute; 4] {
    let sampled = Duration::from_secs(LONGEST) + TO_WRITE;
    [
        route("/debug/dump", TO_WRITE, dump),
        route("/debug/waits", sampled, waits),
        route("/debug/heap", TO_WRITE, heap),
        route("/debug/pprof/profile", sampled, cpu),
    ]
}

fn route(path: &'static str, within: Duration, make: fn(&AdminRequest) -> Answer) -> AdminRoute {
    let answer = move |request: AdminRequest| async move {
        let made = tokio::task::spawn_blocking(move || make(&request)).await;
        let made = made.unwrap_or_else(|error| Err(Refusal::failed(error)));
        match made {
            Ok((kind, body)) => response(StatusCode::OK, kind, body),
            Err(refusal) => response(refusal.status, TEXT, refusal.why.into_bytes()),
        }
    };
    AdminRoute::get(path, answer).within(within)
}

fn response(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn dump(request: &AdminRequest) -> Answer {
    let mut text = Vec::new();
    request.life().dump(&mut text).map_err(Refusal::failed)?;
    Ok((TEXT, text))
}

fn waits(request: &AdminRequest) -> Answer {
    let seen = dump::waits(seconds(request, 1)?, LOOKS)?;
    Ok((TEXT, seen.to_string().into_bytes()))
}

fn heap(_request: &AdminRequest) -> Answer {
    let unknown = || {
        let why =
            "this program's C library does not tell what its heap holds (glibc 2.33 and later do)";
        Refusal::new(StatusCode::NOT_IMPLEMENTED, why)
    };
    let heap = dump::heap().ok_or_else(unknown)?;
    Ok((TEXT, heap.to_string().into_bytes()))
}

fn cpu(request: &AdminRequest) -> Answer {
    let time = seconds(request, 10)?;
    match request.parameter("format").unwrap_or("pprof") {
        "pprof" => {
            let profile = profile::cpu(time, SAMPLES)?;
            Ok(("application/octet-stream", profile.to_pprof()?))
        }
        "svg" => {
            let profile = profile::cpu(time, SAMPLES)?;
            if profile.samples() == 0 {
                let why =
                    "the process used no processor time meanwhile; ask again with more seconds";
                return Err(Refusal::new(StatusCode::NOT_FOUND, why));
            }
            Ok(("image/svg+xml", profile.to_svg()?))
        }
        _ => Err(Refusal::bad("the format is pprof or svg")),
    }
}

/// `?seconds=N`, whole ones.
fn seconds(request: &AdminRequest, otherwise: u64) -> Result<Duration, Refusal> {
    let said = request.parameter("seconds");
    let count = said.map_or(Ok(otherwise), str::parse);
    match count {
        Ok(count) if (1..=LONGEST).contains(&count) => Ok(Duration::from_secs(count)),
        _ => {
            let why = format!("seconds is a whole number from 1 to {LONGEST}");
            Err(Refusal::bad(why))
        }
    }
}
