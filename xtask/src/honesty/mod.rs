//! Is the tester itself honest? `mutants-verify` breaks one promise of a correct server at a time and looks whether the
//! check of that promise sees it; `soak-verify` runs the whole catalogue again and again on correct servers, where
//! nothing may fail. Owns what both share: the servers under test and their arguments.

mod mutants;
mod soak;
mod table;

#[path = "../../../crates/lameduck-verify/tests/duck/spec.rs"]
mod spec;

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use mutants::mutants;
pub(crate) use soak::soak;

/// What was asked for.
#[derive(Debug, Default)]
struct Arguments {
    only: Vec<String>,
    rounds: Option<u32>,
    /// The number of the first round: parts of one soak can be had apart, or side by side.
    from: u32,
    /// Where the table goes: Markdown, or JSON where the name ends so.
    output: Option<PathBuf>,
    lameduck: Option<PathBuf>,
    /// The tester is stopped for so many milliseconds at each signal.
    starve: Option<u32>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "--only" => {
                    let ids = value()?;
                    let ids = ids.split(',').map(str::to_ascii_uppercase);
                    arguments.only.extend(ids);
                }
                "--rounds" => arguments.rounds = Some(number(&value()?, "rounds")?),
                "--from" => arguments.from = whole(&value()?, "rounds")?,
                "--output" => arguments.output = Some(value()?.into()),
                "--starve" => arguments.starve = Some(number(&value()?, "milliseconds")?),
                "--lameduck" => arguments.lameduck = Some(value()?.into()),
                _ => return Err(format!("there is no {word} here")),
            }
        }
        Ok(arguments)
    }

    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }
}

/// How many: one at least.
fn number(text: &str, of: &str) -> Result<u32, String> {
    match whole(text, of) {
        Ok(0) => Err(no_number(text, of)),
        other => other,
    }
}

/// A place to begin at, for which 0 is as good as any.
fn whole(text: &str, of: &str) -> Result<u32, String> {
    text.parse().map_err(|_| no_number(text, of))
}

fn no_number(text: &str, of: &str) -> String {
    format!("{text} is no number of {of}")
}

/// Builds the broken duck, and says where it is.
fn build_duck(root: &Path) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "-p", "lameduck-verify"])
        .args(["--example", "broken-duck"])
        .status();
    if !status.is_ok_and(|status| status.success()) {
        return Err("the broken duck can not be built".to_owned());
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let path = root.join(target).join("debug/examples/broken-duck");
    if path.exists() {
        Ok(path.to_string_lossy().into_owned())
    } else {
        Err(format!("{} is not there after the build", path.display()))
    }
}

/// A check that needs a namespace says so where none can be made: no pass, and no lie either.
fn lacks_namespace(finding: &lameduck_verify::Finding) -> bool {
    ["A4", "P8"].contains(&finding.id.as_ref()) && finding.detail.contains("namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, String> {
        Arguments::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn a_soak_begins_at_any_round_and_has_one_at_least() {
        assert_eq!(parse(&["--from", "0"]).unwrap().from, 0);
        assert_eq!(parse(&["--from", "17"]).unwrap().from, 17);
        for words in [["--rounds", "0"], ["--starve", "0"], ["--from", "-1"]] {
            let error = parse(&words).unwrap_err();
            assert!(error.contains("is no number of"), "{error}");
        }
    }
}
