//! A shutdown as a sequence: who said what to whom, in the order in which it was measured. How it is drawn is `mermaid`'s and
//! `page`'s business.

use lameduck::wire::Shutdown;

use super::story::{seconds, verdict};

/// How many senders and participants get a lane of their own.
const MOST_SENDERS: usize = 4;
const MOST_PARTICIPANTS: usize = 12;
/// How many signals and stragglers are drawn one by one.
const MOST_SIGNALS: usize = 16;
const MOST_STRAGGLERS: usize = 8;

/// Lanes from left to right, and what passes between them from top to bottom.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) title: String,
    pub(super) lanes: Vec<String>,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug)]
pub(super) struct Step {
    /// After T, in milliseconds.
    pub(super) at_ms: f64,
    pub(super) what: What,
    pub(super) text: String,
}

/// Numbers are those of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A phase, or the end, of the driver.
    Note(usize),
    /// One says something to another.
    Says(usize, usize),
    /// One answers another.
    Answers(usize, usize),
    /// One ends what another wanted.
    Cuts(usize, usize),
}

impl Sequence {
    pub(super) fn of(report: &Shutdown) -> Self {
        let lanes = Lanes::of(report);
        let mut steps = Vec::new();
        phases(&mut steps, report, &lanes);
        requests(&mut steps, report, &lanes);
        participants(&mut steps, report, &lanes);
        clients(&mut steps, report, &lanes);
        // The order in which they were written settles what happened at the same instant.
        steps.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
        let at_ms = report
            .ended_ms
            .max(steps.last().map_or(0.0, |last| last.at_ms));
        steps.push(Step {
            at_ms,
            what: What::Note(lanes.driver),
            text: exit(report),
        });
        Self {
            title: format!("{}: {}", exit(report), asked(report)),
            lanes: lanes.names,
            steps,
        }
    }
}

/// Senders, the driver, participants, clients.
struct Lanes {
    names: Vec<String>,
    senders: usize,
    driver: usize,
    participants: usize,
    clients: usize,
}

impl Lanes {
    fn of(report: &Shutdown) -> Self {
        let mut names: Vec<String> = Vec::new();
        for signal in &report.signals {
            if !names.contains(&signal.sender.said) {
                names.push(signal.sender.said.clone());
            }
        }
        if is_by_the_program(report) {
            names.insert(0, "the program".to_owned());
        }
        if names.len() > MOST_SENDERS {
            names.truncate(MOST_SENDERS - 1);
            names.push("other senders".to_owned());
        }
        let senders = names.len();
        names.push("lameduck".to_owned());
        let most = report.participants.iter().take(MOST_PARTICIPANTS);
        names.extend(most.map(|participant| participant.name.clone()));
        let participants = names.len() - senders - 1;
        names.push("clients".to_owned());
        Self {
            senders,
            driver: senders,
            participants,
            clients: names.len() - 1,
            names,
        }
    }

    fn sender(&self, said: &str) -> usize {
        let senders = &self.names[..self.senders];
        let found = senders.iter().position(|name| name == said);
        found.unwrap_or(self.senders.saturating_sub(1))
    }
}

fn is_by_the_program(report: &Shutdown) -> bool {
    report
        .cause
        .as_ref()
        .is_some_and(|cause| cause.kind != "signal")
}

fn asked(report: &Shutdown) -> &str {
    report
        .cause
        .as_ref()
        .map_or("nothing asked it to stop", |cause| &cause.said)
}

fn exit(report: &Shutdown) -> String {
    match &report.exit.signal {
        Some(signal) => format!("{}, died by {signal}", report.said),
        None => format!("{}, exit {}", report.said, report.exit.code),
    }
}

fn entered(report: &Shutdown, name: &str) -> Option<f64> {
    let phase = report.phases.iter().find(|phase| phase.phase == name)?;
    Some(phase.at_ms)
}

fn phases(steps: &mut Vec<Step>, report: &Shutdown, lanes: &Lanes) {
    for phase in report
        .phases
        .iter()
        .filter(|phase| phase.phase != "Initializing")
    {
        steps.push(Step {
            at_ms: phase.at_ms,
            what: What::Note(lanes.driver),
            text: format!("{}, {}", phase.phase, seconds(phase.took_ms)),
        });
    }
}

/// What asked it to stop stands before the phase that it brings.
fn requests(steps: &mut Vec<Step>, report: &Shutdown, lanes: &Lanes) {
    let mut asked_by = Vec::new();
    if is_by_the_program(report) {
        asked_by.push(Step {
            at_ms: 0.0,
            what: What::Says(0, lanes.driver),
            text: asked(report).to_owned(),
        });
    }
    asked_by.extend(report.signals.iter().take(MOST_SIGNALS).map(|signal| Step {
        at_ms: signal.at_ms,
        what: What::Says(lanes.sender(&signal.sender.said), lanes.driver),
        text: format!("{}: {}", signal.signal, verdict(&signal.verdict)),
    }));
    steps.splice(0..0, asked_by);
}

fn participants(steps: &mut Vec<Step>, report: &Shutdown, lanes: &Lanes) {
    let asked = entered(report, "Terminating");
    let stopped = entered(report, "Stopped");
    let shown = report.participants.iter().take(lanes.participants);
    for (index, participant) in shown.enumerate() {
        let lane = lanes.driver + 1 + index;
        if let Some(at_ms) =
            asked.filter(|_| participant.state != "not-started" && participant.state != "away")
        {
            let text = participant.budget_ms.map_or_else(
                || "stop".to_owned(),
                |budget| format!("stop, budget {}", seconds(budget)),
            );
            let what = What::Says(lanes.driver, lane);
            steps.push(Step { at_ms, what, text });
        }
        for grant in &participant.grants {
            let text = match grant.wish {
                Some(_) => format!(
                    "{} more, of {} asked for",
                    seconds(grant.by_ms),
                    seconds(grant.asked_ms)
                ),
                None => format!("{} more, from an operator", seconds(grant.by_ms)),
            };
            let what = What::Says(lanes.driver, lane);
            steps.push(Step {
                at_ms: grant.at_ms,
                what,
                text,
            });
        }
        if let Some(at_ms) = participant.ended_ms {
            let what = match participant.state.as_str() {
                "overdue" => What::Cuts(lanes.driver, lane),
                _ => What::Answers(lane, lanes.driver),
            };
            let text = participant.state.clone();
            steps.push(Step { at_ms, what, text });
        }
        if let (Some(hook), Some(stopped)) = (&participant.hook, stopped)
            && hook.state != "not-run"
        {
            steps.push(Step {
                // Not before it can have ended: when it began is not in the report.
                at_ms: stopped + hook.took_ms,
                what: What::Answers(lane, lanes.driver),
                text: format!("stop hook: {}, {}", hook.state, seconds(hook.took_ms)),
            });
        }
    }
}

fn clients(steps: &mut Vec<Step>, report: &Shutdown, lanes: &Lanes) {
    let steered = report.counts.get("steered").copied().unwrap_or(0);
    if let Some(at_ms) = entered(report, "Terminating").filter(|_| steered > 0) {
        steps.push(Step {
            at_ms,
            what: What::Says(lanes.driver, lanes.clients),
            text: format!("go elsewhere, from here on: {steered} told"),
        });
    }
    if let Some(at_ms) = entered(report, "Draining") {
        for listener in report.listeners.iter().take(MOST_SIGNALS) {
            steps.push(Step {
                at_ms,
                what: What::Says(lanes.driver, lanes.clients),
                text: format!("{} closed, {} swept", listener.address, listener.swept),
            });
        }
    }
    let Some(at_ms) = entered(report, "Stopped") else {
        return;
    };
    // They were ended on the way to `Stopped`, and stand before it.
    let named = report.stragglers.iter().take(MOST_STRAGGLERS);
    let mut cut: Vec<String> = named.map(|straggler| straggler.said.clone()).collect();
    let unnamed = report.dropped.get("stragglers").copied().unwrap_or(0);
    let more = report.stragglers.len().saturating_sub(MOST_STRAGGLERS) as u64 + unnamed;
    if more > 0 {
        cut.push(format!("and {more} more"));
    }
    let cut = cut.into_iter().map(|text| Step {
        at_ms,
        what: What::Cuts(lanes.driver, lanes.clients),
        text,
    });
    steps.splice(0..0, cut);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::story::REPORT;

    #[test]
    fn what_was_measured_stands_in_its_order() {
        let report = Shutdown::find(REPORT).expect("a report");
        let sequence = Sequence::of(&report);
        assert_eq!(sequence.lanes, ["lameduck", "outbox", "clients"]);
        let texts: Vec<&str> = sequence
            .steps
            .iter()
            .map(|step| step.text.as_str())
            .collect();
        assert_eq!(
            texts,
            [
                "Terminating, 100 ms",
                "stop",
                "Draining, 2.20 s",
                "overdue",
                "forced, exit 124"
            ]
        );
        assert_eq!(sequence.steps[3].what, What::Cuts(0, 1));
    }

    #[test]
    fn lanes_and_steps_are_bounded() {
        let mut json: serde_json::Value =
            serde_json::from_str(REPORT.lines().nth(1).expect("a report")).expect("JSON");
        let many = |make: &dyn Fn(usize) -> serde_json::Value| (0..500).map(make).collect();
        json["signals"] = many(
            &|n| serde_json::json!({"signal": "SIGTERM", "verdict": "merged", "sender": {"said": format!("pid {n}")}}),
        );
        json["participants"] = many(
            &|n| serde_json::json!({"name": format!("p{n}"), "state": "done", "ended_ms": 5.0}),
        );
        json["stragglers"] = many(&|n| serde_json::json!({"said": format!("GET /{n}")}));
        let report = serde_json::from_value(json).expect("it can be read");
        let sequence = Sequence::of(&report);
        assert_eq!(
            sequence.lanes.len(),
            MOST_SENDERS + 1 + MOST_PARTICIPANTS + 1
        );
        assert!(sequence.steps.len() < 100, "{}", sequence.steps.len());
        let within = |lane: usize| lane < sequence.lanes.len();
        assert!(sequence.steps.iter().all(|step| match step.what {
            What::Note(lane) => within(lane),
            What::Says(from, to) | What::Answers(from, to) | What::Cuts(from, to) =>
                within(from) && within(to),
        }));
    }
}
