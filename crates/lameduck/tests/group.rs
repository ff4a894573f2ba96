//! Groups over a Unix socket: what every carrier owes, then what only this one can promise.

#[path = "group/suite.rs"]
mod suite;

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use lameduck::group::{
    Borne, Carrier, Claim, Group, Heard, Identity, Link, Rules, SlotHost, Turn, UnixCarrier, Word,
};
use lameduck::{Lifecycle, Outcome, Phase, Plan, Preset, Window};
use suite::{BOUND, asks, member, slot, within};
use tokio::task::JoinHandle;

/// A directory of its own, with the host of a group.
struct Ground {
    directory: PathBuf,
    host: Option<JoinHandle<()>>,
}

impl Ground {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lameduck-group-{}-{nth}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        // Whatever the umask.
        let own = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&directory, own).expect("ours");
        Self {
            directory,
            host: None,
        }
    }

    fn with_host(rules: &str) -> (Self, Arc<dyn Carrier>) {
        let mut ground = Self::new();
        ground.start(rules, Duration::ZERO);
        let carrier = Arc::new(UnixCarrier::new(ground.path()));
        (ground, carrier)
    }

    fn path(&self) -> PathBuf {
        self.directory.join("slots.sock")
    }

    fn bind(&self, rules: &str) -> std::io::Result<SlotHost> {
        SlotHost::bind(self.path(), rules.parse::<Rules>().expect("rules"))
    }

    fn start(&mut self, rules: &str, settling: Duration) {
        let host = self
            .bind(rules)
            .expect("nobody else is host")
            .settling(settling);
        self.host = Some(tokio::spawn(host.serve()));
    }

    async fn stop(&mut self) {
        if let Some(host) = self.host.take() {
            host.abort();
            let _ = host.await;
        }
    }

    /// A connection that says this, and all that it is told.
    fn says(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.path()).expect("the host is there");
        stream.set_read_timeout(Some(BOUND)).expect("a bound");
        stream.write_all(line.as_bytes()).expect("it is read");
        let mut told = String::new();
        stream.read_to_string(&mut told).expect("the host closes");
        told
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

macro_rules! owed {
    ($($test:ident: $rules:literal;)*) => {$(
        #[tokio::test]
        async fn $test() {
            let (_ground, carrier) = Ground::with_host($rules);
            suite::$test(carrier).await;
        }
    )*};
}

owed! {
    slots_go_round_in_order: "1";
    who_runs_out_leaves_alone_and_counts: "1";
    a_wish_that_is_dropped_is_none: "1";
    the_longer_wish_waits_on: "1";
    a_dead_members_slot_is_free: "1";
    zones_do_not_wait_for_each_other: "1 in each zone";
    missing_members_hold_up_the_rest: "1 of 3";
    work_is_handed_over: "2";
    work_that_nobody_takes_is_left: "1";
    work_that_came_back_is_offered_again: "1";
    many_go_by_and_by: "3";
    no_more_have_a_slot_than_may: "2";
}

#[tokio::test]
async fn who_is_cut_off_leaves_alone_and_not_late() {
    let (mut ground, carrier) = Ground::with_host("1");
    let a = member(&carrier, "a", "").await;
    ground.stop().await;
    let turn = within("the end of its time", a.turn(Duration::from_millis(200))).await;
    let Turn::Alone { why } = turn else {
        panic!("{turn:?}")
    };
    assert!(
        why.contains("slots.sock") || why.contains("the host is gone"),
        "{why}"
    );
    assert!(a.cut_off().is_some());
}

#[tokio::test]
async fn the_next_host_knows_what_the_last_one_lent() {
    let (mut ground, carrier) = Ground::with_host("1");
    let [a, b, c] = [
        member(&carrier, "a", "").await,
        member(&carrier, "b", "").await,
        member(&carrier, "c", "").await,
    ];
    let held = within("the only wish", slot(&a)).await;
    let second = asks(&b).await;
    ground.stop().await;
    for group in [&a, &b, &c] {
        within("the news", group.lost()).await;
    }
    ground.start("1", Duration::from_secs(4));
    for group in [&a, &b, &c] {
        within("the way back", group.joined()).await;
    }
    let third = asks(&c).await;
    assert_eq!(within("its place", c.waiting()).await, 1, "b is before it");
    assert!(
        !second.is_finished() && !third.is_finished(),
        "a holds the slot"
    );
    drop(held);
    let held = within("who asked before", second).await.expect("it runs");
    assert!(!third.is_finished());
    drop(held);
    let _slot = within("who asked last", third).await.expect("it runs");
}

/// The lifecycle of a member that waits for its turn with a minute in view.
async fn living(carrier: &Arc<dyn Carrier>, name: &str) -> (Lifecycle, Group) {
    let plan = Plan::preset(Preset::Systemd).with_window(Window::NONE);
    let life = Lifecycle::embedded(plan.expect("a plan")).expect("a driver");
    let group = member(carrier, name, "").await;
    life.leave_in_turn(group.clone(), None)
        .expect("nobody else gives turns");
    assert_eq!(
        life.leave_in_turn(group.clone(), None)
            .map_err(|taken| taken.to_string().contains("already")),
        Err(true)
    );
    life.ready();
    assert!(within("Running", life.running()).await);
    (life, group)
}

#[tokio::test]
async fn lifecycles_leave_one_after_the_other() {
    let (_ground, carrier) = Ground::with_host("1");
    let (first, first_group) = living(&carrier, "first").await;
    let (second, second_group) = living(&carrier, "second").await;
    let work = first.enter().expect("it runs");
    first.shutdown("a new version");
    within("the drain", first.drain().closing()).await;
    second.shutdown("a new version");
    assert_eq!(within("its place", second_group.waiting()).await, 0);
    assert_eq!(second.phase(), Phase::Running, "the first has not left");
    // Taken back, and asked for once more.
    within("an answer", second.cancel("not yet"))
        .await
        .expect("nothing has begun");
    second.shutdown("a new version");
    assert_eq!(within("its place", second_group.waiting()).await, 0);
    drop((work, first_group, second_group));
    for life in [first, second] {
        assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
        let report = life.report().expect("it is over").to_json();
        assert!(report.contains("the group lent a slot"), "{report}");
    }
}

#[tokio::test]
async fn a_lifecycle_that_failed_is_unavailable() {
    let (_ground, carrier) = Ground::with_host("1");
    let (failed, group) = living(&carrier, "failed").await;
    let other = member(&carrier, "other", "").await;
    let worker = failed
        .participate("worker")
        .register()
        .expect("a name of its own");
    let work = failed.enter().expect("it runs");
    worker.failed("on purpose");
    within("the drain", failed.drain().closing()).await;
    // Answered by the group, so that what was said before is known.
    within(
        "the end of its time",
        group.hand_over(["p".to_owned()], Duration::from_millis(300)),
    )
    .await;
    let none = within(
        "the end of its time",
        other.turn(Duration::from_millis(200)),
    )
    .await;
    assert!(matches!(none, Turn::RanOut { .. }), "{none:?}");
    other.serves();
    drop(work);
    let _ = within("the end", failed.outcome()).await;
    let _slot = within("what it took", slot(&other)).await;
}

#[tokio::test]
async fn a_lifecycle_that_is_cut_gives_its_slot_back() {
    let (_ground, carrier) = Ground::with_host("1");
    let (cut, group) = living(&carrier, "cut").await;
    let other = member(&carrier, "other", "").await;
    let work = cut.enter().expect("it runs");
    cut.shutdown("a new version");
    within("the drain", cut.drain().closing()).await;
    // The process goes on: only the lifecycle is over.
    cut.cut();
    let _ = within("the end", cut.outcome()).await;
    drop((work, group));
    let _slot = within("what it had", slot(&other)).await;
}

/// A group of one that lends at once, and takes its time to take back.
#[derive(Clone, Debug, Default)]
struct Slow {
    has_left: Arc<AtomicBool>,
    granted: Option<u64>,
}

impl Carrier for Slow {
    fn join<'a>(&'a self, _: &'a Identity, _: Claim) -> Borne<'a, Box<dyn Link>> {
        let link: Box<dyn Link> = Box::new(self.clone());
        Box::pin(async { Ok(link) })
    }
}

impl Link for Slow {
    fn say(&mut self, word: Word) -> Borne<'_, ()> {
        if let Word::Ask { wish } = word {
            self.granted = Some(wish);
        }
        Box::pin(async { Ok(()) })
    }

    fn hear(&mut self) -> Borne<'_, Heard> {
        Box::pin(async {
            match self.granted.take() {
                Some(wish) => Ok(Heard::Granted { wish }),
                None => std::future::pending().await,
            }
        })
    }

    fn leave(self: Box<Self>) -> Borne<'static, ()> {
        Box::pin(async move {
            // Longer than a writer is waited for, shorter than a group is.
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.has_left.store(true, Ordering::SeqCst);
            Ok(())
        })
    }
}

#[tokio::test]
async fn the_end_waits_until_the_group_has_the_slot_back() {
    let slow = Slow::default();
    let has_left = Arc::clone(&slow.has_left);
    let carrier: Arc<dyn Carrier> = Arc::new(slow);
    let (life, group) = living(&carrier, "slow").await;
    drop(group);
    life.shutdown("a new version");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    assert!(has_left.load(Ordering::SeqCst), "the slot is still lent");
}

#[tokio::test]
async fn a_path_has_one_host() {
    let (mut ground, _) = Ground::with_host("1");
    let mode = std::fs::metadata(ground.path())
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = ground.bind("1").expect_err("there is one");
    assert_eq!(second.kind(), ErrorKind::AddrInUse);
    ground.stop().await;
    assert!(!ground.path().exists(), "it is unlinked");
    // What one left that was killed.
    drop(std::os::unix::net::UnixListener::bind(ground.path()).expect("a socket"));
    drop(ground.bind("1").expect("nobody holds its lock"));
    std::fs::write(ground.path(), "precious").expect("a file");
    let file = ground.bind("1").expect_err("no socket");
    assert_eq!(file.kind(), ErrorKind::AlreadyExists);
    std::fs::remove_file(ground.path()).expect("ours");
    for (mode, refused) in [
        (0o777, true),
        (0o770, true),
        (0o1777, false),
        (0o755, false),
    ] {
        let open = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&ground.directory, open).expect("ours");
        let kind = ground.bind("1").map_err(|error| error.kind()).err();
        let denied = refused.then_some(ErrorKind::PermissionDenied);
        assert_eq!(kind, denied, "{mode:o}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_strange_peer_is_told_and_disturbs_nobody() {
    let (ground, carrier) = Ground::with_host("1");
    let a = member(&carrier, "a", "").await;
    let joins = |id: &str| format!("{{\"type\":\"join\",\"v\":1,\"id\":\"{id}\"}}\n");
    let ground = Arc::new(ground);
    let says = |line: String| {
        let ground = Arc::clone(&ground);
        async move {
            tokio::task::spawn_blocking(move || ground.says(&line))
                .await
                .expect("it ends")
        }
    };
    for (line, told) in [
        (
            "GET / HTTP/1.1\r\n".to_owned(),
            "the first line is no `join`",
        ),
        (joins("a"), "another member has this name"),
        (joins("a b"), "the first line is no `join`"),
        (
            "{\"type\":\"join\",\"v\":2,\"id\":\"z\"}\n".to_owned(),
            "version 2 is not spoken here",
        ),
        (joins("z") + "{\"type\":\"dance\"}\n", "a line is no word"),
        (joins("z") + &joins("z"), "it joined twice"),
        (joins("z") + &"x".repeat(100 << 10), ""),
    ] {
        let said = within("the end", says(line.clone())).await;
        assert!(said.contains(told), "{line:.60}: {said}");
    }
    let _slot = within("the slot", slot(&a)).await;
}
