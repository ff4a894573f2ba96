//! `cargo xtask matrix`: servers that are not ours, judged by `lameduck verify`, each as its recipe starts it.
//! Owns the course of a run and its arguments; not what a recipe says (`recipe`), what is kept of a report (`record`),
//! or how it is shown (`markdown`, `html`).

mod clock;
mod html;
mod markdown;
mod recipe;
mod record;
mod run;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use recipe::Recipe;
use record::Record;

/// How many fresh processes the load check starts, if nobody says otherwise.
const ROUNDS: u32 = 8;

/// What was asked for.
#[derive(Debug, Default)]
struct Arguments {
    only: Vec<String>,
    rounds: Option<u32>,
    seed: Option<String>,
    out: Option<PathBuf>,
    lameduck: Option<PathBuf>,
    /// Write the pages from the data that there is, and start nothing.
    pages_only: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "--only" => {
                    let names = value()?;
                    arguments.only.extend(names.split(',').map(str::to_owned));
                }
                "--rounds" => {
                    let rounds = value()?;
                    let number = rounds.parse().ok().filter(|rounds| *rounds > 0);
                    arguments.rounds =
                        Some(number.ok_or_else(|| format!("--rounds {rounds}: no such number"))?);
                }
                "--seed" => arguments.seed = Some(value()?),
                "--out" => arguments.out = Some(value()?.into()),
                "--lameduck" => arguments.lameduck = Some(value()?.into()),
                "--pages-only" => arguments.pages_only = true,
                other => return Err(format!("{other}: no such argument")),
            }
        }
        Ok(arguments)
    }
}

/// Runs what `words` ask for.
pub(crate) fn matrix(root: &Path, words: impl Iterator<Item = String>) -> ExitCode {
    let done = Arguments::parse(words).and_then(|arguments| work(root, &arguments));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn work(root: &Path, arguments: &Arguments) -> Result<(), String> {
    let recipes = recipe::read_all(&root.join("matrix/recipes"))?;
    for name in &arguments.only {
        if !recipes.iter().any(|recipe| recipe.id == *name) {
            return Err(format!("there is no recipe `{name}` in matrix/recipes"));
        }
    }
    let out = arguments
        .out
        .as_ref()
        .map_or_else(|| root.join("docs"), |out| root.join(out));
    let data = out.join("conformance/data");
    std::fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    if !arguments.pages_only {
        run_all(root, arguments, &recipes, &data)?;
    }
    let records = record::read_all(&data, &recipes)?;
    if records.is_empty() {
        return Err("nothing was measured yet, so there is nothing to show".to_owned());
    }
    write(&out.join("conformance.md"), &markdown::page(&records))?;
    write(&out.join("conformance.html"), &html::page(&records))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// Judges each server in turn; what is not installed is said, and skipped.
fn run_all(
    root: &Path,
    arguments: &Arguments,
    recipes: &[Recipe],
    data: &Path,
) -> Result<(), String> {
    let bench = run::Bench::new(root, arguments)?;
    let asked = |recipe: &&Recipe| arguments.only.is_empty() || arguments.only.contains(&recipe.id);
    let (mut judged, mut skipped, mut broken) = (0, 0, 0);
    for recipe in recipes.iter().filter(asked) {
        if let Some(missing) = recipe.missing(root) {
            eprintln!(
                "{:<18} skipped: {missing} is not there; matrix/install brings it",
                recipe.id
            );
            skipped += 1;
            continue;
        }
        match bench.judge(recipe) {
            Ok(record) => {
                eprintln!("{:<18} {}", recipe.id, record.summary());
                save(data, &record)?;
                judged += 1;
            }
            Err(message) => {
                eprintln!("{:<18} not judged: {message}", recipe.id);
                broken += 1;
            }
        }
    }
    eprintln!("matrix: {judged} judged, {skipped} skipped, {broken} could not be judged");
    if broken > 0 {
        Err(format!("{broken} servers could not be judged"))
    } else {
        Ok(())
    }
}

fn save(data: &Path, record: &Record) -> Result<(), String> {
    let path = data.join(format!("{}.json", record.recipe));
    let text = serde_json::to_string_pretty(record).map_err(|error| error.to_string())?;
    std::fs::write(&path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}
