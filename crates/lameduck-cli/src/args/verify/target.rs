//! What is tested: where it answers, and how it is asked to stop.

use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "The service")]
pub(crate) struct TargetArguments {
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
    /// The Unix socket at which participants negotiate its exit [default: {control} if CMD names it, which becomes a path]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<String>,
    /// From the stop signal to SIGKILL, as your platform has it [default: 10s, or 4s for the demo]
    #[arg(long, value_name = "DURATION", value_parser = crate::args::duration)]
    pub(crate) grace: Option<Duration>,
    /// Where CMD runs [default: here]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["pid", "start"])]
    pub(crate) cwd: Option<std::path::PathBuf>,
    /// Set a variable for CMD; {port} is filled in (may be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable, conflicts_with_all = ["pid", "start"])]
    pub(crate) env: Vec<Variable>,
    /// Test a process that runs already, at --url; it is stopped once, and never killed
    #[arg(long, value_name = "PID", conflicts_with_all = ["command", "start"], requires = "url")]
    pub(crate) pid: Option<u32>,
    /// Have the service started by this shell command, which returns; {port} and PORT are filled in
    #[arg(long, value_name = "COMMAND", conflicts_with = "command")]
    pub(crate) start: Option<String>,
    /// Succeeds while the service runs; without it, its exit is not seen
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "start",
        conflicts_with = "command"
    )]
    pub(crate) alive: Option<String>,
    /// Run at the end of each launch, whatever came before it
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "start",
        conflicts_with = "command"
    )]
    pub(crate) cleanup: Option<String>,
    /// Prints what the service wrote, for a service that is not started as CMD
    #[arg(long, value_name = "COMMAND", conflicts_with = "command")]
    pub(crate) logs: Option<String>,
    /// Ready only once this text is in its output, on stdout or stderr
    #[arg(long, value_name = "TEXT")]
    pub(crate) ready_line: Option<String>,
    /// How long it may take to become ready [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = crate::args::duration)]
    pub(crate) ready_within: Option<Duration>,
    /// Have it stopped by this shell command instead of a signal; {port}, PORT and (for CMD and --pid) PID are filled in
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["signal", "stop_url"])]
    pub(crate) stop: Option<String>,
    /// Have it stopped by this HTTP call instead of a signal, such as 'http://127.0.0.1:{port}/shutdown'; a POST unless a
    /// method stands before it
    #[arg(long, value_name = "[METHOD ]URL", conflicts_with = "signal")]
    pub(crate) stop_url: Option<String>,
    /// The signal that asks the service to stop [default: TERM]
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) signal: Option<lameduck_verify::StopSignal>,
    /// How many copies of the service may run at once on this machine [default: 1, or 4 for the demo]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(crate) copies: Option<u8>,
}

/// A variable of the environment.
#[derive(Clone, Debug)]
pub(crate) struct Variable(pub(crate) String, pub(crate) String);

fn variable(text: &str) -> Result<Variable, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Variable(name.to_owned(), value.to_owned())),
        _ => Err("not a variable such as MODE=production".to_owned()),
    }
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
