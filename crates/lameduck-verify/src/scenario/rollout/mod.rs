//! A rollout through a front: users ask at a bounded rate through its URL while the instances behind it are replaced.
//! Owns the course of it; not the users (see `crowd`), the commands (see `command`) or the verdict (see `judge`).

mod command;
mod crowd;
mod judge;

use std::time::{Duration, Instant};

use super::facts::round_trip;
use crate::front::{Rollout, Sightings};
use crate::observe::engine::Engine;
use crate::options::{Progress, TargetSpec};
use crate::protocol::Protocol;
use crate::target::{Place, VerifyError};
use crate::verdict::Report;

use command::{Course, Job};
use crowd::Crowd;

/// The users are looked after this often.
const TURN: Duration = Duration::from_millis(50);
/// Between two tries of the command that says whether it is over.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Fewer answers before the rollout begins say nothing about what is usual.
const FEWEST: u64 = 20;

/// What a rollout showed.
pub(super) struct Rolled<'r> {
    options: &'r Rollout,
    seed: u64,
    place: Place,
    engine: Engine,
    hung_connects: Vec<(Instant, Instant)>,
    sightings: Sightings,
    /// When the stop command was started.
    t: Instant,
    stop_took: Duration,
    /// From T to the success of the other command; none where it never came.
    over_after: Option<Duration>,
    ended_at: Instant,
}

/// Watches a rollout through a front, as `options` say; `progress` hears how far it is.
///
/// # Errors
/// Fails when the URL does not answer before anything is begun, or when the stop command fails. A rollout that never
/// ends is no error; it is the report.
pub fn rollout(
    options: &Rollout,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    let seed = options.seed.unwrap_or_else(super::fresh_seed);
    let mut say = |name, done| {
        progress(Progress::Scenario {
            name,
            done,
            total: 1,
        });
    };
    let place = place(&options.url)?;
    let door = place.tls.as_ref().map_or(place.url.addr, |url| url.addr);
    let mut engine = Engine::new(place.url.addr, round_trip(door));
    let mut crowd = Crowd::enter(options, &place, seed, &mut engine);
    say("users ask through the front, before anything is begun", 0);
    watch(
        &mut engine,
        &mut crowd,
        Instant::now() + options.around,
        || false,
    );
    if crowd::answers(&engine) < FEWEST {
        // A little more time for a slow service.
        watch(
            &mut engine,
            &mut crowd,
            Instant::now() + options.patience,
            || false,
        );
    }
    if crowd::answers(&engine) == 0 {
        return Err(VerifyError::Unreachable(options.url.clone()));
    }
    say("the rollout is under way", 0);
    let t = Instant::now();
    engine.note_stop(t);
    let bound = t + options.within;
    let job = Job::start(&options.stop, &place, options.within);
    watch(&mut engine, &mut crowd, bound, || job.is_over());
    let stop_took = t.elapsed();
    if let Course::Failed(how) = job.end() {
        return Err(VerifyError::Stop(format!("`{}` {how}", options.stop)));
    }
    let over_after = await_end(options, &place, &mut engine, &mut crowd, bound).map(|at| at - t);
    say("users ask on for a while after the rollout", 0);
    watch(
        &mut engine,
        &mut crowd,
        Instant::now() + options.around,
        || false,
    );
    let ended_at = Instant::now();
    engine.note_closing_time();
    engine.run(ended_at + options.patience, Engine::all_finished);
    engine.give_up();
    let sightings = Sightings::default();
    sightings.take(&engine, t);
    sightings.take_hung(&crowd.hung_connects, t);
    Ok(judge::report(Rolled {
        options,
        seed,
        place,
        engine,
        hung_connects: crowd.hung_connects,
        sightings,
        t,
        stop_took,
        over_after,
        ended_at,
    }))
}

/// Lets users ask until `deadline`, or until `done` says so.
fn watch(engine: &mut Engine, crowd: &mut Crowd, deadline: Instant, done: impl Fn() -> bool) {
    while Instant::now() < deadline && !done() {
        let turn = (Instant::now() + TURN).min(deadline);
        engine.run(turn, |_| done());
        crowd.look_after(engine);
    }
}

/// Asks whether it is over until it is; users ask on.
fn await_end(
    options: &Rollout,
    place: &Place,
    engine: &mut Engine,
    crowd: &mut Crowd,
    bound: Instant,
) -> Option<Instant> {
    while Instant::now() < bound {
        let left = bound.saturating_duration_since(Instant::now());
        let job = Job::start(&options.until, place, left);
        watch(engine, crowd, bound, || job.is_over());
        if let Course::Well = job.end() {
            return Some(Instant::now());
        }
        let again = (Instant::now() + ASK_AGAIN).min(bound);
        watch(engine, crowd, again, || false);
    }
    None
}

/// The front's address as a place: under TLS, the plain URL only lends its host and path.
fn place(url: &str) -> Result<Place, VerifyError> {
    let mut spec = TargetSpec {
        url: Some(url.to_owned()),
        ..TargetSpec::default()
    };
    if let Some(rest) = url.strip_prefix("https://") {
        spec.tls_url = Some(url.to_owned());
        spec.url = Some(format!("http://{rest}"));
    }
    Place::choose(&spec)
}

/// The check that a rollout decides.
fn id(protocol: Protocol) -> &'static str {
    if protocol == Protocol::H2 {
        "L-H2"
    } else {
        "L-H1"
    }
}
