//! Owns one launch of a target from its start to its end: how it is reached, told to stop, seen to exit, and left.
//! Not: what is sent to it over the network once it is ready.

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::attached::Attached;
use super::birth;
use super::driven::{ALIVE_BOUND, Driven};
use super::error::{LaunchError, VerifyError};
use super::kin::{self, Kind};
use super::output::{Output, Stream};
use super::place::Place;
use super::proc;
use super::ready::{self, await_ready};
use super::shell;
use super::stop::{Order, Stopping};
use super::ward::{Armed, Ward};
use crate::observe::lateness::Lateness;
use crate::options::{Stop, StopSignal, TargetSpec};
use crate::verdict::Output as Report;

/// Between two looks at a service that is no child of ours: while it serves, and once it was told to stop.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_EVERY_AFTER_STOP: Duration = Duration::from_millis(20);
/// For a command that prints logs.
const LOGS_BOUND: Duration = Duration::from_secs(10);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Code(i32),
    Signal(i32),
    /// It is gone; how it exited is for its parent to know.
    Unseen,
}

/// How and when a process ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exit {
    pub(crate) at: Instant,
    pub(crate) ending: Ending,
}

impl Exit {
    pub(crate) fn code(&self) -> Option<i32> {
        if let Ending::Code(code) = self.ending {
            Some(code)
        } else {
            None
        }
    }

    pub(crate) fn signal(&self) -> Option<i32> {
        if let Ending::Signal(signal) = self.ending {
            Some(signal)
        } else {
            None
        }
    }

    /// It was seen by then. One that was seen later may have come in time, if we were held up: nobody knows.
    pub(crate) fn is_by(&self, deadline: Instant) -> bool {
        self.at <= deadline
    }

    /// Its code or signal is known.
    pub(crate) fn is_seen(&self) -> bool {
        self.ending != Ending::Unseen
    }

    pub(crate) fn in_words(&self) -> String {
        match self.ending {
            Ending::Code(code) => format!("exited with {code}"),
            Ending::Signal(signal) => format!("died of signal {signal}"),
            Ending::Unseen => "was gone".to_owned(),
        }
    }
}

#[derive(Debug, Default)]
struct Watch {
    exit: Mutex<Option<Exit>>,
    changed: Condvar,
    /// Nobody waits any more.
    over: AtomicBool,
}

impl Watch {
    fn note(&self, ending: Ending, at: Instant) {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Exit { at, ending });
        self.changed.notify_all();
    }

    fn is_over(&self) -> bool {
        // Acquire pairs with the Release in `Running::drop`.
        self.over.load(Ordering::Acquire)
    }
}

/// What stands behind the address.
#[derive(Debug)]
enum Life {
    /// Started by us, or who stands between it and us; all that it started goes with it.
    Child(Child),
    /// Somebody else's.
    Attached(Arc<Attached>),
    /// Started by a command.
    Driven(Box<Driven>),
}

/// What all launches of a run share: the first stop that could not be made.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    trouble: Mutex<Option<String>>,
    /// How long signals took to send.
    pub(crate) signals: Lateness,
}

impl Ledger {
    fn note(&self, trouble: String) {
        let mut first = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(trouble);
    }

    /// Nothing is judged by a stop that did not work.
    pub(crate) fn check(&self) -> Result<(), VerifyError> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble
            .clone()
            .map_or(Ok(()), |how| Err(VerifyError::Stop(how)))
    }
}

/// A target that is the child of who stands between.
#[derive(Debug)]
struct Warded {
    id: u32,
    /// Unless it is gone by now.
    process: Option<Attached>,
}

impl Warded {
    fn new(id: u32) -> Self {
        let process = Attached::to(id).ok();
        Self { id, process }
    }
}

/// A target that runs; dropping it leaves nothing behind that we started.
#[derive(Debug)]
pub(crate) struct Running {
    life: Life,
    /// The target itself, where somebody stands between it and us.
    warded: Option<Warded>,
    watch: Arc<Watch>,
    order: Arc<Order>,
    stopping: Mutex<Option<Stopping>>,
    ledger: Arc<Ledger>,
    logs: Option<String>,
    pub(super) output: Arc<Output>,
    pub(crate) place: Place,
    pub(crate) spawned_at: Instant,
    /// From spawn to readiness.
    pub(crate) ready_after: Duration,
}

/// Somebody else may take a port between our choice and the target's bind: so often another one is tried.
const PORT_TRIES: usize = 4;

/// Whoever finds its port taken may need so long to go.
const STRANGER_BOUND: Duration = Duration::from_secs(2);

/// Starts the target, or finds it, and waits until it is ready.
///
/// # Errors
/// Says why it never became ready; what was started is gone by then.
pub(crate) fn launch(spec: &TargetSpec, ledger: &Arc<Ledger>) -> Result<Running, VerifyError> {
    launch_behind(Ward::Keeps, spec, ledger)
}

/// The same with somebody between it and us.
pub(crate) fn launch_behind(
    ward: Ward,
    spec: &TargetSpec,
    ledger: &Arc<Ledger>,
) -> Result<Running, VerifyError> {
    with_another_port(spec, || {
        let mut running = Running::spawn(ward, spec, ledger)?;
        await_ready(&running, spec)?;
        running.ready_after = running.spawned_at.elapsed();
        running.refuse_strangers()?;
        Ok(running)
    })
}

/// The same, ready or not.
pub(crate) fn spawn_behind(
    ward: Ward,
    spec: &TargetSpec,
    ledger: &Arc<Ledger>,
) -> Result<Running, VerifyError> {
    with_another_port(spec, || Running::spawn(ward, spec, ledger))
}

/// Tries again where somebody else took the port, if the target leaves it to us.
fn with_another_port(
    spec: &TargetSpec,
    start: impl Fn() -> Result<Running, VerifyError>,
) -> Result<Running, VerifyError> {
    let mut tries = 1;
    loop {
        match start() {
            Err(VerifyError::Launch(error))
                if tries < PORT_TRIES && !Place::is_fixed(spec) && error.is_about_the_port() =>
            {
                tries += 1
            }
            other => return other,
        }
    }
}

impl Running {
    /// Starts the target, ready or not.
    fn spawn(ward: Ward, spec: &TargetSpec, ledger: &Arc<Ledger>) -> Result<Self, VerifyError> {
        ledger.check()?;
        let place = Place::choose(spec)?;
        let spawned_at = Instant::now();
        let output = Arc::new(Output::awaiting(spec.ready_line.as_deref()));
        let (watch, order) = (Arc::new(Watch::default()), Arc::new(Order::default()));
        let seen = Arc::clone(&watch);
        let mut warded = None;
        let life = if let Some(pid) = spec.pid {
            let attached = Arc::new(Attached::to(pid)?);
            let process = Arc::clone(&attached);
            std::thread::spawn(move || await_leaving(&process, &seen));
            Life::Attached(attached)
        } else {
            if TcpStream::connect_timeout(&place.url.addr, Duration::from_millis(200)).is_ok() {
                return Err(LaunchError::AddressTaken(place.url.addr.to_string()).into());
            }
            match &spec.driven {
                Some(driven) => {
                    let driven = Driven::start(driven, &place, &output, ready::bound(spec))?;
                    let (alive, at, order) =
                        (driven.alive.clone(), place.clone(), Arc::clone(&order));
                    std::thread::spawn(move || await_end(alive.as_deref(), &at, &order, &seen));
                    Life::Driven(Box::new(driven))
                }
                None => {
                    let (child, between) = start(ward, spec, &place, &output)?;
                    let id = child.id();
                    if let Some((pid, between)) = between {
                        warded = Some(Warded::new(pid));
                        std::thread::spawn(move || {
                            if let Some(ending) = between.await_end() {
                                seen.note(ending, Instant::now());
                            }
                        });
                    } else {
                        std::thread::spawn(move || await_exit(id, &seen));
                    }
                    Life::Child(child)
                }
            }
        };
        Ok(Self {
            life,
            warded,
            watch,
            order,
            stopping: Mutex::new(None),
            ledger: Arc::clone(ledger),
            logs: spec.logs.clone(),
            output,
            place,
            spawned_at,
            ready_after: Duration::ZERO,
        })
    }

    /// Somebody else may have taken the port between our choice and the target's bind, and answer in its place: then the
    /// target is given the time to find that out and go. If it stays, the port was handed on as it wished (a container's
    /// proxy listens for it, say).
    fn refuse_strangers(&self) -> Result<(), LaunchError> {
        let Life::Child(child) = &self.life else {
            return Ok(());
        };
        let addr = self.place.url.addr;
        let mut family = vec![child.id()];
        family.extend(proc::descendants(child.id()).iter().map(|it| it.pid));
        if proc::is_anothers(addr.port(), &family)
            && self
                .await_exit_until(Instant::now() + STRANGER_BOUND)
                .is_some()
        {
            return Err(LaunchError::AddressTaken(addr.to_string()));
        }
        Ok(())
    }

    /// Its process id, where there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.life {
            Life::Child(child) => Some(self.warded.as_ref().map_or(child.id(), |it| it.id)),
            Life::Attached(process) => Some(process.id()),
            Life::Driven(_) => None,
        }
    }

    /// The process that adopts what it leaves behind: the one that stands between, if one does.
    pub(crate) fn guardian(&self) -> Option<u32> {
        match &self.life {
            Life::Child(child) if self.warded.is_some() => Some(child.id()),
            _ => None,
        }
    }

    /// Asks it to stop; returns T: the instant just before the signal, or before the command or call began, which
    /// goes on beside the caller.
    pub(crate) fn stop(&self, stop: &Stop) -> Instant {
        let at = Instant::now();
        let stopping = match stop {
            Stop::Signal(signal) => return self.signal(*signal),
            Stop::Command(line) => Stopping::by_command(line, &self.place, self.pid(), &self.order),
            Stop::Http { method, url } => Stopping::by_call(method, url, &self.place, &self.order),
        };
        self.order.note_asked();
        let mut slot = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(stopping);
        at
    }

    /// Sends `signal` to the process (not its group); returns the instant just before.
    ///
    /// A process that is gone already is no error: its exit will be seen.
    pub(crate) fn signal(&self, signal: StopSignal) -> Instant {
        let at = Instant::now();
        match &self.life {
            Life::Child(child) => match &self.warded {
                // The child is not reaped before `drop`: the id is still its own.
                None => shell::signal(child.id(), signal.number()),
                // Whoever stands between reaps it, and its number may then be another's.
                Some(Warded { process, .. }) => {
                    if let (Some(process), None) = (process, self.exit()) {
                        process.signal(signal.number());
                    }
                }
            },
            Life::Attached(process) => process.signal(signal.number()),
            // Options without a command or call to stop it are refused before anything starts.
            Life::Driven(_) => {}
        }
        self.ledger.signals.note(at.elapsed());
        self.order.note_asked();
        at
    }

    /// When the command or the call that stops it was over, if it is.
    pub(crate) fn told_at(&self) -> Option<Instant> {
        self.order.done().map(|done| done.at)
    }

    /// It was asked by a command or a call, which took its time.
    pub(crate) fn is_told_vaguely(&self) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        stopping.is_some()
    }

    /// The stop could not be made, and it still runs.
    pub(crate) fn is_untold(&self) -> bool {
        self.exit().is_none() && self.order.has_failed()
    }

    /// To be called before it is made to end: nothing is judged by a stop that was never made. One that shut its door
    /// was told, whatever it answered.
    fn note_untold(&self) {
        if self.exit().is_some() {
            return;
        }
        let serves_on =
            || TcpStream::connect_timeout(&self.place.url.addr, Duration::from_millis(200)).is_ok();
        if let Some(trouble) = self.order.trouble(serves_on) {
            self.ledger.note(trouble);
        }
    }

    /// Its exit is seen as such, not guessed from a shut door.
    pub(crate) fn shows_its_exit(&self) -> bool {
        !matches!(&self.life, Life::Driven(driven) if driven.alive.is_none())
    }

    /// How it ended, if it did.
    pub(crate) fn exit(&self) -> Option<Exit> {
        *self
            .watch
            .exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the exit, until `deadline` at the latest.
    pub(crate) fn await_exit_until(&self, deadline: Instant) -> Option<Exit> {
        let mut exit = self
            .watch
            .exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while exit.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            exit = self
                .watch
                .changed
                .wait_timeout(exit, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *exit
    }

    /// Kills it, as a platform does when the grace period is over; unless it is somebody else's.
    pub(crate) fn kill(&self) {
        self.note_untold();
        match &self.life {
            // Not reaped before `drop`, so neither the id nor the group's can belong to somebody else by now.
            Life::Child(child) => kin::end(child),
            Life::Attached(_) => {}
            Life::Driven(driven) => driven.kill(),
        }
    }

    /// Reads what the service wrote by the command that prints it, if there is one.
    pub(crate) fn read_logs(&self) {
        let Some(line) = &self.logs else { return };
        let read = Arc::new(Output::default());
        let command = shell::command(line, &self.place, self.pid());
        shell::run(command, &read, LOGS_BOUND, &AtomicBool::new(false));
        read.settle();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let text = read.text(stream);
            self.output.note(text.as_bytes());
            self.output.replace(stream, text.as_bytes());
        }
    }

    /// What it wrote, each stream apart; of one that `has_ended` all of it.
    pub(crate) fn output(&self, has_ended: bool) -> Report {
        if has_ended || self.logs.is_some() {
            self.settle();
        }
        Report {
            stdout: self.output.text(Stream::Stdout),
            stderr: self.output.text(Stream::Stderr),
        }
    }

    /// Keeps more of what it writes from now on; whether that was enough says [`was_cut`](Self::was_cut).
    pub(crate) fn keep_more_output(&self) {
        self.output.keep_more();
    }

    /// It wrote more than was kept.
    pub(crate) fn was_cut(&self) -> bool {
        self.output.was_cut()
    }

    /// The end of what it wrote on standard error.
    pub(crate) fn stderr(&self) -> String {
        self.output.text(Stream::Stderr)
    }

    /// What a process that has just exited wrote.
    pub(crate) fn settled_output(&self) -> String {
        self.settle();
        self.output.all()
    }

    /// What it said about its shutdown, where that can be seen: standard error of a child, or its logs.
    pub(crate) fn account(&self, has_ended: bool) -> Option<String> {
        let output = self.output(has_ended);
        match &self.life {
            Life::Child(_) => Some(output.stderr),
            Life::Attached(_) | Life::Driven(_) => {
                self.logs.is_some().then(|| output.stdout + &output.stderr)
            }
        }
    }

    /// Waits for the last of its output, or asks for it.
    fn settle(&self) {
        if self.logs.is_some() {
            self.read_logs();
        } else if matches!(self.life, Life::Child(_)) {
            self.output.settle();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.note_untold();
        // Release pairs with the Acquire in `Watch::is_over`.
        self.watch.over.store(true, Ordering::Release);
        if let Life::Child(child) = &mut self.life {
            kin::end(child);
            // It was killed: this returns as soon as the kernel is done with it.
            kin::reap(child);
        }
    }
}

/// The child; and where somebody stands between, the target's process id and the link to the one between.
type Started = (Child, Option<(u32, Armed)>);

fn start(
    ward: Ward,
    spec: &TargetSpec,
    place: &Place,
    output: &Arc<Output>,
) -> Result<Started, VerifyError> {
    let (program, arguments) = spec.argv.split_first().ok_or(LaunchError::NoCommand)?;
    let mut command = Command::new(place.fill(program));
    command
        .args(arguments.iter().map(|argument| place.fill(argument)))
        .env("PORT", place.port().to_string())
        .envs(
            spec.env
                .iter()
                .map(|(name, value)| (name, place.fill(value))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(cwd) = &spec.cwd {
        if !cwd.is_dir() {
            return Err(LaunchError::NoDirectory(cwd.clone()).into());
        }
        command.current_dir(cwd);
    }
    birth::with_signals_of_its_own(&mut command);
    let mut between = Armed::arm(ward, &mut command)?;
    let kind = match between {
        Some(_) => Kind::Ward,
        None => Kind::Leader,
    };
    let spawned = shell::spawn(command, kind, output);
    let pid = between.as_mut().map(Armed::begun).transpose()?.flatten();
    let child = spawned.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => LaunchError::NotFound(program.clone()),
        _ => LaunchError::Spawn(program.clone(), error),
    })?;
    Ok((child, pid.zip(between)))
}

/// The bytes of a GET for `path` that keeps the connection.
pub(crate) fn get(place: &Place, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lameduck-verify\r\nAccept: */*\r\n\r\n",
        place.url.host
    )
    .into_bytes()
}

fn await_exit(id: u32, watch: &Watch) {
    loop {
        // SAFETY: all-zero is a valid siginfo_t (plain C data).
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // EINTR: again, below.
        // SAFETY: `info` is a live siginfo_t. WNOWAIT leaves the zombie to `drop`, so the id stays ours.
        let done = unsafe {
            libc::waitid(
                libc::P_PID,
                id,
                &raw mut info,
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        let at = Instant::now();
        if done != 0 {
            if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted {
                continue;
            }
            // ECHILD: reaped by `drop`, nobody asks any more.
            return;
        }
        // SAFETY: waitid filled in a SIGCHLD siginfo, in which si_status is the active field.
        let status = unsafe { info.si_status() };
        let ending = if info.si_code == libc::CLD_EXITED {
            Ending::Code(status)
        } else {
            Ending::Signal(status)
        };
        watch.note(ending, at);
        return;
    }
}

/// Until a process that is not our child is gone.
fn await_leaving(process: &Attached, watch: &Watch) {
    while !watch.is_over() {
        if process.is_gone(LOOK_EVERY) {
            return watch.note(Ending::Unseen, Instant::now());
        }
    }
}

/// Until a service that commands have started is gone: it is not alive, or where that can not be asked, the stop was
/// made; and its door is shut.
fn await_end(alive: Option<&str>, place: &Place, order: &Order, watch: &Watch) {
    while !watch.is_over() {
        let was_asked = order.was_asked();
        let may_be_gone = match alive {
            Some(line) => !shell::succeeds(shell::command(line, place, None), ALIVE_BOUND),
            None => order.done().is_some(),
        };
        let knock = || TcpStream::connect_timeout(&place.url.addr, Duration::from_millis(200));
        // While it starts, it may be neither alive nor open yet: what matters then is whether it becomes ready.
        if was_asked && may_be_gone && knock().is_err() {
            return watch.note(Ending::Unseen, Instant::now());
        }
        std::thread::park_timeout(if was_asked {
            LOOK_EVERY_AFTER_STOP
        } else {
            LOOK_EVERY
        });
    }
}
