//! Owns one child process from spawn to reaping: process group, output, readiness, signals, exit.
//! Not: what is sent to it over the network once it is ready.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ask::ask;
use super::error::{LaunchError, VerifyError};
use super::place::Place;
use crate::options::{StopSignal, TargetSpec};
use crate::verdict::Output;

/// How long a target may take to become ready.
const READY_BOUND: Duration = Duration::from_secs(30);
/// Between two looks at whether it is ready.
const READY_STEP: Duration = Duration::from_millis(2);
/// Output kept of each stream, in bytes, from its end.
const MAX_OUTPUT: usize = 64 * 1024;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Code(i32),
    Signal(i32),
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

    pub(crate) fn in_words(&self) -> String {
        match self.ending {
            Ending::Code(code) => format!("exited with {code}"),
            Ending::Signal(signal) => format!("died of signal {signal}"),
        }
    }
}

#[derive(Debug, Default)]
struct Watch {
    exit: Mutex<Option<Exit>>,
    changed: Condvar,
    stdout: Mutex<Vec<u8>>,
    stderr: Mutex<Vec<u8>>,
}

/// A target that runs; dropping it kills its whole process group and reaps it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    watch: Arc<Watch>,
    pub(crate) place: Place,
    pub(crate) spawned_at: Instant,
    /// From spawn to readiness.
    pub(crate) ready_after: Duration,
}

/// Somebody else may take a port between our choice and the target's bind: so often another one is tried.
const PORT_TRIES: usize = 4;

/// Starts the target and waits until it is ready.
///
/// # Errors
/// Says why it never became ready; the child is gone by then.
pub(crate) fn launch(spec: &TargetSpec) -> Result<Running, VerifyError> {
    let mut tries = 1;
    loop {
        let attempt = Running::spawn(spec).and_then(|mut running| {
            running.await_ready(spec)?;
            Ok(running)
        });
        match attempt {
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
    pub(crate) fn spawn(spec: &TargetSpec) -> Result<Self, VerifyError> {
        let place = Place::choose(spec)?;
        let (program, arguments) = spec.argv.split_first().ok_or(LaunchError::NoCommand)?;
        if TcpStream::connect_timeout(&place.url.addr, Duration::from_millis(200)).is_ok() {
            return Err(LaunchError::AddressTaken(place.url.addr.to_string()).into());
        }
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
        die_with_us(&mut command);
        let spawned_at = Instant::now();
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => LaunchError::NotFound(program.clone()),
            _ => LaunchError::Spawn(program.clone(), error),
        })?;
        let watch = Arc::new(Watch::default());
        if let Some(stdout) = child.stdout.take() {
            collect(stdout, Arc::clone(&watch), |watch| &watch.stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            collect(stderr, Arc::clone(&watch), |watch| &watch.stderr);
        }
        let id = child.id();
        let seen = Arc::clone(&watch);
        std::thread::spawn(move || await_exit(id, &seen));
        Ok(Self {
            child,
            watch,
            place,
            spawned_at,
            ready_after: Duration::ZERO,
        })
    }

    fn await_ready(&mut self, spec: &TargetSpec) -> Result<(), VerifyError> {
        let deadline = self.spawned_at + READY_BOUND;
        let path = spec.ready_path.as_deref().map(|path| self.place.fill(path));
        let request = path.as_deref().map(|path| get(&self.place, path));
        let (mut opened, mut last) = (false, "was refused".to_owned());
        loop {
            if let Some(exit) = self.exit() {
                return Err(LaunchError::ExitedEarly {
                    how: exit.in_words(),
                    output: self.settled_output(),
                }
                .into());
            }
            let ready = match &request {
                None => {
                    TcpStream::connect_timeout(&self.place.url.addr, Duration::from_secs(1)).is_ok()
                }
                Some(request) => {
                    let answer = ask(self.place.url.addr, request, Duration::from_secs(2));
                    opened |= answer != super::Answer::Refused;
                    last = answer.in_words();
                    answer.is_good()
                }
            };
            if ready {
                self.ready_after = self.spawned_at.elapsed();
                return Ok(());
            }
            if Instant::now() > deadline {
                let output = self.settled_output();
                let waited = READY_BOUND;
                return Err(match path {
                    Some(path) if opened => LaunchError::NeverReady {
                        path,
                        last,
                        waited,
                        output,
                    },
                    _ => LaunchError::PortNeverOpened {
                        addr: self.place.url.addr.to_string(),
                        waited,
                        output,
                    },
                }
                .into());
            }
            self.await_exit_until(Instant::now() + READY_STEP);
        }
    }

    /// Sends `signal` to the process (not its group); returns the instant just before.
    ///
    /// A process that is gone already is no error: its exit will be seen.
    pub(crate) fn signal(&self, signal: StopSignal) -> Instant {
        let at = Instant::now();
        send_signal(self.child.id(), signal.number());
        at
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

    /// Kills the whole group, as a platform does when the grace period is over.
    pub(crate) fn kill(&self) {
        // Not reaped before `drop`, so neither the id nor the group's can belong to somebody else by now.
        if let Ok(group) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: kill(2) takes numbers only.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        send_signal(self.child.id(), libc::SIGKILL);
    }

    /// The end of what it wrote on standard error.
    pub(crate) fn stderr(&self) -> String {
        let bytes = self
            .watch
            .stderr
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What a process that has just exited wrote: its pipes may be a moment behind its exit.
    pub(crate) fn settled_output(&self) -> String {
        self.settle();
        let stdout = self
            .watch
            .stdout
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from_utf8_lossy(&stdout).into_owned();
        drop(stdout);
        text.push_str(&self.stderr());
        text
    }

    /// What it wrote, each stream apart; of one that `has_ended` all of it.
    pub(crate) fn output(&self, has_ended: bool) -> Output {
        if has_ended {
            self.settle();
        }
        let stdout = self
            .watch
            .stdout
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        Output {
            stdout,
            stderr: self.stderr(),
        }
    }

    /// The same, standard error only.
    pub(crate) fn settled_stderr(&self) -> String {
        self.settle();
        self.stderr()
    }

    fn settle(&self) {
        let bound = Instant::now() + Duration::from_millis(200);
        // Ours is the last reference when both readers have seen the end, besides that of nobody else.
        while Arc::strong_count(&self.watch) > 1 && Instant::now() < bound {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        // Reaps it. It was killed: this returns as soon as the kernel is done with it.
        let _ = self.child.wait();
    }
}

/// Ctrl-C at the terminal reaches us, not the target, which has a group of its own: it must not outlive us.
#[cfg(target_os = "linux")]
fn die_with_us(command: &mut Command) {
    // SAFETY: prctl(2) is async-signal-safe and the closure touches nothing else. It fires when the thread that
    // launched the target ends; a `Running` never outlives that thread.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_: &mut Command) {}

/// The bytes of a GET for `path` that keeps the connection.
pub(crate) fn get(place: &Place, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lameduck-verify\r\nAccept: */*\r\n\r\n",
        place.url.host
    )
    .into_bytes()
}

fn send_signal(id: u32, number: i32) {
    if let Ok(pid) = libc::pid_t::try_from(id) {
        // SAFETY: kill(2) takes numbers only. The child is not reaped before `drop`: the id is still its own.
        unsafe { libc::kill(pid, number) };
    }
}

fn await_exit(id: u32, watch: &Watch) {
    loop {
        // SAFETY: all-zero is a valid siginfo_t (plain C data).
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
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
        *watch.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Exit { at, ending });
        watch.changed.notify_all();
        return;
    }
}

fn collect(
    mut from: impl Read + Send + 'static,
    watch: Arc<Watch>,
    which: fn(&Watch) -> &Mutex<Vec<u8>>,
) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Ends with the pipe: when the last process of the group that holds it is gone.
        while let Ok(count) = from.read(&mut buffer) {
            if count == 0 {
                break;
            }
            let mut kept = which(&watch).lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&buffer[..count]);
            let excess = kept.len().saturating_sub(MAX_OUTPUT);
            kept.drain(..excess);
        }
    });
}
