//! The audit from the other side: records of `lameduck.audit/1`.

use serde::{Deserialize, Serialize};

/// The schema's name and version.
const SCHEMA: &str = "lameduck.audit/1";

/// A text that holds an audit, read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Audit {
    /// Its records, in the order of their lines.
    pub records: Vec<AuditRecord>,
    /// Lines that begin like a record and cannot be read: a process that was killed, or a disk that was full, in the
    /// middle of a line.
    pub broken: u64,
    /// Whether the last line is one of them.
    pub ends_broken: bool,
}

impl Audit {
    /// Reads every record in a text; lines of others are passed over.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut audit = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            // A service's stderr may hold its report and anything else.
            let Some(at) = line.find(r#"{"schema":"lameduck.audit/"#) else {
                audit.ends_broken = line.starts_with('{') && !line.ends_with('}');
                audit.broken += u64::from(audit.ends_broken);
                continue;
            };
            match serde_json::from_str::<AuditRecord>(&line[at..]) {
                Ok(record) if record.schema == SCHEMA => {
                    audit.records.push(record);
                    audit.ends_broken = false;
                }
                Ok(_) => {}
                Err(_) => {
                    audit.broken += 1;
                    audit.ends_broken = true;
                }
            }
        }
        audit
    }
}

macro_rules! mirror {
    ($(#[doc = $doc:literal] $name:ident { $(#[doc = $field_doc:literal] $field:ident: $type:ty,)+ })+) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            #[serde(default)]
            #[non_exhaustive]
            pub struct $name {
                $(#[doc = $field_doc] pub $field: $type,)+
            }
        )+
    };
}

mirror! {
    /// One record. Which fields there are depends on its kind.
    AuditRecord {
        /// `lameduck.audit/1`.
        schema: String,
        /// `start`, `signal`, `phase`, `reload`, `stragglers`, `participant`, `grant`, `hook`, `switch` or `exit`.
        kind: String,
        /// When, by the system's clock: RFC 3339 in UTC.
        time: String,
        /// The process.
        pid: u32,
        /// When its lifecycle began, by the system's clock; with the pid it tells one life from another.
        started: String,
        /// The lifecycle's name in its report, metrics, traces and logs.
        drain_id: Option<String>,
        /// When, since the lifecycle began, in milliseconds.
        at_ms: f64,
        /// What happened, for people.
        said: String,
        /// The phase in which a signal came, or that was entered.
        phase: Option<String>,
        /// The phase that a signal led to.
        phase_after: Option<String>,
        /// The phase before, or how a switch stood.
        from: Option<String>,
        /// The signal's name.
        signal: Option<String>,
        /// Its `si_code`.
        code: Option<String>,
        /// What was made of it.
        verdict: Option<String>,
        /// Who sent it.
        sender: Option<AuditSender>,
        /// How long the phase before, the participant or the hook took, in milliseconds.
        took_ms: Option<f64>,
        /// Why the process leaves.
        cause: Option<String>,
        /// `signal`, `api`, `participant-failed` or `start-failed`.
        cause_kind: Option<String>,
        /// How long until the process is gone, in milliseconds.
        deadline_in_ms: Option<f64>,
        /// What was switched: `breaker`.
        what: Option<String>,
        /// The name of a reload subscriber, a participant, a switch, or, in `start`, of the process.
        name: Option<String>,
        /// Whether a reload was accepted.
        accepted: Option<bool>,
        /// Why a reload was refused, a participant or a hook failed, or something was switched.
        why: Option<String>,
        /// How far a participant or a hook came, or how a switch stands.
        state: Option<String>,
        /// Whether a participant that was given up had answered.
        answered: Option<bool>,
        /// The budget of a participant, in milliseconds.
        budget_ms: Option<f64>,
        /// The number of a wish for more time.
        wish: Option<u32>,
        /// How much more was asked for, in milliseconds.
        asked_ms: Option<f64>,
        /// How much more was granted, in milliseconds.
        by_ms: Option<f64>,
        /// What a participant counted, by name.
        figures: std::collections::BTreeMap<String, i64>,
        /// How many stragglers were ended.
        count: Option<u64>,
        /// The first 64 of them.
        named: Vec<String>,
        /// How it ended.
        outcome: Option<String>,
        /// How the process exited.
        exit: Option<AuditExit>,
        /// What was in flight.
        in_flight: Option<AuditInflight>,
        /// How many records before this one were lost.
        dropped: u64,
        /// The version of lameduck.
        version: Option<String>,
        /// The plan.
        plan: Option<String>,
        /// The executable of the process, in `start`.
        exe: Option<String>,
        /// Its systemd unit.
        unit: Option<String>,
        /// Its container.
        container: Option<String>,
        /// Its pod.
        pod: Option<String>,
    }
    /// Who sent a signal.
    AuditSender {
        /// The sender's process id.
        pid: Option<u32>,
        /// The sender's user id.
        uid: Option<u32>,
        /// Its command name.
        comm: Option<String>,
        /// Its executable.
        exe: Option<String>,
        /// The path of its cgroup.
        cgroup: Option<String>,
        /// Its systemd unit.
        unit: Option<String>,
        /// Its container.
        container: Option<String>,
        /// Whose container it is.
        runtime: Option<String>,
        /// Its pod.
        pod: Option<String>,
        /// Its arguments, secrets masked, if they were asked for.
        argv: Option<Vec<String>>,
        /// What is not known of it, and why.
        unknown: Option<String>,
        /// The sender for people.
        said: String,
    }
    /// How a process exited.
    AuditExit {
        /// The exit code, unless it died by a signal.
        code: Option<i32>,
        /// The signal that it died by, if it did.
        signal: Option<String>,
    }
    /// What was in flight.
    AuditInflight {
        /// Open connections.
        connections: u64,
        /// Those in a request.
        busy: u64,
        /// Those between two.
        idle: u64,
        /// Guards.
        guards: u64,
        /// Counted requests since the start.
        requests: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_among_other_lines_and_broken_ones_are_counted() {
        let one =
            r#"{"schema":"lameduck.audit/1","kind":"signal","pid":7,"a_field_of_the_future":1}"#;
        let text = format!("noise\n{one}\n{{\"schema\":\"lameduck.audit/1\",\"ki\n\n{one}\n");
        let audit = Audit::read(&text);
        assert_eq!((audit.records.len(), audit.broken), (2, 1));
        assert!(!audit.ends_broken);
        assert_eq!(audit.records[0].pid, 7);
        let cut = Audit::read(&text[..text.len() - 9]);
        assert_eq!(
            (cut.records.len(), cut.broken, cut.ends_broken),
            (1, 2, true)
        );
        let torn = Audit::read("{\"sch");
        assert_eq!((torn.broken, torn.ends_broken), (1, true));
        let future = Audit::read(r#"{"schema":"lameduck.audit/2"}"#);
        assert_eq!((future.records.len(), future.broken), (0, 0));
    }
}
