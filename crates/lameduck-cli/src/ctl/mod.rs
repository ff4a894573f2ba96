//! `lameduck ctl`: a running service is looked at, and told to leave.
//!
//! | module | owns |
//! |---|---|
//! | `socket` | the connection, one request each, and what is said when there is none |
//! | `view` | a status as lines for people |
//! | `watch` | the status while it changes, in a terminal and elsewhere |

mod socket;
mod view;
mod watch;

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use console::Term;
use serde_json::{Value, json};

use self::socket::{Answer, Socket};
use crate::{
    args::{CtlArguments, Deed, StatusFormat},
    exit::Failure,
    lines::columns,
};

/// The service refused.
const REFUSED: u8 = 1;

/// Asks, and says what came of it.
pub(crate) fn run(arguments: CtlArguments) -> Result<ExitCode, Failure> {
    let socket = Socket::at(place(arguments.socket)?);
    match arguments.deed {
        Deed::Status { format } => {
            let status = socket.ask("GET", "/status", "")?;
            show(&status, format, view::status)
        }
        Deed::Participants { format } => {
            let all = socket.ask("GET", "/participants", "")?;
            show(&all, format, view::participants)
        }
        Deed::Watch => watch::run(&socket),
        Deed::Drain {
            grace,
            delay,
            reason,
        } => {
            let query = match (grace, delay) {
                (Some(grace), _) => format!("?grace={}", text(grace)),
                (None, Some(delay)) => format!("?in={}", text(delay)),
                (None, None) => String::new(),
            };
            done(socket.ask("POST", &format!("/drain{query}"), &reason)?)
        }
        Deed::Cancel { reason } => done(socket.ask("POST", "/cancel", &reason)?),
        Deed::Cut { reason } => done(socket.ask("POST", "/cut", &reason)?),
        Deed::Reload { reason } => done(socket.ask("POST", "/reload", &reason)?),
        Deed::Grant { name, duration } => {
            let by = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let gift = json!({ "name": name, "by_ms": by }).to_string();
            done(socket.ask("POST", "/grant", &gift)?)
        }
        Deed::Dump => {
            let dump = socket.ask("POST", "/dump", "")?;
            dump.check()?;
            print(&dump.body)
        }
    }
}

fn place(socket: Option<PathBuf>) -> Result<PathBuf, Failure> {
    socket
        .filter(|path| !path.as_os_str().is_empty())
        .ok_or_else(|| {
            Failure::new("no control socket was named").hint(
                "say where the service has it: --socket PATH, or LAMEDUCK_CONTROL=PATH in the environment",
            )
        })
}

/// A duration as the service reads it.
fn text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Says what came of a deed.
fn done(answer: Answer) -> Result<ExitCode, Failure> {
    let said = answer.said()?;
    if answer.is_ok() {
        return print(format!("{said}\n").as_bytes());
    }
    let failure = Failure::new(said);
    Err(if answer.is_refusal() {
        failure.code(REFUSED)
    } else {
        failure
    })
}

fn show(
    answer: &Answer,
    format: StatusFormat,
    view: fn(&Value, usize) -> String,
) -> Result<ExitCode, Failure> {
    answer.check()?;
    let value = answer.json()?;
    match format {
        StatusFormat::Json => print(format!("{value}\n").as_bytes()),
        StatusFormat::Text => {
            let width = columns(&Term::stdout()).unwrap_or(usize::MAX);
            print(view(&value, width).as_bytes())
        }
    }
}

/// Whoever reads no further does not need the rest.
fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    match std::io::stdout().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::of(&error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}
