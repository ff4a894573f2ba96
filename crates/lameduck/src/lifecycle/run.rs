//! `run`: signals first, then a runtime, then the program; the process ends with an outcome.

use std::{
    error::Error,
    fmt,
    future::Future,
    io::{self, Write as _},
    time::Duration,
};

use super::{Lifecycle, Start, StartError};
use crate::vocab::{Outcome, Report};

/// How long a refusal waits for a reader of stderr.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs a service from start to exit on a multi-threaded tokio runtime, and returns how it ended.
///
/// `body` starts everything and returns `Ok(())` when it has: `Running` begins once every participant is ready, and the
/// service lives on in the tasks that it spawned. Where it returns an error, start-up failed: the error is printed, hooks
/// of what had started run, and the outcome is [`Outcome::StartFailed`].
///
/// The calling thread waits for the end without the runtime, so that a runtime whose workers are all blocked delays
/// neither the deadline nor the cut (INV-2). The runtime is left running when this returns, and ends with the process; nothing
/// waits for its tasks, nor drops what they hold.
///
/// # Phases
/// `body` runs in `Initializing`. A termination request that comes before it has returned goes straight to `Terminating`.
///
/// # Examples
/// ```no_run
/// use lameduck::{Outcome, Plan};
///
/// fn main() -> Outcome {
///     lameduck::run(Plan::detect(), async |life| {
///         let outbox = life.worker("outbox", async |stop| stop.closing().await)?;
///         outbox.on_stop(async || Ok::<(), std::io::Error>(()));
///         Ok(())
///     })
/// }
/// ```
pub fn run<F, Fut>(start: impl Into<Start>, body: F) -> Outcome
where
    F: FnOnce(Lifecycle) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let life = match start.into().begin() {
        Ok(life) => life,
        Err(error) => return refuse(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&StartError::Runtime(error)),
    };
    let handle = runtime.handle().clone();
    let body_life = life.clone();
    // A thread of its own, so that the body may be any future, and this thread is free to wait for the end.
    let spawned = std::thread::Builder::new()
        .name("lameduck-body".to_owned())
        .spawn(move || {
            let told = body_life.clone();
            match handle.block_on(body(body_life)) {
                Ok(()) => told.ready(),
                Err(error) => {
                    // A closed stderr has nobody to hear it.
                    let _ = writeln!(io::stderr(), "lameduck: start failed: {}", Chain(&*error));
                    told.start_failed(Chain(&*error));
                }
            }
        });
    let panicked = life.clone();
    match spawned {
        Ok(body) => {
            // Only to hear of a panic; the body's thread ends by itself.
            let watch = std::thread::Builder::new()
                .name("lameduck-watch".to_owned())
                .spawn(move || {
                    if body.join().is_err() {
                        panicked.start_failed("the program's start function panicked");
                    }
                });
            drop(watch);
        }
        Err(error) => life.start_failed(format_args!("no thread for the program: {error}")),
    }
    let outcome = life.wait();
    // Its workers sleep: to wake them, so that they end, would only delay the end of the process, which ends them anyway.
    std::mem::forget(runtime);
    outcome
}

/// Says why there is no lifecycle. On a thread of its own: nobody may be reading stderr.
fn refuse(error: &StartError) -> Outcome {
    let why = Chain(error).to_string();
    let line = format!(
        "lameduck: {why}\n{}",
        Report::refusal(error.outcome(), &why)
    );
    let (said, heard) = std::sync::mpsc::channel();
    let spawned = std::thread::Builder::new().spawn(move || {
        let _ = writeln!(io::stderr(), "{line}");
        let _ = said.send(());
    });
    if spawned.is_ok() {
        let _ = heard.recv_timeout(PATIENCE);
    }
    error.outcome()
}

/// An error and what caused it, in one line.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
