//! Owns the verdicts over HTTP/2 of the second drain: H2-01 to H2-08 and H2-10.
//! Not: making the drain (see `clients` and `second`).

use std::time::Duration;

use super::clients::HUNDRED;
use crate::declared::LatePolicy;
use crate::observe::h2::call::{Call, ConnLog};
use crate::observe::h2::flow::Flow;
use crate::observe::holdups::HeldUp;
use crate::observe::outcome::{End, Outcome, Tally};
use crate::scenario::attention::Watch;
use crate::scenario::bench::{Bench, Departure};
use crate::scenario::drain::SWEEP;
use crate::scenario::judge::{in_words, lateness_bound, offset_in_words};
use crate::scenario::second::{Held, Seconded};
use crate::verdict::{Finding, Verdict};

/// At least so many of the eight offsets need a stream that was opened in time.
const OFFSETS_NEEDED: usize = 6;

pub(super) const LACKING: &str =
    "the target speaks no HTTP/2, neither by prior knowledge nor by ALPN";

/// Judges all of them.
pub(crate) fn judge(bench: &Bench<'_>, passes: &[Seconded]) -> Vec<Finding> {
    const IDS: [&str; 9] = [
        "H2-01", "H2-02", "H2-03", "H2-04", "H2-05", "H2-06", "H2-07", "H2-08", "H2-10",
    ];
    if !bench.facts.speech.speaks_h2() {
        return IDS.map(|id| bench.lacking(id, LACKING)).into();
    }
    vec![
        steered(bench, passes),
        in_flight(bench, passes),
        between(bench, passes),
        above(bench, passes),
        held(
            bench,
            passes,
            "H2-05",
            "h2-silent",
            "client that acknowledges no PING",
        ),
        held(
            bench,
            passes,
            "H2-06",
            "h2-half",
            "client with half a preface or frame",
        ),
        credit(bench, passes),
        hundred(bench, passes),
        newcomers(bench, passes),
    ]
}

/// Streams that were open at the signal or opened after it.
#[derive(Debug, Default)]
struct Streams {
    tally: Tally,
    count: u64,
    refused: u64,
    unserved: u64,
    worst: Option<String>,
    /// What is owed to them: to those that were opened before the signal, an answer.
    late_policy: LatePolicy,
}

impl Streams {
    /// For streams that are opened after the signal.
    fn late(bench: &Bench<'_>) -> Self {
        Self {
            late_policy: bench.options.target.late,
            ..Self::default()
        }
    }

    fn take(&mut self, call: &Call, departure: &Departure) {
        let t = departure.t;
        let exchange = &call.exchange;
        if !departure.concerns(exchange) {
            return;
        }
        self.tally.add(exchange);
        let Some(outcome) = exchange.outcome else {
            return;
        };
        self.count += 1;
        self.refused += u64::from(matches!(outcome, Outcome::RefusedH2 | Outcome::Refused503));
        if !self.late_policy.is_kept_by(outcome) && !exchange.is_discarded() {
            self.unserved += 1;
            let after = exchange
                .ended_at
                .map_or(Duration::ZERO, |at| at.saturating_duration_since(t));
            let code = call
                .reset
                .map_or_else(String::new, |code| format!(", RST_STREAM with code {code}"));
            self.worst.get_or_insert_with(|| {
                let after = offset_in_words(after);
                format!("{} ({after} after the signal{code})", in_words(outcome))
            });
        }
    }

    /// A refusal that is safe to try again is good enough.
    fn take_or_refused(&mut self, call: &Call, departure: &Departure) {
        let outcome = call.exchange.outcome;
        if outcome.is_some_and(|outcome| LatePolicy::Refuse.is_refusal(outcome))
            && call.exchange.is_at_stake(departure.t)
        {
            self.tally.add(&call.exchange);
            self.count += 1;
            self.refused += 1;
        } else {
            self.take(call, departure);
        }
    }

    fn finding(self, bench: &Bench<'_>, id: &'static str, what: &str) -> Finding {
        let (count, refused) = (self.count, self.refused);
        let (verdict, detail) = match &self.worst {
            _ if count == 0 => (
                Verdict::NotApplicable,
                format!("no {what}: none was open at the signal, or after it"),
            ),
            Some(worst) => (
                Verdict::Fail,
                format!(
                    "{} of {count} {what} not served; one {worst}",
                    self.unserved
                ),
            ),
            None if refused > 0 => (
                Verdict::Pass,
                format!(
                    "{} of {count} {what} served, {refused} refused unprocessed",
                    count - refused
                ),
            ),
            None => (Verdict::Pass, format!("{count} of {count} {what} served")),
        };
        bench
            .finding(id, verdict, detail)
            .with_requests(self.tally)
            .with_figure("streams", count)
    }
}

fn poised<'p>(
    passes: &'p [Seconded],
    group: &'static str,
) -> impl Iterator<Item = (&'p Seconded, &'p Flow)> {
    passes.iter().flat_map(move |pass| {
        let flows = pass.h2(group).filter(|flow| flow.was_poised);
        flows.map(move |flow| (pass, flow))
    })
}

/// What a connection that was open at the signal was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// Two GOAWAYs, then a close in order.
    Twice,
    /// The first named the last stream at once.
    Once,
    /// The notice, and then no last stream.
    NoticeOnly,
    Nothing,
    /// It ended by a reset.
    ThenReset,
}

impl Told {
    fn of(log: &ConnLog) -> Self {
        let notice = log.goaways.first().is_some_and(|goaway| goaway.is_notice());
        match (notice, log.final_goaway(), log.end) {
            (_, _, Some((_, End::Reset))) => Self::ThenReset,
            (true, Some(_), _) => Self::Twice,
            (true, None, _) => Self::NoticeOnly,
            (false, Some(_), _) => Self::Once,
            (false, None, _) => Self::Nothing,
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Twice => "were told twice",
            Self::Once => {
                "got one GOAWAY that named the last stream at once: what is on its way then is refused"
            }
            Self::NoticeOnly => "got the notice, but no GOAWAY that named the last stream",
            Self::Nothing => "got no GOAWAY at all",
            Self::ThenReset => "were reset",
        }
    }
}

fn steered(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let (mut all, mut worst) = (Vec::new(), Told::Twice);
    let (mut first, mut gap) = (Duration::ZERO, Duration::ZERO);
    for group in ["h2-idle", "h2-in-flight"] {
        for (pass, flow) in poised(passes, group) {
            let Some(log) = flow.conns.last() else {
                continue;
            };
            let told = Told::of(log);
            all.push(told);
            worst = worst.max(told);
            if let (Told::Twice, Some(notice), Some(last)) =
                (told, log.goaways.first(), log.final_goaway())
            {
                first = first.max(notice.at.saturating_duration_since(pass.t()));
                gap = gap.max(last.at.saturating_duration_since(notice.at));
            }
        }
    }
    let count = all.len();
    let bad = all.iter().filter(|told| **told == worst).count();
    let (verdict, detail) = match worst {
        _ if count == 0 => (
            Verdict::NotApplicable,
            "no connection was open at the signal".to_owned(),
        ),
        Told::Twice => (
            Verdict::Pass,
            format!(
                "{count} of {count} connections got both GOAWAYs, the first {:.0} ms after the signal at the latest",
                first.as_secs_f64() * 1e3
            ),
        ),
        worst => (
            Verdict::Differs,
            format!("{bad} of {count} connections {}", worst.in_words()),
        ),
    };
    bench
        .finding("H2-01", verdict, detail)
        .with_figure("connections", count)
        .with_figure("last_notice_ms", first)
        .with_figure("longest_gap_ms", gap)
}

fn in_flight(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let mut streams = Streams::default();
    let mut trailers = 0_u64;
    for group in ["h2-in-flight", "h2-grpc"] {
        for (pass, flow) in passes
            .iter()
            .flat_map(|pass| pass.h2(group).map(move |flow| (pass, flow)))
        {
            for call in &flow.calls {
                streams.take(call, &pass.departure);
                trailers += u64::from(call.has_trailers);
            }
        }
    }
    let mut finding = streams.finding(bench, "H2-02", "open streams");
    if finding.verdict == Verdict::Pass {
        finding.detail.push_str(match trailers {
            0 => "; none of these answers has trailers",
            _ => ", trailers included",
        });
    }
    finding.with_figure("with_trailers", trailers)
}

/// Streams were opened soon enough after the signal, between the two GOAWAYs or at most offsets of the sweep; or it was
/// not for us to open them.
pub(crate) fn is_covered(bench: &Bench<'_>, passes: &[Seconded]) -> bool {
    if !bench.wants("H2-03") || !bench.facts.speech.speaks_h2() {
        return true;
    }
    let is_behind_the_notice = |log: &ConnLog, call: &Call| {
        let named = log.final_goaway().map(|goaway| goaway.at);
        !log.goaways.is_empty() && named.is_none_or(|at| call.exchange.begun_at < at)
    };
    let between = poised(passes, "h2-between").any(|(_, flow)| {
        let mut late = flow.calls.iter().skip(1);
        flow.conns
            .last()
            .is_some_and(|log| late.any(|call| is_behind_the_notice(log, call)))
    });
    let in_time = |offset: Duration| {
        poised(passes, "h2-sweep").any(|(_, flow)| {
            let mut late = flow.calls.iter().skip(1);
            let is_in_time = |call: &Call| call.exchange.lateness() <= lateness_bound(offset);
            flow.offset == Some(offset) && late.any(is_in_time)
        })
    };
    let offsets = SWEEP.iter().filter(|offset| in_time(**offset)).count();
    between || offsets >= OFFSETS_NEEDED
}

fn between(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let mut streams = Streams::late(bench);
    for (pass, flow) in poised(passes, "h2-between") {
        let Some(log) = flow.conns.last() else {
            continue;
        };
        let named = log.final_goaway().map(|goaway| goaway.at);
        for call in flow.calls.iter().skip(1) {
            // One that was opened behind the second GOAWAY proves nothing here (see H2-04).
            if named.is_none_or(|at| call.exchange.begun_at < at) {
                streams.take(call, &pass.departure);
            }
        }
    }
    let told = streams.count;
    for (pass, flow) in poised(passes, "h2-sweep") {
        for call in flow.calls.iter().skip(1) {
            streams.take_or_refused(call, &pass.departure);
        }
    }
    let mut finding = streams.finding(bench, "H2-03", "streams opened after the signal");
    let held_up = held_up(bench, passes);
    if matches!(finding.verdict, Verdict::Pass | Verdict::NotApplicable)
        && !is_covered(bench, passes)
        && held_up.blurs()
    {
        finding = finding.left_open(held_up);
    }
    finding.with_figure("behind_the_notice", told)
}

fn above(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let (mut streams, mut behind) = (Streams::default(), 0_u64);
    let (mut reset, mut connections) = (0_u64, 0_u64);
    for (pass, flow) in poised(passes, "h2-above") {
        let Some(log) = flow.conns.last() else {
            continue;
        };
        let Some(named) = log.final_goaway() else {
            continue;
        };
        connections += 1;
        reset += u64::from(matches!(log.end, Some((_, End::Reset))));
        for call in &flow.calls {
            if call.exchange.begun_at > named.at {
                behind += 1;
                streams.take_or_refused(call, &pass.departure);
            } else {
                streams.take(call, &pass.departure);
            }
        }
    }
    let refused = streams.refused;
    let mut finding = streams.finding(
        bench,
        "H2-04",
        "streams, before and behind the last GOAWAY,",
    );
    if connections == 0 {
        finding = bench.lacking(
            "H2-04",
            "no connection got a GOAWAY that names the last stream",
        );
    } else if reset > 0 {
        let tally = finding.requests;
        let detail = format!(
            "{reset} of {connections} connections were reset after a stream was opened behind the last GOAWAY"
        );
        finding = bench
            .finding("H2-04", Verdict::Fail, detail)
            .with_requests(tally);
    }
    // Where the connection ends right behind its last stream, nothing can be opened there, and nothing is owed.
    let held_up = held_up(bench, passes);
    if matches!(finding.verdict, Verdict::Pass | Verdict::NotApplicable)
        && behind == 0
        && held_up.blurs()
    {
        finding = finding.left_open(held_up);
    }
    finding
        .with_figure("connections", connections)
        .with_figure("opened_behind", behind)
        .with_figure("refused", refused)
}

/// How much we were held up while they left.
fn held_up(bench: &Bench<'_>, passes: &[Seconded]) -> HeldUp {
    let watches: Vec<Watch> = passes
        .iter()
        .map(|pass| Watch::from(&pass.departure))
        .collect();
    bench.held_up(&watches)
}

fn held(
    bench: &Bench<'_>,
    passes: &[Seconded],
    id: &'static str,
    group: &'static str,
    who: &str,
) -> Finding {
    let mut held = Held::default();
    for (pass, flow) in poised(passes, group) {
        let end = flow.conns.last().and_then(|log| log.end);
        held.take(bench, &pass.departure, end.map(|(at, _)| at));
    }
    held.judge(bench, id, who)
}

fn credit(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let mut streams = Streams::default();
    for (pass, flow) in poised(passes, "h2-credit") {
        for call in &flow.calls {
            streams.take(call, &pass.departure);
        }
    }
    let bytes = streams_bytes(passes);
    let finding = streams.finding(bench, "H2-07", "responses that waited for WINDOW_UPDATE");
    finding.with_figure("largest_bytes", bytes)
}

fn streams_bytes(passes: &[Seconded]) -> u64 {
    poised(passes, "h2-credit")
        .flat_map(|(_, flow)| &flow.calls)
        .map(|call| call.exchange.body_bytes)
        .max()
        .unwrap_or(0)
}

fn hundred(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let (mut streams, mut most) = (Streams::default(), 0);
    for pass in passes {
        for flow in pass.h2("h2-hundred") {
            let before = streams.count;
            for call in &flow.calls {
                streams.take(call, &pass.departure);
            }
            most = most.max(streams.count - before);
        }
    }
    let mut finding = streams.finding(bench, "H2-08", "streams of one connection");
    if finding.verdict == Verdict::Pass && most < HUNDRED as u64 {
        finding
            .detail
            .push_str(&format!("; {most} at once is what could be had"));
    }
    finding.with_figure("at_once", most)
}

fn newcomers(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let (mut streams, mut refused) = (Streams::late(bench), 0_usize);
    for pass in passes {
        for flow in pass.h2("h2-newcomers") {
            refused += flow.refused_connects.len();
            for call in &flow.calls {
                let new = call.exchange.opened_at >= pass.t();
                if new && call.exchange.is_first {
                    streams.take(call, &pass.departure);
                }
            }
        }
    }
    let finding = streams.finding(bench, "H2-10", "first streams of new connections");
    finding.with_figure("refused_connects", refused)
}
