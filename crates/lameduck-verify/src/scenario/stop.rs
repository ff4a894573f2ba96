//! P2, P3, P4, P9: what the process does with its signals. Each has launches of its own.
//! Not: connections beyond the few that keep it busy.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::attention::Watch;
use super::bench::{Bench, Departure, await_departure};
use super::deaf;
use super::drain::in_flight_time;
use super::facts::Means;
use super::idle::{IdleExit, is_planned};
use super::requests;
use crate::observe::engine::Engine;
use crate::observe::flow::{Flow, Part, Step, Steps, When};
use crate::observe::outcome::{Outcome, Tally};
use crate::observe::talk::Talk;
use crate::options::RepeatPolicy;
use crate::target::{Answer, Running, VerifyError, Ward, ask, proc};
use crate::verdict::{Finding, Verdict};

/// Longer than any merge interval that the contract knows (SIGTERM 1 s).
const APART: Duration = Duration::from_millis(1_100);
/// After a cut the process is gone within this time (contract, P3).
const CUT_BOUND: Duration = Duration::from_millis(500);
/// A request is in flight for so long before the signal.
const AGE: Duration = Duration::from_millis(200);
/// A server that takes no more from a client that reads nothing has come to a stop by then, or is still busy with what
/// it took.
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// It is stuck, and not busy, when it took nothing for so long. A kernel tells of room only in steps (Linux: a sixteenth
/// of a buffer of 6 MiB), so a slow server looks as if it stood still between two of them.
const STILL: Duration = Duration::from_millis(1_500);
/// Who is busy for longer is left alone.
const BUSY_BOUND: Duration = Duration::from_secs(20);
/// The parts of a start at which P4 stops it.
const EARLY_STOPS: u32 = 4;
/// So many of them have to come before it is ready.
const EARLY_ENOUGH: u32 = EARLY_STOPS / 2;

fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// A request that never ends by itself, on a connection of its own.
pub(crate) fn endless(bench: &Bench<'_>, running: &Running) -> Flow {
    let forever = bench.options.grace + Duration::from_secs(30);
    let (first, last) = requests::in_flight(&bench.facts, &running.place, forever);
    let part = if last.is_some() {
        Part::First
    } else {
        Part::Whole
    };
    let steps = vec![
        Step::Connect,
        Step::Send { bytes: first, part },
        Step::AwaitAnswer,
        Step::AwaitEnd,
    ];
    Flow::new("endless", Steps::new(steps)).with_usual(bench.facts.usual)
}

/// Requests in flight that end in time if nobody cuts them.
pub(crate) fn ending(bench: &Bench<'_>, running: &Running) -> Flow {
    let time = in_flight_time(bench.options.grace);
    let (first, last) = requests::in_flight(&bench.facts, &running.place, time);
    let mut steps = vec![Step::Connect];
    match last {
        None => steps.push(Step::Send {
            bytes: first,
            part: Part::Whole,
        }),
        Some(last) => steps.extend([
            Step::Send {
                bytes: first,
                part: Part::First,
            },
            Step::Pause(When::AfterStop(time.saturating_sub(AGE))),
            Step::Send {
                bytes: last,
                part: Part::Last,
            },
        ]),
    }
    steps.push(Step::AwaitAnswer);
    let posts = !matches!(bench.facts.means, Means::Slow(_)) && bench.posts();
    Flow::new("in-flight", Steps::new(steps))
        .posting(posts)
        .with_usual(bench.facts.usual)
}

pub(crate) fn settle_in(engine: &mut Engine, running: &Running) {
    engine.run(Instant::now() + AGE, |_| running.exit().is_some());
}

pub(crate) fn stuck(bench: &Bench<'_>, idle: IdleExit) -> Result<Finding, VerifyError> {
    if !bench.facts.can_hold_for_ever() {
        return stopped_up(bench);
    }
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    engine.add(endless(bench, &running));
    settle_in(&mut engine, &running);
    if !engine.flows.iter().all(Flow::is_in_flight) {
        return Ok(bench.lacking(
            "P2",
            "the request that should never end was answered or cut before the signal",
        ));
    }
    engine.note_stop(running.stop(&bench.options.stop));
    let t = engine.stopped_at().unwrap_or_else(Instant::now);
    let departure = await_departure(&mut engine, &running, t, bench.options.patience());
    let ended_itself = engine.group("endless").any(|flow| {
        flow.exchanges
            .first()
            .is_some_and(|exchange| exchange.outcome.is_some_and(Outcome::is_served))
    });
    if ended_itself {
        return Ok(bench.lacking(
            "P2",
            "the request that should never end was answered during the drain",
        ));
    }
    let finding = judge_stuck(bench, idle, departure);
    // Only a process that was not gone in time may have been held up.
    Ok(match departure.exit {
        None => bench.weigh(finding, &[Watch::from(&departure)]),
        Some(_) => finding,
    })
}

/// Where no request can be kept from ending, its answer can: by a client that asks for more than any kernel keeps, and
/// reads nothing. What such a client is owed is little, so only the exit in time is judged.
fn stopped_up(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    let lacking = |why: &str| {
        let reason =
            format!("{why}; --slow-path would give a request that can be kept from ending");
        Ok(bench.lacking("P2", &reason))
    };
    let running = bench.launch()?;
    let Some(talk) = deaf::stopper(bench, &running.place) else {
        return lacking("the target closes each connection after one response");
    };
    let mut engine = bench.engine(&running);
    engine.add_talk(talk);
    let is_stuck = |engine: &Engine| engine.talks.iter().all(Talk::is_writing);
    engine.run(Instant::now() + STUCK_AFTER, |engine| {
        running.exit().is_some() || engine.talks.iter().all(Talk::is_poised)
    });
    if !is_stuck(&engine) {
        return lacking(
            "the target answers a client that reads nothing to the end, or cuts it off",
        );
    }
    if !comes_to_rest(&mut engine, &running) {
        return lacking("the target was still taking requests of a client that reads no answer");
    }
    if !is_stuck(&engine) {
        return lacking(
            "the target answers a client that reads nothing to the end, or cuts it off",
        );
    }
    engine.note_stop(running.stop(&bench.options.stop));
    let t = engine.stopped_at().unwrap_or_else(Instant::now);
    let departure = await_departure(&mut engine, &running, t, bench.options.patience());
    let Some((exit, took)) = departure.exit.zip(departure.took()) else {
        let grace = bench.options.patience().as_secs_f64();
        let detail = format!(
            "with one client that reads nothing, the process still ran {grace} s after the signal and had to be killed"
        );
        let finding = bench.finding("P2", Verdict::Fail, detail);
        return Ok(bench.weigh(finding, &[Watch::from(&departure)]));
    };
    let detail = format!(
        "with one client that reads nothing, it {} {} after the signal (no request of it can be kept from ending)",
        exit.in_words(),
        millis(took)
    );
    let finding = bench.finding("P2", Verdict::Pass, detail);
    Ok(finding.with_figure("exit_after_ms", took))
}

/// Waits until nothing was taken for [`STILL`]: `false` where that does not come.
fn comes_to_rest(engine: &mut Engine, running: &Running) -> bool {
    let untaken = |engine: &Engine| engine.talks.iter().map(Talk::untaken).sum::<usize>();
    let mut rest = Rest::new(Instant::now(), untaken(engine));
    engine.run(Instant::now() + BUSY_BOUND, |engine| {
        rest.look(Instant::now(), untaken(engine));
        rest.has_come() || running.exit().is_some()
    });
    rest.has_come()
}

/// How long a number has not changed.
struct Rest {
    number: usize,
    since: Instant,
    looked_at: Instant,
}

impl Rest {
    fn new(now: Instant, number: usize) -> Self {
        Self {
            number,
            since: now,
            looked_at: now,
        }
    }

    fn look(&mut self, now: Instant, number: usize) {
        if number != self.number {
            (self.number, self.since) = (number, now);
        }
        self.looked_at = now;
    }

    fn has_come(&self) -> bool {
        self.looked_at.saturating_duration_since(self.since) >= STILL
    }
}

fn judge_stuck(bench: &Bench<'_>, idle: IdleExit, departure: Departure) -> Finding {
    let (Some(exit), Some(took)) = (departure.exit, departure.took()) else {
        let grace = bench.options.patience().as_secs_f64();
        let detail = format!(
            "with one request stuck, the process still ran {grace} s after the signal and had to be killed"
        );
        return bench.finding("P2", Verdict::Fail, detail);
    };
    let how = exit.in_words();
    if !exit.is_seen() {
        let detail = format!(
            "gone {} after the stop, with one request stuck; how it exited is for its parent to see",
            millis(took)
        );
        return bench
            .finding("P2", Verdict::Pass, detail)
            .with_figure("exit_after_ms", took);
    }
    let says_so = match bench.options.target.forced_exit {
        Some(code) => exit.code() == Some(code),
        None => exit.code() != Some(0) && idle.exit.is_none_or(|idle| idle.ending != exit.ending),
    };
    let finding = if says_so {
        bench.finding(
            "P2",
            Verdict::Pass,
            format!(
                "gone {} after the signal; it {how}, which says that it was forced",
                millis(took)
            ),
        )
    } else {
        let detail = format!(
            "gone in time ({}), but it {how}, as if nothing had been cut off",
            millis(took)
        );
        let mut finding = bench.finding("P2", Verdict::Differs, detail);
        finding.consequence = Some(
            "a stop that cut requests off looks like a clean one: nobody will look for them".into(),
        );
        finding.remedy = Some(
            "exit with a code of its own (ours: 124) when the deadline ended something".into(),
        );
        finding
    };
    finding.with_figure("exit_after_ms", took)
}

pub(crate) fn repeat_late(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    let Some(policy) = bench.options.target.repeats else {
        return Ok(bench.lacking(
            "P3",
            "the target does not declare what a repeated signal does",
        ));
    };
    if !bench.facts.can_hold_for_ever() {
        let reason = "no request of this target can be kept in flight; --slow-path would give one";
        return Ok(bench.lacking("P3", reason));
    }
    if bench.options.grace < APART * 3 {
        return Ok(bench.lacking("P3", "the grace period is too short for repeats that count"));
    }
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    engine.add(if policy == RepeatPolicy::Escalate {
        endless(bench, &running)
    } else {
        ending(bench, &running)
    });
    settle_in(&mut engine, &running);
    let signal = bench.options.stop.signal().unwrap_or_default();
    let t = running.signal(signal);
    engine.note_stop(t);
    engine.run(t + APART, |_| running.exit().is_some());
    let before_second = running.exit();
    let mut last = running.signal(signal);
    if policy == RepeatPolicy::Record {
        let departure = await_departure(&mut engine, &running, t, bench.options.patience());
        let finding = judge_record(bench, &engine, departure);
        return Ok(bench.weigh(finding, &[Watch::from(&departure)]));
    }
    engine.run(t + APART * 2, |_| running.exit().is_some());
    let before_third = before_second.or_else(|| running.exit());
    if before_third.is_none() {
        last = running.signal(signal);
    }
    let exit = running.await_exit_until(last + Duration::from_secs(5).min(bench.options.grace));
    engine.give_up();
    let number = signal.number();
    let (verdict, detail) = match (before_third, exit) {
        (Some(exit), _) => (
            Verdict::Differs,
            format!("it {} before the third signal", exit.in_words()),
        ),
        (None, None) => (
            Verdict::Differs,
            "the third signal, which should cut, changed nothing".to_owned(),
        ),
        (None, Some(exit)) => {
            let took = exit.at.saturating_duration_since(last);
            let by_signal = exit.signal() == Some(number) || exit.code() == Some(128 + number);
            let seen = format!(
                "it {} {} after the third signal",
                exit.in_words(),
                millis(took)
            );
            if took <= CUT_BOUND && by_signal {
                (Verdict::Pass, seen)
            } else {
                (
                    Verdict::Differs,
                    format!("{seen}; a cut is due within 500 ms, by that signal"),
                )
            }
        }
    };
    let finding = bench.finding("P3", verdict, detail);
    Ok(bench.weigh(finding, &[Watch::since(t)]))
}

fn judge_record(bench: &Bench<'_>, engine: &Engine, departure: Departure) -> Finding {
    let served = engine.flows.iter().all(|flow| {
        flow.exchanges
            .first()
            .is_some_and(|first| first.outcome.is_some_and(Outcome::is_served))
    });
    let polite = departure.exit.is_some_and(|exit| is_planned(bench, exit));
    let (verdict, detail) = match (served, polite) {
        (true, true) => (Verdict::Pass, "the repeat changed nothing, as declared"),
        (false, _) => (
            Verdict::Differs,
            "the repeat cut a request off, though repeats are declared to change nothing",
        ),
        (true, false) => (
            Verdict::Differs,
            "the repeat changed how the process exits, though repeats are declared to change nothing",
        ),
    };
    bench.finding("P3", verdict, detail.to_owned())
}

pub(crate) fn early(bench: &Bench<'_>, ready_after: Duration) -> Result<Finding, VerifyError> {
    let (mut longest, mut half_ready, mut early) = (Duration::ZERO, None, 0);
    let mut watches = Vec::new();
    for step in 0..EARLY_STOPS {
        let running = bench.spawn_unready()?;
        let stop_at = running.spawned_at + ready_after * step / EARLY_STOPS;
        let _ = running.await_exit_until(stop_at);
        await_handler(bench, &running);
        let after = stop_at.saturating_duration_since(running.spawned_at);
        // Beside other launches it starts more slowly than it did alone.
        let is_shut = running.exit().is_none() && does_not_listen(running.place.url.addr);
        let t = running.stop(&bench.options.stop);
        // Who can be told only once it has a handler is told as early as can be.
        let is_early = is_shut || t.saturating_duration_since(running.spawned_at) < ready_after;
        early += u32::from(is_early || bench.ward == Ward::FirstProcess);
        let deadline = t + bench.options.patience();
        let request = requests::get(&running.place, &running.place.url.path);
        while running.exit().is_none() && Instant::now() < deadline {
            if let Answer::Whole { head, .. } =
                ask(running.place.url.addr, &request, Duration::from_millis(300))
                && head.status >= 500
                && bench.facts.status < 500
                && !(head.retry_after && head.close)
            {
                half_ready.get_or_insert((after, head.status));
            }
            let _ = running.await_exit_until(Instant::now() + Duration::from_millis(5));
        }
        watches.push(Watch::since(t));
        match running.exit().filter(|exit| exit.is_by(deadline)) {
            Some(exit) => longest = longest.max(exit.at.saturating_duration_since(t)),
            None => {
                let detail = format!(
                    "told to stop {} after its start, before it was ready, it still ran {} s later and had to be killed",
                    millis(after),
                    bench.options.patience().as_secs_f64()
                );
                let finding = bench
                    .finding("P4", Verdict::Fail, detail)
                    .with_figure("stopped_at_ms", after);
                return Ok(bench.weigh(finding, &watches));
            }
        }
    }
    let finding = match half_ready {
        Some((after, status)) => bench.finding(
            "P4",
            Verdict::Fail,
            format!(
                "told to stop {} after its start, it answered with {status} before it was ready",
                millis(after)
            ),
        ),
        None if early < EARLY_ENOUGH => bench.finding(
            "P4",
            Verdict::Inconclusive,
            format!("this machine was too busy: only {early} of {EARLY_STOPS} stops came before it was ready"),
        ),
        None => bench.finding(
            "P4",
            Verdict::Pass,
            format!(
                "stopped at {EARLY_STOPS} instants of its start; gone within {}",
                millis(longest)
            ),
        ),
    };
    let finding = finding
        .with_figure("exit_after_ms", longest)
        .with_figure("start_ms", ready_after)
        .with_figure("stopped_early", u64::from(early));
    Ok(bench.weigh(finding, &watches))
}

/// Nobody listens there: a connect is refused at once.
fn does_not_listen(addr: SocketAddr) -> bool {
    let connected = TcpStream::connect_timeout(&addr, Duration::from_millis(20));
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// PID 1 gets no signal that it has no handler for, whoever wrote it: it is told to stop as soon as it has one.
fn await_handler(bench: &Bench<'_>, running: &Running) {
    if bench.ward != Ward::FirstProcess {
        return;
    }
    let until = Instant::now() + bench.options.patience();
    let signal = bench.options.stop.signal().unwrap_or_default().number();
    let has_none = || running.pid().and_then(|pid| proc::catches(pid, signal)) == Some(false);
    while has_none() && running.exit().is_none() && Instant::now() < until {
        std::thread::yield_now();
    }
}

/// How the signal is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Never,
    After(Duration),
    HundredTimes,
}

impl Repeat {
    fn in_words(self) -> &'static str {
        match self {
            Self::Never => "once",
            Self::After(gap) if gap < Duration::from_millis(100) => "again after 5 ms",
            Self::After(_) => "again after 1 s",
            Self::HundredTimes => "a hundred times",
        }
    }
}

struct Repeated {
    repeat: Repeat,
    departure: Departure,
    tally: Tally,
    served: u64,
    requests: u64,
}

pub(crate) fn repeats(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    let variants = [
        Repeat::Never,
        Repeat::After(Duration::from_millis(5)),
        Repeat::After(Duration::from_secs(1)),
        Repeat::HundredTimes,
    ];
    let runs: Vec<Repeated> = if bench.options.target.copies() >= variants.len() {
        std::thread::scope(|scope| {
            let threads = variants.map(|repeat| scope.spawn(move || repeated(bench, repeat)));
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect::<Result<_, _>>()
        })?
    } else {
        variants
            .into_iter()
            .map(|repeat| repeated(bench, repeat))
            .collect::<Result<_, _>>()?
    };
    let watches: Vec<Watch> = runs.iter().map(|run| Watch::from(&run.departure)).collect();
    Ok(bench.weigh(judge_repeats(bench, &runs), &watches))
}

fn repeated(bench: &Bench<'_>, repeat: Repeat) -> Result<Repeated, VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    for _ in 0..3 {
        engine.add(ending(bench, &running));
    }
    settle_in(&mut engine, &running);
    let signal = bench.options.stop.signal().unwrap_or_default();
    let t = running.signal(signal);
    engine.note_stop(t);
    match repeat {
        Repeat::Never => {}
        Repeat::After(gap) => {
            engine.run(t + gap, |_| running.exit().is_some());
            running.signal(signal);
        }
        Repeat::HundredTimes => {
            for _ in 1..100 {
                running.signal(signal);
            }
        }
    }
    let departure = await_departure(&mut engine, &running, t, bench.options.patience());
    let (mut tally, mut served, mut requests) = (Tally::default(), 0, 0);
    for exchange in engine
        .flows
        .iter()
        .filter_map(|flow| flow.exchanges.first())
        .filter(|first| first.is_at_stake(t))
    {
        tally.add(exchange);
        requests += 1;
        served += u64::from(exchange.outcome.is_some_and(Outcome::is_served));
    }
    Ok(Repeated {
        repeat,
        departure,
        tally,
        served,
        requests,
    })
}

fn judge_repeats(bench: &Bench<'_>, runs: &[Repeated]) -> Finding {
    let (once, rest) = runs
        .split_first()
        .expect("the run with one signal is always made");
    if once.requests == 0 || once.served < once.requests {
        return bench.lacking("P9", "one signal alone loses what is in flight already (see H1-01): a repeat can not make it worse");
    }
    let mut tally = Tally::default();
    rest.iter().for_each(|run| tally.merge(&run.tally));
    let worse = rest.iter().find(|run| run.served < run.requests);
    let other = rest.iter().find(|run| {
        run.departure.exit.map(|exit| exit.ending) != once.departure.exit.map(|exit| exit.ending)
    });
    let how = |run: &Repeated| {
        run.departure
            .exit
            .map_or_else(|| "did not exit".to_owned(), |exit| exit.in_words())
    };
    let finding = if let Some(run) = worse {
        let detail = format!(
            "sent {}, the signal lost {} of {} requests in flight that one signal would have spared",
            run.repeat.in_words(),
            run.requests - run.served,
            run.requests
        );
        bench.finding("P9", Verdict::Fail, detail)
    } else if let Some(run) = other {
        let detail = format!(
            "sent {}, nothing more is lost, but the process {} (once: {})",
            run.repeat.in_words(),
            how(run),
            how(once)
        );
        let mut finding = bench.finding("P9", Verdict::Differs, detail);
        finding.consequence =
            Some("the same stop is shown now as a success, now as a failure".into());
        finding
    } else {
        let requests: u64 = rest.iter().map(|run| run.requests).sum();
        bench.finding(
            "P9",
            Verdict::Pass,
            format!(
                "{requests} of {requests} in flight served; it {} each time",
                how(once)
            ),
        )
    };
    finding.with_requests(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_comes_only_after_a_time_without_change() {
        let begun = Instant::now();
        let mut rest = Rest::new(begun, 12);
        assert!(!rest.has_come());
        rest.look(begun + STILL / 2, 12);
        assert!(!rest.has_come());
        rest.look(begun + STILL, 11);
        assert!(!rest.has_come(), "a byte was taken");
        rest.look(begun + STILL * 3 / 2, 11);
        assert!(!rest.has_come());
        rest.look(begun + STILL * 2, 11);
        assert!(rest.has_come());
    }
}
