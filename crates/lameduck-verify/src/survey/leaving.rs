//! Owns how a service left when it was told to, and what it may promise about that.
//! Not: what it does while it runs (see `probe`, `doors`).

use std::time::Duration;

use super::write::quoted;
use super::{Entry, Origin, Table, duration, millis};
use crate::declared::{Interrupt, LatePolicy};
use crate::options::{Options, RepeatPolicy, TargetSpec};
use crate::target::Exit;

/// The platform, and how the service left, idle.
pub(super) fn entries(options: &Options, exit: Option<Exit>, took: Option<Duration>) -> Vec<Entry> {
    let signal = &options.stop;
    let sent = options.stop.signal().unwrap_or_default();
    let left = match (exit, took) {
        (Some(exit), Some(took)) => {
            format!(
                "idle, it {} {} after {signal}",
                exit.in_words(),
                millis(took)
            )
        }
        _ => format!(
            "idle, it still ran {} after {signal} and was {}",
            millis(options.patience()),
            if options.target.driven.is_some() {
                "cleaned up"
            } else {
                "killed"
            }
        ),
    };
    let entry = |table, key, value, origin, note: &str| Entry {
        table,
        key,
        value,
        origin,
        note: note.to_owned(),
    };
    let grace = quoted(&duration(options.grace));
    let about_grace = "from the signal to SIGKILL, as the platform has it";
    let odd = exit
        .and_then(|exit| exit.code())
        .filter(|code| ![0, 128 + sent.number()].contains(code));
    let about_exit = match odd {
        Some(code) => {
            format!("{left}; supervisors take {code} for a crash: list it here if it is meant (P1)")
        }
        None => format!("{left}; codes that are as good as 0 (P1)"),
    };
    let given = &options.target.exit_codes;
    let (codes, about_codes) = if given.is_empty() {
        (format!("[{}]", odd.unwrap_or(0)), Origin::Open)
    } else {
        (format!("{given:?}"), Origin::Given)
    };
    let mut entries = vec![
        entry(Table::Platform, "grace", grace, Origin::Given, about_grace),
        entry(Table::Expect, "exit_codes", codes, about_codes, &about_exit),
    ];
    if let Some(signal) = options.stop.signal() {
        let name = quoted(&signal.name()[3..]);
        entries.insert(
            1,
            entry(Table::Platform, "signal", name, Origin::Given, &left),
        );
    }
    entries.extend(front(options));
    entries.extend(promises(&options.target));
    entries
}

/// What stands before the service.
fn front(options: &Options) -> Vec<Entry> {
    let entry = |key, value, origin, note: &str| Entry {
        table: Table::Platform,
        key,
        value,
        origin,
        note: note.to_owned(),
    };
    let origin = if options.front.is_none() {
        Origin::Open
    } else {
        Origin::Given
    };
    let name = quoted(&options.front.to_string());
    let about = "what stands before it in production: A2 and the report say what users behind it see (`lameduck verify --list-fronts`)";
    let mut entries = vec![entry("front", name, origin, about)];
    if !options.pre_stop.is_zero() {
        let pre_stop = quoted(&duration(options.pre_stop));
        let about = "a preStop sleep, part of the grace period";
        entries.push(entry("pre_stop", pre_stop, Origin::Given, about));
    }
    entries
}

/// What cannot be seen from outside, or only by breaking something: as given, else as an example.
fn promises(target: &TargetSpec) -> Vec<Entry> {
    let written = |time: Duration| quoted(&duration(time));
    let word = |word: &str| quoted(word);
    let rows: [(&str, Option<String>, &str, &str); 7] = [
        (
            "forced_exit",
            target.forced_exit.map(|code| code.to_string()),
            "124",
            "its exit code when it had to cut something off (P2)",
        ),
        (
            "close_codes",
            (!target.close_codes.is_empty()).then(|| format!("{:?}", target.close_codes)),
            "[1000]",
            "codes of a WebSocket's Close that are as good as 1001 and 1012 (WS-01)",
        ),
        (
            "late",
            (target.late == LatePolicy::Refuse).then(|| word("refuse")),
            "\"refuse\"",
            "if it refuses what comes after the signal with 503, Retry-After and close (H1-02, H1-04, H1-06)",
        ),
        (
            "repeats",
            target.repeats.map(|repeats| match repeats {
                RepeatPolicy::Record => word("record"),
                RepeatPolicy::Escalate => word("escalate"),
            }),
            "\"record\"",
            "what a repeated signal does, `record` or `escalate`: P3 needs it",
        ),
        (
            "interrupt",
            (target.interrupt == Interrupt::LeftAlone).then(|| word("left-alone")),
            "\"left-alone\"",
            "if a first SIGINT does not stop it (P5)",
        ),
        (
            "quiet",
            target.quiet.map(written),
            "\"100ms\"",
            "how long idle connections live on after the last request; under load, requests that cross a close are forgiven where that is short",
        ),
        (
            "extra_time",
            (!target.extra_time.is_zero()).then(|| written(target.extra_time)),
            "\"2s\"",
            "how much longer than the grace period it may take: for slow machines and debug builds",
        ),
    ];
    rows.into_iter()
        .map(|(key, given, example, note)| Entry {
            table: Table::Expect,
            key,
            origin: if given.is_some() {
                Origin::Given
            } else {
                Origin::Open
            },
            value: given.unwrap_or_else(|| example.to_owned()),
            note: note.to_owned(),
        })
        .collect()
}
