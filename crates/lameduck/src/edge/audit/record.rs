//! One record, `lameduck.audit/1`: what happened as a line of JSON, and as fields of the journal.

use std::time::{Duration, SystemTime};

use super::{facts::Facts, home::Home, time::rfc3339};
use crate::vocab::{
    CutBy, HookState, Hooked, InflightCounts, News, Observed, Outcome, ParticipantState, Phase,
    Sender, SenderUnknown, Signal, SignalRecord, SignalVerdict, Straggler, Weight, json::Json,
    report_json::write_figures,
};

/// The schema's name and version.
pub(super) const SCHEMA: &str = "lameduck.audit/1";

/// How many stragglers one record names.
const MOST_STRAGGLERS: usize = 64;

/// Whose records these are.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) started: SystemTime,
    pub(super) drain_id: String,
    pub(super) plan: String,
    /// Its own facts: they tell one service from another in a common file.
    pub(super) facts: Facts,
}

/// A record that is to be written.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The JSON object without its closing brace: how many records were lost before it is known when it is written.
    pub(super) open_json: String,
    /// What it says, in a sentence.
    pub(super) said: String,
    /// Whether a person should look: what was cut, failed or given up.
    pub(super) is_warning: bool,
    /// Fields that journalctl can match.
    pub(super) fields: Fields,
}

impl Record {
    /// The process begins to be audited.
    pub(super) fn start(process: &Process) -> Self {
        let said = format!("{} started, plan {}", process.name, process.plan);
        Self::of(
            process,
            "start",
            process.started,
            Duration::ZERO,
            said,
            |json, _| {
                json.text("version", env!("CARGO_PKG_VERSION"));
                json.text("name", &process.name);
                json.text("plan", &process.plan);
                write_facts(json, &process.facts);
            },
        )
    }

    /// What happened, if it is a matter for the audit. `facts` are those of a signal's sender.
    pub(super) fn observed(process: &Process, seen: &Observed, facts: &Facts) -> Option<Self> {
        let (kind, is_warning) = kind(&seen.news)?;
        let said = said(&seen.news, facts);
        let mut record = Self::of(process, kind, seen.time, seen.at, said, |json, fields| {
            write_news(json, fields, seen, facts);
            write_inflight(json, seen.inflight);
        });
        record.is_warning = is_warning;
        Some(record)
    }

    fn of(
        process: &Process,
        kind: &'static str,
        time: SystemTime,
        at: Duration,
        said: String,
        more: impl FnOnce(&mut Json, &mut Fields),
    ) -> Self {
        let mut fields = vec![
            ("SYSLOG_IDENTIFIER", process.name.clone()),
            ("LAMEDUCK_KIND", kind.to_owned()),
            ("LAMEDUCK_DRAIN_ID", process.drain_id.clone()),
        ];
        let mut open_json = Json::object(|json| {
            json.text("schema", SCHEMA);
            json.text("kind", kind);
            json.text("time", &rfc3339(time));
            json.number("pid", process.pid);
            json.text("started", &rfc3339(process.started));
            json.text("drain_id", &process.drain_id);
            json.millis("at_ms", at);
            json.text("said", &said);
            more(json, &mut fields);
        });
        open_json.pop();
        Self {
            open_json,
            said,
            is_warning: false,
            fields,
        }
    }

    /// The whole object, without a line's end.
    pub(super) fn json(&self, dropped: u64) -> String {
        if dropped > 0 {
            format!("{},\"dropped\":{dropped}}}", self.open_json)
        } else {
            format!("{}}}", self.open_json)
        }
    }
}

/// The kind of record, and whether it is a warning; `None` for what is no matter for the audit.
fn kind(news: &News) -> Option<(&'static str, bool)> {
    Some(match news {
        News::Signal { verdict, .. } => ("signal", matches!(verdict, SignalVerdict::Cut)),
        News::PhaseChanged { .. } => ("phase", false),
        News::Reloaded { result, .. } => ("reload", result.is_err()),
        News::Stragglers { .. } => ("stragglers", true),
        News::Ended {
            state:
                ParticipantState::Failed { .. }
                | ParticipantState::Refused { .. }
                | ParticipantState::Overdue { .. },
            ..
        }
        | News::Away { .. } => ("participant", true),
        News::Returned { .. } => ("participant", false),
        News::Granted { grant, .. } => ("grant", grant.by < grant.asked),
        News::HookEnded {
            hooked:
                Hooked {
                    state: HookState::Failed { .. } | HookState::Overran,
                    ..
                },
            ..
        } => ("hook", true),
        News::Switched(switch) => ("switch", !matches!(switch.weight, Weight::Info)),
        News::DiesByQuit => ("exit", true),
        News::Exit { outcome } => ("exit", !matches!(outcome, Outcome::Drained)),
        _ => return None,
    })
}

fn said(news: &News, facts: &Facts) -> String {
    match news {
        News::Signal {
            record, verdict, ..
        } => {
            let home = facts.home.as_ref().and_then(Home::said);
            let home = home.map_or_else(String::new, |home| format!(", of {home}"));
            let verdict = verdict.as_str();
            format!("{} from {}{home}: {verdict}", record.signal, record.sender)
        }
        // On the way out it was said with the first of them.
        News::PhaseChanged {
            to: Phase::Terminating,
            cause: Some(cause),
            ..
        } => format!("{news}: {cause}"),
        _ => news.to_string(),
    }
}

type Fields = Vec<(&'static str, String)>;

fn write_news(json: &mut Json, fields: &mut Fields, seen: &Observed, facts: &Facts) {
    match &seen.news {
        News::Signal { .. } => write_signal(json, fields, &seen.news, facts),
        News::PhaseChanged { .. } => write_phase(json, fields, seen),
        News::Reloaded { name, result } => {
            json.text("name", name);
            json.flag("accepted", result.is_ok());
            if let Err(why) = result {
                json.text("why", why);
            }
        }
        News::Stragglers { named, unnamed } => write_stragglers(json, named, *unnamed),
        News::Ended { .. } | News::Away { .. } | News::Returned { .. } | News::Granted { .. } => {
            write_participant(json, &seen.news);
        }
        News::HookEnded { name, hooked } => {
            json.text("name", name);
            json.text("state", hooked.state.as_str());
            if let HookState::Failed { why } = &hooked.state {
                json.text("why", why);
            }
            json.millis("took_ms", hooked.took);
        }
        News::Switched(switch) => {
            for (key, value) in [
                ("what", switch.what),
                ("name", &switch.name),
                ("from", switch.from),
                ("state", switch.to),
                ("why", &switch.why),
            ] {
                json.text(key, value);
            }
        }
        News::DiesByQuit => write_exit(json, fields, "quit", None, Some(Signal::Quit)),
        News::Exit { outcome } => {
            let signal = match outcome {
                Outcome::Cut(CutBy::Signal(signal)) => Some(*signal),
                _ => None,
            };
            let code = signal.is_none().then(|| outcome.exit_code());
            write_exit(json, fields, outcome.as_str(), code, signal);
        }
        _ => {}
    }
}

/// What became of a participant, or what it got.
fn write_participant(json: &mut Json, news: &News) {
    match news {
        News::Ended {
            name,
            state,
            budget,
            took,
            figures,
        } => {
            json.text("name", name);
            json.text("state", state.as_str());
            if let Some(why) = state.why() {
                json.text("why", why);
            }
            if let ParticipantState::Overdue { answered } = state {
                json.flag("answered", *answered);
            }
            write_figures(json, figures);
            for (key, time) in [("budget_ms", budget), ("took_ms", took)] {
                if let Some(time) = time {
                    json.millis(key, *time);
                }
            }
        }
        News::Away { name, why } => {
            json.text("name", name);
            json.text("state", "away");
            json.text("why", why);
        }
        News::Returned { name } => {
            json.text("name", name);
            json.text("state", "returned");
        }
        News::Granted { name, grant } => {
            json.text("name", name);
            if let Some(wish) = grant.wish {
                json.number("wish", wish);
            }
            json.millis("asked_ms", grant.asked);
            json.millis("by_ms", grant.by);
            json.text("why", &grant.why);
        }
        _ => {}
    }
}

fn write_signal(json: &mut Json, fields: &mut Fields, news: &News, facts: &Facts) {
    let News::Signal {
        phase,
        record,
        verdict,
    } = news
    else {
        return;
    };
    let after = match verdict {
        SignalVerdict::Started => Phase::Terminating,
        _ => *phase,
    };
    json.text("phase", phase.as_str());
    json.text("phase_after", after.as_str());
    json.text("signal", record.signal.as_str());
    json.text("code", &record.code.to_string());
    json.text("verdict", verdict.as_str());
    json.nested("sender", |json| write_sender(json, record, facts));
    fields.push(("LAMEDUCK_SIGNAL", record.signal.as_str().to_owned()));
    fields.push(("LAMEDUCK_VERDICT", verdict.as_str().to_owned()));
    fields.push(("LAMEDUCK_PHASE", phase.as_str().to_owned()));
    sender_fields(fields, record, facts);
}

fn write_phase(json: &mut Json, fields: &mut Fields, seen: &Observed) {
    let News::PhaseChanged {
        from,
        to,
        took,
        cause,
        deadline,
    } = &seen.news
    else {
        return;
    };
    json.text("from", from.as_str());
    json.text("phase", to.as_str());
    json.millis("took_ms", *took);
    if let Some(cause) = cause {
        json.text("cause", &cause.to_string());
        json.text("cause_kind", cause.kind());
    }
    if let Some(deadline) = deadline {
        json.signed_millis("deadline_in_ms", *deadline, seen.at);
    }
    fields.push(("LAMEDUCK_PHASE", to.as_str().to_owned()));
}

fn write_exit(
    json: &mut Json,
    fields: &mut Fields,
    outcome: &str,
    code: Option<u8>,
    signal: Option<Signal>,
) {
    json.text("outcome", outcome);
    json.nested("exit", |json| {
        if let Some(code) = code {
            json.number("code", code);
        }
        if let Some(signal) = signal {
            json.text("signal", signal.as_str());
        }
    });
    fields.push(("LAMEDUCK_OUTCOME", outcome.to_owned()));
}

fn write_sender(json: &mut Json, record: &SignalRecord, facts: &Facts) {
    if let Sender::Process { pid, uid, comm } = &record.sender {
        json.number("pid", *pid);
        json.number("uid", *uid);
        if let Ok(comm) = comm {
            json.text("comm", comm);
        }
    }
    write_facts(json, facts);
    if let Some(why) = why_unknown(&record.sender).or(facts.unknown.as_deref()) {
        json.text("unknown", why);
    }
    json.text("said", &record.sender.to_string());
}

/// Why nothing more is known of a sender, as a sentence without a full stop.
pub(super) const fn why_unknown(sender: &Sender) -> Option<&'static str> {
    Some(match sender {
        Sender::Process { comm: Ok(_), .. } | Sender::Itself => return None,
        Sender::Process { comm: Err(why), .. } => match why {
            SenderUnknown::Exited => {
                "the sender had exited before it was looked up, as a `kill` that a script starts does"
            }
            SenderUnknown::PidReused => {
                "pid reused: the process with that number started after the signal"
            }
            SenderUnknown::Unreadable => {
                "/proc does not tell of it: hidepid, no /proc, or not Linux"
            }
        },
        Sender::Kernel => "sent by the kernel: a key at the terminal, a hang-up, a limit",
        Sender::OutsideNamespace => {
            "si_pid is 0: it came from outside this pid namespace, from the container runtime or a process of the node"
        }
        Sender::Unknown => "its si_code names no sender, or its record was lost to a full pipe",
    })
}

fn write_facts(json: &mut Json, facts: &Facts) {
    if let Some(exe) = &facts.exe {
        json.text("exe", exe);
    }
    if let Some(home) = &facts.home {
        json.text("cgroup", &home.cgroup);
        for (key, value) in [
            ("unit", home.unit.as_deref()),
            ("container", home.container.as_deref()),
            ("runtime", home.runtime),
            ("pod", home.pod.as_deref()),
        ] {
            if let Some(value) = value {
                json.text(key, value);
            }
        }
    }
    if let Some(argv) = &facts.argv {
        json.texts("argv", argv);
    }
}

fn sender_fields(fields: &mut Fields, record: &SignalRecord, facts: &Facts) {
    if let Sender::Process { pid, uid, comm } = &record.sender {
        fields.push(("LAMEDUCK_SENDER_PID", pid.to_string()));
        fields.push(("LAMEDUCK_SENDER_UID", uid.to_string()));
        if let Ok(comm) = comm {
            fields.push(("LAMEDUCK_SENDER_COMM", comm.clone()));
        }
    }
    if let Some(exe) = &facts.exe {
        fields.push(("LAMEDUCK_SENDER_EXE", exe.clone()));
    }
    if let Some(home) = &facts.home {
        for (key, value) in [
            ("LAMEDUCK_SENDER_UNIT", &home.unit),
            ("LAMEDUCK_SENDER_CONTAINER", &home.container),
            ("LAMEDUCK_SENDER_POD", &home.pod),
        ] {
            if let Some(value) = value {
                fields.push((key, value.clone()));
            }
        }
    }
}

fn write_stragglers(json: &mut Json, named: &[Straggler], unnamed: u64) {
    json.number("count", named.len() as u64 + unnamed);
    json.texts(
        "named",
        named.iter().take(MOST_STRAGGLERS).map(ToString::to_string),
    );
}

fn write_inflight(json: &mut Json, counts: InflightCounts) {
    json.nested("in_flight", |json| {
        json.number("connections", counts.connections);
        json.number("busy", counts.busy);
        json.number("idle", counts.idle);
        json.number("guards", counts.guards);
        json.number("requests", counts.requests);
    });
}
