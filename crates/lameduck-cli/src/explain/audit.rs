//! `explain --audit`: reads an audit with what was set aside of it, and tells it as text or JSON.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use lameduck::wire::{Audit, AuditRecord};
use lameduck_verify::harmless;
use serde_json::{Value, json};

use super::{
    lives::{End, Life, home, lives},
    read, say,
    story::seconds,
};
use crate::{args::ExplainFormat, exit::Failure};

/// How many lives, senders and repeated lines are told one by one.
const TOLD: usize = 20;
/// How many files that were set aside are looked for.
const MOST_FILES: u32 = 100;

pub(super) fn run(path: &Path, format: ExplainFormat) -> Result<ExitCode, Failure> {
    let mut audit = Audit::default();
    for file in files(path) {
        let read = Audit::read(&read(&file)?);
        audit.records.extend(read.records);
        audit.broken += read.broken;
        audit.ends_broken = read.ends_broken;
    }
    if audit.records.is_empty() {
        let message = format_args!(
            "{}: there is no line with schema lameduck.audit/1",
            path.display()
        );
        return Err(Failure::new(message)
            .hint("give the file of `--audit FILE`, or the stderr of `--audit stderr`"));
    }
    // Whoever sends a signal chooses its name, its path and its arguments.
    audit.records = audit.records.iter().map(harmless).collect();
    match format {
        ExplainFormat::Text => say(&tell(&audit)),
        ExplainFormat::Json => say(&format!("{:#}\n", as_json(&audit))),
        _ => {
            return Err(Failure::new("an audit is told as text or json")
                .hint("`--format text` is the default"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The file and what was set aside of it, oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let aside = |number: u32| {
        let mut name: OsString = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let mut files: Vec<PathBuf> = if path.as_os_str() == "-" {
        Vec::new()
    } else {
        (1..=MOST_FILES)
            .map(aside)
            .take_while(|file| file.exists())
            .collect()
    };
    files.reverse();
    // Set aside, and nothing written since.
    if files.is_empty() || path.exists() {
        files.push(path.to_owned());
    }
    files
}

fn tell(audit: &Audit) -> String {
    let lives = lives(&audit.records);
    let mut out = String::new();
    headline(&mut out, &lives);
    askers(&mut out, &lives);
    table(&mut out, &lives);
    if let Some(last) = lives.last() {
        timeline(&mut out, last);
    }
    doubts(&mut out, audit, &lives);
    out
}

fn headline(out: &mut String, lives: &[Life<'_>]) {
    let name = lives
        .iter()
        .rev()
        .find_map(Life::name)
        .unwrap_or("a process");
    let (first, last) = (
        lives[0].first(),
        lives.iter().map(|life| &life.last().time).max(),
    );
    let count = lives.len();
    let lived = if count == 1 { "life" } else { "lives" };
    let _ = writeln!(
        out,
        "{name}: {count} {lived} on record, from {} to {}",
        minute(&first.time),
        minute(last.unwrap_or(&first.time))
    );
    let cut: u64 = lives.iter().map(Life::cut).sum();
    let stopped = lives
        .iter()
        .filter(|life| life.asked_ms().is_some())
        .count();
    let longest = lives.iter().filter_map(Life::took_ms).reduce(f64::max);
    let longest = longest.map_or_else(String::new, |longest| {
        format!(", at most {} from request to exit", seconds(longest))
    });
    let _ = writeln!(
        out,
        "asked to stop {}{longest}; {cut} in flight were cut",
        counted_as(stopped as u64, "time")
    );
}

/// Who stopped it, most often first.
fn counted(lives: &[Life<'_>]) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::new();
    for asker in lives.iter().filter_map(Life::asker) {
        *counts.entry(asker).or_insert(0) += 1;
    }
    let mut counted: Vec<(String, usize)> = counts.into_iter().collect();
    counted.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
    counted
}

fn askers(out: &mut String, lives: &[Life<'_>]) {
    let counted = counted(lives);
    if counted.is_empty() {
        return;
    }
    out.push_str("\nwho stopped it\n");
    for (asker, count) in counted.iter().take(TOLD) {
        let _ = writeln!(out, "  {count} × {asker}");
    }
    if counted.len() > TOLD {
        let _ = writeln!(out, "  and {} others", counted.len() - TOLD);
    }
}

fn table(out: &mut String, lives: &[Life<'_>]) {
    if lives.len() < 2 {
        return;
    }
    let _ = writeln!(
        out,
        "\n  {:<17} {:>8} {:>10} {:>8} {:>8} {:>6}  outcome",
        "started", "pid", "lived", "took", "repeats", "cut"
    );
    let skipped = lives.len().saturating_sub(TOLD);
    for life in &lives[skipped..] {
        let took = life.took_ms().map_or_else(|| "-".to_owned(), seconds);
        let _ = writeln!(
            out,
            "  {:<17} {:>8} {:>10} {took:>8} {:>8} {:>6}  {}",
            minute(&life.first().started),
            life.first().pid,
            long(life.last().at_ms),
            life.repeats(),
            life.cut(),
            outcome(life)
        );
    }
    if skipped > 0 {
        let _ = writeln!(out, "  and {skipped} before them");
    }
}

fn outcome(life: &Life<'_>) -> String {
    match life.end() {
        End::Exit(outcome, record) => {
            let exit = record.exit.as_ref();
            match exit.and_then(|exit| exit.signal.as_ref()) {
                Some(signal) => format!("{outcome}, died by {signal}"),
                None => match exit.and_then(|exit| exit.code) {
                    Some(code) => format!("{outcome}, exit {code}"),
                    None => outcome.to_owned(),
                },
            }
        }
        End::Unknown => "no record of the end".to_owned(),
    }
}

fn timeline(out: &mut String, life: &Life<'_>) {
    let origin = life.asked_ms();
    let from = if origin.is_some() { "T" } else { "its start" };
    let began = life.asked().map_or(&life.first().time, |asked| &asked.time);
    let first = life.first();
    let _ = writeln!(
        out,
        "\nthe last life, pid {}, counted from {from} ({began})",
        first.pid
    );
    if let Some(drain_id) = &first.drain_id {
        let _ = writeln!(
            out,
            "  drain_id {drain_id}: it names this life in the report, metrics, traces and logs"
        );
    }
    for record in &life.records {
        let at = (record.at_ms - origin.unwrap_or_default()) / 1e3;
        let _ = writeln!(out, "{at:>+11.3} s  {}{}", record.said, in_flight(record));
        for detail in details(record) {
            let _ = writeln!(out, "               {detail}");
        }
    }
    if life.end() == End::Unknown {
        out.push_str(
            "               no record of the end: it was killed (SIGKILL, out of memory, power), or it is still running\n",
        );
    }
}

fn in_flight(record: &AuditRecord) -> String {
    let Some(counts) = &record.in_flight else {
        return String::new();
    };
    if counts.connections + counts.guards == 0 {
        return String::new();
    }
    format!(
        "  [in flight: {} connections, {} busy, {} guards]",
        counts.connections, counts.busy, counts.guards
    )
}

/// What stands under a record: who the sender is, what was cut, why something was refused.
fn details(record: &AuditRecord) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(sender) = &record.sender {
        if let Some(exe) = &sender.exe {
            let home = home(sender).map_or_else(String::new, |home| format!(", of {home}"));
            lines.push(format!("sender: {exe}{home}"));
        }
        if let Some(argv) = &sender.argv {
            lines.push(format!("arguments: {}", argv.join(" ")));
        }
        if let Some(unknown) = &sender.unknown {
            lines.push(format!("unknown: {unknown}"));
        }
    }
    let shown = record.named.iter().take(TOLD);
    lines.extend(shown.map(|name| format!("cut: {name}")));
    let more = record
        .count
        .unwrap_or_default()
        .saturating_sub(record.named.len().min(TOLD) as u64);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    if let (Some(why), "participant" | "hook") = (&record.why, record.kind.as_str()) {
        lines.push(format!("why: {why}"));
    }
    if record.dropped > 0 {
        let lost = counted_as(record.dropped, "record");
        lines.push(format!("{lost} lost before this one"));
    }
    lines
}

fn doubts(out: &mut String, audit: &Audit, lives: &[Life<'_>]) {
    let dropped: u64 = lives.iter().map(Life::dropped).sum();
    if dropped > 0 {
        let lost = counted_as(dropped, "record");
        let _ = writeln!(out, "\n{lost} lost: the disk was full, or too slow");
    }
    if audit.broken > 0 {
        let last = if audit.ends_broken {
            ", the last line among them: the process was killed while it wrote, or is writing"
        } else {
            ""
        };
        let broken = counted_as(audit.broken, "line");
        let _ = writeln!(out, "\n{broken} cannot be read{last}");
    }
}

fn as_json(audit: &Audit) -> Value {
    let lives = lives(&audit.records);
    let told: Vec<Value> = lives
        .iter()
        .map(|life| {
            let (outcome, exit) = match life.end() {
                End::Exit(outcome, record) => (Some(outcome), json!(record.exit)),
                End::Unknown => (None, Value::Null),
            };
            json!({
                "pid": life.first().pid,
                "name": life.name(),
                "started": life.first().started,
                "drain_id": life.first().drain_id,
                "lived_ms": life.last().at_ms,
                "asked_by": life.asker(),
                "took_ms": life.took_ms(),
                "repeats": life.repeats(),
                "cut": life.cut(),
                "outcome": outcome,
                "exit": exit,
                "records_lost": life.dropped(),
                "records": life.records.iter().map(|record| without_nulls(json!(record))).collect::<Vec<_>>(),
            })
        })
        .collect();
    let askers: Vec<Value> = counted(&lives)
        .into_iter()
        .map(|(asker, count)| json!({"asked_by": asker, "count": count}))
        .collect();
    json!({
        "schema": "lameduck.audit-story/1",
        "lives": told,
        "askers": askers,
        "broken_lines": audit.broken,
        "ends_broken": audit.ends_broken,
    })
}

/// Fields that a record of its kind does not have.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        other => other,
    }
}

/// `1 line`, `2 lines`.
fn counted_as(count: u64, word: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {word}{end}")
}

/// `2026-11-30T10:56:10.123456Z` to the minute.
pub(super) fn minute(time: &str) -> String {
    let short: String = time.chars().take(16).collect();
    short.replacen('T', " ", 1) + "Z"
}

/// Milliseconds of a life.
fn long(ms: f64) -> String {
    let seconds = ms / 1e3;
    match seconds {
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7_200.0 => format!("{:.1} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::hostile;

    /// Two lives: one that drained after two requests, and one that was killed in the middle of a line.
    const AUDIT: &str = r#"noise of the service
{"schema":"lameduck.audit/1","kind":"start","time":"2026-11-30T08:00:00.000000Z","pid":7,"started":"2026-11-30T08:00:00.000000Z","at_ms":0.0,"said":"api started","name":"api"}
{"schema":"lameduck.audit/1","kind":"signal","time":"2026-11-30T09:00:00.000000Z","pid":7,"started":"2026-11-30T08:00:00.000000Z","at_ms":3600000.0,"said":"SIGTERM from pid 1 (systemd), uid 0: started","signal":"SIGTERM","verdict":"started","sender":{"pid":1,"uid":0,"comm":"systemd","exe":"/usr/lib/systemd/systemd","unit":"init.scope","argv":["systemd","--token","***"],"said":"pid 1 (systemd), uid 0"},"in_flight":{"connections":3,"busy":2,"idle":1,"guards":0,"requests":90}}
{"schema":"lameduck.audit/1","kind":"phase","time":"2026-11-30T09:00:00.000000Z","pid":7,"started":"2026-11-30T08:00:00.000000Z","at_ms":3600000.0,"said":"Terminating","phase":"Terminating","cause":"SIGTERM"}
{"schema":"lameduck.audit/1","kind":"signal","time":"2026-11-30T09:00:02.000000Z","pid":7,"started":"2026-11-30T08:00:00.000000Z","at_ms":3602000.0,"said":"again","signal":"SIGTERM","verdict":"recorded","sender":{"said":"an unknown sender","unknown":"si_pid is 0"}}
{"schema":"lameduck.audit/1","kind":"stragglers","time":"2026-11-30T09:00:03.000000Z","pid":7,"started":"2026-11-30T08:00:00.000000Z","at_ms":3603000.0,"said":"2 ended","count":2,"named":["GET /slow"],"dropped":4}
{"schema":"lameduck.audit/1","kind":"exit","time":"2026-11-30T09:00:03.500000Z","pid":7,"started":"2026-11-30T08:00:00.000000Z","at_ms":3603500.0,"said":"over: forced","outcome":"forced","exit":{"code":124}}
{"schema":"lameduck.audit/1","kind":"start","time":"2026-11-30T09:01:00.000000Z","pid":8,"started":"2026-11-30T09:01:00.000000Z","at_ms":0.0,"said":"api started","name":"api"}
{"schema":"lameduck.audit/1","kind":"pha"#;

    #[test]
    fn the_story_says_who_how_often_how_long_and_what_was_cut() {
        let text = tell(&Audit::read(AUDIT));
        for part in [
            "api: 2 lives on record, from 2026-11-30 08:00Z to 2026-11-30 09:01Z",
            "asked to stop 1 time, at most 3.50 s from request to exit; 2 in flight were cut",
            "1 × SIGTERM from systemd, uid 0, init.scope",
            "forced, exit 124",
            "no record of the end",
            "4 records lost",
            "1 line cannot be read, the last line among them",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        // Killed while it left: how long that took, nobody wrote down.
        let killed = AUDIT.match_indices('\n').nth(3).expect("ten lines").0;
        let text = tell(&Audit::read(&AUDIT[..killed]));
        assert!(
            text.contains("asked to stop 1 time; 0 in flight were cut"),
            "{text}"
        );
        // Only the first life, told moment by moment.
        let end = AUDIT
            .match_indices('\n')
            .nth(6)
            .expect("it has ten lines")
            .0;
        let text = tell(&Audit::read(&AUDIT[..end]));
        for part in [
            "counted from T (2026-11-30T09:00:00.000000Z)",
            "+0.000 s  SIGTERM from pid 1 (systemd), uid 0: started  [in flight: 3 connections, 2 busy, 0 guards]",
            "sender: /usr/lib/systemd/systemd, of init.scope",
            "arguments: systemd --token ***",
            "+2.000 s  again",
            "unknown: si_pid is 0",
            "cut: GET /slow",
            "and 1 more",
            "+3.500 s  over: forced",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    #[test]
    fn programs_are_told_the_same() {
        let story = as_json(&Audit::read(AUDIT));
        let first = &story["lives"][0];
        assert_eq!(first["asked_by"], "SIGTERM from systemd, uid 0, init.scope");
        assert_eq!(
            (&first["took_ms"], &first["cut"]),
            (&json!(3_500.0), &json!(2))
        );
        assert_eq!(
            (&first["repeats"], &first["records_lost"]),
            (&json!(1), &json!(4))
        );
        assert_eq!(story["lives"][1]["outcome"], Value::Null);
        assert_eq!(
            (&story["broken_lines"], &story["ends_broken"]),
            (&json!(1), &json!(true))
        );
        assert!(first["records"][0].get("verdict").is_none());
    }

    #[test]
    fn it_is_told_in_lines_of_ours_whatever_is_in_the_audit() {
        let story_of = |text: &str| {
            let mut audit = Audit::read(AUDIT);
            for record in &mut audit.records {
                let mut json = json!(record);
                for field in ["said", "name", "outcome"] {
                    if json[field].is_string() {
                        json[field] = json!(text);
                    }
                }
                for field in ["comm", "exe", "unit", "said"] {
                    if json["sender"][field].is_string() {
                        json["sender"][field] = json!(text);
                    }
                }
                let poisoned: AuditRecord = serde_json::from_value(json).expect("it can be read");
                *record = harmless(&poisoned);
            }
            tell(&audit)
        };
        let lines = story_of("a b").lines().count();
        for (name, text) in hostile::HOSTILE {
            let story = story_of(text);
            assert_eq!(
                story.chars().find(|c| hostile::steers(*c)),
                None,
                "{name}: {story}"
            );
            assert_eq!(story.lines().count(), lines, "{name}: {story}");
        }
    }

    #[test]
    fn what_was_set_aside_comes_first() {
        let path = std::env::temp_dir().join(format!("lameduck-explain-{}", std::process::id()));
        let aside = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
        for file in [path.clone(), aside(1), aside(2)] {
            std::fs::write(file, "").expect("written");
        }
        let found = files(&path);
        std::fs::remove_file(&path).expect("removed");
        let without = files(&path);
        for number in [1, 2] {
            std::fs::remove_file(aside(number)).expect("removed");
        }
        assert_eq!(found, [aside(2), aside(1), path.clone()]);
        assert_eq!(without, [aside(2), aside(1)]);
        assert_eq!(
            files(&path),
            [path],
            "it will be said that it cannot be read"
        );
        assert_eq!(files(Path::new("-")), [PathBuf::from("-")]);
    }
}
