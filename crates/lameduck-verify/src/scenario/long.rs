//! One drain for everything that lasts: half heads, uploads, streams, pipelines and WebSockets, all open at one signal.
//! Owns the launch, the order of events and who held the exit; not the clients or verdicts (see `h1` and `ws`).

use std::time::{Duration, Instant};

use super::attention::Watch;
use super::bench::{Bench, Departure, await_departure};
use super::drain::in_flight_time;
use super::vague::unplaced;
use super::{h1, ws};
use crate::observe::engine::Engine;
use crate::observe::outcome::End;
use crate::observe::talk::{Talk, Talker};
use crate::target::{Place, Running, VerifyError};
use crate::verdict::{Finding, Verdict};

/// How long opening all connections may take.
const OPENING_BOUND: Duration = Duration::from_secs(5);
/// And the last of them, whose time runs.
pub(crate) const LAST_BOUND: Duration = Duration::from_secs(1);
/// How old the exchanges are at T.
const AGE_AT_STOP: Duration = Duration::from_millis(300);

/// What those who open clients need.
pub(crate) struct Opening<'a> {
    pub(crate) bench: &'a Bench<'a>,
    pub(crate) place: &'a Place,
    pub(crate) engine: &'a mut Engine,
    /// Exchanges with progress end so long after T.
    pub(crate) time: Duration,
}

impl Opening<'_> {
    pub(crate) fn add(&mut self, group: &'static str, talker: impl Talker) {
        self.engine.add_talk(Talk::new(group, talker));
    }

    pub(crate) fn wants(&self, id: &str) -> bool {
        self.bench.wants(id)
    }
}

/// What those who judge get to see.
pub(crate) struct Seen<'a> {
    pub(crate) bench: &'a Bench<'a>,
    pub(crate) engine: &'a Engine,
    pub(crate) departure: Departure,
    /// What the target said about it, where that can be seen.
    pub(crate) account: Option<&'a str>,
}

impl Seen<'_> {
    /// The talkers of a group, with whether each was where it should be when the signal came.
    pub(crate) fn talkers<T: Talker>(
        &self,
        group: &'static str,
    ) -> impl Iterator<Item = (bool, &T)> {
        self.engine
            .talks_of(group)
            .filter_map(|talk| Some((talk.was_poised, talk.talker::<T>()?)))
    }

    /// A connection that ended so was still open when the grace period was over and the process had to be killed.
    pub(crate) fn held_exit(&self, end: Option<(Instant, End)>) -> bool {
        let killed_at = self.departure.t + self.bench.options.patience();
        self.departure.exit.is_none()
            && end.is_none_or(|(at, end)| at >= killed_at || end == End::GaveUp)
    }

    /// From T to then, in milliseconds.
    pub(crate) fn after_stop(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.departure.t)
    }

    pub(crate) fn lacking(&self, id: &'static str, reason: &str) -> Finding {
        self.bench.lacking(id, reason)
    }

    pub(crate) fn finding(&self, id: &'static str, verdict: Verdict, detail: String) -> Finding {
        self.bench.finding(id, verdict, detail)
    }
}

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// Every id that this drain judges.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    h1::IDS.into_iter().chain(ws::IDS)
}

/// Until everybody is where the signal should find them.
fn await_poise(engine: &mut Engine, running: &Running, deadline: Instant) {
    engine.run(deadline, |engine| {
        let mut talks = engine.talks.iter();
        running.exit().is_some()
            || talks.all(|talk| talk.is_poised() || talk.is_finished())
                && ws::are_tunnels_ready(engine)
    });
}

pub(crate) fn run(bench: &Bench<'_>) -> Result<Vec<Finding>, VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    let mut opening = Opening {
        bench,
        place: &running.place,
        engine: &mut engine,
        time: in_flight_time(bench.options.grace),
    };
    h1::open(&mut opening);
    ws::open(&mut opening);
    let begun = Instant::now();
    await_poise(opening.engine, &running, begun + OPENING_BOUND);
    h1::open_last(&mut opening);
    let last_begun = Instant::now();
    await_poise(&mut engine, &running, last_begun + LAST_BOUND);
    engine.run(last_begun + AGE_AT_STOP, |_| running.exit().is_some());
    engine.note_eve();
    engine.run(Instant::now(), |_| false);
    engine.note_stop(running.stop(&bench.options.stop));
    let t = engine.stopped_at().unwrap_or(begun);
    let departure = await_departure(&mut engine, &running, t, bench.options.patience());
    let account = running.account(departure.exit.is_some());
    bench.album.add(&engine, t);
    let seen = Seen {
        bench,
        engine: &engine,
        departure,
        account: account.as_deref(),
    };
    let mut findings = h1::judge(&seen);
    findings.extend(ws::judge(&seen));
    findings.retain(|finding| bench.wants(&finding.id));
    let findings = bench.weigh_all(findings, &[Watch::from(&departure)]);
    Ok(unplaced(bench, findings, &[departure]))
}
