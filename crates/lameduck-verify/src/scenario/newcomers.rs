//! A2: new connections for as long as the declared front goes on sending them, in bursts with silences between, so
//! that neither a busy nor a quiet front is a surprise to the target.
//! Not: newcomers of other drains, which only show when the door shut.

use std::time::{Duration, Instant};

use super::attention::Watch;
use super::bench::{Bench, await_departure};
use super::judge::in_words;
use super::load::is_our_own;
use super::requests;
use crate::front::Front;
use crate::observe::engine::Engine;
use crate::observe::flow::{Flow, Part, Script, Seen, Step, When};
use crate::observe::outcome::{Outcome, Tally};
use crate::observe::rng::Rng;
use crate::target::VerifyError;
use crate::verdict::{Finding, Verdict};

/// Clients of one burst.
const CLIENTS: u32 = 4;
/// They knock so far apart.
const APART: Duration = Duration::from_millis(3);
/// The shortest silence between two bursts.
const SHORT: Duration = Duration::from_millis(20);
/// The longest one, except where the propagation takes many minutes.
const LONG: Duration = Duration::from_secs(1);
/// Bursts of one run at most.
const MAX_BURSTS: u32 = 1_000;
/// The last burst comes so long before the front has learned.
const LAST_CALL: Duration = Duration::from_millis(15);
/// A target that is gone for so long refuses whoever comes: the rest of the time would show nothing new.
const GONE: Duration = Duration::from_millis(1_200);
/// A burst so late leaves a hole in what was seen.
const HOLE: Duration = Duration::from_millis(500);

/// What the newcomers met.
#[derive(Debug, Default)]
struct Met {
    tally: Tally,
    hidden: u64,
    visible: u64,
    first: Option<(Instant, Outcome)>,
    last: Option<Instant>,
    late: u64,
    tool_trouble: u64,
}

/// The times of one run, and what was met.
struct Watched {
    front: Front,
    t: Instant,
    /// From the signal until the front has learned.
    exposed: Duration,
    met: Met,
}

pub(crate) fn run(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    let front = bench.options.front;
    let pre_stop = bench.options.pre_stop;
    if front.propagation().is_zero() {
        let reason = "no front is declared: clients connect directly, there is no propagation time (--front)";
        return Ok(bench.lacking("A2", reason));
    }
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    // The platform kills the process then, whatever the front has learned.
    let span = front.propagation().min(pre_stop + bench.options.grace);
    let deregistered = Instant::now();
    let bursts = bursts(&mut bench.rng(0xa2), deregistered, span);
    for client in 0..CLIENTS {
        let (facts, place) = (bench.facts.clone(), running.place.clone());
        let make = Box::new(move || requests::usual(&facts, &place));
        let caller = Caller::new(make, &bursts, APART * client);
        let flow = Flow::new("newcomers", caller).posting(bench.posts());
        engine.add(flow.with_usual(bench.facts.usual));
    }
    engine.run(deregistered + pre_stop, |_| running.exit().is_some());
    let t = running.stop(&bench.options.stop);
    engine.note_stop(t);
    engine.run(deregistered + span, |_| {
        running.exit().is_some_and(|exit| exit.at.elapsed() > GONE)
    });
    engine.note_closing_time();
    let departure = await_departure(&mut engine, &running, t, bench.options.patience());
    bench.sightings.take(&engine, t);
    let watched = Watched {
        front,
        t,
        exposed: front.propagation().saturating_sub(pre_stop),
        met: Met::of(&engine, front, &bursts),
    };
    Ok(bench.weigh(watched.judge(bench), &[Watch::from(&departure)]))
}

/// When bursts begin: at random, with silences of all lengths, and once more right before the end.
fn bursts(rng: &mut Rng, from: Instant, span: Duration) -> Vec<Instant> {
    let longest = LONG.min(span / 4).max(span / MAX_BURSTS).max(SHORT * 2);
    let end = span.saturating_sub(LAST_CALL);
    let mut bursts = Vec::new();
    let mut at = Duration::ZERO;
    while at < end {
        bursts.push(from + at);
        let to = if bursts.len().is_multiple_of(2) {
            longest
        } else {
            longest / 2
        };
        at += rng.between(SHORT.max(span / MAX_BURSTS), to.max(SHORT * 2));
    }
    bursts.push(from + end);
    bursts
}

impl Met {
    fn of(engine: &Engine, front: Front, bursts: &[Instant]) -> Self {
        let mut met = Self::default();
        for flow in engine.group("newcomers") {
            for (_, at) in &flow.refused_connects {
                met.tally.add_outcome(Outcome::RefusedConnect);
                met.note(front, Outcome::RefusedConnect, *at, false);
            }
            for exchange in &flow.exchanges {
                met.tally.add(exchange);
                // Accepted and closed before anything could be written: whoever was sent here sees that as well.
                let outcome = exchange.outcome.unwrap_or(Outcome::Eof);
                let at = exchange.ended_at.unwrap_or(exchange.begun_at);
                met.note(front, outcome, at, exchange.is_post);
            }
            if flow.gave_up_dialling {
                met.note(front, Outcome::Hung, hung_at(flow), false);
            }
            let ours = flow.failed_connects.iter();
            met.tool_trouble += ours.filter(|(_, errno)| is_our_own(*errno)).count() as u64;
        }
        met.late = holes(engine, bursts);
        met
    }

    fn note(&mut self, front: Front, outcome: Outcome, at: Instant, is_post: bool) {
        if outcome.is_served() {
            return;
        }
        if front.hides(outcome, is_post) {
            self.hidden += 1;
            return;
        }
        self.visible += 1;
        if self.first.is_none_or(|(first, _)| at < first) {
            self.first = Some((at, outcome));
        }
        self.last = self.last.max(Some(at));
    }

    fn knocked(&self) -> u64 {
        self.tally.sent() + self.tally.count(Outcome::RefusedConnect) + self.tally.ended_first
    }
}

/// When a client began to dial in vain: what it met, it met then, not at the end of the run.
fn hung_at(flow: &Flow) -> Instant {
    flow.dialling_since.unwrap_or_else(Instant::now)
}

/// Bursts at which no client was there, up to the last one that any client came to. One whose connect waits to be
/// refused is there.
fn holes(engine: &Engine, bursts: &[Instant]) -> u64 {
    let mut there: Vec<(Instant, Instant)> = Vec::new();
    for flow in engine.group("newcomers") {
        there.extend(&flow.refused_connects);
        let exchanges = flow.exchanges.iter();
        there.extend(exchanges.map(|exchange| {
            let from = exchange.opened_at;
            (from, exchange.ended_at.unwrap_or(from))
        }));
    }
    let last = there.iter().map(|(from, _)| *from).max();
    let is_hole = |burst: &&Instant| {
        let burst = **burst;
        let is_met = |(from, to): &(Instant, Instant)| *from <= burst + HOLE && *to >= burst;
        last.is_none_or(|last| burst <= last) && !there.iter().any(is_met)
    };
    bursts.iter().filter(is_hole).count() as u64
}

impl Watched {
    fn judge(self, bench: &Bench<'_>) -> Finding {
        let name = self.front.name();
        let served = self.met.tally.served();
        let knocked = self.met.knocked();
        let hidden = match self.met.hidden {
            0 => String::new(),
            count => format!("; {count} more failed and {name} asks elsewhere for them"),
        };
        let (verdict, detail) = if let Some((first, outcome)) = self.met.first {
            let detail = format!(
                "{} of {knocked} new connections were not served while {name} still sends them ({}); the first, {:.2} s after the signal, {}{}",
                self.met.visible,
                self.times(bench),
                self.since(first),
                in_words(outcome),
                self.arithmetic(bench)
            );
            (Verdict::Fail, detail)
        } else if self.met.tool_trouble > 0 || self.met.late > 0 || knocked == 0 {
            let detail = format!(
                "this machine could not keep up: {} connects failed here, {} bursts of new connections came late",
                self.met.tool_trouble, self.met.late
            );
            (Verdict::Inconclusive, detail)
        } else if self.is_cut_short(bench) {
            let detail = format!(
                "{served} of {knocked} new connections served{hidden}{}",
                self.arithmetic(bench)
            );
            (Verdict::Inconclusive, detail)
        } else {
            let detail = format!(
                "{served} of {knocked} new connections served while {name} still sends them ({}){hidden}",
                self.times(bench)
            );
            (Verdict::Pass, detail)
        };
        let mut finding = bench
            .finding("A2", verdict, detail)
            .with_requests(self.met.tally.clone())
            .with_figure("front", name)
            .with_figure("propagation_ms", self.front.propagation())
            .with_figure("pre_stop_ms", bench.options.pre_stop)
            .with_figure("exposed_ms", self.exposed)
            .with_figure("new_connections", knocked)
            .with_figure("visible", self.met.visible)
            .with_figure("retried_by_the_front", self.met.hidden);
        if let (Some((first, _)), Some(last)) = (self.met.first, self.met.last) {
            finding = finding
                .with_figure("first_error_after_ms", self.since(first) * 1e3)
                .with_figure("last_error_after_ms", self.since(last) * 1e3);
        }
        finding
    }

    /// Negative before the signal.
    fn since(&self, at: Instant) -> f64 {
        match at.checked_duration_since(self.t) {
            Some(after) => after.as_secs_f64(),
            None => -self.t.saturating_duration_since(at).as_secs_f64(),
        }
    }

    fn times(&self, bench: &Bench<'_>) -> String {
        let propagation = self.front.propagation().as_secs_f64();
        let pre_stop = bench.options.pre_stop.as_secs_f64();
        if pre_stop > 0.0 {
            format!(
                "{propagation} s from the deregistration, {} s of that after a preStop of {pre_stop} s",
                self.exposed.as_secs_f64()
            )
        } else {
            format!("{propagation} s")
        }
    }

    fn is_cut_short(&self, bench: &Bench<'_>) -> bool {
        bench.options.grace < self.exposed
    }

    fn arithmetic(&self, bench: &Bench<'_>) -> String {
        if !self.is_cut_short(bench) {
            return String::new();
        }
        let grace = bench.options.grace.as_secs_f64();
        let exposed = self.exposed.as_secs_f64();
        format!(
            "; the grace period ends {grace} s after the signal and the front goes on for {exposed} s: in the last {:.2} s no service can answer, so the grace period is too short for this front (--grace, --pre-stop)",
            exposed - grace
        )
    }
}

/// A client that comes anew with each burst, asks once, and leaves.
struct Caller {
    make: Box<dyn FnMut() -> Vec<u8> + Send>,
    bursts: std::vec::IntoIter<Instant>,
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Wait,
    Connect,
    Send,
    Await,
    Close,
}

impl Caller {
    fn new(make: Box<dyn FnMut() -> Vec<u8> + Send>, bursts: &[Instant], behind: Duration) -> Self {
        let bursts: Vec<_> = bursts.iter().map(|at| *at + behind).collect();
        Self {
            make,
            bursts: bursts.into_iter(),
            next: Next::Wait,
        }
    }
}

impl Script for Caller {
    fn next(&mut self, seen: Seen) -> Option<Step> {
        let (step, next) = match self.next {
            Next::Wait => {
                let now = Instant::now();
                // A slow answer may have outlasted a burst: the next one counts.
                let at = self.bursts.find(|at| *at + HOLE / 2 > now)?;
                let pause = at.saturating_duration_since(now);
                (Step::Pause(When::For(pause)), Next::Connect)
            }
            Next::Connect => (Step::Connect, Next::Send),
            Next::Send if !seen.usable && seen.refused => {
                self.next = Next::Wait;
                return self.next(seen);
            }
            Next::Send => {
                let bytes = (self.make)();
                let part = Part::Whole;
                (Step::Send { bytes, part }, Next::Await)
            }
            Next::Await => (Step::AwaitAnswer, Next::Close),
            Next::Close => (Step::Close, Next::Wait),
        };
        self.next = next;
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_in_vain_is_dated_by_its_begin() {
        // Nobody accepts, and the queue is full: connects wait.
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener
            .bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let wait = Duration::from_millis(200);
        let filling: Vec<_> = (0..4)
            .map_while(|_| std::net::TcpStream::connect_timeout(&addr, wait).ok())
            .collect();
        let before = Instant::now();
        let mut engine = Engine::new(addr, Duration::from_millis(1));
        engine.add(Flow::new(
            "newcomers",
            Caller::new(Box::new(Vec::new), &[before], Duration::ZERO),
        ));
        engine.run(before + wait, |_| false);
        engine.give_up();
        let flow = &engine.flows[0];
        assert!(flow.gave_up_dialling, "{} connected", filling.len());
        let at = hung_at(flow);
        assert!(at >= before && at < before + wait, "{:?}", at - before);
    }

    #[test]
    fn bursts_cover_the_whole_span_and_are_bounded() {
        let from = Instant::now();
        for seconds in [0.2, 1.5, 5.0, 120.0, 7_200.0] {
            let span = Duration::from_secs_f64(seconds);
            let bursts = bursts(&mut Rng::new(7), from, span);
            assert!(
                bursts.len() >= 3 && bursts.len() <= MAX_BURSTS as usize + 1,
                "{seconds}"
            );
            assert_eq!(bursts[0], from);
            assert_eq!(bursts.last(), Some(&(from + span - LAST_CALL)));
            assert!(bursts.is_sorted());
            let silence = bursts
                .windows(2)
                .map(|pair| pair[1] - pair[0])
                .max()
                .unwrap();
            assert!(silence <= LONG.max(span / 4), "{seconds}: {silence:?}");
        }
    }
}
