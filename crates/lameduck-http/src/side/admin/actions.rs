//! What somebody with the token may do: drain, cut, reload, force a breaker. Each answer says what was made of it.

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use lameduck::{Lifecycle, Phase};
use std::future::poll_fn;
use std::pin::Pin;

use super::breakers::{self, Force};
use crate::side::accept::Afterwards;
use crate::side::role::text;

/// The most bytes of a reason.
const REASON: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Drain,
    Cut,
    Reload,
    /// A breaker, which the query names.
    Breaker(Force),
}

/// What follows, and what is said of it.
type Taken = (Response<String>, Option<Afterwards>);

impl Action {
    /// Does it. The request's body is the reason, a line of text that stands in the report; it may be empty.
    pub(super) async fn run(self, life: Lifecycle, request: Request<Incoming>) -> Taken {
        let query = request.uri().query().map(str::to_owned);
        let reason = match reason(request.into_body()).await {
            Ok(reason) => reason,
            Err(why) => return (text(StatusCode::BAD_REQUEST, format!("{why}\n")), None),
        };
        match self {
            Self::Drain => (drain(&life, &reason), None),
            Self::Cut => cut(life, &reason),
            Self::Reload => (reload(&life, &reason), None),
            Self::Breaker(force) => {
                let query = query.as_deref();
                (breakers::force(&life, force, query, &reason), None)
            }
        }
    }
}

fn drain(life: &Lifecycle, reason: &str) -> Response<String> {
    let phase = life.phase();
    if phase.is_leaving() {
        let cause = life.cause().map(|cause| format!(": {cause}"));
        return text(
            StatusCode::CONFLICT,
            format!(
                "it is leaving already, in {phase}{}\n",
                cause.unwrap_or_default()
            ),
        );
    }
    life.shutdown(said("drain", reason));
    text(
        StatusCode::ACCEPTED,
        format!(
            "draining: gone in {:.1} s at the latest\n",
            life.plan().deadline().as_secs_f64()
        ),
    )
}

fn cut(life: Lifecycle, reason: &str) -> Taken {
    life.note(said("cut", reason));
    let said = format!("cut in {}: what was in flight is lost\n", life.phase());
    // The end is so near that the answer goes first.
    let afterwards = Afterwards::new(move || life.cut());
    (text(StatusCode::ACCEPTED, said), Some(afterwards))
}

fn reload(life: &Lifecycle, reason: &str) -> Response<String> {
    let phase = life.phase();
    if phase != Phase::Running {
        return text(
            StatusCode::CONFLICT,
            format!("refused: a reload needs Running, this is {phase}\n"),
        );
    }
    if !reason.is_empty() {
        life.note(said("reload", reason));
    }
    life.reload();
    text(
        StatusCode::ACCEPTED,
        "reloading: the notes of the status say what came of it\n".to_owned(),
    )
}

fn said(what: &str, reason: &str) -> String {
    let end = if reason.is_empty() { "" } else { ": " };
    format!("{what} on the admin listener{end}{reason}")
}

/// A body as a line of text.
async fn reason(mut body: Incoming) -> Result<String, &'static str> {
    let mut read = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| "the body did not arrive")?;
        let data: Bytes = frame.into_data().unwrap_or_default();
        if read.len() + data.len() > REASON {
            return Err("the reason in the body has more than 256 bytes");
        }
        read.extend_from_slice(&data);
    }
    let text = std::str::from_utf8(&read).map_err(|_| "the reason in the body is not UTF-8")?;
    if text.trim().chars().any(char::is_control) {
        return Err("the reason in the body is not one line of text");
    }
    Ok(text.trim().to_owned())
}
