//! A status as lines for people, as wide as their terminal.
//!
//! What came from the service may hold what its own clients wrote: it is made harmless before it is shown.

use std::fmt::Write as _;

use lameduck_verify::printable;
use serde_json::Value;

/// How many requests in flight are shown, and how many of the last notes.
const REQUESTS: usize = 5;
const NOTES: usize = 5;
/// Columns of the bar that shows how much of a drain's time is used.
const BAR: usize = 30;
const INDENT: usize = 14;

/// A status that is so many milliseconds old.
pub(super) struct Seen<'a> {
    pub(super) status: &'a Value,
    pub(super) age: f64,
}

/// How it stands, for `ctl status`.
pub(super) fn status(status: &Value, width: usize) -> String {
    Seen { status, age: 0.0 }.lines(width).join("\n") + "\n"
}

impl Seen<'_> {
    /// All that there is to see, most important first.
    pub(super) fn lines(&self, width: usize) -> Vec<String> {
        let mut lines = vec![self.headline()];
        self.leaving(&mut lines, width);
        lines.push(String::new());
        lines.push(labelled("phases", &self.phases()));
        lines.push(labelled("in flight", &self.in_flight()));
        self.requests(&mut lines);
        let participants = list(self.status, "participants");
        if !participants.is_empty() {
            lines.push(String::new());
            let rows = table(participants.iter().map(|one| self.participant(one)));
            stack(&mut lines, "participants", rows);
        }
        let notes = self.notes();
        if !notes.is_empty() {
            lines.push(String::new());
            stack(&mut lines, "lately", notes);
        }
        lines.iter().map(|line| cut(line, width)).collect()
    }

    /// The phase in a line.
    pub(super) fn headline(&self) -> String {
        let phase = text(self.status, "phase");
        let pid = self.number("pid").unwrap_or_default();
        if let Some(outcome) = self.status.get("outcome_said").and_then(Value::as_str) {
            return format!("{}: it has left (pid {pid})", printable(outcome));
        }
        let since = self.grown("since_ms");
        let up = self.grown("uptime_ms");
        format!("{phase} for {since}   pid {pid}, up {up}")
    }

    fn leaving(&self, lines: &mut Vec<String>, width: usize) {
        let room = width.saturating_sub(INDENT).max(20);
        if let Some(cause) = self.status.get("cause").and_then(Value::as_str) {
            let cause = crate::lines::folded(&printable(cause), room);
            stack(lines, "because", cause);
        }
        if self.status.get("outcome").is_some() {
            return;
        }
        if let Some(holds) = self.status.get("holds").and_then(Value::as_str) {
            stack(
                lines,
                "held by",
                crate::lines::folded(&printable(holds), room),
            );
        }
        if let (Some(drain), Some(gone)) =
            (self.left("drain_ends_in_ms"), self.left("deadline_in_ms"))
        {
            let window = self.left("window_ends_in_ms");
            let window = window.map_or_else(String::new, |left| {
                format!("the window ends in {} at the latest, ", short(left))
            });
            let line = format!(
                "{window}the drain in {}, it is gone in {}",
                short(drain),
                short(gone)
            );
            stack(lines, "time left", crate::lines::folded(&line, room));
            if let Some(bar) = self.bar(gone) {
                lines.push(labelled("", &bar));
            }
        }
    }

    /// How much of the time up to the deadline is used.
    fn bar(&self, left: f64) -> Option<String> {
        let from = self.number("requested_at_ms")?;
        let used = self.number("uptime_ms")? + self.age - from;
        let share = (used / (used + left)).clamp(0.0, 1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and BAR"
        )]
        let full = (share * BAR as f64).round() as usize;
        Some(format!(
            "[{}{}] {} of {}",
            "#".repeat(full),
            ".".repeat(BAR - full),
            short(used),
            short(used + left)
        ))
    }

    fn phases(&self) -> String {
        let phases = list(self.status, "phases");
        let last = phases.len().saturating_sub(1);
        let said = phases.iter().enumerate().map(|(index, one)| {
            let took = number(one, "took_ms").unwrap_or_default();
            let is_growing = index == last && self.status.get("outcome").is_none();
            let took = if is_growing { took + self.age } else { took };
            format!("{} {}", text(one, "phase"), short(took))
        });
        said.collect::<Vec<_>>().join(" > ")
    }

    fn in_flight(&self) -> String {
        let Some(inflight) = self.status.get("in_flight") else {
            return "unknown".to_owned();
        };
        let count = |key| number(inflight, key).unwrap_or_default();
        let many = |key, one| {
            let count = count(key);
            let s = if count == 1.0 { "" } else { "s" };
            format!("{count} {one}{s}")
        };
        format!(
            "{} ({} busy, {} idle), {}, {} so far",
            many("connections", "connection"),
            count("busy"),
            count("idle"),
            many("guards", "guard"),
            many("requests_total", "request")
        )
    }

    fn requests(&self, lines: &mut Vec<String>) {
        let Some(inflight) = self.status.get("in_flight") else {
            return;
        };
        let requests = list(inflight, "requests");
        for one in requests.iter().take(REQUESTS) {
            let age = number(one, "age_ms").unwrap_or_default() + self.age;
            let peer = one.get("peer").and_then(Value::as_str);
            let peer = peer.map_or_else(String::new, |peer| format!(" from {}", printable(peer)));
            let line = format!(
                "{} {} for {}{peer}",
                text(one, "method"),
                text(one, "path"),
                short(age)
            );
            lines.push(labelled("", &line));
        }
        let unnamed = number(inflight, "unnamed").unwrap_or_default();
        let more = requests.len().saturating_sub(REQUESTS) as f64 + unnamed;
        if more > 0.0 {
            lines.push(labelled("", &format!("and {more} more")));
        }
    }

    /// Name, state, and what else there is to say of it.
    fn participant(&self, one: &Value) -> [String; 3] {
        let mut more = Vec::new();
        if let Some(why) = one.get("why").and_then(Value::as_str) {
            more.push(printable(why));
        }
        let is_ended = one.get("ended_at_ms").is_some();
        if let Some(progress) = one.get("progress") {
            let count = |key| number(progress, key).unwrap_or_default();
            let note = progress.get("note").and_then(Value::as_str);
            let note = note.map_or_else(String::new, |note| format!(" ({})", printable(note)));
            more.push(format!("{} of {}{note}", count("done"), count("total")));
        }
        if let Some(budget) = number(one, "budget_ms") {
            let grants = list(one, "grants").iter();
            let granted: f64 = grants.filter_map(|grant| number(grant, "by_ms")).sum();
            let granted = match granted {
                none if none <= 0.0 => String::new(),
                more => format!(" + {}", short(more)),
            };
            more.push(format!("budget {}{granted}", short(budget)));
        }
        if let Some(used) = number(one, "used_ms") {
            let used = if is_ended { used } else { used + self.age };
            let word = if is_ended { "took" } else { "used" };
            more.push(format!("{word} {}", short(used)));
        }
        if let Some(due) = number(one, "due_in_ms") {
            more.push(format!("due in {}", short(due - self.age)));
        }
        if let Some(hook) = one.get("hook").and_then(Value::as_str) {
            more.push(format!("stop hook {}", printable(hook)));
        }
        if let Some(session) = one.get("session") {
            more.push(of_session(session));
        }
        if let Some(after) = one.get("after").and_then(Value::as_array)
            && !after.is_empty()
        {
            let names = after.iter().filter_map(Value::as_str).map(printable);
            let names = names.collect::<Vec<_>>().join(", ");
            more.push(format!("stops before {names}"));
        }
        [text(one, "name"), text(one, "state"), more.join(", ")]
    }

    fn notes(&self) -> Vec<String> {
        let notes = list(self.status, "notes");
        let from = notes.len().saturating_sub(NOTES);
        let now = self.number("uptime_ms").unwrap_or_default() + self.age;
        let said = notes[from..].iter().map(|one| {
            let ago = now - number(one, "at_ms").unwrap_or(now);
            format!("{} ago  {}", short(ago), text(one, "what"))
        });
        said.collect()
    }

    fn number(&self, key: &str) -> Option<f64> {
        number(self.status, key)
    }

    /// A time that goes on.
    fn grown(&self, key: &str) -> String {
        short(self.number(key).unwrap_or_default() + self.age)
    }

    /// A time that runs out.
    fn left(&self, key: &str) -> Option<f64> {
        Some(self.number(key)? - self.age)
    }
}

/// Who takes part, for `ctl participants`.
pub(super) fn participants(all: &Value, width: usize) -> String {
    let seen = Seen {
        status: all,
        age: 0.0,
    };
    let rows = list(all, "participants");
    if rows.is_empty() {
        return "nobody takes part\n".to_owned();
    }
    let mut said = String::new();
    for row in table(rows.iter().map(|one| seen.participant(one))) {
        let _ = writeln!(said, "{}", cut(&row, width));
    }
    said
}

fn of_session(session: &Value) -> String {
    let uid = number(session, "uid").unwrap_or_default();
    let program = session.get("program").and_then(Value::as_str);
    let program = program.map_or_else(String::new, |program| format!(", {}", printable(program)));
    match number(session, "pid") {
        Some(pid) => format!("pid {pid} (uid {uid}{program})"),
        None => format!("another process (uid {uid})"),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    printable(value.get(key).and_then(Value::as_str).unwrap_or("?"))
}

pub(super) fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64)
}

/// A time in milliseconds, as people say it.
pub(super) fn short(millis: f64) -> String {
    let seconds = millis / 1_000.0;
    if seconds < 0.0 {
        "0 s".to_owned()
    } else if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else if seconds < 6_000.0 {
        format!("{:.0} min", seconds / 60.0)
    } else if seconds < 360_000.0 {
        format!("{:.0} h", seconds / 3_600.0)
    } else {
        format!("{:.0} days", seconds / 86_400.0)
    }
}

fn labelled(label: &str, text: &str) -> String {
    format!("{label:INDENT$}{text}")
}

/// Lines below each other, the first beside their label.
fn stack(lines: &mut Vec<String>, label: &str, texts: Vec<String>) {
    for (index, text) in texts.into_iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        lines.push(labelled(label, &text));
    }
}

/// Rows whose columns begin below each other.
fn table(rows: impl Iterator<Item = [String; 3]>) -> Vec<String> {
    let rows: Vec<_> = rows.collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let (first, second) = (width(0), width(1));
    let lines = rows.iter().map(|[name, state, more]| {
        let line = format!("{name:first$}  {state:second$}  {more}");
        line.trim_end().to_owned()
    });
    lines.collect()
}

/// What of a line fits.
pub(super) fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draining() -> Value {
        json!({
            "phase": "Draining", "since_ms": 2_000.0, "uptime_ms": 12_000.0, "pid": 7,
            "requested_at_ms": 9_000.0, "cause": "SIGTERM from pid 1\u{1b}[2J", "holds": "The exit waits for outbox.",
            "drain_ends_in_ms": 5_500.0, "deadline_in_ms": 6_000.0,
            "phases": [{"phase": "Running", "took_ms": 9_000.0}, {"phase": "Draining", "took_ms": 2_000.0}],
            "in_flight": {"connections": 2, "busy": 1, "idle": 1, "guards": 0, "requests_total": 40,
                "requests": [{"method": "GET", "path": "/slow", "age_ms": 100.0}], "unnamed": 3},
            "participants": [
                {"name": "outbox", "state": "working", "budget_ms": 5_000.0, "progress": {"done": 3, "total": 9, "note": "mail"}, "grants": [{"by_ms": 500.0}], "used_ms": 1_000.0, "due_in_ms": 4_000.0, "after": ["http"]},
                {"name": "a", "state": "failed", "why": "its connection ended", "ended_at_ms": 1.0}
            ],
            "notes": [{"at_ms": 11_000.0, "what": "a thing"}]
        })
    }

    #[test]
    fn a_drain_is_told_with_what_holds_it_and_its_clocks() {
        let said = status(&draining(), usize::MAX);
        let expected = "\
Draining for 2.0 s   pid 7, up 12.0 s
because       SIGTERM from pid 1[2J
held by       The exit waits for outbox.
time left     the drain in 5.5 s, it is gone in 6.0 s
              [##########....................] 3.0 s of 9.0 s

phases        Running 9.0 s > Draining 2.0 s
in flight     2 connections (1 busy, 1 idle), 0 guards, 40 requests so far
              GET /slow for 0.1 s
              and 3 more

participants  outbox  working  3 of 9 (mail), budget 5.0 s + 0.5 s, used 1.0 s, due in 4.0 s, stops before http
              a       failed   its connection ended

lately        1.0 s ago  a thing
";
        assert_eq!(said, expected);
    }

    #[test]
    fn clocks_go_on_between_two_statuses_and_no_line_is_too_long() {
        let status = draining();
        let seen = Seen {
            status: &status,
            age: 500.0,
        };
        let lines = seen.lines(40);
        assert!(lines[0].starts_with("Draining for 2.5 s"), "{lines:?}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= 40),
            "{lines:?}"
        );
        let all = lines.join("\n");
        assert!(all.contains("5.0 s") && all.contains('…'), "{all}");
    }

    #[test]
    fn an_object_without_anything_in_it_is_no_trouble() {
        assert!(status(&json!({}), 80).starts_with("? for 0.0 s"));
        assert_eq!(participants(&json!({}), 80), "nobody takes part\n");
    }
}
