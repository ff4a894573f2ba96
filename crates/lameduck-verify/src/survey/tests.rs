//! Holds what a survey writes to what profiles read, and what it promises to the catalogue.

use super::probe::promises;
use super::write::quoted;
use super::*;
use crate::declared::{Interrupt, LatePolicy};
use crate::options::{Driven, RepeatPolicy, Stop, TargetSpec};
use crate::profile::Profile;

fn entry(table: Table, key: &'static str, value: &str, origin: Origin) -> Entry {
    Entry {
        table,
        key,
        value: value.to_owned(),
        origin,
        note: "so it was seen\u{1b}[2J, at some length, which has to be folded because nobody scrolls sideways".to_owned(),
    }
}

#[test]
fn what_is_written_can_be_read() {
    let odd = "a \"b\" \\ \u{7} \u{7f} é\n";
    let command = format!("[\"./serve\", {}]", quoted(odd));
    let survey = Survey {
        options: Options::new(TargetSpec::default()),
        entries: vec![
            entry(Table::Target, "command", &command, Origin::Given),
            entry(Table::Paths, "slow", "\"/slow\"", Origin::Found),
            entry(Table::Paths, "sse", "\"/events\"", Origin::Missing),
            entry(Table::Grpc, "path", "\"/a.B/C\"", Origin::Missing),
        ],
    };
    let text = survey.to_toml();
    let options = Profile::parse(&text).unwrap().options();
    assert_eq!(options.target.argv, ["./serve", odd], "{text}");
    assert_eq!(options.target.slow_path.as_deref(), Some("/slow"));
    assert_eq!((options.target.sse_path, options.target.grpc), (None, None));
    assert!(options.waivers.is_empty());
    assert!(
        text.contains("\n# sse = \"/events\"\n") && text.contains("\n# [grpc]\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));
    assert!(
        text.lines().all(|line| line.chars().count() <= 120),
        "{text}"
    );
    assert_eq!(survey.findings().len(), 1);
    assert_eq!(survey.gaps().len(), 2);
}

#[test]
fn what_was_given_is_written_down_again() {
    let mut given = Options::new(TargetSpec::command(["./serve"]));
    given.target.cwd = Some("/srv".into());
    given.target.env = vec![("MODE".to_owned(), "x y".to_owned())];
    given.target.ready_line = Some("ready".to_owned());
    given.target.ready_within = Some(Duration::from_millis(1_500));
    given.target.quiet = Some(Duration::from_millis(250));
    given.target.forced_exit = Some(9);
    given.target.exit_codes = vec![0, 3];
    given.target.close_codes = vec![1000, 4001];
    given.target.late = LatePolicy::Refuse;
    given.target.repeats = Some(RepeatPolicy::Escalate);
    given.target.interrupt = Interrupt::LeftAlone;
    given.target.extra_time = Duration::from_millis(2_500);
    given.stop = crate::options::Stop::http("PUT http://127.0.0.1:{port}/stop");
    given.front = "kubernetes:3s".parse().unwrap();
    given.pre_stop = Duration::from_secs(2);
    let mut entries = launching::entries(&given, Duration::ZERO);
    entries.extend(leaving::entries(&given, None, None));
    let text = Survey {
        options: given.clone(),
        entries,
    }
    .to_toml();
    let read = Profile::parse(&text).unwrap().options();
    assert_eq!(read.target.argv, given.target.argv, "{text}");
    assert_eq!(
        (&read.target.cwd, &read.target.env),
        (&given.target.cwd, &given.target.env)
    );
    assert_eq!(read.target.ready_line, given.target.ready_line);
    assert_eq!(read.target.ready_within, given.target.ready_within);
    assert_eq!(
        (read.target.quiet, read.target.forced_exit),
        (given.target.quiet, Some(9))
    );
    let promised = |target: TargetSpec| {
        (
            (target.exit_codes, target.close_codes, target.extra_time),
            (target.late, target.repeats, target.interrupt),
        )
    };
    assert_eq!(promised(read.target), promised(given.target), "{text}");
    assert!(!text.contains("signal ="), "{text}");
    assert_eq!((read.stop, read.front), (given.stop, given.front), "{text}");
    assert_eq!((read.pre_stop, read.grace), (given.pre_stop, given.grace));
}

/// Answers everything, says so, and goes when it is told to.
const SERVE: &str = "import http.server, sys, signal
signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
class H(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
server = http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H)
print('listening', flush=True)
server.serve_forever()
";

#[test]
fn a_profile_comes_back_whole_from_a_survey_that_was_made_with_it() {
    let directory = std::env::temp_dir().join(format!("lameduck-whole-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("ca.pem"), certificate.cert.pem()).unwrap();
    let command = format!("[\"python3\", \"-c\", {}, \"{{port}}\"]", quoted(SERVE));
    let text = crate::profile::tests::WHOLE
        .replace("[\"./serve\", \"--port\", \"{port}\"]", &command)
        .replace(
            "cwd = \"service\"",
            &format!("cwd = {}", quoted(&directory.to_string_lossy())),
        )
        .replace("[tls]\n", "[tls]\nauthorities = \"ca.pem\"\n")
        .replace(
            "[reload]\n",
            "[reload]\ncommand = [\"true\", \"{pid}\"]\nfile = \"orders.conf\"\n",
        )
        .replace(
            "skip = [\"p9\"]",
            "skip = [\"p9\"]\nonly = [\"P1\", \"P9\"]",
        );
    let path = directory.join("orders.toml");
    std::fs::write(&path, text).unwrap();
    let mut given = Profile::read(&path).unwrap().options();
    let written = Survey::of(&given).unwrap().to_toml();
    let mut read = Profile::parse(&written)
        .unwrap_or_else(|error| panic!("{error}: {written}"))
        .options();
    std::fs::remove_dir_all(&directory).unwrap();
    // The files that they were read from are two.
    (given.profile, read.profile) = (None, None);
    assert_eq!(format!("{read:#?}"), format!("{given:#?}"), "{written}");
}

#[test]
fn what_can_not_be_stopped_or_is_not_ours_is_refused_before_anything_runs() {
    let mark = std::env::temp_dir().join(format!("lameduck-survey-{}", std::process::id()));
    let mut driven = Options::new(TargetSpec::default());
    driven.target.driven = Some(Driven {
        start: format!("touch '{}'", mark.display()),
        ..Driven::default()
    });
    let error = Survey::of(&driven).unwrap_err().to_string();
    assert!(
        error.contains("--stop") && error.contains("hint:"),
        "{error}"
    );
    assert!(!mark.exists());
    let mut other = Options::new(TargetSpec::default());
    other.target.pid = Some(std::process::id());
    other.target.url = Some("http://127.0.0.1:80/".to_owned());
    let error = Survey::of(&other).unwrap_err().to_string();
    assert!(
        error.contains("--init") && error.contains("hint:"),
        "{error}"
    );
}

#[test]
fn a_stop_that_does_not_work_is_no_finding() {
    let directory = std::env::temp_dir();
    let mut options = Options::new(TargetSpec::command([
        "python3",
        "-m",
        "http.server",
        "{port}",
        "--bind",
        "127.0.0.1",
    ]));
    options.target.cwd = Some(directory);
    options.grace = Duration::from_secs(2);
    options.stop = Stop::http("http://127.0.0.1:{port}/no-such");
    let error = Survey::of(&options).unwrap_err();
    assert!(matches!(error, VerifyError::Stop(_)), "{error}");
}

#[test]
fn the_ids_that_it_promises_are_checked() {
    let mut named = 0;
    for text in promises() {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        for id in
            words.filter(|word| word.contains('-') && word.chars().any(|c| c.is_ascii_digit()))
        {
            assert!(crate::catalogue::entry(id).is_some(), "{id} in {text}");
            named += 1;
        }
    }
    assert!(named > 8, "{named}");
}
