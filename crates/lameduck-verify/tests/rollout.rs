//! A rolling restart behind a front, seen from where users are: two ducks behind a small round-robin front, replaced one
//! after the other. Good ducks cost users nothing; bad ones are counted, with the first and the last error.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[expect(dead_code, reason = "other tests use the rest")]
mod duck;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use duck::{broken_duck, seat};
use lameduck_verify::{Figure, Finding, Protocol, Report, Rollout, Verdict, VerifyError, rollout};

/// A front on layer 4: each connection goes to the next instance that takes it; where none does, it says 503 itself.
struct Balancer {
    addr: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Balancer {
    /// `moody`: every so many connections it answers 503 for no reason (0: never).
    fn before(ports: [u16; 2], moody: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        std::thread::spawn(move || {
            let next = AtomicUsize::new(0);
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let turn = next.fetch_add(1, Ordering::SeqCst);
                let is_moody = moody > 0 && turn.is_multiple_of(moody);
                std::thread::spawn(move || serve(stream, ports, turn, is_moody));
            }
        });
        Self { addr, over }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(mut user: TcpStream, ports: [u16; 2], turn: usize, is_moody: bool) {
    let mut order = [ports[turn % 2], ports[(turn + 1) % 2]].into_iter();
    let upstream = order.find_map(|port| TcpStream::connect(("127.0.0.1", port)).ok());
    let _ = user.set_nodelay(true);
    match upstream.filter(|_| !is_moody) {
        Some(upstream) => {
            let _ = upstream.set_nodelay(true);
            let (from, to) = (user.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || relay(from, to));
            relay(upstream, user);
        }
        None => {
            let mut head = [0; 2048];
            let _ = user.read(&mut head);
            let _ = user.write_all(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// Two instances, and whoever replaces them when the stop command asks for it.
struct Fleet {
    directory: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    ports: [u16; 2],
}

/// In which order instances are replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    OneByOne,
    /// All are stopped before any is started again.
    AllAtOnce,
}

impl Fleet {
    fn start(broken: &str, order: Order) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let directory =
            std::env::temp_dir().join(format!("lameduck-rollout-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let ports = [free_port(), free_port()];
        let mut instances = ports.map(|port| Some(instance(port, broken)));
        let over = Arc::new(AtomicBool::new(false));
        let (ends, place, broken) = (Arc::clone(&over), directory.clone(), broken.to_owned());
        let thread = std::thread::spawn(move || {
            let asked = || place.join("begin").exists() || ends.load(Ordering::SeqCst);
            await_that(asked);
            if !ends.load(Ordering::SeqCst) {
                let replace = |slots: &mut [Option<Child>], ports: &[u16]| {
                    slots.iter_mut().for_each(|slot| stop(slot.take().unwrap()));
                    for (slot, port) in slots.iter_mut().zip(ports) {
                        *slot = Some(instance(*port, &broken));
                    }
                };
                match order {
                    Order::AllAtOnce => replace(&mut instances, &ports),
                    Order::OneByOne => {
                        replace(&mut instances[..1], &ports[..1]);
                        replace(&mut instances[1..], &ports[1..]);
                    }
                }
                std::fs::write(place.join("done"), "").unwrap();
            }
            await_that(|| ends.load(Ordering::SeqCst));
            instances.into_iter().flatten().for_each(|mut child| {
                let _ = child.kill();
                let _ = child.wait();
            });
        });
        Self {
            directory,
            over,
            thread: Some(thread),
            ports,
        }
    }

    fn command(&self, verb: &str, file: &str) -> String {
        format!("{verb} '{}'", self.directory.join(file).display())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn await_that(is_so: impl Fn() -> bool) {
    let bound = Instant::now() + Duration::from_secs(60);
    while !is_so() && Instant::now() < bound {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A duck that listens.
fn instance(port: u16, broken: &str) -> Child {
    let mut command = Command::new(broken_duck());
    command.args(["--port", &port.to_string(), "--accept-for", "600"]);
    if !broken.is_empty() {
        command.args(["--break", broken]);
    }
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    await_that(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
    child.unwrap()
}

fn stop(mut child: Child) {
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: kill(2) takes numbers only; the child is ours and not reaped yet.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    child.wait().unwrap();
}

fn watched(fleet: &Fleet, balancer: &Balancer, path: &str) -> Rollout {
    let (stop, until) = (
        fleet.command("touch", "begin"),
        fleet.command("test -e", "done"),
    );
    let mut options = Rollout::new(balancer.url(path), stop, until);
    options.front = "nlb".parse().unwrap();
    options.around = Duration::from_millis(1_500);
    options.within = Duration::from_secs(40);
    options.seed = Some(7);
    options
}

fn run(options: &Rollout) -> Report {
    rollout(options, &mut |_| {}).unwrap()
}

fn judged<'r>(report: &'r Report, id: &str) -> &'r Finding {
    let applies = |finding: &&Finding| finding.verdict != Verdict::NotApplicable;
    let mut judged = report.checks.iter().filter(applies);
    let found = judged.next().unwrap();
    assert_eq!(found.id, id);
    assert!(judged.next().is_none(), "{}", report.to_json());
    assert_eq!(report.checks.len(), lameduck_verify::list().len());
    found
}

fn measure(finding: &Finding, name: &str) -> f64 {
    match finding.figures.get(name) {
        Some(Figure::Measure(measure)) => *measure,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn l_h1_good_instances_are_replaced_without_a_failure() {
    let _seat = seat();
    let fleet = Fleet::start("", Order::OneByOne);
    let balancer = Balancer::before(fleet.ports, 0);
    let report = run(&watched(&fleet, &balancer, "/slow?ms=40"));
    let finding = judged(&report, "L-H1");
    assert_eq!(finding.verdict, Verdict::Pass, "{}", report.to_json());
    let view = &report.users[0];
    assert_eq!(
        (view.front.as_str(), &*view.basis, view.visible()),
        ("nlb", "measured", 0)
    );
    assert!(view.served > 20 && view.declared, "{view:?}");
    assert!(
        measure(finding, "over_after_ms") > 600.0,
        "two windows of 600 ms each were waited for"
    );
    assert!(measure(finding, "median_latency_before_ms") >= 40.0);
    let text = report.render_text(lameduck_verify::Style::plain());
    assert!(text.contains("users behind nlb saw no failure"), "{text}");
    assert!(
        text.contains("\nfront    nlb, asked as its users ask it"),
        "{text}"
    );
    // What does not apply says so once.
    assert_eq!(text.matches("through a front, only").count(), 1, "{text}");
    assert!(!text.contains("ready in"), "nothing was started: {text}");
    let again = Report::from_json(&report.to_json()).unwrap();
    assert_eq!(again.users, report.users);
}

#[test]
fn l_h1_instances_that_cut_are_counted_with_the_first_and_the_last_error() {
    let _seat = seat();
    let fleet = Fleet::start("H1-01", Order::OneByOne);
    let balancer = Balancer::before(fleet.ports, 0);
    let report = run(&watched(&fleet, &balancer, "/slow?ms=200"));
    let finding = judged(&report, "L-H1");
    assert_eq!(finding.verdict, Verdict::Fail, "{}", report.to_json());
    let view = &report.users[0];
    assert!(view.lost > 0 && report.lost == view.lost, "{view:?}");
    let (first, last) = (view.first_error_ms.unwrap(), view.last_error_ms.unwrap());
    assert!(
        first <= last && last <= measure(finding, "watched_ms") + 10_000.0,
        "{view:?}"
    );
    assert!(
        last - first > 500.0,
        "both instances cut, one window apart: {view:?}"
    );
    let next = finding.next.as_deref().unwrap();
    assert!(
        next.contains("--url 'http://127.0.0.1:") && next.contains("--until 'test -e"),
        "{next}"
    );
}

#[test]
fn l_h1_answers_of_the_front_itself_are_errors_that_users_see() {
    let _seat = seat();
    let fleet = Fleet::start("", Order::AllAtOnce);
    let balancer = Balancer::before(fleet.ports, 0);
    let report = run(&watched(&fleet, &balancer, "/"));
    let finding = judged(&report, "L-H1");
    assert_eq!(finding.verdict, Verdict::Fail, "{}", report.to_json());
    assert!(
        finding.detail.contains("server errors"),
        "{}",
        finding.detail
    );
    assert!(report.users[0].errors > 0, "{:?}", report.users[0]);
}

#[test]
fn l_h2_good_instances_are_replaced_without_a_failure() {
    let _seat = seat();
    let fleet = Fleet::start("", Order::OneByOne);
    let balancer = Balancer::before(fleet.ports, 0);
    let mut options = watched(&fleet, &balancer, "/slow?ms=40");
    options.protocol = Protocol::H2;
    let report = run(&options);
    let finding = judged(&report, "L-H2");
    assert_eq!(finding.verdict, Verdict::Pass, "{}", report.to_json());
}

#[test]
fn a_rollout_that_never_ends_is_inconclusive() {
    let _seat = seat();
    let fleet = Fleet::start("", Order::OneByOne);
    let balancer = Balancer::before(fleet.ports, 0);
    let mut options = watched(&fleet, &balancer, "/");
    options.stop = "true".to_owned();
    options.within = Duration::from_millis(1_200);
    let report = run(&options);
    let finding = judged(&report, "L-H1");
    assert_eq!(
        finding.verdict,
        Verdict::Inconclusive,
        "{}",
        report.to_json()
    );
    assert!(
        finding.detail.contains("was not over after"),
        "{}",
        finding.detail
    );
}

#[test]
fn failures_before_the_rollout_make_it_inconclusive() {
    let _seat = seat();
    let fleet = Fleet::start("", Order::OneByOne);
    let balancer = Balancer::before(fleet.ports, 3);
    let report = run(&watched(&fleet, &balancer, "/"));
    let finding = judged(&report, "L-H1");
    assert_eq!(
        finding.verdict,
        Verdict::Inconclusive,
        "{}",
        report.to_json()
    );
    assert!(
        finding.detail.contains("failed before anything was begun"),
        "{}",
        finding.detail
    );
}

#[test]
fn what_cannot_be_watched_is_said_before_anything_is_begun() {
    let _seat = seat();
    let url = format!("http://127.0.0.1:{}/", free_port());
    let mut options = Rollout::new(url, "touch /nonexistent/x".to_owned(), "true".to_owned());
    options.around = Duration::from_millis(100);
    options.patience = Duration::from_millis(300);
    let error = rollout(&options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, VerifyError::Unreachable(_)), "{error:?}");

    let fleet = Fleet::start("", Order::OneByOne);
    let balancer = Balancer::before(fleet.ports, 0);
    let mut options = watched(&fleet, &balancer, "/");
    options.stop = "echo no such deployment >&2; exit 3".to_owned();
    let error = rollout(&options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, VerifyError::Stop(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("exited with 3") && text.contains("no such deployment"),
        "{text}"
    );
}
