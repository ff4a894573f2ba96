//! A small server (HTTP/1.1, HTTP/2, TLS, one gRPC method) that leaves well, and badly on request: `--break ID` breaks one promise of the contract.
//!
//! It exists to prove that no check of `lameduck verify` is vacuous: the tests hold each id against the server as it
//! is (must pass) and broken (must not). Not for use: threads, no limits worth the name, one file of state.
//! An example and not a binary, so that nobody installs it.

mod bell;
mod breaks;
mod conn;
mod control;
mod door;
mod dump;
mod h2;
mod keep;
mod request;
mod signals;
mod starve;
mod streams;
mod tls;
mod ws;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) const RUNNING: u8 = 1;
pub(crate) const WINDOW: u8 = 2;
pub(crate) const DRAINING: u8 = 3;

/// The window ends after so long without a request…
const QUIET: Duration = Duration::from_millis(100);
/// …or after this.
const CEILING: Duration = Duration::from_millis(800);
/// What is not done by then is cut off.
const DEADLINE: Duration = Duration::from_millis(2_600);
/// So long before it nobody is waited for any longer.
const RESERVE: Duration = Duration::from_millis(100);
/// Repeats within this time are the same request to stop.
const MERGE: Duration = Duration::from_secs(1);

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Duck {
    pub(crate) broken: String,
    pub(crate) config: keep::Config,
    /// Who takes part in its shutdown.
    control: Arc<control::Control>,
    pub(crate) phase: AtomicU8,
    pub(crate) connections: AtomicU64,
    pub(crate) begun: Instant,
    /// The window is at least so long: the propagation time of the front that it is meant for.
    pub(crate) floor: Duration,
    /// Requests that come after the signal are refused, safe to send again elsewhere.
    refuses_late: bool,
    /// Milliseconds since `begun` of the last request.
    pub(crate) last_request: AtomicU64,
    /// The request lines of what is being answered.
    pub(crate) begun_requests: Mutex<BTreeMap<u64, String>>,
    /// Rings at the signal.
    pub(crate) window_bell: bell::Bell,
    /// Rings when the door is shut.
    pub(crate) drain_bell: bell::Bell,
}

impl Duck {
    pub(crate) fn is_broken(&self, id: &str) -> bool {
        self.broken == id
    }

    pub(crate) fn phase(&self) -> u8 {
        self.phase.load(Ordering::SeqCst)
    }

    pub(crate) fn refuses_now(&self) -> bool {
        self.refuses_late && self.phase() >= WINDOW
    }

    pub(crate) fn note_request(&self) {
        self.last_request
            .store(self.begun.elapsed().as_millis() as u64, Ordering::SeqCst);
    }

    /// Remembers what is being answered, for the case that it is cut off.
    pub(crate) fn note_begun(&self, request: &str) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let ticket = NEXT.fetch_add(1, Ordering::SeqCst);
        let mut begun = self
            .begun_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        begun.insert(ticket, request.to_owned());
        ticket
    }

    pub(crate) fn note_done(&self, ticket: u64) {
        let mut begun = self
            .begun_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        begun.remove(&ticket);
    }

    /// Breaking one of these means to wait for ever.
    fn waits_for_ever(&self) -> bool {
        ["P2", "H1-07", "H1-09-stall", "WS-03", "N-2"].contains(&self.broken.as_str())
    }

    fn name_stragglers(&self) {
        let begun = self
            .begun_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for request in begun.values() {
            eprintln!("cut off: {request}");
        }
    }

    fn quiet_for(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(
            self.last_request.load(Ordering::SeqCst),
        ))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    if arguments.iter().any(|argument| argument == "--list-breaks") {
        print!("{}", breaks::list());
        return ExitCode::SUCCESS;
    }
    if let [_, starve::STARVER, rest @ ..] = words(&arguments).as_slice() {
        return starve::run(rest);
    }
    if let Err(error) = value("--starve").map_or(Ok(()), |millis| starve::at_signal(&millis)) {
        eprintln!("nobody can be starved: {error}");
        return ExitCode::from(2);
    }
    let port = |name| value(name).and_then(|text| text.parse::<u16>().ok());
    let Some(main_port) = port("--port") else {
        eprintln!(
            "usage: broken-duck --port N [--probes N] [--tls-port N] [--accept-for MS] [--late refuse] [--starve MS] [--config FILE] [--control PATH] [--break NAME] | --list-breaks"
        );
        return ExitCode::from(2);
    };
    let broken = value("--break").unwrap_or_default();
    let floor = value("--accept-for").and_then(|text| text.parse().ok());
    if !broken.is_empty() && !breaks::BREAKS.iter().any(|entry| entry.name == broken) {
        eprintln!("`{broken}` is no promise that can be broken; --list-breaks shows all");
        return ExitCode::from(2);
    }
    signals::install(match broken.as_str() {
        "P4" => signals::Stops::Ignored,
        other => stops(other),
    });
    dump::prepare();
    let _belongings = keep::Belongings::put(&broken);
    let control = control::Control::open(value("--control"), &broken);
    let duck = Arc::new(Duck {
        broken,
        control,
        config: keep::Config::read(value("--config").map(Into::into)),
        phase: AtomicU8::new(0),
        connections: AtomicU64::new(0),
        begun: Instant::now(),
        floor: Duration::from_millis(floor.unwrap_or(0)),
        refuses_late: value("--late").is_some_and(|late| late == "refuse"),
        last_request: AtomicU64::new(0),
        begun_requests: Mutex::new(BTreeMap::new()),
        window_bell: bell::Bell::new(),
        drain_bell: bell::Bell::new(),
    });
    if let Some(probes) = port("--probes") {
        door::probes(&duck, probes);
    }
    // A start that takes a while, so that it can be interrupted.
    if signals::wait(Duration::from_millis(60)) {
        return ExitCode::SUCCESS;
    }
    signals::install(stops(&duck.broken));
    let chores = Arc::clone(&duck);
    signals::install_chores(move |signal| do_chore(&chores, signal));
    let mut doors = vec![door::open(&duck, main_port, conn::serve)];
    if let Some(tls_port) = port("--tls-port") {
        let acceptor = tls::acceptor();
        let serve = move |duck: &Arc<Duck>, stream| tls::serve(duck, &acceptor, stream);
        doors.push(door::open(&duck, tls_port, serve));
    }
    duck.phase.store(RUNNING, Ordering::SeqCst);
    println!("broken-duck is listening on {main_port}");
    while !signals::wait(Duration::from_secs(3600)) {}
    leave(&duck, doors)
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// What the stop signals do, once it has started.
fn stops(broken: &str) -> signals::Stops {
    match broken {
        "P1" => signals::Stops::Ignored,
        "P5" => signals::Stops::CaughtButInterrupt,
        // SAFETY: takes nothing.
        "P8" if unsafe { libc::getpid() } == 1 => signals::Stops::Default,
        _ => signals::Stops::Caught,
    }
}

fn do_chore(duck: &Duck, signal: libc::c_int) {
    if signal == libc::SIGHUP {
        duck.config.read_again(&duck.broken);
        return;
    }
    if !duck.is_broken("P6") {
        dump::write_all();
    }
    signals::die(signal);
}

fn leave(duck: &Arc<Duck>, doors: Vec<door::Door>) -> ExitCode {
    let t = Instant::now();
    duck.phase.store(WINDOW, Ordering::SeqCst);
    duck.window_bell.ring();
    let (mut counted_at, mut requests_to_stop) = (t, 1);
    let mut doors = Some(doors);
    loop {
        if signals::wait(Duration::from_millis(2)) {
            if duck.is_broken("P9") {
                return ExitCode::from(1);
            }
            if counted_at.elapsed() > MERGE {
                counted_at = Instant::now();
                requests_to_stop += 1;
            }
        }
        if requests_to_stop >= 3 && !duck.is_broken("P3") {
            signals::die(libc::SIGTERM);
        }
        let floor = if duck.is_broken("A2") {
            Duration::ZERO
        } else {
            duck.floor
        };
        let is_quiet = t.elapsed() > QUIET && duck.quiet_for() > QUIET;
        let window_over = t.elapsed() > floor && (is_quiet || t.elapsed() > floor + CEILING);
        if (window_over || requests_to_stop >= 2)
            && let Some(doors) = doors.take()
        {
            doors.into_iter().for_each(|door| door.close(duck));
            duck.phase.store(DRAINING, Ordering::SeqCst);
            duck.drain_bell.ring();
        }
        let end = t + duck.floor + DEADLINE - RESERVE;
        duck.control.tick(end, duck.phase() == DRAINING);
        if duck.phase() == DRAINING
            && duck.control.is_over()
            && duck.connections.load(Ordering::SeqCst) == 0
        {
            return if duck.is_broken("P1-code") {
                ExitCode::from(3)
            } else {
                ExitCode::SUCCESS
            };
        }
        if t.elapsed() > duck.floor + DEADLINE && !duck.waits_for_ever() {
            if !duck.is_broken("H1-11-name") {
                duck.name_stragglers();
            }
            return if duck.is_broken("P2-code") {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(124)
            };
        }
    }
}
