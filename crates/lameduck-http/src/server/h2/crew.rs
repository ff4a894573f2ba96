//! The tasks of one connection's streams.
//!
//! Owns beginning and ending them, and what each needs: a seat. They run beside the connection's own task, so that one does not hold up another. A
//! seat is used again by the next stream: most requests allocate nothing for it, and the task's future is a few pointers, which the runtime
//! copies several times on its way.

use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::session::Stall;
use super::stream::Serving;
use crate::server::exchange::App;
use crate::server::pulse::Known;
use crate::server::watch::Watch;

/// Seats that a connection keeps while nobody has them. A client with more streams at a time pays for the others.
const SPARE_AT_MOST: usize = 4;

/// The streams' tasks. Dropping it ends them, their handlers with them.
pub(super) struct Crew<A: App> {
    pub(super) open: Vec<Open>,
    spare: Vec<Seat<A>>,
    hall: Arc<Hall<A>>,
    /// Room for the seats that were left, empty between two looks.
    left: Vec<Seat<A>>,
    /// Whom the hall wakes, unless a seat was left in it.
    known: Known,
}

/// An open stream.
pub(super) struct Open {
    /// Its number on the connection.
    pub(super) stream: u32,
    pub(super) task: JoinHandle<()>,
    pub(super) watch: Arc<Watch>,
    pub(super) stall: Stall,
    /// It was told to end, and has not yet.
    pub(super) ended: bool,
}

/// What serving one stream needs.
pub(super) struct Seat<A: App> {
    stream: u32,
    watch: Arc<Watch>,
    /// None while nobody has it.
    serving: Pin<Box<Option<Serving<A>>>>,
}

/// Where seats are left when their streams end, on whatever thread that is. No more than there are streams.
struct Hall<A: App> {
    left: Mutex<Left<A>>,
    /// So that a look without anything to see takes no lock.
    has_left: AtomicBool,
}

struct Left<A: App> {
    seats: Vec<Seat<A>>,
    /// Tasks that panicked.
    panicked: usize,
    /// The connection's task.
    waker: Option<Waker>,
}

impl<A: App> Crew<A> {
    pub(super) fn new() -> Self {
        Self {
            open: Vec::new(),
            spare: Vec::new(),
            hall: Arc::new(Hall {
                left: Mutex::new(Left {
                    seats: Vec::new(),
                    panicked: 0,
                    waker: None,
                }),
                has_left: AtomicBool::new(false),
            }),
            left: Vec::new(),
            known: Known::default(),
        }
    }

    /// A seat for the next stream of this connection.
    pub(super) fn seat(&mut self, connection: &Arc<Watch>) -> Seat<A> {
        let Some(mut seat) = self.spare.pop() else {
            return Seat {
                stream: 0,
                watch: Arc::new(connection.of_stream()),
                serving: Box::pin(None),
            };
        };
        match Arc::get_mut(&mut seat.watch) {
            Some(watch) => watch.renew(),
            // The application still has a body of the request before.
            None => seat.watch = Arc::new(connection.of_stream()),
        }
        seat
    }

    /// Begins the task that serves a stream.
    pub(super) fn begin(&mut self, seat: Seat<A>, now: Duration) {
        let (stream, watch) = (seat.stream, seat.watch.clone());
        let task = tokio::spawn(Task {
            seat: Some(seat),
            hall: self.hall.clone(),
        });
        self.open.push(Open {
            stream,
            task,
            watch,
            stall: Stall::begin(now),
            ended: false,
        });
    }

    /// Takes note of the streams that ended; the task is woken for the next ones. Gives how many of their tasks panicked.
    pub(super) fn reap(&mut self, cx: &Context<'_>) -> usize {
        // Acquire pairs with the Release in `leave`. Whoever leaves unseen finds the waker that this task left there, and wakes it.
        if self.known.is(cx) && !self.hall.has_left.load(Acquire) {
            return 0;
        }
        self.known.learn(cx);
        let mut left = self.hall.lock();
        // Relaxed: changed under the lock.
        self.hall.has_left.store(false, Relaxed);
        // Not taken: both keep their room.
        std::mem::swap(&mut left.seats, &mut self.left);
        left.waker = Some(cx.waker().clone());
        let panicked = std::mem::take(&mut left.panicked);
        drop(left);
        for seat in self.left.drain(..) {
            // First, so that the next stream can have its notes.
            if let Some(at) = self.open.iter().position(|open| open.stream == seat.stream) {
                self.open.swap_remove(at);
            }
            if self.spare.len() < SPARE_AT_MOST {
                self.spare.push(seat);
            }
        }
        panicked
    }

    /// Tells all tasks to end.
    pub(super) fn abort_all(&self) {
        self.open.iter().for_each(|open| open.task.abort());
    }
}

impl<A: App> Drop for Crew<A> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<A: App> Seat<A> {
    /// The notes about the stream.
    pub(super) const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    pub(super) fn take(&mut self, stream: u32, serving: Serving<A>) {
        self.stream = stream;
        self.serving.set(Some(serving));
    }
}

impl<A: App> Hall<A> {
    fn lock(&self) -> MutexGuard<'_, Left<A>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, seat: Seat<A>) {
        let mut left = self.lock();
        left.seats.push(seat);
        left.panicked += usize::from(thread::panicking());
        let waker = left.waker.take();
        self.has_left.store(true, Release);
        drop(left);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The future of a stream's task.
struct Task<A: App> {
    /// None only while it is dropped.
    seat: Option<Seat<A>>,
    hall: Arc<Hall<A>>,
}

impl<A: App> Future for Task<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let seat = self.seat.as_mut().expect("left only by drop");
        let serving = seat.serving.as_mut().as_pin_mut();
        serving.expect("it was taken").poll(&seat.watch, cx)
    }
}

impl<A: App> Drop for Task<A> {
    /// However it ends: the connection waits for its seat.
    fn drop(&mut self) {
        struct Leaving<'a, A: App>(Option<Seat<A>>, &'a Hall<A>);
        impl<A: App> Drop for Leaving<'_, A> {
            fn drop(&mut self) {
                if let Some(seat) = self.0.take() {
                    seat.watch.slot.vacate();
                    self.1.leave(seat);
                }
            }
        }
        let mut leaving = Leaving(self.seat.take(), &self.hall);
        if let Some(seat) = &mut leaving.0 {
            // Drops the handler, which may panic.
            seat.serving.set(None);
        }
    }
}
