//! The `lameduck` command: does a service lose requests when it is told to stop, and what happened when it was?
//!
//! `main` tells the story: arguments as typed (`args`), then one module per subcommand, and one exit-code table (`exit`).

mod args;
mod ctl;
mod demo;
mod exit;
mod explain;
mod lines;
mod plan;
mod report;
mod slots;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Arguments, Subcommand},
    exit::Failure,
};

fn main() -> ExitCode {
    // Before any thread: a signal that comes during start-up waits instead of being lost, also as PID 1.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "demo" || first == "slots")
    {
        lameduck::early();
    }
    let result = match Arguments::parse().subcommand {
        Subcommand::Verify(arguments) => verify::run(*arguments),
        Subcommand::Ctl(arguments) => ctl::run(*arguments),
        Subcommand::Demo(arguments) => demo::run(*arguments),
        Subcommand::Plan(arguments) => plan::run(&arguments),
        Subcommand::Report(arguments) => report::run(&arguments),
        Subcommand::Explain(arguments) => explain::run(&arguments),
        Subcommand::Slots(arguments) => slots::run(arguments),
    };
    result.unwrap_or_else(Failure::report)
}
