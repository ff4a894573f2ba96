//! Puts a lifecycle together: plan, signals, driver, last words. The one place that knows several edges.

use std::{
    fmt, fs, io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use super::Lifecycle;
#[cfg(feature = "systemd")]
use crate::edge::systemd::Notifier;
use crate::{
    driver::{
        Arrival, Authority, Driver, DumpCause, LastWords, Observer, Shared, Signals, Supervisor,
        Then,
    },
    edge::{
        audit::Audit,
        dump::{self, Dumper},
        history::History,
        platform::Detected,
        probe::{self, ProbeAnswer},
        process::{BoundedWriter, has_termination_log, shell_above_us},
        signal::{self, Intake, SignalError, SignalSet},
    },
    machine, sys,
    vocab::{CutBy, Outcome, Plan, PlanError, Signal},
};

/// Looks for who wants to be told how it goes; None: nobody.
type FindSupervisor = fn() -> io::Result<Option<Arc<dyn Supervisor>>>;

/// How a lifecycle is to begin: a plan, and which signals are taken.
///
/// # Examples
/// ```
/// use lameduck::{Plan, Preset, Start};
/// let start = Start::from(Plan::preset(Preset::Local)).without_sigint();
/// # let _ = start;
/// ```
#[must_use = "a start begins with `begin` or `lameduck::run`"]
pub struct Start {
    plan: Result<Plan, PlanError>,
    notes: Vec<String>,
    signals: SignalSet,
    report: Option<PathBuf>,
    audit: Option<Audit>,
    history: Option<History>,
    supervisor: Option<FindSupervisor>,
    observers: Vec<(String, Box<dyn Observer>)>,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("plan", &self.plan)
            .field("signals", &self.signals)
            .finish_non_exhaustive()
    }
}

impl From<Plan> for Start {
    fn from(plan: Plan) -> Self {
        let notes = vec![format!("plan {plan} (given by the program)")];
        Self {
            plan: Ok(plan),
            notes,
            signals: SignalSet::default(),
            report: None,
            audit: None,
            history: None,
            supervisor: None,
            observers: Vec::new(),
        }
    }
}

impl From<Detected> for Start {
    fn from(detected: Detected) -> Self {
        let mut notes = vec![detected.to_string()];
        notes.extend(detected.warnings);
        let audit = match detected.audit.as_deref().map(str::parse::<Audit>) {
            Some(Ok(audit)) => Some(audit),
            Some(Err(why)) => {
                notes.push(format!("LAMEDUCK_AUDIT names {why}"));
                None
            }
            None => None,
        };
        Self {
            plan: Ok(detected.plan),
            notes,
            signals: SignalSet::default(),
            report: detected.report,
            audit,
            history: detected.history.map(History::file),
            supervisor: None,
            observers: Vec::new(),
        }
    }
}

impl<T: Into<Self>> From<Result<T, PlanError>> for Start {
    fn from(result: Result<T, PlanError>) -> Self {
        match result {
            Ok(plan) => plan.into(),
            Err(error) => Self {
                plan: Err(error),
                notes: Vec::new(),
                signals: SignalSet::default(),
                report: None,
                audit: None,
                history: None,
                supervisor: None,
                observers: Vec::new(),
            },
        }
    }
}

impl Start {
    /// Takes these signals instead of SIGTERM, SIGINT, SIGHUP and SIGQUIT.
    pub const fn signals(mut self, signals: SignalSet) -> Self {
        self.signals = signals;
        self
    }

    /// Leaves SIGINT alone.
    pub const fn without_sigint(self) -> Self {
        let signals = self.signals.without(Signal::Int);
        self.signals(signals)
    }

    /// Writes the report into a file too. The file is created, or emptied, now.
    pub fn report_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.report = Some(path.into());
        self
    }

    /// Writes an audit: who sent which signal, what was made of it, every phase, reload and end.
    pub fn audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Lets budgets learn from what this history remembers, and remembers in it how this shutdown goes.
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// Puts the stacks of all threads into dumps: those of SIGQUIT and SIGUSR1, and those that the program asks for.
    ///
    /// A thread is asked by a real-time signal, copies its registers and its stack, and goes on; system calls that this interrupts are
    /// restarted, but those that signal(7) lists under "never restarted" (`poll`, `nanosleep`, …) return `EINTR` in *blocking* foreign code.
    /// The signal is taken at once; besides, nothing is done before the first dump but to map 8 MiB of address space. Where it cannot be had (another processor than x86-64,
    /// another system than Linux, a signal that is taken), the service starts all the same, a note says why, and so does each dump.
    ///
    /// It holds for the whole process: of several lifecycles the first one decides.
    #[cfg(feature = "dump")]
    pub fn dump_stacks(mut self, signal: signal::StackSignal) -> Self {
        if let Err(why) = take_stacks(signal) {
            self.notes.push(format!("dumps have no stacks: {why}"));
        }
        self
    }

    /// Tells systemd how it goes, by sd_notify(3), for `Type=notify` and `Type=notify-reload`. Where `NOTIFY_SOCKET` is not set: nothing.
    ///
    /// - `READY=1` when `Running` begins, `STOPPING=1` when it leaves, `STATUS` with counts; `RELOADING=1` with the time before a
    ///   reload, `READY=1` after it.
    /// - `EXTEND_TIMEOUT_USEC` while leaving, as long as something moves (connections, requests, guards, answers of participants), and
    ///   never past the plan's deadline.
    /// - `WATCHDOG=1` with `WatchdogSec=`, twice in its time and until the end, as long as the program [beats](Lifecycle::beat): a runtime
    ///   that is wedged says nothing.
    #[cfg(feature = "systemd")]
    pub const fn systemd(mut self) -> Self {
        self.supervisor = Some(Notifier::from_env);
        self
    }

    /// Tells an observer what happens, from the start to the end.
    pub fn observe(mut self, name: impl Into<String>, observer: impl Observer + 'static) -> Self {
        self.observers.push((name.into(), Box::new(observer)));
        self
    }

    /// Takes the signals and starts the driver.
    ///
    /// # Errors
    /// [`StartError`] if the plan is impossible, or if the system refuses a handler, a thread or a file.
    pub fn begin(self) -> Result<Lifecycle, StartError> {
        let plan = self.plan.map_err(StartError::Plan)?;
        // What can fail slowly comes before the signals are taken.
        let words = Words::new(self.report)?;
        let supervisor = self.supervisor.map(|find| find()).transpose();
        let supervisor = supervisor.map_err(StartError::Driver)?.flatten();
        let intake = Intake::install(self.signals).map_err(StartError::Signals)?;
        let mut notes = self.notes;
        if let Some(shell) = shell_above_us() {
            notes.push(format!(
                "PID 1 is {shell}, which does not pass SIGTERM on; start this program with exec"
            ));
        }
        if !intake.left_ignored().is_empty() {
            notes.push(format!(
                "left ignored, as inherited: {:?}",
                intake.left_ignored()
            ));
        }
        // Signals reach the pipe from any thread; this one may start children and threads with a clean mask again (INV-7).
        intake.restore_mask();
        let shared = Driver::start(
            plan,
            notes,
            Some(Box::new(FromIntake {
                intake,
                raw: Vec::new(),
                lost: 0,
            })),
            Authority::Process(Box::new(words)),
            supervisor,
        )
        .map_err(StartError::Driver)?;
        // From here on the signals are taken: who cannot be told is a note, since a start that failed would leave them so.
        if let Some(audit) = self.audit
            && let Err(error) = begin_audit(&shared, audit)
        {
            shared.send(machine::Input::Note(format!("there is no audit: {error}")));
        }
        if let Some(history) = &self.history {
            begin_history(&shared, history);
        }
        for (name, observer) in self.observers {
            if let Err(error) = shared.observe(name.clone(), observer) {
                shared.send(machine::Input::Note(format!(
                    "observer {name} is not told: {error}"
                )));
            }
        }
        Ok(Lifecycle::new(shared))
    }
}

/// The slots first: from the moment that the handler is there, any thread may run it.
#[cfg(feature = "dump")]
fn take_stacks(signal: signal::StackSignal) -> Result<(), String> {
    let taken = sys::snapshot::prepare()
        .map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => "they are taken on x86-64 Linux only".to_owned(),
            _ => format!("no memory for them: {error}"),
        })
        .and_then(|()| signal::take_stack_signal(signal).map_err(|why| why.to_string()));
    dump::stacks::enable(taken.clone());
    taken.map(drop)
}

impl Lifecycle {
    /// A lifecycle with signals, after [`Plan::detect`]: for a server that you keep.
    ///
    /// # Errors
    /// As [`Start::begin`].
    pub fn from_env() -> Result<Self, StartError> {
        Start::from(Plan::detect()).begin()
    }

    /// A lifecycle without signals, which never ends the process: for tests and for programs with several of them.
    ///
    /// # Errors
    /// No descriptor or no thread is left.
    pub fn embedded(plan: Plan) -> io::Result<Self> {
        Driver::start(plan, Vec::new(), None, Authority::Embedded, None).map(Self::new)
    }

    /// Begins to write an audit, from what happened lately on. [`Start::audit`] is the way for a service of its own.
    ///
    /// # Errors
    /// No thread or descriptor is left. A file that cannot be written is none: see [`Audit::file`].
    pub fn audit(&self, audit: Audit) -> io::Result<()> {
        begin_audit(&self.shared, audit)
    }

    /// Lets the budgets of participants that enrol from now on learn from what this history remembers, and remembers in it how this
    /// shutdown goes. [`Start::history`] is the way for a service of its own. Of several histories the first one that can be used is.
    ///
    /// A history that cannot be used is a line in the report: budgets are what the program gives.
    ///
    /// # Examples
    /// ```
    /// use lameduck::{History, Lifecycle, Outcome, Plan, Preset, Window};
    /// use std::time::Duration;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = std::env::temp_dir().join(format!("lameduck-doc-history-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory)?;
    /// let base = Duration::from_millis(20);
    /// let leave = || {
    ///     let plan = Plan::preset(Preset::Local).with_window(Window::NONE)?;
    ///     let life = Lifecycle::embedded(plan)?;
    ///     life.history(History::in_directory(&directory, "api-0"));
    ///     let outbox = life.participate("outbox").budget(base).register()?;
    ///     let budget = outbox.budget();
    ///     outbox.ready();
    ///     life.ready();
    ///     life.shutdown("the example is over");
    ///     // It says nothing: its budget ends first.
    ///     assert!(matches!(life.wait(), Outcome::Forced { .. }));
    ///     Ok::<_, Box<dyn std::error::Error>>(budget)
    /// };
    /// assert_eq!(leave()?, Some(base));
    /// assert_eq!(leave()?, Some(base * 3 / 2));
    /// # std::fs::remove_dir_all(&directory)?;
    /// # Ok(()) }
    /// ```
    pub fn history(&self, history: History) {
        begin_history(&self.shared, &history);
    }

    /// Writes a dump for people: process, phase, participants, requests and connections in flight, tasks, and every thread, with its stack
    /// where [`Start::dump_stacks`] switched that on. The process goes on.
    ///
    /// Blocks its thread: for 3 s at most on the threads that it asks, besides on `into` and on reading the program's symbols. In an async
    /// program call it from `spawn_blocking`; while the runtime is wedged SIGQUIT and SIGUSR1 still work. What it may write is bounded
    /// ([the manual](crate::manual::dumps) has the figures), and of two at the same time the second has no stacks if the first takes longer
    /// than a second.
    ///
    /// # Errors
    /// What `into` reports.
    ///
    /// # Examples
    /// ```
    /// use lameduck::{Lifecycle, Plan, Preset};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let life = Lifecycle::embedded(Plan::preset(Preset::Local))?;
    /// let mut text = Vec::new();
    /// life.dump(&mut text)?;
    /// assert!(String::from_utf8(text)?.contains("phase Initializing"));
    /// # Ok(()) }
    /// ```
    pub fn dump(&self, into: &mut dyn io::Write) -> io::Result<()> {
        dump::write(&self.shared, DumpCause::Asked, into)
    }

    /// Answers a probe: `/livez`, `/readyz`, `/startupz` or `/lbz`; `None` for any other path.
    #[must_use]
    pub fn probe(&self, path: &str) -> Option<ProbeAnswer> {
        probe::answer(path, self.phase(), self.plan())
    }
}

fn begin_audit(shared: &Arc<Shared>, audit: Audit) -> io::Result<()> {
    let witness = audit.observer(Arc::downgrade(shared))?;
    shared.observe("audit".to_owned(), Box::new(witness))
}

/// Never an error: who serves without a history serves as well.
fn begin_history(shared: &Arc<Shared>, history: &History) {
    let warn = |what: String| {
        shared.say(&format!("lameduck: warning: {what}"));
        shared.send(machine::Input::Note(what));
    };
    if shared.budgets().is_some() {
        return warn("budgets learn from the history that was given first".to_owned());
    }
    let drain_end = shared.plan().drain_end();
    let (budgets, recorder, said) = match history.open(drain_end, Arc::downgrade(shared)) {
        Ok(opened) => opened,
        Err(why) => return warn(why.to_string()),
    };
    if let Some(said) = said {
        warn(said);
    }
    if let Err(error) = shared.observe("history".to_owned(), Box::new(recorder)) {
        return warn(format!("budgets do not learn: {error}"));
    }
    shared.set_budgets(budgets);
}

/// Why a lifecycle did not begin.
///
/// Its `Debug` is the sentence of its `Display` with the causes, because that is what a `main` that returns `Result` prints.
#[non_exhaustive]
pub enum StartError {
    /// The plan cannot be kept.
    Plan(PlanError),
    /// Signals could not be taken.
    Signals(SignalError),
    /// No thread or descriptor for the driver.
    Driver(io::Error),
    /// The report's file could not be made.
    Report {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No runtime.
    Runtime(io::Error),
}

impl StartError {
    /// The outcome that says it.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Plan(_) | Self::Report { .. } => Outcome::Impossible,
            Self::Signals(_) | Self::Driver(_) | Self::Runtime(_) => Outcome::StartFailed,
        }
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => error.fmt(f),
            Self::Signals(error) => error.fmt(f),
            Self::Driver(_) => f.write_str("cannot start the lifecycle's thread"),
            Self::Report { path, .. } => write!(f, "cannot write the report to {}", path.display()),
            Self::Runtime(_) => f.write_str("cannot start the runtime"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Plan(_) => None,
            Self::Signals(error) => std::error::Error::source(error),
            Self::Driver(error) | Self::Runtime(error) | Self::Report { source: error, .. } => {
                Some(error)
            }
        }
    }
}

/// The signal edge, as the driver wants it.
struct FromIntake {
    intake: Intake,
    raw: Vec<signal::RawSignal>,
    lost: u64,
}

impl Signals for FromIntake {
    fn fd(&self) -> BorrowedFd<'_> {
        self.intake.fd()
    }

    fn drain(&mut self, into: &mut Vec<Arrival>) {
        self.raw.clear();
        // An error of read(2) on our own pipe leaves it readable: the next turn tries again.
        let _ = self.intake.drain(&mut self.raw);
        signal::sort_by_priority(&mut self.raw);
        for raw in &self.raw {
            let at = match raw.origin {
                signal::Origin::Delivered { at, .. } => Some(at),
                signal::Origin::Lost { count } => {
                    self.lost += u64::from(count);
                    None
                }
            };
            into.push(Arrival {
                record: signal::resolve(raw),
                at,
            });
        }
    }

    fn adopt(&self) {
        self.intake.unblock_in_this_thread();
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn replaced(&self) -> Vec<Signal> {
        self.intake.replaced().iter().collect()
    }

    fn disturbed_channels(&self) -> Vec<String> {
        signal::check_channels()
    }
}

/// stderr, the termination log, the report's file, and death.
struct Words {
    dumper: Option<Dumper>,
    stderr: Option<BoundedWriter>,
    /// The termination log's own thread, where there is one to be written.
    log: Option<BoundedWriter>,
    file: Option<BoundedWriter>,
}

impl Words {
    fn new(report: Option<PathBuf>) -> Result<Self, StartError> {
        let file = report
            .map(|path| {
                let failed = |source| StartError::Report {
                    path: path.clone(),
                    source,
                };
                // O_NONBLOCK: opening a FIFO that nobody reads is an error, not a wait.
                let mut options = fs::OpenOptions::new();
                options
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .custom_flags(libc::O_NONBLOCK);
                let file = options.open(&path).map_err(failed)?;
                BoundedWriter::to(OwnedFd::from(file)).map_err(failed)
            })
            .transpose()?;
        // Without a stderr there is nobody to speak to.
        Ok(Self {
            dumper: Dumper::new().ok(),
            stderr: BoundedWriter::stderr().ok(),
            log: has_termination_log()
                .then(|| BoundedWriter::stderr().ok())
                .flatten(),
            file,
        })
    }
}

/// Done when the last one that holds it lets go. The lock is for sharing it; nobody takes it before.
struct Afterwards(Mutex<Option<Then>>);

impl Drop for Afterwards {
    fn drop(&mut self) {
        let then = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(then) = then.take() {
            then();
        }
    }
}

impl LastWords for Words {
    fn say(&mut self, text: &str, patience: Duration) {
        if let Some(stderr) = &self.stderr {
            // Whoever does not read stderr in time does not hear it; the exit does not wait for them (INV-2).
            let _ = stderr.write(text.as_bytes().to_vec(), patience);
        }
    }

    fn report(&mut self, json: &str, patience: Duration, then: Then) {
        let (said, heard) = mpsc::channel();
        let afterwards = Arc::new(Afterwards(Mutex::new(Some(Box::new(move || {
            then();
            // Past `patience` nobody listens.
            let _ = said.send(());
        })))));
        let line = format!("{json}\n").into_bytes();
        let last = |written: &Arc<Afterwards>| {
            let written = Arc::clone(written);
            move |_| drop(written)
        };
        // All begin before any is waited for: one that is stuck takes nothing from the others.
        let begun = [
            self.file
                .as_ref()
                .map(|file| file.begin(line.clone(), last(&afterwards))),
            self.log
                .as_ref()
                .map(|log| log.begin_termination_log(json.to_owned(), last(&afterwards))),
            self.stderr
                .as_ref()
                .map(|stderr| stderr.begin(line, last(&afterwards))),
        ];
        // Who is refused here has been heard all the same: his part of it is dropped.
        drop((begun, afterwards));
        let _ = heard.recv_timeout(patience);
    }

    fn dump(&mut self, shared: &Arc<Shared>, why: DumpCause) -> bool {
        if why == DumpCause::Quit {
            signal::second_quit_kills();
        }
        self.dumper
            .as_ref()
            .is_some_and(|dumper| dumper.begin(shared, why))
    }

    fn dumped(&self) -> Option<BorrowedFd<'_>> {
        self.dumper.as_ref().map(Dumper::written)
    }

    fn end(&mut self, outcome: Outcome) -> ! {
        match outcome {
            Outcome::Cut(CutBy::Signal(signal)) => signal::die_by(signal),
            other => sys::exit_now(i32::from(other.exit_code())),
        }
    }

    fn die_by_quit(&mut self) -> ! {
        signal::die_by(Signal::Quit)
    }
}
