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
/// The first pair stops at the call of the waker: the phase is published, the stream is ready. The second pair stops when a
/// task that waits for it runs.
const WAYS: [&str; 4] = [
    "lameduck: phase published",
    "tokio::signal: stream ready",
    "lameduck: task runs",
    "tokio::signal: task runs",
];

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if way % 2 == 1 {
            let mut signals =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            return measure(
                way,
                Box::pin(async move {
                    signals.recv().await;
                }),
            )
            .await;
        }
        let life = Start::from(Plan::preset(Preset::Local)).begin()?;
        life.ready();
        life.running().await;
        measure(way, Box::pin(life.drain().steering())).await
    })
}

/// A waker that notes when it was called, on the thread that calls it.
struct Stamp(std::sync::OnceLock<Instant>);

impl std::task::Wake for Stamp {
    fn wake(self: std::sync::Arc<Self>) {
        let _ = self.0.set(Instant::now());
    }
}

async fn measure(
    way: usize,
    mut event: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
) -> Result<Duration, Failure> {
    let stamp = std::sync::Arc::new(Stamp(std::sync::OnceLock::new()));
    let waiting = if way < 2 {
        let waker = std::task::Waker::from(std::sync::Arc::clone(&stamp));
        let polled = event
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending(), "nothing was sent yet");
        None
    } else {
        Some(tokio::spawn(async move {
            event.await;
            Instant::now()
        }))
    };
    // Everything has gone to sleep by now, as in a service that waits for its signal.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let sent = Instant::now();
    // SAFETY: kill(2) with our own id and a valid signal number touches no memory.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    let received = match waiting {
        Some(task) => tokio::time::timeout(PATIENCE, task).await??,
        None => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            *stamp
                .0
                .get()
                .ok_or("the waker was not called within 50 ms")?
        }
    };
    Ok(received.duration_since(sent))
}

fn compare(samples: usize) -> Result<(), Failure> {
    let mut times: [Vec<f64>; 4] = Default::default();
    let program = env::current_exe()?;
    for _ in 0..samples {
        for (way, times) in times.iter_mut().enumerate() {
            let output = Command::new(&program)
                .args(["--child", &way.to_string()])
                .output()?;
            let nanos: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
            times.push(nanos / 1e3);
        }
    }
    println!(
        "| from kill(2) to | median µs | min | p90 | ratio to tokio::signal |\n|---|---|---|---|---|"
    );
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    let medians = times.each_ref().map(|times| times[samples / 2]);
    for (way, (name, times)) in WAYS.iter().zip(&times).enumerate() {
        let (median, peer) = (medians[way], medians[way | 1]);
        println!(
            "| {name} | {median:.1} | {:.1} | {:.1} | {:.2} |",
            times[0],
            times[samples * 9 / 10],
            median / peer
        );
    }
    Ok(())
}
