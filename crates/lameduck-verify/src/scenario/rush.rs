//! A3 and A5: clients that connect as fast as they can while the listener closes.
//! Not: the drain scenario's few newcomers, which only show when the door shut.

use std::time::{Duration, Instant};

use super::attention::Watch;
use super::bench::{Bench, await_departure};
use super::judge::in_words;
use super::load::is_our_own;
use super::requests;
use crate::observe::engine::Engine;
use crate::observe::flow::{Flow, Part, Script, Seen, Step, Steps, When};
use crate::observe::outcome::{Outcome, Tally};
use crate::target::VerifyError;
use crate::verdict::{Finding, Verdict};

const CLIENTS: usize = 16;
const LAUNCHES: usize = 2;
/// Besides them, single clients knock in turn, however the door stands: a rusher whose SYN was dropped is out of play
/// for a second.
const KNOCKS: u32 = 60;
const KNOCK_EVERY: Duration = Duration::from_millis(25);
/// They begin so long before the signal.
const RUN_UP: Duration = Duration::from_millis(150);
/// A target that never closes its listener is rushed for so long after the signal at most.
const RUSH_BOUND: Duration = Duration::from_secs(3);
/// Refused so often, a client stops.
const ENOUGH_REFUSALS: u32 = 5;
/// "At once", with room for a busy machine.
const AT_ONCE: Duration = Duration::from_millis(250);
/// One SYN retransmission (1 s, RFC 6298) and room.
const ONE_RETRANSMISSION: Duration = Duration::from_millis(1_600);

/// What the rushes came to.
#[derive(Debug, Default)]
pub(crate) struct Rush {
    /// Connections established before the first refusal, with requests at stake.
    before: Tally,
    dropped_unwritten: u64,
    worst: Option<Outcome>,
    refusals: u64,
    /// Of the connects begun after the first refusal.
    slowest_refusal: Duration,
    /// Of those begun before it, while the door was shutting.
    slowest_while_shutting: Duration,
    accepted_after: u64,
    dropped_after: u64,
    /// Connects that were neither answered nor refused in time.
    hung: u64,
    slow: u64,
    tool_trouble: u64,
    /// From the signal to the first refusal, or `None` where the process was gone first or never refused.
    door_open: Vec<Duration>,
    launches: u64,
    /// Of these: nobody of us was there when the door shut.
    unseen: u64,
    watches: Vec<Watch>,
}

pub(crate) fn run(bench: &Bench<'_>) -> Result<Vec<Finding>, VerifyError> {
    let mut rush = Rush::default();
    for _ in 0..LAUNCHES {
        let running = bench.launch()?;
        let mut engine = bench.engine(&running);
        for index in 0..CLIENTS {
            let (facts, place) = (bench.facts.clone(), running.place.clone());
            let client = Rusher::new(Box::new(move || requests::usual(&facts, &place)), index);
            engine.add(
                Flow::new("rush", client)
                    .posting(bench.posts())
                    .with_usual(bench.facts.usual),
            );
        }
        for step in 0..KNOCKS {
            let request = requests::usual(&bench.facts, &running.place);
            let steps = vec![
                Step::Pause(When::AfterStop(KNOCK_EVERY * step)),
                Step::Connect,
                Step::Send {
                    bytes: request,
                    part: Part::Whole,
                },
                Step::AwaitAnswer,
            ];
            let knock = Flow::new("knock", Steps::new(steps)).posting(bench.posts());
            engine.add(knock.with_usual(bench.facts.usual));
        }
        engine.run(Instant::now() + RUN_UP, |_| running.exit().is_some());
        let t = running.stop(&bench.options.stop);
        engine.note_stop(t);
        engine.run(t + RUSH_BOUND.min(bench.options.grace), |engine| {
            running.exit().is_some() || engine.flows.iter().all(Flow::is_finished)
        });
        if engine
            .flows
            .iter()
            .any(|flow| !flow.is_finished() && flow.refused_connects.is_empty())
        {
            // The door is still open: what is under way is let go, not judged as hung.
            engine.note_closing_time();
        }
        let departure = await_departure(&mut engine, &running, t, bench.options.patience());
        bench.sightings.take(&engine, t);
        rush.watches.push(Watch::from(&departure));
        let shut_at = rush.take(&engine, t);
        // A door that shuts loses those who wait behind it, if we were there to wait.
        let until = shut_at.unwrap_or(departure.over_at);
        rush.unseen += u64::from(bench.held_up(&[Watch { t, until }]).blurs());
    }
    let mut findings = vec![rush.judge_queue(bench), rush.judge_after(bench)];
    findings.retain(|finding| bench.wants(&finding.id));
    Ok(findings)
}

impl Rush {
    /// Returns when the first client met a door that was shut.
    fn take(&mut self, engine: &Engine, t: Instant) -> Option<Instant> {
        self.launches += 1;
        let refusals = || {
            engine
                .flows
                .iter()
                .flat_map(|flow| &flow.refused_connects)
                .filter(|(_, at)| *at >= t)
        };
        let first = refusals().map(|(_, at)| *at).min();
        if let Some(first) = first {
            self.door_open.push(first - t);
        }
        for (begun, at) in refusals() {
            let took = *at - *begun;
            self.refusals += 1;
            let (slowest, bound) = if first.is_some_and(|first| *begun > first) {
                (&mut self.slowest_refusal, AT_ONCE)
            } else {
                (&mut self.slowest_while_shutting, ONE_RETRANSMISSION)
            };
            *slowest = took.max(*slowest);
            self.slow += u64::from(took > bound);
        }
        for flow in &engine.flows {
            self.tool_trouble += flow
                .failed_connects
                .iter()
                .filter(|(_, errno)| is_our_own(*errno))
                .count() as u64;
            self.hung += u64::from(flow.gave_up_dialling);
            for exchange in flow
                .exchanges
                .iter()
                .filter(|exchange| exchange.is_at_stake(t))
            {
                let late = first.is_some_and(|first| exchange.opened_at > first);
                let answered = exchange
                    .outcome
                    .is_some_and(|outcome| !outcome.is_unanswered());
                if late {
                    self.accepted_after += 1;
                    self.dropped_after += u64::from(!answered);
                    continue;
                }
                self.before.add(exchange);
                if !answered {
                    self.dropped_unwritten += u64::from(exchange.written_at.is_none());
                    self.worst
                        .get_or_insert(exchange.outcome.unwrap_or(Outcome::Reset));
                }
            }
        }
        first
    }

    fn judge_queue(&self, bench: &Bench<'_>) -> Finding {
        let sent = self.before.sent();
        let lost = self.before.lost + self.dropped_unwritten;
        let (verdict, detail) = if let Some(worst) = self.worst {
            let detail = format!(
                "{lost} of {} clients that had connected before the door shut were dropped; one {}",
                sent + self.dropped_unwritten,
                in_words(worst)
            );
            (Verdict::Fail, detail)
        } else if self.tool_trouble > 0 {
            (
                Verdict::Inconclusive,
                format!(
                    "{} connects failed on this machine itself",
                    self.tool_trouble
                ),
            )
        } else if sent == 0 {
            (
                Verdict::Inconclusive,
                "no client had connected when the door shut".to_owned(),
            )
        } else if self.unseen == self.launches {
            let detail = "this machine held our clients up while the door shut: none of them can have waited behind it";
            (Verdict::Inconclusive, detail.to_owned())
        } else {
            (
                Verdict::Pass,
                format!(
                    "{sent} of {sent} clients that had connected before the door shut were answered"
                ),
            )
        };
        let finding = bench
            .finding("A3", verdict, detail)
            .with_requests(self.before.clone())
            .with_figure("dropped_before_write", self.dropped_unwritten)
            .with_figure("launches", self.launches);
        bench.weigh(finding, &self.watches)
    }

    fn judge_after(&self, bench: &Bench<'_>) -> Finding {
        let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        let slowest = millis(self.slowest_refusal.max(self.slowest_while_shutting));
        let (verdict, detail) = if self.dropped_after > 0 {
            let (dropped, accepted) = (self.dropped_after, self.accepted_after);
            (
                Verdict::Fail,
                format!(
                    "{dropped} of {accepted} connections accepted after the first refusal were dropped without an answer"
                ),
            )
        } else if self.hung > 0 {
            (
                Verdict::Fail,
                format!("{} connects were neither accepted nor refused", self.hung),
            )
        } else if self.slow > 0 {
            (
                Verdict::Fail,
                format!(
                    "{} of {} refusals came late, the slowest after {slowest}",
                    self.slow, self.refusals
                ),
            )
        } else if self.refusals == 0 {
            let detail = "no connect was ever refused, not even after the exit: does something else listen there?";
            (Verdict::Inconclusive, detail.to_owned())
        } else if self.slowest_while_shutting > AT_ONCE {
            let detail = format!(
                "{} connects refused: within {} once the door was shut, after one retransmission ({}) while it was shutting",
                self.refusals,
                millis(self.slowest_refusal),
                millis(self.slowest_while_shutting)
            );
            (Verdict::Pass, detail)
        } else {
            (
                Verdict::Pass,
                format!(
                    "{} connects refused, the slowest after {slowest}",
                    self.refusals
                ),
            )
        };
        let mut finding = bench
            .finding("A5", verdict, detail)
            .with_figure("refused", self.refusals)
            .with_figure("slowest_refusal_ms", self.slowest_refusal)
            .with_figure(
                "slowest_refusal_while_shutting_ms",
                self.slowest_while_shutting,
            );
        // Dropped is dropped; late may be our own lateness.
        if self.dropped_after == 0 {
            finding = bench.weigh(finding, &self.watches);
        }
        if let Some(open) = self.door_open.iter().max() {
            finding = finding.with_figure("door_open_ms", *open);
        }
        finding
    }
}

/// A client that connects, asks once, and connects again.
struct Rusher {
    make: Box<dyn FnMut() -> Vec<u8> + Send>,
    place: u8,
    pause: Duration,
    refusals: u32,
}

impl Rusher {
    fn new(make: Box<dyn FnMut() -> Vec<u8> + Send>, index: usize) -> Self {
        let pause = Duration::from_micros(200) * u32::try_from(index).unwrap_or(0);
        Self {
            make,
            place: 0,
            pause,
            refusals: 0,
        }
    }
}

impl Script for Rusher {
    fn next(&mut self, seen: Seen) -> Option<Step> {
        let step = match self.place {
            0 => Step::Pause(When::For(std::mem::replace(
                &mut self.pause,
                Duration::from_millis(2),
            ))),
            1 => Step::Connect,
            2 if seen.refused => {
                self.refusals += u32::from(seen.stopped);
                if self.refusals >= ENOUGH_REFUSALS {
                    return None;
                }
                self.place = 0;
                self.pause = Duration::from_millis(20);
                return self.next(Seen {
                    refused: false,
                    ..seen
                });
            }
            2 => Step::Send {
                bytes: (self.make)(),
                part: Part::Whole,
            },
            3 => Step::AwaitAnswer,
            _ => {
                self.place = 0;
                return Some(Step::Close);
            }
        };
        self.place += 1;
        Some(step)
    }
}
