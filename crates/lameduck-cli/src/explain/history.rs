//! `explain --history`: reads a history, and tells for each participant what it needed, what its budget was, and what it will be.
//!
//! Owns text and JSON; the drawing stands in `curve`.

use std::{fmt::Write as _, path::Path, process::ExitCode, time::Duration};

use lameduck::{
    Learned, LearnedBy,
    wire::{History, HistoryParticipant, HistoryShutdown},
};
use lameduck_verify::harmless;
use serde_json::{Value, json};

use super::{audit::minute, curve, read, say, story::seconds};
use crate::{args::ExplainFormat, exit::Failure};

/// Columns of the longest bar.
const BAR: f64 = 32.0;
/// Rows of one participant; what is older is counted.
const TOLD: usize = 20;

pub(super) fn run(path: &Path, format: ExplainFormat) -> Result<ExitCode, Failure> {
    let history = History::read(&read(path)?).map_err(|error| {
        Failure::new(format_args!("{}: {error}", path.display()))
            .hint("give the file of `--history FILE`, which is written when a service has left")
    })?;
    // Names are the program's, and the file may come from anywhere.
    let history: History = harmless(&history);
    match format {
        ExplainFormat::Text => say(&tell(&history)),
        ExplainFormat::Json => say(&format!("{:#}\n", as_json(&history))),
        ExplainFormat::Html => say(&curve::draw(&history, &tell(&history))),
        _ => {
            return Err(Failure::new("a history is told as text, json or html")
                .hint("`--format text` is the default"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Those with a budget first, which are the ones that learn.
pub(super) fn in_order(history: &History) -> impl Iterator<Item = &HistoryParticipant> {
    let has_budget = |one: &&HistoryParticipant| next(history, one).is_some();
    let all = &history.participants;
    let first = all.iter().filter(has_budget);
    first.chain(all.iter().filter(move |one| !has_budget(one)))
}

pub(super) fn next(history: &History, participant: &HistoryParticipant) -> Option<Learned> {
    participant.next(history.drain_end_ms)
}

pub(super) fn title(history: &History) -> String {
    let count = history.participants.len();
    let written = minute(&history.written);
    format!("budgets of {count} participant(s), as of {written}")
}

fn tell(history: &History) -> String {
    let mut out = title(history);
    let drain_end = seconds(history.drain_end_ms);
    let _ = writeln!(
        out,
        "\na budget is the program's base, 1.5 times as much for each of the last three shutdowns in which it was too short, or what\n\
         19 of 20 shutdowns needed and a quarter; 30 s and the drain's end ({drain_end}) bound what is learned"
    );
    for participant in in_order(history) {
        tell_one(&mut out, history, participant);
    }
    out
}

fn tell_one(out: &mut String, history: &History, participant: &HistoryParticipant) {
    let _ = writeln!(out, "\n{}", participant.name);
    match next(history, participant) {
        Some(learned) => {
            let _ = writeln!(
                out,
                "  next time {}: {}",
                secs(learned.budget),
                why(&learned)
            );
            if let Some(advice) = advice(participant, &learned) {
                let _ = writeln!(out, "  {advice}");
            }
        }
        None => out.push_str("  it has no budget of its own, but until the drain's end\n"),
    }
    let shutdowns = &participant.shutdowns;
    let skipped = shutdowns.len().saturating_sub(TOLD);
    if skipped > 0 {
        let _ = writeln!(out, "  and {skipped} shutdowns before these");
    }
    let _ = writeln!(
        out,
        "  {:<17} {:>8} {:>8} {:>9}  {:<9}  needed ■, or more ▶; base :, budget |",
        "asked to stop", "base", "budget", "needed", "ended"
    );
    let longest = longest(participant);
    for shutdown in &shutdowns[skipped..] {
        let known = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), seconds);
        let _ = writeln!(
            out,
            "  {:<17} {:>8} {:>8} {:>9}  {:<9}  {}",
            minute(&shutdown.at),
            known(shutdown.base_ms),
            known(shutdown.budget_ms),
            needed(shutdown),
            shutdown.ended,
            bar(shutdown, longest)
        );
    }
}

/// Whether it ended before its need was known.
pub(super) fn is_open(shutdown: &HistoryShutdown) -> bool {
    shutdown.ended != "done"
}

fn needed(shutdown: &HistoryShutdown) -> String {
    let more = if is_open(shutdown) { "> " } else { "" };
    format!("{more}{}", seconds(shutdown.took_ms))
}

/// The longest time that has to be drawn, in milliseconds.
pub(super) fn longest(participant: &HistoryParticipant) -> f64 {
    let of = |shutdown: &HistoryShutdown| {
        let budget = shutdown.budget_ms.unwrap_or_default();
        let base = shutdown.base_ms.unwrap_or_default();
        budget.max(base).max(shutdown.took_ms)
    };
    let longest = participant.shutdowns.iter().map(of).fold(1.0, f64::max);
    if longest.is_finite() { longest } else { 1.0 }
}

/// One shutdown as a line: what it needed, up to which budget.
fn bar(shutdown: &HistoryShutdown, longest: f64) -> String {
    let column = |ms: f64| (ms / longest * BAR).round().clamp(0.0, BAR) as usize;
    let mut cells = vec![' '; BAR as usize + 2];
    cells[..column(shutdown.took_ms)].fill('■');
    let mark = |cells: &mut Vec<char>, ms: Option<f64>, mark| {
        if let Some(ms) = ms {
            cells[column(ms)] = mark;
        }
    };
    mark(&mut cells, shutdown.base_ms, ':');
    mark(&mut cells, shutdown.budget_ms, '|');
    if is_open(shutdown) {
        // Behind the mark of the budget, where that is what ended it.
        let at = column(shutdown.took_ms);
        let at = at + usize::from(cells[at] != ' ');
        cells[at] = '▶';
    }
    let line: String = cells.into_iter().collect();
    line.trim_end().to_owned()
}

fn why(learned: &Learned) -> String {
    let base = secs(learned.base);
    match learned.by {
        LearnedBy::Base => "its base".to_owned(),
        LearnedBy::Overdue => format!(
            "its base {base} × 1.5 for each of {} of the last three shutdowns in which its budget was too short",
            learned.overdue
        ),
        LearnedBy::Needs => format!("more than its base {base}, because that is what it needed"),
        _ => format!("more than its base {base}"),
    }
}

/// What a person should do about it, if anything.
fn advice(participant: &HistoryParticipant, learned: &Learned) -> Option<String> {
    if learned.overdue == 3 {
        return Some(format!(
            "it was too short three times in a row: if it hangs, mend it; if it needs longer, raise its base above {}",
            secs(learned.budget)
        ));
    }
    let last = participant.shutdowns.last()?;
    (last.ended == "cut-short").then(|| {
        "the drain ended before its budget did: a longer budget does not help, a longer grace period, or a shorter budget of what ends before it, does".to_owned()
    })
}

fn secs(duration: Duration) -> String {
    seconds(duration.as_secs_f64() * 1e3)
}

/// The history, and what follows from it.
fn as_json(history: &History) -> Value {
    let mut json = json!(history);
    let participants = json["participants"].as_array_mut().into_iter().flatten();
    for (json, participant) in participants.zip(&history.participants) {
        json["next"] = next(history, participant).map_or(Value::Null, |learned| {
            json!({
                "base_ms": learned.base.as_secs_f64() * 1e3,
                "budget_ms": learned.budget.as_secs_f64() * 1e3,
                "by": learned.by.as_str(),
                "overdue": learned.overdue,
            })
        });
    }
    json
}

/// What a service with one slow participant and one without a budget leaves behind.
#[cfg(test)]
pub(super) const HISTORY: &str = r#"{"schema":"lameduck.history/1","written":"2026-11-30T10:05:00.000000Z","drain_end_ms":21250.000,"participants":[
{"name":"server","shutdowns":[{"at":"2026-11-30T10:05:00.000000Z","took_ms":12.500,"ended":"done"}]},
{"name":"db","shutdowns":[
{"at":"2026-11-30T10:00:00.000000Z","base_ms":5000.000,"budget_ms":5000.000,"by":"base","took_ms":5000.100,"ended":"overdue"},
{"at":"2026-11-30T10:05:00.000000Z","base_ms":5000.000,"budget_ms":7500.000,"by":"overdue","took_ms":7000.000,"ended":"done"}]}]}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::hostile;

    fn history() -> History {
        History::read(HISTORY).expect("a history")
    }

    #[test]
    fn a_curve_is_told_with_what_follows_from_it() {
        let story = tell(&history());
        let lines: Vec<&str> = story.lines().map(str::trim_end).collect();
        let expected = [
            "db",
            "  next time 8.75 s: more than its base 5.00 s, because that is what it needed",
            "  asked to stop         base   budget    needed  ended      needed ■, or more ▶; base :, budget |",
            "  2026-11-30 10:00Z   5.00 s   5.00 s  > 5.00 s  overdue    ■■■■■■■■■■■■■■■■■■■■■|▶",
            "  2026-11-30 10:05Z   5.00 s   7.50 s    7.00 s  done       ■■■■■■■■■■■■■■■■■■■■■:■■■■■■■■  |",
            "",
            "server",
            "  it has no budget of its own, but until the drain's end",
        ];
        let at = lines.iter().position(|line| *line == "db").expect(&story);
        assert_eq!(&lines[at..at + expected.len()], expected, "{story}");
    }

    #[test]
    fn programs_get_the_next_budget_with_the_rest() {
        let json = as_json(&history());
        assert_eq!(json["participants"][0]["next"], Value::Null);
        assert_eq!(json["participants"][1]["next"]["budget_ms"], 8750.0);
        assert_eq!(json["participants"][1]["next"]["by"], "needs");
        assert_eq!(json["participants"][1]["shutdowns"][0]["ended"], "overdue");
    }

    #[test]
    fn who_hangs_is_named_and_who_was_cut_short_is_told_apart() {
        let mut history = history();
        let db = &mut history.participants[1];
        let first = db.shutdowns[0].clone();
        db.shutdowns = vec![first; 3];
        let story = tell(&history);
        assert!(story.contains("next time 16.88 s"), "{story}");
        assert!(story.contains("raise its base above 16.88 s"), "{story}");
        history.participants[1].shutdowns[2].ended = "cut-short".to_owned();
        let story = tell(&history);
        assert!(story.contains("a longer grace period"), "{story}");
    }

    #[test]
    fn numbers_that_no_service_writes_draw_something_too() {
        for ms in [0.0, -1.0, f64::MAX] {
            let mut history = history();
            for shutdown in &mut history.participants[1].shutdowns {
                shutdown.took_ms = ms;
                shutdown.budget_ms = Some(ms);
            }
            let story = tell(&history);
            assert!(story.contains("next time"), "{ms}: {story}");
            assert!(!curve::draw(&history, &story).contains("NaN"), "{ms}");
        }
    }

    #[test]
    fn a_story_is_told_in_lines_of_ours_whatever_names_hold() {
        let lines = tell(&history()).lines().count();
        for (name, text) in hostile::HOSTILE {
            let mut history = history();
            history.participants[1].name = (*text).to_owned();
            let history: History = harmless(&history);
            let story = tell(&history);
            assert_eq!(story.lines().count(), lines, "{name}: {story}");
            let steering = story.chars().find(|c| *c != '\n' && hostile::steers(*c));
            assert_eq!(steering, None, "{name}");
        }
    }
}
