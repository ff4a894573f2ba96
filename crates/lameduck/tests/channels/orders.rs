//! What a child of the channels' tests can be told to do. One line in, one line out.

use std::io::{self, BufRead, Read as _, Write};
use std::os::fd::AsRawFd as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lameduck::inflight::Token;
use lameduck::process;
use lameduck::signals::{Blocked, Channel, Opening, Received, RecvError, Signo, block};
use lameduck::{Lifecycle, Plan, Preset, SignalSet, Start, Window};

use crate::child::MARK;

/// How long a signal is waited for; a test that reaches it fails.
const BOUND: Duration = Duration::from_secs(30);

/// Runs before the test binary's `main`, because that one runs every test on a thread of its own.
pub extern "C" fn run_if_child() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    no_core_files();
    let mut state = State::default();
    for order in io::stdin().lock().lines() {
        let answer = state.obey(&order.expect("orders are text"));
        writeln!(io::stdout(), "{answer}").expect("the test reads");
    }
    // SAFETY: has no precondition. Neither destructors nor the test harness run.
    unsafe { libc::_exit(0) }
}

#[derive(Default)]
struct State {
    channels: Vec<Option<Channel>>,
    held: Option<Blocked>,
    token: Token,
    life: Option<Lifecycle>,
}

impl State {
    fn obey(&mut self, order: &str) -> String {
        let words: Vec<&str> = order.split(' ').collect();
        match words[..] {
            ["open", signals, ref options @ ..] => {
                let opened = self.opening(signals, options).open();
                return self.keep(opened);
            }
            ["signalfd", signals, ref options @ ..] => {
                let opened = self.opening(signals, options).open_signalfd();
                return self.keep(opened);
            }
            ["take", channel, n] => return self.receive(channel, n, |one| one.to_string()),
            ["senders", channel, n] => {
                return self.receive(channel, n, |one| one.sender().to_string());
            }
            ["values", channel, n] => return self.receive(channel, n, short),
            ["try", channel] => return said(self.channel(channel).try_recv()),
            ["recv", channel] => {
                let received = self.channel(channel).recv();
                return said(received.ok_or(RecvError::Closed));
            }
            ["dropped", channel] => return self.channel(channel).dropped().to_string(),
            ["ignored", channel] => return names(self.channel(channel).left_ignored()),
            ["check", channel] => {
                let checked = self.channel(channel).check();
                return checked
                    .map_or_else(|disturbed| disturbed.to_string(), |()| "ok".to_owned());
            }
            ["fd", channel] => {
                let fd = self.channel(channel).fd();
                return fd.map_or("none".to_owned(), |fd| fd.as_raw_fd().to_string());
            }
            ["hung-up", channel] => return self.hung_up(channel),
            ["drop", channel] => self.channels[count(channel)] = None,
            ["async", form] => return asynchronous(form),
            _ => return self.obey_beside(&words),
        }
        "ok".to_owned()
    }

    /// Orders that are not about one channel.
    fn obey_beside(&mut self, words: &[&str]) -> String {
        match *words {
            ["cycle", n] => (0..count(n)).for_each(|_| cycle()),
            ["fire"] => self.token.fire(),
            ["fire-soon"] => {
                let token = self.token.clone();
                thread::spawn(move || token.fire());
            }
            ["fds"] => return fds().to_string(),
            ["hold", signals] => self.held = Some(block(set(signals))),
            ["release"] => self.held = None,
            ["kill", signal, n] => (0..count(n)).for_each(|_| {
                send(signo(signal), None);
            }),
            ["raise", signal] => {
                let signo = signo(signal).number();
                // SAFETY: takes no pointer.
                let raised = thread::spawn(move || unsafe { libc::raise(signo) });
                assert_eq!(raised.join().expect("it ends"), 0);
            }
            ["thread"] => start_thread(),
            ["foreign", signal] => install_foreign(signo(signal).number()),
            ["timer", signal] => return self.timer(signo(signal)),
            ["life", signals] => return self.begin(signals, Lifecycle::ready),
            ["life-to-the-end", signals] => {
                self.begin(signals, Lifecycle::ready);
                return format!("{:?}", self.life().wait());
            }
            ["life-initializing"] => return self.begin("default", |_| {}),
            ["ready-and-status"] => return ready_and_status(self.life()),
            ["outcome"] => return format!("{:?}", self.life().wait()),
            ["reported"] => return reported(self.life()),
            ["spawn-std"] => {
                let mut grep = std::process::Command::new("grep");
                let output = grep.args(SIGBLK).output().expect("grep runs");
                return mask(&String::from_utf8(output.stdout).expect("text"));
            }
            ["spawn"] => {
                let mut child = process::Command::new("grep")
                    .args(SIGBLK)
                    .stdout(process::Stdio::Piped)
                    .spawn()
                    .expect("grep runs");
                let mut text = String::new();
                let mut stdout = child.stdout.take().expect("it is piped");
                stdout.read_to_string(&mut text).expect("text");
                assert!(child.wait().expect("it ends").success());
                return mask(&text);
            }
            _ => panic!("no such order: {words:?}"),
        }
        "ok".to_owned()
    }

    fn opening(&self, signals: &str, options: &[&str]) -> Opening {
        let mut opening = Channel::of(set(signals));
        for option in options {
            opening = match option.split_once('=').unwrap_or((option, "")) {
                ("bound", n) => opening.bound(n.parse().expect("a number")),
                ("first", signals) => opening.first(set(signals)),
                ("insist", _) => opening.even_if_ignored(),
                ("until", _) => opening.until(self.token.fired()),
                ("until-closing", _) => opening.until(self.life().drain().closing()),
                ("until-future", _) => opening.until_future(self.token.fired()),
                _ => panic!("no such option: {option}"),
            };
        }
        opening
    }

    fn keep(&mut self, opened: Result<Channel, lameduck::signals::ChannelError>) -> String {
        match opened {
            Ok(channel) => {
                self.channels.push(Some(channel));
                "ok".to_owned()
            }
            Err(error) => format!("refused: {error}"),
        }
    }

    fn channel(&mut self, nth: &str) -> &mut Channel {
        self.channels[count(nth)].as_mut().expect("not dropped")
    }

    fn receive(&mut self, nth: &str, n: &str, say: impl Fn(&Received) -> String) -> String {
        let channel = self.channel(nth);
        let received = (0..count(n)).map(|so_far| {
            let next = channel.recv_timeout(BOUND);
            say(&next.unwrap_or_else(|why| panic!("after {so_far}: {why}")))
        });
        received.collect::<Vec<_>>().join("; ")
    }

    /// Whether the channel's descriptor hangs up, without a call of the channel's.
    fn hung_up(&mut self, nth: &str) -> String {
        let mut entry = libc::pollfd {
            fd: self.channel(nth).fd().expect("it is open").as_raw_fd(),
            events: 0,
            revents: 0,
        };
        // SAFETY: one entry, which may be written.
        let polled = unsafe { libc::poll(&raw mut entry, 1, 30_000) };
        let hung_up = polled == 1 && entry.revents & libc::POLLHUP != 0;
        if hung_up { "yes" } else { "no" }.to_owned()
    }

    fn begin(&mut self, signals: &str, then: fn(&Lifecycle)) -> String {
        let signals = match signals {
            "all" => SignalSet::default()
                .with(lameduck::Signal::Usr1)
                .with(lameduck::Signal::Usr2),
            _ => SignalSet::default(),
        };
        let plan = Plan::preset(Preset::Local).with_window(Window::NONE);
        match Start::from(plan.expect("no window is a window"))
            .signals(signals)
            .begin()
        {
            Ok(life) => {
                then(&life);
                self.life = Some(life);
                "ok".to_owned()
            }
            Err(error) => format!("refused: {error}"),
        }
    }

    fn life(&self) -> &Lifecycle {
        self.life.as_ref().expect("a lifecycle was begun")
    }

    /// A POSIX timer that runs out every millisecond, while a child that is started and waited for takes longer.
    fn timer(&mut self, signal: Signo) -> String {
        start_timer(signal);
        let deadline = Instant::now() + BOUND;
        while Instant::now() < deadline {
            let held = block([signal]);
            process::Command::new("true").status().expect("true runs");
            drop(held);
            let one = self
                .channel("0")
                .recv_timeout(BOUND)
                .expect("the timer goes on");
            assert_eq!(one.value().map(|value| value.int()), Some(42), "{one:?}");
            if matches!(one.overrun(), Some(1..1_000)) {
                return "some ran out together".to_owned();
            }
        }
        "never two together".to_owned()
    }
}

const SIGBLK: [&str; 2] = ["SigBlk", "/proc/self/status"];

fn mask(line: &str) -> String {
    line.trim().trim_start_matches("SigBlk:\t").to_owned()
}

/// A channel that opens, hears and is ended by its token, while it waits or before it is read.
fn cycle() {
    let token = Token::new();
    let mut channel = Channel::of([Signo::USR2, Signo::WINCH])
        .until(token.fired())
        .open()
        .expect("handlers");
    // SAFETY: takes no pointer.
    unsafe { libc::raise(libc::SIGUSR2) };
    channel.recv_timeout(BOUND).expect("it hears");
    token.fire();
    assert_eq!(channel.recv(), None);
    assert!(channel.is_closed());
}

/// How many descriptors there are, once the threads that take handlers back have ended.
fn fds() -> usize {
    let deadline = Instant::now() + BOUND;
    while threads() > 1 {
        assert!(Instant::now() < deadline, "a thread stays");
        thread::yield_now();
    }
    let open = std::fs::read_dir("/proc/self/fd");
    open.expect("/proc is mounted").count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task")
        .expect("/proc is mounted")
        .count()
}

fn ready_and_status(life: &Lifecycle) -> String {
    life.ready();
    let deadline = Instant::now() + BOUND;
    while life.status().signal_complaints().is_empty() && Instant::now() < deadline {
        thread::yield_now();
    }
    life.status().to_json()
}

fn reported(life: &Lifecycle) -> String {
    let report = life.report().expect("it is over");
    let signals = report.signals.iter();
    let names = signals.map(|note| note.record.signal.as_str());
    names.collect::<Vec<_>>().join("; ")
}

fn start_thread() {
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        ready.send(()).expect("it is waited for");
        loop {
            thread::park();
        }
    });
    is_ready.recv().expect("it starts");
}

fn start_timer(signal: Signo) {
    // SAFETY: zeroed memory is a valid sigevent: integers and a union of plain data.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal.number();
    event.sigev_value.sival_ptr = std::ptr::without_provenance_mut(42);
    let mut timer = std::ptr::null_mut();
    let tick = libc::timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    let every = libc::itimerspec {
        it_interval: tick,
        it_value: tick,
    };
    // SAFETY: all pointers are to values of ours that live for the calls; null asks for no old value.
    unsafe {
        assert_eq!(
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer),
            0
        );
        assert_eq!(
            libc::timer_settime(timer, 0, &raw const every, std::ptr::null_mut()),
            0
        );
    }
}

/// Sends this process a signal, with a value or without.
fn send(signo: Signo, value: Option<usize>) {
    let value = value.map(|value| libc::sigval {
        sival_ptr: std::ptr::without_provenance_mut(value),
    });
    // SAFETY: no pointer that is followed; a process may always signal itself.
    let refused = unsafe {
        match value {
            Some(value) => libc::sigqueue(libc::getpid(), signo.number(), value),
            None => libc::kill(libc::getpid(), signo.number()),
        }
    };
    assert_eq!(refused, 0);
}

fn install_foreign(signo: i32) {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing; it stays valid as long as the program.
    let before = unsafe { libc::signal(signo, nothing as *const () as libc::sighandler_t) };
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

/// Signal and value, or signal and how many were dropped.
fn short(one: &Received) -> String {
    match (one.dropped(), one.value()) {
        (0, None) => one.signal().to_string(),
        (0, Some(value)) => format!("{} {}", one.signal(), value.int()),
        (n, _) => format!("{} x{n}", one.signal()),
    }
}

fn said(received: Result<Received, RecvError>) -> String {
    received.map_or_else(|why| why.to_string(), |one| one.to_string())
}

fn names(signals: impl Iterator<Item = Signo>) -> String {
    signals
        .map(|one| one.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

fn set(signals: &str) -> Vec<Signo> {
    signals.split(',').map(signo).collect()
}

fn signo(name: &str) -> Signo {
    if let Some(nth) = name.strip_prefix("RT") {
        return Signo::real_time(nth.parse().expect("a number")).expect("it exists");
    }
    let name = format!("SIG{name}");
    let all = (1..32).filter_map(|number| Signo::from_raw(number).ok());
    all.into_iter()
        .find(|signo| signo.to_string() == name)
        .expect("a signal")
}

fn count(word: &str) -> usize {
    word.parse().expect("a number")
}

/// Real-time signals by number, to a task that drops its `recv` again and again.
#[cfg(feature = "tokio")]
fn asynchronous(form: &str) -> String {
    const TOTAL: usize = 500;
    let signal = Signo::real_time(3).expect("it exists");
    let held = (form == "signalfd").then(|| block([signal]));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let mut seen = runtime.block_on(async move {
        let opening = Channel::of([signal]).until_future(async { drop(ended.await) });
        let mut channel = match form {
            "signalfd" => opening.open_signalfd_async(),
            _ => opening.open_async(),
        }
        .expect("it opens");
        let sender = tokio::task::spawn_blocking(move || {
            for value in 0..TOTAL {
                send(signal, Some(value));
            }
        });
        let mut seen = Vec::new();
        while seen.len() < TOTAL {
            tokio::select! {
                biased;
                one = channel.recv() => {
                    seen.push(one.expect("it goes on").value().expect("queued").address());
                }
                () = tokio::task::yield_now() => {}
            }
        }
        sender.await.expect("it sends");
        end.send(()).expect("somebody waits");
        let last = tokio::time::timeout(BOUND, channel.recv()).await;
        assert_eq!(last, Ok(None));
        seen
    });
    drop(held);
    // Handlers of several threads run at the same time: the older signal's may be the last to write.
    if form == "handlers" {
        seen.sort_unstable();
    }
    assert!(seen.iter().copied().eq(0..TOTAL), "{seen:?}");
    format!("{} in order, then the end", seen.len())
}

#[cfg(not(feature = "tokio"))]
fn asynchronous(_form: &str) -> String {
    panic!("needs the feature tokio")
}
