//! Owns turning what clients of a drain saw into the report's timeline and phases.
//! Not: drawing (see `render`).

use std::time::Duration;

use super::drain::Drained;
use super::told::first_refusal;
use crate::observe::flow::{Flow, Mark, Part};
use crate::observe::outcome::Outcome;
use crate::verdict::{LaneEvent, PhaseSpan, Phases, millis, relative_ms};

/// Most events of one lane that a report carries.
const MAX_EVENTS: usize = 40;

/// And of the lane that shows many clients.
const MAX_NEWCOMERS: usize = 160;

/// What single clients saw: one lane for each kind of connection.
pub(crate) fn timeline(pass: &Drained) -> Vec<LaneEvent> {
    let at_two = Some(Duration::from_millis(2));
    let lanes: [(&str, &'static str, Option<Duration>); 6] = [
        ("in-flight", "in flight", None),
        ("idle", "idle, reused +2 ms", at_two),
        ("silent", "silent until +2 ms", at_two),
        ("half-fresh", "half a head", at_two),
        ("left-alone", "idle, left alone", None),
        ("newcomers", "new connections", None),
    ];
    let mut events = Vec::new();
    for (group, lane, offset) in lanes {
        let flows = pass
            .engine
            .flows
            .iter()
            .filter(|flow| flow.group == group && flow.offset == offset);
        if group == "newcomers" {
            events.extend(newcomers(flows, lane, pass));
        } else if let Some(flow) = flows.into_iter().max_by_key(|flow| trouble(flow)) {
            events.extend(flow_events(flow, lane, pass));
        }
    }
    events
}

/// The lane shows a client that met trouble, if one did.
fn trouble(flow: &Flow) -> u32 {
    let bad =
        |outcome: Option<Outcome>| u32::from(outcome.is_some_and(|outcome| !outcome.is_served()));
    flow.exchanges
        .iter()
        .map(|exchange| bad(exchange.outcome))
        .sum()
}

/// Connects of many clients in one lane: what became of each.
fn newcomers<'f>(
    flows: impl Iterator<Item = &'f Flow>,
    lane: &'static str,
    pass: &Drained,
) -> Vec<LaneEvent> {
    let t = pass.departure.t;
    let mut events = Vec::new();
    for flow in flows {
        for exchange in &flow.exchanges {
            let event = match exchange.outcome {
                Some(Outcome::Reset) => "reset",
                Some(outcome) if !outcome.is_unanswered() => "answered",
                _ => "unanswered",
            };
            let note = exchange
                .status
                .map_or_else(String::new, |status| status.to_string());
            events.push(LaneEvent {
                at_ms: relative_ms(exchange.begun_at, t),
                lane: lane.into(),
                event: event.into(),
                note,
            });
        }
        for (_, at) in &flow.refused_connects {
            events.push(LaneEvent {
                at_ms: relative_ms(*at, t),
                lane: lane.into(),
                event: "refused".into(),
                note: String::new(),
            });
        }
    }
    events.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
    events.retain(|event| event.at_ms >= -300.0);
    events.truncate(MAX_NEWCOMERS);
    events
}

fn flow_events(flow: &Flow, lane: &'static str, pass: &Drained) -> Vec<LaneEvent> {
    let t = pass.departure.t;
    let mut events: Vec<LaneEvent> = Vec::new();
    for (at, mark) in &flow.marks {
        let Some((event, note)) = words(*mark) else {
            continue;
        };
        events.push(LaneEvent {
            at_ms: relative_ms(*at, t),
            lane: lane.into(),
            event: event.into(),
            note,
        });
    }
    if flow
        .exchanges
        .last()
        .is_some_and(|exchange| exchange.outcome == Some(Outcome::Hung))
    {
        let at_ms = flow
            .exchanges
            .last()
            .and_then(|exchange| exchange.ended_at)
            .map_or(0.0, |at| relative_ms(at, t));
        events.push(LaneEvent {
            at_ms,
            lane: lane.into(),
            event: "unanswered".into(),
            note: String::new(),
        });
    }
    events.truncate(MAX_EVENTS);
    events
}

/// The event and the note of a mark; none where it is neither about a request nor an end.
pub(super) fn words(mark: Mark) -> Option<(&'static str, String)> {
    let plain = |event| Some((event, String::new()));
    match mark {
        Mark::Connected => plain("connected"),
        Mark::Refused => plain("refused"),
        Mark::ConnectFailed => Some(("reset", "connect".to_owned())),
        Mark::Wrote(Part::First) => plain("sent-half"),
        Mark::Wrote(Part::Whole | Part::Last) => plain("sent"),
        Mark::Answered(status, Outcome::ServedClose) => {
            Some(("answered", format!("{status} close")))
        }
        Mark::Answered(status, _) => Some(("answered", status.to_string())),
        Mark::Fin => plain("closed"),
        Mark::Reset => plain("reset"),
        Mark::Closed => plain("hung-up"),
        Mark::Secured | Mark::Notified => None,
    }
}

/// The target's own account of its phases, if it leaves one; else what could be seen from outside.
pub(crate) fn phases(pass: &Drained) -> Phases {
    if let Some(spans) = reported(&pass.output.stderr) {
        return Phases {
            source: "reported".into(),
            spans,
        };
    }
    let departure = &pass.departure;
    let Some(took) = departure.took() else {
        return Phases {
            source: "observed".into(),
            spans: Vec::new(),
        };
    };
    let span = |phase: &str, time: Duration| PhaseSpan {
        phase: phase.to_owned(),
        took_ms: millis(time),
    };
    let open = first_refusal(pass)
        .map_or(took, |at| at.saturating_duration_since(departure.t))
        .min(took);
    Phases {
        source: "observed".into(),
        spans: vec![
            span("still accepting", open),
            span("finishing", took - open),
        ],
    }
}

/// The `lameduck.shutdown/1` line on standard error.
fn reported(stderr: &str) -> Option<Vec<PhaseSpan>> {
    let line = stderr
        .lines()
        .rev()
        .find(|line| line.contains("\"lameduck.shutdown/1\""))?;
    let report: serde_json::Value = serde_json::from_str(line.trim()).ok()?;
    let spans: Vec<PhaseSpan> = report
        .get("phases")?
        .as_array()?
        .iter()
        .take(8)
        .filter_map(|phase| {
            let name: String = phase
                .get("phase")?
                .as_str()?
                .chars()
                .filter(|c| c.is_alphanumeric())
                .take(32)
                .collect();
            Some(PhaseSpan {
                phase: name,
                took_ms: phase.get("took_ms")?.as_f64()?,
            })
        })
        .collect();
    let told = ["Terminating", "Draining", "Stopped"];
    let spans: Vec<_> = spans
        .into_iter()
        .filter(|span| told.contains(&span.phase.as_str()))
        .collect();
    (!spans.is_empty()).then_some(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_own_account_is_read_and_bounded() {
        let line = r#"noise
{"schema":"lameduck.shutdown/1","phases":[{"phase":"Running","took_ms":5},{"phase":"Terminating","took_ms":100.5},{"phase":"Draining","took_ms":7}]}"#;
        let spans = reported(line).unwrap();
        assert_eq!(spans.len(), 2);
        assert_eq!(
            (spans[0].phase.as_str(), spans[0].took_ms),
            ("Terminating", 100.5)
        );
        assert_eq!(reported("\"lameduck.shutdown/1\" {{{"), None);
        assert_eq!(
            reported(r#"{"schema":"lameduck.shutdown/1","phases":7}"#),
            None
        );
    }
}
