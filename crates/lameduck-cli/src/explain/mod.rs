//! `lameduck explain`: an id of the contract (`id`), a shutdown report as a story (`story`, `advice`) or
//! drawn as a sequence (`sequence`, `mermaid`, `page`), an audit as the
//! story of a process' days (`audit`, `lives`), or a history as the curves by which budgets learned (`history`, `curve`).
//! Owns telling the two apart, and reading.

mod advice;
mod audit;
mod curve;
mod history;
mod id;
mod lives;
mod mermaid;
mod page;
mod sequence;
mod story;

use std::{
    fs,
    io::{self, Read, Seek as _, SeekFrom, Write as _},
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
    if let Some(path) = &arguments.history {
        return history::run(path, arguments.format);
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

/// What stands in a file, or comes on standard input: of what is too long the end, which is what a life ended with.
fn read(path: &Path) -> Result<String, Failure> {
    let read = if path.as_os_str() == "-" {
        last_of(io::stdin().lock())
    } else {
        fs::File::open(path).and_then(|mut file| {
            let length = file.metadata()?.len();
            // Devices and pipes have no length and cannot be sought.
            if length > MOST_BYTES {
                file.seek(SeekFrom::Start(length - MOST_BYTES))?;
            }
            let (bytes, cut) = last_of(file)?;
            Ok((bytes, cut || length > MOST_BYTES))
        })
    };
    let (bytes, cut) = read
        .map_err(|error| Failure::new(format_args!("cannot read {}: {error}", path.display())))?;
    if cut {
        let mebibytes = MOST_BYTES >> 20;
        eprintln!(
            "warning: only the last {mebibytes} MiB of {} are read",
            path.display()
        );
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last bytes of it, and whether there were more before them.
fn last_of(mut from: impl Read) -> io::Result<(Vec<u8>, bool)> {
    let (mut bytes, mut cut) = (Vec::new(), false);
    loop {
        let count = from.by_ref().take(MOST_BYTES).read_to_end(&mut bytes)? as u64;
        let excess = bytes.len().saturating_sub(MOST_BYTES as usize);
        cut |= excess > 0;
        bytes.drain(..excess);
        if count < MOST_BYTES {
            return Ok((bytes, cut));
        }
    }
}

#[cfg(test)]
#[path = "../../../lameduck-verify/src/render/hostile.rs"]
mod hostile;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_too_long_the_end_is_read() {
        let all: Vec<u8> = (0..MOST_BYTES + 5).map(|n| (n % 251) as u8).collect();
        let (bytes, cut) = last_of(&*all).expect("read");
        assert!(cut && bytes == all[5..]);
        let (bytes, cut) = last_of(&all[..9]).expect("read");
        assert_eq!((bytes.as_slice(), cut), (&all[..9], false));
    }

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
