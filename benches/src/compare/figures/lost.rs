//! Requests lost in four load modes: the binary `lost`, its raw record added up.
//!
//! Owns: which servers take part. Not here: the load and what counts as lost.

use std::collections::BTreeMap;
use std::process::Command;

use serde::Deserialize;

use super::{Bench, Failure, Figure};
use crate::compare::contender::Contender;

pub(super) const FIGURE: Figure = Figure {
    name: "lost",
    title: "Requests lost at SIGTERM",
    about: "The sums of the binary `lost` over all its runs: (a) 64 connections without a pause, (b) 200 with 5 ms, (c) \
            200 with 50 ms between two requests, (d) 32 clients with a new connection for each. lameduck is the release \
            build of `lameduck demo --window local`, as it is shipped.",
    plotted: &["lost requests"],
    measure,
};

#[derive(Deserialize)]
struct Round {
    mode: char,
    server: String,
    sent: u64,
    lost_reused: u64,
    lost_fresh: u64,
}

fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let program = std::env::current_exe()?.with_file_name("lost");
    let raw = bench.stage.directory().join("lost.jsonl");
    let mut servers = "lameduck,hyper-util,axum".to_owned();
    if bench
        .stage
        .missing()
        .iter()
        .all(|(contender, _)| *contender != Contender::Nginx)
    {
        servers += ",nginx";
    }
    let output = Command::new(program)
        .args([
            "--servers",
            &servers,
            "--runs",
            &bench.effort.load_runs.to_string(),
            "--raw",
        ])
        .arg(&raw)
        .output()?;
    // 1 says that lameduck lost something, which is a figure like any other here.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let mut sums: BTreeMap<(String, char), (u64, u64)> = BTreeMap::new();
    let mut order = Vec::new();
    for line in std::fs::read_to_string(&raw)?.lines() {
        let round: Round = serde_json::from_str(line)?;
        let server = round
            .server
            .replace("lameduck demo", Contender::Lameduck.name());
        let of = (server, round.mode);
        if !order.contains(&of) {
            order.push(of.clone());
        }
        let sum = sums.entry(of).or_default();
        sum.0 += round.lost_reused + round.lost_fresh;
        sum.1 += round.sent;
    }
    for (server, mode) in order {
        let (lost, sent) = sums[&(server.clone(), mode)];
        bench.add("lost requests", &mode.to_string(), &server, 0, lost as f64)?;
        bench.add("of requests", &mode.to_string(), &server, 0, sent as f64)?;
    }
    Ok(())
}
