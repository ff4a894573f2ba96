//! What is kept of a report: the answer to each check, what was lost, and how, when and of which version that was found.
//! Written to `docs/conformance/data`, and read back to make the pages.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::recipe::Recipe;

/// Circumstances of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    /// When it began, in UTC.
    pub(super) date: String,
    pub(super) took_s: u64,
    /// Fresh processes of the load check.
    pub(super) rounds: u32,
    pub(super) machine: String,
    /// Which commit of this tree.
    pub(super) commit: String,
    /// What the server says of itself.
    pub(super) server_version: String,
}

/// One row of the matrix.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// `lameduck.conformance/1`.
    schema: String,
    /// The directory below `matrix/recipes`.
    pub(super) recipe: String,
    pub(super) run: Run,
    /// The tester's own version.
    pub(super) lameduck: String,
    pub(super) seed: String,
    pub(super) signal: String,
    pub(super) command: Vec<String>,
    pub(super) launches: u64,
    pub(super) verdict: String,
    /// Lost requests of those under load, with an interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<Rate>,
    /// What was tried out before.
    pub(super) facts: Vec<String>,
    pub(super) checks: Vec<Check>,
    /// Which of them were asked of the same server with TLS, in runs of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secure: Vec<String>,
    /// What the recipe says; not in the file.
    #[serde(skip)]
    pub(super) about: About,
}

/// Lost of n, and the 95 % interval of the rate.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Rate {
    pub(super) lost: u64,
    pub(super) of: u64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// The answer to one check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Check {
    pub(super) id: String,
    /// `loss` or `manners`.
    pub(super) class: String,
    pub(super) verdict: String,
    pub(super) detail: String,
    pub(super) owed: String,
    /// Requests judged, by outcome; those of zero are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) requests: BTreeMap<String, u64>,
}

/// The part of a recipe that is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) packages: Vec<String>,
    pub(super) old: Option<String>,
    pub(super) options: Vec<String>,
    pub(super) notes: BTreeMap<String, String>,
}

impl About {
    fn of(recipe: &Recipe) -> Self {
        Self {
            name: recipe.name.clone(),
            packages: recipe.packages.clone(),
            old: recipe.old.clone(),
            options: recipe.options.clone(),
            notes: recipe.notes.clone(),
        }
    }
}

impl Record {
    /// Takes from a report of `lameduck verify` what is published.
    pub(super) fn of(recipe: &Recipe, run: Run, report: &str) -> Result<Self, String> {
        let report = read(report)?;
        let text = |at: &str| {
            report
                .pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let list = |at: &str| {
            let items = report.pointer(at).and_then(Value::as_array);
            items
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        Ok(Self {
            schema: "lameduck.conformance/1".to_owned(),
            recipe: recipe.id.clone(),
            run,
            lameduck: text("/version"),
            seed: text("/seed"),
            signal: text("/signal/name"),
            command: if recipe.profile.is_some() {
                list("/target/command")
            } else {
                Vec::new()
            },
            launches: launches(&report),
            verdict: text("/verdict"),
            rate: report
                .get("rate")
                .cloned()
                .and_then(|rate| serde_json::from_value(rate).ok()),
            facts: list("/target/facts"),
            checks: checks(&report).collect(),
            secure: Vec::new(),
            about: About::of(recipe),
        })
    }

    /// Takes the answers about TLS from the report on the same server with TLS; it was asked for no others.
    pub(super) fn take_secure(&mut self, report: &str) -> Result<(), String> {
        let report = read(report)?;
        self.launches += launches(&report);
        for check in checks(&report) {
            let Some(here) = self.checks.iter_mut().find(|here| here.id == check.id) else {
                continue;
            };
            self.secure.push(check.id.clone());
            *here = check;
        }
        Ok(())
    }

    /// How many checks answered so.
    pub(super) fn count(&self, verdict: &str) -> usize {
        self.checks
            .iter()
            .filter(|check| check.verdict == verdict)
            .count()
    }

    /// Lost POSTs of all loads, where the requests under test are POSTs: what was lost besides are
    /// handshakes of WebSockets and, in records of earlier versions, event streams.
    pub(super) fn lost_posts(&self) -> Option<u64> {
        let posts = self
            .facts
            .iter()
            .any(|fact| fact.contains("requests under test are POST"));
        let loads = self
            .checks
            .iter()
            .filter(|check| check.id.starts_with("L-") && !self.secure.contains(&check.id));
        posts.then(|| {
            loads
                .filter_map(|check| check.requests.get("lost_posts"))
                .sum()
        })
    }

    /// One line for the terminal.
    pub(super) fn summary(&self) -> String {
        let counts: Vec<_> = ["pass", "fail", "differs", "inconclusive", "n/a"]
            .into_iter()
            .map(|verdict| format!("{} {verdict}", self.count(verdict)))
            .collect();
        format!("{} ({} s)", counts.join(", "), self.run.took_s)
    }

    /// The answer to `id`.
    pub(super) fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }
}

impl Check {
    fn of(check: &Value) -> Self {
        let text = |name: &str| {
            check
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let requests = check.get("requests").and_then(Value::as_object);
        Self {
            id: text("id"),
            class: text("class"),
            verdict: text("verdict"),
            detail: text("detail"),
            owed: text("owed"),
            requests: requests
                .into_iter()
                .flatten()
                .filter_map(|(name, count)| {
                    Some((name.clone(), count.as_u64().filter(|count| *count > 0)?))
                })
                .collect(),
        }
    }
}

/// A report of `lameduck verify`.
fn read(report: &str) -> Result<Value, String> {
    let report: Value =
        serde_json::from_str(report).map_err(|error| format!("its report: {error}"))?;
    match report.get("schema").and_then(Value::as_str) {
        Some("lameduck.verify/1") => Ok(report),
        other => Err(format!(
            "its report is `{}`, not lameduck.verify/1",
            other.unwrap_or_default()
        )),
    }
}

fn launches(report: &Value) -> u64 {
    report
        .pointer("/target/launches")
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

fn checks(report: &Value) -> impl Iterator<Item = Check> {
    let checks = report.get("checks").and_then(Value::as_array);
    checks.into_iter().flatten().map(Check::of)
}

/// All that was kept, in the order of `recipes`; data without a recipe is named and left out.
pub(super) fn read_all(data: &Path, recipes: &[Recipe]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for recipe in recipes {
        let path = data.join(format!("{}.json", recipe.id));
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("{:<18} was never judged: it has no row", recipe.id);
            continue;
        };
        let mut record: Record =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        record.about = About::of(recipe);
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::matrix::recipe;

    const PLAIN: &str = r#"{ "schema": "lameduck.verify/1", "seed": "1", "target": { "launches": 3, "facts": ["requests under test are POST"] },
        "checks": [
            { "id": "TLS-1", "verdict": "n/a" },
            { "id": "L-H1", "verdict": "fail", "requests": { "lost_posts": 2 } },
            { "id": "L-TLS", "verdict": "n/a" } ] }"#;
    const SECURE: &str = r#"{ "schema": "lameduck.verify/1", "seed": "2", "target": { "launches": 2 },
        "checks": [
            { "id": "TLS-1", "verdict": "pass" },
            { "id": "L-TLS", "verdict": "fail", "requests": { "lost_posts": 5 } } ] }"#;

    #[test]
    fn answers_about_tls_come_from_the_run_with_tls_and_count_in_no_rate_of_the_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let recipes = recipe::read_all(&root.join("matrix/recipes")).unwrap();
        let run = Run {
            date: String::new(),
            took_s: 0,
            rounds: 1,
            machine: String::new(),
            commit: String::new(),
            server_version: String::new(),
        };
        let mut record = Record::of(&recipes[0], run, PLAIN).unwrap();
        record.take_secure(SECURE).unwrap();
        assert_eq!(record.check("TLS-1").unwrap().verdict, "pass");
        assert_eq!(record.check("L-TLS").unwrap().verdict, "fail");
        assert_eq!((record.launches, record.lost_posts()), (5, Some(2)));
        assert!(record.take_secure("{}").is_err());
    }
}
