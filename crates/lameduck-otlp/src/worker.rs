//! The exporter's thread: what it was told, what is due, and what a collector that is away means.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
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
/// How long it is left alone because it asked for that.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// The same at the end, where there is no time to lose.
const LAST_PAUSE: Duration = Duration::from_millis(100);
/// What it takes to say that there was not enough time.
pub(crate) const LAST_WORD: Duration = Duration::from_millis(200);

/// The handle of the thread.
pub(crate) struct Worker {
    inbox: Arc<Inbox>,
    done: Receiver<()>,
    endpoint: String,
    trouble: Trouble,
}

type Trouble = Arc<dyn Fn(&str) + Send + Sync>;

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
    /// What the thread has taken, and not seen taken by the collector.
    held: u64,
    /// What did not get there was said.
    told: bool,
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
        let mut export = Export {
            batch: Batch::new(
                resource(
                    &otlp.attributes,
                    &[
                        ("service.instance.id", drain_id),
                        ("lameduck.drain_id", drain_id),
                    ],
                ),
                Traces::new(drain_id, clock),
            ),
            clock,
            sender,
            metrics: otlp.metrics,
            interval: otlp.interval,
            trouble: otlp.trouble,
            spans: Lane::new("/v1/traces"),
            records: Lane::new("/v1/logs"),
            points: Lane::new("/v1/metrics"),
            unread: None,
            lost: 0,
        };
        if export.metrics.is_some() {
            export.points.send_at = Some(Instant::now() + export.interval);
        }
        let (endpoint, trouble) = (
            export.sender.endpoint().to_owned(),
            Arc::clone(&export.trouble),
        );
        let inbox = Arc::new(Inbox::default());
        let (doing, done) = mpsc::sync_channel(0);
        let reading = Arc::clone(&inbox);
        thread::Builder::new()
            .name("lameduck-otlp".to_owned())
            .spawn(move || {
                export.run(&reading);
                drop(doing);
            })?;
        Ok(Self {
            inbox,
            done,
            endpoint,
            trouble,
        })
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

    /// Nothing follows. Returns when the rest is sent, or given up after `patience`, and that was said.
    pub(crate) fn finish(&self, patience: Duration) {
        self.end_at(Instant::now() + patience);
        let waited = self.done.recv_timeout(patience + LAST_WORD / 2);
        if waited == Err(RecvTimeoutError::Timeout) {
            // The thread is in a request that began while the service lived.
            let mut told = self.inbox.lock();
            if !std::mem::replace(&mut told.told, true) {
                let lost = told.held + told.seen.len() as u64 + told.missed;
                drop(told);
                let endpoint = &self.endpoint;
                say(
                    &self.trouble,
                    &format!("{lost} spans and records did not reach {endpoint}: no time was left"),
                );
            }
        }
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

/// One of the three signals: when it is sent, and what came of it. A collector may take one and not another.
#[derive(Debug)]
struct Lane {
    path: &'static str,
    /// When what waits is sent.
    send_at: Option<Instant>,
    pause: Duration,
    is_away: bool,
    /// What it was refused for, as it was said.
    refused: Option<String>,
}

impl Lane {
    const fn new(path: &'static str) -> Self {
        Self {
            path,
            send_at: None,
            pause: PAUSE,
            is_away: false,
            refused: None,
        }
    }

    /// Something waits: it is sent with what comes within a moment, or at once if it is much.
    fn wake(&mut self, now: Instant, much: bool) {
        let at = if much && !self.is_away {
            now
        } else {
            now + TOGETHER
        };
        self.send_at =
            Some(self.send_at.map_or(
                at,
                |before| if self.is_away { before } else { before.min(at) },
            ));
    }

    fn is_due(&self, now: Instant) -> bool {
        self.send_at.is_some_and(|at| at <= now)
    }

    /// It was not taken.
    fn rest(&mut self, after: Option<Duration>) {
        let pause = after
            .unwrap_or(self.pause)
            .clamp(PAUSE, LONGEST_RETRY_AFTER);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.send_at = Some(Instant::now() + pause);
    }
}

/// What goes wrong in saying it is no reason to export nothing.
fn say(trouble: &Trouble, what: &str) {
    let _ = catch_unwind(AssertUnwindSafe(|| trouble(&format!("OTLP: {what}"))));
}

/// Sends one of the three, and waits no longer than that.
type Sending = fn(&mut Export, Option<Duration>) -> Result<(), Later>;

/// The thread's own.
struct Export {
    batch: Batch,
    clock: Clock,
    sender: Sender,
    metrics: Option<Box<dyn Fn() -> String + Send>>,
    interval: Duration,
    trouble: Trouble,
    spans: Lane,
    records: Lane,
    points: Lane,
    /// Why the metrics could not be read, as it was said.
    unread: Option<String>,
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
            inbox.lock().held = self.batch.waiting();
            if let Some(until) = until {
                self.end(until, inbox);
                return;
            }
            let now = Instant::now();
            if !seen.is_empty() {
                self.records.wake(now, self.batch.has_many_records());
                if self.batch.has_spans() {
                    self.spans.wake(now, self.batch.has_many_spans());
                }
            }
            self.send_due(now);
            inbox.lock().held = self.batch.waiting();
        }
    }

    /// Until there is something, or something is due.
    fn wait(&self, inbox: &Inbox) -> (VecDeque<Observed>, u64, Option<Instant>) {
        let lanes = [&self.spans, &self.records, &self.points];
        let due = lanes.iter().filter_map(|lane| lane.send_at).min();
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

    fn send_due(&mut self, now: Instant) {
        if self.spans.is_due(now) {
            self.spans.send_at = None;
            if let Err(later) = self.send_spans(None) {
                self.spans.rest(later.after);
            }
        }
        if self.records.is_due(now) {
            self.records.send_at = None;
            if let Err(later) = self.send_records(None) {
                self.records.rest(later.after);
            }
        }
        if self.points.is_due(now) {
            // Metrics that could not be sent are replaced by the next ones: they are sums.
            let sent = self.send_points(None);
            let after = sent.err().and_then(|later| later.after).unwrap_or_default();
            self.points.send_at =
                Some(Instant::now() + self.interval.max(after.min(LONGEST_RETRY_AFTER)));
        }
    }

    fn send_spans(&mut self, most: Option<Duration>) -> Result<(), Later> {
        if let Some(message) = self.batch.spans() {
            let taken = self.post(|export| &mut export.spans, &message, most)?;
            self.batch.forget_spans(taken.is_none());
            self.lost += taken.unwrap_or(0);
        }
        Ok(())
    }

    fn send_records(&mut self, most: Option<Duration>) -> Result<(), Later> {
        if let Some(message) = self.batch.records() {
            let taken = self.post(|export| &mut export.records, &message, most)?;
            self.batch.forget_records(taken.is_none());
            self.lost += taken.unwrap_or(0);
        }
        Ok(())
    }

    fn send_points(&mut self, most: Option<Duration>) -> Result<(), Later> {
        let Some(metrics) = &self.metrics else {
            return Ok(());
        };
        let read =
            catch_unwind(AssertUnwindSafe(metrics)).map_err(|_| "reading them panicked".to_owned());
        let resource = self.batch.resource();
        match read.and_then(|text| metrics::export(&text, self.clock.began, resource)) {
            Ok(message) => self
                .post(|export| &mut export.points, &message, most)
                .map(drop),
            Err(why) => {
                if self.unread.as_ref() != Some(&why) {
                    self.say(&format!(
                        "the metrics cannot be read and are not sent: {why}"
                    ));
                    self.unread = Some(why);
                }
                Ok(())
            }
        }
    }

    /// `Some` with how much of it was refused if it was taken, `None` if it never will be; `Err` if it may be sent again.
    fn post(
        &mut self,
        lane: fn(&mut Self) -> &mut Lane,
        message: &impl Message,
        most: Option<Duration>,
    ) -> Result<Option<u64>, Later> {
        let path = lane(self).path;
        let sent = self.sender.send(path, message, most);
        let at = format!("{}{path}", self.sender.endpoint());
        let lane = lane(self);
        match sent {
            Sent::Taken { refused, said } => {
                lane.pause = PAUSE;
                let was_away = std::mem::replace(&mut lane.is_away, false);
                let is_new = said.is_some() && lane.refused != said;
                if is_new {
                    lane.refused.clone_from(&said);
                }
                if was_away {
                    let lost = self.batch.take_lost();
                    self.lost += lost;
                    self.say(&format!(
                        "{at} answers again; {lost} spans and records were lost meanwhile"
                    ));
                }
                if let Some(said) = said.filter(|_| is_new) {
                    self.say(&format!("{at} took all but {refused}: {said}"));
                }
                Ok(Some(refused))
            }
            Sent::Never { why } => {
                if lane.refused.as_ref() != Some(&why) {
                    lane.refused = Some(why.clone());
                    self.say(&format!("{at} refuses what it was sent: {why}"));
                }
                Ok(None)
            }
            Sent::Later(later) => {
                // At the end it is said once, for all of them.
                if most.is_none() && !std::mem::replace(&mut lane.is_away, true) {
                    self.say(&format!("{at} takes nothing at present: {}", later.why));
                }
                Err(later)
            }
        }
    }

    fn say(&self, what: &str) {
        say(&self.trouble, what);
    }

    /// The last words: each of the three is tried again, as long as there is time and a collector that answers.
    fn end(&mut self, until: Instant, inbox: &Inbox) {
        let left = || until.saturating_duration_since(Instant::now());
        let sends: [Sending; 3] = [Self::send_spans, Self::send_records, Self::send_points];
        let mut open = [true; 3];
        let mut whys: [Option<String>; 3] = [None, None, None];
        while open.contains(&true) {
            for (index, send) in sends.iter().enumerate() {
                if !open[index] {
                    continue;
                }
                match send(self, Some(left())) {
                    Ok(()) => (open[index], whys[index]) = (false, None),
                    Err(later) => {
                        open[index] = later.answers && !left().is_zero();
                        whys[index] = Some(later.why);
                    }
                }
            }
            if open.contains(&true) {
                thread::sleep(LAST_PAUSE.min(left()));
            }
        }
        self.lost += self.batch.take_lost() + self.batch.waiting();
        let (lost, endpoint) = (self.lost, self.sender.endpoint());
        let [spans, records, points] = whys;
        let why = spans.or(records);
        // Whoever waited may have said it already.
        if std::mem::replace(&mut inbox.lock().told, true) {
            return;
        }
        if lost > 0 {
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            self.say(&format!(
                "{lost} spans and records did not reach {endpoint}{why}"
            ));
        }
        if let Some(why) = points {
            self.say(&format!("the last metrics did not reach {endpoint}: {why}"));
        }
    }
}
