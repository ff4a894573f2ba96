//! Instructions, counted by callgrind.
//!
//! Owns: a server's run under valgrind, its profile file read back, and the difference of two profiles, in which start and
//! stop cancel out. Not here: what is asked of the server.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::server::{Launch, Server, Signal};

/// Longest wait for a server under valgrind to end.
const END: Duration = Duration::from_secs(60);
/// What allocates, by its name in the C library.
const ALLOCATES: [&str; 5] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
];

/// What one run executed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Instructions by function.
    pub functions: BTreeMap<String, f64>,
    /// Calls of what allocates.
    pub allocations: f64,
}

impl Profile {
    /// All instructions.
    pub fn instructions(&self) -> f64 {
        self.functions.values().sum()
    }

    /// This one without what `other` has, for each of `count`.
    #[must_use]
    pub fn beyond(&self, other: &Self, count: f64) -> Self {
        let mut functions = self.functions.clone();
        for (name, cost) in &other.functions {
            *functions.entry(name.clone()).or_default() -= cost;
        }
        functions.retain(|_, cost| *cost != 0.0);
        functions.values_mut().for_each(|cost| *cost /= count);
        Self {
            functions,
            allocations: (self.allocations - other.allocations) / count,
        }
    }

    /// Instructions by the crate or library that a function is of.
    pub fn crates(&self) -> BTreeMap<String, f64> {
        let mut crates = BTreeMap::new();
        for (name, cost) in &self.functions {
            *crates.entry(crate_of(name).to_owned()).or_default() += cost;
        }
        crates
    }
}

/// Whether valgrind is here.
pub fn is_here() -> bool {
    std::process::Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Runs a server under callgrind while `drive` uses it.
///
/// # Errors
///
/// When it cannot be run, does not end, or leaves no profile.
pub fn run(
    launch: &Launch,
    directory: &Path,
    drive: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> io::Result<Profile> {
    let file = directory.join("callgrind.out");
    let mut args: Vec<OsString> = ["--tool=callgrind", "--dump-line=no", "--vgdb=no", "--quiet"]
        .map(OsString::from)
        .into();
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(&file);
    args.extend([out, launch.program.clone()]);
    args.extend(launch.args.iter().cloned());
    let launch = Launch {
        program: "valgrind".into(),
        args,
        ..launch.clone()
    };
    let mut server = Server::start(&launch).map_err(io::Error::other)?;
    drive(server.address())?;
    server.signal(Signal::Terminate);
    if server.wait_exit(END).is_none() {
        return Err(io::Error::other("the server under valgrind does not end"));
    }
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    Ok(parse(&text))
}

/// Reads the format that the callgrind manual calls "profile data".
fn parse(text: &str) -> Profile {
    let mut names: HashMap<String, String> = HashMap::new();
    let mut profile = Profile::default();
    let (mut function, mut callee, mut is_call) = (String::new(), String::new(), false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = resolve(name, &mut names);
        } else if let Some(name) = line.strip_prefix("cfn=") {
            callee = resolve(name, &mut names);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            is_call = true;
            if ALLOCATES.contains(&callee.as_str()) {
                let count = calls
                    .split(' ')
                    .next()
                    .and_then(|count| count.parse::<f64>().ok());
                profile.allocations += count.unwrap_or(0.0);
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            // The cost behind a call is the callee's, counted there already.
            if !std::mem::take(&mut is_call) {
                let cost = line
                    .split(' ')
                    .nth(1)
                    .and_then(|cost| cost.parse::<f64>().ok());
                *profile.functions.entry(function.clone()).or_default() += cost.unwrap_or(0.0);
            }
        }
    }
    profile
}

/// `(12) name` names a number, `(12)` uses it.
fn resolve(name: &str, names: &mut HashMap<String, String>) -> String {
    match name.split_once(' ') {
        Some((number, name)) => {
            names.insert(number.to_owned(), name.to_owned());
            name.to_owned()
        }
        None => names.get(name).cloned().unwrap_or_else(|| name.to_owned()),
    }
}

/// The first path in a symbol names it; what has none is of the C library.
fn crate_of(symbol: &str) -> &str {
    let start = symbol.trim_start_matches(['<', '&', '*', '(', '[']);
    let start = start.strip_prefix("mut ").unwrap_or(start);
    match start.split_once("::") {
        Some((first, _)) if first.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => first,
        _ => "C library and assembly",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "events: Ir\nfl=(1) a.rs\nfn=(1) <hyper::Connection as core::Future>::poll\n0 100\n\
        cfn=(2) malloc\ncalls=3 0\n0 60\n\nfn=(2)\n0 60\n";

    #[test]
    fn a_profile_is_read() {
        let profile = parse(TEXT);
        assert_eq!(profile.instructions(), 160.0);
        assert_eq!(profile.allocations, 3.0);
        let crates = profile.crates();
        assert_eq!(crates["hyper"], 100.0);
        assert_eq!(crates["C library and assembly"], 60.0);
    }

    #[test]
    fn what_both_have_cancels_out() {
        let twice = parse(&TEXT.replace("0 100", "0 300"));
        let each = twice.beyond(&parse(TEXT), 2.0);
        assert_eq!((each.instructions(), each.allocations), (100.0, 0.0));
    }
}
