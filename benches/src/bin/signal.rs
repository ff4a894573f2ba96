//! From a signal to the task that waits for it: lameduck's phase change beside `tokio::signal`, each sample in a fresh
//! process, the two taking turns. Owns the measurement and its table; what is measured is the library as users have it.
//!
//! `cargo run --release -p lameduck-benches --bin signal -- [SAMPLES]`

use std::{
    env,
    error::Error,
    process::Command,
    time::{Duration, Instant},
};

use lameduck::{Plan, Preset, Start};

type Failure = Box<dyn Error + Send + Sync>;

/// How often each way is measured unless told otherwise.
const SAMPLES: usize = 200;
/// A child that says nothing for this long is a failure of the machine.
const PATIENCE: Duration = Duration::from_secs(5);
const WAYS: [&str; 3] = ["lameduck, phase", "lameduck, waiting task", "tokio::signal, waiting task"];

fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--child") => {
            let way: usize = arguments.next().unwrap_or_default().parse()?;
            println!("{}", sample(way)?.as_nanos());
            Ok(())
        }
        Some(samples) => compare(samples.parse()?),
        None => compare(SAMPLES),
    }
}

/// One signal to this very process.
fn sample(way: usize) -> Result<Duration, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        if way == 2 {
            let mut signals = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            let waiting = tokio::spawn(async move {
                signals.recv().await;
                Instant::now()
            });
            return measure(waiting).await;
        }
        let life = Start::from(Plan::preset(Preset::Local)).begin()?;
        life.ready();
        life.running().await;
        if way == 1 {
            let steering = life.drain().steering();
            let waiting = tokio::spawn(async move {
                steering.await;
                Instant::now()
            });
            return measure(waiting).await;
        }
        let watched = life.clone();
        let waiting = tokio::task::spawn_blocking(move || {
            while !watched.phase().is_leaving() {
                std::hint::spin_loop();
            }
            Instant::now()
        });
        measure(waiting).await
    })
}

async fn measure(waiting: tokio::task::JoinHandle<Instant>) -> Result<Duration, Failure> {
    // Everything has gone to sleep by now, as in a service that waits for its signal.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let sent = Instant::now();
    // SAFETY: kill(2) with our own id and a valid signal number touches no memory.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    Ok(tokio::time::timeout(PATIENCE, waiting).await??.duration_since(sent))
}

fn compare(samples: usize) -> Result<(), Failure> {
    let mut times: [Vec<f64>; 3] = Default::default();
    let program = env::current_exe()?;
    for _ in 0..samples {
        for (way, times) in times.iter_mut().enumerate() {
            let output = Command::new(&program).args(["--child", &way.to_string()]).output()?;
            let nanos: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
            times.push(nanos / 1e3);
        }
    }
    println!("| from kill(2) to | median µs | min | p90 | ratio to tokio::signal |\n|---|---|---|---|---|");
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    let peer = times[2][samples / 2];
    for (name, times) in WAYS.iter().zip(&times) {
        let median = times[samples / 2];
        println!("| {name} | {median:.1} | {:.1} | {:.1} | {:.2} |", times[0], times[samples * 9 / 10], median / peer);
    }
    Ok(())
}
