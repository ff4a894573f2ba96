//! What stands before the service in production, and how it takes an instance out.

use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "The front")]
pub(crate) struct FrontArguments {
    /// What stands before the service: none, kubernetes, istio, ingress-nginx, alb, nlb; NAME:DURATION is that with your own propagation time
    #[arg(long, value_name = "NAME")]
    pub(crate) front: Option<lameduck_verify::Front>,
    /// A preStop sleep: the signal comes so long after the deregistration; part of --grace
    #[arg(long, value_name = "DURATION", value_parser = crate::args::duration)]
    pub(crate) pre_stop: Option<Duration>,
    /// Watch a rollout through --url instead: --stop begins it, and this shell command succeeds when it is over
    #[arg(long, value_name = "COMMAND", requires = "url", requires = "stop", conflicts_with_all = [
        "command", "pid", "start", "init", "profile", "pre_stop", "grace", "only", "skip", "rounds", "copies",
        "tls_url", "grpc_path", "ready_path", "slow_path", "large_path", "post_path", "upload_path", "stream_path",
        "sse_path", "ws_path", "cwd", "env", "logs", "ready_line", "ready_within",
    ])]
    pub(crate) until: Option<String>,
    /// How long a rollout may take
    #[arg(long, value_name = "DURATION", value_parser = crate::args::duration, requires = "until", default_value = "10m")]
    pub(crate) within: Duration,
    /// List the fronts, how long each goes on sending requests and what it retries, and do nothing else
    #[arg(long)]
    pub(crate) list_fronts: bool,
}
