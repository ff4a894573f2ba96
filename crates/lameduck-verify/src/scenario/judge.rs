//! Owns the verdicts of the drain scenario: what its clients saw, held against H1-01 to H1-06.
//! Not: making the drain (see `drain`), or the page for balancers (see `told`).

use std::time::Duration;

use super::attention::Watch;
use super::bench::{Bench, Departure};
use super::drain::{Drained, IN_FLIGHT, SWEEP};
use super::facts::Means;
use super::told;
use crate::declared::LatePolicy;
use crate::observe::flow::Flow;
use crate::observe::outcome::{End, Exchange, Outcome, Tally};
use crate::verdict::{Finding, Verdict};

/// A sample whose write came later than this after its time says nothing about that offset.
pub(crate) fn lateness_bound(offset: Duration) -> Duration {
    Duration::from_millis(2) + offset / 2
}

/// At least so many of the eight offsets need a sample in time.
const OFFSETS_NEEDED: usize = 6;
/// After a command or a call the shortest ones can not be told apart.
const OFFSETS_NEEDED_WHEN_VAGUE: usize = 4;

/// So many requests of H1-05 have to be in the socket's buffer, or in the hands of the target, when the signal comes.
const BUFFERED_NEEDED: u64 = 4;

/// What a sweep came to.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    pub(crate) tally: Tally,
    pub(crate) poised: u64,
    /// Not open, or not idle, when the signal was sent: the server had ended them, or was busy with somebody else.
    unpoised: u64,
    /// Ended by the server before our write, in time.
    pub(crate) ended_first: u64,
    pub(crate) late: u64,
    /// The first request that was sent and not served: its offset, outcome, and whether it crossed.
    pub(crate) worst: Option<(Duration, Outcome, bool)>,
    pub(crate) unserved: u64,
    /// Refused in the way that the target declares for late requests.
    refused: u64,
    late_policy: LatePolicy,
    covered: [bool; SWEEP.len()],
    /// Written in time, and under way at the signal or later.
    sent_in_time: u64,
    pub(crate) slowest: Duration,
    /// A command or a call told the target, so that T is an interval, so long at most.
    is_vague: bool,
    width: Duration,
    /// Written when nobody could know how long after the target knew.
    unplaced: u64,
    /// Of these: not served.
    unsure: u64,
}

impl Sweep {
    /// Collects the flows of `groups` over all passes; late requests are held to `late_policy`.
    pub(crate) fn of(passes: &[Drained], groups: &[&'static str], late_policy: LatePolicy) -> Self {
        let mut sweep = Self {
            late_policy,
            ..Self::default()
        };
        for pass in passes {
            for group in groups {
                for flow in pass.engine.group(group) {
                    sweep.take(flow, &pass.departure);
                }
            }
        }
        sweep
    }

    fn take(&mut self, flow: &Flow, departure: &Departure) {
        let t = departure.t;
        if !flow.was_poised {
            self.unpoised += 1;
            return;
        }
        self.poised += 1;
        let offset = flow.offset.unwrap_or_default();
        let due = t + offset;
        let swept = flow
            .exchanges
            .last()
            .filter(|exchange| exchange.begun_at >= t || exchange.is_at_stake(t));
        let sent = swept.filter(|exchange| exchange.written_at.is_some());
        let in_time = match sent {
            Some(exchange) => {
                exchange.lateness() <= lateness_bound(offset) && !exchange.is_discarded()
            }
            // It ended first: evidence only if it had ended when we should have written.
            None => flow
                .end()
                .is_some_and(|(at, _)| at <= due + lateness_bound(offset)),
        };
        self.is_vague |= departure.is_vague;
        self.width = self.width.max(departure.width());
        let written_at = sent.and_then(|exchange| exchange.written_at);
        if in_time && !departure.vouches_for(written_at.unwrap_or(due), offset) {
            self.unplaced += 1;
        } else if in_time {
            if let Some(index) = SWEEP.iter().position(|known| *known == offset) {
                self.covered[index] = true;
            }
        } else {
            self.late += 1;
        }
        self.sent_in_time += u64::from(in_time && sent.is_some());
        match sent {
            Some(exchange) => self.take_sent(exchange, offset, departure),
            None => {
                self.ended_first += 1;
                self.tally.ended_first += 1;
            }
        }
    }

    fn take_sent(&mut self, exchange: &Exchange, offset: Duration, departure: &Departure) {
        self.tally.add(exchange);
        if let (Some(written), Some(ended)) = (exchange.written_at, exchange.ended_at) {
            self.slowest = self.slowest.max(ended.saturating_duration_since(written));
        }
        let Some(outcome) = exchange.outcome else {
            return;
        };
        self.refused += u64::from(self.late_policy.is_refusal(outcome));
        if self.late_policy.is_kept_by(outcome) || exchange.is_discarded() {
            return;
        }
        let written_at = exchange.written_at.unwrap_or(exchange.begun_at);
        // Written so late that a close in order may have crossed it: our lateness, not the target's.
        let was_late = exchange.crossed && exchange.lateness() > lateness_bound(offset);
        if was_late {
            return;
        }
        if departure.is_unsure_at(written_at) {
            self.unsure += 1;
        } else {
            self.unserved += 1;
            self.worst
                .get_or_insert((offset, outcome, exchange.crossed));
        }
    }

    /// Enough samples were in time to say that all is well.
    pub(crate) fn is_covered(&self) -> bool {
        let needed = if self.is_vague {
            OFFSETS_NEEDED_WHEN_VAGUE
        } else {
            OFFSETS_NEEDED
        };
        self.covered.iter().filter(|covered| **covered).count() >= needed
    }

    /// The same for a check that has one instant only, that of the signal.
    fn is_tested(&self, id: &str) -> bool {
        match id {
            "H1-05" => self.sent_in_time >= BUFFERED_NEEDED,
            _ => self.is_covered(),
        }
    }

    /// Why a stop that is no signal lets nothing be said, if so.
    fn vagueness(&self) -> Option<(Verdict, String)> {
        let millis = self.width.as_secs_f64() * 1e3;
        if self.unsure > 0 {
            let detail = format!(
                "{} not served, sent in the {millis:.0} ms in which the target may not have known yet; --signal has an instant",
                self.unsure
            );
            return Some((Verdict::Inconclusive, detail));
        }
        (self.is_vague && !self.is_covered()).then(|| {
            let detail = format!(
                "nothing lost, but {} of {} requests can not be placed after a stop that took effect within {millis:.0} ms: --signal has an instant",
                self.unplaced, self.poised
            );
            (Verdict::Inconclusive, detail)
        })
    }
}

/// In plain words, what a client meets.
pub(crate) fn in_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Served => "was answered",
        Outcome::ServedClose => "was answered, with `Connection: close`",
        Outcome::RefusedConnect => "could not connect",
        Outcome::RefusedH2 => "was refused unprocessed (GOAWAY or REFUSED_STREAM)",
        Outcome::Refused503 => "was refused with 503 and Retry-After",
        Outcome::UnprocessedSafe => "was left unprocessed behind a `close`",
        Outcome::Error => "got a server error (5xx)",
        Outcome::Eof => "got no answer: the connection was closed",
        Outcome::Reset => "got no answer: the connection was reset",
        Outcome::Truncated => "got a part of its answer, then the connection ended",
        Outcome::Hung => "got no answer and no end until the grace period was over",
        Outcome::HandshakeFailed => "was accepted, but its TLS handshake never became whole",
    }
}

pub(crate) fn offset_in_words(offset: Duration) -> String {
    if offset < Duration::from_millis(1) {
        format!("{:.1} ms", offset.as_secs_f64() * 1e3)
    } else {
        format!("{} ms", offset.as_millis())
    }
}

fn sweep(
    bench: &Bench<'_>,
    id: &'static str,
    passes: &[Drained],
    groups: &[&'static str],
) -> Finding {
    let sweep = Sweep::of(passes, groups, late_policy(bench, id));
    judge_sweep(bench, id, &sweep, passes)
}

/// What is owed to a late request of that check: those of H1-05 had arrived before the signal.
fn late_policy(bench: &Bench<'_>, id: &str) -> LatePolicy {
    if id == "H1-05" {
        LatePolicy::Serve
    } else {
        bench.options.target.late
    }
}

fn judge_sweep(bench: &Bench<'_>, id: &'static str, sweep: &Sweep, passes: &[Drained]) -> Finding {
    let sent = sweep.poised - sweep.ended_first;
    let (verdict, detail) = if sweep.poised == 0 {
        (Verdict::NotApplicable, unpoised(passes))
    } else if let Some((offset, outcome, crossed)) = sweep.worst {
        let how = in_words(outcome);
        let crossed = if crossed {
            " (the close and the request crossed on the wire)"
        } else {
            ""
        };
        let when = if offset.is_zero() {
            "at the signal".to_owned()
        } else {
            format!("{} after the signal", offset_in_words(offset))
        };
        (
            Verdict::Fail,
            format!(
                "{} of {sent} not served; one sent {when} {how}{crossed}",
                sweep.unserved
            ),
        )
    } else if let Some((verdict, detail)) = sweep.vagueness() {
        // No sweep: its one instant is the signal's, which such a stop does not have, however often it is tried.
        let verdict = match id {
            "H1-05" => Verdict::NotApplicable,
            _ => verdict,
        };
        (verdict, detail)
    } else if !sweep.is_tested(id) {
        (Verdict::Inconclusive, uncovered(sweep))
    } else if sent == 0 {
        (
            Verdict::Pass,
            format!(
                "all {} connections were closed in order before anything was sent on them",
                sweep.poised
            ),
        )
    } else {
        (
            Verdict::Pass,
            format!(
                "{} of {sent} served{}{}",
                sent - sweep.refused,
                refused_note(sweep.refused),
                ended_note(sweep.ended_first)
            ),
        )
    };
    bench
        .finding(id, verdict, detail)
        .with_requests(sweep.tally.clone())
        .with_figure("connections", sweep.poised)
        .with_figure("written_late", sweep.late)
        .with_figure("slowest_ms", sweep.slowest)
}

/// Why too few instants after the signal were tested.
fn uncovered(sweep: &Sweep) -> String {
    if sweep.unpoised > sweep.poised {
        return format!(
            "only {} of {} connections stood ready when the signal came, in too few of the instants that have to be tested",
            sweep.poised,
            sweep.poised + sweep.unpoised
        );
    }
    format!(
        "this machine was too busy: {} of {} requests were not sent in time",
        sweep.late, sweep.poised
    )
}

pub(crate) fn refused_note(refused: u64) -> String {
    if refused == 0 {
        String::new()
    } else {
        format!(", {refused} refused as declared, safe to send again")
    }
}

fn ended_note(ended_first: u64) -> String {
    if ended_first == 0 {
        String::new()
    } else {
        format!(" ({ended_first} more were closed before they were used)")
    }
}

fn unpoised(passes: &[Drained]) -> String {
    let answered = passes
        .iter()
        .flat_map(|pass| &pass.engine.flows)
        .any(|flow| flow.was_poised);
    if answered {
        "none of these stood ready at the signal: the target keeps no such connection open, or not so many at once"
            .to_owned()
    } else {
        "the target did not answer so many connections at once before the signal".to_owned()
    }
}

/// Judges all ids of the drain scenario.
pub(crate) fn judge(bench: &Bench<'_>, passes: &[Drained]) -> Vec<Finding> {
    let reuse = |id, groups: &[&'static str]| {
        if bench.facts.keeps_connections {
            sweep(bench, id, passes, groups)
        } else {
            bench.lacking(
                id,
                "the target closes each connection after one response: there is nothing to reuse",
            )
        }
    };
    let mut findings = vec![
        in_flight(bench, passes),
        reuse("H1-02", &["idle"]),
        left_alone(bench, passes),
        sweep(bench, "H1-04", passes, &["silent"]),
        sweep(bench, "H1-05", passes, &["buffered"]),
        sweep(bench, "H1-06", passes, &["half-fresh", "half-reused"]),
        told::judge(bench, passes),
    ];
    findings.retain(|finding| bench.wants(&finding.id));
    let watches: Vec<Watch> = passes
        .iter()
        .map(|pass| Watch::from(&pass.departure))
        .collect();
    bench.weigh_all(findings, &watches)
}

/// What became of the requests in flight at T, and of those that followed them on the same connections.
#[derive(Debug, Default)]
struct InFlight {
    tally: Tally,
    at_signal: u64,
    follow_ups: u64,
    /// Half-sent heads that the target closed: nothing was promised for them.
    closed_half: u64,
    /// Answered without `close`, then closed before anything followed.
    unannounced: u64,
    worst: Option<String>,
}

impl InFlight {
    fn take(&mut self, flow: &Flow, departure: &Departure, means: &Means, late: LatePolicy) {
        let t = departure.t;
        let first = flow.exchanges.first();
        let Some(first) = first.filter(|first| departure.concerns(first)) else {
            return;
        };
        self.tally.add(first);
        if first.outcome.is_none() && *means == Means::HalfHead {
            self.closed_half += 1;
            return;
        }
        self.at_signal += 1;
        // An upload that the target ended is not lost by the letter, but it was in flight and was not answered.
        let outcome = first.outcome.unwrap_or(Outcome::Eof);
        // Only a request whose head is completed late is one that a target may refuse as late.
        let policy = match means {
            Means::HalfHead => late,
            _ => LatePolicy::Serve,
        };
        if !policy.is_kept_by(outcome) {
            let after = first
                .ended_at
                .map_or(Duration::ZERO, |at| at.saturating_duration_since(t));
            self.worst.get_or_insert(format!(
                "{} ({} after the signal)",
                in_words(outcome),
                offset_in_words(after)
            ));
        }
        if outcome == Outcome::Served && flow.exchanges.len() == 1 && flow.end().is_some() {
            self.unannounced += 1;
        }
        for again in flow.exchanges.iter().skip(1) {
            self.follow_ups += 1;
            self.tally.add(again);
            if again.is_lost() {
                let how = in_words(again.outcome.unwrap_or(Outcome::Eof));
                let words = format!(
                    "was answered without `Connection: close`, and the next request on that connection {how}"
                );
                self.worst.get_or_insert(words);
            }
        }
    }
}

fn in_flight(bench: &Bench<'_>, passes: &[Drained]) -> Finding {
    let mut seen = InFlight::default();
    for pass in passes {
        for flow in pass.engine.group("in-flight") {
            let late = bench.options.target.late;
            seen.take(flow, &pass.departure, &bench.facts.means, late);
        }
    }
    let means = match &bench.facts.means {
        Means::Slow(_) => "running",
        Means::HalfPost(_) => "being uploaded",
        Means::HalfHead => "half sent",
    };
    let (count, half) = (seen.at_signal, seen.closed_half);
    let (verdict, detail) = match &seen.worst {
        _ if count == 0 && half > 0 => (
            Verdict::NotApplicable,
            format!(
                "the target closed all {half} half-sent requests; --slow-path would give one that really runs"
            ),
        ),
        _ if count == 0 => (
            Verdict::NotApplicable,
            "no request could be kept in flight until the signal".to_owned(),
        ),
        Some(worst) => (
            Verdict::Fail,
            format!("{count} requests were {means} at the signal; one {worst}"),
        ),
        None => (
            Verdict::Pass,
            format!("{count} requests {means} at the signal, all answered whole"),
        ),
    };
    bench
        .finding("H1-01", verdict, detail)
        .with_requests(seen.tally)
        .with_figure("in_flight", count)
        .with_figure("follow_ups", seen.follow_ups)
        .with_figure("closed_unannounced", seen.unannounced)
        .with_figure("wanted", IN_FLIGHT * passes.len())
}

fn left_alone(bench: &Bench<'_>, passes: &[Drained]) -> Finding {
    if !bench.facts.keeps_connections {
        return bench.lacking(
            "H1-03",
            "the target closes each connection after one response: none stays idle",
        );
    }
    let (mut poised, mut fin, mut reset, mut last) = (0_u64, 0_u64, 0_u64, Duration::ZERO);
    let mut held = false;
    for pass in passes {
        held |= pass.departure.exit.is_none();
        for flow in pass
            .engine
            .group("left-alone")
            .filter(|flow| flow.was_poised)
        {
            poised += 1;
            match flow.end() {
                Some((at, End::Fin)) => {
                    fin += 1;
                    last = last.max(at.saturating_duration_since(pass.departure.t));
                }
                Some((_, _)) => reset += 1,
                None => {}
            }
        }
    }
    let (verdict, detail) = if poised == 0 {
        (Verdict::NotApplicable, unpoised(passes))
    } else if reset > 0 {
        (
            Verdict::Fail,
            format!("{reset} of {poised} idle connections were reset instead of closed"),
        )
    } else if held && fin < poised {
        let open = poised - fin;
        (
            Verdict::Fail,
            format!(
                "{open} of {poised} idle connections stayed open until the grace period was over, and so did the process"
            ),
        )
    } else {
        (
            Verdict::Pass,
            format!(
                "{fin} of {poised} closed by FIN, the last {:.0} ms after the signal",
                last.as_secs_f64() * 1e3
            ),
        )
    };
    bench
        .finding("H1-03", verdict, detail)
        .with_figure("connections", poised)
        .with_figure("fin", fin)
        .with_figure("reset", reset)
        .with_figure("last_fin_ms", last)
}

/// Every sweep that was asked for has enough samples in time, or has failed already.
pub(crate) fn is_covered(bench: &Bench<'_>, passes: &[Drained]) -> bool {
    let sweeps: [(&str, &[&'static str]); 3] = [
        ("H1-02", &["idle"]),
        ("H1-04", &["silent"]),
        ("H1-06", &["half-fresh", "half-reused"]),
    ];
    sweeps
        .iter()
        .filter(|(id, _)| bench.wants(id))
        .all(|(id, groups)| {
            let sweep = Sweep::of(passes, groups, late_policy(bench, id));
            sweep.poised == 0
                || sweep.worst.is_some()
                || sweep.is_covered()
                || sweep.vagueness().is_some()
        })
}
