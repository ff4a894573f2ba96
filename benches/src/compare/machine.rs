//! The machine in words.
//!
//! Owns: what of it explains a figure.

use std::fs::read_to_string;

/// Processors and kernel.
pub fn describe() -> String {
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, model)| model);
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What follows the version is the builder's.
    let kernel = release.split('-').next().unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{processors} × {model}, Linux {}", kernel.trim())
}

/// The load average of the last minute.
pub fn load() -> String {
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("?").to_owned()
}
