//! Owns drawing load and latency around T: counts for each 100 ms, and single requests by their latency.
//! Not: which requests are kept (see `verdict::series`).

use super::page::{Page, at};
use crate::observe::outcome::Outcome;
use crate::render::words;
use crate::verdict::{Bucket, Finding, Report, Sample, Series};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
/// The counts: their top and bottom.
const BARS: (f64, f64) = (44.0, 190.0);
/// The latencies: their top and bottom.
const DOTS: (f64, f64) = (226.0, 400.0);
/// Latencies from 0.1 ms to 10 s, a decade each.
const DECADES: f64 = 5.0;

pub(super) fn draw(report: &Report, page: &mut Page) {
    let loads: Vec<(&Finding, &Series)> = report
        .checks
        .iter()
        .filter_map(|finding| Some((finding, finding.series.as_ref()?)))
        .filter(|(_, series)| !series.buckets.is_empty())
        .collect();
    if loads.is_empty() {
        page.element("p", "empty", "No check under load was run.");
        return;
    }
    page.raw("<p>Requests of closed-loop clients by the time at which they began, all stops laid over each other; T is where each stop's signal was sent.</p>\n");
    page.raw(concat!(
        "<ul class=\"legend\">",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><rect class=\"b-served\" x=\"8\" width=\"14\" y=\"1\" height=\"12\"/></svg> served</li>",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><rect class=\"b-refused\" x=\"8\" width=\"14\" y=\"1\" height=\"12\"/><path class=\"hatch\" d=\"M8 7h14\"/></svg> refused, safe to repeat</li>",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><rect class=\"b-lost\" x=\"8\" width=\"14\" y=\"1\" height=\"12\"/><path class=\"cross light\" d=\"M11 3l8 8m0 -8l-8 8\"/></svg> lost</li>",
        "<li><svg class=\"key\" viewBox=\"0 0 30 14\" aria-hidden=\"true\"><rect class=\"b-other\" x=\"8\" width=\"14\" y=\"1\" height=\"12\"/></svg> other</li>",
        "</ul>\n"
    ));
    for (index, (finding, series)) in loads.iter().enumerate() {
        if index == 0 {
            one(finding, series, page);
        } else {
            page.raw("<details class=\"print\"><summary>")
                .text(title(finding))
                .raw("</summary>\n");
            one(finding, series, page);
            page.raw("</details>\n");
        }
    }
}

fn title(finding: &Finding) -> String {
    let tally = &finding.requests;
    format!(
        "{}: {} of {} lost, {}",
        finding.id,
        words::grouped(tally.lost),
        words::grouped(tally.sent()),
        words::plural(
            finding
                .series
                .as_ref()
                .map_or(0, |series| series.stops.len()),
            "stop",
            "stops"
        )
    )
}

struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    fn x(&self, ms: f64) -> f64 {
        let share = (ms - self.from) / (self.to - self.from);
        at(LEFT + share * (WIDTH - LEFT - RIGHT))
    }
}

fn one(finding: &Finding, series: &Series, page: &mut Page) {
    let width = f64::from(series.bucket_ms.max(1));
    let from = f64::from(series.buckets[0].from_ms);
    let last = series
        .buckets
        .last()
        .map_or(from, |last| f64::from(last.from_ms));
    let axis = Axis {
        from,
        // A stop that is over at once still deserves a drawing with a right half.
        to: (last + width).max(500.0),
    };
    let label = format!(
        "{}. Above: requests begun in each {} ms, by what became of them. Below: their latency.",
        title(finding),
        series.bucket_ms
    );
    page.raw("<figure><figcaption>")
        .text(title(finding))
        .raw("</figcaption><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Load and latency\">")
        .open(
            "svg",
            &[
                ("class", &"load"),
                ("role", &"img"),
                ("aria-label", &label),
                ("viewBox", &"0 0 1000 430"),
                ("width", &1000),
                ("height", &430),
            ],
        );
    frame(&axis, page);
    bars(&axis, series, page);
    for sample in &series.samples {
        dot(&axis, sample, page);
    }
    page.raw("</svg></div>\n");
    let shown = series.samples.len();
    page.element(
        "p",
        "fine",
        format_args!(
            "{} requests are shown one by one, {} more are in the bars only, {} began outside of the drawing.",
            words::grouped(shown as u64),
            words::grouped(series.left_out),
            words::grouped(series.outside)
        ),
    );
    table(series, page);
    page.raw("</figure>\n");
}

fn frame(axis: &Axis, page: &mut Page) {
    page.label(
        "axis-name",
        (0.0, 20.0),
        "start",
        "requests begun in each 100 ms",
    )
    .label(
        "axis-name",
        (0.0, DOTS.0 - 10.0),
        "start",
        "latency of each",
    );
    let decades = ["0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s"];
    for (decade, words) in (0_u8..).zip(decades) {
        let y = DOTS.1 - f64::from(decade) / DECADES * (DOTS.1 - DOTS.0);
        page.line("grid", (LEFT, y), (WIDTH - RIGHT, y)).label(
            "tick",
            (LEFT - 8.0, y + 4.0),
            "end",
            words,
        );
    }
    let step = [250.0, 500.0, 1_000.0, 2_000.0]
        .into_iter()
        .find(|step| (axis.to - axis.from) / step <= 12.0)
        .unwrap_or(5_000.0);
    let mut ms = (axis.from / step).ceil() * step;
    while ms <= axis.to {
        let x = axis.x(ms);
        let anchor = if x > WIDTH - RIGHT - 40.0 {
            "end"
        } else {
            "middle"
        };
        if ms == 0.0 {
            page.label("t", (x, DOTS.1 + 22.0), anchor, "T");
        } else {
            let sign = if ms < 0.0 { "−" } else { "+" };
            let words = format!("{sign}{} ms", ms.abs());
            page.line("grid", (x, BARS.0), (x, DOTS.1)).label(
                "tick",
                (x, DOTS.1 + 22.0),
                anchor,
                words,
            );
        }
        ms += step;
    }
    let t = axis.x(0.0);
    page.line("t", (t, BARS.0 - 12.0), (t, DOTS.1 + 8.0));
}

fn bars(axis: &Axis, series: &Series, page: &mut Page) {
    let sum = |bucket: &Bucket| bucket.served + bucket.refused + bucket.lost + bucket.other;
    let most = series.buckets.iter().map(sum).max().unwrap_or(1).max(1);
    page.label(
        "tick",
        (LEFT - 8.0, BARS.0 + 4.0),
        "end",
        words::grouped(most),
    )
    .label("tick", (LEFT - 8.0, BARS.1), "end", 0)
    .line("axis", (LEFT, BARS.1), (WIDTH - RIGHT, BARS.1));
    for bucket in &series.buckets {
        let from = f64::from(bucket.from_ms);
        let (x, end) = (axis.x(from), axis.x(from + f64::from(series.bucket_ms)));
        column(bucket, most, (x + 1.0, (end - x - 2.0).max(1.0)), page);
    }
}

/// The requests of one bucket, one upon the other.
fn column(bucket: &Bucket, most: u64, (x, width): (f64, f64), page: &mut Page) {
    page.raw("<g><title>")
        .text(format_args!(
            "{:+} ms: {} served, {} refused, {} lost, {} other",
            bucket.from_ms, bucket.served, bucket.refused, bucket.lost, bucket.other
        ))
        .raw("</title>");
    let mut y = BARS.1;
    // What matters most stands on the ground, where it is seen.
    let parts = [
        (bucket.lost, "b-lost"),
        (bucket.other, "b-other"),
        (bucket.served, "b-served"),
        (bucket.refused, "b-refused"),
    ];
    for (count, class) in parts.into_iter().filter(|(count, _)| *count > 0) {
        let tall = (words::share(count, most) * (BARS.1 - BARS.0)).max(2.0);
        y -= tall;
        page.rect(class, (x, y), (width, tall));
        if class == "b-refused" {
            hatch(x, y, width, tall, page);
        }
    }
    if bucket.lost > 0 {
        let words = format!("✕{}", words::grouped(bucket.lost));
        page.label("lost-count", (x + width / 2.0, y - 6.0), "middle", words);
    }
    page.raw("</g>");
}

/// Stripes: refused ones are told apart without colour.
fn hatch(x: f64, y: f64, width: f64, height: f64, page: &mut Page) {
    let mut path = String::new();
    let mut stripe = y + 4.0;
    while stripe < y + height {
        path.push_str(&format!("M{} {}h{}", at(x), at(stripe), at(width)));
        stripe += 5.0;
    }
    page.open("path", &[("class", &"hatch"), ("d", &path)])
        .raw("</path>");
}

fn dot(axis: &Axis, sample: &Sample, page: &mut Page) {
    if sample.at_ms > axis.to {
        return;
    }
    let latency = sample.latency_ms.unwrap_or(10_000.0).clamp(0.1, 10_000.0);
    let x = axis.x(sample.at_ms);
    let y = at(DOTS.1 - (latency / 0.1).log10() / DECADES * (DOTS.1 - DOTS.0));
    if sample.lost {
        let path = format!("M{} {}l8 8m0 -8l-8 8", x - 4.0, y - 4.0);
        page.open("path", &[("class", &"cross"), ("d", &path)])
            .raw("</path>");
    } else if sample.outcome.is_served() {
        page.open(
            "circle",
            &[("class", &"dot"), ("cx", &x), ("cy", &y), ("r", &2.5)],
        )
        .raw("</circle>");
    } else {
        let class = if sample.outcome == Outcome::Error {
            "other"
        } else {
            "refused"
        };
        let path = format!("M{x} {}l4 7h-8z", y - 4.0);
        page.open("path", &[("class", &class), ("d", &path)])
            .raw("</path>");
    }
}

fn table(series: &Series, page: &mut Page) {
    page.raw("<details><summary>The same as a table</summary><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Requests by time\"><table class=\"plain\"><thead><tr><th>from T</th><th class=\"n\">written</th><th class=\"n\">served</th><th class=\"n\">refused</th><th class=\"n\">lost</th><th class=\"n\">other</th></tr></thead><tbody>");
    for bucket in &series.buckets {
        page.raw("<tr><th scope=\"row\">")
            .text(format_args!("{:+} ms", bucket.from_ms))
            .raw("</th>");
        for count in [
            bucket.sent,
            bucket.served,
            bucket.refused,
            bucket.lost,
            bucket.other,
        ] {
            page.element("td", "n", words::grouped(count));
        }
        page.raw("</tr>");
    }
    page.raw("</tbody></table></div></details>\n");
}
