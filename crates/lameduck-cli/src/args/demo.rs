//! `lameduck demo`, as typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

/// A small service that leaves well, to try things on
#[derive(Debug, Args)]
#[command(after_help = "It serves:
  GET  /                        a greeting
  GET  /slow?ms=N               an answer after N ms
  GET  /stream?chunks=N&ms=M    N chunks, M ms apart
  GET  /large?bytes=N           N bytes
  GET  /sse?ms=N                an event stream, an event every N ms
  POST /echo                    the body that it was sent
  POST /upload                  the number of bytes that it read
       /ws?farewell=CODE        a WebSocket that sends back what it is sent; with a code it says farewell itself
  gRPC lameduck.demo.v1.Echo    Say, Count, Chat; and grpc.health.v1

HTTP/1.1 and HTTP/2 on the same port: by prior knowledge, or by ALPN with --tls-listen.

The plan comes from the platform (LAMEDUCK_PRESET overrides what is detected), then LAMEDUCK_* variables, then these flags.\nSIGQUIT writes the stacks of all threads and all that is in flight to stderr, and ends it; SIGUSR1 writes the same, and it goes on.\nAt exit one JSON line, lameduck.shutdown/1, goes to stderr: `lameduck explain FILE` tells its story.")]
pub(crate) struct DemoArguments {
    /// Where it serves; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Where it serves the same over TLS; the certificate is made for this run unless --cert and --key are given
    #[arg(long, value_name = "ADDR")]
    pub(crate) tls_listen: Option<String>,
    /// The certificate chain as PEM, leaf first; read again on SIGHUP
    #[arg(long, value_name = "FILE", requires_all = ["key", "tls_listen"])]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's private key as PEM
    #[arg(long, value_name = "FILE", requires_all = ["cert", "tls_listen"])]
    pub(crate) key: Option<PathBuf>,
    /// Where it answers /livez, /readyz, /startupz and /lbz
    #[arg(long, value_name = "ADDR", env = "LAMEDUCK_PROBES_LISTEN")]
    pub(crate) probes: Option<String>,
    /// Where it has a page to watch it on, /status, /events and /metrics: a loopback address or unix:PATH
    #[arg(long, value_name = "ADDR", env = "LAMEDUCK_ADMIN_LISTEN")]
    pub(crate) admin: Option<String>,
    /// Let whoever has the token in this file drain, cut and reload on the admin listener; made if it is not there
    #[arg(long, value_name = "FILE", env = "LAMEDUCK_ADMIN_TOKEN_FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Let the admin listener answer /debug/dump, /debug/waits, /debug/heap and /debug/pprof/profile too: they tell what the process does inside
    #[arg(long, requires = "admin")]
    pub(crate) admin_debug: bool,
    /// Open a control socket here, for `lameduck ctl` and for participants in other processes; only this user and root may connect
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// A name under which the admin listener may be asked, besides localhost and its address
    #[arg(long, value_name = "NAME", requires = "admin")]
    pub(crate) admin_host: Vec<String>,
    /// The lame-duck window: none, the name of a preset such as local or kubernetes, or FLOOR,QUIET,CEILING
    #[arg(long, value_name = "WINDOW")]
    pub(crate) window: Option<String>,
    /// From the stop signal to SIGKILL, such as 4s
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    pub(crate) grace: Option<Duration>,
    /// What happens to requests that begin after the window
    #[arg(long, value_enum)]
    pub(crate) late: Option<LateArgument>,
    /// What a repeated stop signal means
    #[arg(long, value_enum)]
    pub(crate) repeat: Option<RepeatArgument>,
    /// Write the shutdown report here too
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write who sent which signal, every phase, reload and end: to a file, stderr, journald or journald:SOCKET
    #[arg(long, value_name = "PLACE", env = "LAMEDUCK_AUDIT")]
    pub(crate) audit: Option<String>,
    /// Keep the sender's arguments in the audit too, secrets masked
    #[arg(long, requires = "audit")]
    pub(crate) audit_argv: bool,
    /// Begin a new audit file before one grows beyond this; FILE.1 is the youngest of those kept [default: 16777216]
    #[arg(long, value_name = "BYTES", requires = "audit", value_parser = clap::value_parser!(u64).range(4_096..))]
    pub(crate) audit_rotate: Option<u64>,
    /// How many older audit files are kept [default: 4]
    #[arg(long, value_name = "N", requires = "audit", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) audit_keep: Option<u32>,
    /// Remember here what each participant needed to finish, and let its budget learn from that [default: budgets stay what they are]
    #[arg(long, value_name = "FILE", env = "LAMEDUCK_HISTORY")]
    pub(crate) history: Option<PathBuf>,
    /// Say what happens on stderr, as lines that bear the drain_id
    #[arg(long, value_name = "FORM", value_enum)]
    pub(crate) log: Option<LogArgument>,
    /// Send traces, logs and metrics to this OpenTelemetry collector (OTLP over HTTP, such as http://127.0.0.1:4318), with the headers of OTEL_EXPORTER_OTLP_HEADERS [default: OTEL_EXPORTER_OTLP_ENDPOINT, if it is set]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    /// Greeting and limits as JSON, read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Wait for a slot of the group whose book `lameduck slots` keeps at this socket before leaving, as long as the deadline allows
    #[arg(
        long,
        value_name = "PATH",
        env = "LAMEDUCK_SLOTS",
        conflicts_with = "etcd"
    )]
    pub(crate) slots: Option<PathBuf>,
    /// The same for the group --group in etcd, at these endpoints, such as http://127.0.0.1:2379 (in a build with the feature `etcd`)
    #[arg(long, value_name = "ENDPOINTS", value_delimiter = ',', requires_all = ["group", "max_unavailable"])]
    pub(crate) etcd: Vec<String>,
    /// The group's name in etcd
    #[arg(long, value_name = "NAME", requires = "etcd")]
    pub(crate) group: Option<String>,
    /// How many of the group in etcd may be unavailable at once: 1, 25%, 1 of 3, 1 in each zone
    #[arg(long, value_name = "RULES", requires = "etcd")]
    pub(crate) max_unavailable: Option<lameduck::group::Rules>,
    /// Its name in the group [default: the host's name and the process id]
    #[arg(long, value_name = "NAME")]
    pub(crate) member: Option<String>,
    /// Its zone in the group
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) zone: String,
    /// Leave SIGINT alone
    #[arg(long)]
    pub(crate) no_sigint: bool,
    /// How many connections at once; more wait in the kernel's queue [default: 100000, or what RLIMIT_NOFILE leaves]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) max_connections: Option<usize>,
    /// How long an HTTP/1.1 connection is idle before it is parked, such as 500ms, or never [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parking)]
    pub(crate) park_after: Option<ParkArgument>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParkArgument {
    Never,
    After(Duration),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LateArgument {
    /// Served, with Connection: close
    Serve,
    /// Refused: 503 with Retry-After
    Refuse,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogArgument {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RepeatArgument {
    /// Written down, changes nothing
    Record,
    /// The second ends the window, the third cuts
    Escalate,
}

fn parking(text: &str) -> Result<ParkArgument, String> {
    match text {
        "never" => Ok(ParkArgument::Never),
        text => super::duration(text).map(ParkArgument::After),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|most| *most > 0)
        .ok_or_else(|| "not a number from 1 on".to_owned())
}
