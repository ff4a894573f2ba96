//! The handles against the real driver thread: guards, participants, workers, hooks, futures.
//!
//! Every wait is for an event, with a bound. Nothing here reads the clock to decide.

#[path = "support/embedded.rs"]
mod embedded;

use std::{
    pin::pin,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use embedded::{BOUND, begin, running, within};
use lameduck::{
    Cause, CutBy, EnrolError, HookState, Lifecycle, Outcome, Participant, ParticipantState, Phase,
    Scope, Why, inflight::Cancellation,
};

fn order() -> (Arc<Mutex<Vec<&'static str>>>, impl Fn(&'static str) + Clone) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&order);
    (order, move |what| {
        write.lock().expect("no writer panics").push(what);
    })
}

#[tokio::test]
async fn inv_5_a_guard_keeps_draining_until_it_is_dropped() {
    let life = begin();
    running(&life).await;
    let guard = life.enter().expect("the gate is open");
    life.shutdown("test");
    within("the drain", life.drain().drained()).await;
    // The connections are gone; the gate of the guards closes next, and then nobody enters any more.
    within("the closed gate", async {
        while life.enter().is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(life.phase(), Phase::Draining, "INV-5");
    assert!(life.report().is_none());
    drop(guard);
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    assert_eq!(life.phase(), Phase::Stopped);
}

#[tokio::test]
async fn inv_10_workers_finish_and_hooks_run_in_reverse_order() {
    let life = begin();
    let (order, write) = order();
    let ended = write.clone();
    let outbox = life.worker("outbox", |stop| async move {
        stop.closing().await;
        ended("outbox ended");
    });
    let outbox = outbox.expect("a worker");
    let ended = write.clone();
    let server = life
        .participate("server")
        .after(&outbox)
        .register()
        .expect("a participant");
    let hook = write.clone();
    outbox.on_stop(async move || {
        hook("outbox hook");
        Ok::<(), std::io::Error>(())
    });
    let hook = write.clone();
    server.on_stop(move || {
        hook("server hook");
        Ok::<(), std::io::Error>(())
    });
    server.ready();
    running(&life).await;
    life.shutdown("test");
    within("the server's turn", server.closing()).await;
    ended("server ended");
    server.done();
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    let order = order.lock().expect("no writer panics").clone();
    let expected = ["server ended", "outbox ended", "server hook", "outbox hook"];
    assert_eq!(order, expected);
}

#[tokio::test]
async fn a_hook_that_panics_is_a_failure_and_is_reported() {
    let life = begin();
    let db = life.participate("db").register().expect("a participant");
    db.on_stop(|| -> Result<(), std::io::Error> { panic!("on purpose") });
    db.ready();
    running(&life).await;
    life.shutdown("test");
    within("its turn", db.closing()).await;
    db.done();
    assert_eq!(within("the end", life.outcome()).await, Outcome::Failed);
    let report = life.report().expect("it is over");
    let hook = report.participants[0].hook.as_ref().expect("it has one");
    assert!(matches!(&hook.state, HookState::Failed { why } if why == "panicked"));
}

#[tokio::test]
async fn a_worker_that_panics_ends_the_service() {
    let life = begin();
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let worker = life.worker("outbox", |_stop| async move {
        wait.await.expect("told to go");
        panic!("on purpose");
    });
    let _worker = worker.expect("a worker");
    running(&life).await;
    go.send(()).expect("it listens");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Failed);
    assert!(matches!(
        life.cause(),
        Some(Cause::ParticipantFailed { name, .. }) if name == "outbox"
    ));
}

/// INV-8: every public future is polled once, so that it has left a waker behind, and dropped.
#[tokio::test]
async fn inv_8_dropping_a_future_changes_nothing() {
    let life = begin();
    let member = life
        .participate("member")
        .register()
        .expect("a participant");
    {
        let mut context = Context::from_waker(Waker::noop());
        let drain = life.drain();
        let mut running = pin!(life.running());
        let mut outcome = pin!(life.outcome());
        assert_eq!(running.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(outcome.as_mut().poll(&mut context), Poll::Pending);
        for mut fired in [
            drain.steering(),
            drain.closing(),
            drain.ending(),
            drain.drained(),
            member.closing(),
            member.asked_again(),
        ] {
            assert!(pin!(&mut fired).poll(&mut context).is_pending());
        }
    }
    assert_eq!(life.phase(), Phase::Initializing);
    member.ready();
    running(&life).await;
    drop(life.outcome());
    drop(life.drain().closing());
    assert_eq!(life.phase(), Phase::Running, "INV-8");
    life.shutdown("test");
    within("its turn", member.closing()).await;
    member.done();
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
}

#[tokio::test]
async fn a_listener_opens_before_running_is_seen() {
    let life = begin();
    let seen = Arc::new(AtomicU8::new(u8::MAX));
    let (watched, write) = (life.clone(), Arc::clone(&seen));
    let server = life
        .participate("server")
        .listener(move || {
            // Release: pairs with the acquire load below.
            write.store(watched.phase() as u8, Ordering::Release);
            Ok(())
        })
        .register()
        .expect("a participant");
    server.ready();
    running(&life).await;
    // Acquire: pairs with the release store above.
    assert_eq!(seen.load(Ordering::Acquire), Phase::Initializing as u8);
    life.cut();
    let outcome = within("the cut", life.outcome()).await;
    assert_eq!(outcome, Outcome::Cut(CutBy::Api));
    server.done();
}

#[tokio::test]
async fn names_are_taken_once_and_enrolment_ends_with_the_request() {
    let life = begin();
    let db = life.participate("db").register().expect("a participant");
    let again = life.participate("db").register();
    assert!(matches!(again, Err(EnrolError::NameTaken { name }) if name == "db"));
    db.ready();
    running(&life).await;
    life.shutdown("test");
    within("the request", life.drain().steering()).await;
    let late = life.participate("late").register();
    assert!(matches!(late, Err(EnrolError::TooLate { .. })), "{late:?}");
    within("its turn", db.closing()).await;
    db.done();
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
}

#[tokio::test]
async fn the_report_says_what_happened() {
    let life = begin();
    let db = life.participate("db").register().expect("a participant");
    db.ready();
    running(&life).await;
    life.note("a line");
    life.shutdown("deploy");
    within("its turn", db.closing()).await;
    db.failed("no space left");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Failed);
    let report = life.report().expect("it is over");
    assert!(matches!(&report.cause, Some(Cause::Api { why }) if why == "deploy"));
    let phases: Vec<Phase> = report.phases.iter().map(|one| one.phase).collect();
    assert_eq!(phases, Phase::ALL);
    assert!(report.events.iter().any(|event| event.what == "a line"));
    assert!(matches!(
        &report.participants[0].state,
        ParticipantState::Failed { why } if why == "no space left"
    ));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
    assert_eq!(json["outcome"], "failed");
    assert_eq!(json["exit"]["code"], 1);
}

/// `wait` needs no runtime: a plain thread hears of the end.
#[test]
fn waiting_without_a_runtime() {
    let life = begin();
    let (said, heard) = mpsc::channel();
    let waiting = life.clone();
    std::thread::spawn(move || said.send(waiting.wait()));
    life.start_failed("no database");
    assert_eq!(heard.recv_timeout(BOUND), Ok(Outcome::StartFailed));
    assert_eq!(life.wait(), Outcome::StartFailed);
}

#[tokio::test]
async fn a_last_word_is_waited_for_and_not_for_long() {
    let life = begin();
    running(&life).await;
    let said = life.epilogue();
    let begun = said.begun();
    life.shutdown("test");
    assert_eq!(within("the outcome", begun).await, Outcome::Drained);
    assert_eq!(life.phase(), Phase::Stopped);
    assert!(life.report().is_none(), "the end waits for the last word");
    drop(said);
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);

    let life = begin();
    running(&life).await;
    // Never dropped: the driver's patience is what ends it.
    std::mem::forget(life.epilogue());
    life.shutdown("test");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
}

#[tokio::test]
async fn a_cut_waits_for_no_last_word() {
    let life = begin();
    running(&life).await;
    let said = life.epilogue();
    let begun = said.begun();
    life.cut();
    assert_eq!(
        within("the end", life.outcome()).await,
        Outcome::Cut(CutBy::Api)
    );
    let unsaid = tokio::time::timeout(Duration::ZERO, begun).await;
    assert!(unsaid.is_err(), "nobody is asked");
}

#[tokio::test]
async fn a_reload_is_asked_for_by_the_program_and_refused_while_leaving() {
    let life = begin();
    let (asked, reloads) = mpsc::channel();
    life.on_reload("config", move || {
        asked.send(()).expect("the test listens");
        Ok::<(), std::io::Error>(())
    });
    running(&life).await;
    life.reload();
    let heard = tokio::task::spawn_blocking(move || {
        let first = reloads.recv_timeout(BOUND);
        (first, reloads)
    });
    let (first, reloads) = within("the reload", heard).await.expect("no panic");
    first.expect("reloaded");
    let guard = life.enter().expect("open");
    life.shutdown("test");
    within("the request", life.drain().steering()).await;
    life.reload();
    let noted = |now: &serde_json::Value| {
        let notes = now["notes"].as_array().into_iter().flatten();
        let mut said = notes.filter_map(|note| note["what"].as_str());
        said.any(|what| what.starts_with("a reload was refused in "))
    };
    status(&life, noted).await;
    drop(guard);
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    assert!(reloads.try_recv().is_err(), "refused");
}

/// What a status says; it is the driver's picture, renewed after each turn.
async fn status(
    life: &Lifecycle,
    wanted: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    within("the status", async {
        loop {
            let status = serde_json::from_str(&life.status().to_json()).expect("JSON");
            if wanted(&status) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn who_works_for_a_participant_hears_that_it_was_given_up_and_by_which_request() {
    let life = begin();
    let db = life.participate("db").register().expect("taken");
    let outbox = life.participate("outbox").after(&db);
    let outbox = outbox.budget(Duration::from_millis(20)).register();
    let outbox = outbox.expect("taken");
    db.ready();
    outbox.ready();
    running(&life).await;
    let [flush, query] = [&outbox, &db].map(|one| one.cancellation().child("part"));
    life.shutdown("deploy");
    // It says nothing, and its budget ends first.
    let cancelled = within("the end of a budget", flush.cancelled()).await;
    assert_eq!(cancelled.scope(), &Scope::Participant("outbox".into()));
    assert_eq!(cancelled.why(), &Why::Overdue);
    let cause = cancelled.cause().expect("somebody asked").to_string();
    assert!(cause.contains("deploy"), "{cause}");
    // Nobody waits for it any longer; what it depends on goes on.
    assert!(!query.is_cancelled() && !life.cancellation().is_cancelled());
    db.done();
    let cancelled = within("the end of db", query.cancelled()).await;
    assert_eq!(cancelled.scope(), &Scope::Participant("db".into()));
    assert_eq!(cancelled.why(), &Why::Ended);
    let outcome = within("the end", life.outcome()).await;
    assert!(matches!(outcome, Outcome::Forced { .. }), "{outcome}");
    assert_eq!(
        flush.cancelled_by().map(|one| one.why().clone()),
        Some(Why::Overdue)
    );
    assert_eq!(
        within("at once", life.cancellation().cancelled())
            .await
            .why(),
        &Why::Ended
    );
}

/// Holds up whoever wakes it, until the gate is open; what is not opened within the bound is noted, and waited for once.
#[derive(Default)]
struct Gate {
    open: (Mutex<bool>, Condvar),
    held_up: AtomicBool,
}

impl Gate {
    fn open(&self) {
        *self.open.0.lock().expect("nobody panics with it") = true;
        self.open.1.notify_all();
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        if self.held_up.load(Ordering::Relaxed) {
            return;
        }
        let open = self.open.0.lock().expect("nobody panics with it");
        let waited = self.open.1.wait_timeout_while(open, BOUND, |open| !*open);
        if waited.expect("nobody panics with it").1.timed_out() {
            self.held_up.store(true, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn thousands_that_a_cancellation_wakes_hold_up_neither_the_driver_nor_the_end() {
    let of: [fn(&Lifecycle, &Participant) -> Cancellation; 2] = [
        |_, server| server.cancellation(),
        |life, _| life.cancellation(),
    ];
    for of in of {
        let life = begin();
        let server = life.participate("server").register().expect("taken");
        server.ready();
        running(&life).await;
        let gate = Arc::new(Gate::default());
        let waker = Waker::from(Arc::clone(&gate));
        let mut waiting: Vec<_> = (0..1_000)
            .map(|_| Box::pin(of(&life, &server).cancelled()))
            .collect();
        for one in &mut waiting {
            let polled = one.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        let cancellation = of(&life, &server);
        life.shutdown("test");
        server.done();
        assert_eq!(life.wait(), Outcome::Drained);
        assert!(cancellation.is_cancelled(), "said before it is over");
        gate.open();
        assert!(!gate.held_up.load(Ordering::Relaxed));
    }
}

#[tokio::test]
async fn a_status_says_who_holds_the_exit() {
    let life = begin();
    let pool = life.participate("pool").register().expect("taken");
    let outbox = life
        .participate("outbox")
        .after(&pool)
        .budget(Duration::from_secs(9))
        .register()
        .expect("taken");
    pool.ready();
    let starting = status(&life, |now| {
        now["participants"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    })
    .await;
    assert_eq!(starting["phase"], "Initializing");
    assert_eq!(starting["participants"][1]["after"][0], "pool");
    assert!(life.status().holds().is_none());
    outbox.ready();
    running(&life).await;
    let slot = life
        .inflight()
        .slots
        .claim(Some("192.0.2.7:4711".parse().expect("an address")));
    slot.speaks(lameduck::inflight::Protocol::Http2);
    slot.begin("GET", "/slow?secret=1", life.elapsed());
    let pass = life.inflight().connections.enter().expect("open");
    life.shutdown("a \"test\"");
    let draining = status(&life, |now| now["phase"] == "Draining").await;
    assert_eq!(draining["schema"], "lameduck.status/1");
    assert_eq!(draining["in_flight"]["protocols"]["http/2"], 1);
    let request = &draining["in_flight"]["requests"][0];
    assert_eq!(
        (&request["path"], &request["peer"]),
        (&"/slow".into(), &"192.0.2.7:4711".into())
    );
    let holds = draining["holds"].as_str().expect("a sentence");
    assert!(
        holds.starts_with("The exit waits for 1 request (GET /slow from 192.0.2.7:4711, "),
        "{holds}"
    );
    assert!(
        holds.contains("participant pool") || holds.contains("participant outbox"),
        "{holds}"
    );
    assert_eq!(draining["participants"][1]["budget_ms"], 9_000.0);
    assert_eq!(draining["phases"][1]["phase"], "Running");
    slot.idle();
    drop(pass);
    // Nobody depends on it any more: its budget runs.
    let asked = status(&life, |now| now["participants"][1]["used_ms"].is_number()).await;
    assert!(
        asked["participants"][1]["due_in_ms"]
            .as_f64()
            .expect("a number")
            <= 9_000.0
    );
    assert!(asked["participants"][0]["used_ms"].is_null(), "{asked:#}");
    outbox.done();
    pool.done();
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
}
