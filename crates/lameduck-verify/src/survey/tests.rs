//! Holds what a survey writes to what profiles read, and what it promises to the catalogue.

use super::probe::promises;
use super::write::quoted;
use super::*;
use crate::options::TargetSpec;
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
