//! One process of a group: it waits for its turn, has participants of every manner, and cleans up once.
//!
//! Owns: the program, and the process that the rounds hold of it.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use lameduck::group::{Group, Identity, UnixCarrier};
use lameduck::{Lifecycle, News, Observed, Participant, Plan, Preset, Start, Window};
use lameduck_benches::rng::Rng;

use crate::Failure;
use crate::diary::{self, Diary, Entry};

/// Signal to SIGKILL, as a platform would have it; the deadline is half a second before.
const GRACE: Duration = Duration::from_secs(8);
/// What the drain itself needs: the rest of its time can be waited.
const NEEDS: Duration = Duration::from_millis(2_500);
/// Budget of the participants that have one.
const BUDGET: Duration = Duration::from_millis(400);
/// How long a start may take.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The shortest that etcd takes.
#[cfg(feature = "etcd")]
const LEASE: Duration = Duration::from_secs(2);

/// How a participant leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Manner {
    /// It is done at once.
    Quick,
    /// It takes its time, and says so.
    Slow,
    /// It says nothing and never ends: it is to be given up, by name.
    Silent,
    /// It needs more time than its budget, and asks for it.
    Asks,
    /// It will not leave: it is to be named.
    Refuses,
}

impl Manner {
    pub(crate) fn drawn(rng: &mut Rng) -> Self {
        *rng.pick(&[
            Self::Quick,
            Self::Slow,
            Self::Silent,
            Self::Asks,
            Self::Refuses,
        ])
    }

    fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    name: String,
    #[command(flatten)]
    lender: LenderArgs,
    /// Where it writes down what happens to it
    #[arg(long)]
    diary: PathBuf,
    /// Where its report goes
    #[arg(long)]
    report: PathBuf,
    #[arg(long, value_enum)]
    manner: Vec<Manner>,
}

/// Where the slots are lent.
#[derive(Debug, Args)]
struct LenderArgs {
    #[arg(long)]
    slots: Option<PathBuf>,
    #[cfg(feature = "etcd")]
    #[arg(long, value_delimiter = ',')]
    etcd: Vec<String>,
    #[cfg(feature = "etcd")]
    #[arg(long, default_value = "")]
    group: String,
    #[cfg(feature = "etcd")]
    #[arg(long, default_value = "1")]
    rules: lameduck::group::Rules,
}

impl LenderArgs {
    fn join(&self, who: Identity) -> Result<Group, Failure> {
        if let Some(socket) = &self.slots {
            return Ok(Group::join(UnixCarrier::new(socket), who));
        }
        #[cfg(feature = "etcd")]
        if !self.etcd.is_empty() {
            let etcd = lameduck_etcd::EtcdCarrier::new(self.etcd.clone(), &self.group, self.rules)?;
            return Ok(Group::join(etcd.lease(LEASE), who));
        }
        Err("nobody lends slots".into())
    }
}

pub(crate) fn run(args: MemberArgs) -> ExitCode {
    match serve(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan() -> Result<Plan, Failure> {
    let window = Window::new(
        Duration::from_millis(50),
        Duration::from_millis(20),
        Duration::from_millis(200),
    );
    Ok(Plan::preset(Preset::Systemd)
        .with_grace(GRACE)?
        .with_window(window)?)
}

fn serve(args: MemberArgs) -> Result<ExitCode, Failure> {
    let diary = Arc::new(Diary::open(&args.diary)?);
    let start = Start::from(plan()?).report_to(&args.report);
    let outcome = lameduck::run(start, async move |life: Lifecycle| {
        let group = args.lender.join(Identity::new(&args.name)?)?;
        for (number, manner) in args.manner.iter().enumerate() {
            let name = format!("{}-{number}", manner.word());
            let mut enrol = life.participate(name);
            if matches!(manner, Manner::Silent | Manner::Asks) {
                enrol = enrol.budget(BUDGET);
            }
            let participant = enrol.register()?;
            participant.ready();
            tokio::spawn(behave(participant, *manner));
        }
        let cleanup = life.participate("cleanup").register()?;
        cleanup.ready();
        let cleaning = Arc::clone(&diary);
        cleanup.on_stop(move || {
            cleaning.write("cleanup");
            Ok::<(), std::convert::Infallible>(())
        });
        tokio::spawn(async move {
            cleanup.closing().await;
            cleanup.done();
        });
        group.joined().await;
        life.leave_in_turn(group, NEEDS)?;
        life.observe("diary", move |seen: &Observed| {
            if let News::Noted { what } = &seen.news
                && what.starts_with("its turn came")
                && what.ends_with("the group lent a slot")
            {
                diary.write("slot");
            }
        })?;
        tokio::spawn(async move {
            life.running().await;
            println!("ready");
        });
        Ok::<(), Failure>(())
    });
    eprintln!("{outcome}");
    Ok(ExitCode::from(outcome.exit_code()))
}

async fn behave(participant: Participant, manner: Manner) {
    match manner {
        Manner::Quick => {
            participant.closing().await;
            participant.done();
        }
        Manner::Slow => {
            participant.closing().await;
            for step in 0..5 {
                participant.working(step, 5);
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
            participant.done();
        }
        Manner::Silent => std::future::pending().await,
        Manner::Asks => {
            participant.closing().await;
            let _granted = participant.need_more(2 * BUDGET, "a long batch").await;
            tokio::time::sleep(BUDGET + BUDGET / 2).await;
            participant.done();
        }
        Manner::Refuses => {
            participant.closing().await;
            participant.refuse("not before midnight");
        }
    }
}

/// A process that this program started.
pub(crate) struct Process {
    child: Child,
    /// Says when it ended, by both clocks.
    ended: JoinHandle<(Instant, Duration)>,
    /// How long it got no processor.
    stopped: Duration,
}

impl Process {
    /// Starts this program in another role, and waits until it says that it is ready.
    pub(crate) fn start(args: &[OsString]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let process = Self {
            ended: watch(child.id()),
            child,
            stopped: Duration::ZERO,
        };
        let (said, heard) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = said.send(line);
        });
        match heard.recv_timeout(READY_WITHIN).as_deref() {
            Ok("ready\n") => Ok(process),
            other => Err(format!("{args:?} did not become ready: {other:?}").into()),
        }
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill takes no pointers. The pid is our own child's and cannot be another process's: it is reaped by `wait` alone,
        // after which nothing is sent.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }

    /// Gives it no processor for so long.
    pub(crate) fn stop(&mut self, long: Duration) {
        self.signal(libc::SIGSTOP);
        thread::sleep(long);
        self.signal(libc::SIGCONT);
        self.stopped += long;
    }
}

/// Notes when a child ends, and leaves it to be reaped by whoever holds it.
fn watch(pid: u32) -> JoinHandle<(Instant, Duration)> {
    thread::spawn(move || {
        // SAFETY: all zeroes is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: the pointer is to a siginfo_t that lives through the call. It fails when the child was reaped already, which is an end too.
        unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, options) };
        (Instant::now(), diary::now())
    })
}

impl Process {
    /// Kills and reaps it.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A member of a round.
pub(crate) struct Member {
    process: Process,
    manners: Vec<Manner>,
    diary: PathBuf,
    report: PathBuf,
    told_at: Instant,
    killed_at: Option<Duration>,
}

/// What became of a member.
pub(crate) struct End {
    /// Its participants, by name.
    pub(crate) manners: Vec<(String, Manner)>,
    pub(crate) entries: Vec<Entry>,
    /// Until when it was there for certain, on the clock of the diaries: when it was killed, or seen to be gone. Who lends may know of a death
    /// before we do.
    pub(crate) gone: Duration,
    /// From its signal to its end, without what it was stopped.
    pub(crate) took: Duration,
    /// What it may take.
    pub(crate) deadline: Duration,
    pub(crate) killed: bool,
    /// It got no processor for a while.
    pub(crate) stopped: bool,
    pub(crate) exit: String,
    pub(crate) report: Option<serde_json::Value>,
}

impl Member {
    pub(crate) fn start(
        number: u64,
        lender: &[OsString],
        manners: Vec<Manner>,
        directory: &Path,
    ) -> Result<Self, Failure> {
        let name = format!("m{number}");
        let diary = directory.join(format!("{name}.diary"));
        let report = directory.join(format!("{name}.report"));
        let mut args: Vec<OsString> = vec!["member".into(), name.into()];
        args.extend_from_slice(lender);
        args.extend(["--diary".into(), diary.clone().into()]);
        args.extend(["--report".into(), report.clone().into()]);
        for manner in &manners {
            args.extend(["--manner".into(), manner.word().into()]);
        }
        Ok(Self {
            process: Process::start(&args)?,
            manners,
            diary,
            report,
            told_at: Instant::now(),
            killed_at: None,
        })
    }

    /// Tells it to leave.
    pub(crate) fn tell(&mut self) {
        self.told_at = Instant::now();
        self.process.signal(libc::SIGTERM);
    }

    pub(crate) fn kill(&mut self) {
        self.killed_at = Some(diary::now());
        self.process.signal(libc::SIGKILL);
    }

    pub(crate) fn stop(&mut self, long: Duration) {
        self.process.stop(long);
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Result<End, Failure> {
        let Process {
            mut child,
            ended,
            stopped,
        } = self.process;
        let (gone_at, gone) = ended.join().map_err(|_| "nobody watched it")?;
        let status = child.wait()?;
        let report = std::fs::read_to_string(&self.report).ok();
        let names = self.manners.iter().enumerate();
        Ok(End {
            manners: names
                .map(|(number, manner)| (format!("{}-{number}", manner.word()), *manner))
                .collect(),
            entries: diary::read(&self.diary)?,
            gone: self.killed_at.map_or(gone, |killed| killed.min(gone)),
            took: (gone_at - self.told_at).saturating_sub(stopped),
            deadline: plan()?.deadline(),
            killed: status.signal() == Some(libc::SIGKILL),
            stopped: !stopped.is_zero(),
            exit: status.to_string(),
            report: report.and_then(|text| serde_json::from_str(&text).ok()),
        })
    }
}
