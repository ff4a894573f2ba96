//! What must hold of a round that is over.

use std::fmt;
use std::time::Duration;

use crate::member::{End, Manner};

/// Between a process's end and when we saw it, on a machine that has other things to do; and it writes its last words within its deadline.
const SEEN_LATE: Duration = Duration::from_millis(400);

/// What became of the members of a round.
pub(crate) struct Told(Vec<End>);

impl Told {
    pub(crate) fn new(ends: Vec<End>) -> Self {
        Self(ends)
    }
}

/// All rounds.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) drains: u64,
    pub(crate) complaints: usize,
    with_slot: u64,
    alone: u64,
    killed: u64,
    named: u64,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "together: {} drains, {} with a slot, {} without, {} killed, {} stragglers named: {} complaints",
            self.drains, self.with_slot, self.alone, self.killed, self.named, self.complaints
        )
    }
}

impl Sum {
    /// Adds a round; what is wrong with it.
    pub(crate) fn add(&mut self, told: &Told, slots: u64) -> Vec<String> {
        let mut complaints = Vec::new();
        for (number, end) in told.0.iter().enumerate() {
            self.drains += 1;
            let mut wrong = Vec::new();
            self.judge(end, &mut wrong);
            complaints.extend(wrong.into_iter().map(|what| format!("m{number}: {what}")));
        }
        complaints.extend(oversold(&told.0, slots));
        self.complaints += complaints.len();
        complaints
    }

    fn judge(&mut self, end: &End, wrong: &mut Vec<String>) {
        let said = |what: &str| {
            end.entries
                .iter()
                .filter(|entry| entry.what == what)
                .count()
        };
        let cleanups = said("cleanup");
        if cleanups > 1 {
            wrong.push(format!("cleaned up {cleanups} times"));
        }
        if said("slot") > 0 {
            self.with_slot += 1;
        } else {
            self.alone += 1;
        }
        if end.killed {
            self.killed += 1;
            return;
        }
        if cleanups == 0 {
            wrong.push(format!("never cleaned up ({})", end.exit));
        }
        if end.took > end.deadline + SEEN_LATE {
            wrong.push(format!(
                "gone {:?} after its signal, deadline {:?}",
                end.took, end.deadline
            ));
        }
        let Some(report) = &end.report else {
            wrong.push(format!("no report ({})", end.exit));
            return;
        };
        for (name, manner) in &end.manners {
            let state = state_of(report, name);
            let expected = match manner {
                Manner::Silent => "overdue",
                Manner::Refuses => "refused",
                Manner::Quick | Manner::Slow | Manner::Asks => "done",
            };
            // Budgets run on while nobody runs.
            let late = end.stopped && *manner == Manner::Asks && state == "overdue";
            if state != expected && !late {
                wrong.push(format!(
                    "{name} is reported as {state:?}, not as {expected:?}"
                ));
            }
            self.named += u64::from(matches!(manner, Manner::Silent | Manner::Refuses));
        }
    }
}

fn state_of<'a>(report: &'a serde_json::Value, name: &str) -> &'a str {
    let participants = report["participants"].as_array();
    let found = participants
        .into_iter()
        .flatten()
        .find(|one| one["name"] == name);
    found
        .and_then(|one| one["state"].as_str())
        .unwrap_or("nobody")
}

/// Each instant at which more members had a slot than there are.
fn oversold(ends: &[End], slots: u64) -> Vec<String> {
    let held: Vec<(Duration, Duration)> = ends
        .iter()
        .filter_map(|end| {
            let of = |what: &str| end.entries.iter().find(|entry| entry.what == what);
            let lent = of("slot")?;
            // It goes back after the last hook, but no diary tells when: until that hook it was there for certain.
            let back = of("cleanup").map_or(end.gone, |entry| entry.at);
            Some((lent.at, back.max(lent.at)))
        })
        .collect();
    let most = held
        .iter()
        .map(|(at, _)| {
            held.iter()
                .filter(|(from, to)| from <= at && at < to)
                .count()
        })
        .max()
        .unwrap_or(0);
    if most as u64 > slots {
        return vec![format!("{most} members had a slot at once, of {slots}")];
    }
    Vec::new()
}
