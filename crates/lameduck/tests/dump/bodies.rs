//! The services that a child can be: each is stuck in its own way, and says on its standard output when it is.

use std::error::Error;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use lameduck::{Lifecycle, Plan, Signal, SignalSet, StackSignal, Start};
use tokio::runtime::Handle;

/// The variable that names a body.
pub(crate) const BODY: &str = "DUMP_TEST_BODY";

/// Whether a core file may be written: only where a test says so.
pub(crate) const CORE: &str = "DUMP_TEST_CORE";

/// How many threads the body `many` has.
pub(crate) const MANY: usize = 1_000;

/// Longer than any test waits.
const FOR_EVER: Duration = Duration::from_secs(600);

type Started = Result<(), Box<dyn Error + Send + Sync>>;

/// Runs before the test binary's `main`, in a child only.
pub(crate) extern "C" fn run_if_child() {
    let Ok(body) = std::env::var(BODY) else {
        return;
    };
    // A shell ignores SIGQUIT in what it starts in the background, and programs inherit that.
    // SAFETY: nothing else runs yet; the default is no handler.
    unsafe { libc::signal(libc::SIGQUIT, libc::SIG_DFL) };
    limit_core(std::env::var_os(CORE).is_some());
    let mut start = Start::from(Plan::detect()).signals(SignalSet::default().with(Signal::Usr1));
    match body.as_str() {
        "plain" => {}
        "taken" => {
            // SAFETY: a program's own choice; the handler is "ignore".
            unsafe { libc::signal(libc::SIGRTMIN() + 7, libc::SIG_IGN) };
            start = start.dump_stacks(StackSignal::default());
        }
        "other" => start = start.dump_stacks(StackSignal::rtmin(3)),
        _ => start = start.dump_stacks(StackSignal::default()),
    }
    let outcome = lameduck::run(start, move |life| be(body, life));
    // SAFETY: has no precondition. A test binary's own `main` must not run in a child.
    unsafe { libc::_exit(i32::from(outcome.exit_code())) }
}

async fn be(body: String, life: Lifecycle) -> Started {
    let running = life.running();
    let watched = life.clone();
    let said = body.clone();
    tokio::spawn(async move {
        if running.await {
            match said.as_str() {
                "wedge" => wedge(&watched),
                "many" => many(),
                "asks" => ask(&watched),
                _ => println!("running"),
            }
        }
    });
    if body == "stuck" {
        stuck(&life)?;
    }
    Ok(())
}

/// A task in a call that blocks, one that waits, a deadlock, a thread that no signal reaches, and a request.
fn stuck(life: &Lifecycle) -> Started {
    let slot = life
        .inflight()
        .slots
        .claim_at(Some("192.0.2.7:4711".parse()?), life.elapsed());
    slot.begin("POST", "/orders?secret=1", life.elapsed());
    std::mem::forget(slot);
    let idle = life
        .inflight()
        .slots
        .claim_at(Some("192.0.2.8:4712".parse()?), life.elapsed());
    std::mem::forget(idle);
    life.participate("outbox")
        .budget(Duration::from_secs(7))
        .register()
        .map(std::mem::forget)?;
    life.spawn("hog", async { hog_in_a_blocking_call() });
    life.spawn("ticker", std::future::pending::<()>());
    let lock = Arc::new(Mutex::new(()));
    std::mem::forget(lock.clone().lock());
    named("deadlocked", move || wait_for_the_deadlock(&lock))?;
    let life = life.clone();
    named("all-blocked", move || {
        block_every_signal();
        while !are_stuck(&life) {
            thread::yield_now();
        }
        println!("stuck");
        thread::sleep(FOR_EVER);
    })
}

/// Whether the hog is in its call and the ticker waits.
fn are_stuck(life: &Lifecycle) -> bool {
    let view = life.inflight().tasks.snapshot(8);
    let is = |name: &str, runs: bool| {
        let tasks = view.iter().flat_map(|view| &view.tasks);
        let mut those = tasks.filter(|task| task.name == name && task.polls > 0);
        those.any(|task| task.running_on.is_some() == runs)
    };
    is("hog", true) && is("ticker", false)
}

fn named(name: &str, run: impl FnOnce() + Send + 'static) -> Started {
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(())
}

#[inline(never)]
fn hog_in_a_blocking_call() {
    thread::sleep(FOR_EVER);
}

#[inline(never)]
fn wait_for_the_deadlock(lock: &Mutex<()>) {
    drop(lock.lock());
}

fn block_every_signal() {
    // SAFETY: zeroed memory is a valid set, which the first call fills; both pointers are to it, and the old mask is not asked for.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

/// Two dumps at the same time, asked for by the program: on standard output, one after the other.
fn ask(life: &Lifecycle) {
    let askers = [(); 2].map(|()| {
        let life = life.clone();
        let asked = move || {
            let mut text = Vec::new();
            life.dump(&mut text).expect("a vector takes all");
            text
        };
        let asker = thread::Builder::new().name("asker".to_owned());
        asker.spawn(asked).expect("a thread")
    });
    for asker in askers {
        let text = asker.join().expect("no panic");
        println!("{}", String::from_utf8_lossy(&text));
    }
    println!("both");
}

/// Every worker of the runtime is blocked.
fn wedge(life: &Lifecycle) {
    let runtime = Handle::current();
    let life = life.clone();
    // A plain thread, because it must go on when the workers no longer do.
    thread::spawn(move || {
        let workers = runtime.metrics().num_workers();
        let all = Arc::new(Barrier::new(workers + 1));
        let _inside = runtime.enter();
        for _ in 0..workers {
            let all = Arc::clone(&all);
            life.spawn("wedged", async move {
                all.wait();
                hog_in_a_blocking_call();
            });
        }
        all.wait();
        println!("wedged");
    });
}

/// Parked threads, of three different stacks.
fn many() {
    let up = Arc::new(Barrier::new(MANY + 1));
    for n in 0..MANY {
        let up = Arc::clone(&up);
        let parked = move || {
            up.wait();
            match n % 3 {
                0 => thread::park(),
                1 => thread::sleep(FOR_EVER),
                _ => thread::park_timeout(FOR_EVER),
            }
        };
        thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(parked)
            .expect("a thread");
    }
    up.wait();
    println!("many");
}

fn limit_core(wanted: bool) {
    let bytes = if wanted { libc::RLIM_INFINITY } else { 0 };
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: the pointer is to a live value that the call only reads.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) };
}
