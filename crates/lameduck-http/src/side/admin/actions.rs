//! What somebody with the token, or on the control socket, may do: drain, cancel, cut, reload, force a breaker. Each answer says what was made of it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use lameduck::{Lifecycle, Phase, Plan};

use super::breakers::{self, Force};
use super::routes::parameter;
use crate::side::accept::Afterwards;
use crate::side::role::text;

/// The most bytes of a reason.
const REASON: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::side) enum Action {
    Drain,
    /// Take a drain back that was announced or waits for its turn.
    Cancel,
    Cut,
    Reload,
    /// A breaker, which the query names.
    Breaker(Force),
}

/// Who asks, and where: the end of "drain …".
#[derive(Clone, Debug)]
pub(in crate::side) struct Asker(pub(in crate::side) String);

impl Asker {
    /// Somebody with the token.
    pub(super) fn with_token() -> Self {
        Self("on the admin listener".to_owned())
    }

    /// By whom, and why.
    pub(in crate::side) fn reason(&self, reason: &str) -> String {
        let colon = if reason.is_empty() { "" } else { ": " };
        format!("{}{colon}{reason}", self.0)
    }

    /// What is asked, by whom and why, as a line for the report.
    fn said(&self, what: impl fmt::Display, reason: &str) -> String {
        format!("{what} {}", self.reason(reason))
    }
}

/// What follows, and what is said of it.
type Taken = (Response<String>, Option<Afterwards>);

impl Action {
    /// Does it. The request's body is the reason, a line of text that stands in the report; it may be empty.
    pub(in crate::side) async fn run(
        self,
        life: Lifecycle,
        asker: Asker,
        request: Request<Incoming>,
    ) -> Taken {
        let query = request.uri().query().map(str::to_owned);
        let query = query.as_deref();
        if let Some(why) = self.misread(query) {
            return (text(StatusCode::BAD_REQUEST, why), None);
        }
        let reason = match reason(request.into_body()).await {
            Ok(reason) => reason,
            Err(why) => return (text(StatusCode::BAD_REQUEST, format!("{why}\n")), None),
        };
        match self {
            Self::Drain => (drain(&life, query, asker.said("drain", &reason)), None),
            Self::Cancel => (cancel(&life, asker.said("cancel", &reason)).await, None),
            Self::Cut => cut(life, asker.said("cut", &reason)),
            Self::Reload => (reload(&life, &asker, &reason), None),
            Self::Breaker(force) => {
                let reason = asker.reason(&reason);
                (breakers::force(&life, force, query, reason), None)
            }
        }
    }
}

impl Action {
    /// Parameters that it has; a breaker's are read where breakers are.
    const fn parameters(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Drain => Some(&["grace", "in"]),
            Self::Cancel | Self::Cut | Self::Reload => Some(&[]),
            Self::Breaker(_) => None,
        }
    }

    /// Why a query is not what it looks like: a misspelt `grace` would be a drain with all the time there is.
    fn misread(self, query: Option<&str>) -> Option<String> {
        let known = self.parameters()?;
        let pairs = query.unwrap_or_default().split('&');
        let mut names = pairs
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('='));
        let first_unknown =
            names.find(|pair| pair.is_none_or(|(name, _)| !known.contains(&name)))?;
        let said = first_unknown.map_or_else(
            || "a parameter is NAME=VALUE".to_owned(),
            |(name, _)| format!("there is no parameter {name:?}"),
        );
        Some(match known {
            [] => format!("{said}: this takes none\n"),
            known => format!("{said}: this takes {}\n", known.join(" or ")),
        })
    }
}

fn drain(life: &Lifecycle, query: Option<&str>, said: String) -> Response<String> {
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
    if let Some(delay) = query.and_then(|query| parameter(query, "in")) {
        return announce(life, delay, query, said);
    }
    let grace = match query.and_then(|query| parameter(query, "grace")) {
        None => None,
        Some(grace) => match shorter(grace) {
            Ok(grace) => Some(grace),
            Err(why) => return text(StatusCode::BAD_REQUEST, why),
        },
    };
    let plan = life.plan().clone();
    if let Some(left) = life.status().turn_ends_in() {
        return drain_waiting(life, grace, left, said);
    }
    let plan = match grace {
        None => {
            life.shutdown(said);
            plan
        }
        Some(grace) => {
            life.shutdown_within(grace, said);
            plan.shortened(grace)
        }
    };
    let has_no_more = grace.is_some_and(|grace| grace > plan.grace());
    text(
        StatusCode::ACCEPTED,
        format!(
            "draining: gone in {:.1} s at the latest{}\n",
            plan.deadline().as_secs_f64(),
            if has_no_more {
                ", for the plan has no more"
            } else {
                ""
            }
        ),
    )
}

/// It was asked before, and waits for its turn: only an earlier end changes anything.
fn drain_waiting(
    life: &Lifecycle,
    grace: Option<Duration>,
    left: Duration,
    said: String,
) -> Response<String> {
    match grace {
        None => life.shutdown(said),
        Some(grace) => life.shutdown_within(grace, said),
    }
    let latest = grace.map_or(left, |grace| left.min(grace)).as_secs_f64();
    let why = format!("waits for its turn: gone in {latest:.1} s at the latest\n");
    text(StatusCode::ACCEPTED, why)
}

/// The grace period of a request.
fn shorter(grace: &str) -> Result<Duration, String> {
    let grace = lameduck::parse_duration(grace)
        .ok_or_else(|| "grace is a duration such as 4s, 1500ms or 2m\n".to_owned())?;
    if grace < Plan::LEAST_GRACE {
        let why = format!(
            "a grace period of {grace:?} leaves no time to drain: at least {:?}, or cut\n",
            Plan::LEAST_GRACE
        );
        return Err(why);
    }
    Ok(grace)
}

/// A drain that begins later, and can be taken back until then.
fn announce(life: &Lifecycle, delay: &str, query: Option<&str>, said: String) -> Response<String> {
    if query.and_then(|query| parameter(query, "grace")).is_some() {
        let why =
            "a drain that begins later has the time of its plan: give in or grace, not both\n";
        return text(StatusCode::BAD_REQUEST, why.to_owned());
    }
    let Some(delay) = lameduck::parse_duration(delay) else {
        let why = "in is a duration such as 30s, 1500ms or 2m, a day at most\n";
        return text(StatusCode::BAD_REQUEST, why.to_owned());
    };
    if life.phase() != Phase::Running {
        let why = format!(
            "refused: announcing needs Running, this is {}\n",
            life.phase()
        );
        return text(StatusCode::CONFLICT, why);
    }
    if let Some(left) = life.status().turn_ends_in() {
        let left = left.as_secs_f64();
        let why = format!(
            "refused: it was asked to leave already, and waits for its turn, gone in {left:.1} s at the latest; that can be cancelled\n"
        );
        return text(StatusCode::CONFLICT, why);
    }
    life.shutdown_after(delay, said);
    let seconds = delay.as_secs_f64();
    text(
        StatusCode::ACCEPTED,
        format!("drains in {seconds:.1} s, unless that is cancelled\n"),
    )
}

async fn cancel(life: &Lifecycle, said: String) -> Response<String> {
    match life.cancel(said).await {
        Ok(()) => text(
            StatusCode::OK,
            "taken back: it goes on serving\n".to_owned(),
        ),
        Err(why) => text(
            StatusCode::CONFLICT,
            format!("cannot be taken back: {why}\n"),
        ),
    }
}

fn cut(life: Lifecycle, why: String) -> Taken {
    life.note(why);
    let said = format!("cut in {}: what was in flight is lost\n", life.phase());
    // The end is so near that the answer goes first.
    let afterwards = Afterwards::new(move || life.cut());
    (text(StatusCode::ACCEPTED, said), Some(afterwards))
}

fn reload(life: &Lifecycle, asker: &Asker, reason: &str) -> Response<String> {
    let phase = life.phase();
    if phase != Phase::Running {
        return text(
            StatusCode::CONFLICT,
            format!("refused: a reload needs Running, this is {phase}\n"),
        );
    }
    if !reason.is_empty() {
        life.note(asker.said("reload", reason));
    }
    life.reload();
    text(
        StatusCode::ACCEPTED,
        "reloading: the notes of the status say what came of it\n".to_owned(),
    )
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
