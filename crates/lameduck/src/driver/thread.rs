//! The loop: one thread that owns the machine, sleeps in poll(2), and executes what the machine asks for.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    Arrival, LastWords, Shared, Signals,
    commands::hush,
    execute::wake,
    rehearse::rehearse,
    supervisor::{Supervisor, Told},
    traffic::{EVERY, Samples},
};
use crate::{
    machine::{Answer, Effect, Input, Machine, ends_waiting},
    sys,
    vocab::{CutBy, News, Outcome, Phase, Plan, Signal},
};

/// How long the driver waits for something that is written elsewhere.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// How many different complaints about signals are said. The status shows the present ones, said or not.
const COMPLAINTS: usize = 64;

/// What the driver may do to the process.
pub(crate) enum Authority {
    /// Nothing: the lifecycle is part of a larger program, or of a test.
    Embedded,
    /// Say the last words, and end the process: when it is cut, and at the deadline.
    Process(Box<dyn LastWords>),
}

/// Owns the machine.
pub(crate) struct Driver {
    pub(super) machine: Machine,
    pub(super) shared: Arc<Shared>,
    pub(super) authority: Authority,
    pub(super) samples: Samples,
    /// Which gates are closed and not yet known to be empty.
    pub(super) watching: Watching,
    /// What the service manager was told.
    pub(super) told: Told,
    /// What was said about signals that no longer arrive; at most [`COMPLAINTS`].
    complained: Vec<String>,
    pub(super) signals: Option<Box<dyn Signals>>,
    bell: OwnedFd,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watching {
    pub(super) connections: bool,
    pub(super) guards: bool,
}

impl Driver {
    /// Starts the thread.
    ///
    /// # Errors
    /// Too many open files, or no thread to be had.
    pub(crate) fn start(
        plan: Plan,
        notes: Vec<String>,
        signals: Option<Box<dyn Signals>>,
        authority: Authority,
        supervisor: Option<Arc<dyn Supervisor>>,
    ) -> io::Result<Arc<Shared>> {
        let mut machine = Machine::new(plan.clone());
        for note in notes {
            machine.handle(Duration::ZERO, Input::Note(note));
        }
        let speaks = matches!(authority, Authority::Process(_));
        let (shared, bell) = Shared::new(plan, machine.status(), speaks)?;
        if let Some(supervisor) = supervisor {
            shared.set_supervisor(supervisor);
        }
        let driver = Self {
            machine,
            shared: Arc::clone(&shared),
            authority,
            samples: Samples::default(),
            watching: Watching::default(),
            told: Told::default(),
            complained: Vec::new(),
            signals,
            bell,
        };
        thread::Builder::new()
            .name("lameduck".to_owned())
            .spawn(move || driver.run_to_the_end())?;
        Ok(shared)
    }

    /// INV-2 holds for a driver that panics, too: nobody else would end the process.
    fn run_to_the_end(mut self) {
        let shared = Arc::clone(&self.shared);
        let ran = catch_unwind(AssertUnwindSafe(|| self.run()));
        if ran.is_err() {
            let outcome = Outcome::Forced {
                code: shared.plan().forced_exit_code(),
            };
            let mut report = self.machine.report();
            report.outcome = outcome;
            shared.ledger().drain_id().clone_into(&mut report.drain_id);
            report.health = Some(shared.final_health());
            let counts = shared.inflight_counts();
            shared
                .observers()
                .tell(shared.now(), counts, News::Exit { outcome });
            let until = Instant::now() + PATIENCE;
            let observing = shared.observers().finish();
            if let Authority::Process(words) = &mut self.authority {
                words.say(
                    "lameduck: the driver's thread panicked, the process ends\n",
                    PATIENCE,
                );
                words.report(&report.to_json(), PATIENCE, Box::new(|| {}));
                observing.wait(until);
                words.end(outcome);
            }
            observing.wait(until);
            shared.finish(report);
        }
        shared.commands().close();
    }

    fn run(&mut self) {
        if let Some(signals) = &self.signals {
            signals.adopt();
        }
        std::hint::black_box(rehearse(self.machine.plan()));
        while !self.machine.is_over() {
            self.wait();
            self.turn();
        }
        self.stay();
    }

    /// Sleeps until there is something to do.
    fn wait(&self) {
        let now = self.shared.now();
        let mut due = self.machine.poll_timeout();
        if self.machine.phase() == Phase::Running {
            let sample = self.samples.next_at();
            due = Some(due.map_or(sample, |due| due.min(sample)));
        }
        if let Some(told) = self.told.due() {
            due = Some(due.map_or(told, |due| due.min(told)));
        }
        self.sleep(due.map(|due| due.saturating_sub(now)));
    }

    pub(super) fn sleep(&self, at_most: Option<Duration>) {
        let bell = self.bell.as_fd();
        let signals = self.signals.as_ref().map_or(bell, |signals| signals.fd());
        match sys::poll2([signals, bell], at_most) {
            // Only what rang is read: on the way from a signal to the phase every system call counts.
            Ok([_, rang]) if rang => hush(bell),
            Ok(_) => {}
            // poll(2) fails for want of kernel memory only; a short sleep keeps the deadline without spinning.
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }

    /// Hands the machine all that has happened, and does what it asks for.
    fn turn(&mut self) {
        // Signals are collected first and handled last: what was said before a signal came is heard before it.
        let mut arrivals: Vec<Arrival> = Vec::new();
        if let Some(signals) = &mut self.signals {
            signals.drain(&mut arrivals);
            let lost = signals.lost();
            self.shared.ledger().lost(lost);
        }
        for input in self.shared.commands().take() {
            let ready = match input {
                Input::Ready(id) => Some(id),
                _ => None,
            };
            self.told.note(&input);
            self.input(input);
            // Who enrols while running opens now; the others open together when `Running` is entered.
            if let Some(id) = ready
                && self.machine.phase() == Phase::Running
                && let Err(why) = self.open(id)
            {
                self.input(Input::Answer(id, Answer::Failed { why }));
            }
        }
        for arrival in arrivals {
            self.signal(arrival);
        }
        let now = self.shared.now();
        if self.machine.phase() == Phase::Running && self.samples.next_at() <= now {
            self.samples
                .take(now, self.shared.inflight().requests.total());
            self.check_signals();
        }
        self.input(Input::Wake);
        self.rescan();
        self.shared.set_status(self.machine.status());
        self.keep_informed();
    }

    fn signal(&mut self, arrival: Arrival) {
        let Arrival { record, at } = arrival;
        let (signal, class) = (record.signal, record.sender.class());
        self.input(Input::Signal(record));
        // Counted afterwards: on the way from a signal to the phase every step counts.
        let took = at.map(|at| sys::since_boot().saturating_sub(at));
        self.shared.ledger().signal(signal, class, took);
    }

    pub(super) fn lost_signals(&self) -> u64 {
        self.signals.as_ref().map_or(0, |signals| signals.lost())
    }

    /// Another library may have replaced a handler of ours: worth a line while it can still be mended.
    fn check_signals(&mut self) {
        let Some(signals) = &self.signals else { return };
        let of_the_lifecycle = signals.replaced().into_iter().map(|signal| {
            format!(
                "the handler of {signal} was replaced by another library: it no longer ends this service"
            )
        });
        let complaints: Vec<String> = of_the_lifecycle
            .chain(signals.disturbed_channels())
            .collect();
        self.shared.set_complaints(complaints.clone());
        for what in complaints {
            if self.complained.contains(&what) || self.complained.len() == COMPLAINTS {
                continue;
            }
            self.complained.push(what.clone());
            if let Authority::Process(words) = &mut self.authority {
                words.say(&format!("lameduck: {what}\n"), PATIENCE);
            }
            self.input(Input::Note(what));
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.machine.handle(self.shared.now(), input);
        let mut is_fresh = false;
        while let Some(effect) = self.machine.poll_effect() {
            // Who is told of its time reads its terms.
            if matches!(effect, Effect::Close(_) | Effect::Granted(..)) && !is_fresh {
                self.shared.set_status(self.machine.status());
                is_fresh = true;
            }
            self.execute(effect);
        }
        self.tell();
    }

    /// Tells observers what happened, once it has been acted on.
    pub(super) fn tell(&mut self) {
        let mut counts = None;
        let mut exit = None;
        while let Some((at, news)) = self.machine.poll_news() {
            if let News::Ended { name, state, .. } = &news {
                wake(self.shared.cancel_participant(name, state));
            }
            let counts = *counts.get_or_insert_with(|| self.shared.inflight_counts());
            if let News::Ended { name, state, .. } = &news {
                self.shared.has_ended(name, state);
            }
            // The names of stragglers may come after the machine was over; nothing follows the end all the same.
            if matches!(news, News::Exit { .. }) {
                exit = Some((at, counts, news));
            } else {
                self.shared.observers().tell(at, counts, news);
            }
        }
        if let Some((at, counts, news)) = exit {
            self.shared.observers().tell(at, counts, news);
        }
    }

    /// INV-4: a closed gate whose scan finds none stays empty.
    fn rescan(&mut self) {
        if self.watching.connections && self.shared.inflight().connections.is_drained() {
            self.watching.connections = false;
            self.shared.drained.fire();
            self.input(Input::ConnectionsDrained);
        }
        if self.watching.guards && self.shared.inflight().guards.is_drained() {
            self.watching.guards = false;
            self.input(Input::GuardsDrained);
        }
    }

    /// Whether the process is not left to its main thread any longer: it was cut, or the deadline has passed.
    pub(super) fn ends_at_once(&self, outcome: Outcome) -> bool {
        let deadline = self.machine.status().deadline;
        matches!(outcome, Outcome::Cut(_))
            || deadline.is_some_and(|deadline| self.shared.now() >= deadline)
    }

    /// INV-2: the machine is over; the process has until the deadline to follow it.
    fn stay(&mut self) {
        let Some(outcome) = self.shared.outcome() else {
            return;
        };
        let deadline = self.machine.status().deadline.unwrap_or_default();
        loop {
            let ends = self.ends_at_once(outcome);
            let Authority::Process(words) = &mut self.authority else {
                return;
            };
            if ends {
                words.end(outcome);
            }
            let now = self.shared.now();
            let left = if now < deadline {
                deadline - now
            } else {
                EVERY
            };
            let told = self.told.due().map(|due| due.saturating_sub(now));
            self.sleep(Some(told.map_or(left, |told| told.min(left))));
            self.keep_informed();
            // Nothing is waited for any longer but the main thread, and a signal does not hurry that.
            let _ = self.stay_awake();
        }
    }

    /// Signals and commands that come after the end: only those that end the process have a meaning. Returns whether nobody else is to be
    /// waited for.
    pub(super) fn stay_awake(&mut self) -> bool {
        let mut at_once = false;
        for input in self.shared.commands().take() {
            if input == Input::Cut {
                self.end(Outcome::Cut(CutBy::Api));
                at_once = true;
            }
        }
        let mut arrivals = Vec::new();
        if let Some(signals) = &mut self.signals {
            signals.drain(&mut arrivals);
        }
        // Who is still here after the end is worth a look.
        if arrivals
            .iter()
            .any(|arrival| arrival.record.signal == Signal::Quit)
        {
            self.dump_and_die();
        }
        let (now, status) = (self.shared.now(), self.machine.status());
        let since = now.saturating_sub(status.requested_at.unwrap_or(now));
        let repeat = self.shared.plan().repeat();
        let mut records = arrivals.iter().map(|arrival| &arrival.record);
        at_once || records.any(|record| ends_waiting(record, repeat, since))
    }

    fn end(&mut self, outcome: Outcome) {
        if let Authority::Process(words) = &mut self.authority {
            words.end(outcome);
        }
    }
}
