//! The services that a child can be: each has one trait, and says on its standard output how far it came.

use std::error::Error;
use std::future::pending;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use lameduck::{Lifecycle, Plan};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The variable that names a body.
pub(crate) const BODY: &str = "PROCESS_TEST_BODY";

/// Longer than any test waits.
const FOR_EVER: Duration = Duration::from_secs(600);

type Started = Result<(), Box<dyn Error + Send + Sync>>;

/// Runs before the test binary's `main`, in a child only.
pub(crate) extern "C" fn run_if_child() {
    let Ok(body) = std::env::var(BODY) else {
        return;
    };
    no_core_files();
    if body == "keeps-and-hangs" {
        hang_before_draining();
    }
    let start = lameduck::Start::from(Plan::detect());
    #[cfg(feature = "systemd")]
    let start = start.systemd();
    let outcome = lameduck::run(start, move |life| be(body, life));
    // SAFETY: has no precondition. A test binary's own `main` must not run in a child.
    unsafe { libc::_exit(i32::from(outcome.exit_code())) }
}

/// A program with a server of its own whose start never gets as far as the server.
fn hang_before_draining() -> ! {
    let life = Lifecycle::from_env().expect("a plan");
    println!("hangs in {}", life.phase());
    loop {
        std::thread::sleep(FOR_EVER);
    }
}

async fn be(body: String, life: Lifecycle) -> Started {
    let running = life.running();
    tokio::spawn(async move {
        if running.await {
            println!("running");
        }
    });
    match body.as_str() {
        "idle" => {}
        "itself" => {
            let running = life.running();
            tokio::spawn(async move {
                if running.await {
                    // SAFETY: takes no pointer; a process may always signal itself.
                    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
                }
            });
        }
        "guard" => hold_a_guard(&life)?,
        "wedge" => wedge(&life)?,
        "never-ready" => never_ready(&life).await?,
        "refuses" => {
            start_db(&life).await?;
            return Err("no database".into());
        }
        "panics" => panic!("the body has a bug"),
        "bad-hook" => life
            .worker("db", async |stop| stop.closing().await)?
            .on_stop(async || Err("disk full")),
        "slow-hook" => life
            .worker("db", async |stop| stop.closing().await)?
            .on_stop(pending::<Result<(), &str>>),
        "fails" => fail_when_running(life.clone())?,
        "reloads-slowly" => {
            let watched = life.clone();
            life.on_reload("slow", move || {
                println!("reload begins");
                // Until it is told to stop, which the test does when it has sent all its signals.
                while !watched.phase().is_leaving() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok::<(), String>(())
            });
        }
        "wedges-when-told" => wedge_when_told(&life)?,
        "drains-by-steps" => drain_by_steps(&life)?,
        "reloads" => {
            let mut configurations = [Ok(()), Err("not JSON")].into_iter().cycle();
            life.on_reload("greeting", move || configurations.next().expect("endless"));
        }
        "tells-for-long" => life.observe("slow", TellsForLong)?,
        other => return Err(format!("no such body: {other}").into()),
    }
    Ok(())
}

/// An observer that asks to be waited for, and is never done.
struct TellsForLong;

impl lameduck::Observer for TellsForLong {
    fn observe(&mut self, _: &lameduck::Observed) {}

    fn finish(&mut self) {
        println!("telling");
        loop {
            std::thread::park();
        }
    }

    fn patience(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }
}

/// Work in flight that never ends.
fn hold_a_guard(life: &Lifecycle) -> Started {
    std::mem::forget(life.enter()?);
    Ok(())
}

/// Every worker of the runtime is blocked, work is in flight, and a participant says nothing.
fn wedge(life: &Lifecycle) -> Started {
    hold_a_guard(life)?;
    let silent = life.participate("silent").register()?;
    silent.ready();
    std::mem::forget(silent);
    let running = life.clone();
    let runtime = Handle::current();
    // A plain thread, because it must go on when the workers no longer do.
    std::thread::spawn(move || {
        runtime.block_on(running.running());
        let workers = runtime.metrics().num_workers();
        let all = Arc::new(Barrier::new(workers + 1));
        for _ in 0..workers {
            let all = Arc::clone(&all);
            runtime.spawn(async move {
                all.wait();
                std::thread::sleep(FOR_EVER);
            });
        }
        all.wait();
        println!("wedged");
    });
    Ok(())
}

/// Runs well until SIGHUP, then every worker of the runtime is blocked.
fn wedge_when_told(life: &Lifecycle) -> Started {
    let told = life.clone();
    let runtime = Handle::current();
    life.on_reload("wedge", move || {
        let _entered = runtime.enter();
        wedge(&told).map_err(|error| error.to_string())
    });
    Ok(())
}

/// Guards, one of which is let go with each line that the parent writes.
fn drain_by_steps(life: &Lifecycle) -> Started {
    let mut guards = vec![life.enter()?, life.enter()?, life.enter()?];
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || guards.is_empty() {
                return;
            }
            // Said first: the process may be gone right after its last guard.
            println!("one less");
            guards.pop();
        }
        // Nobody writes any more: the rest is held for ever.
        std::mem::forget(guards);
    });
    Ok(())
}

/// A participant that is up and has a stop hook, certainly: the lifecycle has read all that it said.
async fn start_db(life: &Lifecycle) -> Started {
    let (up, is_up) = oneshot::channel();
    let db = life.worker("db", async move |stop| {
        let _ = up.send(());
        stop.closing().await;
    })?;
    db.on_stop(async || {
        println!("db closed");
        Ok::<(), String>(())
    });
    is_up.await?;
    // Enrolled last, so that everything before it is known once it is.
    std::mem::forget(life.participate("canary").register()?);
    while !life.status().to_json().contains("canary") {
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn never_ready(life: &Lifecycle) -> Started {
    start_db(life).await?;
    println!("starting");
    pending().await
}

fn fail_when_running(life: Lifecycle) -> Started {
    let lease = life.participate("lease").register()?;
    lease.ready();
    tokio::spawn(async move {
        life.running().await;
        lease.failed("lost the lease");
    });
    Ok(())
}

fn no_core_files() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live value that the call only reads.
    let refused = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    assert_eq!(refused, 0, "a core file would be left behind");
}
