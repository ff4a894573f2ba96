//! Owns what a caller asks of [`verify`](crate::verify): the target, the plan to hold it to, and which checks to run.
//! Not: parsing flags, or anything that happens at run time.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::declared::{ControlSocket, Interrupt, LatePolicy, Reload, TlsTrust, Waiver};
use crate::front::Front;
use crate::profile::Profile;
use crate::protocol::{GrpcCall, Protocol};

/// What to test and how; see the fields.
#[derive(Debug, Clone)]
pub struct Options {
    /// The service to start and to stop.
    pub target: TargetSpec,
    /// Signal to SIGKILL, as the platform counts it, `pre_stop` included. The target is killed when it is over.
    pub grace: Duration,
    /// How the target is asked to stop.
    pub stop: Stop,
    /// Ids to run; empty means all.
    pub only: Vec<String>,
    /// Ids to leave out.
    pub skip: Vec<String>,
    /// Protocols to check; empty means all that the target speaks. Checks of the process and its door always run.
    pub protocols: Vec<Protocol>,
    /// Replays the random decisions of an earlier run; `None` draws a fresh seed.
    pub seed: Option<u64>,
    /// Fresh processes for `L-H1`; each gets one signal at a random instant.
    pub rounds: u32,
    /// What stands before the service in production.
    pub front: Front,
    /// Checks that decide nothing, and why; they run all the same.
    pub waivers: Vec<Waiver>,
    /// The profile that was applied: commands that run a check again name its file, and what differs from it.
    pub profile: Option<Box<Profile>>,
    /// A preStop sleep: the service is deregistered, and told to stop so much later. The grace period and the
    /// propagation time of the front count from the deregistration.
    pub pre_stop: Duration,
}

impl Options {
    /// The defaults of the command line for `target`: SIGTERM, 10 s, 20 rounds, all checks.
    #[must_use]
    pub fn new(target: TargetSpec) -> Self {
        Self {
            target,
            grace: Duration::from_secs(10),
            stop: Stop::default(),
            only: Vec::new(),
            skip: Vec::new(),
            protocols: Vec::new(),
            seed: None,
            rounds: 20,
            waivers: Vec::new(),
            profile: None,
            front: Front::NONE,
            pre_stop: Duration::ZERO,
        }
    }
}

/// How a target is asked to stop.
///
/// Only a signal has an instant. A command or a call takes its time until it reaches the target: the stop then lies
/// between its start and the first effect that a client saw, and checks that need the instant say so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// A signal, from us to the process.
    Signal(StopSignal),
    /// A command, run by `sh -c`; ports are filled in and in its environment, as is `PID` where there is one.
    Command(String),
    /// An HTTP call; ports are filled in.
    Http {
        /// `POST`, mostly.
        method: String,
        /// `http://…`.
        url: String,
    },
}

impl Default for Stop {
    fn default() -> Self {
        Self::Signal(StopSignal::Term)
    }
}

impl From<StopSignal> for Stop {
    fn from(signal: StopSignal) -> Self {
        Self::Signal(signal)
    }
}

impl Stop {
    /// `URL` or `METHOD URL`, as people write it; a call without a method is a POST.
    #[must_use]
    pub fn http(text: &str) -> Self {
        let (method, url) = text.trim().split_once(' ').unwrap_or(("POST", text.trim()));
        Self::Http {
            method: method.to_ascii_uppercase(),
            url: url.trim().to_owned(),
        }
    }

    /// The signal, if it is one.
    #[must_use]
    pub fn signal(&self) -> Option<StopSignal> {
        match self {
            Self::Signal(signal) => Some(*signal),
            Self::Command(_) | Self::Http { .. } => None,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::Command(command) => write!(f, "`{command}`"),
            Self::Http { method, url } => write!(f, "{method} {url}"),
        }
    }
}

/// The signal that asks a target to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGTERM, what nearly every platform sends.
    #[default]
    Term,
    /// SIGINT (Fly, Nomad).
    Int,
    /// SIGQUIT (nginx, uWSGI: the graceful one).
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1 (HAProxy: the graceful one).
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGWINCH (Apache httpd: the graceful one).
    Winch,
}

impl StopSignal {
    /// All signals that can be chosen.
    pub const ALL: [Self; 7] = [
        Self::Term,
        Self::Int,
        Self::Quit,
        Self::Hup,
        Self::Usr1,
        Self::Usr2,
        Self::Winch,
    ];

    /// The number on this platform.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Term => libc::SIGTERM,
            Self::Int => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
            Self::Hup => libc::SIGHUP,
            Self::Usr1 => libc::SIGUSR1,
            Self::Usr2 => libc::SIGUSR2,
            Self::Winch => libc::SIGWINCH,
        }
    }

    /// The name, with `SIG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Hup => "SIGHUP",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
            Self::Winch => "SIGWINCH",
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for StopSignal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        Self::ALL
            .into_iter()
            .find(|signal| signal.name()[3..] == *name || signal.number().to_string() == *name)
            .ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

/// The text names no signal that a service could be stopped with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSignal(String);

impl fmt::Display for UnknownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no stop signal; use one of TERM, INT, QUIT, HUP, USR1, USR2, WINCH",
            self.0
        )
    }
}

impl std::error::Error for UnknownSignal {}

/// How to start the target, where to reach it, and what it declares about itself.
///
/// In `argv`, `env` and the paths, `{port}` becomes a free port (also in `PORT`), `{probes_port}` a second one and
/// `{tls_port}` a third. In `argv` and `env`, `{control}` becomes a path for a control socket.
#[derive(Debug, Clone, Default)]
pub struct TargetSpec {
    /// How reports name it: "embedded demo", or the command.
    pub label: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Where that program runs; default: where we do.
    pub cwd: Option<PathBuf>,
    /// A process that runs already, instead of one that we start. It can be stopped once, and is never killed.
    pub pid: Option<u32>,
    /// Commands that start and clean up a service which is no child of ours, instead of `argv`.
    pub driven: Option<Driven>,
    /// A command that prints what the service wrote (`docker logs …`), for one that is no child of ours.
    pub logs: Option<String>,
    /// Ready only once this text was written to stdout or stderr.
    pub ready_line: Option<String>,
    /// How long it may take to become ready; default: 30 s.
    pub ready_within: Option<Duration>,
    /// Where it answers, e.g. `http://127.0.0.1:8080/health`; default `http://127.0.0.1:{port}/`.
    pub url: Option<String>,
    /// Where it answers TLS, e.g. `https://localhost:{tls_port}/`, which is the default where `argv` or `env` name
    /// `{tls_port}`.
    pub tls_url: Option<String>,
    /// Which certificates will do there.
    pub tls_trust: TlsTrust,
    /// The name that its certificate is for; default: the host of `tls_url`.
    pub tls_name: Option<String>,
    /// A gRPC call that it answers, over HTTP/2.
    pub grpc: Option<GrpcCall>,
    /// A path that answers 2xx when it is ready; default: ready when it accepts a connection.
    pub ready_path: Option<String>,
    /// A path that answers after `{ms}` milliseconds, e.g. `/slow?ms={ms}`.
    pub slow_path: Option<String>,
    /// A path that answers with `{bytes}` bytes, e.g. `/large?bytes={bytes}`.
    pub large_path: Option<String>,
    /// A path that takes POSTs; default: the path of `url`.
    pub post_path: Option<String>,
    /// A path that reads request bodies of any length; default: `post_path`.
    pub upload_path: Option<String>,
    /// A path that answers in `{chunks}` chunks, `{ms}` milliseconds apart, e.g. `/stream?chunks={chunks}&ms={ms}`.
    pub stream_path: Option<String>,
    /// A path with an endless event stream (`text/event-stream`), an event every `{ms}` milliseconds.
    pub sse_path: Option<String>,
    /// A path with a WebSocket that echoes text and binary messages.
    pub ws_path: Option<String>,
    /// A path with a WebSocket whose application says farewell itself, and what it then owes.
    pub ws_farewell: Option<Farewell>,
    /// Over how long it spreads the closes of its WebSockets; zero means declared off.
    pub ws_spread: Option<Duration>,
    /// Added to the environment of the target.
    pub env: Vec<(String, String)>,
    /// How it tells balancers that it is leaving.
    pub drain_signal: Option<DrainSignal>,
    /// What it does with a repeated signal.
    pub repeats: Option<RepeatPolicy>,
    /// The quiet time of its lame-duck window: idle connections live at least so long after the last request.
    pub quiet: Option<Duration>,
    /// Its exit code when it had to cut something off.
    pub forced_exit: Option<i32>,
    /// Exit codes of a planned stop that are as good as 0.
    pub exit_codes: Vec<i32>,
    /// Codes of a WebSocket's Close that are as good as 1001 and 1012.
    pub close_codes: Vec<u16>,
    /// What it does with requests that come after the signal.
    pub late: LatePolicy,
    /// How much longer than the grace period it may take until it counts as stuck: for slow machines and debug builds.
    pub extra_time: Duration,
    /// What a first SIGINT does.
    pub interrupt: Interrupt,
    /// How it reads its configuration again, and how that is seen.
    pub reload: Option<Reload>,
    /// Where participants of an exit negotiation connect; default: at `{control}`, where `argv` or `env` name it.
    pub control: Option<ControlSocket>,
    /// How many copies may run at once on this machine; 0 and 1 both mean one.
    pub copies: usize,
}

impl TargetSpec {
    /// Any service, started by `argv`, that declares nothing.
    #[must_use]
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        Self {
            label: argv.join(" "),
            argv,
            ..Self::default()
        }
    }

    /// Our demo, started by `program` (the `lameduck` command) with a window of 0.4 to 1 s and 4 s of grace.
    #[must_use]
    pub fn embedded_demo(program: String) -> Self {
        Self::demo(program, Duration::from_millis(400), Duration::from_secs(4))
    }

    /// The same behind a front that goes on sending new connections for `exposed` after the signal: its window is at
    /// least so long, and its grace period 4 s longer.
    #[must_use]
    pub fn embedded_demo_behind(program: String, exposed: Duration) -> Self {
        let floor = exposed.max(Duration::from_millis(400));
        Self::demo(program, floor, exposed + Duration::from_secs(4))
    }

    fn demo(program: String, floor: Duration, grace: Duration) -> Self {
        let fixed = "demo --listen 127.0.0.1:{port} --probes 127.0.0.1:{probes_port} --tls-listen 127.0.0.1:{tls_port} --repeat escalate";
        let (least, most) = (
            floor.as_secs_f64(),
            (floor + Duration::from_millis(600)).as_secs_f64(),
        );
        let plan = format!(
            " --window {least},0.1,{most} --grace {}ms",
            grace.as_millis()
        );
        let arguments = fixed.to_owned() + &plan;
        Self {
            label: "embedded demo".to_owned(),
            argv: std::iter::once(program)
                .chain(arguments.split(' ').map(str::to_owned))
                .collect(),
            ready_path: Some("/".to_owned()),
            slow_path: Some("/slow?ms={ms}".to_owned()),
            large_path: Some("/large?bytes={bytes}".to_owned()),
            post_path: Some("/echo".to_owned()),
            grpc: Some(GrpcCall::demo()),
            upload_path: Some("/upload".to_owned()),
            stream_path: Some("/stream?chunks={chunks}&ms={ms}".to_owned()),
            sse_path: Some("/sse?ms={ms}".to_owned()),
            ws_path: Some("/ws".to_owned()),
            ws_farewell: Some(Farewell {
                path: "/ws?farewell=4001".to_owned(),
                message: "farewell".to_owned(),
                code: 4001,
            }),
            // The floor of its window.
            ws_spread: Some(floor),
            drain_signal: Some(DrainSignal {
                url: "http://127.0.0.1:{probes_port}/lbz".to_owned(),
                liveness_url: Some("http://127.0.0.1:{probes_port}/livez".to_owned()),
            }),
            repeats: Some(RepeatPolicy::Escalate),
            quiet: Some(Duration::from_millis(100)),
            forced_exit: Some(124),
            reload: Some(Reload {
                arguments: vec!["--config".to_owned(), "{config}".to_owned()],
                path: "/".to_owned(),
                first: r#"{"greeting": "hello\n"}"#.to_owned(),
                second: r#"{"greeting": "hello again\n"}"#.to_owned(),
                broken: r#"{"greeting": "half a file"#.to_owned(),
                ..Reload::default()
            }),
            control: Some(ControlSocket {
                arguments: vec!["--control".to_owned(), ControlSocket::OURS.to_owned()],
                ..ControlSocket::default()
            }),
            copies: 4,
            ..Self::default()
        }
    }

    pub(crate) fn copies(&self) -> usize {
        self.copies.clamp(1, 4)
    }

    /// Every text in which a port or a socket may be named.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &str> {
        let values = self.env.iter().map(|(_, value)| value);
        let start = self.driven.as_ref().map(|driven| &driven.start);
        self.argv
            .iter()
            .chain(values)
            .chain(start)
            .map(String::as_str)
    }
}

/// Commands that start a service which is no child of ours: a container, a unit, a pod. Each is run by `sh -c`, with
/// `{port}`, `{probes_port}` and `{tls_port}` filled in and as `PORT`, `PROBES_PORT` and `TLS_PORT` in its environment,
/// and `{control}` as a path for a control socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Driven {
    /// Starts it in the background and returns.
    pub start: String,
    /// Succeeds as long as it runs; without it the process itself is never seen to be gone.
    pub alive: Option<String>,
    /// Run when a launch is over, however it ended.
    pub cleanup: Option<String>,
}

/// How a target tells balancers that it is leaving: a page that answers 2xx while traffic is welcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainSignal {
    /// 2xx until the signal, anything else from then on.
    pub url: String,
    /// 2xx until the exit.
    pub liveness_url: Option<String>,
}

/// What an application says itself, on a WebSocket, when it is told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// Where it does.
    pub path: String,
    /// Its last text message.
    pub message: String,
    /// The code of its Close frame.
    pub code: u16,
}

/// What a target does with a repeated stop signal after its merge interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatPolicy {
    /// Writes it down and changes nothing.
    Record,
    /// The third one cuts: the process dies at once by that signal.
    Escalate,
}

/// How far a run has come; for a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A scenario begins; `done` of `total` launches are over.
    Scenario {
        /// What it does, in plain words.
        name: &'static str,
        /// Launches that are over.
        done: u32,
        /// Launches planned.
        total: u32,
    },
    /// One launch is over.
    Launch {
        /// Launches that are over.
        done: u32,
        /// Launches planned.
        total: u32,
        /// Requests lost so far.
        lost: u64,
    },
}
