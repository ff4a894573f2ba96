//! The story: headline, timeline, phases to scale, who took part, what was cut.

use std::fmt::Write as _;

use lameduck::wire::{Grant, Listener, Participant, Shutdown};

use super::advice;

/// How many stragglers, events and repeats are told one by one.
const TOLD: usize = 12;
/// The width of the longest bar.
const BAR: f64 = 40.0;

pub(super) fn tell(report: &Shutdown) -> String {
    let mut out = String::new();
    headline(&mut out, report);
    timeline(&mut out, report);
    bars(&mut out, report);
    participants(&mut out, report);
    cut(&mut out, report);
    counts(&mut out, report);
    let advice = advice::give(report);
    if !advice.is_empty() {
        out.push_str("\nwhat to change\n");
        for line in advice {
            let _ = writeln!(out, "  - {line}");
        }
    }
    out
}

fn headline(out: &mut String, report: &Shutdown) {
    let how = match &report.exit.signal {
        Some(signal) => format!("died by {signal}"),
        None => format!("exit {}", report.exit.code),
    };
    let _ = writeln!(out, "{}, {how}", report.said);
    let cause = report
        .cause
        .as_ref()
        .map_or("nothing asked it to stop", |cause| &cause.said);
    let _ = writeln!(out, "asked by   {cause}");
    let plan = &report.plan;
    let _ = writeln!(
        out,
        "plan       {}: grace {}, window {}/{}/{}, drain ends at {}, deadline {}",
        plan.preset,
        seconds(plan.grace_ms),
        seconds(plan.window.floor_ms),
        seconds(plan.window.quiet_ms),
        seconds(plan.window.ceiling_ms),
        seconds(plan.drain_end_ms),
        seconds(plan.deadline_ms)
    );
}

/// One moment of the story.
struct Moment {
    at_ms: f64,
    what: String,
}

fn timeline(out: &mut String, report: &Shutdown) {
    let mut moments = Vec::new();
    let mut tell = |at_ms: f64, what: String| moments.push(Moment { at_ms, what });
    for phase in &report.phases {
        let at = phase.at_ms;
        match phase.phase.as_str() {
            "Initializing" => tell(at, "the process starts".to_owned()),
            "Running" => tell(at, "ready: Running".to_owned()),
            "Terminating" => tell(
                at,
                "T: Terminating, still accepting; clients are sent elsewhere".to_owned(),
            ),
            "Draining" => tell(at, "admission is closed: Draining".to_owned()),
            "Stopped" => tell(at, "Stopped: stop hooks run".to_owned()),
            other => tell(at, other.to_owned()),
        }
    }
    for signal in report.signals.iter().take(TOLD) {
        tell(
            signal.at_ms,
            format!(
                "{} from {}: {}",
                signal.signal,
                signal.sender.said,
                verdict(&signal.verdict)
            ),
        );
    }
    for participant in &report.participants {
        for grant in &participant.grants {
            tell(grant.at_ms, granted(participant, grant));
        }
        if let Some(at) = participant.ended_ms {
            tell(at, format!("{} {}", participant.name, ended(participant)));
        }
    }
    for event in report.events.iter().take(TOLD) {
        tell(event.at_ms, event.what.clone());
    }
    tell(report.ended_ms, format!("the end: {}", report.said));
    moments.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
    out.push('\n');
    for moment in moments {
        let _ = writeln!(out, "{:>+11.3} s  {}", moment.at_ms / 1e3, moment.what);
    }
    let more = report.signals.len().saturating_sub(TOLD) + report.events.len().saturating_sub(TOLD);
    if more > 0 {
        let _ = writeln!(out, "               and {more} more signals and events");
    }
}

pub(super) fn verdict(word: &str) -> &str {
    match word {
        "started" => "started the shutdown",
        "merged" => "the same request, merged",
        "recorded" => "a repeat, recorded",
        "ended-window" => "a repeat, ended the window",
        "cut" => "a repeat, cut the shutdown",
        "reload" => "reload",
        "refused" => "refused in this phase",
        other => other,
    }
}

pub(super) fn granted(participant: &Participant, grant: &Grant) -> String {
    let name = &participant.name;
    let (asked, by) = (seconds(grant.asked_ms), seconds(grant.by_ms));
    let why = match grant.why.as_str() {
        "" => String::new(),
        why => format!(" ({why})"),
    };
    match grant.wish {
        Some(_) => format!("{name} asked for {asked} more{why} and got {by}"),
        None => format!("an operator gave {name} {by} of {asked} more"),
    }
}

fn ended(participant: &Participant) -> String {
    match (participant.state.as_str(), participant.answered) {
        ("done", _) => "is done".to_owned(),
        ("failed", _) => format!(
            "failed: {}",
            participant.why.as_deref().unwrap_or("no reason given")
        ),
        ("refused", _) => format!(
            "refused to finish: {}",
            participant.why.as_deref().unwrap_or("no reason given")
        ),
        ("away", _) => "had gone away before and was not waited for".to_owned(),
        ("overdue", Some(true)) => match &participant.progress {
            Some(at) => format!(
                "was given up: it was at {} of {}{}",
                at.done,
                at.total,
                if at.note.is_empty() {
                    String::new()
                } else {
                    format!(", {}", at.note)
                }
            ),
            None => "was given up: it had answered, but was not done in time".to_owned(),
        },
        ("overdue", _) => "was given up: it never answered".to_owned(),
        ("not-started", _) => "had not started and was not waited for".to_owned(),
        (other, _) => format!("was {other}"),
    }
}

fn bars(out: &mut String, report: &Shutdown) {
    let leaving: Vec<_> = report
        .phases
        .iter()
        .filter(|phase| phase.at_ms >= 0.0)
        .collect();
    let longest = leaving
        .iter()
        .map(|phase| phase.took_ms)
        .fold(0.0, f64::max);
    if longest <= 0.0 {
        return;
    }
    out.push('\n');
    for phase in leaving {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and the width of a bar"
        )]
        let width = (phase.took_ms / longest * BAR).ceil().clamp(1.0, BAR) as usize;
        let _ = writeln!(
            out,
            "  {:<12} {:<40} {}",
            phase.phase,
            "█".repeat(width),
            seconds(phase.took_ms)
        );
    }
}

fn participants(out: &mut String, report: &Shutdown) {
    if !report.participants.is_empty() {
        let _ = writeln!(
            out,
            "\n  {:<32} {:<12} {:>10}  stop hook",
            "participant", "state", "ended"
        );
    }
    for participant in &report.participants {
        let hook = participant.hook.as_ref().map_or_else(String::new, |hook| {
            let why = hook
                .why
                .as_deref()
                .map(|why| format!(": {why}"))
                .unwrap_or_default();
            format!("{} after {}{why}", hook.state, seconds(hook.took_ms))
        });
        let ended = participant
            .ended_ms
            .map_or_else(String::new, |at| format!("{:+.3} s", at / 1e3));
        let after = if participant.after.is_empty() {
            String::new()
        } else {
            format!("  (before {})", participant.after.join(", "))
        };
        let line = format!(
            "  {:<32} {:<12} {ended:>10}  {hook}{after}",
            participant.name, participant.state
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    for listener in &report.listeners {
        let _ = writeln!(out, "  listener {}: {}", listener.address, closed(listener));
    }
}

fn closed(listener: &Listener) -> String {
    let gate = match (listener.gate.as_str(), listener.errno) {
        ("attached", _) => "behind a SYN gate".to_owned(),
        ("refused", Some(errno)) => format!("without a SYN gate (refused, error {errno})"),
        _ => "without a SYN gate".to_owned(),
    };
    match listener.kind.as_str() {
        "foreign" => {
            "closed by the program's own server, its accept queue was not swept".to_owned()
        }
        "shared" => "shared with other processes: let go, not swept".to_owned(),
        _ => format!(
            "closed {} after the window {gate}, {} swept",
            seconds(listener.took_ms),
            listener.swept
        ),
    }
}

fn cut(out: &mut String, report: &Shutdown) {
    if report.stragglers.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\nstill in flight when the drain ended, and ended with it:"
    );
    for straggler in report.stragglers.iter().take(TOLD) {
        let _ = writeln!(out, "  {}", straggler.said);
    }
    let named = report.stragglers.len().saturating_sub(TOLD);
    let more = named as u64 + report.dropped.get("stragglers").copied().unwrap_or(0);
    if more > 0 {
        let _ = writeln!(out, "  and {more} more");
    }
}

fn counts(out: &mut String, report: &Shutdown) {
    let told: Vec<String> = report
        .counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{} {count}", name.replace('_', " ")))
        .collect();
    if !told.is_empty() {
        let _ = writeln!(out, "\ncounts     {}", told.join(", "));
    }
    for (list, count) in &report.dropped {
        let _ = writeln!(out, "dropped    {count} {list}: the list was full");
    }
}

/// Milliseconds as people read them.
pub(super) fn seconds(ms: f64) -> String {
    if ms < 1_000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.2} s", ms / 1e3)
    }
}

/// A line of another, and a report.
#[cfg(test)]
pub(super) const REPORT: &str = r#"noise before
{"schema":"lameduck.shutdown/1","outcome":"forced","said":"forced","exit":{"code":124},"cause":{"kind":"signal","said":"SIGTERM from pid 7 (bash), uid 0"},"started_ms":-2000.0,"ended_ms":2300.0,"plan":{"preset":"local","grace_ms":4000,"drain_end_ms":2500,"deadline_ms":3500,"window":{"floor_ms":0,"quiet_ms":100,"ceiling_ms":1000}},"phases":[{"phase":"Terminating","at_ms":0,"took_ms":100.0},{"phase":"Draining","at_ms":100.0,"took_ms":2200.0}],"participants":[{"name":"outbox","after":[],"state":"overdue","answered":false,"ended_ms":2300.0}],"stragglers":[{"kind":"request","said":"GET /slow from 127.0.0.1:9, 4000 ms old","age_ms":4000.0}],"a_field_of_the_future":1}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_says_who_asked_what_was_cut_and_what_to_change() {
        let report = Shutdown::find(REPORT).expect("a report");
        let story = tell(&report);
        for part in [
            "forced, exit 124",
            "asked by   SIGTERM from pid 7 (bash), uid 0",
            "+0.100 s  admission is closed",
            "outbox was given up: it never answered",
            "GET /slow from 127.0.0.1:9, 4000 ms old",
            "what to change",
        ] {
            assert!(story.contains(part), "{part:?} is missing in\n{story}");
        }
    }

    #[test]
    fn a_text_without_a_report_is_an_error() {
        assert!(Shutdown::find("nothing here").is_err());
        assert!(Shutdown::find(r#"{"schema":"lameduck.shutdown/1","phases":7}"#).is_err());
    }
}
