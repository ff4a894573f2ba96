//! Owns how the service is had, as a profile says it: what was given, written down again.
//! Not: what it answers (see `probe`, `doors`).

use std::time::Duration;

use super::declared::absolute;
use super::write::{list, quoted};
use super::{Entry, Origin, Table, duration, millis};
use crate::options::{Options, Stop, TargetSpec};

/// What was given about how it starts, is ready, and is stopped.
pub(super) fn entries(options: &Options, ready_after: Duration) -> Vec<Entry> {
    let target = &options.target;
    let entry = |key, value, origin, note: &str| Entry {
        table: Table::Target,
        key,
        value,
        origin,
        note: note.to_owned(),
    };
    let mut entries = vec![command(target, ready_after)];
    let env: Vec<String> = target
        .env
        .iter()
        .map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)))
        .collect();
    let driven = target.driven.as_ref();
    let cwd = target.cwd.as_deref();
    let cwd = cwd.map(|cwd| quoted(&absolute(cwd)));
    let (stop, stop_url) = stop(&options.stop);
    let text = |text: Option<&String>| text.map(|text| quoted(text));
    let rows = [
        ("cwd", cwd, "where the command runs"),
        (
            "env",
            (!env.is_empty()).then(|| format!("{{ {} }}", env.join(", "))),
            "added to its environment",
        ),
        (
            "alive",
            text(driven.and_then(|driven| driven.alive.as_ref())),
            "succeeds as long as it runs",
        ),
        (
            "cleanup",
            text(driven.and_then(|driven| driven.cleanup.as_ref())),
            "run when a launch is over",
        ),
        ("logs", text(target.logs.as_ref()), "prints what it wrote"),
        (
            "ready_line",
            text(target.ready_line.as_ref()),
            "ready once it wrote this",
        ),
        (
            "ready_within",
            target.ready_within.map(|time| quoted(&duration(time))),
            "how long it may take to become ready",
        ),
        ("stop", stop, "stops it, instead of a signal"),
        ("stop_url", stop_url, "stops it, instead of a signal"),
    ];
    for (key, value, note) in rows {
        entries.extend(value.map(|value| entry(key, value, Origin::Given, note)));
    }
    let copies = target.copies.max(1);
    let origin = if copies > 1 {
        Origin::Given
    } else {
        Origin::Open
    };
    entries.push(entry(
        "copies",
        copies.to_string(),
        origin,
        "how many of it may run at once on one machine (up to 4): more copies take less time, and H2-09 needs two",
    ));
    entries
}

/// The values of `stop` and `stop_url`.
fn stop(stop: &Stop) -> (Option<String>, Option<String>) {
    match stop {
        Stop::Signal(_) => (None, None),
        Stop::Command(command) => (Some(quoted(command)), None),
        Stop::Http { method, url } => (None, Some(quoted(&format!("{method} {url}")))),
    }
}

fn command(target: &TargetSpec, ready_after: Duration) -> Entry {
    let ready = millis(ready_after);
    let (key, value, origin, note) = match &target.driven {
        Some(driven) => (
            "start",
            quoted(&driven.start),
            Origin::Given,
            format!("ready after {ready}; a shell command, with {{port}} and PORT"),
        ),
        None if target.argv.is_empty() => (
            "command",
            "[\"./server\", \"{port}\"]".to_owned(),
            Origin::Missing,
            "what was tried out ran already; a command is needed to start it again and again"
                .to_owned(),
        ),
        None => (
            "command",
            list(&target.argv),
            Origin::Given,
            format!(
                "ready after {ready}; {{port}} becomes a free port, which is in the variable PORT too"
            ),
        ),
    };
    Entry {
        table: Table::Target,
        key,
        value,
        origin,
        note,
    }
}
