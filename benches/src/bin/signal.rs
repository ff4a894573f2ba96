//! From a signal to who waits for it: lameduck's phase change beside `tokio::signal`. Each sample is a signal from this
//! process to a fresh child, the two taking turns; both read the same clock (CLOCK_MONOTONIC is the system's). Owns the measurement and its table; what is measured is the library as users have it.
//!
//! `cargo run --release -p lameduck-benches --bin signal -- [SAMPLES]`; `--lines` for programs.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
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
            println!("{}", sample(way)?);
            Ok(())
        }
        Some("--lines") => print_lines(&compare(SAMPLES)?),
        Some(samples) => print_table(&compare(samples.parse()?)?),
        None => print_table(&compare(SAMPLES)?),
    }
}

/// Waits for one signal; says when it was heard of.
fn sample(way: usize) -> Result<i64, Failure> {
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
struct Stamp(std::sync::OnceLock<i64>);

impl std::task::Wake for Stamp {
    fn wake(self: std::sync::Arc<Self>) {
        let _ = self.0.set(now());
    }
}

async fn measure(
    way: usize,
    mut event: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
) -> Result<i64, Failure> {
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
            now()
        }))
    };
    println!("ready");
    match waiting {
        Some(task) => Ok(tokio::time::timeout(PATIENCE, task).await??),
        None => {
            for _ in 0..500 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if let Some(at) = stamp.0.get() {
                    return Ok(*at);
                }
            }
            Err("the waker was not called".into())
        }
    }
}

/// Nanoseconds on the clock that all processes share.
fn now() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// One child, one signal; nanoseconds from the one to the other.
fn child(program: &std::path::Path, way: usize) -> Result<i64, Failure> {
    let mut child = Command::new(program)
        .args(["--child", &way.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    lines.next().ok_or("the child said nothing")??;
    // Everything has gone to sleep by then, as in a service that waits for its signal.
    std::thread::sleep(Duration::from_millis(20));
    let sent = now();
    let id = libc::pid_t::try_from(child.id())?;
    // SAFETY: kill(2) with the id of a child that was not waited for and a valid signal number touches no memory.
    unsafe { libc::kill(id, libc::SIGTERM) };
    let heard: i64 = lines.next().ok_or("the child did not say when")??.parse()?;
    // It ends by itself, or by its deadline; the sample is taken.
    child.kill()?;
    child.wait()?;
    Ok(heard - sent)
}

/// Microseconds of each way, in order of their size.
type Times = [Vec<f64>; 4];

fn compare(samples: usize) -> Result<Times, Failure> {
    let mut times = Times::default();
    let program = env::current_exe()?;
    for _ in 0..samples {
        for (way, times) in times.iter_mut().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "microseconds to one digit")]
            let nanos = child(&program, way)? as f64;
            times.push(nanos / 1e3);
        }
    }
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    Ok(times)
}

fn print_table(times: &Times) -> Result<(), Failure> {
    println!(
        "| from kill(2) to | median µs | min | p90 | ratio to tokio::signal |\n|---|---|---|---|---|"
    );
    let medians = times.each_ref().map(|times| times[times.len() / 2]);
    for (way, (name, times)) in WAYS.iter().zip(times).enumerate() {
        let (median, peer) = (medians[way], medians[way | 1]);
        println!(
            "| {name} | {median:.1} | {:.1} | {:.1} | {:.2} |",
            times[0],
            times[times.len() * 9 / 10],
            median / peer
        );
    }
    Ok(())
}

/// One JSON object a line, for `bench-peers`.
fn print_lines(times: &Times) -> Result<(), Failure> {
    for (way, (name, times)) in WAYS.iter().zip(times).enumerate() {
        let (contender, _) = name.split_once(": ").ok_or("a way has two parts")?;
        let case = ["signal: to the waker's call", "signal: to the task's run"][way / 2];
        let line = serde_json::json!({
            "case": case,
            "contender": contender,
            "ours": contender == "lameduck",
            "median": times[times.len() / 2],
        });
        println!("{line}");
    }
    Ok(())
}
