//! `lameduck verify`, as typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

/// Does a service lose requests when it is told to stop?
///
/// Starts the service, talks to it over raw sockets, sends it the stop signal, and says what became of every request.
/// Without a command it tests the embedded demo.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing failed, 1 something failed, 2 usage or set-up, 3 nothing failed but something was inconclusive.

Examples:
  lameduck verify
  lameduck verify -- python3 -m http.server {port}
  lameduck verify --ready-path /healthz --slow-path '/slow?ms={ms}' -- node server.js
  lameduck verify --protocol h2,tls -- ./server --port {port} --tls-port {tls_port}
  lameduck verify --signal QUIT -- nginx -c /etc/nginx/test.conf -g 'daemon off;'"
)]
pub(crate) struct VerifyArguments {
    /// Program and arguments; {port} becomes a free port, which is in the variable PORT too
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
    /// Where the service answers [default: http://127.0.0.1:{port}/]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Where it answers TLS [default: https://127.0.0.1:{tls_port}/ if CMD names {tls_port}]; any certificate will do
    #[arg(long, value_name = "URL")]
    pub(crate) tls_url: Option<String>,
    /// A unary gRPC method that it answers, such as /package.Service/Method
    #[arg(long, value_name = "PATH")]
    pub(crate) grpc_path: Option<String>,
    /// The message of that call, as protobuf bytes in hexadecimal [default: an empty one]
    #[arg(long, value_name = "HEX", value_parser = hex, requires = "grpc_path")]
    pub(crate) grpc_message: Option<Message>,
    /// A message that keeps that call busy for half a second or more
    #[arg(long, value_name = "HEX", value_parser = hex, requires = "grpc_path")]
    pub(crate) grpc_slow_message: Option<Message>,
    /// A path that answers 2xx when the service is ready [default: when it accepts connections]
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_path: Option<String>,
    /// A path that answers after {ms} milliseconds, such as '/slow?ms={ms}'
    #[arg(long, value_name = "PATH")]
    pub(crate) slow_path: Option<String>,
    /// A path that answers with {bytes} bytes, such as '/large?bytes={bytes}'
    #[arg(long, value_name = "PATH")]
    pub(crate) large_path: Option<String>,
    /// A path that takes POSTs [default: that of the URL]
    #[arg(long, value_name = "PATH")]
    pub(crate) post_path: Option<String>,
    /// A path that reads request bodies of any length [default: the one for POSTs]
    #[arg(long, value_name = "PATH")]
    pub(crate) upload_path: Option<String>,
    /// A path that answers in {chunks} chunks, {ms} milliseconds apart, such as '/stream?chunks={chunks}&ms={ms}'
    #[arg(long, value_name = "PATH")]
    pub(crate) stream_path: Option<String>,
    /// A path with an endless event stream, such as '/events'
    #[arg(long, value_name = "PATH")]
    pub(crate) sse_path: Option<String>,
    /// A path with a WebSocket that echoes
    #[arg(long, value_name = "PATH")]
    pub(crate) ws_path: Option<String>,
    /// From the stop signal to SIGKILL, as your platform has it [default: 10s, or 4s for the demo]
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    pub(crate) grace: Option<Duration>,
    /// The signal that asks the service to stop
    #[arg(long, value_name = "SIGNAL", default_value = "TERM")]
    pub(crate) signal: lameduck_verify::StopSignal,
    /// Run only these checks
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Leave these checks out
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// How many copies of the service may run at once on this machine [default: 1, or 4 for the demo]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(crate) copies: Option<u8>,
    /// Check these protocols: h1, h2, ws, tls, grpc [default: all that the service speaks]
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',')]
    pub(crate) protocol: Vec<lameduck_verify::Protocol>,
    /// Text for people or JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Write the report here instead of to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// List the checks and what they cost, and do nothing else
    #[arg(long)]
    pub(crate) list: bool,
    /// What makes the exit code 1: a loss, or any check that did not pass
    #[arg(long, value_enum, default_value_t = FailOnArgument::Loss)]
    pub(crate) fail_on: FailOnArgument,
    /// Repeat the random choices of an earlier run (hexadecimal, as printed)
    #[arg(long, value_name = "SEED", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// How many fresh processes the load check starts
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: lameduck.verify/1
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FailOnArgument {
    /// Lost requests, and a process that does not end
    Loss,
    /// Manners too
    Any,
}

/// The bytes of a message.
#[derive(Clone, Debug)]
pub(crate) struct Message(pub(crate) Vec<u8>);

fn hex(text: &str) -> Result<Message, String> {
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let digits = std::str::from_utf8(pair).ok().filter(|_| pair.len() == 2)?;
        u8::from_str_radix(digits, 16).ok()
    });
    pairs
        .collect::<Option<Vec<u8>>>()
        .map(Message)
        .ok_or_else(|| "not bytes in hexadecimal, two digits each".to_owned())
}

fn seed(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| {
        "not a seed: up to 16 hexadecimal digits, as printed by an earlier run".to_owned()
    })
}
