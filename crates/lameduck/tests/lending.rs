//! Pools and clients as participants, against the real driver thread: their turn, their leaks, their time.
//!
//! Every wait is for an event, with a bound.

#[path = "support/embedded.rs"]
mod embedded;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use embedded::{begin, running, within};
use lameduck::{
    EnrolError, HookState, Lifecycle, Outcome, ParticipantState, Phase, Plan, Preset, Report,
    Window,
    lending::{self, Counts, Gate, LendError, Lending, Pool, Swap},
};

/// Of a participant that leaks: a quarter of it is kept to say so, which is enough on a machine that has much else to do.
const BUDGET: Duration = Duration::from_secs(6);

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    within(what, async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

fn state<'a>(report: &'a Report, name: &str) -> &'a ParticipantState {
    let found = report.participants.iter().find(|one| one.name == name);
    &found.expect(name).state
}

fn why<'a>(report: &'a Report, name: &str) -> &'a str {
    match state(report, name) {
        ParticipantState::Failed { why } => why,
        other => panic!("{name}: {other:?}"),
    }
}

async fn lend(gate: &Gate<()>) -> Result<lending::Lease<()>, LendError<Infallible>> {
    gate.lend(async |_| Ok(())).await
}

#[tokio::test]
async fn it_is_lent_from_until_its_turn_and_the_lent_are_waited_for() {
    let life = begin();
    let gate = Gate::new(());
    let db = life.participate("db").drains(gate.clone()).expect("a pool");
    db.on_stop(async || Ok::<(), Infallible>(()));
    let user = life.participate("user").after(&db).register();
    let user = user.expect("a participant");
    user.ready();
    running(&life).await;
    let out = lend(&gate).await.expect("running");
    life.shutdown("test");
    within("the user's turn", user.closing()).await;
    let last = lend(&gate).await.expect("its user is at work");
    drop(last);
    user.done();
    within("its turn", async {
        while lend(&gate).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(life.phase(), Phase::Draining);
    assert!(life.report().is_none(), "what is lent is waited for");
    drop(out);
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    let report = life.report().expect("over");
    assert_eq!(*state(report, "db"), ParticipantState::Done);
    let said: Vec<_> = report.events.iter().map(|event| &*event.what).collect();
    let figures = said.iter().find(|what| what.starts_with("db: "));
    let figures = figures.expect("its figures");
    let begins = "db: none of 1 is left, 1 of which were still lent, after ";
    assert!(figures.starts_with(begins), "{figures}");
    let hook = report.participants[0].hook.as_ref().expect("its hook");
    assert_eq!(hook.state, HookState::Ok);
}

#[tokio::test]
async fn a_leak_is_named_within_the_budget_and_the_rest_goes_on() {
    let life = begin();
    let below = life.worker("below", |stop| async move { stop.closing().await });
    let below = below.expect("a worker");
    let gate = Gate::new(());
    let db = life.participate("db").after(&below).budget(BUDGET);
    db.drains(gate.clone()).expect("a pool");
    running(&life).await;
    let (leaked, line) = (gate.lend(async |_| Ok::<_, Infallible>(())), line!());
    let leaked = leaked.await.expect("running");
    life.shutdown("test");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Failed);
    let report = life.report().expect("over");
    let why = why(report, "db");
    assert!(why.starts_with("1 left after "), "{why}");
    assert!(
        why.contains(&format!("lending.rs:{line}), 0 neither lent nor closed")),
        "{why}"
    );
    assert_eq!(*state(report, "below"), ParticipantState::Done);
    let said = report.events.iter().any(|event| event.what.contains(why));
    assert!(said, "{:?}", report.events);
    drop(leaked);
}

#[tokio::test]
async fn a_pool_that_lies_about_its_end_is_found_out() {
    let life = begin();
    let (closed, counted) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(2)),
    );
    let (open, called) = (Arc::clone(&counted), Arc::clone(&closed));
    let lending =
        Lending::counted(move || Counts::with_idle(open.load(SeqCst), 1)).close_idle(move || {
            // It says that it is closed.
            called.store(true, SeqCst);
            std::future::ready(())
        });
    let enrol = life.participate("liar").budget(BUDGET);
    enrol.drains(lending).expect("a pool");
    running(&life).await;
    life.shutdown("test");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Failed);
    assert!(closed.load(SeqCst));
    let why = why(life.report().expect("over"), "liar");
    assert!(why.ends_with("1 lent, 1 neither lent nor closed"), "{why}");
}

#[tokio::test]
async fn a_gate_before_closures_closes_first_and_names() {
    let life = begin();
    let gate = Gate::new(());
    let (seen, looks) = (Arc::new(AtomicBool::new(true)), gate.clone());
    let refused = Arc::clone(&seen);
    let lending = Lending::counted(Counts::default)
        .behind(&gate)
        .stop_lending(move || {
            let lent = looks.blocking_lend(|()| Ok::<_, Infallible>(()));
            refused.store(lent.is_err(), SeqCst);
        });
    let enrol = life.participate("db").budget(BUDGET);
    enrol.drains(lending).expect("a pool");
    running(&life).await;
    let leaked = lend(&gate).await.expect("running");
    life.shutdown("test");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Failed);
    assert!(seen.load(SeqCst), "the gate was closed before");
    let why = why(life.report().expect("over"), "db");
    assert!(
        why.contains("s ago at crates/lameduck/tests/lending.rs:"),
        "{why}"
    );
    drop(leaked);
}

#[tokio::test]
async fn a_client_is_swapped_when_the_drain_begins_and_gone_at_its_turn() {
    let life = begin();
    let swap = Swap::new("first", || "second");
    let client = life.participate("client").drains(swap.clone());
    let client = client.expect("a client");
    let server = life.participate("server").after(&client).register();
    let server = server.expect("a participant");
    server.ready();
    running(&life).await;
    let in_flight = swap.current().expect("running");
    life.shutdown("test");
    until("the swap", || {
        swap.current().is_ok_and(|lease| *lease == "second")
    })
    .await;
    assert_eq!(*in_flight, "first");
    within("the server's turn", server.closing()).await;
    server.done();
    until("its turn", || swap.current().is_err()).await;
    drop(in_flight);
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
}

#[tokio::test]
async fn what_is_done_early_is_done_when_the_drain_begins() {
    let life = begin();
    let began = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&began);
    let gate = Gate::new(());
    let lending = Lending::counted(Counts::default)
        .drain_began(move || begins.store(true, SeqCst))
        .behind(&gate);
    let db = life.participate("db").drains(lending).expect("a pool");
    let user = life.participate("user").after(&db).register();
    let user = user.expect("a participant");
    user.ready();
    running(&life).await;
    assert!(!began.load(SeqCst));
    life.shutdown("test");
    until("the begin", || began.load(SeqCst)).await;
    assert!(lend(&gate).await.is_ok(), "its user is at work");
    user.done();
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
}

#[tokio::test]
async fn farewells_are_said_though_nothing_is_counted() {
    let life = begin();
    let (idle, said) = (Arc::new(AtomicUsize::new(3)), Arc::new(AtomicUsize::new(0)));
    let (counted, says) = (Arc::clone(&idle), Arc::clone(&said));
    let lending =
        Lending::counted(move || Counts::with_idle(counted.load(SeqCst), counted.load(SeqCst)))
            .close_idle(move || {
                let (idle, said) = (Arc::clone(&idle), Arc::clone(&says));
                async move {
                    for _ in 0..idle.swap(0, SeqCst) {
                        tokio::task::yield_now().await;
                        said.fetch_add(1, SeqCst);
                    }
                }
            });
    life.participate("db").drains(lending).expect("a pool");
    running(&life).await;
    life.shutdown("test");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    assert_eq!(said.load(SeqCst), 3);
}

/// Waits on the clock of the machine, for tests that have paused tokio's.
async fn until_really(what: &str, mut is: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + embedded::BOUND;
    while !is() {
        assert!(std::time::Instant::now() < end, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_not_spent_by_a_clock_that_leaps() {
    let life = begin();
    let gate = Gate::new(());
    let enrol = life.participate("db").budget(BUDGET);
    enrol.drains(gate.clone()).expect("a pool");
    life.ready();
    until_really("Running", || life.phase() == Phase::Running).await;
    let out = gate
        .blocking_lend(|()| Ok::<_, Infallible>(()))
        .expect("open");
    life.shutdown("test");
    until_really("its turn", || {
        gate.blocking_lend(|()| Ok::<_, Infallible>(())).is_err()
    })
    .await;
    tokio::time::sleep(2 * BUDGET).await;
    drop(out);
    until_really("the end", || life.report().is_some()).await;
    let report = life.report().expect("over");
    assert_eq!(*state(report, "db"), ParticipantState::Done);
}

#[test]
#[should_panic = "time"]
fn a_runtime_without_time_is_refused_at_enrolment() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let life = begin();
    runtime.expect("a runtime").block_on(async {
        let _ = life.participate("db").drains(Gate::new(()));
    });
}

#[tokio::test]
async fn a_pool_enrols_as_others_do_and_has_a_budget() {
    let life = begin();
    let gate = Gate::new(());
    life.participate("db").drains(gate.clone()).expect("a pool");
    let taken = life.participate("db").drains(Gate::new(()));
    assert!(
        matches!(taken, Err(EnrolError::NameTaken { .. })),
        "{taken:?}"
    );
    running(&life).await;
    life.shutdown("test");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    let late = life.participate("late").drains(Gate::new(()));
    assert!(matches!(late, Err(EnrolError::TooLate { .. })), "{late:?}");
    let report = life.report().expect("over");
    assert_eq!(report.participants.len(), 1);
    assert_eq!(report.participants[0].budget, Some(lending::BUDGET));
}

/// A panic in one step: the pool is led through the others, named, and what it depends on ends well.
async fn fails_alone(panics_in: &str) {
    let life = begin();
    let below = life.worker("below", |stop| async move { stop.closing().await });
    let below = below.expect("a worker");
    let (stopped, closed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (stops, closes) = (Arc::clone(&stopped), Arc::clone(&closed));
    let panics = |call: &str| {
        let panics = call == panics_in;
        move || assert!(!panics, "on purpose")
    };
    let (begins, counts) = (panics("drain_began"), panics("counts"));
    let (stop, close) = (panics("stop_lending"), panics("close_idle"));
    let lending = Lending::counted(move || {
        counts();
        Counts::default()
    })
    .drain_began(begins)
    .stop_lending(move || {
        stops.store(true, SeqCst);
        stop();
    })
    .close_idle(move || {
        closes.store(true, SeqCst);
        close();
        std::future::ready(())
    });
    let enrol = life.participate("db").after(&below);
    enrol.drains(lending).expect("a pool");
    running(&life).await;
    life.shutdown("test");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Failed);
    let report = life.report().expect("over");
    let begins = format!("`{panics_in}` panicked; ");
    let why = why(report, "db");
    assert!(why.starts_with(&begins), "{why}");
    assert!(stopped.load(SeqCst) && closed.load(SeqCst), "{panics_in}");
    assert_eq!(*state(report, "below"), ParticipantState::Done);
}

#[tokio::test]
async fn a_pool_that_panics_is_emptied_and_named_and_nothing_else_fails() {
    for call in ["drain_began", "stop_lending", "close_idle", "counts"] {
        fails_alone(call).await;
    }
}

/// A pool that remembers what it was told.
#[derive(Default)]
struct Told {
    drain_began: AtomicBool,
    stopped: AtomicBool,
}

struct Remembers(Arc<Told>);

impl Pool for Remembers {
    fn drain_began(&self) {
        self.0.drain_began.store(true, SeqCst);
    }

    fn stop_lending(&self) {
        assert!(self.0.drain_began.load(SeqCst), "first");
        self.0.stopped.store(true, SeqCst);
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }
}

#[tokio::test]
async fn a_service_that_never_ran_empties_its_pools_too() {
    let life = begin();
    let told = Arc::new(Told::default());
    let enrol = life.participate("db");
    enrol.drains(Remembers(Arc::clone(&told))).expect("a pool");
    life.start_failed("on purpose");
    assert_eq!(
        within("the end", life.outcome()).await,
        Outcome::StartFailed
    );
    assert!(told.stopped.load(SeqCst));
}

#[tokio::test]
async fn a_drain_that_ends_before_its_turn_stops_the_lending_all_the_same() {
    let plan = Plan::preset(Preset::Systemd)
        .with_window(Window::NONE)
        .expect("no window")
        .with_grace(Duration::from_secs(3))
        .expect("a plan that can be kept");
    let life = Lifecycle::embedded(plan).expect("a driver");
    let told = Arc::new(Told::default());
    let enrol = life.participate("db");
    let db = enrol.drains(Remembers(Arc::clone(&told))).expect("a pool");
    let user = life.participate("user").after(&db).register();
    let user = user.expect("a participant");
    user.ready();
    running(&life).await;
    life.shutdown("test");
    let outcome = within("the end", life.outcome()).await;
    assert_eq!(outcome, Outcome::Forced { code: None });
    until("the end of lending", || told.stopped.load(SeqCst)).await;
    drop(user);
}

#[tokio::test]
async fn a_cut_before_its_turn_ends_the_lending() {
    let life = begin();
    let (told, gate) = (Arc::new(Told::default()), Gate::new(()));
    let enrol = life.participate("db");
    let db = enrol.drains(Remembers(Arc::clone(&told))).expect("a pool");
    life.participate("gate")
        .drains(gate.clone())
        .expect("a pool");
    let user = life.participate("user").after(&db).register();
    let user = user.expect("a participant");
    user.ready();
    running(&life).await;
    life.cut();
    let outcome = within("the end", life.outcome()).await;
    assert!(matches!(outcome, Outcome::Cut(_)), "{outcome:?}");
    until("the end of lending", || told.stopped.load(SeqCst)).await;
    until("the end of the gate", || {
        gate.blocking_lend(|()| Ok::<_, Infallible>(())).is_err()
    })
    .await;
    drop(user);
}

#[tokio::test]
async fn a_cut_during_its_turn_ends_its_task() {
    // Its time is beyond every wait here: what ends it is the cut.
    let plan = Plan::preset(Preset::Systemd)
        .with_window(Window::NONE)
        .expect("no window")
        .with_grace(6 * embedded::BOUND)
        .expect("a plan that can be kept");
    let life = Lifecycle::embedded(plan).expect("a driver");
    let gate = Gate::new(());
    let enrol = life.participate("db").budget(3 * embedded::BOUND);
    enrol.drains(gate.clone()).expect("a pool");
    running(&life).await;
    let leaked = lend(&gate).await.expect("running");
    let tasks = || {
        let tasks = life.inflight().tasks.snapshot(8).expect("nobody holds it");
        tasks.tasks.len()
    };
    assert_eq!(tasks(), 1);
    life.shutdown("test");
    until("its turn", || {
        gate.blocking_lend(|()| Ok::<_, Infallible>(())).is_err()
    })
    .await;
    life.cut();
    let outcome = within("the end", life.outcome()).await;
    assert!(matches!(outcome, Outcome::Cut(_)), "{outcome:?}");
    until("the end of its task", || tasks() == 0).await;
    drop(leaked);
}
