//! P10: after the exit no child lives, no temporary file lies about and no socket path stands that the target made.
//!
//! It gets a private TMPDIR, and a parent that adopts its orphans. Files that it puts elsewhere are not seen, except
//! for the paths of Unix sockets that it listened on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::observe::flow::{Flow, Part, Step, Steps};
use crate::scenario::attention::Watch;
use crate::scenario::bench::{Bench, await_departure};
use crate::scenario::requests;
use crate::scenario::stop::{ending, settle_in};
use crate::target::proc::{self, Process};
use crate::target::{Running, Scratch, VerifyError, Ward, launch_behind};
use crate::verdict::{Finding, Verdict};

/// What is left may go so long after the exit, before it counts as left behind.
const PARTING: Duration = Duration::from_secs(2);
/// Between two looks.
const STEP: Duration = Duration::from_millis(20);
/// Files named in a report, and directories gone into.
const MAX_FILES: usize = 64;
/// Bytes of a body that a server may keep in a file while it reads it.
const BODY: usize = 512 * 1024;

pub(super) fn run(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    let scratch = Scratch::make()?;
    let mut spec = bench.options.target.clone();
    for name in ["TMPDIR", "TMP", "TEMP"] {
        let path = scratch.path().to_string_lossy().into_owned();
        spec.env.push((name.to_owned(), path));
    }
    bench
        .launches
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let running = match launch_behind(Ward::Adopts, &spec, &bench.ledger) {
        Err(VerifyError::Machine(_, error)) => {
            let reason = format!("this system can not adopt orphans ({error}); Linux can");
            return Ok(bench.lacking("P10", &reason));
        }
        other => other?,
    };
    let mut engine = bench.engine(&running);
    engine.add(ending(bench, &running));
    if let Some(path) = &bench.facts.post_path {
        let body = format!("Content-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
        let bytes = requests::head(&running.place, "POST", path, &body).into_bytes();
        let part = Part::Whole;
        let steps = vec![Step::Connect, Step::Send { bytes, part }, Step::AwaitAnswer];
        engine.add(Flow::new("upload", Steps::new(steps)).posting(true));
    }
    settle_in(&mut engine, &running);
    let seen = Before::look(&running);
    let t = running.stop(&bench.options.stop);
    engine.note_stop(t);
    let departure = await_departure(&mut engine, &running, t, bench.options.patience());
    if departure.exit.is_none() {
        let reason = "it had to be killed, and who is killed cleans nothing up (see P1)";
        return Ok(bench.lacking("P10", reason));
    }
    let left = Left::look(&running, &seen, scratch.path());
    left.children.iter().for_each(Process::kill);
    Ok(bench.weigh(left.judge(bench, &seen), &[Watch::since(t)]))
}

/// The target and all that it started, also what has no parent any more.
fn family(running: &Running) -> Vec<Process> {
    running.guardian().map_or_else(Vec::new, proc::descendants)
}

/// What was there before the stop.
#[derive(Debug)]
struct Before {
    children: usize,
    sockets: BTreeSet<PathBuf>,
}

impl Before {
    fn look(running: &Running) -> Self {
        let mut children = family(running);
        let mut pids = Vec::new();
        pids.extend(children.iter().map(|child| child.pid));
        children.retain(|child| Some(child.pid) != running.pid());
        Self {
            children: children.len(),
            sockets: proc::socket_paths(&pids),
        }
    }
}

/// What is still there.
#[derive(Debug, Default)]
struct Left {
    children: Vec<Process>,
    files: Vec<PathBuf>,
    sockets: Vec<PathBuf>,
}

impl Left {
    /// Looks until there is nothing, or the time is over.
    fn look(running: &Running, before: &Before, tmp: &Path) -> Self {
        let until = Instant::now() + PARTING;
        loop {
            // Read before looking: however late this thread runs, it looks once after the time.
            let over = Instant::now() >= until;
            let mut files = Vec::new();
            collect(tmp, &mut files);
            let sockets = before.sockets.iter().filter(|path| !path.starts_with(tmp));
            let left = Self {
                children: family(running),
                files,
                sockets: sockets.filter(|path| path.exists()).cloned().collect(),
            };
            if over || left.is_nothing() {
                return left;
            }
            std::thread::park_timeout(STEP);
        }
    }

    fn is_nothing(&self) -> bool {
        self.children.is_empty() && self.files.is_empty() && self.sockets.is_empty()
    }

    fn judge(&self, bench: &Bench<'_>, before: &Before) -> Finding {
        let mut parts: Vec<String> = Vec::new();
        if !self.children.is_empty() {
            let names: Vec<String> = self.children.iter().map(Process::in_words).collect();
            parts.push(format!("still running: {}", names.join(", ")));
        }
        for (what, paths) in [
            ("in its TMPDIR", &self.files),
            ("socket paths", &self.sockets),
        ] {
            if !paths.is_empty() {
                let names: Vec<String> = paths.iter().map(|path| last_name(path)).collect();
                parts.push(format!("{what}: {}", names.join(", ")));
            }
        }
        let (verdict, detail) = if parts.is_empty() {
            let children = before.children;
            (
                Verdict::Pass,
                format!("nothing is left: of {children} children none runs, its TMPDIR is empty"),
            )
        } else {
            let seconds = PARTING.as_secs();
            (
                Verdict::Differs,
                format!(
                    "{seconds} s after the exit there is left, {}",
                    parts.join("; ")
                ),
            )
        };
        bench
            .finding("P10", verdict, detail)
            .with_figure("children_before", before.children)
            .with_figure("children_left", self.children.len())
            .with_figure("files_left", self.files.len())
            .with_figure("sockets_left", self.sockets.len())
    }
}

fn last_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    // It goes to terminals: no control bytes.
    name.to_string_lossy().escape_debug().to_string()
}

/// Files below `directory`, and directories, also empty ones.
fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if found.len() >= MAX_FILES {
            return;
        }
        found.push(entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
}
