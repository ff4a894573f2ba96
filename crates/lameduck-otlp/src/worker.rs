//! The exporter's thread: what it was told, what is due, and what a collector that is away means.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use lameduck::{Lifecycle, Observed};
use prost::Message;

use crate::{
    batch::Batch,
    metrics,
    send::{Later, Sender, Sent},
    settings::Otlp,
    traces::Traces,
    wire::{Clock, resource},
};

/// How much waits for the thread while a request is on its way.
const MOST_TOLD: usize = 4_096;
/// How long a happening waits for others to be sent with.
const TOGETHER: Duration = Duration::from_secs(1);
/// How long a collector that is away is left alone: at first, and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The same at the end, where there is no time to lose.
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// The handle of the thread.
pub(crate) struct Worker {
    inbox: Arc<Inbox>,
    done: Receiver<()>,
}

#[derive(Default)]
struct Inbox {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default)]
struct Told {
    seen: VecDeque<Observed>,
    missed: u64,
    /// Nothing follows, and this is how long the rest may take.
    until: Option<Instant>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    pub(crate) fn start(otlp: Otlp, sender: Sender, life: &Lifecycle) -> io::Result<Self> {
        let clock = Clock {
            began: life.figures().started_on,
        };
        let drain_id = life.drain_id();
        let export = Export {
            batch: Batch::new(
                resource(&otlp.attributes, drain_id),
                Traces::new(drain_id, clock),
            ),
            clock,
            sender,
            metrics: otlp.metrics,
            metrics_at: Instant::now() + otlp.interval,
            interval: otlp.interval,
            send_at: None,
            pause: PAUSE,
            trouble: otlp.trouble,
            is_away: false,
            unread: false,
            lost: 0,
        };
        let inbox = Arc::new(Inbox::default());
        let (doing, done) = mpsc::sync_channel(0);
        let reading = Arc::clone(&inbox);
        thread::Builder::new()
            .name("lameduck-otlp".to_owned())
            .spawn(move || {
                export.run(&reading);
                drop(doing);
            })?;
        Ok(Self { inbox, done })
    }

    pub(crate) fn tell(&self, seen: Observed) {
        let mut told = self.inbox.lock();
        if told.seen.len() < MOST_TOLD {
            told.seen.push_back(seen);
        } else {
            told.missed += 1;
        }
        self.inbox.changed.notify_one();
    }

    pub(crate) fn missed(&self, count: u64) {
        self.inbox.lock().missed += count;
    }

    /// Nothing follows. Returns when the rest is sent, or given up.
    pub(crate) fn finish(&self, patience: Duration) {
        let now = Instant::now();
        self.end_at(now.checked_add(patience).unwrap_or(now));
        let _ = self.done.recv_timeout(patience);
    }

    fn end_at(&self, until: Instant) {
        self.inbox.lock().until.get_or_insert(until);
        self.inbox.changed.notify_one();
    }
}

impl Drop for Worker {
    /// Whoever was never told the end has nothing to send; the thread ends by itself.
    fn drop(&mut self) {
        self.end_at(Instant::now());
    }
}

/// The thread's own.
struct Export {
    batch: Batch,
    clock: Clock,
    sender: Sender,
    metrics: Option<Box<dyn Fn() -> String + Send>>,
    metrics_at: Instant,
    interval: Duration,
    /// When what waits is sent.
    send_at: Option<Instant>,
    pause: Duration,
    trouble: Arc<dyn Fn(&str) + Send + Sync>,
    is_away: bool,
    /// Whether it was said that the metrics cannot be read.
    unread: bool,
    lost: u64,
}

impl Export {
    fn run(mut self, inbox: &Inbox) {
        loop {
            let (seen, missed, until) = self.wait(inbox);
            if missed > 0 {
                self.batch.missed(missed);
            }
            for one in &seen {
                self.batch.take(one);
            }
            if let Some(until) = until {
                self.end(until);
                return;
            }
            let now = Instant::now();
            if self.batch.is_large() && !self.is_away {
                self.send_at = Some(now);
            } else if !self.batch.is_empty() && self.send_at.is_none() {
                self.send_at = Some(now + TOGETHER);
            }
            if self.send_at.is_some_and(|at| at <= now) {
                self.send_at = None;
                if let Err(later) = self.send(None) {
                    self.send_at = Some(Instant::now() + self.rest(later.after));
                }
            }
            if self.metrics_at <= now {
                // Metrics that could not be sent are replaced by the next ones: they are sums.
                let _ = self.send_metrics(None);
                self.metrics_at = Instant::now() + self.interval;
            }
        }
    }

    /// Until there is something, or something is due.
    fn wait(&self, inbox: &Inbox) -> (VecDeque<Observed>, u64, Option<Instant>) {
        let metrics_at = self.metrics.as_ref().map(|_| self.metrics_at);
        let due = [self.send_at, metrics_at].into_iter().flatten().min();
        let mut told = inbox.lock();
        loop {
            let until = told.until;
            let is_due = due.is_some_and(|due| due <= Instant::now());
            if !told.seen.is_empty() || until.is_some() || is_due {
                let seen = std::mem::take(&mut told.seen);
                return (seen, std::mem::take(&mut told.missed), until);
            }
            told = match due {
                None => inbox
                    .changed
                    .wait(told)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    let waited = inbox.changed.wait_timeout(told, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn rest(&mut self, after: Option<Duration>) -> Duration {
        let pause = after.unwrap_or(self.pause).min(LONGEST_PAUSE);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        pause
    }

    /// Sends what waits; `Err` if it has to wait longer.
    fn send(&mut self, most: Option<Duration>) -> Result<(), Later> {
        if let Some(spans) = self.batch.spans() {
            let taken = self.post("/v1/traces", &spans, most)?;
            self.batch.forget_spans(!taken);
        }
        if let Some(records) = self.batch.records() {
            let taken = self.post("/v1/logs", &records, most)?;
            self.batch.forget_records(!taken);
        }
        Ok(())
    }

    fn send_metrics(&mut self, most: Option<Duration>) -> Result<(), Later> {
        let Some(metrics) = &self.metrics else {
            return Ok(());
        };
        let text = metrics();
        match metrics::export(&text, self.clock.began, self.batch.resource()) {
            Ok(message) => self.post("/v1/metrics", &message, most).map(drop),
            Err(why) => {
                if !std::mem::replace(&mut self.unread, true) {
                    (self.trouble)(&format!(
                        "OTLP: the metrics cannot be read and are not sent: {why}"
                    ));
                }
                Ok(())
            }
        }
    }

    /// Whether it was taken; `Err` if it may be sent again.
    fn post(
        &mut self,
        path: &str,
        message: &impl Message,
        most: Option<Duration>,
    ) -> Result<bool, Later> {
        match self.sender.send(path, message, most) {
            Sent::Taken { refused } => {
                self.lost += refused;
                self.pause = PAUSE;
                if std::mem::replace(&mut self.is_away, false) {
                    let lost = self.batch.take_lost();
                    self.lost += lost;
                    let endpoint = self.sender.endpoint();
                    (self.trouble)(&format!(
                        "OTLP: {endpoint} answers again; {lost} spans and records were lost meanwhile"
                    ));
                }
                Ok(true)
            }
            Sent::Never { why } => {
                let endpoint = self.sender.endpoint();
                (self.trouble)(&format!(
                    "OTLP: {endpoint}{path} refuses what it was sent: {why}"
                ));
                Ok(false)
            }
            Sent::Later(later) => {
                if !std::mem::replace(&mut self.is_away, true) && most.is_none() {
                    let endpoint = self.sender.endpoint();
                    (self.trouble)(&format!(
                        "OTLP: {endpoint} takes nothing at present: {}",
                        later.why
                    ));
                }
                Err(later)
            }
        }
    }

    /// The last words: tried again, as long as there is time and a collector that answers.
    fn end(&mut self, until: Instant) {
        let left = || until.saturating_duration_since(Instant::now());
        let why = loop {
            let sent = self.send(Some(left()));
            let sent = sent.and_then(|()| self.send_metrics(Some(left())));
            match sent {
                Ok(()) => break None,
                Err(later) if !later.answers || left().is_zero() => break Some(later.why),
                Err(_) => thread::sleep(LAST_PAUSE.min(left())),
            }
        };
        self.lost += self.batch.take_lost() + self.batch.waiting();
        let endpoint = self.sender.endpoint();
        if let Some(why) = why {
            let lost = self.lost;
            (self.trouble)(&format!(
                "OTLP: {lost} spans and records did not reach {endpoint}, nor did the last metrics: {why}"
            ));
        } else if self.lost > 0 {
            (self.trouble)(&format!(
                "OTLP: {} spans and records did not reach {endpoint}",
                self.lost
            ));
        }
    }
}
