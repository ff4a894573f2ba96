//! `lameduck verify`, as typed: one file for each group of its help.

mod choice;
mod front;
mod output;
mod profile;
mod target;

use clap::Args;

pub(crate) use choice::ChoiceArguments;
pub(crate) use front::FrontArguments;
pub(crate) use output::{Format, OutputArguments};
pub(crate) use profile::ProfileArguments;
pub(crate) use target::{TargetArguments, Variable};

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
  lameduck verify --init --output service.toml -- ./server {port}
  lameduck verify --profile service.toml --rounds 3
  lameduck verify --front kubernetes --grace 30s -- ./server --port {port}
  lameduck verify --also html=report.html --also json=report.json
  lameduck verify --signal QUIT -- nginx -c /etc/nginx/test.conf -g 'daemon off;'
  lameduck verify --ready-line 'Started' --stop-url 'http://127.0.0.1:{port}/actuator/shutdown' -- java -jar app.jar

A container (each launch gets a fresh one):
  lameduck verify --start 'docker run -d --name duck -p {port}:8080 IMAGE' --stop 'docker stop duck' \\
    --alive 'docker inspect -f {{.State.Running}} duck | grep -q true' --logs 'docker logs duck' --cleanup 'docker rm -f duck'

A unit of systemd (it is stopped once; one drain judges what one drain can), or a fresh one for each launch:
  lameduck verify --pid $(systemctl show -p MainPID --value NAME) --url http://127.0.0.1:8080/
  lameduck verify --url http://127.0.0.1:8080/ --start 'systemctl start NAME' --stop 'systemctl stop NAME' \\
    --alive 'systemctl is-active --quiet NAME' --logs 'journalctl -u NAME -n 200'

Only a signal has an instant: after a command or a call, checks that write so many milliseconds after the stop may be
n/a or inconclusive. Commands are run by sh, each bounded in time; --cleanup is run also after an error or Ctrl-C."
)]
pub(crate) struct VerifyArguments {
    /// Program and arguments; {port} becomes a free port, which is in the variable PORT too
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    #[command(flatten)]
    pub(crate) profile: ProfileArguments,
    #[command(flatten)]
    pub(crate) front: FrontArguments,
    #[command(flatten)]
    pub(crate) choice: ChoiceArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    /// List the checks and what they cost, and do nothing else
    #[arg(long)]
    pub(crate) list: bool,
}
