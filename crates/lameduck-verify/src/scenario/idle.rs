//! P1: told to stop with nothing to do. Shares its launch with trying the target out.

use std::time::{Duration, Instant};

use super::attention::Watch;
use super::bench::Bench;
use crate::options::StopSignal;
use crate::target::{Exit, Running};
use crate::verdict::{Finding, Verdict};

/// How the idle target left; later scenarios compare with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleExit {
    pub(crate) exit: Option<Exit>,
    pub(crate) took: Option<Duration>,
    /// While it was waited for.
    pub(crate) watch: Watch,
}

/// Sends the signal to an idle target and waits for its exit.
pub(crate) fn stop_idle(bench: &Bench<'_>, running: &Running) -> IdleExit {
    let t = running.stop(&bench.options.stop);
    let deadline = t + bench.options.patience();
    let exit = running.await_exit_until(deadline);
    let exit = exit.filter(|exit| exit.is_by(deadline));
    IdleExit {
        exit,
        took: exit.map(|exit| exit.at.saturating_duration_since(t)),
        watch: Watch::since(t),
    }
}

/// Lets connections of the try-out be seen as closed: bounded, and nothing depends on it.
pub(crate) fn settle() {
    let until = Instant::now() + Duration::from_millis(50);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Whether an exit is that of a planned stop: polite, or with a code that the target declares.
pub(crate) fn is_planned(bench: &Bench<'_>, exit: Exit) -> bool {
    let declared = &bench.options.target.exit_codes;
    exit.code().is_some_and(|code| declared.contains(&code))
        || is_polite(exit, bench.options.stop.signal())
}

/// Whether an exit is the polite one: 0, or by the very signal sent, also as 128+n. Which signal a command sends is its
/// own affair. One that nobody sees is not held against anybody.
fn is_polite(exit: Exit, signal: Option<StopSignal>) -> bool {
    let by_signal = |number| exit.signal() == Some(number) || exit.code() == Some(128 + number);
    let by_this = match signal {
        Some(signal) => by_signal(signal.number()),
        None => StopSignal::ALL.iter().any(|any| by_signal(any.number())),
    };
    exit.code() == Some(0) || by_this || !exit.is_seen()
}

pub(crate) fn judge(bench: &Bench<'_>, idle: IdleExit) -> Finding {
    let signal = &bench.options.stop;
    let (Some(exit), Some(took)) = (idle.exit, idle.took) else {
        let detail = format!(
            "told by {signal}, the idle process still ran {} s later and had to be killed",
            bench.options.patience().as_secs_f64()
        );
        let finding = bench.finding("P1", Verdict::Fail, detail);
        return bench.weigh(finding, &[idle.watch]);
    };
    let how = exit.in_words();
    let unseen = if exit.is_seen() {
        ""
    } else {
        "; its exit code is for its parent to see"
    };
    let finding = if is_planned(bench, exit) {
        bench.finding(
            "P1",
            Verdict::Pass,
            format!(
                "{how} {:.0} ms after {signal}{unseen}",
                took.as_secs_f64() * 1e3
            ),
        )
    } else {
        let detail = format!(
            "{how} after {signal}; supervisors take that for a crash (0 or the signal itself is expected)"
        );
        let mut finding = bench.finding("P1", Verdict::Differs, detail);
        finding.consequence =
            Some("a planned stop is shown as a failure, and may be restarted or alerted on".into());
        finding.remedy = Some("exit with 0 after a planned stop".into());
        finding
    };
    bench.weigh(finding.with_figure("exit_after_ms", took), &[idle.watch])
}
