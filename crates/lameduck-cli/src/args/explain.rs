//! `lameduck explain`, as typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lameduck_verify::ServerKind;

/// Explain an id of the contract and how it is mended, or tell the story of a shutdown report, an audit or a history
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lameduck explain H1-02                what is owed, why, how it is measured, what failing costs\n  lameduck explain H1-02 --for node     and how it is mended in Node.js\n  lameduck explain --list               every id, in a line each\n  lameduck explain report.json          who asked, what took how long, what was cut and why\n  lameduck explain --audit audit.jsonl  who stopped it, how often, how long that took, what was cut\n  lameduck explain --history api.json   how the budgets of a service learned, and what they will be\n  lameduck explain report.json --format html > report.html\n                                        the same, drawn\n\nA file may be a service's whole stderr: the last line with schema lameduck.shutdown/1 is used."
)]
pub(crate) struct ExplainArguments {
    /// An id of the contract (H1-02), or a shutdown report: a file, or - for standard input
    #[arg(value_name = "ID or REPORT.json", required_unless_present_any = ["list", "audit", "history"])]
    pub(crate) what: Option<String>,
    /// Show how it is mended in this server: node, go, nginx, … (a wrong word names all)
    #[arg(long = "for", value_name = "SERVER", requires = "what")]
    pub(crate) server: Option<ServerKind>,
    /// List every id of the contract, in a line each
    #[arg(long, conflicts_with_all = ["what", "server"])]
    pub(crate) list: bool,
    /// Tell the story of an audit (lameduck.audit/1): a file with those set aside as FILE.1, FILE.2, …, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["what", "server", "list"])]
    pub(crate) audit: Option<PathBuf>,
    /// Show what participants needed in their last shutdowns and how their budgets followed (lameduck.history/1): a file, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["what", "server", "list", "audit"])]
    pub(crate) history: Option<PathBuf>,
    /// How it is explained
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub(crate) format: ExplainFormat,
}

/// How an id is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainFormat {
    /// For people at a terminal.
    Text,
    /// For programs.
    Json,
    /// The page of the documentation, of an id.
    Markdown,
    /// A sequence diagram of a report, for GitHub, GitLab and wikis.
    Mermaid,
    /// The same as a page that loads nothing.
    Html,
}
