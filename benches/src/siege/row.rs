//! One row of the table: what an attack came to, as text, Markdown and JSON.
//!
//! Owns: figures and their print. Not here: how they come about, and what is too much (parent).

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Finding;
use crate::honest::ledger::Latency;

/// What honest clients counted.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Honest {
    /// Exchanges that were begun.
    pub sent: u64,
    /// Lost ones among them.
    pub lost: u64,
    /// Refused retry-safe.
    pub refused: u64,
    /// Messages that crossed a Close.
    pub crossed: u64,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Millis {
    /// Half of them.
    pub median: f64,
    /// 99 of 100.
    pub p99: f64,
    /// All.
    pub longest: f64,
    /// How many.
    pub count: usize,
}

impl From<Latency> for Millis {
    fn from(latency: Latency) -> Self {
        let millis = |duration: Duration| (duration.as_secs_f64() * 1e5).round() / 1e2;
        Self {
            median: millis(latency.median),
            p99: millis(latency.p99),
            longest: millis(latency.longest),
            count: latency.count,
        }
    }
}

/// What one attack came to.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The attack's name.
    pub attack: &'static str,
    /// Its peers.
    pub peers: usize,
    /// Connections that they opened in the first attack.
    pub connections: u64,
    /// Those among them that the server ended.
    pub ended_by_server: u64,
    /// Bytes that they wrote.
    pub written: u64,
    /// Resident memory of the demo in bytes: before, the most during the attack, and after it.
    pub memory: [u64; 3],
    /// Bytes of memory for each peer, and what is stated as the most.
    pub bytes_each: [u64; 2],
    /// What honest clients counted.
    pub honest: Honest,
    /// Their latencies before the attack and during it.
    pub latency: [Millis; 2],
    /// From SIGTERM to the exit, in milliseconds; nothing when it did not come.
    pub exit_ms: Option<f64>,
    /// The deadline of the plan, in milliseconds.
    pub deadline_ms: f64,
    /// Criteria that were not kept.
    pub findings: Vec<Finding>,
}

impl Row {
    fn cells(&self) -> [String; 8] {
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let kib = |bytes: u64| format!("{:.1}", bytes as f64 / 1024.0);
        let latency =
            |one: Millis| format!("{:.1} / {:.1} / {:.0}", one.median, one.p99, one.longest);
        [
            self.attack.to_owned(),
            self.peers.to_string(),
            self.connections.to_string(),
            self.memory.map(mib).join(" → "),
            format!(
                "{} (≤ {})",
                kib(self.bytes_each[0]),
                kib(self.bytes_each[1])
            ),
            self.latency.map(latency).join(" → "),
            format!("{} of {}", self.honest.lost, self.honest.sent),
            self.exit_ms
                .map_or_else(|| "never".to_owned(), |after| format!("{:.2}", after / 1e3)),
        ]
    }
}

const COLUMNS: [&str; 8] = [
    "attack",
    "peers",
    "connections",
    "memory before → most → after, MiB",
    "KiB a peer (stated)",
    "honest ms, median / 99 % / longest: before → during",
    "honest lost",
    "SIGTERM → exit, s",
];
const WIDTHS: [usize; 8] = [16, 6, 11, 22, 20, 46, 14, 6];

/// The heading of the table as text.
pub fn heading() -> String {
    let short = [
        "attack",
        "peers",
        "connections",
        "MiB before, most, after",
        "KiB a peer (stated)",
        "honest ms p50/p99/max: before → during",
        "honest lost",
        "exit s",
    ];
    line(&short.map(str::to_owned))
}

fn line(cells: &[String; 8]) -> String {
    let padded = cells
        .iter()
        .zip(WIDTHS)
        .map(|(cell, width)| format!("{cell:<width$}"));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(&self.cells()))
    }
}

/// The table as Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut table = vec![
        crate::stats::row(&COLUMNS.map(str::to_owned)),
        crate::stats::row(&COLUMNS.map(|_| "---".to_owned())),
    ];
    table.extend(rows.iter().map(|row| crate::stats::row(&row.cells())));
    table.join("\n") + "\n"
}
