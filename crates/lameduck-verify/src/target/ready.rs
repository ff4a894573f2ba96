//! Owns waiting until a target is ready: a line that it writes, a path that answers, a port that accepts.
//! Not: starting it.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Answer;
use super::ask::ask;
use super::error::{LaunchError, VerifyError};
use super::running::{Running, get};
use crate::options::TargetSpec;

/// How long a target may take to become ready, unless it is said.
const READY_BOUND: Duration = Duration::from_secs(30);
/// Between two looks at whether it is ready.
const READY_STEP: Duration = Duration::from_millis(2);
/// Between two looks at the logs of one that is no child of ours.
const LOGS_STEP: Duration = Duration::from_millis(100);

pub(crate) fn bound(spec: &TargetSpec) -> Duration {
    spec.ready_within.unwrap_or(READY_BOUND)
}

/// What was seen so far.
struct Signs {
    opened: bool,
    last: String,
}

/// Waits until `running` is ready.
pub(crate) fn await_ready(running: &Running, spec: &TargetSpec) -> Result<(), VerifyError> {
    let deadline = running.spawned_at + bound(spec);
    let path = spec
        .ready_path
        .as_deref()
        .map(|path| running.place.fill(path));
    let mut signs = Signs {
        opened: false,
        last: "was refused".to_owned(),
    };
    let mut logs_due = Instant::now();
    loop {
        if let Some(exit) = running.exit() {
            return Err(LaunchError::ExitedEarly {
                how: exit.in_words(),
                output: running.settled_output(),
            }
            .into());
        }
        if spec.ready_line.is_some()
            && !running.output.has_said_ready()
            && Instant::now() >= logs_due
        {
            running.read_logs();
            logs_due = Instant::now() + LOGS_STEP;
        }
        if running.output.has_said_ready() && answers(running, path.as_deref(), &mut signs) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(never(running, spec, path, signs).into());
        }
        running.await_exit_until(Instant::now() + READY_STEP);
    }
}

fn answers(running: &Running, path: Option<&str>, signs: &mut Signs) -> bool {
    let addr = running.place.url.addr;
    let Some(path) = path else {
        return TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok();
    };
    let answer = ask(addr, &get(&running.place, path), Duration::from_secs(2));
    signs.opened |= answer != Answer::Refused;
    signs.last = answer.in_words();
    answer.is_good()
}

fn never(running: &Running, spec: &TargetSpec, path: Option<String>, signs: Signs) -> LaunchError {
    let (output, waited) = (running.settled_output(), bound(spec));
    match (&spec.ready_line, path) {
        (Some(line), _) if !running.output.has_said_ready() => LaunchError::NeverSaid {
            line: line.clone(),
            waited,
            output,
        },
        (_, Some(path)) if signs.opened => LaunchError::NeverReady {
            path,
            last: signs.last,
            waited,
            output,
        },
        _ => LaunchError::PortNeverOpened {
            addr: running.place.url.addr.to_string(),
            waited,
            output,
        },
    }
}
