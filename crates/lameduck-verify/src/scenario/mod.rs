//! Drains and loads: each scenario opens connections, sends one signal (or several), and judges its ids.
//! Owns their order and sharing; not sockets (`observe`), processes (`target`) or words (`catalogue`, `render`).

mod again;
mod album;
mod attached;
mod attention;
mod bench;
mod deaf;
mod drain;
mod exits;
pub(crate) mod facts;
mod h1;
mod h2;
mod idle;
mod instrument;
mod judge;
mod lanes;
mod late_ack;
mod load;
mod long;
mod lost;
mod mix;
mod negotiation;
mod newcomers;
mod probes;
mod process;
mod product;
pub(crate) mod reach;
mod reader;
pub(crate) mod requests;
mod rollout;
mod rounds;
mod rush;
mod second;
mod settling;
mod speech;
mod stop;
mod tls;
mod told;
mod vague;
pub(crate) mod ws;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::catalogue::{self, ServerKind};
use crate::declared;
use crate::front::Sightings;
use crate::observe::outcome::Tally;
use crate::observe::pulse::Pulse;
use crate::options::{Options, Progress, TargetSpec};
use crate::target::{Ledger, VerifyError, Ward, launch};
use crate::verdict::{
    ExitReport, Finding, LaneEvent, Output, Phases, Rate, Report, SCHEMA, SignalReport,
    TargetReport, Verdict, millis, overall,
};

use album::Album;
use bench::{Bench, names, wants};
use drain::Drained;
use facts::Facts;
use idle::IdleExit;

#[cfg(test)]
pub(crate) use bench::finding;
pub use rollout::rollout;

const DRAIN_IDS: [&str; 7] = ["H1-01", "H1-02", "H1-03", "H1-04", "H1-05", "H1-06", "A1"];
const RUSH_IDS: [&str; 2] = ["A3", "A5"];
/// A drain whose samples came too late is made again, up to so many in all.
const MAX_PASSES: usize = 4;

/// Tests a target, black-box, as `options` say; `progress` hears how far it is.
pub(crate) fn run(
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    check_ids(options)?;
    reach::check(options)?;
    let options = &after_pre_stop(options)?;
    let seed = options.seed.unwrap_or_else(fresh_seed);
    let total = planned_launches(options);
    progress(Progress::Scenario {
        name: "trying out the target, then stopping it while idle",
        done: 0,
        total,
    });
    let ledger = Arc::new(Ledger::default());
    let running = launch(&options.target, &ledger)?;
    let facts = Facts::learn(options, &running)?;
    let server = product::kind(options, &facts, &running);
    idle::settle();
    let addr = running.place.url.addr.to_string();
    let ready = running.ready_after;
    let bench = Bench {
        options,
        facts,
        seed,
        launches: AtomicU32::new(1),
        lost: AtomicU64::new(0),
        album: Album::default(),
        sightings: Sightings::default(),
        ledger,
        lateness: Arc::default(),
        ward: Ward::Keeps,
    };
    // Until the run is over.
    let _pulse = Pulse::start(&bench.lateness);
    if options.target.pid.is_some() {
        return attached::run(&bench, running, progress);
    }
    let idle = idle::stop_idle(&bench, &running);
    let start = Start {
        addr,
        server,
        ready,
        output: running.output(idle.exit.is_some()),
    };
    drop(running);
    bench.ledger.check()?;

    let mut findings = Vec::new();
    if bench.wants("P1") {
        findings.push(idle::judge(&bench, idle));
    }
    let passes = run_drains(&bench, total, progress)?;
    if !passes.is_empty() {
        findings.extend(judge::judge(&bench, &passes));
    }
    findings.extend(run_doors(&bench, total, progress)?);
    findings.extend(run_waiting(&bench, idle, ready, total, progress)?);
    for check in LOADS.iter().filter(|check| bench.wants(check.id)) {
        findings.push(run_load(&bench, check, total, progress)?);
    }
    findings.extend(bench.unasked());
    bench.ledger.check()?;
    Ok(report(&bench, start, findings, &passes, idle))
}

/// How the first launch began, and what it wrote.
struct Start {
    addr: String,
    server: Option<ServerKind>,
    ready: Duration,
    output: Output,
}

/// The same with what the target itself has of the grace period: the sleep before the signal takes its part.
fn after_pre_stop(options: &Options) -> Result<Options, VerifyError> {
    let left = options.grace.checked_sub(options.pre_stop);
    let left = left.filter(|left| !left.is_zero());
    let grace = left.ok_or(VerifyError::NoGraceLeft {
        grace: options.grace,
        pre_stop: options.pre_stop,
    })?;
    Ok(Options {
        grace,
        ..options.clone()
    })
}

/// The drains that ask when the door shuts, and those at the doors of other protocols.
fn run_doors(
    bench: &Bench<'_>,
    total: u32,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Finding>, VerifyError> {
    let mut findings = Vec::new();
    if bench.wants("A2") {
        announce(
            bench,
            total,
            progress,
            "new connections while the front learns",
        );
        findings.push(newcomers::run(bench)?);
    }
    if RUSH_IDS.iter().any(|id| bench.wants(id)) {
        announce(
            bench,
            total,
            progress,
            "clients that connect while the door shuts",
        );
        findings.extend(rush::run(bench)?);
    }
    if second::IDS.iter().any(|id| bench.wants(id)) {
        announce(
            bench,
            total,
            progress,
            "one drain with every kind of HTTP/2 and TLS connection open",
        );
        findings.extend(second::run(bench)?);
    }
    Ok(findings)
}

fn announce(bench: &Bench<'_>, total: u32, progress: &mut dyn FnMut(Progress), name: &'static str) {
    let done = bench.launches.load(Ordering::Relaxed);
    progress(Progress::Scenario {
        name,
        done,
        total: total.max(done),
    });
}

/// A scenario that mostly waits.
type Job<'j> = (
    &'static str,
    Box<dyn Fn() -> Result<Vec<Finding>, VerifyError> + Send + Sync + 'j>,
);

/// The scenarios that mostly wait: side by side where the target may run in several copies. First those about the
/// process, whose times are short; then those about clients that last.
fn run_waiting(
    bench: &Bench<'_>,
    idle: IdleExit,
    ready: Duration,
    total: u32,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Finding>, VerifyError> {
    let one = |finding| vec![finding];
    let mut process: Vec<Job<'_>> = vec![
        ("P2", Box::new(|| stop::stuck(bench, idle).map(one))),
        ("P3", Box::new(|| stop::repeat_late(bench).map(one))),
        ("P4", Box::new(|| stop::early(bench, ready).map(one))),
        ("P9", Box::new(|| stop::repeats(bench).map(one))),
        ("H1-10", Box::new(|| reader::run(bench).map(one))),
    ];
    let mut lasting: Vec<Job<'_>> = vec![
        ("A4", Box::new(|| late_ack::run(bench).map(one))),
        ("H2-09", Box::new(|| h2::grpc::run(bench).map(one))),
    ];
    let (mut other, mut alone): (Vec<Job<'_>>, Vec<Job<'_>>) = Default::default();
    for (id, _) in process::IDS {
        let job: Job<'_> = (id, Box::new(move || process::run(bench, id, idle).map(one)));
        if writes_a_shared_file(&bench.options.target, id) {
            alone.push(job);
        } else {
            other.push(job);
        }
    }
    other.retain(|(id, _)| bench.wants(id));
    alone.retain(|(id, _)| bench.wants(id));
    lasting.retain(|(id, _)| bench.wants(id));
    if long::ids().any(|id| bench.wants(id)) {
        lasting.push(("long", Box::new(|| long::run(bench))));
    }
    process.retain(|(id, _)| bench.wants(id));
    if negotiation::IDS.iter().any(|id| bench.wants(id)) {
        process.push(("negotiation", Box::new(|| negotiation::run(bench, idle))));
    }
    let batches = [
        (
            process,
            "a stuck request, repeated signals, a stop while starting, a slow reader, participants",
        ),
        (
            lasting,
            "one drain with slow clients, streams and WebSockets open",
        ),
        // Alone: seven launches at once beside clients that count milliseconds would load the machine.
        (
            other,
            "SIGINT, SIGQUIT, a reload, PID 1, and what is left behind",
        ),
        (alone, "a reload of a file that every launch reads"),
    ];
    let mut findings = Vec::new();
    for (jobs, name) in batches {
        if !jobs.is_empty() {
            announce(bench, total, progress, name);
            findings.extend(run_jobs(bench, &jobs)?);
        }
    }
    Ok(findings)
}

/// P7 writes the file that the target reads: where that is the user's, other copies would read it too, broken or not.
fn writes_a_shared_file(target: &TargetSpec, id: &str) -> bool {
    let file = target
        .reload
        .as_ref()
        .and_then(|reload| reload.file.as_ref());
    id == "P7" && file.is_some()
}

fn run_jobs(bench: &Bench<'_>, jobs: &[Job<'_>]) -> Result<Vec<Finding>, VerifyError> {
    if bench.options.target.copies() == 1 {
        let found: Result<Vec<_>, _> = jobs.iter().map(|(_, job)| job()).collect();
        return Ok(found?.concat());
    }
    let found: Result<Vec<_>, _> = std::thread::scope(|scope| {
        let threads: Vec<_> = jobs.iter().map(|(_, job)| scope.spawn(job)).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    Ok(found?.concat())
}

fn run_drains(
    bench: &Bench<'_>,
    total: u32,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Drained>, VerifyError> {
    let mut passes = Vec::new();
    if !DRAIN_IDS.iter().any(|id| bench.wants(id)) {
        return Ok(passes);
    }
    let done = bench.launches.load(Ordering::Relaxed);
    progress(Progress::Scenario {
        name: "one drain with every kind of connection open",
        done,
        total,
    });
    while passes.len() < MAX_PASSES {
        passes.push(drain::drain(bench)?);
        if judge::is_covered(bench, &passes) {
            break;
        }
    }
    Ok(passes)
}

/// A load, run again and again in fresh processes.
struct LoadCheck {
    id: &'static str,
    name: &'static str,
    /// One round for each so many that were asked for.
    share: u32,
    round: fn(&Bench<'_>, u64) -> Result<load::Load, VerifyError>,
    /// Why this target cannot be tested so, if it cannot.
    lacks: fn(&Bench<'_>) -> Option<String>,
}

const LOADS: [LoadCheck; 5] = [
    LoadCheck {
        id: "L-H1",
        name: "stopping under load, again and again",
        share: 1,
        round: load::round,
        lacks: |_| None,
    },
    LoadCheck {
        id: "L-H2",
        name: "stopping under load over HTTP/2, again and again",
        share: 4,
        round: h2::load::round,
        lacks: |bench| h2::load::lacks(bench),
    },
    LoadCheck {
        id: "L-TLS",
        name: "stopping under load over TLS, again and again",
        share: 4,
        round: tls::load::round,
        lacks: |bench| tls::load::lacks(bench),
    },
    LoadCheck {
        id: "L-WS",
        name: "stopping while WebSockets echo, again and again",
        share: 2,
        round: ws::load::round,
        lacks: |bench| ws::lacks(bench),
    },
    LoadCheck {
        id: "L-MIX",
        name: "stopping under a mixed load, with hostile clients in it",
        share: 5,
        round: mix::round,
        lacks: |_| None,
    },
];

fn run_load(
    bench: &Bench<'_>,
    check: &LoadCheck,
    total: u32,
    progress: &mut dyn FnMut(Progress),
) -> Result<Finding, VerifyError> {
    if let Some(reason) = (check.lacks)(bench) {
        return Ok(bench.lacking(check.id, &reason));
    }
    announce(bench, total, progress, check.name);
    let count = bench.options.rounds.div_ceil(check.share);
    let before = bench.lost.load(Ordering::Relaxed);
    let (heard, hear) = std::sync::mpsc::channel();
    let load = std::thread::scope(|scope| {
        let heard = std::sync::Mutex::new(heard);
        let work = scope.spawn(move || {
            let report = |lost| {
                // The other end is gone only when nobody listens any more.
                let _ = heard
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .send(lost);
            };
            rounds::run(bench, count, &report, &|index| (check.round)(bench, index))
        });
        for lost in hear {
            let lost = before + lost;
            bench.lost.store(lost, Ordering::Relaxed);
            progress(Progress::Launch {
                done: bench.launches.load(Ordering::Relaxed),
                total,
                lost,
            });
        }
        work.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(lost::judge(bench, check.id, &load))
}

fn check_ids(options: &Options) -> Result<(), VerifyError> {
    let waived = options.waivers.iter().map(|waiver| &waiver.id);
    for id in options.only.iter().chain(&options.skip).chain(waived) {
        if !catalogue::list()
            .iter()
            .any(|entry| entry.id.eq_ignore_ascii_case(id))
        {
            return Err(VerifyError::UnknownId(id.clone()));
        }
    }
    if catalogue::list()
        .iter()
        .any(|entry| names(options, entry.id))
    {
        Ok(())
    } else {
        Err(VerifyError::NothingToRun)
    }
}

/// Launches if no drain must be made again.
fn planned_launches(options: &Options) -> u32 {
    let any = |ids: &[&str]| ids.iter().any(|id| wants(options, id));
    let load: u32 = LOADS
        .iter()
        .filter(|check| any(&[check.id]))
        .map(|check| options.rounds.div_ceil(check.share))
        .sum();
    let groups: [(&[&str], u32); 11] = [
        (&DRAIN_IDS, 1),
        (&["A2"], u32::from(!options.front.is_none())),
        (&RUSH_IDS, 2),
        (&["P2"], 1),
        (&["P3"], 1),
        (&["P4"], 4),
        (&["P9"], 4),
        (&["H1-10"], 1),
        (&["A4"], 1),
        (&second::IDS, 1),
        (&["H2-09"], h2::grpc::launches(options)),
    ];
    let process = process::IDS.iter().filter(|(id, _)| any(&[id]));
    let process: u32 = process.map(|(_, launches)| launches).sum();
    let long = u32::from(long::ids().any(|id| wants(options, id)));
    1 + load
        + long
        + negotiation::launches(options)
        + process
        + groups
            .iter()
            .filter(|(ids, _)| any(ids))
            .map(|(_, launches)| launches)
            .sum::<u32>()
}

/// Something is asked for that a target may lack without lacking HTTP/1.1.
fn asks_for_more(options: &Options) -> bool {
    let mut ids = second::IDS
        .iter()
        .chain(&["H2-09", "WS-05", "L-H2", "L-TLS", "L-MIX"]);
    ids.any(|id| wants(options, id))
}

fn fresh_seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Six digits are enough to tell runs apart, and short enough to type.
    observe_mix(now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32) & 0xff_ffff
}

fn observe_mix(seed: u64) -> u64 {
    crate::observe::rng::Rng::new(seed).next()
}

fn report(
    bench: &Bench<'_>,
    start: Start,
    mut checks: Vec<Finding>,
    passes: &[Drained],
    idle: IdleExit,
) -> Report {
    let order = catalogue::list();
    checks.sort_by_key(|finding| order.iter().position(|entry| entry.id == finding.id));
    // Those that were left open afterwards have no command to ask them again yet.
    for finding in &mut checks {
        let entry =
            catalogue::entry(&finding.id).filter(|_| finding.verdict == Verdict::Inconclusive);
        if let Some(entry) = entry {
            let again = || again::reproduction(bench.options, bench.seed, entry.id);
            finding.next.get_or_insert_with(again);
        }
    }
    declared::waive(&bench.options.waivers, &mut checks);
    let mut requests = Tally::default();
    checks
        .iter()
        .for_each(|finding| requests.merge(&finding.requests));
    let options = bench.options;
    let instrument = instrument::account(bench, passes);
    let mut method = method(bench, passes);
    if instrument.wakeups.count > 0 {
        method.push(instrument.in_words());
    }
    let (connections, connections_left_out) = bench.album.take();
    Report {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        contract: 1,
        seed: format!("{:x}", bench.seed),
        target: target_report(bench, start, passes),
        method,
        verdict: overall(&checks),
        lost: requests.lost,
        crossed: requests.crossed,
        rate: under_load(&checks),
        requests,
        users: bench.sightings.views(options.front, options.pre_stop),
        grace: exits::reckon(bench, idle, passes, &checks),
        checks,
        connections,
        connections_left_out,
        instrument,
        compared: Vec::new(),
        timeline: passes
            .first()
            .map_or_else(Vec::<LaneEvent>::new, lanes::timeline),
        phases: passes.first().map_or_else(Phases::default, lanes::phases),
        signal: SignalReport {
            name: options.stop.to_string().into(),
            from_pid: std::process::id(),
        },
        exit: exit_report(bench, passes, idle),
    }
}

/// The loss rate of the checks under load, whose signals came at random instants: those chosen to hurt say nothing
/// about how often it happens.
fn under_load(checks: &[Finding]) -> Option<Rate> {
    let loads = || {
        checks
            .iter()
            .filter_map(|finding| Some((finding, finding.series.as_ref()?)))
    };
    let stops: Vec<_> = loads()
        .flat_map(|(_, series)| series.stops.iter().copied())
        .collect();
    let (lost, of) = loads().fold((0, 0), |(lost, of), (finding, _)| {
        (lost + finding.requests.lost, of + finding.requests.sent())
    });
    Rate::of(lost, of, &stops)
}

fn target_report(bench: &Bench<'_>, start: Start, passes: &[Drained]) -> TargetReport {
    let target = &bench.options.target;
    let started = target.driven.as_ref().map(|driven| driven.start.clone());
    TargetReport {
        label: target.label.clone(),
        command: started.map_or_else(|| target.argv.clone(), |line| vec![line]),
        addr: start.addr,
        ready_ms: millis(start.ready),
        // Relaxed: a counter for display.
        launches: bench.launches.load(Ordering::Relaxed),
        facts: bench.facts.notes.clone(),
        server: start.server,
        output: passes
            .first()
            .map_or(start.output, |pass| pass.output.clone()),
    }
}

fn exit_report(bench: &Bench<'_>, passes: &[Drained], idle: IdleExit) -> ExitReport {
    let (exit, took) = passes.first().map_or((idle.exit, idle.took), |pass| {
        (pass.departure.exit, pass.departure.took())
    });
    ExitReport {
        code: exit.and_then(|exit| exit.code()),
        signal: exit.and_then(|exit| exit.signal()),
        after_ms: took.map(millis),
        killed_at_grace: exit.is_none() && bench.options.target.pid.is_none(),
        left_running: exit.is_none() && bench.options.target.pid.is_some(),
    }
}

fn method(bench: &Bench<'_>, passes: &[Drained]) -> Vec<String> {
    let options = bench.options;
    let mut lines = Vec::new();
    if bench.wants("L-H1") {
        lines.push(format!(
            "{} fresh processes, one {} each at a random instant, {} clients 50 ms apart",
            options.rounds,
            options.stop,
            load::KEEPING + load::CONNECTING
        ));
    }
    if DRAIN_IDS.iter().any(|id| bench.wants(id)) {
        lines.push("one more drain with every kind of connection open, written to 0.5 to 100 ms after the signal".to_owned());
    }
    if options.stop.signal().is_none() {
        let width = passes.iter().map(|pass| pass.departure.width()).min();
        let width = width.map_or_else(String::new, |width| {
            format!(" ({:.0} ms in the drain)", width.as_secs_f64() * 1e3)
        });
        lines.push(format!(
            "told to stop by {}, which has no instant: T is when it began, and the target may have known from then to the first effect that a client saw{width}; what falls between proves nothing about offsets",
            options.stop
        ));
    }
    if options.target.pid.is_some() {
        lines.push("the process ran before, was stopped once, and its exit code is not seen: one drain judges what one drain can".to_owned());
    }
    if let Some(driven) = &options.target.driven {
        lines.push(match &driven.alive {
            Some(_) => "the exit is seen by a command that asks whether the service is alive, every 20 ms or so".to_owned(),
            None => "the exit is not seen: once the stop command is back, the door is shut and no client has a connection, it counts as gone".to_owned(),
        });
    }
    lines
}
