//! The report as one JSON line, schema `lameduck.shutdown/1`. Times are milliseconds after T, negative before it; a
//! process that ended without a request counts from its start.

use core::time::Duration;

use super::{
    Cause, Grant, Health, HookState, Known, ListenerReport, Outcome, ParticipantReport,
    ParticipantState, Plan, Progress, Report, Sender, SignalNote, SignalRecord, Straggler, SynGate,
    json::Json,
};

impl Report {
    /// The schema's name and version.
    pub const SCHEMA: &'static str = "lameduck.shutdown/1";

    /// The report as one line of JSON, without a newline.
    #[must_use]
    pub fn to_json(&self) -> String {
        let t = self.requested_at.unwrap_or_default();
        Json::object(|json| {
            json.text("schema", Self::SCHEMA);
            if !self.drain_id.is_empty() {
                json.text("drain_id", &self.drain_id);
            }
            json.text("outcome", self.outcome.as_str());
            json.text("said", &self.outcome.to_string());
            exit(json, self.outcome);
            if let Some(cause) = &self.cause {
                json.nested("cause", |json| write_cause(json, cause));
            }
            json.signed_millis("started_ms", Duration::ZERO, t);
            json.signed_millis("ended_ms", self.ended_at, t);
            json.nested("plan", |json| write_plan(json, &self.plan));
            json.list("phases", &self.phases, |json, phase| {
                json.text("phase", phase.phase.as_str());
                json.signed_millis("at_ms", phase.at, t);
                json.millis("took_ms", phase.took);
            });
            json.list("signals", &self.signals, |json, note| {
                write_signal(json, note, t)
            });
            json.list("participants", &self.participants, |json, one| {
                write_participant(json, one, t)
            });
            json.list("listeners", &self.listeners, write_listener);
            json.list("stragglers", &self.stragglers, write_straggler);
            json.list("events", &self.events, |json, event| {
                json.signed_millis("at_ms", event.at, t);
                json.text("what", &event.what);
            });
            if let Some(health) = &self.health {
                json.nested("health", |json| write_health(json, health));
            }
            json.nested("counts", |json| {
                for (name, count) in &self.counts {
                    json.number(name, *count);
                }
            });
            json.nested("dropped", |json| {
                for (name, count) in &self.dropped {
                    json.number(name, *count);
                }
            });
        })
    }

    /// The line of a process that never had a lifecycle: a plan or a configuration that cannot be kept, or a system that
    /// refused what it needs.
    ///
    /// # Examples
    /// ```
    /// use lameduck::{Outcome, Report};
    /// let line = Report::refusal(Outcome::Impossible, "no such preset");
    /// assert!(line.starts_with(r#"{"schema":"lameduck.shutdown/1","outcome":"impossible""#));
    /// ```
    #[must_use]
    pub fn refusal(outcome: Outcome, why: &str) -> String {
        Json::object(|json| {
            json.text("schema", Self::SCHEMA);
            json.text("outcome", outcome.as_str());
            json.text("said", &outcome.to_string());
            exit(json, outcome);
            json.list("events", [why], |json, why| {
                json.millis("at_ms", Duration::ZERO);
                json.text("what", why);
            });
        })
    }
}

/// A plan's fields.
pub(crate) fn write_plan(json: &mut Json, plan: &Plan) {
    json.text("preset", plan.origin().as_str());
    json.millis("grace_ms", plan.grace());
    json.millis("margin_ms", plan.margin());
    json.millis("reserve_ms", plan.reserve());
    json.millis("drain_end_ms", plan.drain_end());
    json.millis("deadline_ms", plan.deadline());
    json.nested("window", |json| {
        json.millis("floor_ms", plan.window().floor);
        json.millis("quiet_ms", plan.window().quiet);
        json.millis("ceiling_ms", plan.window().ceiling);
    });
    json.text("late", plan.late().as_str());
    json.text("repeat", plan.repeat().as_str());
}

/// How the process exits.
pub(crate) fn exit(json: &mut Json, outcome: Outcome) {
    json.nested("exit", |json| {
        json.number("code", outcome.exit_code());
        if let Outcome::Cut(super::CutBy::Signal(signal)) = outcome {
            json.text("signal", signal.as_str());
        }
    });
}

fn write_cause(json: &mut Json, cause: &Cause) {
    json.text("kind", cause.kind());
    match cause {
        Cause::Signal(record) => write_record(json, record),
        Cause::ParticipantFailed { name, why } => {
            json.text("participant", name);
            json.text("why", why);
        }
        Cause::Api { why } | Cause::StartFailed { why } => json.text("why", why),
    }
    json.text("said", &cause.to_string());
}

fn write_record(json: &mut Json, record: &SignalRecord) {
    json.text("signal", record.signal.as_str());
    json.text("code", &record.code.to_string());
    json.nested("sender", |json| {
        if let Sender::Process { pid, uid, comm } = &record.sender {
            json.number("pid", *pid);
            json.number("uid", *uid);
            if let Ok(comm) = comm {
                json.text("comm", comm);
            }
        }
        json.text("said", &record.sender.to_string());
    });
}

/// A signal's fields.
pub(crate) fn write_signal(json: &mut Json, note: &SignalNote, t: Duration) {
    json.signed_millis("at_ms", note.at, t);
    json.text("phase", note.phase.as_str());
    write_record(json, &note.record);
    json.text("verdict", note.verdict.as_str());
}

fn write_participant(json: &mut Json, one: &ParticipantReport, t: Duration) {
    json.text("name", &one.name);
    json.texts("after", &one.after);
    json.text("state", one.state.as_str());
    if let Some(why) = one.state.why() {
        json.text("why", why);
    }
    if let ParticipantState::Overdue { answered } = one.state {
        json.flag("answered", answered);
    }
    if let Some(budget) = one.budget {
        json.millis("budget_ms", budget);
    }
    if !one.grants.is_empty() {
        json.list("grants", &one.grants, |json, grant| {
            write_grant(json, grant, t)
        });
    }
    if let Some(progress) = &one.progress {
        json.nested("progress", |json| write_progress(json, progress));
    }
    write_figures(json, &one.figures);
    if let Some(at) = one.ended_at {
        json.signed_millis("ended_ms", at, t);
    }
    let Some(hook) = &one.hook else { return };
    json.nested("hook", |json| {
        json.text("state", hook.state.as_str());
        if let HookState::Failed { why } = &hook.state {
            json.text("why", why);
        }
        json.millis("took_ms", hook.took);
    });
}

/// What one wish, or an operator, brought.
pub(crate) fn write_grant(json: &mut Json, grant: &Grant, t: Duration) {
    json.signed_millis("at_ms", grant.at, t);
    if let Some(wish) = grant.wish {
        json.number("wish", wish);
    }
    json.millis("asked_ms", grant.asked);
    json.millis("by_ms", grant.by);
    json.text("why", &grant.why);
}

/// How far a participant is.
pub(crate) fn write_progress(json: &mut Json, progress: &Progress) {
    json.number("done", progress.done);
    json.number("total", progress.total);
    if !progress.note.is_empty() {
        json.text("note", &progress.note);
    }
}

/// What a participant counted, where it counted anything.
pub(crate) fn write_figures(json: &mut Json, figures: &[(String, i64)]) {
    if figures.is_empty() {
        return;
    }
    json.nested("figures", |json| {
        for (name, figure) in figures {
            json.number(name, *figure);
        }
    });
}

fn write_listener(json: &mut Json, listener: &ListenerReport) {
    json.text("address", &listener.address);
    json.text("kind", listener.kind.as_str());
    match listener.gate {
        SynGate::Attached => json.text("gate", "attached"),
        SynGate::Off => json.text("gate", "off"),
        SynGate::Refused { errno } => {
            json.text("gate", "refused");
            json.number("errno", errno);
        }
    }
    json.number("swept", listener.swept);
    json.millis("took_ms", listener.took);
}

fn write_health(json: &mut Json, health: &Health) {
    json.millis("uptime_ms", health.uptime);
    let told = [
        ("resident_bytes", health.resident_bytes),
        ("threads", health.threads),
        ("open_files", health.open_files),
        ("tasks", health.tasks),
    ];
    for (name, count) in told {
        if let Some(count) = count {
            json.number(name, count);
        }
    }
    json.number("connections", health.connections);
    json.number("guards", health.guards);
}

fn write_straggler(json: &mut Json, straggler: &Straggler) {
    match &straggler.what {
        Known::Request { method, path } => {
            json.text("kind", "request");
            json.text("method", method);
            json.text("path", path);
        }
        Known::Connection => json.text("kind", "connection"),
        Known::Guards { count } => {
            json.text("kind", "guards");
            json.number("count", *count);
        }
    }
    if let Some(peer) = straggler.peer {
        json.text("peer", &peer.to_string());
    }
    json.millis("age_ms", straggler.age);
    json.text("said", &straggler.to_string());
}
