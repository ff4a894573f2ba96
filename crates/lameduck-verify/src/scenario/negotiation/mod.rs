//! N-1 to N-5 and N-8 to N-10: participants in other processes negotiate the exit of a target that declares a control
//! socket. Owns its two launches; not who takes part (see `cast`), or the verdicts (see `judge`).

mod cast;
mod client;
mod hostile;
mod judge;
mod schema;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::attention::Watch;
use super::bench::{Bench, wants};
use super::idle::IdleExit;
use crate::declared::ControlSocket;
use crate::options::Options;
use crate::target::{Running, VerifyError, launch_behind};
use crate::verdict::Finding;

use cast::{ALONE, CAST, Part, Player, Record};
use client::NotJoined;
use judge::{Alone, Drain};

pub(crate) const IDS: [&str; 8] = ["N-1", "N-2", "N-3", "N-4", "N-5", "N-8", "N-9", "N-10"];

/// The id that has a launch of its own besides.
const ALONE_ID: &str = "N-2";
/// Half a second is what a message may be late: budgets have to be longer than that.
const LEAST_GRACE: Duration = Duration::from_secs(3);
/// The longest unit of time.
const MOST_UNIT: Duration = Duration::from_millis(200);
/// Everybody has been ready for so long at the signal.
const AGE: Duration = Duration::from_millis(200);
/// What clients write down ends so long after the process was killed.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// How many launches this takes, of a target that declares a control socket.
pub(super) fn launches(options: &Options) -> u32 {
    if options.target.control().is_none() {
        return 0;
    }
    let any = IDS.iter().any(|id| wants(options, id));
    u32::from(any) + u32::from(wants(options, ALONE_ID))
}

/// Why this target can not be tested so, if it can not.
fn lacks(bench: &Bench<'_>) -> Result<ControlSocket, String> {
    let Some(control) = bench.options.target.control() else {
        return Err(
            "no control socket is declared; --control or {control} in the command would give one"
                .to_owned(),
        );
    };
    if bench.options.grace < LEAST_GRACE {
        return Err(format!(
            "needs a grace period of {} s or more",
            LEAST_GRACE.as_secs()
        ));
    }
    Ok(control)
}

/// What came of one launch.
struct Launch {
    t: Instant,
    exit: Option<Instant>,
    records: Vec<Record>,
    until: Instant,
}

pub(super) fn run(bench: &Bench<'_>, idle: IdleExit) -> Result<Vec<Finding>, VerifyError> {
    let wanted = || IDS.into_iter().filter(|id| bench.wants(id));
    let lacking = |why: &str| Ok(wanted().map(|id| bench.lacking(id, why)).collect());
    let control = match lacks(bench) {
        Ok(control) => control,
        Err(why) => return lacking(&why),
    };
    let unit = MOST_UNIT.min(bench.options.grace / 20);
    let drain = |cast: &[Part]| make(bench, &control, unit, cast);
    // Two copies at one path would be in each other's way.
    let at_once = bench.options.target.copies() > 1 && control.path.contains(ControlSocket::OURS);
    let (shared, alone) = match (bench.wants(ALONE_ID), at_once) {
        (false, _) => (drain(&CAST)?, None),
        (true, false) => (drain(&CAST)?, Some(drain(&[ALONE])?)),
        (true, true) => std::thread::scope(|scope| {
            let other = scope.spawn(|| drain(&[ALONE]));
            let shared = drain(&CAST);
            let alone = other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, VerifyError>((shared?, Some(alone?)))
        })?,
    };
    let alone = alone.transpose();
    let (shared, alone) = match (shared, alone) {
        (Ok(shared), Ok(alone)) => (shared, alone),
        (Err(why), _) | (_, Err(why)) => return lacking(&why),
    };
    Ok(judge(bench, idle, unit, shared, alone))
}

fn judge(
    bench: &Bench<'_>,
    idle: IdleExit,
    unit: Duration,
    shared: Launch,
    alone: Option<Launch>,
) -> Vec<Finding> {
    let mut watches = vec![shared.watch()];
    watches.extend(alone.as_ref().map(Launch::watch));
    let drain = Drain {
        exit: shared.exit,
        unit,
        idle_stop: idle.took.unwrap_or_default(),
        records: shared.records,
    };
    let alone = alone.and_then(|launch| {
        let record = launch.records.into_iter().next()?;
        let exit = launch.exit;
        Some(Alone { exit, record })
    });
    let mut findings = Vec::new();
    for id in IDS.into_iter().filter(|id| bench.wants(id)) {
        let (verdict, detail) = match (id, &alone) {
            ("N-1", _) => drain.n_1(),
            ("N-2", Some(alone)) => drain.n_2(alone),
            ("N-3", _) => drain.n_3(),
            ("N-4", _) => drain.n_4(),
            ("N-5", _) => drain.n_5(),
            ("N-8", _) => drain.n_8(),
            ("N-9", _) => drain.n_9(),
            ("N-10", _) => drain.n_10(),
            _ => continue,
        };
        findings.push(bench.finding(id, verdict, detail));
    }
    bench.weigh_all(findings, &watches)
}

impl Launch {
    fn watch(&self) -> Watch {
        Watch {
            t: self.t,
            until: self.until,
        }
    }
}

/// One drain with these participants; the reason, if they could not take part.
fn make(
    bench: &Bench<'_>,
    control: &ControlSocket,
    unit: Duration,
    cast: &[Part],
) -> Result<Result<Launch, String>, VerifyError> {
    let mut spec = bench.options.target.clone();
    spec.argv.extend(control.arguments.iter().cloned());
    // Relaxed: a counter for display.
    bench.launches.fetch_add(1, Ordering::Relaxed);
    let running = launch_behind(bench.ward, &spec, &bench.ledger)?;
    let socket = PathBuf::from(running.place.fill(&control.path));
    let patience = bench.options.patience();
    let until = Instant::now() + AGE + patience + AFTER_KILL;
    let mut players = Vec::new();
    for part in cast {
        match Player::enter(&socket, part, unit, until) {
            Ok(player) => players.push((part, Some(player))),
            // It had taken part before: that is for a judge.
            Err(NotJoined::Taken) if part.comes_back => players.push((part, None)),
            Err(not) => return Ok(Err(in_words(&socket, part, &not))),
        }
    }
    Ok(Ok(std::thread::scope(|scope| {
        let playing: Vec<_> = players
            .into_iter()
            .map(|(part, player)| {
                scope.spawn(move || player.map_or_else(Record::default, |player| player.play(part)))
            })
            .collect();
        let _ = running.await_exit_until(Instant::now() + AGE);
        let t = running.stop(&bench.options.stop);
        let exit = await_exit(&running, t + patience);
        let records = playing.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        Launch {
            t,
            exit,
            records: records.collect(),
            until: Instant::now(),
        }
    })))
}

/// When it was gone; who is still there by `deadline` is killed.
fn await_exit(running: &Running, deadline: Instant) -> Option<Instant> {
    let exit = running.await_exit_until(deadline);
    let exit = exit.filter(|exit| exit.is_by(deadline));
    if exit.is_none() {
        running.kill();
        let _ = running.await_exit_until(Instant::now() + AFTER_KILL);
    }
    exit.map(|exit| exit.at)
}

fn in_words(socket: &std::path::Path, part: &Part, not: &NotJoined) -> String {
    let (socket, name) = (socket.display(), part.name);
    match not {
        NotJoined::Taken => format!("{name} could not take part at {socket}: its name is taken"),
        NotJoined::Otherwise(why) => format!("nobody could take part at {socket}: {why}"),
    }
}
