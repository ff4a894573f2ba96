//! One event for many tasks: `broadcast token 1000000`. Prints nanoseconds of the call, nanoseconds until the last task has
//! run, and the bytes allocated between.
//!
//! Owns: the contenders, the counting allocator. One contender a process, so that none inherits another's heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use lameduck::inflight::{Canceller, Token};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// lameduck's token
    Token,
    /// A flag and a vector of wakers: the floor
    Wakers,
    /// lameduck's cancellation: one for all
    Cancellation,
    /// and a child for each
    CancellationChildren,
    /// tokio-util's
    CancellationToken,
    /// and a child for each
    CancellationTokenChildren,
}

#[derive(Debug, Parser)]
#[command(about = "Wakes many tasks by one event")]
struct Args {
    kind: Kind,
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    waiters: u32,
}

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on as it came; the counter does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Relaxed, here and below: a figure.
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's obligations are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; it was allocated there.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.fetch_add(size.saturating_sub(layout.size()), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let waiters = args.waiters as usize;
    let (call, all, bytes) = runtime.block_on(async {
        match args.kind {
            Kind::Token => {
                let token = Token::new();
                measure(waiters, || token.fired(), || token.fire()).await
            }
            Kind::Cancellation => {
                let canceller = Canceller::new("all");
                // Said once before, so that the words are not counted.
                let why: Arc<str> = "enough".into();
                let waiting = || canceller.cancelled();
                measure(waiters, waiting, || _ = canceller.cancel(why)).await
            }
            Kind::CancellationChildren => {
                let canceller = Canceller::new("all");
                let why: Arc<str> = "enough".into();
                let waiting = || {
                    let child = canceller.child("one");
                    async move { drop(child.cancelled().await) }
                };
                measure(waiters, waiting, || _ = canceller.cancel(why)).await
            }
            Kind::CancellationToken => {
                let token = CancellationToken::new();
                let waiting = || token.clone().cancelled_owned();
                measure(waiters, waiting, || token.cancel()).await
            }
            Kind::CancellationTokenChildren => {
                let token = CancellationToken::new();
                let waiting = || token.child_token().cancelled_owned();
                measure(waiters, waiting, || token.cancel()).await
            }
            Kind::Wakers => {
                let wakers = Arc::new(Wakers::new(waiters));
                measure(waiters, || Arc::clone(&wakers).fired(), || wakers.fire()).await
            }
        }
    });
    println!("{call} {all} {bytes}");
    // Nobody is interested in how long a million tasks take to be dropped.
    std::mem::forget(runtime);
    ExitCode::SUCCESS
}

async fn measure<F>(
    waiters: usize,
    waiting: impl Fn() -> F,
    fire: impl FnOnce(),
) -> (u128, u128, usize)
where
    F: Future + Send + 'static,
{
    let (begun, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..waiters {
        let (waiting, begun, told) = (waiting(), Arc::clone(&begun), Arc::clone(&told));
        tokio::spawn(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            drop(waiting.await);
            told.fetch_add(1, Ordering::Relaxed);
        });
    }
    // One thread: once a task has counted itself it goes on to its first wait without a pause.
    while begun.load(Ordering::Relaxed) < waiters {
        tokio::task::yield_now().await;
    }
    let allocated = ALLOCATED.load(Ordering::Relaxed);
    let start = Instant::now();
    fire();
    let call = start.elapsed();
    while told.load(Ordering::Relaxed) < waiters {
        tokio::task::yield_now().await;
    }
    let all = start.elapsed();
    let allocated = ALLOCATED.load(Ordering::Relaxed) - allocated;
    (call.as_nanos(), all.as_nanos(), allocated)
}

/// The least that can be done.
struct Wakers {
    fired: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Wakers {
    fn new(waiters: usize) -> Self {
        Self {
            fired: AtomicBool::new(false),
            waiting: Mutex::new(Vec::with_capacity(waiters)),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.waiting
            .lock()
            .expect("nobody panics while it is locked")
    }

    async fn fired(self: Arc<Self>) {
        std::future::poll_fn(|cx| {
            // Under the lock, which orders it against `fire`.
            let mut waiting = self.locked();
            if self.fired.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn fire(&self) {
        let waiting = {
            let mut waiting = self.locked();
            self.fired.store(true, Ordering::Relaxed);
            std::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
