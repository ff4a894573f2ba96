//! P5: the first SIGINT does what the first SIGTERM does. Two launches with the same clients, one signal each.

use std::time::Instant;

use crate::declared::Interrupt;
use crate::observe::engine::Engine;
use crate::observe::flow::{Flow, Part, Step, Steps, When};
use crate::observe::outcome::{End, Outcome, Tally};
use crate::options::StopSignal;
use crate::scenario::attention::Watch;
use crate::scenario::bench::{Bench, Departure, await_departure};
use crate::scenario::requests;
use crate::scenario::stop::{ending, settle_in};
use crate::target::{Exit, VerifyError, proc};
use crate::verdict::{Finding, Verdict};

const IN_FLIGHT: usize = 3;
const IDLE: usize = 3;

/// What one of the signals did.
struct Stopped {
    departure: Departure,
    tally: Tally,
    in_flight: u64,
    served: u64,
    idle: u64,
    reset: u64,
    /// Ignored before it was sent.
    ignored: bool,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    if bench.options.target.interrupt == Interrupt::LeftAlone {
        return Ok(bench.lacking("P5", "the target declares that it leaves SIGINT alone"));
    }
    let signals = [StopSignal::Term, StopSignal::Int];
    let [by_term, by_int] = if bench.options.target.copies() > 1 {
        std::thread::scope(|scope| {
            signals
                .map(|signal| scope.spawn(move || stop_by(bench, signal)))
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
        })
    } else {
        signals.map(|signal| stop_by(bench, signal))
    };
    let (by_term, by_int) = (by_term?, by_int?);
    if by_int.ignored {
        let why = if proc::ignores(std::process::id(), libc::SIGINT) == Some(true) {
            "it inherited that from us: run lameduck in the foreground, without nohup"
        } else {
            "whoever started it, or it itself, asked for that"
        };
        let reason = format!("the target ignores SIGINT from its start; {why}");
        return Ok(bench.lacking("P5", &reason));
    }
    if by_term.departure.exit.is_none() {
        let reason = "SIGTERM does not end it within the grace period (see P1): there is nothing to hold SIGINT against";
        return Ok(bench.lacking("P5", reason));
    }
    let watches = [&by_term, &by_int].map(|stopped| Watch::from(&stopped.departure));
    Ok(bench.weigh(judge(bench, &by_term, &by_int), &watches))
}

fn stop_by(bench: &Bench<'_>, signal: StopSignal) -> Result<Stopped, VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    for _ in 0..IN_FLIGHT {
        engine.add(ending(bench, &running));
    }
    if bench.facts.keeps_connections {
        for _ in 0..IDLE {
            let bytes = requests::usual(&bench.facts, &running.place);
            let part = Part::Whole;
            let steps = vec![
                Step::Connect,
                Step::Send { bytes, part },
                Step::AwaitAnswer,
                Step::Pause(When::AfterStop(std::time::Duration::ZERO)),
                Step::AwaitEnd,
            ];
            engine.add(Flow::new("idle", Steps::new(steps)).with_usual(bench.facts.usual));
        }
    }
    settle_in(&mut engine, &running);
    engine.run(Instant::now() + OPENING_BOUND, |engine| {
        running.exit().is_some()
            || engine
                .group("idle")
                .all(|flow| flow.is_poised() || flow.is_finished())
    });
    let ignored = running
        .pid()
        .and_then(|pid| proc::ignores(pid, signal.number()))
        == Some(true);
    engine.note_eve();
    let t = running.signal(signal);
    engine.note_stop(t);
    let departure = await_departure(&mut engine, &running, t, bench.options.patience());
    Ok(Stopped::of(&engine, departure, ignored))
}

/// How long opening the idle connections may take.
const OPENING_BOUND: std::time::Duration = std::time::Duration::from_secs(2);

impl Stopped {
    fn of(engine: &Engine, departure: Departure, ignored: bool) -> Self {
        let mut stopped = Self {
            departure,
            tally: Tally::default(),
            in_flight: 0,
            served: 0,
            idle: 0,
            reset: 0,
            ignored,
        };
        let first = |flow: &Flow| flow.exchanges.first().cloned();
        for exchange in engine.group("in-flight").filter_map(first) {
            if exchange.is_at_stake(departure.t) {
                stopped.tally.add(&exchange);
                stopped.in_flight += 1;
                stopped.served += u64::from(exchange.outcome.is_some_and(Outcome::is_served));
            }
        }
        for flow in engine.group("idle").filter(|flow| flow.was_poised) {
            stopped.idle += 1;
            stopped.reset += u64::from(matches!(flow.end(), Some((_, End::Reset))));
        }
        stopped
    }

    fn exit_in_words(&self) -> String {
        let exit = self.departure.exit;
        exit.map_or_else(|| "did not exit".to_owned(), |exit| exit.in_words())
    }

    /// Every request in flight was answered.
    fn spared(&self) -> bool {
        self.served == self.in_flight
    }
}

/// How an exit looks to a supervisor, whichever of the two signals was sent.
fn kind(exit: Option<Exit>, signal: StopSignal) -> Option<i32> {
    let number = signal.number();
    let exit = exit?;
    // Died of the signal, also as a shell tells it: both signals say so with their own number.
    if exit.signal() == Some(number) || exit.code() == Some(128 + number) {
        return Some(-1);
    }
    Some(
        exit.code()
            .unwrap_or_else(|| 256 + exit.signal().unwrap_or(0)),
    )
}

/// Holds what SIGINT did against what SIGTERM did, which ended it.
fn compare(by_term: &Stopped, by_int: &Stopped) -> (Verdict, String) {
    let (term, int) = (StopSignal::Term, StopSignal::Int);
    if by_int.departure.exit.is_none() {
        return (
            Verdict::Differs,
            "SIGINT did not stop it within the grace period; SIGTERM does".to_owned(),
        );
    }
    // Without requests both signals spare all of them, whatever they do.
    if by_term.in_flight == 0 || by_int.in_flight == 0 {
        return (
            Verdict::Inconclusive,
            format!(
                "{} requests were in flight at SIGTERM and {} at SIGINT; both take at least one",
                by_term.in_flight, by_int.in_flight
            ),
        );
    }
    let same_exit = kind(by_term.departure.exit, term) == kind(by_int.departure.exit, int);
    let differs = |detail: String| (Verdict::Differs, detail);
    if by_term.spared() && !by_int.spared() {
        let (lost, of) = (by_int.in_flight - by_int.served, by_int.in_flight);
        differs(format!(
            "SIGINT cut off {lost} of {of} requests in flight that SIGTERM would have spared"
        ))
    } else if by_int.spared() && !by_term.spared() {
        differs("SIGINT spares the requests in flight, SIGTERM does not".to_owned())
    } else if by_term.reset == 0 && by_int.reset > 0 {
        differs(format!(
            "SIGINT resets {} idle connections, SIGTERM closes them",
            by_int.reset
        ))
    } else if !same_exit {
        differs(format!(
            "after SIGINT it {}, after SIGTERM it {}",
            by_int.exit_in_words(),
            by_term.exit_in_words()
        ))
    } else {
        (
            Verdict::Pass,
            format!(
                "by either signal {} of {} requests in flight were served, and it {}",
                by_int.served,
                by_int.in_flight,
                by_int.exit_in_words()
            ),
        )
    }
}

fn judge(bench: &Bench<'_>, by_term: &Stopped, by_int: &Stopped) -> Finding {
    let (verdict, detail) = compare(by_term, by_int);
    let mut finding = bench
        .finding("P5", verdict, detail)
        .with_figure("in_flight", by_int.in_flight)
        .with_figure("idle", by_int.idle);
    for (name, took) in [
        ("sigterm_exit_after_ms", by_term.departure.took()),
        ("sigint_exit_after_ms", by_int.departure.took()),
    ] {
        if let Some(took) = took {
            finding = finding.with_figure(name, took);
        }
    }
    // A target that loses requests by SIGTERM is judged by H1-01.
    if by_term.spared() {
        finding = finding.with_requests(by_int.tally.clone());
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Ending;

    fn stopped(in_flight: u64, served: u64, ending: Option<Ending>) -> Stopped {
        let at = Instant::now();
        Stopped {
            departure: Departure::exact(at, ending.map(|ending| Exit { at, ending })),
            tally: Tally::default(),
            in_flight,
            served,
            idle: 0,
            reset: 0,
            ignored: false,
        }
    }

    #[test]
    fn nothing_in_flight_proves_nothing() {
        let (some, none) = (
            stopped(3, 3, Some(Ending::Code(0))),
            stopped(0, 0, Some(Ending::Code(0))),
        );
        assert_eq!(compare(&some, &some).0, Verdict::Pass);
        for (by_term, by_int) in [(&none, &none), (&some, &none), (&none, &some)] {
            assert_eq!(compare(by_term, by_int).0, Verdict::Inconclusive);
        }
    }

    #[test]
    fn what_sigint_does_otherwise_is_told() {
        let whole = stopped(3, 3, Some(Ending::Code(0)));
        for (other, part) in [
            (stopped(3, 3, None), "did not stop it"),
            (stopped(3, 1, Some(Ending::Signal(2))), "cut off 2 of 3"),
            (stopped(3, 3, Some(Ending::Code(7))), "exited with 7"),
        ] {
            let (verdict, detail) = compare(&whole, &other);
            assert_eq!(verdict, Verdict::Differs);
            assert!(detail.contains(part), "{detail}");
        }
    }
}
