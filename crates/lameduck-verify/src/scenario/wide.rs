//! L-H2 and L-TLS: closed-loop clients of both across a signal at a random instant, in the same fresh processes.
//! Not: HTTP/1.1 in plain text (see `load`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bench::{Bench, await_departure};
use super::h2;
use super::load::{Client, Habit, Kind, Think, is_our_own};
use super::requests;
use super::speech::tls_door;
use crate::observe::engine::Engine;
use crate::observe::flow::Flow;
use crate::observe::h2 as wire;
use crate::observe::outcome::{Exchange, Outcome, Tally};
use crate::observe::tls::Alpn;
use crate::options::Options;
use crate::target::{Running, VerifyError};
use crate::verdict::{Finding, Verdict, one_in, upper_bound_95};

pub(crate) const IDS: [&str; 2] = ["L-H2", "L-TLS"];
/// Rounds at once at most.
const MAX_LANES: usize = 2;
/// Clients of each door that keep their connection, and that connect for each request.
const KEEPING: usize = 20;
const CONNECTING: usize = 4;
/// The signal comes at a random instant of this span after the clients began.
const STOP_FROM: Duration = Duration::from_millis(300);
const STOP_TO: Duration = Duration::from_millis(450);
/// Clients leave so long after the signal, as where a balancer sends them elsewhere.
const LEAVE_AFTER: Duration = Duration::from_millis(1_200);

/// Rounds that both checks share: a quarter of those over plain HTTP/1.1.
pub(crate) fn rounds(options: &Options) -> u32 {
    options.rounds.div_ceil(4)
}

/// What all rounds came to for one id.
#[derive(Debug, Default, Clone)]
struct Crowd {
    at_stake: Tally,
    before: Tally,
    rounds_with_loss: u32,
    rounds_unsettled: u32,
    failed_handshakes: u64,
    tool_trouble: u64,
}

pub(crate) fn run(bench: &Bench<'_>) -> Result<Vec<Finding>, VerifyError> {
    let speech = bench.facts.speech;
    let spoken = [speech.speaks_h2(), speech.tls];
    let lacks = [
        "the target speaks no HTTP/2, neither by prior knowledge nor by ALPN",
        "no TLS door is known; --tls-url or {tls_port} in the command would give one",
    ];
    let mut totals = [Crowd::default(), Crowd::default()];
    if IDS
        .iter()
        .zip(spoken)
        .any(|(id, spoken)| spoken && bench.wants(id))
    {
        totals = all_rounds(bench)?;
    }
    let mut findings = Vec::new();
    for (index, id) in IDS.into_iter().enumerate() {
        if bench.wants(id) {
            findings.push(if spoken[index] {
                totals[index].judge(bench, id)
            } else {
                bench.lacking(id, lacks[index])
            });
        }
    }
    Ok(findings)
}

fn all_rounds(bench: &Bench<'_>) -> Result<[Crowd; 2], VerifyError> {
    let next = AtomicU32::new(0);
    let totals = Mutex::new([Crowd::default(), Crowd::default()]);
    let trouble = Mutex::new(None);
    let lock = |error: PoisonError<_>| error.into_inner();
    std::thread::scope(|scope| {
        for _ in 0..bench.options.target.copies().min(MAX_LANES) {
            scope.spawn(|| {
                loop {
                    // Relaxed: only distinct numbers are needed; results travel through the mutex.
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= rounds(bench.options) {
                        return;
                    }
                    match round(bench, u64::from(index)) {
                        Ok(crowds) => {
                            let mut totals = totals.lock().unwrap_or_else(lock);
                            for (total, crowd) in totals.iter_mut().zip(&crowds) {
                                total.merge(crowd);
                            }
                        }
                        Err(error) => {
                            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    match trouble.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(totals.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn round(bench: &Bench<'_>, index: u64) -> Result<[Crowd; 2], VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    open(bench, &running, index, &mut engine);
    let begun = Instant::now();
    let stop_after = bench.rng(0x31de + index).between(STOP_FROM, STOP_TO);
    engine.run(begun + stop_after, |_| running.exit().is_some());
    let t = running.signal(bench.options.signal);
    engine.note_stop(t);
    let leave_at = t + LEAVE_AFTER.min(bench.options.grace / 2);
    engine.run(leave_at, |engine| {
        running.exit().is_some() || engine.all_finished()
    });
    if running.exit().is_none() {
        engine.note_closing_time();
    }
    let _ = await_departure(&mut engine, &running, t, bench.options.grace);
    Ok(["load-h2", "load-tls"].map(|group| Crowd::of(&engine, group, t)))
}

fn open(bench: &Bench<'_>, running: &Running, index: u64, engine: &mut Engine) {
    let mut rng = bench.rng(0x2a11 + index);
    rng.next();
    let think = Think::for_quiet(bench.options.target.quiet);
    let habit = if index.is_multiple_of(2) {
        Habit::ComeBack
    } else {
        Habit::GoElsewhere
    };
    let place = &running.place;
    for (number, door) in bench.facts.speech.h2_doors(place).into_iter().enumerate() {
        for client in 0..KEEPING {
            let make = {
                let (facts, place, door) = (bench.facts.clone(), place.clone(), door.clone());
                move || h2::requests::usual(&facts, &place, &door)
            };
            let width = if client.is_multiple_of(4) { 4 } else { 1 };
            let rng = rng.fork((number * KEEPING + client) as u64);
            let script = h2::load::Client::new(Box::new(make), width, habit, think, rng);
            // Over TLS, it counts for L-TLS, unless HTTP/2 is spoken there only.
            let group = if door.is_tls() && bench.facts.speech.h2 {
                "load-tls"
            } else {
                "load-h2"
            };
            let flow = wire::flow::Flow::new(group, vec![door.clone()], script);
            engine
                .h2
                .push(flow.posting(bench.posts()).with_usual(bench.facts.usual));
        }
    }
    if !bench.facts.speech.tls {
        return;
    }
    for client in 0..KEEPING + CONNECTING {
        let kind = if client < KEEPING {
            Kind::Keeping
        } else {
            Kind::Connecting
        };
        let make = {
            let (facts, place) = (bench.facts.clone(), place.clone());
            move || requests::usual(&facts, &place)
        };
        let rng = rng.fork(1_000 + client as u64);
        let script = Client::new(Box::new(make), kind, habit, think, rng);
        let flow = Flow::new("load-tls", script)
            .posting(bench.posts())
            .with_usual(bench.facts.usual);
        engine.add(flow.through(tls_door(place, Alpn::Http1)));
    }
}

impl Crowd {
    fn of(engine: &Engine, group: &str, t: Instant) -> Self {
        let mut crowd = Self::default();
        for flow in engine.flows.iter().filter(|flow| flow.group == group) {
            flow.exchanges
                .iter()
                .for_each(|exchange| crowd.take(exchange, t));
            crowd.take_connects(&flow.refused_connects, &flow.failed_connects, t);
            crowd.take_handshakes(&flow.failed_handshakes, t);
        }
        for flow in engine.h2.iter().filter(|flow| flow.group == group) {
            flow.calls
                .iter()
                .for_each(|call| crowd.take(&call.exchange, t));
            crowd.take_connects(&flow.refused_connects, &flow.failed_connects, t);
            crowd.take_handshakes(&flow.failed_handshakes, t);
        }
        crowd.rounds_with_loss = u32::from(crowd.at_stake.lost > 0);
        crowd.rounds_unsettled = u32::from(crowd.before.served() == 0);
        crowd
    }

    fn take(&mut self, exchange: &Exchange, t: Instant) {
        if exchange.is_at_stake(t) {
            self.at_stake.add(exchange);
        } else {
            self.before.add(exchange);
        }
    }

    fn take_connects(
        &mut self,
        refused: &[(Instant, Instant)],
        failed: &[(Instant, i32)],
        t: Instant,
    ) {
        for _ in refused.iter().filter(|(_, at)| *at >= t) {
            self.at_stake.add_outcome(Outcome::RefusedConnect);
        }
        let ours = failed.iter().filter(|(_, errno)| is_our_own(*errno));
        self.tool_trouble += ours.count() as u64;
    }

    fn take_handshakes(&mut self, failed: &[(Instant, Instant)], t: Instant) {
        for _ in failed.iter().filter(|(_, at)| *at >= t) {
            self.at_stake.add_outcome(Outcome::HandshakeFailed);
            self.failed_handshakes += 1;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.at_stake.merge(&other.at_stake);
        self.before.merge(&other.before);
        self.rounds_with_loss += other.rounds_with_loss;
        self.rounds_unsettled += other.rounds_unsettled;
        self.failed_handshakes += other.failed_handshakes;
        self.tool_trouble += other.tool_trouble;
    }

    fn judge(&self, bench: &Bench<'_>, id: &'static str) -> Finding {
        let think = Think::for_quiet(bench.options.target.quiet);
        let tally = &self.at_stake;
        let failing = if think.is_within(bench.options.target.quiet) {
            tally.lost
        } else {
            tally.lost - tally.crossed
        };
        let (sent, rounds) = (tally.sent(), rounds(bench.options));
        let crossed = match tally.crossed {
            0 => String::new(),
            crossed => format!("; {crossed} of them crossed with the server's close on the wire"),
        };
        let (verdict, detail) = if failing > 0 {
            let with_loss = self.rounds_with_loss;
            let detail = format!(
                "{} of {sent} requests lost, in {with_loss} of {rounds} rounds{crossed}",
                tally.lost
            );
            (Verdict::Fail, detail)
        } else if self.tool_trouble > 0 || self.rounds_unsettled > 0 || tally.discarded * 10 > sent
        {
            let detail = format!(
                "this machine could not keep up: {} connects failed here, {} rounds had no answer before the signal, {} requests were written late",
                self.tool_trouble, self.rounds_unsettled, tally.discarded
            );
            (Verdict::Inconclusive, detail)
        } else if sent == 0 {
            (
                Verdict::Inconclusive,
                "no request was under way at any signal".to_owned(),
            )
        } else {
            let lost = tally.lost;
            let detail = format!("{lost} of {sent} requests lost in {rounds} rounds{crossed}");
            (Verdict::Pass, detail)
        };
        let mut finding = bench
            .finding(id, verdict, detail)
            .with_requests(tally.clone())
            .with_figure("rounds", u64::from(rounds))
            .with_figure("rounds_with_loss", u64::from(self.rounds_with_loss))
            .with_figure("answered_before_signal", self.before.served())
            .with_figure("failed_handshakes", self.failed_handshakes);
        if let Some(bound) = upper_bound_95(tally.lost, sent) {
            finding = finding.with_figure("upper_bound_95_one_in", one_in(bound));
        }
        finding
    }
}
