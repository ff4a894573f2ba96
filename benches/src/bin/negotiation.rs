//! How long a shutdown request takes to be acknowledged by everybody: `negotiation in-process 1000`, `negotiation socket 100`.
//!
//! Owns: the participants, and the observer that reads when the last one answered and ended, by the lifecycle's own clock.

use std::error::Error;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use lameduck::{Lifecycle, News, Observed, Outcome, Plan, Preset, Window};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Barrier;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    /// Tasks of the same process
    InProcess,
    /// Clients of the control socket, in a process of their own each as far as it can tell
    Socket,
}

#[derive(Debug, Parser)]
#[command(about = "Asks many participants to leave, and says when the last one had acknowledged")]
struct Args {
    way: Way,
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    participants: u32,
    /// Drains to measure
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
}

/// What the observer saw of one drain, since the lifecycle began.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    asked: Duration,
    last_answer: Duration,
    last_end: Duration,
    answers: u32,
    over: Duration,
}

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut answers = Vec::new();
    let mut ends = Vec::new();
    let mut overs = Vec::new();
    for _ in 0..args.runs {
        let seen = match args.way {
            Way::InProcess => runtime.block_on(in_process(args.participants))?,
            Way::Socket => runtime.block_on(over_the_socket(args.participants))?,
        };
        if seen.answers != args.participants {
            return Err(format!("{} of {} answered", seen.answers, args.participants).into());
        }
        answers.push(seen.last_answer - seen.asked);
        ends.push(seen.last_end - seen.asked);
        overs.push(seen.over - seen.asked);
    }
    println!(
        "{} participants, {} drains; from the request to",
        args.participants, args.runs
    );
    for (what, mut times) in [
        ("the last acknowledgement", answers),
        ("the last end", ends),
        ("the exit", overs),
    ] {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        println!(
            "{what:26} median {:9.3?}  90 % {:9.3?}  most {:9.3?}",
            at(50),
            at(90),
            at(100)
        );
    }
    Ok(())
}

fn begin() -> Result<(Lifecycle, Arc<Mutex<Seen>>), Failure> {
    let plan = Plan::preset(Preset::Systemd).with_window(Window::NONE)?;
    let life = Lifecycle::embedded(plan)?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let writes = Arc::clone(&seen);
    life.observe("bench", move |observed: &Observed| {
        let mut seen = writes.lock().unwrap_or_else(PoisonError::into_inner);
        match &observed.news {
            News::PhaseChanged { to, .. } if to.is_leaving() && seen.asked.is_zero() => {
                seen.asked = observed.at;
            }
            News::Answered { .. } => {
                seen.answers += 1;
                seen.last_answer = observed.at;
            }
            News::Ended { .. } => seen.last_end = observed.at,
            News::Exit { .. } => seen.over = observed.at,
            _ => {}
        }
    })?;
    Ok((life, seen))
}

async fn leave(life: &Lifecycle, seen: &Mutex<Seen>) -> Result<Seen, Failure> {
    life.shutdown("measured");
    let outcome = life.outcome().await;
    if outcome != Outcome::Drained {
        return Err(format!("it ended otherwise: {outcome}").into());
    }
    // The observer has a thread of its own, and is told of the end last.
    loop {
        let seen = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.over.is_zero() {
            return Ok(seen);
        }
        tokio::task::yield_now().await;
    }
}

async fn in_process(count: u32) -> Result<Seen, Failure> {
    let (life, seen) = begin()?;
    for number in 0..count {
        let participant = life.participate(number.to_string()).register()?;
        participant.ready();
        let drain = life.drain();
        tokio::spawn(async move {
            drain.steering().await;
            participant.ack();
            participant.closing().await;
            participant.done();
        });
    }
    life.ready();
    life.running().await;
    leave(&life, &seen).await
}

/// A directory of this process alone, removed at the end.
struct Private(PathBuf);

impl Private {
    fn new() -> std::io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only uniqueness matters.
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("negotiation-{}-{nth}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn over_the_socket(count: u32) -> Result<Seen, Failure> {
    let (life, seen) = begin()?;
    let private = Private::new()?;
    let socket = private.0.join("control.sock");
    lameduck_http::control(&life, &socket).await?;
    life.ready();
    life.running().await;
    let ready = Arc::new(Barrier::new(count as usize + 1));
    let participants: Vec<_> = (0..count)
        .map(|number| tokio::spawn(take_part(socket.clone(), number, Arc::clone(&ready))))
        .collect();
    ready.wait().await;
    let mut left = leave(&life, &seen).await?;
    for participant in participants {
        participant.await??;
    }
    // The listener of the socket is a participant, too, and acknowledges nothing.
    left.answers = left.answers.min(count);
    Ok(left)
}

/// From hello to over.
async fn take_part(socket: PathBuf, number: u32, ready: Arc<Barrier>) -> Result<(), Failure> {
    let join = format!("{{\"name\":\"p{number}\"}}");
    let stream = post(&socket, "/v1/participants", &join).await?;
    let mut lines = BufReader::new(stream).lines();
    let mut session = String::new();
    while let Some(line) = lines.next_line().await? {
        let Some(message) = line.strip_prefix("data: ") else {
            continue;
        };
        let message: serde_json::Value = serde_json::from_str(message)?;
        let id = message["id"].as_str().unwrap_or_default();
        let said = match message["type"].as_str() {
            Some("hello") => {
                session = message["session"].as_str().unwrap_or_default().to_owned();
                "{\"type\":\"ready\"}".to_owned()
            }
            Some("shutdown_request") => format!("{{\"type\":\"ack\",\"id\":\"{id}\"}}"),
            Some("close") => format!("{{\"type\":\"done\",\"id\":\"{id}\"}}"),
            Some("over") => return Ok(()),
            _ => continue,
        };
        let mut answer = post(&socket, &format!("/v1/sessions/{session}"), &said).await?;
        let mut text = String::new();
        answer.read_to_string(&mut text).await?;
        if said.contains("ready") {
            ready.wait().await;
        }
    }
    // Its word was taken, and the service has left.
    Ok(())
}

/// One request a connection, and the stream on which its answer comes.
async fn post(socket: &Path, path: &str, body: &str) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).await?;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: control\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}
