//! Owns what can go wrong before there is anything to judge.
//! Not: findings about a target that runs; those are data.

use crate::render::printable;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why no verdict could be reached; the command line exits with 2.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// `only` or `skip` names an id that this version does not know.
    UnknownId(String),
    /// `only` and `skip` leave nothing to run.
    NothingToRun,
    /// The preStop sleep leaves nothing of the grace period.
    NoGraceLeft {
        /// The grace period as declared.
        grace: Duration,
        /// The sleep.
        pre_stop: Duration,
    },
    /// The URL can not be used.
    Url(String, &'static str),
    /// Nothing behind the URL gave a good answer, before anything was begun.
    Unreachable(String),
    /// The certificate on the TLS listener is not one that the given authorities vouch for, for this name.
    Untrusted(String),
    /// The options contradict each other; what, and what to do.
    Options(String),
    /// The command or call that should stop the target did not work, and the target ran on.
    Stop(String),
    /// The target could not be brought to readiness.
    Launch(LaunchError),
    /// This machine refused something that the tester itself needs.
    Machine(&'static str, io::Error),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownId(id) => write!(
                f,
                "no check is named `{id}`\nhint: `lameduck verify --list` shows all"
            ),
            Self::NothingToRun => f.write_str("`--only` and `--skip` leave no check to run"),
            Self::NoGraceLeft { grace, pre_stop } => write!(
                f,
                "a preStop sleep of {} s leaves nothing of a grace period of {} s, which it is part of\nhint: raise --grace",
                pre_stop.as_secs_f64(),
                grace.as_secs_f64()
            ),
            Self::Url(url, why) => write!(f, "the URL `{url}` can not be used: {why}"),
            Self::Unreachable(url) => write!(
                f,
                "GET {url} got no good answer, so nothing was begun\nhint: it is asked as users would, and must answer with less than 500"
            ),
            Self::Untrusted(name) => write!(
                f,
                "the target's certificate for `{name}` is not trusted by the authorities that were given\n\
                 hint: without them any certificate will do; the name to expect can be given too"
            ),
            Self::Options(why) => f.write_str(why),
            Self::Stop(how) => write!(
                f,
                "the target could not be told to stop: {}\n\
                 hint: run the stop command or the call by hand while the target runs; {{port}} and the variables PORT and PID are filled in for it; a call must be answered with 2xx, or end the target",
                plain(how)
            ),
            Self::Launch(error) => error.fmt(f),
            Self::Machine(what, error) => write!(f, "this machine could not {what}: {error}"),
        }
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Launch(error) => Some(error),
            Self::Machine(_, error) => Some(error),
            _ => None,
        }
    }
}

impl From<LaunchError> for VerifyError {
    fn from(error: LaunchError) -> Self {
        Self::Launch(error)
    }
}

/// Why the target never became ready.
#[derive(Debug)]
#[non_exhaustive]
pub enum LaunchError {
    /// There is no command line.
    NoCommand,
    /// There is no such program.
    NotFound(String),
    /// The program could not be started.
    Spawn(String, io::Error),
    /// No free port was found.
    NoPort(io::Error),
    /// Something answers on the target's address before the target was started.
    AddressTaken(String),
    /// There is no such directory.
    NoDirectory(PathBuf),
    /// No process has this id.
    NoProcess(u32),
    /// The process may not be signalled by us.
    NotAllowed(u32),
    /// The start command failed.
    StartFailed {
        /// How it exited, in words.
        how: String,
        /// The end of what it wrote.
        output: String,
    },
    /// The start command did not return in time.
    StartHangs {
        /// How long.
        waited: Duration,
        /// The end of what it wrote.
        output: String,
    },
    /// It never wrote the line that says "ready".
    NeverSaid {
        /// The text that was waited for.
        line: String,
        /// How long.
        waited: Duration,
        /// The end of what it wrote.
        output: String,
    },
    /// It exited before it was ready.
    ExitedEarly {
        /// How it exited, in words.
        how: String,
        /// The end of what it wrote.
        output: String,
    },
    /// Nothing accepted a connection in time.
    PortNeverOpened {
        /// Where we tried.
        addr: String,
        /// How long.
        waited: Duration,
        /// The end of what it wrote.
        output: String,
    },
    /// It accepts connections, but the ready path never answered 2xx.
    NeverReady {
        /// The path that was asked.
        path: String,
        /// What it answered last, in words.
        last: String,
        /// How long we asked.
        waited: Duration,
        /// The end of what it wrote.
        output: String,
    },
}

impl LaunchError {
    /// Those that are about how the service is had.
    fn fmt_beginning(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory(path) => write!(
                f,
                "there is no directory `{}` for the target to run in",
                path.display()
            ),
            Self::NoProcess(pid) => write!(
                f,
                "no process has the id {pid}\n\
                 hint: for a unit of systemd, --pid $(systemctl show -p MainPID --value NAME)"
            ),
            Self::NotAllowed(pid) => write!(
                f,
                "process {pid} may not be signalled by this user\n\
                 hint: run this as its owner or as root, or say how it is stopped with --stop or --stop-url"
            ),
            Self::StartFailed { how, output } => {
                write!(f, "the start command {how}{}", quote(output))
            }
            Self::StartHangs { waited, output } => write!(
                f,
                "the start command has not returned within {} s{}\n\
                 hint: it must leave the service running in the background (docker run -d); a program that stays in the foreground goes behind `--`; --ready-within allows more time",
                waited.as_secs(),
                quote(output)
            ),
            Self::NeverSaid {
                line,
                waited,
                output,
            } => write!(
                f,
                "the target did not write `{}` within {} s{}\n\
                 hint: --ready-line is a part of a line on its stdout or stderr, in the same case; many programs write at once only to a terminal (python: -u)",
                plain(line),
                waited.as_secs(),
                quote(output)
            ),
            _ => f.write_str("the target could not be started"),
        }
    }

    /// Another port may help.
    pub(crate) fn is_about_the_port(&self) -> bool {
        match self {
            Self::AddressTaken(_) => true,
            Self::ExitedEarly { output, .. } | Self::StartFailed { output, .. } => {
                let output = output.to_ascii_lowercase();
                [
                    "already in use",
                    "eaddrinuse",
                    "addrinuse",
                    "already allocated",
                ]
                .iter()
                .any(|words| output.contains(words))
            }
            _ => false,
        }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => {
                f.write_str("no command to start was given\nhint: lameduck verify -- CMD ARGS…, or `command` in [target] of a profile")
            }
            Self::NotFound(program) => write!(
                f,
                "there is no program `{program}`\nhint: is it on PATH, or built?"
            ),
            Self::Spawn(program, error) => write!(f, "`{program}` could not be started: {error}"),
            Self::NoPort(error) => write!(f, "no free port on 127.0.0.1: {error}"),
            Self::AddressTaken(addr) => write!(
                f,
                "something else already answers on {addr}, so the target could not be told from it\n\
                 hint: stop it, or let the target listen on {{port}}"
            ),
            Self::ExitedEarly { how, output } => {
                write!(f, "the target {how} before it was ready{}", quote(output))?;
                if self.is_about_the_port() {
                    f.write_str("\nhint: something else has a port that it wants: stop that, or let the target listen on {port}, which is free")?;
                }
                Ok(())
            }
            Self::PortNeverOpened {
                addr,
                waited,
                output,
            } => write!(
                f,
                "the target runs, but nothing accepted a connection on {addr} within {} s{}\n\
                 hint: it must listen on the port given as {{port}} in its arguments or as PORT in its environment; else pass --url",
                waited.as_secs(),
                quote(output)
            ),
            Self::NeverReady {
                path,
                last,
                waited,
                output,
            } => write!(
                f,
                "the target accepts connections, but {path} never answered 2xx within {} s; the last try {last}{}\n\
                 hint: pass --ready-path with a path that answers 2xx",
                waited.as_secs(),
                quote(output)
            ),
            _ => self.fmt_beginning(f),
        }
    }
}

impl std::error::Error for LaunchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spawn(_, error) | Self::NoPort(error) => Some(error),
            _ => None,
        }
    }
}

/// One line, short, without anything that steers a terminal.
fn plain(text: &str) -> String {
    printable(text).chars().take(400).collect()
}

fn quote(output: &str) -> String {
    let lines: Vec<&str> = output
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return "; it wrote nothing".to_owned();
    }
    let shown = &lines[lines.len().saturating_sub(12)..];
    let mut text = String::from("; the end of what it wrote:");
    for line in shown {
        text.push_str("\n    ");
        text.extend(printable(line).chars().take(200));
    }
    text
}
