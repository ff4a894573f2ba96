//! `cargo xtask mutants-verify`: every promise that the duck can break, and whether its check saw it.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use lameduck_verify::{Finding, Options, TargetSpec, Verdict, Verification};

use super::table::{self, Row};
use super::{Arguments, build_duck, lacks_namespace, spec};

/// A busy machine may leave a check inconclusive: so often it is asked again.
const TRIES: u32 = 3;

/// One line of `--list-breaks`.
#[derive(Debug)]
struct Break {
    name: String,
    id: String,
    says: String,
    what: String,
}

impl Break {
    /// Of the whole duck, asked by `id`.
    fn none(id: &str) -> Self {
        Self {
            name: String::new(),
            id: id.to_owned(),
            says: "pass".to_owned(),
            what: "keeps its promises".to_owned(),
        }
    }
}

/// The duck's own list: there is no other.
fn breaks(duck: &str) -> Result<Vec<Break>, String> {
    let output = Command::new(duck).arg("--list-breaks").output();
    let output = output.map_err(|error| format!("{duck} can not be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(|line| {
        let mut parts = line.split('\t').map(str::to_owned);
        Some(Break {
            name: parts.next()?,
            id: parts.next()?,
            says: parts.next()?,
            what: parts.next()?,
        })
    });
    lines
        .collect::<Option<Vec<_>>>()
        .filter(|breaks| !breaks.is_empty())
        .ok_or_else(|| "the list of breaks can not be read".to_owned())
}

/// What the duck is asked, by one id. A2 is about what stands before a service.
fn options(duck: &str, broken: &str, id: &str) -> Options {
    let mut target: TargetSpec = spec::spec(duck.to_owned(), broken);
    if id != "A2" {
        return spec::options(target, &[id]);
    }
    let accepting = ["--accept-for", "1500"].map(str::to_owned);
    target.argv.extend(accepting);
    let mut options = spec::options(target, &[id]);
    options.grace = Duration::from_secs(6);
    options.front = "kubernetes:1500ms".parse().unwrap_or_default();
    options
}

fn ask(options: &Options, most: u32) -> Result<Finding, String> {
    let mut tries = 0;
    loop {
        tries += 1;
        let report = Verification::from(options.clone())
            .run()
            .map_err(|error| error.to_string())?;
        let finding = report.checks.into_iter().next();
        let finding = finding.ok_or_else(|| "nothing was judged".to_owned())?;
        if finding.verdict != Verdict::Inconclusive || tries == most {
            return Ok(finding);
        }
    }
}

/// Asks one id of one duck; A tester that is starved may leave it open.
fn row(duck: &str, entry: &Break, starve: Option<u32>) -> Row {
    let Break {
        name: broken,
        id,
        what,
        says: expected,
    } = entry;
    let begun = Instant::now();
    let mut options = options(duck, broken, id);
    if let Some(millis) = starve {
        let starving = ["--starve".to_owned(), millis.to_string()];
        options.target.argv.extend(starving);
    }
    let tries = if starve.is_some() { 1 } else { TRIES };
    let (seen, as_expected, detail) = match ask(&options, tries) {
        Ok(finding) => {
            let seen = finding.verdict.word();
            let excused = finding.verdict == Verdict::NotApplicable && lacks_namespace(&finding)
                || finding.verdict == Verdict::Inconclusive && starve.is_some();
            (seen, seen == expected || excused, finding.detail)
        }
        Err(error) => ("error", false, error),
    };
    Row {
        id: id.clone(),
        target: if broken.is_empty() {
            "whole".to_owned()
        } else {
            broken.clone()
        },
        what: what.clone(),
        expected: expected.clone(),
        seen: seen.to_owned(),
        as_expected,
        detail,
        seconds: begun.elapsed().as_secs_f64(),
    }
}

fn run(root: &Path, arguments: &Arguments) -> Result<Vec<Row>, String> {
    let duck = build_duck(root)?;
    let breaks = breaks(&duck)?;
    let mut rows = Vec::new();
    for entry in lameduck_verify::list() {
        if !arguments.wants(entry.id) {
            continue;
        }
        let of_this: Vec<&Break> = breaks.iter().filter(|line| line.id == entry.id).collect();
        if of_this.is_empty() {
            return Err(format!(
                "no break is known for {}: it might be vacuous",
                entry.id
            ));
        }
        let whole = Break::none(entry.id);
        let whole = row(&duck, &whole, arguments.starve);
        eprintln!("{}", whole.line());
        rows.push(whole);
        for line in of_this {
            let broken = row(&duck, line, arguments.starve);
            eprintln!("{}", broken.line());
            rows.push(broken);
        }
    }
    Ok(rows)
}

/// Runs them; 1 when a check saw something else than it should, 2 when nothing could be run.
pub(crate) fn mutants(root: &Path, words: impl Iterator<Item = String>) -> ExitCode {
    let rows = Arguments::parse(words).and_then(|arguments| {
        let rows = run(root, &arguments)?;
        table::write(&rows, arguments.output.as_deref())?;
        Ok(rows)
    });
    match rows {
        Ok(rows) if rows.is_empty() => {
            eprintln!("error: --only names no id of the catalogue");
            ExitCode::from(2)
        }
        Ok(rows) => {
            let unexpected = rows.iter().filter(|row| !row.as_expected).count();
            eprintln!(
                "mutants-verify: {} runs, {unexpected} unexpected",
                rows.len()
            );
            ExitCode::from(u8::from(unexpected > 0))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
