//! Owns drawing connections as lanes: what each client did and got, on an axis that is fine around T.
//! Not: which connections are kept (see `scenario::album`).

use super::page::{Page, at};
use crate::observe::outcome::Outcome;
use crate::render::words;
use crate::verdict::{Connection, Report};

/// Where the axis begins, before T.
const FROM_MS: f64 = -400.0;
/// Up to here the axis is as good as linear; beyond, logarithmic.
const FINE_MS: f64 = 4.0;
const LEFT: f64 = 276.0;
const RIGHT: f64 = 118.0;
const WIDTH: f64 = 1000.0;
const ROW: f64 = 18.0;
const TOP: f64 = 30.0;

/// Milliseconds from T to a place on the drawing.
struct Axis {
    low: f64,
    high: f64,
    end_ms: f64,
}

impl Axis {
    fn new(end_ms: f64) -> Self {
        Self {
            low: bent(FROM_MS),
            high: bent(end_ms),
            end_ms,
        }
    }

    fn x(&self, ms: f64) -> f64 {
        let share = (bent(ms.clamp(FROM_MS, self.end_ms)) - self.low) / (self.high - self.low);
        at(LEFT + share * (WIDTH - LEFT - RIGHT))
    }
}

fn bent(ms: f64) -> f64 {
    ms.signum() * (1.0 + ms.abs() / FINE_MS).ln()
}

/// How a request or a connection ended, for colour and shape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Served,
    Refused,
    Lost,
    None,
}

impl Fate {
    fn of(outcome: Option<Outcome>) -> Self {
        match outcome {
            Some(outcome) if outcome.is_served() => Self::Served,
            Some(outcome) if outcome.is_unanswered() => Self::Lost,
            Some(Outcome::Error | Outcome::HandshakeFailed) => Self::Lost,
            Some(_) => Self::Refused,
            None => Self::None,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::None => "none",
        }
    }
}

pub(super) fn draw(report: &Report, page: &mut Page) {
    if report.connections.is_empty() {
        page.element(
            "p",
            "empty",
            "No drain was run that opens connections of all kinds.",
        );
        return;
    }
    page.raw("<p>One lane is one connection. The axis is fine around T and coarse away from it (logarithmic on both sides).</p>\n");
    legend(page);
    let axis = Axis::new(end_ms(report));
    let mut kinds: Vec<&Connection> = Vec::new();
    for connection in &report.connections {
        match kinds.iter_mut().find(|kept| kept.kind == connection.kind) {
            // The lane of a kind shows a client that met trouble, if one did.
            Some(kept)
                if Fate::of(kept.outcome) != Fate::Lost
                    && Fate::of(connection.outcome) == Fate::Lost =>
            {
                *kept = connection;
            }
            Some(_) => {}
            None => kinds.push(connection),
        }
    }
    figure(report, &axis, &kinds, "One connection of each kind", page);
    let all: Vec<&Connection> = report.connections.iter().collect();
    if all.len() > kinds.len() {
        page.raw("<details><summary>")
            .text(format_args!("All {} connections that were kept", all.len()))
            .raw("</summary>\n");
        figure(report, &axis, &all, "All connections that were kept", page);
        if report.connections_left_out > 0 {
            page.element(
                "p",
                "fine",
                format_args!(
                    "{} more like these are not drawn.",
                    words::grouped(report.connections_left_out)
                ),
            );
        }
        page.raw("</details>\n");
    }
}

fn legend(page: &mut Page) {
    page.raw(concat!(
        "<ul class=\"legend\">",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><line class=\"open\" x1=\"0\" x2=\"30\" y1=\"7\" y2=\"7\"/></svg> connection open</li>",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><rect class=\"served\" x=\"0\" width=\"22\" y=\"4\" height=\"6\"/><circle class=\"served\" cx=\"23\" cy=\"7\" r=\"5\"/></svg> request, served</li>",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><rect class=\"lost\" x=\"0\" width=\"22\" y=\"4\" height=\"6\"/><path class=\"cross\" d=\"M18 2l10 10M28 2L18 12\"/></svg> no answer: lost</li>",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><path class=\"refused\" d=\"M15 2l6 10H9z\"/></svg> refused, safe to repeat</li>",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><line class=\"fin\" x1=\"15\" x2=\"15\" y1=\"1\" y2=\"13\"/></svg> closed in order (FIN)</li>",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><path class=\"rst\" d=\"M15 1v12M11 7h8\"/></svg> reset (RST)</li>",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><path class=\"goaway\" d=\"M15 2l6 5-6 5-6-5z\"/></svg> GOAWAY</li>",
        "</ul>\n"
    ));
}

fn end_ms(report: &Report) -> f64 {
    let latest = report
        .connections
        .iter()
        .flat_map(|connection| &connection.events)
        .map(|event| event.at_ms)
        .fold(100.0_f64, f64::max);
    latest
        .max(report.exit.after_ms.unwrap_or(0.0))
        .min(600_000.0)
        * 1.1
}

fn figure(
    report: &Report,
    axis: &Axis,
    lanes: &[&Connection],
    title: &'static str,
    page: &mut Page,
) {
    #[expect(clippy::cast_precision_loss, reason = "at most some hundred lanes")]
    let bottom = TOP + ROW * lanes.len() as f64;
    let lost = lanes
        .iter()
        .filter(|lane| Fate::of(lane.outcome) == Fate::Lost)
        .count();
    let label = format!(
        "{title}: {} lanes from 0.4 s before the signal on; on {lost} of them a request was left without an answer",
        lanes.len()
    );
    page.raw("<figure><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Lanes of connections\">")
        .open(
            "svg",
            &[
                ("class", &"lanes"),
                ("role", &"img"),
                ("aria-label", &label),
                ("viewBox", &format!("0 0 {WIDTH} {}", bottom + 8.0)),
                ("width", &WIDTH),
                ("height", &(bottom + 8.0)),
            ],
        );
    ticks(report, axis, bottom, page);
    let mut last = "";
    for (index, lane) in lanes.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "at most some hundred lanes")]
        let y = TOP + ROW * index as f64 + ROW / 2.0;
        let first_of_kind = last != lane.kind;
        last = &lane.kind;
        one(axis, lane, y, first_of_kind, page);
    }
    page.raw("</svg></div></figure>\n");
}

fn ticks(report: &Report, axis: &Axis, bottom: f64, page: &mut Page) {
    let marks: [(f64, &str); 11] = [
        (-300.0, "−300 ms"),
        (-30.0, "−30"),
        (-3.0, "−3"),
        (3.0, "+3"),
        (10.0, "+10"),
        (30.0, "+30"),
        (100.0, "+100 ms"),
        (300.0, "+300"),
        (1_000.0, "+1 s"),
        (3_000.0, "+3 s"),
        (10_000.0, "+10 s"),
    ];
    let exit = report.exit.after_ms.map(|ms| axis.x(ms));
    let crowded = |x: f64| exit.is_some_and(|exit| (exit - x).abs() < 44.0);
    for (ms, words) in marks.into_iter().filter(|(ms, _)| *ms < axis.end_ms) {
        let x = axis.x(ms);
        page.line("grid", (x, TOP - 6.0), (x, bottom));
        if !crowded(x) {
            page.label("tick", (x, 14.0), "middle", words);
        }
    }
    let t = axis.x(0.0);
    page.line("t", (t, TOP - 10.0), (t, bottom));
    page.label("t", (t, 14.0), "middle", "T");
    if let Some(x) = exit {
        page.line("exit", (x, TOP - 10.0), (x, bottom));
        page.label("exit", (x, 14.0), "middle", "exit");
    }
}

fn one(axis: &Axis, lane: &Connection, y: f64, first_of_kind: bool, page: &mut Page) {
    let fate = Fate::of(lane.outcome);
    page.open("g", &[("class", &"lane")]);
    page.raw("<title>").text(in_words(lane)).raw("</title>");
    if first_of_kind {
        page.open("text", &[("class", &"kind"), ("x", &0), ("y", &(y + 4.0))])
            .text(clip(&lane.kind))
            .raw("</text>");
    }
    if let Some(offset) = lane.offset_ms {
        page.open(
            "text",
            &[
                ("class", &"offset"),
                ("x", &(LEFT - 8.0)),
                ("y", &(y + 4.0)),
                ("text-anchor", &"end"),
            ],
        )
        .text(format_args!("+{offset} ms"))
        .raw("</text>");
    }
    spans(axis, lane, y, fate, page);
    page.open(
        "text",
        &[
            ("class", &format!("word {}", fate.class())),
            ("x", &(WIDTH - RIGHT + 10.0)),
            ("y", &(y + 4.0)),
        ],
    )
    .text(lane.outcome.map_or("", Outcome::word))
    .raw("</text></g>\n");
}

fn clip(kind: &str) -> String {
    kind.chars().take(31).collect()
}

/// The connection as a thin line, its requests as bars upon it, ends as shapes.
fn spans(axis: &Axis, lane: &Connection, y: f64, fate: Fate, page: &mut Page) {
    // Below the bars, so drawn first.
    let mut open_since = None;
    for event in &lane.events {
        match event.event.as_ref() {
            "connected" => open_since = Some(event.at_ms),
            "closed" | "reset" | "hung-up" => {
                if let Some(from) = open_since.take() {
                    thin(axis, from, event.at_ms, y, page);
                }
            }
            _ => {}
        }
    }
    if let Some(from) = open_since {
        thin(axis, from, axis.end_ms, y, page);
    }
    let mut asked_since: Option<f64> = None;
    let mut shapes = Vec::new();
    for event in &lane.events {
        let ms = event.at_ms;
        match event.event.as_ref() {
            "sent" | "sent-half" => asked_since = asked_since.or(Some(ms)),
            "answered" | "heard" => {
                if let Some(from) = asked_since.take() {
                    bar(axis, from, ms, y, Fate::Served, page);
                }
                shapes.push((ms, Fate::Served, "answer"));
            }
            "unanswered" => {
                if let Some(from) = asked_since.take() {
                    bar(axis, from, ms, y, Fate::Lost, page);
                }
                shapes.push((ms, Fate::Lost, "cross"));
            }
            "refused" => shapes.push((ms, Fate::Refused, "triangle")),
            "goaway" => shapes.push((ms, Fate::None, "diamond")),
            "closed" | "reset" => {
                let end = if event.event == "closed" {
                    "fin"
                } else {
                    "rst"
                };
                shapes.push((ms, Fate::None, end));
                if let Some(from) = asked_since.take() {
                    // An end while a request was open: the request's bar shows what that came to.
                    bar(axis, from, ms, y, fate, page);
                    if fate == Fate::Lost {
                        shapes.push((ms, Fate::Lost, "cross"));
                    }
                }
            }
            _ => {}
        }
    }
    for (ms, fate, shape) in shapes {
        mark(axis.x(ms), y, fate, shape, page);
    }
}

fn thin(axis: &Axis, from: f64, to: f64, y: f64, page: &mut Page) {
    page.open(
        "line",
        &[
            ("class", &"open"),
            ("x1", &axis.x(from)),
            ("x2", &axis.x(to)),
            ("y1", &y),
            ("y2", &y),
        ],
    )
    .raw("</line>");
}

fn bar(axis: &Axis, from: f64, to: f64, y: f64, fate: Fate, page: &mut Page) {
    let (x, end) = (axis.x(from), axis.x(to));
    page.open(
        "rect",
        &[
            ("class", &fate.class()),
            ("x", &x),
            ("width", &at((end - x).max(1.5))),
            ("y", &(y - 3.0)),
            ("height", &6),
        ],
    )
    .raw("</rect>");
}

fn mark(x: f64, y: f64, fate: Fate, shape: &'static str, page: &mut Page) {
    let (class, path) = match shape {
        "answer" => {
            page.open(
                "circle",
                &[("class", &fate.class()), ("cx", &x), ("cy", &y), ("r", &4)],
            )
            .raw("</circle>");
            return;
        }
        "cross" => ("cross", format!("M{} {}l9 9m0 -9l-9 9", x - 4.5, y - 4.5)),
        "triangle" => ("refused", format!("M{x} {}l5.5 9h-11z", y - 5.0)),
        "diamond" => ("goaway", format!("M{x} {}l5 5l-5 5l-5 -5z", y - 5.0)),
        "fin" => ("fin", format!("M{x} {}v12", y - 6.0)),
        _ => ("rst", format!("M{x} {}v12m-4 -6h8", y - 6.0)),
    };
    page.open("path", &[("class", &class), ("d", &path)])
        .raw("</path>");
}

/// The lane in words, for those who point at it.
fn in_words(lane: &Connection) -> String {
    let events: Vec<String> = lane
        .events
        .iter()
        .map(|event| {
            let note = if event.note.is_empty() {
                String::new()
            } else {
                format!(" {}", event.note)
            };
            format!("{:+.1} ms {}{note}", event.at_ms, event.event)
        })
        .collect();
    format!("{}: {}", lane.kind, events.join(", "))
}
