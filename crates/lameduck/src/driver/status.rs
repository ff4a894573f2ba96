//! What people are told of a lifecycle that is still going: as JSON, and as one sentence about what holds the exit.
//!
//! Owns the schema `lameduck.status/1`: fields are added, and never change their meaning.

use core::time::Duration;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Recent, Shared};
use crate::{
    inflight::{ByProtocol, Protocol, SlotView, Snapshot},
    machine::{self, ParticipantId},
    vocab::{
        Known, News, Observed, Outcome, Phase, Plan, SignalNote, Straggler,
        json::Json,
        report_json::{exit, write_figures, write_grant, write_plan, write_progress, write_signal},
    },
};

/// How many requests a status names.
const NAMES: usize = 32;
/// How many of the last signals, phases, reloads and ends it tells; and how many signals, and how much of what else happened.
const RECENT: usize = 16;

/// What is in flight, by name.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(super) connections: usize,
    pub(super) guards: usize,
    pub(super) idle: usize,
    pub(super) busy: usize,
    pub(super) by_protocol: ByProtocol,
    pub(super) requests: Vec<Request>,
}

/// A request in flight.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) peer: Option<SocketAddr>,
    protocol: Protocol,
    pub(super) age: Duration,
}

impl Request {
    fn new(view: SlotView, now: Duration) -> Self {
        let path = if view.path_is_cut {
            format!("{}…", view.path)
        } else {
            view.path
        };
        Self {
            method: view.method,
            path,
            peer: view.peer,
            protocol: view.protocol,
            age: now.saturating_sub(view.since),
        }
    }

    pub(super) fn into_straggler(self) -> Straggler {
        let what = Known::Request {
            method: self.method,
            path: self.path,
        };
        Straggler::new(what, self.peer, self.age)
    }
}

impl Shared {
    /// What is in flight, by name, as far as `limit` goes.
    pub(super) fn name_inflight(&self, limit: usize) -> Named {
        let now = self.now();
        let inflight = self.inflight();
        let Snapshot {
            requests,
            busy,
            idle,
            by_protocol,
            ..
        } = inflight.slots.snapshot(limit);
        Named {
            connections: inflight.connections.count(),
            guards: inflight.guards.count(),
            idle,
            busy,
            by_protocol,
            requests: requests
                .into_iter()
                .map(|view| Request::new(view, now))
                .collect(),
        }
    }
}

/// What a person is told about a lifecycle that is still going.
#[derive(Clone, Debug)]
pub struct Status {
    drain_id: String,
    pub(super) machine: machine::Status,
    plan: Plan,
    started_on: SystemTime,
    pub(super) now: Duration,
    pub(super) inflight: Named,
    recent: Recent,
    requests: u64,
    counts: Vec<(&'static str, u64)>,
    dropped: Vec<(&'static str, u64)>,
    outcome: Option<Outcome>,
    complaints: Vec<String>,
}

impl Status {
    pub(crate) fn of(shared: &Shared) -> Self {
        let machine = shared.machine();
        let inflight = shared.inflight();
        let dropped = [
            ("commands", shared.commands().dropped()),
            ("slots", inflight.slots.dropped()),
            ("names", inflight.slots.contended()),
        ];
        let dropped = dropped.into_iter().filter(|(_, count)| *count > 0);
        Self {
            drain_id: shared.ledger().drain_id().to_owned(),
            dropped: machine.dropped.iter().copied().chain(dropped).collect(),
            counts: inflight
                .tally
                .named()
                .filter(|(_, count)| *count > 0)
                .collect(),
            machine,
            plan: shared.plan().clone(),
            started_on: shared.started_on(),
            now: shared.now(),
            inflight: shared.name_inflight(NAMES),
            recent: shared.recent(),
            requests: inflight.requests.total(),
            outcome: shared.epilogues().outcome(),
            complaints: shared.complaints(),
        }
    }

    /// The phase.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.machine.phase
    }

    /// Connections that are open and counted.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.inflight.connections
    }

    /// What is wrong with signals at present: handlers that another library replaced, the lifecycle's or a channel's. Looked at
    /// every 10 s in `Running`; normally empty.
    #[must_use]
    pub fn signal_complaints(&self) -> &[String] {
        &self.complaints
    }

    /// What happened lately.
    #[must_use]
    pub const fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The last of what happened and is chosen, oldest first.
    fn last(&self, chosen: impl Fn(&News) -> bool) -> impl Iterator<Item = &Observed> {
        let chosen = move |seen: &&Arc<Observed>| chosen(&seen.news);
        let mut last: Vec<_> = self
            .recent
            .happened
            .iter()
            .rev()
            .filter(chosen)
            .take(RECENT)
            .collect();
        last.reverse();
        last.into_iter().map(|seen| &**seen)
    }

    /// Whether anything but the time and the counts differs: what a page would draw anew.
    #[must_use]
    pub fn is_news_after(&self, before: &Self) -> bool {
        let names = |status: &Self| -> Vec<(String, String, Option<SocketAddr>)> {
            let requests = status.inflight.requests.iter();
            requests
                .map(|one| (one.method.clone(), one.path.clone(), one.peer))
                .collect()
        };
        let numbers = |status: &Self| {
            let Named {
                connections,
                guards,
                idle,
                busy,
                by_protocol,
                ..
            } = status.inflight;
            (connections, guards, idle, busy, by_protocol)
        };
        let number = |status: &Self| status.recent.happened.last().map(|seen| seen.number);
        self.machine != before.machine
            || number(self) != number(before)
            || self.outcome != before.outcome
            || self.complaints != before.complaints
            || numbers(self) != numbers(before)
            || names(self) != names(before)
    }

    /// In how much time the process is gone at the latest, where a request waits for its turn to leave; `None` where none does.
    #[must_use]
    pub fn turn_ends_in(&self) -> Option<Duration> {
        let waits = self.machine.waits.as_ref().filter(|it| it.for_turn)?;
        Some(waits.deadline?.saturating_sub(self.now))
    }

    /// The status as a JSON object, schema `lameduck.status/1`. Durations are milliseconds; `…_in_ms` counts from now; `at_ms` and `…_at_ms`
    /// from the start of the process.
    #[must_use]
    pub fn to_json(&self) -> String {
        let machine = &self.machine;
        Json::object(|json| {
            json.text("schema", "lameduck.status/1");
            json.text("drain_id", &self.drain_id);
            json.text("version", env!("CARGO_PKG_VERSION"));
            json.number("pid", std::process::id());
            let started_on = self.started_on.duration_since(UNIX_EPOCH);
            json.millis("started_unix_ms", started_on.unwrap_or_default());
            json.text("phase", machine.phase.as_str());
            if let Some(outcome) = self.outcome {
                json.text("outcome", outcome.as_str());
                json.text("outcome_said", &outcome.to_string());
                exit(json, outcome);
            }
            json.millis("since_ms", self.now.saturating_sub(machine.since));
            json.millis("uptime_ms", self.now);
            if let Some(cause) = &machine.cause {
                json.text("cause", &cause.to_string());
            }
            if let Some(waits) = &machine.waits {
                json.nested("waits", |json| {
                    json.text("for", if waits.for_turn { "turn" } else { "time" });
                    json.text("why", &waits.why);
                    json.millis("since_ms", waits.since);
                    json.signed_millis("until_in_ms", waits.until, self.now);
                    if let Some(deadline) = waits.deadline {
                        json.signed_millis("deadline_in_ms", deadline, self.now);
                    }
                });
            }
            if let Some(at) = machine.requested_at {
                json.millis("requested_at_ms", at);
            }
            for (key, at) in [
                ("window_ends_in_ms", machine.window_until),
                ("drain_ends_in_ms", machine.drain_end),
                ("deadline_in_ms", machine.deadline),
            ] {
                if let Some(at) = at {
                    json.signed_millis(key, at, self.now);
                }
            }
            if let Some(sentence) = self.holds() {
                json.text("holds", &sentence);
            }
            self.write_inflight(json);
            json.texts("signal_complaints", &self.complaints);
            json.texts("participants_open", machine.open());
            json.texts(
                "blockers",
                self.inflight
                    .requests
                    .iter()
                    .map(|one| one.clone().into_straggler().to_string()),
            );
            json.nested("plan", |json| {
                write_plan(json, &self.plan);
                json.text("said", &self.plan.to_string());
            });
            self.write_phases(json);
            self.write_participants(json);
            self.write_recent(json);
            write_counts(json, "counts", &self.counts);
            write_counts(json, "dropped", &self.dropped);
        })
    }

    fn write_inflight(&self, json: &mut Json) {
        let inflight = &self.inflight;
        json.nested("in_flight", |json| {
            json.number("connections", inflight.connections as u64);
            json.number("busy", inflight.busy as u64);
            json.number("idle", inflight.idle as u64);
            json.number("guards", inflight.guards as u64);
            json.number("requests_total", self.requests);
            json.nested("protocols", |json| {
                for (protocol, count) in inflight.by_protocol.some() {
                    json.number(protocol.as_str(), count as u64);
                }
            });
            json.list("requests", &inflight.requests, |json, one| {
                json.text("method", &one.method);
                json.text("path", &one.path);
                if let Some(peer) = one.peer {
                    json.text("peer", &peer.to_string());
                }
                json.text("protocol", one.protocol.as_str());
                json.millis("age_ms", one.age);
            });
            json.number(
                "unnamed",
                inflight.busy.saturating_sub(inflight.requests.len()) as u64,
            );
        });
    }

    fn write_recent(&self, json: &mut Json) {
        json.list("recent", self.last(News::is_of_the_whole), |json, seen| {
            json.millis("at_ms", seen.at);
            json.text("what", seen.news.as_str());
            json.text("said", &seen.news.to_string());
        });
        let signals = self.last(|news| matches!(news, News::Signal { .. }));
        let signals = signals.filter_map(|seen| match &seen.news {
            News::Signal {
                phase,
                record,
                verdict,
            } => Some(SignalNote::new(seen.at, *phase, record.clone(), *verdict)),
            _ => None,
        });
        json.list("signals", signals, |json, note| {
            write_signal(json, &note, Duration::ZERO);
        });
        // Signals and phases have lists of their own.
        let notes =
            self.last(|news| !matches!(news, News::Signal { .. } | News::PhaseChanged { .. }));
        json.list("notes", notes, |json, seen| {
            json.millis("at_ms", seen.at);
            match &seen.news {
                News::Noted { what } => json.text("what", what),
                news => json.text("what", &news.to_string()),
            }
        });
    }

    fn write_phases(&self, json: &mut Json) {
        json.list("phases", &self.machine.phases, |json, one| {
            json.text("phase", one.phase.as_str());
            json.millis("at_ms", one.at);
            // The present one still lasts; a phase that was published a moment ago is not in the list yet.
            let is_present = one.phase == self.machine.phase;
            let took = if is_present {
                self.now.saturating_sub(one.at)
            } else {
                one.took
            };
            json.millis("took_ms", took);
        });
    }

    fn write_participants(&self, json: &mut Json) {
        let all = &self.machine.participants;
        let name_of = |id: &ParticipantId| {
            let found = all.iter().find(|one| one.enrolment().id == *id);
            found.map_or_else(|| id.to_string(), |one| one.name().to_owned())
        };
        json.list("participants", all, |json, one| {
            json.text("name", one.name());
            json.texts("after", one.enrolment().after.iter().map(name_of));
            json.text("state", one.state());
            if let Some(why) = one.why() {
                json.text("why", why);
            }
            json.flag("listens", one.admits());
            if let Some(budget) = one.enrolment().budget {
                json.millis("budget_ms", budget);
            }
            if !one.grants().is_empty() {
                json.list("grants", one.grants(), |json, grant| {
                    write_grant(json, grant, Duration::ZERO);
                });
            }
            if let Some(progress) = one.progress() {
                json.nested("progress", |json| write_progress(json, progress));
            }
            write_figures(json, one.figures());
            if let Some(from) = one.closed_at() {
                let until = one.ended_at().unwrap_or(self.now);
                json.millis("used_ms", until.saturating_sub(from));
            }
            if let (Some(due), None) = (one.due_at(), one.ended_at()) {
                json.signed_millis("due_in_ms", due, self.now);
            }
            if let Some(at) = one.ended_at() {
                json.millis("ended_at_ms", at);
            }
            if let Some(hook) = one.hook() {
                json.text("hook", hook);
            }
            if let Some((since, until)) = one.hook_runs() {
                json.millis("hook_used_ms", self.now.saturating_sub(since));
                json.millis("hook_budget_ms", until.saturating_sub(since));
            }
        });
    }
}

fn write_counts(json: &mut Json, key: &str, counts: &[(&'static str, u64)]) {
    json.nested(key, |json| {
        for (name, count) in counts {
            json.number(name, *count);
        }
    });
}
