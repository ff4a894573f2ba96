//! A report as OpenTelemetry has it: a span for the run, a log record for each check, and what was counted as metrics.

use std::fmt::Write as _;
use std::time::SystemTime;

use lameduck::Weight;
use lameduck_otlp::{NotSent, Once, Otlp};
use lameduck_verify::{Report, Verdict, printable};

use crate::exit::Failure;

/// Made before anything is measured, so that a mistyped URL costs no run.
pub(crate) struct Export(Option<Once>);

const VERDICTS: [Verdict; 6] = [
    Verdict::Pass,
    Verdict::Fail,
    Verdict::Differs,
    Verdict::Inconclusive,
    Verdict::NotApplicable,
    Verdict::Waived,
];

impl Export {
    pub(crate) fn to(endpoint: Option<&str>) -> Result<Self, Failure> {
        let Some(endpoint) = endpoint else {
            return Ok(Self(None));
        };
        // Refused only where one is installed already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = Otlp::to(endpoint)
            .and_then(|otlp| otlp.service("lameduck-verify").with_env())
            .and_then(|otlp| otlp.once("lameduck verify", SystemTime::now()));
        made.map(|once| Self(Some(once)))
            .map_err(|error| Failure::new(format_args!("--otlp: {error}")))
    }

    /// What does not arrive is said, and changes no verdict.
    pub(crate) fn send(self, report: &Report) {
        let Some(once) = self.0 else { return };
        let trace = once.trace_id();
        match send(once, report) {
            Ok(()) => eprintln!("exported as trace {trace}"),
            Err(why) => eprintln!("warning: --otlp: {why}"),
        }
    }
}

fn send(mut once: Once, report: &Report) -> Result<(), NotSent> {
    for (key, text) in [
        ("lameduck.target", &*report.target.label),
        ("lameduck.verdict", report.verdict.word()),
        ("lameduck.seed", &report.seed),
        ("lameduck.version", &report.version),
    ] {
        once.attribute(key, &printable(text));
    }
    for finding in &report.checks {
        let weight = match finding.verdict {
            Verdict::Fail => Weight::Error,
            Verdict::Differs | Verdict::Inconclusive => Weight::Warning,
            _ => Weight::Info,
        };
        let verdict = finding.verdict.word();
        // What a target says is nobody's markup, and steers no terminal.
        let seen = printable(&finding.detail);
        let body = format!("{} {verdict}: {seen} (owed: {})", finding.id, finding.owed);
        let facts = [("lameduck.id", &*finding.id), ("lameduck.verdict", verdict)];
        once.record(weight, "lameduck.check", &body, &facts);
    }
    let failed = report.verdict == Verdict::Fail;
    let error = failed.then(|| {
        format!(
            "{} requests lost, {} checks failed",
            report.lost,
            report.count(Verdict::Fail)
        )
    });
    once.send(error, &metrics(report))
}

/// OpenMetrics text.
fn metrics(report: &Report) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, samples: &[(String, u64)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, count) in samples {
            let _ = writeln!(text, "{name}{labels} {count}");
        }
    };
    let plain = |count| [(String::new(), count)];
    gauge(
        "lameduck_verify_lost",
        "Requests that were lost",
        &plain(report.lost),
    );
    gauge(
        "lameduck_verify_requests",
        "Requests that the stop could have harmed",
        &plain(report.requests.sent()),
    );
    let checks = VERDICTS.map(|verdict| {
        let labels = format!("{{verdict=\"{}\"}}", verdict.word());
        (labels, report.count(verdict) as u64)
    });
    gauge("lameduck_verify_checks", "Checks by verdict", &checks);
    text.push_str("# EOF\n");
    text
}
