//! What the lifecycle knows: process, phase, participants, work in flight, tasks.

use std::time::{Duration, SystemTime};

use super::text::{Age, Text, printable, utc};
use crate::driver::{DumpCause, Facts};
use crate::inflight::TaskView;
use crate::sys;

pub(super) fn write(facts: &Facts, why: DumpCause, text: &mut Text<'_>) {
    head(facts, why, text);
    participants(facts, text);
    in_flight(facts, text);
    tasks(facts, text);
}

fn head(facts: &Facts, why: DumpCause, text: &mut Text<'_>) {
    let why = match why {
        DumpCause::Quit => "SIGQUIT, the process dies of it",
        DumpCause::Usr1 => "SIGUSR1, the process goes on",
        DumpCause::Asked => "asked for, the process goes on",
    };
    text.line(format_args!(
        "== lameduck dump of pid {} at {}: {why}",
        sys::getpid(),
        utc(SystemTime::now())
    ));
    let program = std::env::current_exe().unwrap_or_default();
    text.line(format_args!(
        "program {}, lameduck {}, {}-{}",
        printable(&program.to_string_lossy()),
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    ));
    let since = facts.machine.as_ref().map(|machine| machine.since);
    let since = since.map_or(String::new(), |since| format!(" for {}", age(facts, since)));
    text.line(format_args!(
        "phase {}{since}, up {}",
        facts.phase,
        Age(facts.now)
    ));
    text.line(format_args!("plan {}", facts.plan));
    match &facts.machine {
        None => text.line("cause and participants: not known, their lock is held"),
        Some(machine) => {
            if let Some(cause) = &machine.cause {
                text.line(format_args!("cause {}", printable(&cause.to_string())));
            }
            for (what, at) in [
                ("the drain", machine.drain_end),
                ("the process", machine.deadline),
            ] {
                if let Some(at) = at {
                    text.line(format_args!("{what} ends {}", ahead(facts.now, at)));
                }
            }
        }
    }
    let [files, core] = sys::limits().map(|limit| match limit {
        Some(most) => most.to_string(),
        None => "unlimited".to_owned(),
    });
    let open = std::fs::read_dir("/proc/self/fd").map_or_else(
        |_| "? open files".to_owned(),
        // One of them is the directory itself.
        |all| format!("{} open files", all.count().saturating_sub(1)),
    );
    text.line(format_args!(
        "limits: {open} of {files}, core file {core} bytes"
    ));
}

/// A point in time that may have passed.
fn ahead(now: Duration, at: Duration) -> String {
    match at.checked_sub(now) {
        Some(left) => format!("in {}", Age(left)),
        None => format!("since {}: it is overdue", Age(now - at)),
    }
}

fn age(facts: &Facts, since: Duration) -> Age {
    Age(facts.now.saturating_sub(since))
}

fn participants(facts: &Facts, text: &mut Text<'_>) {
    let Some(machine) = &facts.machine else {
        return;
    };
    text.line("");
    text.line(format_args!(
        "== participants: {}, {} not ended",
        machine.participants.len(),
        machine.open().count()
    ));
    for one in &machine.participants {
        let mut line = format!("  {}: {}", printable(one.name()), one.state());
        let mut add = |what: String| line.push_str(&what);
        if let Some(why) = one.why() {
            add(format!(": {}", printable(why)));
        }
        if let Some(budget) = one.enrolment().budget {
            add(format!(", budget {}", Age(budget)));
        }
        if let Some(progress) = one.progress() {
            add(format!(", at {}", printable(&progress.to_string())));
        }
        for grant in one.grants().iter().filter(|grant| !grant.by.is_zero()) {
            add(format!(", {} more", Age(grant.by)));
        }
        if let Some(at) = one.closed_at() {
            add(format!(", told to finish {} ago", age(facts, at)));
        }
        if let Some(due) = one.due_at().filter(|_| !one.is_ended()) {
            add(format!(", its budget ends {}", ahead(facts.now, due)));
        }
        if let Some(hook) = one.hook() {
            add(format!(", stop hook {hook}"));
        }
        text.line(line);
    }
}

fn in_flight(facts: &Facts, text: &mut Text<'_>) {
    let seen = &facts.requests;
    text.line("");
    text.line(format_args!(
        "== in flight: {} connection(s), {} busy, {} idle, {} guard(s); {} request(s) so far",
        facts.connections, seen.busy, seen.idle, facts.guards, facts.requests_so_far
    ));
    for view in &seen.requests {
        let from = view
            .peer
            .map_or_else(String::new, |peer| format!(" from {peer}"));
        let cut = if view.path_is_cut { "…" } else { "" };
        text.line(format_args!(
            "  {} {}{cut}{from}, {} old",
            printable(&view.method),
            printable(&view.path),
            age(facts, view.since)
        ));
    }
    left_out(text, "request(s)", seen.busy, seen.requests.len());
    for view in &facts.idle {
        let from = view
            .peer
            .map_or_else(|| "a Unix socket".to_owned(), |peer| peer.to_string());
        text.line(format_args!(
            "  idle: {from}, came or last asked {} ago",
            age(facts, view.since)
        ));
    }
    left_out(text, "idle connection(s)", seen.idle, facts.idle.len());
    if seen.torn > 0 {
        text.line(format_args!(
            "  {} connection(s) changed while they were read",
            seen.torn
        ));
    }
}

fn left_out(text: &mut Text<'_>, what: &str, total: usize, named: usize) {
    // Each slot is read at its own instant: fewer may have been left than were named.
    if let more @ 1.. = total.saturating_sub(named) {
        text.line(format_args!("  … and {more} more {what}"));
    }
}

fn tasks(facts: &Facts, text: &mut Text<'_>) {
    text.line("");
    let Some(seen) = &facts.tasks else {
        text.line("== tasks: not known, their registry is locked");
        return;
    };
    text.line(format_args!(
        "== tasks spawned through the lifecycle: {}",
        seen.total
    ));
    for task in &seen.tasks {
        text.line(format_args!(
            "  task {} \"{}\" from {}:{}, {} old, polls {}, {}",
            task.number,
            printable(&task.name),
            short(task.spawned_at.file()),
            task.spawned_at.line(),
            age(facts, task.born),
            task.polls,
            doing(facts, task)
        ));
    }
    left_out(text, "task(s)", seen.total, seen.tasks.len());
    if facts.unlisted > 0 {
        text.line(format_args!(
            "  {} task(s) were spawned while the registry was full",
            facts.unlisted
        ));
    }
}

fn doing(facts: &Facts, task: &TaskView) -> String {
    match (task.running_on, task.since) {
        (Some(tid), Some(since)) => {
            format!("RUNNING for {} on thread {tid}", age(facts, since))
        }
        (_, Some(since)) => format!("waiting for {}", age(facts, since)),
        (_, None) => "not polled yet".to_owned(),
    }
}

/// A source file without what is the same for all: where cargo keeps other people's crates, and where rustc was built.
pub(super) fn short(file: &str) -> &str {
    let below = |mark: &str| {
        let (_, rest) = file.split_once(mark)?;
        rest.split_once('/').map(|(_, rest)| rest)
    };
    below("/registry/src/")
        .or_else(|| below("/rustc/"))
        .unwrap_or(file)
}
