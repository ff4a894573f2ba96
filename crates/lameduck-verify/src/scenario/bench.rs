//! Owns what all scenarios share: options, facts, seed, launching with progress, and making findings.
//! Not: any one scenario.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::again::reproduction;
use super::album::Album;
use super::facts::Facts;
use super::judge::lateness_bound;
use super::reach;
use crate::catalogue;
use crate::front::Sightings;
use crate::observe::engine::Engine;
use crate::observe::flow::Flow;
use crate::observe::lateness::Lateness;
use crate::observe::outcome::{Exchange, Outcome, Tally};
use crate::observe::rng::Rng;
use crate::options::Options;
use crate::protocol::Protocol;
use crate::target::{Exit, Ledger, Running, VerifyError, Ward, launch_behind, spawn_behind};
use crate::verdict::{Figure, Finding, Verdict};

/// The shared part of a run.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    pub(crate) facts: Facts,
    pub(crate) seed: u64,
    pub(crate) launches: AtomicU32,
    pub(crate) lost: AtomicU64,
    /// What single connections of the drains saw.
    pub(crate) album: Album,
    /// What honest clients saw after the signal, for the views through fronts.
    pub(crate) sightings: Sightings,
    pub(crate) ledger: Arc<Ledger>,
    /// How late our own clients were.
    pub(crate) lateness: Arc<Lateness>,
    /// Who stands between each target and us.
    pub(crate) ward: Ward,
}

impl Bench<'_> {
    pub(crate) fn wants(&self, id: &str) -> bool {
        wants(self.options, id) && (self.facts.speaks_h1 || !needs_h1(id))
    }

    /// What was asked for and can not be asked: of a target without HTTP/1.1, or in this set-up.
    pub(crate) fn unasked(&self) -> Vec<Finding> {
        let mut unasked: Vec<Finding> = reach::unreached(self.options)
            .filter(|(id, _)| names(self.options, id))
            .map(|(id, reason)| self.lacking(id, reason))
            .collect();
        let asked = catalogue::list().into_iter().map(|entry| entry.id);
        let unspoken = asked.filter(|id| wants(self.options, id) && !self.wants(id));
        let finding = |id| self.lacking(id, "the target speaks no HTTP/1.1 in plain text");
        unasked.extend(unspoken.map(finding));
        unasked
    }

    pub(crate) fn rng(&self, stream: u64) -> Rng {
        Rng::new(self.seed).fork(stream)
    }

    pub(crate) fn launch(&self) -> Result<Running, VerifyError> {
        // Relaxed: a counter for display.
        self.launches.fetch_add(1, Ordering::Relaxed);
        launch_behind(self.ward, &self.options.target, &self.ledger)
    }

    pub(crate) fn spawn_unready(&self) -> Result<Running, VerifyError> {
        self.launches.fetch_add(1, Ordering::Relaxed);
        spawn_behind(self.ward, &self.options.target, &self.ledger)
    }

    pub(crate) fn engine(&self, running: &Running) -> Engine {
        Engine::new(running.place.url.addr, self.facts.round_trip).counting_in(&self.lateness)
    }

    pub(crate) fn posts(&self) -> bool {
        self.facts.post_path.is_some()
    }

    /// A finding about `id`; advice and the next command are added where there is something to do.
    pub(crate) fn finding(&self, id: &'static str, verdict: Verdict, detail: String) -> Finding {
        finding(self.options, self.seed, id, verdict, detail)
    }

    pub(crate) fn lacking(&self, id: &'static str, reason: &str) -> Finding {
        self.finding(id, Verdict::NotApplicable, reason.to_owned())
    }
}

/// The check asks in HTTP/1.1, in plain text.
fn needs_h1(id: &str) -> bool {
    let others = ["P1", "P4", "P8", "L-H2", "L-TLS"];
    let families = ["H2-", "TLS-", "N-"];
    !(others.contains(&id) || families.iter().any(|family| id.starts_with(family)))
}

/// It is asked for, and can be reached.
pub(crate) fn wants(options: &Options, id: &str) -> bool {
    names(options, id) && reach::beyond(options, id).is_none()
}

/// It is asked for.
pub(crate) fn names(options: &Options, id: &str) -> bool {
    let named = |list: &[String]| list.iter().any(|entry| entry.eq_ignore_ascii_case(id));
    let spoken = Protocol::of(id).is_none_or(|protocol| {
        options.protocols.is_empty()
            || options.protocols.contains(&protocol)
            // gRPC is spoken over HTTP/2, and its check stands among those.
            || protocol == Protocol::Grpc && options.protocols.contains(&Protocol::H2)
    });
    (options.only.is_empty() || named(&options.only)) && !named(&options.skip) && spoken
}

pub(crate) fn finding(
    options: &Options,
    seed: u64,
    id: &'static str,
    verdict: Verdict,
    detail: String,
) -> Finding {
    let entry = catalogue::entry(id).expect("scenarios judge only ids of the catalogue");
    let acts = matches!(verdict, Verdict::Fail | Verdict::Differs);
    let again = acts || verdict == Verdict::Inconclusive;
    Finding {
        id: entry.id.into(),
        class: entry.class,
        verdict,
        requests: Tally::default(),
        figures: BTreeMap::new(),
        detail,
        owed: entry.owed.into(),
        consequence: acts.then_some(entry.consequence.into()),
        remedy: acts.then_some(entry.remedy.into()),
        waiver: None,
        without_waiver: None,
        next: again.then(|| reproduction(options, seed, id)),
        series: None,
    }
}

impl Finding {
    pub(crate) fn with_requests(mut self, tally: Tally) -> Self {
        self.requests = tally;
        self
    }

    pub(crate) fn with_figure(mut self, name: &'static str, figure: impl Into<Figure>) -> Self {
        self.figures.insert(name.into(), figure.into());
        self
    }
}

/// How the process of a scenario ended, as seen from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Departure {
    pub(crate) t: Instant,
    /// When the signal was sent, or the command or call was over.
    told_at: Instant,
    /// The first thing that showed it.
    first_effect: Option<Instant>,
    /// A command or a call told it: T is an interval.
    pub(crate) is_vague: bool,
    /// From then on nobody looked any more.
    pub(crate) over_at: Instant,
    /// Seen within the grace period.
    pub(crate) exit: Option<Exit>,
    /// Requests were still in flight when the grace period was over.
    pub(crate) was_busy: bool,
}

impl Departure {
    /// After a signal sent at `t`, of which nothing else is known.
    #[cfg(test)]
    pub(crate) fn exact(t: Instant, exit: Option<Exit>) -> Self {
        Self {
            t,
            told_at: t,
            first_effect: None,
            is_vague: false,
            over_at: t,
            exit,
            was_busy: false,
        }
    }

    pub(crate) fn took(&self) -> Option<Duration> {
        self.exit
            .map(|exit| exit.at.saturating_duration_since(self.t))
    }

    /// From here on the target knew: T itself after a signal; else the first effect that somebody saw, and without any
    /// the end of the command or call (some answer first and stop later).
    pub(crate) fn told_by(&self) -> Instant {
        self.first_effect.unwrap_or(self.told_at)
    }

    /// Nobody knows whether the target knew by then.
    pub(crate) fn is_unsure_at(&self, at: Instant) -> bool {
        self.is_vague && at <= self.told_by()
    }

    /// The longest time that may lie between T and the instant at which the target knew.
    pub(crate) fn width(&self) -> Duration {
        self.told_by().saturating_duration_since(self.t)
    }

    /// An effect that others saw.
    pub(crate) fn note_effect(&mut self, at: Option<Instant>) {
        let at = at.filter(|at| self.is_vague && *at >= self.t);
        self.first_effect = self.first_effect.into_iter().chain(at).min();
    }

    /// An effect was seen by `at`, and came so soon after T that an offset as long as `offset` is what it says.
    pub(crate) fn vouches_for(&self, at: Instant, offset: Duration) -> bool {
        !self.is_vague
            || self.first_effect.is_some_and(|seen| seen <= at)
                && self.width() <= lateness_bound(offset)
    }

    /// The stop may have harmed it: under way at T, or later. One that was served counts only if it outlasted the
    /// time in which the target may not have known.
    pub(crate) fn concerns(&self, exchange: &Exchange) -> bool {
        let is_served = exchange.outcome.is_some_and(Outcome::is_served);
        exchange.is_at_stake(if is_served { self.told_by() } else { self.t })
    }
}

/// A request that waits for longer than this when grace is over is `hung`; younger ones see the kill.
const PATIENCE: Duration = Duration::from_secs(1);
/// A connect begun just before the exit may wait for one SYN retransmission.
const AFTER_EXIT: Duration = Duration::from_millis(1_300);

/// Lets clients work until the target is gone and all are done, or grace is over; then kills what is left, if it is
/// ours.
pub(crate) fn await_departure(
    engine: &mut Engine,
    running: &Running,
    t: Instant,
    grace: Duration,
) -> Departure {
    engine.run(t + grace, |engine| {
        is_gone(running, engine) || running.is_untold()
    });
    let exit = running.exit().filter(|_| is_gone(running, engine));
    let exit = exit.filter(|exit| exit.is_by(t + grace));
    let was_busy = exit.is_none() && engine.flows.iter().any(Flow::is_in_flight);
    if exit.is_none() {
        engine.give_up_on_those_since(Instant::now() - PATIENCE.min(grace / 2));
        running.kill();
        let _ = running.await_exit_until(Instant::now() + Duration::from_secs(5));
    }
    // Clients meet the end of the process: FINs and RSTs are on their way, new connects are refused.
    engine.run(Instant::now() + AFTER_EXIT, Engine::all_finished);
    engine.give_up();
    let mut departure = Departure {
        t,
        told_at: t,
        first_effect: None,
        is_vague: running.is_told_vaguely(),
        over_at: Instant::now(),
        exit,
        was_busy,
    };
    if departure.is_vague {
        departure.told_at = running.told_at().unwrap_or(t + grace);
        let effects = [exit.map(|exit| exit.at), engine.first_effect(t)];
        departure.first_effect = effects.into_iter().flatten().min();
    }
    departure
}

/// A shut door alone is no exit: whoever still has a connection knows better.
fn is_gone(running: &Running, engine: &Engine) -> bool {
    running.exit().is_some() && (running.shows_its_exit() || !engine.has_connections())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TargetSpec;

    #[test]
    fn only_and_skip_choose() {
        let mut options = Options::new(TargetSpec::default());
        assert!(wants(&options, "P1"));
        options.only = vec!["p1".to_owned(), "P2".to_owned()];
        options.skip = vec!["P2".to_owned()];
        assert!(wants(&options, "P1") && !wants(&options, "P2") && !wants(&options, "P3"));
    }

    #[test]
    fn a_vague_stop_is_certain_from_its_first_effect_on() {
        let t = Instant::now();
        let at = |ms| t + Duration::from_millis(ms);
        let mut departure = Departure {
            t,
            told_at: at(1),
            first_effect: None,
            is_vague: true,
            over_at: t,
            exit: None,
            was_busy: false,
        };
        // A call that is over proves nothing: some answer first and stop later.
        assert!(!departure.vouches_for(at(90), Duration::from_millis(100)));
        departure.note_effect(Some(at(6)));
        assert!(departure.is_unsure_at(at(5)) && !departure.is_unsure_at(at(7)));
        let vouches = |offset| departure.vouches_for(at(offset), Duration::from_millis(offset));
        assert!(!vouches(2) && !vouches(5) && vouches(10) && vouches(100));
        departure.is_vague = false;
        assert!(!departure.is_unsure_at(at(5)));
        assert!(departure.vouches_for(at(1), Duration::from_millis(1)));
    }
}
