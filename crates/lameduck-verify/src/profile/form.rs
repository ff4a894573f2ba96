//! Owns the tables and keys of a profile, as written.
//! Not: what they do to a run (see `apply`).

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::values::{CheckId, Hex, Parsed, Reason, Time};
use crate::front::Front;
use crate::options::StopSignal;
use crate::protocol::Protocol;

/// A whole profile.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Form {
    pub(super) target: Target,
    pub(super) urls: Urls,
    pub(super) paths: Paths,
    pub(super) grpc: Option<Grpc>,
    pub(super) websocket: WebSocket,
    pub(super) drain_signal: Option<DrainSignal>,
    pub(super) tls: Tls,
    pub(super) platform: Platform,
    pub(super) expect: Expect,
    pub(super) reload: Option<Reload>,
    pub(super) control: Option<Control>,
    pub(super) checks: Checks,
    pub(super) waive: Vec<Waive>,
}

/// How the service is started.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Target {
    pub(super) name: Option<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) cwd: Option<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) start: Option<Spanned<String>>,
    pub(super) alive: Option<String>,
    pub(super) cleanup: Option<String>,
    pub(super) logs: Option<String>,
    pub(super) ready_line: Option<String>,
    pub(super) ready_within: Option<Time>,
    pub(super) stop: Option<String>,
    pub(super) stop_url: Option<Spanned<String>>,
    pub(super) copies: Option<usize>,
}

/// Where it answers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Urls {
    pub(super) http: Option<String>,
    pub(super) https: Option<String>,
}

/// What answers in which manner.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Paths {
    pub(super) ready: Option<String>,
    pub(super) slow: Option<String>,
    pub(super) large: Option<String>,
    pub(super) post: Option<String>,
    pub(super) upload: Option<String>,
    pub(super) stream: Option<String>,
    pub(super) sse: Option<String>,
    pub(super) websocket: Option<String>,
}

/// A unary call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grpc {
    pub(super) path: String,
    #[serde(default)]
    pub(super) message: Hex,
    pub(super) slow_message: Option<Hex>,
}

/// WebSockets whose application says farewell itself.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebSocket {
    pub(super) spread: Option<Time>,
    pub(super) farewell: Option<Farewell>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Farewell {
    pub(super) path: String,
    pub(super) message: String,
    pub(super) code: u16,
}

/// How it tells balancers that it leaves.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainSignal {
    pub(super) url: String,
    pub(super) liveness: Option<String>,
}

/// Which certificates will do.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) authorities: Option<Spanned<String>>,
    pub(super) name: Option<String>,
}

/// What the platform does.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Platform {
    pub(super) grace: Option<Time>,
    pub(super) signal: Option<Spanned<Parsed<StopSignal>>>,
    pub(super) front: Option<Parsed<Front>>,
    pub(super) pre_stop: Option<Time>,
}

/// What the service promises.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    pub(super) close_codes: Vec<u16>,
    pub(super) exit_codes: Vec<i32>,
    pub(super) forced_exit: Option<i32>,
    pub(super) late: Option<Late>,
    pub(super) repeats: Option<Repeats>,
    pub(super) interrupt: Option<Interrupted>,
    pub(super) quiet: Option<Time>,
    pub(super) extra_time: Option<Time>,
}

/// What a first SIGINT does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Interrupted {
    Stops,
    LeftAlone,
}

/// How it reads its configuration again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reload {
    #[serde(default)]
    pub(super) arguments: Vec<String>,
    pub(super) file: Option<std::path::PathBuf>,
    pub(super) first: String,
    pub(super) second: String,
    pub(super) broken: String,
    pub(super) path: Option<String>,
    pub(super) signal: Option<Parsed<StopSignal>>,
    pub(super) command: Option<Vec<String>>,
}

/// Where participants of an exit negotiation connect.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Control {
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Late {
    Serve,
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Repeats {
    Record,
    Escalate,
}

/// Which checks run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Checks {
    pub(super) only: Vec<CheckId>,
    pub(super) skip: Vec<CheckId>,
    pub(super) protocols: Vec<Parsed<Protocol>>,
    pub(super) rounds: Option<u32>,
}

/// A check that decides nothing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waive {
    pub(super) id: Spanned<CheckId>,
    pub(super) reason: Reason,
}

impl Form {
    /// What no single value shows.
    ///
    /// # Errors
    /// Where it is, in bytes, and what is wrong.
    pub(super) fn check(&self) -> Result<(), (usize, String)> {
        for (index, waive) in self.waive.iter().enumerate() {
            let id = waive.id.get_ref();
            let mut earlier = self.waive[..index].iter();
            if earlier.any(|earlier| earlier.id.get_ref() == id) {
                let message = format!("`{}` is waived twice", id.0);
                return Err((waive.id.span().start, message));
            }
        }
        let (target, platform) = (&self.target, &self.platform);
        if let (Some(start), Some(_)) = (&target.start, &target.command) {
            let message = "`start` replaces `command`: only one of them".to_owned();
            return Err((start.span().start, message));
        }
        if let (Some(url), Some(_)) = (&target.stop_url, &target.stop) {
            let message = "`stop_url` replaces `stop`: only one of them".to_owned();
            return Err((url.span().start, message));
        }
        if let Some(signal) = &platform.signal
            && (target.stop.is_some() || target.stop_url.is_some())
        {
            let message = "`stop` and `stop_url` replace the signal: only one of them".to_owned();
            return Err((signal.span().start, message));
        }
        Ok(())
    }
}
