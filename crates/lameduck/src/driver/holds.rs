//! What holds the exit, as one sentence for people.

use core::time::Duration;
use std::fmt::Write as _;

use super::Status;
use crate::{
    machine::{self, ParticipantStatus},
    vocab::Phase,
};

impl Status {
    /// What still holds the exit, as one sentence; `None` as long as nothing was asked to leave, and nothing announced.
    #[must_use]
    pub fn holds(&self) -> Option<String> {
        match self.machine.phase {
            Phase::Initializing => None,
            Phase::Running => self.holds_departure(),
            Phase::Terminating => Some(self.holds_admission()),
            Phase::Draining => Some(self.holds_drain()),
            Phase::Stopped => Some(self.holds_end()),
        }
    }

    fn holds_departure(&self) -> Option<String> {
        let waits = self.machine.waits.as_ref()?;
        let left = waits.until.saturating_sub(self.now).as_secs_f64();
        Some(if waits.for_turn {
            format!(
                "It waits for its turn to leave and serves meanwhile; without one it leaves in {left:.1} s."
            )
        } else {
            format!("It was announced to leave in {left:.1} s, and serves until then.")
        })
    }

    fn holds_admission(&self) -> String {
        if self.machine.window_until.is_some() {
            return "The lame-duck window is open: new requests are served until they cease."
                .to_owned();
        }
        let open = self.machine.participants.iter();
        let open: Vec<_> = open
            .filter(|one| one.admits())
            .map(ParticipantStatus::name)
            .collect();
        format!("Listeners are swept and closed: {}.", list(&open))
    }

    fn holds_drain(&self) -> String {
        let mut held = Vec::new();
        let inflight = &self.inflight;
        if inflight.busy > 0 {
            held.push(self.oldest());
        }
        if inflight.connections > 0 && inflight.busy == 0 {
            held.push(counted(
                inflight.connections,
                "connection without a request",
            ));
        }
        if inflight.guards > 0 {
            held.push(counted(inflight.guards, "guard"));
        }
        // A server ends with its connections: it is no news beside them.
        let working = self.machine.participants.iter();
        let working: Vec<_> = working
            .filter(|one| !one.is_ended() && !one.admits() && !is_server(one))
            .map(|one| self.working(one))
            .collect();
        held.extend(working);
        if held.is_empty() {
            let ends = self.machine.participants.iter();
            held.extend(
                ends.filter(|one| !one.is_ended())
                    .map(|one| self.working(one)),
            );
        }
        if held.is_empty() {
            return "Nothing holds the exit any more.".to_owned();
        }
        format!("The exit waits for {}.", list(&held))
    }

    fn oldest(&self) -> String {
        let inflight = &self.inflight;
        let mut said = counted(inflight.busy, "request");
        if let Some(oldest) = inflight.requests.first() {
            let which = if inflight.busy == 1 {
                ""
            } else {
                "the oldest: "
            };
            let _ = write!(said, " ({which}{} {}", oldest.method, oldest.path);
            if let Some(peer) = oldest.peer {
                let _ = write!(said, " from {peer}");
            }
            let _ = write!(said, ", {} old)", seconds(oldest.age));
        }
        said
    }

    fn working(&self, one: &ParticipantStatus) -> String {
        let mut said = format!("participant {}", one.name());
        if let Some(due) = one.due_at() {
            let left = due.saturating_sub(self.now);
            let _ = write!(said, " ({} of its budget left)", seconds(left));
        }
        said
    }

    fn holds_end(&self) -> String {
        let hooks = self.machine.participants.iter();
        let hooks: Vec<_> = hooks
            .filter_map(|one| one.hook_runs().map(|(since, _)| (one.name(), since)))
            .map(|(name, since)| {
                let runs = seconds(self.now.saturating_sub(since));
                format!("the stop hook of {name} (running for {runs})")
            })
            .collect();
        if hooks.is_empty() {
            return "Nothing holds the exit any more.".to_owned();
        }
        format!("The exit waits for {}.", list(&hooks))
    }
}

/// Whether it ends with its connections.
fn is_server(one: &ParticipantStatus) -> bool {
    one.enrolment().listens == machine::Listens::UntilClosed
}

/// One digit behind the point below ten seconds, whole seconds below a minute, minutes and seconds above.
fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{whole}.{} s", time.subsec_millis() / 100),
        10..60 => format!("{whole} s"),
        60.. => format!("{} min {} s", whole / 60, whole % 60),
    }
}

fn counted(count: usize, what: &str) -> String {
    let (head, tail) = what.split_once(' ').unwrap_or((what, ""));
    let plural = if count == 1 { "" } else { "s" };
    let said = format!("{count} {head}{plural} {tail}");
    said.trim_end().to_owned()
}

/// How many are named before the rest is counted.
const LISTED: usize = 3;

/// "a, b and c"; more than three are counted.
fn list<T: AsRef<str>>(items: &[T]) -> String {
    let shown = items.len().min(LISTED);
    let mut words: Vec<String> = items[..shown]
        .iter()
        .map(|item| item.as_ref().to_owned())
        .collect();
    if items.len() > shown {
        words.push(format!("{} more", items.len() - shown));
    }
    match words.pop() {
        None => "none is left".to_owned(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} and {last}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_count_and_list() {
        assert_eq!(counted(1, "request"), "1 request");
        assert_eq!(
            counted(2, "connection without a request"),
            "2 connections without a request"
        );
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
        assert_eq!(list::<&str>(&[]), "none is left");
        assert_eq!(seconds(Duration::from_millis(9_990)), "9.9 s");
        assert_eq!(seconds(Duration::from_millis(59_990)), "59 s");
        assert_eq!(seconds(Duration::from_millis(61_500)), "1 min 1 s");
    }
}
