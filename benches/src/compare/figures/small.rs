//! The small parts on a request's path and the way of a signal: `benches/micro` and the binary `signal`, in one table.
//!
//! Owns: running them and taking their lines. Not here: how they measure.

use std::process::Command;

use serde::Deserialize;

use super::{Bench, Failure, Figure};
use crate::compare::contender::Contender;

pub(super) const FIGURE: Figure = Figure {
    name: "small",
    title: "Small parts",
    about: "The medians of the micro-benchmarks (nanoseconds, contenders interleaved in slices of 1 ms) and of the signal's \
            way to whoever waits for it (microseconds, a fresh child each time).",
    plotted: &[],
    measure,
};

#[derive(Deserialize)]
struct Line {
    case: String,
    contender: String,
    ours: bool,
    median: f64,
}

fn measure(bench: &mut Bench) -> Result<(), Failure> {
    for run in 0..bench.effort.runs.min(3) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut micro = Command::new(cargo);
        micro.args(["bench", "--quiet", "-p", "lameduck-benches"]);
        micro.args(["--bench", "micro", "--", "--lines"]);
        take(bench, "ns", run, &mut micro)?;
        let mut signal = Command::new(std::env::current_exe()?.with_file_name("signal"));
        signal.arg("--lines");
        take(bench, "µs from kill(2)", run, &mut signal)?;
    }
    Ok(())
}

fn take(bench: &mut Bench, measure: &str, run: u32, command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    for line in String::from_utf8(output.stdout)?.lines() {
        let line: Line = serde_json::from_str(line)?;
        let contender = if line.ours {
            Contender::Lameduck.name()
        } else {
            &line.contender
        };
        bench.add(measure, &line.case, contender, run, line.median)?;
    }
    Ok(())
}
