//! Owns getting to know a service: one launch in which everything that a profile can name is tried out, and the
//! first profile that follows from it.
//! Not: reading profiles (see `profile`), or judging (see `scenario`).

mod declared;
mod doors;
mod launching;
mod leaving;
mod probe;
mod questions;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::scenario::facts::Facts;
use crate::scenario::reach;
use crate::target::{VerifyError, launch};

use probe::Probe;

/// What was found out about a service in one launch.
#[derive(Debug, Clone)]
pub struct Survey {
    options: Options,
    entries: Vec<Entry>,
}

/// One key of a profile: found, given, or worth knowing about.
#[derive(Debug, Clone)]
struct Entry {
    table: Table,
    key: &'static str,
    /// As TOML; an example where `origin` is `Missing` or `Open`.
    value: String,
    origin: Origin,
    /// What was seen, or what giving it would enable.
    note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Given,
    Found,
    /// Looked for, and not seen.
    Missing,
    /// Nothing that could be seen: the service may promise it.
    Open,
}

impl Origin {
    /// The line is written as an example.
    fn is_example(self) -> bool {
        matches!(self, Self::Missing | Self::Open)
    }
}

/// The tables of a profile, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Target,
    Urls,
    Paths,
    Grpc,
    WebSocket,
    DrainSignal,
    Tls,
    Platform,
    Expect,
    Reload,
    Control,
    Checks,
}

impl Table {
    const ALL: [Self; 12] = [
        Self::Target,
        Self::Urls,
        Self::Paths,
        Self::Grpc,
        Self::WebSocket,
        Self::DrainSignal,
        Self::Tls,
        Self::Platform,
        Self::Expect,
        Self::Reload,
        Self::Control,
        Self::Checks,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Urls => "urls",
            Self::Paths => "paths",
            Self::Grpc => "grpc",
            Self::WebSocket => "websocket",
            Self::DrainSignal => "drain_signal",
            Self::Tls => "tls",
            Self::Platform => "platform",
            Self::Expect => "expect",
            Self::Reload => "reload",
            Self::Control => "control",
            Self::Checks => "checks",
        }
    }
}

impl Survey {
    /// Starts the target, tries out what it can do, stops it, and sees how it leaves. Blocks for some seconds.
    ///
    /// Paths that `options` give are tried as they are; where they give none, usual names are.
    ///
    /// # Errors
    /// Fails when the options contradict each other or name a process that runs already, which would be stopped for this;
    /// when the target never becomes ready, answers nothing that is known, or can not be told to stop.
    pub fn of(options: &Options) -> Result<Self, VerifyError> {
        reach::check(options)?;
        if options.target.pid.is_some() {
            return Err(VerifyError::Options(STOPS_IT.to_owned()));
        }
        let ledger = Arc::default();
        let running = launch(&options.target, &ledger)?;
        let mut probe = Probe::new(options, &running.place);
        let mut entries = launching::entries(options, running.ready_after);
        entries.extend(declared::entries(options));
        // Paths that were found are part of what is learned next.
        let paths = probe.paths();
        let facts = Facts::learn(&probe.options, &running)?;
        entries.extend(probe.urls(&facts));
        entries.extend(paths);
        entries.extend(probe.others(&facts));
        let t = running.stop(&options.stop);
        let exit = running.await_exit_until(t + options.patience());
        let took = exit.map(|exit| exit.at.saturating_duration_since(t));
        let options = probe.options;
        drop(running);
        // What was never told did not leave, nor stay.
        ledger.check()?;
        entries.extend(leaving::entries(&options, exit, took));
        Ok(Self { options, entries })
    }

    /// The options that the survey was made with, and the paths that it found.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What was found, a line for each.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        self.lines(Origin::Found)
    }

    /// What was not found, and what giving it would enable, a line for each.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        self.lines(Origin::Missing)
    }

    fn lines(&self, origin: Origin) -> Vec<String> {
        let entries = self.entries.iter().filter(|entry| entry.origin == origin);
        entries
            .map(|entry| format!("{}.{}: {}", entry.table.name(), entry.key, entry.note))
            .collect()
    }

    /// The profile, with a comment for each line that says where it comes from.
    #[must_use]
    pub fn to_toml(&self) -> String {
        write::profile(self)
    }
}

/// Why nobody's process is tried out.
const STOPS_IT: &str = "a survey stops the service at its end, and would leave a process that runs already stopped: --init and --pid do not go together\nhint: lameduck verify --init --output service.toml -- CMD, or --start and --stop, have it started for that";

/// Bound for one question.
const ASK: Duration = Duration::from_secs(1);

/// Until when a question may take.
fn by() -> Instant {
    Instant::now() + ASK
}

fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// As people write it.
fn duration(time: Duration) -> String {
    let millis = time.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}
