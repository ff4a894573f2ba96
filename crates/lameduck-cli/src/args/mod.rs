//! Arguments as typed. What they mean is each subcommand's business.

mod ctl;
mod demo;
mod explain;
mod plan;
mod report;
mod slots;
mod verify;

use clap::Parser;

pub(crate) use ctl::{CtlArguments, Deed, StatusFormat};
pub(crate) use demo::{DemoArguments, LateArgument, LogArgument, ParkArgument, RepeatArgument};
pub(crate) use explain::{ExplainArguments, ExplainFormat};
pub(crate) use plan::{PlanArguments, PlanFormat};
pub(crate) use report::ReportArguments;
pub(crate) use slots::SlotsArguments;
pub(crate) use verify::{
    ChoiceArguments, Format, OutputArguments, TargetArguments, Variable, VerifyArguments,
};

/// Lets services leave without losing requests, and measures what was lost.
#[derive(Debug, Parser)]
#[command(
    name = "lameduck",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Start here:\n  lameduck verify                                  test the embedded demo\n  lameduck verify -- python3 -m http.server {port}  test any HTTP/1.1 service"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) subcommand: Subcommand,
}

/// What each does stands at its arguments, where clap takes it from.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    Verify(Box<VerifyArguments>),
    Demo(Box<DemoArguments>),
    Ctl(Box<CtlArguments>),
    Plan(PlanArguments),
    Report(Box<ReportArguments>),
    Explain(ExplainArguments),
    Slots(SlotsArguments),
}

/// A duration as people write it, for clap.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    lameduck::parse_duration(text)
        .ok_or_else(|| "not a duration such as 4s, 1500ms, 2m or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_documentation_parse() {
        let lines = [
            "lameduck verify",
            "lameduck verify --only H1-02 --seed 7f3a91 --rounds 3 --format json -- python3 -m http.server {port}",
            "lameduck verify --signal QUIT --grace 10s --slow-path /slow?ms={ms} -- nginx -g daemon-off",
            "lameduck verify --init --output service.toml -- ./service --port {port}",
            "lameduck verify --profile service.toml --rounds 3",
            "lameduck verify --profile service.toml --rounds 5 --also markdown=summary.md --also html=verify.html -- node server.mjs {port}",
            "lameduck demo --listen 127.0.0.1:8080 --window 0.2,0.1,1 --grace 4s --late refuse --repeat escalate",
            "lameduck demo --listen 127.0.0.1:0 --probes 127.0.0.1:0 --admin 127.0.0.1:0 --window local --no-sigint",
            "lameduck demo --control ./demo.sock",
            "lameduck ctl --socket ./demo.sock status",
            "lameduck ctl status --socket ./demo.sock --format json",
            "lameduck ctl --socket ./demo.sock watch",
            "lameduck ctl --socket ./demo.sock drain --grace 5s",
            "lameduck ctl --socket ./demo.sock dump",
            "lameduck ctl --socket ./demo.sock grant shipper 5s",
            "lameduck ctl --socket ./demo.sock participants --format json",
            "lameduck explain report.json",
            "lameduck demo --audit audit.jsonl --audit-argv",
            "lameduck demo --log json --otlp http://127.0.0.1:4318",
            "lameduck explain --audit audit.jsonl",
            "lameduck explain report.json --format mermaid",
            "lameduck explain report.json --format html",
            "lameduck explain --audit - --format json",
            "lameduck verify --format html --output report.html --also json=report.json --also junit=report.xml",
            "lameduck verify --baseline last.json --compare older.json --compare oldest.json",
            "lameduck report a.json b.json --format markdown",
            "lameduck explain H1-02 --for node --format markdown",
            "lameduck explain --list",
            "lameduck plan --format kubernetes --preset aws-alb --pre-stop 5s --name shop",
            "lameduck plan --format systemd --grace 60s --window none",
            "lameduck slots --socket /run/shop/slots.sock --max-unavailable 25% --per-zone --expected 8",
            "lameduck demo --slots /run/shop/slots.sock --member shop-1 --zone eu-1",
            "lameduck demo --etcd http://127.0.0.1:2379,http://127.0.0.1:22379 --group shop --max-unavailable 25%",
        ];
        for line in lines {
            Arguments::try_parse_from(line.split(' ')).expect(line);
        }
        assert!(Arguments::try_parse_from(["lameduck", "demo", "--grace", "soon"]).is_err());
        for name in ["a b", "a: b", "-a", "A", ""] {
            let line = ["lameduck", "plan", "--name", name];
            assert!(Arguments::try_parse_from(line).is_err(), "{name}");
        }
        for share in ["0", "101%", "some"] {
            let line = [
                "lameduck",
                "slots",
                "--socket",
                "s",
                "--max-unavailable",
                share,
            ];
            assert!(Arguments::try_parse_from(line).is_err(), "{share}");
        }
        for also in ["html", "html=", "pdf=a.pdf", "=a"] {
            let line = ["lameduck", "verify", "--also", also];
            assert!(Arguments::try_parse_from(line).is_err(), "{also}");
        }
    }
}
