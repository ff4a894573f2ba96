//! Owns drawing the timeline: one lane for each kind of connection, a column for T.
//! Not: which clients are shown (see `scenario::lanes`).

use crate::verdict::{LaneEvent, Report};

/// Columns of a lane's name.
const NAME: usize = 21;
/// The drawing begins so many milliseconds before T.
const BEFORE: f64 = 300.0;

struct Scale {
    columns: usize,
    end_ms: f64,
}

impl Scale {
    fn column(&self, ms: f64) -> usize {
        let share = ((ms + BEFORE) / (self.end_ms + BEFORE)).clamp(0.0, 1.0);
        #[expect(clippy::cast_precision_loss, reason = "at most 160 columns")]
        let at = share * (self.columns - 1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the columns"
        )]
        let column = at.round() as usize;
        column
    }
}

/// The lines of the drawing, without newlines; empty without a timeline.
pub(super) fn draw(report: &Report, width: usize) -> Vec<String> {
    if report.timeline.is_empty() {
        return Vec::new();
    }
    let latest = report
        .timeline
        .iter()
        .map(|event| event.at_ms)
        .fold(0.0_f64, f64::max);
    let exit = report.exit.after_ms;
    let end_ms = latest
        .min(exit.unwrap_or(latest) + 100.0)
        .max(exit.unwrap_or(0.0))
        .max(50.0);
    let scale = Scale {
        columns: width - NAME - 14,
        end_ms,
    };
    let mut lines = vec![axis(&scale, exit)];
    let mut names: Vec<&str> = Vec::new();
    for event in &report.timeline {
        if !names.contains(&event.lane.as_ref()) {
            names.push(&event.lane);
        }
    }
    for name in names {
        let events: Vec<&LaneEvent> = report
            .timeline
            .iter()
            .filter(|event| event.lane == name)
            .collect();
        let drawn = if name == "new connections" {
            dots(&scale, &events)
        } else {
            bar(&scale, &events)
        };
        lines.push(format!(" {name:<NAME$}{}", drawn.trim_end()));
    }
    lines
}

fn axis(scale: &Scale, exit: Option<f64>) -> String {
    let mut line = Canvas::new(scale.columns + 14);
    line.put(0, "-0.3 s");
    line.put(scale.column(0.0), "T");
    let step = [
        20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 60_000.0,
    ]
    .into_iter()
    .find(|step| scale.end_ms / step <= 4.0)
    .unwrap_or(600_000.0);
    let exit_at = exit.map(|ms| scale.column(ms));
    let mut ms = step;
    while ms < scale.end_ms {
        let at = scale.column(ms);
        if exit_at.is_none_or(|exit| at + 9 < exit) && at > scale.column(0.0) + 2 {
            line.put(at, &seconds(ms));
        }
        ms += step;
    }
    if let (Some(at), Some(ms)) = (exit_at, exit) {
        line.put(
            at.max(scale.column(0.0) + 2),
            &format!("exit {}", seconds(ms)),
        );
    }
    format!(" {:<NAME$}{}", "", line.text().trim_end())
}

fn seconds(ms: f64) -> String {
    if ms < 1_000.0 && ms % 100.0 != 0.0 {
        format!("+{ms:.0} ms")
    } else {
        format!("+{:.2} s", ms / 1e3)
    }
}

/// A client with one connection: what it did as a bar, what it got as words.
fn bar(scale: &Scale, events: &[&LaneEvent]) -> String {
    let mut line = Canvas::new(scale.columns + 14);
    let t = scale.column(0.0);
    let mut state = ' ';
    let mut cursor = 0;
    for event in events {
        let at = scale.column(event.at_ms);
        for column in cursor..at {
            line.set_if_blank(column, state);
        }
        cursor = cursor.max(at);
        let word = match event.event.as_ref() {
            "connected" => {
                state = '.';
                continue;
            }
            "sent" => {
                state = '=';
                continue;
            }
            "sent-half" => {
                state = ':';
                continue;
            }
            "answered" => {
                state = '-';
                event.note.as_str()
            }
            "closed" => "FIN",
            "reset" => "RESET",
            "refused" => "refused",
            "unanswered" => "no answer",
            _ => "",
        };
        if matches!(
            event.event.as_ref(),
            "closed" | "reset" | "unanswered" | "hung-up"
        ) {
            state = ' ';
        }
        if event.at_ms >= 0.0 && !word.is_empty() {
            let from = line.first_free(at.max(t + 1));
            line.put(from, word);
            cursor = cursor.max(from + word.len() + 1);
        }
    }
    line.put(t, "|");
    line.text()
}

/// Clients that connect anew: `o` served, `x` refused, `!` anything else.
fn dots(scale: &Scale, events: &[&LaneEvent]) -> String {
    let mut line = Canvas::new(scale.columns + 14);
    let mut last_refused = None;
    for event in events {
        let at = scale.column(event.at_ms);
        let dot = match event.event.as_ref() {
            "answered" => 'o',
            "refused" => 'x',
            _ => '!',
        };
        if line.at(at) != '!' {
            line.set(at, dot);
        }
        if dot == 'x' && event.at_ms >= 0.0 {
            last_refused = Some(at);
        }
    }
    line.put(scale.column(0.0), "|");
    if let Some(at) = last_refused {
        line.put((at + 2).max(scale.column(0.0) + 2), "refused");
    }
    line.text()
}

/// A line of cells.
struct Canvas(Vec<char>);

impl Canvas {
    fn new(columns: usize) -> Self {
        Self(vec![' '; columns])
    }

    fn at(&self, column: usize) -> char {
        self.0.get(column).copied().unwrap_or(' ')
    }

    fn set(&mut self, column: usize, cell: char) {
        if let Some(place) = self.0.get_mut(column) {
            *place = cell;
        }
    }

    fn set_if_blank(&mut self, column: usize, cell: char) {
        if self.at(column) == ' ' {
            self.set(column, cell);
        }
    }

    fn put(&mut self, column: usize, text: &str) {
        for (index, cell) in text.chars().enumerate() {
            self.set(column + index, cell);
        }
    }

    /// The first column from `column` that follows all words put there.
    fn first_free(&self, column: usize) -> usize {
        let used = self.0.iter().rposition(|cell| cell.is_alphanumeric());
        used.map_or(column, |used| column.max(used + 2))
    }

    fn text(&self) -> String {
        self.0.iter().collect()
    }
}
