//! Owns the verdict of a load from what all its rounds came to.
//! Not: making one (see `load`).

use std::time::Duration;

use super::attention::Watch;
use super::bench::Bench;
use super::load::{EventStreams, Load, Think};
use crate::observe::holdups::HeldUp;
use crate::observe::outcome::Outcome;
use crate::verdict::{Finding, Verdict, one_in, upper_bound_95};

/// Whoever closes unseen does so within this time after the signal.
const AT_SIGNAL: Duration = Duration::from_millis(100);
/// More than one in so many rounds without our clients at the signal are too many.
const BLIND_SHARE: usize = 4;

pub(crate) fn judge(bench: &Bench<'_>, id: &'static str, load: &Load) -> Finding {
    let think = Think::for_quiet(bench.options.target.quiet);
    let tally = &load.at_stake;
    let failing = if think.is_within(bench.options.target.quiet) {
        tally.lost
    } else {
        tally.lost - tally.crossed
    };
    let sent = tally.sent();
    let blind = load.blind_rounds(bench);
    let (verdict, detail) = weigh(load, failing, blind);
    let detail = detail + &load.streams.in_words();
    let mut finding = bench
        .finding(id, verdict, detail)
        .with_requests(tally.clone())
        .with_figure("rounds", u64::from(load.rounds))
        .with_figure("rounds_with_loss", u64::from(load.rounds_with_loss))
        .with_figure("answered_before_signal", load.before.served())
        .with_figure("lost_before_signal", load.before.lost)
        .with_figure("lost_on_fresh_connections", load.lost_on_fresh)
        .with_figure("dropped_connects", load.dropped_connects)
        .with_figure("rounds_held_up", blind);
    // Closed is closed; but who is slow to answer may be the machine.
    let held_up = bench.held_up(&load.watches);
    if finding.verdict == Verdict::Fail
        && failing <= tally.count(Outcome::Hung)
        && held_up.excuses()
    {
        finding = finding.left_open(held_up);
    }
    let silent = load.lost_in_our_silence(bench);
    if finding.verdict == Verdict::Fail && silent.lost >= failing {
        finding = finding.left_open(silent.worst);
    }
    finding.series = Some(load.series.clone());
    if load.streams.open > 0 {
        finding = finding
            .with_figure("event_streams", load.streams.open)
            .with_figure("event_streams_cut", load.streams.cut);
    }
    if let Some(bound) = upper_bound_95(tally.lost, sent) {
        finding = finding.with_figure("upper_bound_95_one_in", one_in(bound));
    }
    finding
}

fn weigh(load: &Load, failing: u64, blind: usize) -> (Verdict, String) {
    let tally = &load.at_stake;
    let sent = tally.sent();
    let crossed = match tally.crossed {
        0 => String::new(),
        crossed => format!("; {crossed} of them crossed with the server's close on the wire"),
    };
    if load.rounds == 0 {
        (
            Verdict::NotApplicable,
            "no rounds were asked for".to_owned(),
        )
    } else if failing > 0 {
        let rounds = format!("in {} of {} rounds", load.rounds_with_loss, load.rounds);
        (
            Verdict::Fail,
            format!("{} of {sent} requests lost, {rounds}{crossed}", tally.lost),
        )
    } else if load.tool_trouble > 0 || load.rounds_unsettled > 0 || tally.discarded * 10 > sent {
        let detail = format!(
            "this machine could not keep up: {} connects failed here, {} rounds had no answer before the signal, {} requests were written late",
            load.tool_trouble, load.rounds_unsettled, tally.discarded
        );
        (Verdict::Inconclusive, detail)
    } else if sent == 0 {
        (
            Verdict::Inconclusive,
            "no request was under way at any signal".to_owned(),
        )
    } else if blind * BLIND_SHARE > load.watches.len() {
        let detail = format!(
            "this machine held our clients up when the signal came, in {blind} of {} rounds; nothing was lost besides",
            load.rounds
        );
        (Verdict::Inconclusive, detail)
    } else {
        (
            Verdict::Pass,
            format!(
                "{} of {sent} requests lost in {} rounds{crossed}",
                tally.lost, load.rounds
            ),
        )
    }
}

/// What was lost in rounds in which our clients fell silent for so long that the target was right to close.
#[derive(Debug, Default, Clone, Copy)]
struct Silence {
    lost: u64,
    /// What this machine did to us in the worst of them.
    worst: HeldUp,
}

impl Silence {
    /// A target that closes idle connections after a declared time of `quiet` owes nothing to clients that this machine held up for longer:
    /// they pause for half of it at most, and for the other half they may be late. `rounds`: how they were held up, and how
    /// many they lost.
    fn of(rounds: impl Iterator<Item = (HeldUp, u64)>, quiet: Duration) -> Self {
        let mut silence = Self::default();
        for (held_up, lost) in rounds {
            if held_up.longest < quiet / 2 {
                continue;
            }
            silence.lost += lost;
            if lost > 0 && held_up.longest > silence.worst.longest {
                silence.worst = held_up;
            }
        }
        silence
    }
}

impl Load {
    fn lost_in_our_silence(&self, bench: &Bench<'_>) -> Silence {
        let rounds = self.watches.iter().zip(&self.reused_lost_in_each);
        let rounds = rounds.map(|(watch, lost)| (bench.held_up(&[*watch]), *lost));
        let quiet = bench.options.target.quiet;
        quiet.map_or_else(Silence::default, |quiet| Silence::of(rounds, quiet))
    }

    /// Rounds in which our clients were held up when the signal came: they can not have met what happened then.
    fn blind_rounds(&self, bench: &Bench<'_>) -> usize {
        let at_signal = self.watches.iter().map(|watch| Watch {
            until: watch.until.min(watch.t + AT_SIGNAL),
            ..*watch
        });
        at_signal
            .filter(|watch| bench.held_up(&[*watch]).blurs())
            .count()
    }
}

impl EventStreams {
    fn in_words(self) -> String {
        match self {
            Self { open: 0, .. } => String::new(),
            Self { open, cut: 0 } => format!("; {open} event streams beside them ended in order"),
            Self { open, cut } => {
                format!("; {cut} of {open} event streams beside them were cut: H1-14")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_ours_only_in_a_round_in_which_we_were_silent_for_too_long() {
        let ms = Duration::from_millis;
        let round = |longest, lost| {
            let held_up = HeldUp {
                longest: ms(longest),
                ..HeldUp::default()
            };
            (held_up, lost)
        };
        let of = |rounds: &[(HeldUp, u64)]| Silence::of(rounds.iter().copied(), ms(100));
        let ours = of(&[round(60, 7), round(400, 0), round(10, 0)]);
        assert_eq!((ours.lost, ours.worst.longest), (7, ms(60)));
        let theirs = of(&[round(49, 7), round(80, 0)]);
        assert_eq!((theirs.lost, theirs.worst.longest), (0, ms(0)));
    }
}
