//! `lameduck explain`: an id of the contract (`id`), a shutdown report as a story (`story`, `advice`) or
//! drawn as a sequence (`sequence`, `mermaid`, `page`), or an audit as the
//! story of a process' days (`audit`, `lives`).
//! Owns telling the two apart, and reading.

mod advice;
mod audit;
mod id;
mod lives;
mod mermaid;
mod page;
mod sequence;
mod story;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    process::ExitCode,
};

use lameduck::wire::Shutdown;
use lameduck_verify::{check, harmless, nearest_id};

use self::sequence::Sequence;
use crate::{
    args::{ExplainArguments, ExplainFormat},
    exit::Failure,
};

/// The most that is read: a report is a few kilobytes, the stderr of a long life may be more.
const MOST_BYTES: u64 = 64 << 20;

pub(crate) fn run(arguments: &ExplainArguments) -> Result<ExitCode, Failure> {
    if let Some(path) = &arguments.audit {
        return audit::run(path, arguments.format);
    }
    let draws = matches!(
        arguments.format,
        ExplainFormat::Mermaid | ExplainFormat::Html
    );
    let Some(what) = arguments.what.as_deref() else {
        if draws {
            return Err(nothing_to_draw());
        }
        say(&id::list(arguments.format));
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(check) = check(what) {
        if draws {
            return Err(nothing_to_draw());
        }
        say(&id::explain(&check, arguments));
        return Ok(ExitCode::SUCCESS);
    }
    let path = Path::new(what);
    if looks_like_an_id(what) && !path.exists() {
        return Err(unknown(what));
    }
    if arguments.server.is_some() {
        let message = format_args!("--for goes with an id of the contract, and {what} is none");
        return Err(Failure::new(message).hint("`lameduck explain --list` names them"));
    }
    let text = read(path)?;
    let report = Shutdown::find(&text).map_err(|error| {
        Failure::new(format_args!("{what}: {error}"))
            .hint("give the file of `--report FILE`, or the stderr of a service that uses lameduck")
    })?;
    // A file, a service's stderr and the paths that its clients asked for may come from anywhere.
    let report: Shutdown = harmless(&report);
    say(&match arguments.format {
        ExplainFormat::Text => story::tell(&report),
        ExplainFormat::Json => format!("{:#}\n", serde_json::json!(report)),
        ExplainFormat::Mermaid => mermaid::draw(&Sequence::of(&report)),
        ExplainFormat::Html => page::draw(&Sequence::of(&report), &story::tell(&report)),
        ExplainFormat::Markdown => {
            return Err(
                Failure::new("a report is told as text, json, mermaid or html")
                    .hint("`--format mermaid` in a fenced block is drawn by GitHub and GitLab"),
            );
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn nothing_to_draw() -> Failure {
    Failure::new("only a shutdown report can be drawn")
        .hint("an id is explained as text, json or markdown")
}

/// Short, of letters, digits and dashes, with a letter and no dot or slash: H1-2, ws1, P11.
fn looks_like_an_id(what: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    what.len() <= 8
        && what.chars().all(plain)
        && what.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn unknown(what: &str) -> Failure {
    let hint = match nearest_id(what) {
        Some(id) => format!("did you mean {id}? `lameduck explain --list` names them all"),
        None => "`lameduck explain --list` names them all; a report is given as a file".to_owned(),
    };
    Failure::new(format_args!("{what} is no id of the contract, and no file")).hint(hint)
}

/// A reader that went away, such as `head`, has seen enough.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(MOST_BYTES).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::new(format_args!("cannot read {}: {error}", path.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
#[path = "../../../lameduck-verify/src/render/hostile.rs"]
mod hostile;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_in_lines_of_ours_whatever_is_in_the_report() {
        let story_of = |text: &str| {
            let report = serde_json::from_str(story::REPORT.lines().nth(1).expect("a report"));
            let can_be_read =
                |json: &serde_json::Value| serde_json::from_value::<Shutdown>(json.clone()).is_ok();
            let json = hostile::poisoned(&report.expect("JSON"), text, &can_be_read);
            let report = serde_json::from_value(json).expect("it can be read");
            story::tell(&harmless::<Shutdown>(&report))
        };
        let lines = story_of("a b").lines().count();
        for (name, text) in hostile::HOSTILE {
            let story = story_of(text);
            let steering = story.chars().find(|c| hostile::steers(*c));
            assert_eq!(steering, None, "{name}: {story}");
            assert_eq!(story.lines().count(), lines, "{name}: {story}");
        }
    }

    #[test]
    fn ids_are_told_from_files() {
        assert!(
            ["H1-2", "ws1", "P11", "L-MIXX"]
                .into_iter()
                .all(looks_like_an_id)
        );
        assert!(
            !["report.json", "-", "./H1-2", "a/b", "a-long-file-name"]
                .into_iter()
                .any(looks_like_an_id)
        );
    }

    #[test]
    fn the_nearest_id_is_suggested() {
        let failure = format!("{:?}", unknown("H1-2"));
        assert!(failure.contains("did you mean H1-0"), "{failure}");
        let failure = format!("{:?}", unknown("banana"));
        assert!(failure.contains("names them all"), "{failure}");
    }
}
