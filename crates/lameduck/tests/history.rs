//! Budgets that learn, as a program has them; and a history whose writer is killed.
//!
//! A child is this test's own binary; the variable `BODY` names the history that it writes.
#![cfg(all(feature = "serde", target_os = "linux"))]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use lameduck::{
    History, LearnedBy, Lifecycle, Outcome, Plan, Preset, Report, Window,
    wire::{History as Written, Shutdown},
};

/// Set in a child: the file that it writes.
const BODY: &str = "LAMEDUCK_TEST_HISTORY_CHILD";

#[used]
#[unsafe(link_section = ".init_array")]
static CHILD: extern "C" fn() = write_if_child;

/// A directory of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lameduck-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a fresh directory");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("api.json")
    }

    fn written(&self) -> Written {
        let text = fs::read_to_string(self.file()).expect("written");
        Written::read(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What `db` does when it is told to finish.
#[derive(Clone, Copy)]
enum Db {
    Done,
    Silent,
    Fails,
}

/// One life with a participant of this base budget: its report.
fn life(history: &History, base: Duration, db: Db) -> Report {
    let plan = Plan::preset(Preset::Docker)
        .with_window(Window::NONE)
        .expect("a plan");
    let life = Lifecycle::embedded(plan).expect("a driver");
    life.history(history.clone());
    let participant = life.participate("db").budget(base).register();
    let participant = participant.expect("the first one");
    let without = life.participate("server").register().expect("the second");
    participant.ready();
    without.ready();
    life.ready();
    life.shutdown("the test is over");
    without.done();
    // Held until the end where it says nothing.
    let silent = match db {
        Db::Done => {
            participant.done();
            None
        }
        Db::Fails => {
            participant.failed("no disk");
            None
        }
        Db::Silent => Some(participant),
    };
    let _ = life.wait();
    drop(silent);
    life.report().expect("it is over").clone()
}

fn events(report: &Report) -> Vec<&str> {
    let events = report.events.iter();
    events.map(|event| event.what.as_str()).collect()
}

#[test]
fn a_budget_that_was_too_short_is_longer_the_next_time_and_the_report_says_why() {
    let dir = Scratch::new("history-learns");
    let history = History::file(dir.file());
    // Long enough that a busy machine does not make an answer late.
    let base = ms(600);
    let steps = [
        (Db::Silent, 600, LearnedBy::Base),
        (Db::Silent, 900, LearnedBy::Overdue),
        (Db::Done, 1_350, LearnedBy::Overdue),
        (Db::Fails, 1_350, LearnedBy::Overdue),
    ];
    for (db, millis, by) in steps {
        let report = life(&history, base, db);
        let [db, server] = &report.participants[..] else {
            panic!("{report:?}");
        };
        let learned = db.learned.expect("there is a history");
        assert_eq!(learned.base, base);
        assert_eq!(learned.budget, ms(millis));
        assert_eq!(learned.by, by);
        assert_eq!(db.budget, Some(learned.budget));
        assert_eq!(server.learned, None, "it has until the drain's end");
        let complaints = events(&report)
            .into_iter()
            .filter(|what| what.contains("histor"));
        assert_eq!(complaints.count(), 0, "{report:?}");
        let read = Shutdown::find(&report.to_json()).expect("a report");
        assert_eq!(read.participants[0].budget_base_ms, Some(600.0));
        assert_eq!(read.participants[0].budget_by.as_deref(), Some(by.as_str()));
        assert_eq!(read.participants[1].budget_by, None);
    }
    let written = dir.written();
    let of = |name: &str| {
        let mut all = written.participants.iter();
        all.find(|one| one.name == name).expect("remembered")
    };
    let db = &of("db").shutdowns;
    let ended: Vec<_> = db.iter().map(|one| one.ended.as_str()).collect();
    assert_eq!(ended, ["overdue", "overdue", "done", "failed"]);
    assert_eq!(db[2].budget_ms, Some(1_350.0));
    assert_eq!(of("server").shutdowns.len(), 4);
    assert_eq!(of("server").shutdowns[0].base_ms, None);
    let next = of("db").next(written.drain_end_ms).expect("it has a base");
    assert_eq!((next.budget, next.overdue), (ms(900), 1));
}

#[test]
fn without_a_history_nothing_is_learned_and_nothing_said() {
    let plan = Plan::preset(Preset::Docker)
        .with_window(Window::NONE)
        .expect("a plan");
    let life = Lifecycle::embedded(plan).expect("a driver");
    let db = life.participate("db").budget(ms(600)).register();
    let db = db.expect("the first one");
    assert_eq!(db.budget(), Some(ms(600)));
    db.ready();
    life.ready();
    life.shutdown("the test is over");
    db.done();
    assert_eq!(life.wait(), Outcome::Drained);
    let report = life.report().expect("it is over");
    assert_eq!(report.participants[0].learned, None);
    assert!(!report.to_json().contains("budget_base_ms"));
}

#[test]
fn a_history_that_cannot_be_used_is_one_line_and_no_reason_not_to_serve() {
    let dir = Scratch::new("history-unusable");
    let report = life(
        &History::file(dir.0.join("none/api.json")),
        ms(600),
        Db::Done,
    );
    assert_eq!(report.outcome, Outcome::Drained);
    let [said] = events(&report)[..] else {
        panic!("{report:?}");
    };
    assert!(said.contains("budgets do not learn"), "{said}");
    assert_eq!(report.participants[0].learned, None);

    fs::write(dir.file(), "{\"schema\":\"lameduck.history/1\",\"part").expect("written");
    let report = life(&History::file(dir.file()), ms(600), Db::Done);
    assert_eq!(report.outcome, Outcome::Drained);
    let [said] = events(&report)[..] else {
        panic!("{report:?}");
    };
    assert!(said.contains("set aside as"), "{said}");
    assert_eq!(dir.written().participants.len(), 2, "it learns anew");
    assert!(dir.0.join("api.json.broken.1").exists());
}

#[test]
fn of_two_lifecycles_one_has_the_history() {
    let dir = Scratch::new("history-two");
    let plan = Plan::preset(Preset::Local);
    let first = Lifecycle::embedded(plan).expect("a driver");
    first.history(History::file(dir.file()));
    let report = life(&History::file(dir.file()), ms(600), Db::Done);
    assert!(events(&report)[0].contains("another process has it"));
    assert!(!dir.file().exists());
    first.shutdown("the test is over");
    assert_eq!(first.wait(), Outcome::Drained);
    assert_eq!(
        events(&life(&History::file(dir.file()), ms(600), Db::Done)),
        [""; 0]
    );
}

/// Writes a history again and again, and says each time when it is written.
extern "C" fn write_if_child() {
    let Some(path) = std::env::var_os(BODY) else {
        return;
    };
    let history = History::file(&path);
    for lap in 1_u32.. {
        // The base tells which lap it was that is written. On a slow disk the end does not wait for it, and the next lap may find
        // the file locked: what is not there is not said.
        let _ = life(&history, ms(1_000 + u64::from(lap)), Db::Done);
        if last_base(Path::new(&path)) == Some(1_000.0 + f64::from(lap)) {
            println!("{lap}");
        }
    }
}

/// The base of the last shutdown that is on record, in milliseconds.
fn last_base(file: &Path) -> Option<f64> {
    let text = fs::read_to_string(file).ok()?;
    let written = Written::read(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
    let db = written.participants.iter().find(|one| one.name == "db")?;
    db.shutdowns.last()?.base_ms
}

#[test]
fn a_writer_that_is_killed_leaves_a_whole_history_with_all_that_it_had_written() {
    let dir = Scratch::new("history-killed");
    let file = dir.file();
    for round in 0..40_u32 {
        let program = std::env::current_exe().expect("the test has a path");
        let mut child = Command::new(program)
            .env(BODY, &file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test's own binary");
        let said = BufReader::new(child.stdout.take().expect("it is piped"));
        // It goes on meanwhile, so it is killed wherever it is then.
        let laps = 1 + round as usize % 4;
        let lap = said.lines().nth(laps - 1).expect("a lap").expect("text");
        for _ in 0..round * 2_000 {
            std::hint::spin_loop();
        }
        child.kill().expect("it runs");
        child.wait().expect("it is our child");
        let written = last_base(&file).expect("a whole history");
        let lap: f64 = lap.parse().expect("a number");
        assert!(
            written >= 1_000.0 + lap,
            "round {round}: {written} after {lap}"
        );
    }
    // Nothing was ever set aside, and the next one finds its way.
    let report = life(&History::file(&file), ms(500), Db::Done);
    assert_eq!(events(&report), [""; 0]);
    let mut names: Vec<_> = fs::read_dir(&dir.0)
        .expect("there")
        .map(|entry| entry.expect("there").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["api.json", "api.json.lock"]);
}
