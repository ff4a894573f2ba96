//! Observers, against the driver's thread and under virtual time: what they hear, in which order, and that they hold nobody.

use std::{
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
    time::Duration,
};

use lameduck::{
    Lifecycle, News, Observed, Observer, Outcome, Phase, Plan, Preset, Signal, SignalVerdict,
    Switch, Weight, Window,
    machine::{Answer, Enrolment, Hook, Input, Listens, ParticipantId},
    sim::Sim,
};

/// Far beyond what any wait here takes.
const BOUND: Duration = Duration::from_secs(20);

fn plan() -> Plan {
    Plan::preset(Preset::Systemd)
        .with_window(Window::NONE)
        .expect("a plan that can be kept")
}

/// Keeps what it hears and says when it has heard everything.
struct Keep {
    heard: Sender<Observed>,
}

impl Observer for Keep {
    fn observe(&mut self, seen: &Observed) {
        let _ = self.heard.send(seen.clone());
    }
}

fn keep() -> (Keep, Receiver<Observed>) {
    let (heard, kept) = mpsc::channel();
    (Keep { heard }, kept)
}

fn words(seen: &[Observed]) -> Vec<String> {
    seen.iter().map(|one| one.news.to_string()).collect()
}

#[test]
fn an_observer_hears_everything_before_the_end_can_be_seen() {
    let life = Lifecycle::embedded(plan()).expect("a driver");
    let (early, heard) = keep();
    life.observe("early", early).expect("a thread");
    let outbox = life
        .participate("outbox")
        .budget(Duration::from_secs(3))
        .register()
        .expect("its name is free");
    outbox.ready();
    life.ready();
    let guard = life.enter().expect("running");
    life.shutdown("the test");
    drop(guard);
    outbox.done();
    assert_eq!(life.wait(), Outcome::Drained);

    let seen: Vec<_> = heard.try_iter().collect();
    let kinds: Vec<_> = seen.iter().map(|one| one.news.as_str()).collect();
    assert_eq!(kinds[..3], ["enrolled", "ready", "phase"], "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"exit"));
    assert!(seen.iter().map(|one| one.number).eq(1..=seen.len() as u64));
    let ended = seen
        .iter()
        .find(|one| matches!(one.news, News::Ended { .. }));
    assert!(
        matches!(
            ended.map(|one| &one.news),
            Some(News::Ended { name, budget, .. })
                if name == "outbox" && *budget == Some(Duration::from_secs(3))
        ),
        "{ended:?}"
    );

    // Who comes after the end hears it all the same.
    let (late, heard) = keep();
    life.observe("late", late).expect("a thread");
    let again: Vec<_> = (0..seen.len())
        .map(|_| heard.recv_timeout(BOUND).expect("told"))
        .collect();
    assert_eq!(again, seen);
    assert_eq!(life.recent().happened.len(), seen.len());
}

#[test]
fn what_is_in_flight_comes_with_each_of_them() {
    let life = Lifecycle::embedded(plan()).expect("a driver");
    let (observer, heard) = keep();
    life.observe("counts", observer).expect("a thread");
    life.ready();
    let inflight = life.inflight();
    let pass = inflight.connections.enter().expect("open");
    let (idle, busy) = (inflight.slots.claim(None), inflight.slots.claim(None));
    busy.begin("GET", "/", life.elapsed());
    inflight.requests.count_one();
    let guard = life.enter().expect("open");
    life.note("now");
    let noted = loop {
        let seen = heard.recv_timeout(BOUND).expect("told");
        if matches!(seen.news, News::Noted { .. }) {
            break seen;
        }
    };
    let counts = noted.inflight;
    assert_eq!((counts.connections, counts.guards), (1, 1));
    assert_eq!((counts.busy, counts.idle, counts.requests), (1, 1, 1));
    drop((pass, idle, busy, guard));
    life.shutdown("the test");
    let _ = life.wait();
}

#[test]
fn a_switch_is_told_in_every_phase_and_decides_nothing() {
    let now = Duration::from_secs(1);
    let switch = || {
        Switch::new("breaker", "db")
            .turned("closed", "open")
            .because("3 calls failed in a row")
            .weighing(Weight::Warning)
    };
    let mut machine = lameduck::machine::Machine::new(plan());
    machine.handle(now, Input::Switched(switch()));
    assert_eq!(machine.poll_effect(), None);
    assert_eq!(machine.poll_timeout(), None);
    assert_eq!(machine.poll_news(), Some((now, News::Switched(switch()))));
    assert_eq!(
        machine.report().events,
        [],
        "a report is about the shutdown"
    );
    let life = Lifecycle::embedded(plan()).expect("a driver");
    let (observer, heard) = keep();
    life.observe("switches", observer).expect("a thread");
    life.ready();
    life.switched(switch());
    life.shutdown("the test");
    let _ = life.wait();
    let seen: Vec<_> = heard.try_iter().collect();
    let told = seen.iter().find(|one| one.news.as_str() == "switch");
    let news = &told.expect("told").news;
    assert_eq!(news.weight(), Weight::Warning);
    assert_eq!(
        news.to_string(),
        "breaker db: closed to open: 3 calls failed in a row"
    );
    assert!(life.status().to_json().contains("3 calls failed in a row"));
}

#[test]
fn inv_2_observers_that_panic_or_stand_still_hold_nobody() {
    let life = Lifecycle::embedded(plan()).expect("a driver");
    life.observe("broken", |_: &Observed| panic!("on purpose"))
        .expect("a thread");
    let (hold, stuck) = mpsc::channel::<()>();
    let stuck = Mutex::new(stuck);
    life.observe("stuck", move |_: &Observed| {
        let _ = stuck.lock().expect("not poisoned").recv();
    })
    .expect("a thread");
    let (observer, heard) = keep();
    life.observe("sound", observer).expect("a thread");
    life.ready();
    let panicked = loop {
        let seen = heard.recv_timeout(BOUND).expect("told");
        if let News::Noted { what } = seen.news {
            break what;
        }
    };
    assert_eq!(panicked, "observer broken panicked and is not called again");
    life.shutdown("the test");
    assert_eq!(life.wait(), Outcome::Drained);
    assert!(
        heard
            .try_iter()
            .any(|seen| matches!(seen.news, News::Exit { .. })),
        "the sound one heard the end"
    );
    drop(hold);
}

/// Finishes once it is let go.
struct Flush {
    patience: Duration,
    go: Receiver<()>,
    finished: Sender<()>,
}

impl Observer for Flush {
    fn observe(&mut self, _: &Observed) {}

    fn finish(&mut self) {
        if self.go.recv_timeout(BOUND).is_ok() {
            let _ = self.finished.send(());
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

fn flush(patience: Duration) -> (Flush, Sender<()>, Receiver<()>) {
    let (hold, go) = mpsc::channel();
    let (finished, heard) = mpsc::channel();
    let flush = Flush {
        patience,
        go,
        finished,
    };
    (flush, hold, heard)
}

#[test]
fn the_end_waits_for_who_asked_for_more_patience() {
    let life = Lifecycle::embedded(plan()).expect("a driver");
    let (slow, go, finished) = flush(BOUND);
    life.observe("slow", slow).expect("a thread");
    // Its own patience is over long before.
    let (hasty, hold, _) = flush(Duration::ZERO);
    life.observe("hasty", hasty).expect("a thread");
    life.ready();
    life.shutdown("the test");
    let waiting = {
        let life = life.clone();
        std::thread::spawn(move || life.wait())
    };
    std::thread::sleep(Duration::from_millis(400));
    assert!(!waiting.is_finished(), "it waits for the slow one");
    go.send(()).expect("it listens");
    assert_eq!(waiting.join().expect("no panic"), Outcome::Drained);
    assert!(finished.try_recv().is_ok());
    drop(hold);
}

#[test]
fn a_cut_ends_the_wait_for_observers() {
    let life = Lifecycle::embedded(plan()).expect("a driver");
    let (slow, hold, finished) = flush(3 * BOUND);
    life.observe("slow", slow).expect("a thread");
    life.ready();
    let drained = life.drain();
    life.shutdown("the test");
    let waiting = {
        let life = life.clone();
        std::thread::spawn(move || life.wait())
    };
    let began = std::time::Instant::now();
    while drained.phase() != Phase::Stopped {
        assert!(began.elapsed() < BOUND, "it never stopped");
        std::thread::yield_now();
    }
    life.cut();
    assert_eq!(waiting.join().expect("no panic"), Outcome::Drained);
    assert!(began.elapsed() < BOUND, "it waited for the slow one");
    assert!(finished.try_recv().is_err());
    drop(hold);
}

#[test]
fn inv_2_no_patience_goes_past_the_deadline() {
    let short = plan()
        .with_grace(Duration::from_millis(2_500))
        .expect("a plan that can be kept");
    let deadline = short.deadline();
    let life = Lifecycle::embedded(short).expect("a driver");
    let (endless, hold, finished) = flush(Duration::MAX);
    life.observe("endless", endless).expect("a thread");
    life.ready();
    let began = std::time::Instant::now();
    life.shutdown("the test");
    assert_eq!(life.wait(), Outcome::Drained);
    let took = began.elapsed();
    assert!(took >= deadline && took < BOUND, "{took:?} of {deadline:?}");
    assert!(finished.try_recv().is_err());
    drop(hold);
}

#[test]
fn the_seventeenth_observer_is_refused() {
    let life = Lifecycle::embedded(plan()).expect("a driver");
    let ignore = |_: &Observed| {};
    for number in 0..16 {
        life.observe(number.to_string(), ignore).expect("a thread");
    }
    let refused = life.observe("one more", ignore).expect_err("too many");
    assert!(refused.to_string().contains("16 observers"), "{refused}");
    life.shutdown("the test");
    let _ = life.wait();
}

#[test]
fn under_virtual_time_the_same_is_told() {
    let id = ParticipantId::new(0);
    let mut sim = Sim::new(plan());
    sim.at(
        Duration::ZERO,
        Input::Enrol(Enrolment {
            id,
            name: "server".to_owned(),
            after: Vec::new(),
            budget: None,
            listens: Listens::UntilClosed,
            hook: Hook::Some,
        }),
    );
    sim.at(Duration::ZERO, Input::Ready(id));
    sim.at(Duration::ZERO, Input::Started);
    sim.at(
        Duration::from_secs(1),
        Input::Reloaded {
            name: "tls".to_owned(),
            result: Err("no such file".to_owned()),
        },
    );
    sim.at(
        Duration::from_secs(2),
        Input::Terminate {
            why: "deploy".to_owned(),
        },
    );
    sim.at(Duration::from_secs(3), Input::Answer(id, Answer::done()));
    sim.hook_takes(id, Duration::from_millis(250));
    sim.connection(Duration::from_millis(2_500));
    let run = sim.run();
    assert_eq!(
        words(&run.observed),
        [
            "server enrolled",
            "server is ready",
            "Running after 0 ms of Initializing",
            "reload of tls refused, the old one stays: no such file",
            "Terminating after 2000 ms of Running",
            "server closed its listener #0",
            "Draining after 0 ms of Terminating",
            "server was told to finish",
            "server ended: done",
            "Stopped after 1000 ms of Draining",
            "the stop hook of server began",
            "the stop hook of server ended after 250 ms: ok",
            "over: drained",
        ]
    );
    let left = run
        .observed
        .iter()
        .find(|seen| {
            matches!(
                seen.news,
                News::PhaseChanged {
                    to: Phase::Terminating,
                    ..
                }
            )
        })
        .expect("it left");
    assert_eq!(left.inflight.connections, 1);
    let News::PhaseChanged { deadline, .. } = left.news else {
        unreachable!("found by it")
    };
    assert_eq!(deadline, Some(Duration::from_secs(2) + plan().deadline()));
}

#[test]
fn a_signal_is_told_with_what_was_made_of_it_before_the_phase_that_it_brings() {
    let record = || {
        lameduck::SignalRecord::new(
            Signal::Term,
            lameduck::SignalCode::User,
            lameduck::Sender::OutsideNamespace,
        )
    };
    let mut sim = Sim::new(plan());
    sim.at(Duration::ZERO, Input::Started);
    sim.at(Duration::from_secs(1), Input::Signal(record()));
    sim.guard(Duration::from_secs(9));
    sim.at(Duration::from_millis(1_500), Input::Signal(record()));
    sim.at(Duration::from_millis(2_500), Input::Signal(record()));
    let run = sim.run();
    let verdicts: Vec<_> = run
        .observed
        .iter()
        .filter_map(|seen| match &seen.news {
            News::Signal { phase, verdict, .. } => Some((*phase, *verdict)),
            _ => None,
        })
        .collect();
    assert_eq!(
        verdicts,
        [
            (Phase::Running, SignalVerdict::Started),
            (Phase::Draining, SignalVerdict::Merged),
            (Phase::Draining, SignalVerdict::Recorded),
        ]
    );
    let kinds: Vec<_> = run.observed.iter().map(|one| one.news.as_str()).collect();
    assert_eq!(kinds[..3], ["phase", "signal", "phase"]);
}
