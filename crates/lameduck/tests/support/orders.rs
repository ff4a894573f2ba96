//! What a child can be told to do. One line in, one line out.

use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::child::{MARK, describe};
use crate::edge::process::{BoundedWriter, shell_above_us};
use crate::edge::signal::{
    Intake, Origin, RawSignal, SignalSet, die_by, early, resolve, sort_by_priority,
};
use crate::sys;
use crate::vocab::Signal;

/// How long a signal is waited for; a test that reaches it fails.
const BOUND: Duration = Duration::from_secs(30);

const ALL: [Signal; 6] = [
    Signal::Quit,
    Signal::Term,
    Signal::Int,
    Signal::Hup,
    Signal::Usr2,
    Signal::Usr1,
];

/// How often the foreign handler ran.
static FOREIGN: AtomicUsize = AtomicUsize::new(0);

/// Runs before the test binary's `main`, because that one runs every test on a thread of its own: here is the place
/// where `early` is early.
pub extern "C" fn run_if_child() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    no_core_files();
    let (silent, _held) = sys::pipe().expect("a pipe");
    let mut state = State {
        intakes: Vec::new(),
        child: None,
        forked: None,
        silent,
    };
    for order in io::stdin().lock().lines() {
        let answer = state.obey(&order.expect("orders are text"));
        writeln!(io::stdout(), "{answer}").expect("the test reads");
    }
    sys::exit_now(0)
}

struct State {
    intakes: Vec<Option<Arc<Intake>>>,
    child: Option<Child>,
    forked: Option<i32>,
    /// A descriptor that never becomes readable.
    silent: OwnedFd,
}

impl State {
    fn obey(&mut self, order: &str) -> String {
        let words: Vec<&str> = order.split(' ').collect();
        match words[..] {
            ["early"] => early(),
            ["block", signal] => drop(sys::block([number(signal)])),
            ["threads", n] => (0..count(n)).for_each(|_| drop(thread::spawn(park))),
            ["install", signals] => return self.install(set(signals)),
            ["insist", signal] => {
                return self.install(SignalSet::default().even_if_ignored(named(signal)));
            }
            ["driver", intake] => start_driver(self.intake(intake)),
            ["unblock", intake] => self.intake(intake).unblock_in_this_thread(),
            ["restore", intake] => self.intake(intake).restore_mask(),
            ["replaced", intake] => return names(self.intake(intake).replaced().iter()),
            ["drop", intake] => self.intakes[count(intake)] = None,
            ["take", intake, n] => return show(&self.wait_for(intake, count(n))),
            ["count", intake, n] => return tally(&self.wait_for(intake, count(n))),
            ["ignored", intake] => return names(self.intake(intake).left_ignored().iter()),
            ["mask"] => {
                let mask = sys::current_mask();
                return names(ALL.into_iter().filter(|s| mask.blocks(s.number())));
            }
            ["kill", signal, n] => (0..count(n)).for_each(|_| {
                sys::kill_self(number(signal)).expect("a signal");
            }),
            ["raise", signal] => {
                let signo = number(signal);
                thread::spawn(move || sys::raise(signo))
                    .join()
                    .expect("it ends");
            }
            ["foreign", signal] => install_foreign(number(signal)),
            ["foreign-count"] => return FOREIGN.load(Ordering::SeqCst).to_string(),
            ["spawn"] => return self.spawn(),
            ["fork"] => {
                return self.fork(|not_yet| {
                    drop(not_yet);
                    wait_for_ever();
                });
            }
            ["fork-and-take"] => return self.fork(take_one_and_exit),
            ["reap"] => return self.reap(),
            ["pid"] => return std::process::id().to_string(),
            ["shell"] => return shell_above_us().unwrap_or_else(|| "none".to_owned()),
            ["stderr"] => return write_to_stderr(),
            ["tokio", when] => return super::beside_tokio::run(when),
            ["die", signal] => die_by(named(signal)),
            _ => panic!("no such order: {order}"),
        }
        "ok".to_owned()
    }

    fn install(&mut self, set: SignalSet) -> String {
        match Intake::install(set) {
            Ok(intake) => {
                self.intakes.push(Some(Arc::new(intake)));
                "ok".to_owned()
            }
            Err(error) => error.to_string(),
        }
    }

    fn intake(&self, nth: &str) -> &Arc<Intake> {
        self.intakes[count(nth)].as_ref().expect("not dropped")
    }

    /// Everything that has come when at least `n` deliveries have, in the order in which it is to be handled.
    fn wait_for(&self, nth: &str, n: usize) -> Vec<RawSignal> {
        let intake = self.intake(nth);
        let deadline = Instant::now() + BOUND;
        let mut found = Vec::new();
        while deliveries(&found) < n {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {found:?} came");
            let [ready, silent] =
                sys::poll2([intake.fd(), self.silent.as_fd()], Some(left)).expect("poll works");
            assert!(!silent, "nothing is ever written there");
            if ready {
                intake.drain(&mut found).expect("the pipe is open");
            }
        }
        while intake.drain(&mut found).expect("the pipe is open") > 0 {}
        sort_by_priority(&mut found);
        found
    }

    fn spawn(&mut self) -> String {
        let child = Command::new("sleep")
            .arg("120")
            .spawn()
            .expect("sleep runs");
        let pid = child.id();
        self.child = Some(child);
        pid.to_string()
    }

    /// Forks; says the copy's id once the copy says that it is ready, by closing the pipe that it is given.
    fn fork(&mut self, in_the_copy: fn(OwnedFd)) -> String {
        let (ready, not_yet) = sys::pipe().expect("a pipe");
        // SAFETY: no order before this one in the tests starts a thread, so the copy may do what the original may.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: takes no pointer. Should the test fail, the copy does not outlive its parent.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            in_the_copy(not_yet);
            sys::exit_now(1);
        }
        assert!(pid > 0, "fork works");
        drop(not_yet);
        let [hung_up, _] =
            sys::poll2([ready.as_fd(), self.silent.as_fd()], Some(BOUND)).expect("poll works");
        assert!(hung_up, "the copy is ready");
        self.forked = Some(pid);
        pid.to_string()
    }

    fn reap(&mut self) -> String {
        if let Some(mut child) = self.child.take() {
            return describe(child.wait().expect("it runs"));
        }
        let pid = self.forked.take().expect("something was started");
        let mut status = 0;
        // SAFETY: `status` may be written; the child is ours and not reaped yet.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        describe(std::process::ExitStatus::from_raw(status))
    }
}

fn wait_for_ever() {
    loop {
        // SAFETY: has no precondition.
        unsafe { libc::pause() };
    }
}

/// A copy with an intake of its own: exits with 7 when the signal came there.
fn take_one_and_exit(not_yet: OwnedFd) {
    let intake = Intake::install(SignalSet::default()).expect("handlers");
    drop(not_yet);
    let (silent, _held) = sys::pipe().expect("a pipe");
    sys::poll2([intake.fd(), silent.as_fd()], Some(BOUND)).expect("poll works");
    let mut found = Vec::new();
    intake.drain(&mut found).expect("the pipe is open");
    sys::exit_now(if found.len() == 1 { 7 } else { 8 });
}

/// What the driver thread does first; nothing follows here.
fn start_driver(intake: &Arc<Intake>) {
    let intake = Arc::clone(intake);
    let (ready, started) = mpsc::channel();
    thread::spawn(move || {
        intake.unblock_in_this_thread();
        drop(intake);
        ready.send(()).expect("somebody waits");
        park();
    });
    started.recv().expect("it starts");
}

fn park() {
    loop {
        thread::park();
    }
}

fn deliveries(found: &[RawSignal]) -> usize {
    found
        .iter()
        .map(|raw| match raw.origin {
            Origin::Delivered { .. } => 1,
            Origin::Lost { count } => count as usize,
        })
        .sum()
}

fn show(found: &[RawSignal]) -> String {
    let lines: Vec<String> = found
        .iter()
        .map(resolve)
        .map(|record| format!("{} {} {}", record.signal, record.code, record.sender))
        .collect();
    lines.join("; ")
}

fn tally(found: &[RawSignal]) -> String {
    let records = found
        .iter()
        .filter(|raw| matches!(raw.origin, Origin::Delivered { .. }))
        .count();
    format!("records {records} lost {}", deliveries(found) - records)
}

fn write_to_stderr() -> String {
    let writer = BoundedWriter::stderr().expect("a thread");
    match writer.write(vec![b'x'; 200_000], Duration::from_millis(100)) {
        Ok(n) => format!("wrote {n}"),
        Err(why) => why.to_string(),
    }
}

fn install_foreign(signo: i32) {
    extern "C" fn count(_: libc::c_int) {
        FOREIGN.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: the handler does nothing but add to an atomic; it stays valid as long as the program.
    let before = unsafe { libc::signal(signo, count as *const () as libc::sighandler_t) };
    assert_ne!(before, libc::SIG_ERR);
}

fn no_core_files() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `none` is initialised and lives for the call.
    let refused = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    assert_eq!(refused, 0);
}

fn names(signals: impl Iterator<Item = Signal>) -> String {
    let names: Vec<&str> = signals.map(Signal::as_str).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(",")
    }
}

fn set(signals: &str) -> SignalSet {
    match signals {
        "default" => SignalSet::default(),
        list => list.split(',').map(named).collect(),
    }
}

fn named(name: &str) -> Signal {
    let all = ALL.into_iter();
    all.into_iter()
        .find(|signal| signal.as_str().strip_prefix("SIG") == Some(name))
        .expect("a signal of ours")
}

fn number(name: &str) -> i32 {
    if name == "KILL" {
        libc::SIGKILL
    } else {
        named(name).number()
    }
}

fn count(word: &str) -> usize {
    word.parse().expect("a number")
}
