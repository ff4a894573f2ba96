//! The tester is held up at the signal, in every launch, as a busy machine may hold it up: it is stopped for a while by a
//! process beside the target. Then it may leave open what it can not tell, but a server that keeps its promises never
//! fails, and one that breaks them never passes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[expect(dead_code, reason = "the other tests of checks use the rest")]
mod duck;

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use duck::{alone, options};
use lameduck_verify::{Figure, Finding, Report, Verdict, Verification};

/// Long enough to miss all offsets of a sweep and a window of 100 ms, short enough for the duck's patience.
const STARVED_MS: u64 = 400;
/// Set for the copy of this test that is the tester: which promise is broken, and which ids are asked.
const TESTER: &str = "STARVED_TESTER";
/// Testers at a time: they mostly wait.
const AT_ONCE: usize = 5;

/// Broken promises, each with the id that has to see it or to leave it open.
const BROKEN: [(&str, &str); 18] = [
    ("P1", "P1"),
    ("P2", "P2"),
    ("P4", "P4"),
    ("P9", "P9"),
    ("A1", "A1"),
    ("A3", "A3"),
    ("A5", "A5"),
    ("H1-02", "H1-02"),
    ("H1-05", "H1-05"),
    ("H1-10", "H1-10"),
    ("WS-01", "WS-01"),
    ("H2-01", "H2-01"),
    ("H2-03", "H2-03"),
    ("TLS-1", "TLS-1"),
    ("N-1", "N-1"),
    ("N-5", "N-5"),
    ("N-10", "N-10"),
    ("L-H1", "L-H1"),
];

/// What the whole duck is asked; those of one line share their drains.
const WHOLE: [&str; 7] = [
    "P1,P2,P4,P9",
    "A1,H1-01,H1-02,H1-03,H1-04,H1-05,H1-06",
    "A3,A5,H1-10",
    "WS-01,WS-02,WS-06,H1-07,H1-08,H1-09,H1-11,H1-13,H1-14",
    "H2-01,H2-02,H2-03,H2-04,H2-08,H2-10,TLS-1,TLS-2,TLS-3,TLS-4",
    "N-1,N-2,N-3,N-4,N-5,N-8,N-9,N-10",
    "L-H1,L-H2",
];

/// Not a test by itself: what `starve` runs in a process of its own, which is then stopped.
#[test]
fn tester() {
    let Ok(asked) = std::env::var(TESTER) else {
        return;
    };
    let (broken, ids) = asked.split_once(':').unwrap();
    let ids: Vec<&str> = ids.split(',').collect();
    let mut options = options(broken, &ids);
    let starving = ["--starve".to_owned(), STARVED_MS.to_string()];
    options.target.argv.extend(starving);
    options.rounds = 2;
    let report = Verification::from(options).run().unwrap();
    println!("\nREPORT {}", report.to_json().replace('\n', " "));
}

/// The findings of testers that are starved: one tester for each of `asked`, which says what is broken and which ids.
fn starve(asked: &[(&str, &str)]) -> Vec<Vec<Finding>> {
    let _alone = alone();
    let mut found = Vec::new();
    for some in asked.chunks(AT_ONCE) {
        let testers: Vec<_> = some
            .iter()
            .map(|(broken, ids)| {
                let mut tester = Command::new(std::env::current_exe().unwrap());
                tester.args(["--exact", "tester", "--nocapture"]);
                tester.env(TESTER, format!("{broken}:{ids}"));
                tester.stdout(Stdio::piped()).stderr(Stdio::piped());
                tester.spawn().unwrap()
            })
            .collect();
        let over = AtomicBool::new(false);
        let ids: Vec<u32> = testers.iter().map(Child::id).collect();
        let outputs: Vec<Output> = thread::scope(|scope| {
            scope.spawn(|| wake(&ids, &over));
            // All are waited for before any is judged: none is left behind by a failure.
            let ended = testers.into_iter().map(Child::wait_with_output);
            let outputs = ended.collect::<Vec<_>>();
            over.store(true, Ordering::Relaxed);
            outputs.into_iter().map(Result::unwrap).collect()
        });
        found.extend(outputs.iter().map(findings));
    }
    found
}

/// Lets testers go on that were stopped for far too long: whoever stopped one may have ended with its target, and not have woken it.
fn wake(testers: &[u32], over: &AtomicBool) {
    let mut stopped = vec![0; testers.len()];
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(500));
        for (id, looks) in testers.iter().zip(&mut stopped) {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // proc(5): the state stands behind the name, which ends with the last parenthesis.
            let is_stopped = stat
                .rsplit_once(')')
                .is_some_and(|(_, rest)| rest.starts_with(" T"));
            *looks = if is_stopped { *looks + 1 } else { 0 };
            if *looks > 4 {
                // SAFETY: takes numbers only; the tester is our child, which nobody has reaped while it is stopped.
                unsafe { libc::kill(id.cast_signed(), libc::SIGCONT) };
            }
        }
    }
}

fn findings(output: &Output) -> Vec<Finding> {
    let text = String::from_utf8_lossy(&output.stdout);
    let report = text.lines().find_map(|line| line.strip_prefix("REPORT "));
    let report = report.unwrap_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        panic!("the tester gave no report: {text}\n{complaint}")
    });
    let report = Report::from_json(report).unwrap();
    assert!(!report.checks.is_empty());
    report.checks
}

/// It was starved indeed, and says so.
fn was_held_up(finding: &Finding) -> bool {
    let figure = |name: &str| finding.figures.get(name);
    let rounds = matches!(figure("rounds_held_up"), Some(Figure::Count(1..)));
    #[expect(clippy::cast_precision_loss, reason = "some hundred milliseconds")]
    let long = STARVED_MS as f64 * 0.8;
    rounds || matches!(figure("held_up_ms"), Some(Figure::Measure(ms)) if *ms >= long)
}

fn in_words(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| {
        let verdict = finding.verdict.word();
        format!(
            "{} {verdict}: {} {:?}\n",
            finding.id, finding.detail, finding.figures
        )
    });
    lines.collect()
}

#[test]
fn a_starved_tester_never_fails_a_server_that_keeps_its_promises() {
    let asked = WHOLE.map(|ids| ("", ids));
    let found = starve(&asked).concat();
    let told = in_words(&found);
    println!("{told}");
    let wrong =
        |finding: &&Finding| !matches!(finding.verdict, Verdict::Pass | Verdict::Inconclusive);
    assert_eq!(
        found.iter().find(wrong).map(|finding| &finding.id),
        None,
        "{told}"
    );
    assert!(found.iter().any(was_held_up), "{told}");
    // What is to be in the socket's buffer at the signal goes out before it: no stop of ours can put half of it behind. A few
    // may be late for another reason: held up between the look and the write.
    let buffered = found.iter().find(|finding| finding.id == "H1-05");
    let late = buffered.map(|finding| &finding.figures["written_late"]);
    assert!(matches!(late, Some(Figure::Count(..8))), "{told}");
}

#[test]
fn a_starved_tester_never_passes_a_server_that_breaks_a_promise() {
    let found = starve(&BROKEN).concat();
    let told = in_words(&found);
    println!("{told}");
    assert_eq!(found.len(), BROKEN.len());
    let wrong =
        |finding: &&Finding| matches!(finding.verdict, Verdict::Pass | Verdict::NotApplicable);
    assert_eq!(
        found.iter().find(wrong).map(|finding| &finding.id),
        None,
        "{told}"
    );
    let untouched = found.iter().find(|finding| !was_held_up(finding));
    assert_eq!(untouched.map(|finding| &finding.id), None, "{told}");
}
