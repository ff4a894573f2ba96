//! Tests of the format and of the file; what a whole lifecycle does with a history is in `tests/history.rs`.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    sync::mpsc,
};

use super::{
    book::{Budget, Ended, Entry, MOST_BYTES, MOST_PARTICIPANTS, Unreadable},
    *,
};
use crate::{
    Lifecycle,
    machine::{NEEDS, Need},
    vocab::{LearnedBy, News, Observed, ParticipantState, Phase, Plan, Preset, Window},
};

const DRAIN_END: Duration = Duration::from_millis(21_250);

/// A directory of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("lameduck-{}-history-{name}", std::process::id()));
        fs::create_dir(&path).expect("a fresh directory");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("api.json")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.0.join(format!("api.json{suffix}"))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("there");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("there")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        names
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

fn entry(day: usize, took: Duration, ended: Ended) -> Entry {
    Entry {
        at: format!("2026-11-{day:02}T10:00:00.000000Z"),
        budget: Some(Budget {
            base: ms(5_000),
            used: ms(7_500),
            by: LearnedBy::Overdue,
        }),
        took,
        ended,
    }
}

fn some() -> Book {
    let mut book = Book::default();
    assert!(book.add("db \"main\" 🦆", entry(1, ms(7_500), Ended::Overdue)));
    assert!(book.add(
        "outbox",
        entry(1, Duration::from_micros(12_345), Ended::Done)
    ));
    assert!(book.add("db \"main\" 🦆", entry(2, ms(3_000), Ended::CutShort)));
    let without = Entry {
        budget: None,
        ..entry(2, ms(20), Ended::Failed)
    };
    assert!(book.add("server", without));
    book
}

/// What a history knows of `db`, and what was said when it was opened.
fn opened(path: PathBuf) -> Result<(Duration, Option<String>), String> {
    let opened = History::file(path).open(DRAIN_END, Weak::new());
    let (budgets, recorder, said) = opened.map_err(|why| why.to_string())?;
    drop(recorder);
    Ok((budgets.learn("db \"main\" 🦆", ms(5_000)), said))
}

#[test]
fn what_is_written_is_read_back() {
    let book = some();
    let text = book.to_json("2026-11-30T10:00:00.000000Z", DRAIN_END);
    assert_eq!(Book::read(&text), Ok(book.clone()));
    assert_eq!(
        book.needs("db \"main\" 🦆"),
        [Need::Overdue(ms(7_500)), Need::Open(ms(3_000))]
    );
    assert_eq!(
        book.needs("outbox"),
        [Need::Met(Duration::from_micros(12_345))]
    );
    assert_eq!(book.needs("server"), [Need::Open(ms(20))]);
    assert_eq!(book.needs("nobody"), []);
}

#[test]
fn fields_of_later_versions_are_passed_over() {
    let text = r#"{"schema":"lameduck.history/1","by":"x","participants":[{"name":"db","mood":null,
        "shutdowns":[{"at":"2026-11-30T10:00:00Z","took_ms":20,"ended":"done","figures":[1]}]}]}"#;
    let book = Book::read(text).expect("a history");
    assert_eq!(book.needs("db"), [Need::Met(ms(20))]);
}

#[test]
fn what_is_no_history_says_what_is_wrong_with_it() {
    let with = |participants: &str| {
        format!(r#"{{"schema":"lameduck.history/1","participants":[{participants}]}}"#)
    };
    let shutdown = |fields: &str| with(&format!(r#"{{"name":"db","shutdowns":[{{{fields}}}]}}"#));
    let rows = [
        ("{}".to_owned(), "schema"),
        (r#"{"schema":"lameduck.audit/1"}"#.to_owned(), "schema"),
        (
            r#"{"schema":"lameduck.history/1"}"#.to_owned(),
            "list of participants",
        ),
        (with("{}"), "name of a participant"),
        (with(r#"{"name":"db"}"#), "list of shutdowns"),
        (
            with(r#"{"name":"db","shutdowns":[]},{"name":"db","shutdowns":[]}"#),
            "second participant of one name",
        ),
        (
            shutdown(r#""took_ms":1,"ended":"done""#),
            "time of a shutdown",
        ),
        (
            shutdown(r#""at":"<b>","took_ms":1,"ended":"done""#),
            "time of a shutdown",
        ),
        (
            shutdown(r#""at":"2026","took_ms":-1,"ended":"done""#),
            "duration of a shutdown",
        ),
        (
            shutdown(r#""at":"2026","took_ms":1,"ended":"well""#),
            "end of a shutdown",
        ),
        (
            shutdown(r#""at":"2026","took_ms":1,"ended":"done","base_ms":1"#),
            "budget",
        ),
    ];
    for (text, what) in rows {
        assert_eq!(Book::read(&text), Err(Unreadable::Misses(what)), "{text}");
    }
    let long = " ".repeat(MOST_BYTES + 1);
    assert_eq!(Book::read(&long), Err(Unreadable::TooLong));
}

#[test]
fn inv_11_the_file_is_bounded_whatever_is_remembered() {
    let mut book = Book::default();
    let longest = Duration::MAX;
    for number in 0..2 * MOST_PARTICIPANTS {
        // Each of its 128 bytes takes six in JSON.
        let name = format!("{number:>4}{}", "\u{1}".repeat(124));
        for day in 0..60 {
            let worst = Entry {
                budget: Some(Budget {
                    base: longest,
                    used: longest,
                    by: LearnedBy::Overdue,
                }),
                ..entry(day % 28 + 1 + number, longest, Ended::CutShort)
            };
            assert!(book.add(&name, worst), "the older ones make room");
        }
        assert_eq!(book.needs(&name).len(), NEEDS);
    }
    let text = book.to_json(&"9".repeat(32), longest);
    assert!(text.len() <= MOST_BYTES / 2, "{}", text.len());
    let read = Book::read(&text).expect("what is written can be read");
    assert_eq!(read.needs(&format!("{:>4}{}", 0, "\u{1}".repeat(124))), []);
    let too_long = "x".repeat(129);
    assert!(!book.add(&too_long, entry(1, ms(1), Ended::Done)));
}

#[test]
fn nobody_of_the_same_shutdown_is_forgotten_for_another() {
    let mut book = Book::default();
    for number in 0..MOST_PARTICIPANTS {
        assert!(book.add(&number.to_string(), entry(7, ms(1), Ended::Done)));
    }
    assert!(!book.add("one more", entry(7, ms(1), Ended::Done)));
    assert!(book.add("one more", entry(8, ms(1), Ended::Done)));
    assert_eq!(book.needs("0"), [], "it was seen first");
    assert_eq!(book.needs("1").len(), 1);
}

#[test]
fn a_history_that_was_cut_at_any_byte_is_set_aside_and_budgets_begin_anew() {
    let dir = Scratch::new("cut");
    let text = some().to_json("2026-11-30T10:00:00.000000Z", DRAIN_END);
    // Without its newline it is whole still.
    for length in 0..text.len() - 1 {
        fs::write(dir.file(), &text.as_bytes()[..length]).expect("written");
        let (budget, said) = opened(dir.file()).expect("it is no reason not to start");
        assert_eq!(budget, ms(5_000), "{length}");
        let said = said.expect("it is said");
        assert!(said.contains("set aside"), "{said}");
        let aside = fs::read(dir.beside(".broken.1")).expect("kept");
        assert_eq!(aside, &text.as_bytes()[..length]);
    }
    assert_eq!(
        dir.names(),
        [
            "api.json.broken.1",
            "api.json.broken.2",
            "api.json.broken.3",
            "api.json.lock"
        ]
    );
    fs::write(dir.file(), &text.as_bytes()[..text.len() - 1]).expect("written");
    assert_eq!(opened(dir.file()), Ok((ms(7_500), None)));
}

#[test]
fn a_writer_that_was_killed_at_any_byte_leaves_the_old_history() {
    let dir = Scratch::new("killed");
    let text = some().to_json("2026-11-30T10:00:00.000000Z", DRAIN_END);
    fs::write(dir.file(), &text).expect("written");
    for length in 0..=text.len() {
        fs::write(dir.beside(".new"), &text.as_bytes()[..length]).expect("written");
        assert_eq!(opened(dir.file()), Ok((ms(7_500), None)), "{length}");
        assert_eq!(dir.names(), ["api.json", "api.json.lock"]);
    }
}

#[test]
fn a_file_is_whole_or_as_it_was_and_its_owners_alone() {
    let dir = Scratch::new("written");
    let place = Place::take(&dir.file()).expect("a directory of ours");
    assert_eq!(place.read().expect("none"), None);
    for text in ["one", "two"] {
        place.write(text).expect("written");
        assert_eq!(place.read().expect("there").as_deref(), Some(text));
    }
    assert_eq!(dir.names(), ["api.json", "api.json.lock"]);
    for file in [dir.file(), dir.beside(".lock")] {
        let mode = fs::metadata(file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // It cannot be given its name, as on a disk that fails: what is there stays, and nothing half written.
    fs::remove_file(dir.file()).expect("there");
    fs::create_dir(dir.file()).expect("made");
    place.write("three").expect_err("a directory has its name");
    assert_eq!(dir.names(), ["api.json", "api.json.lock"]);
}

#[test]
fn what_has_the_name_of_the_new_text_goes_and_is_not_emptied() {
    let dir = Scratch::new("planted");
    let precious = dir.0.join("precious");
    fs::write(&precious, "precious").expect("written");
    fs::hard_link(&precious, dir.beside(".new")).expect("a second name");
    let place = Place::take(&dir.file()).expect("a directory of ours");
    symlink(&precious, dir.beside(".new")).expect("a link");
    place.write("one").expect("written");
    assert_eq!(place.read().expect("there").as_deref(), Some("one"));
    assert_eq!(fs::read_to_string(precious).expect("left"), "precious");
    assert_eq!(dir.names(), ["api.json", "api.json.lock", "precious"]);
}

#[test]
fn a_shutdown_whose_beginning_was_missed_is_recorded_and_the_gap_is_said() {
    let dir = Scratch::new("missed");
    let plan = Plan::preset(Preset::Systemd).with_window(Window::NONE);
    let life = Lifecycle::embedded(plan.expect("a plan")).expect("a driver");
    let db = life.participate("db").register().expect("the first one");
    db.ready();
    life.ready();
    let (sender, seen) = mpsc::channel();
    let observed = move |seen: &Observed| drop(sender.send(seen.clone()));
    life.observe("test", observed).expect("room for one");
    let opened = History::file(dir.file()).open(DRAIN_END, Arc::downgrade(life.shared()));
    let (_, mut recorder, _) = opened.expect("a directory of ours");
    // Before the shutdown nothing is missed that budgets would learn from.
    recorder.missed(1);
    recorder.observe(&next(&seen, |_| true));
    life.shutdown("test");
    // It hears nothing before this.
    recorder.missed(3);
    let ended = |outbox: &Observed| Observed {
        news: News::Ended {
            name: "outbox".to_owned(),
            state: ParticipantState::Done,
            budget: None,
            took: Some(ms(20)),
            figures: Vec::new(),
        },
        ..outbox.clone()
    };
    let draining = next(
        &seen,
        |news| matches!(news, News::PhaseChanged { to, .. } if *to == Phase::Draining),
    );
    recorder.observe(&ended(&draining));
    recorder.finish();
    db.done();
    let _ = life.wait();
    let text = fs::read_to_string(dir.file()).expect("written");
    let book = Book::read(&text).expect("a history");
    assert_eq!(book.needs("outbox"), [Need::Met(ms(20))]);
    let events = &life.report().expect("it is over").events;
    let said = events.iter().filter(|event| event.what.contains("missed"));
    let said: Vec<_> = said.map(|event| event.what.as_str()).collect();
    assert_eq!(
        said,
        [
            "the history missed 3 happening(s) of this shutdown: budgets may not learn from all of it"
        ]
    );
}

/// The next happening of which this holds.
fn next(seen: &mpsc::Receiver<Observed>, is_it: impl Fn(&News) -> bool) -> Observed {
    loop {
        let next = seen.recv_timeout(ms(20_000)).expect("it comes");
        if is_it(&next.news) {
            return next;
        }
    }
}

#[test]
fn one_instance_has_it_at_a_time() {
    let dir = Scratch::new("locked");
    let first = Place::take(&dir.file()).expect("free");
    let why = opened(dir.file()).expect_err("the first has it");
    assert!(why.contains("another process has it"), "{why}");
    drop(first);
    opened(dir.file()).expect("free again");
}

#[test]
fn what_cannot_be_used_is_a_reason_not_to_learn() {
    let dir = Scratch::new("unusable");
    let why = opened(dir.0.join("none/api.json")).expect_err("no such directory");
    assert!(why.contains("budgets do not learn"), "{why}");

    let foreign = r#"{"schema":"lameduck.history/9","participants":{}}"#;
    fs::write(dir.file(), foreign).expect("written");
    let why = opened(dir.file()).expect_err("of a later version");
    assert!(why.contains("lameduck.history/9"), "{why}");
    assert_eq!(fs::read_to_string(dir.file()).expect("left"), foreign);

    let link = dir.0.join("link.json");
    symlink(dir.file(), &link).expect("a link");
    let why = opened(link).expect_err("a link");
    assert!(why.contains("symbolic link"), "{why}");

    fs::remove_file(dir.file()).expect("there");
    let made = std::process::Command::new("mkfifo")
        .arg(dir.file())
        .status();
    assert!(made.expect("mkfifo runs").success());
    opened(dir.file()).expect_err("a pipe, and nobody waited for a writer");
}

#[test]
fn an_instance_names_a_file_and_nothing_else() {
    let rows = [
        ("api-0", "api-0.json"),
        ("api@eu.west_1", "api@eu.west_1.json"),
        ("../etc", "%2e.%2fetc.json"),
        ("", ".json"),
        ("ä", "%c3%a4.json"),
    ];
    for (instance, name) in rows {
        let expected = History::file(PathBuf::from("/var/lib").join(name));
        assert_eq!(History::in_directory("/var/lib", instance), expected);
    }
    let dir = Scratch::new("directory");
    let resolved = History::file(dir.0.clone()).resolved();
    assert_eq!(resolved.parent(), Some(dir.0.as_path()));
    assert_eq!(resolved.extension(), Some(OsStr::new("json")));
}
