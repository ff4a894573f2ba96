//! Nothing bad is published of a server before a packet capture was looked at: each cross of the conformance matrix has its
//! row in the page of evidence, and one that no capture confirmed says so in the matrix too, by a note of its recipe.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::finding::Finding;
use crate::tree::Tree;

const PAGE: &str = "docs/conformance/evidence.md";
const DATA: &str = "docs/conformance/data/";
/// How the last cell of a row begins when the capture showed what the matrix says.
const CONFIRMED: &str = "confirmed";

/// Rows of evidence by server and id: the line of each, and what its last cell says.
type Rows<'a> = BTreeMap<(String, String), (u32, &'a str)>;

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut rows = rows(tree.text(PAGE).unwrap_or_default());
    for (path, text) in tree.files() {
        let recipe = path
            .strip_prefix(DATA)
            .and_then(|f| f.strip_suffix(".json"));
        let Some(recipe) = recipe else { continue };
        let about = format!("matrix/recipes/{recipe}/about.toml");
        let about: toml::Table = tree
            .text(&about)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        let name = about.get("name").and_then(toml::Value::as_str);
        let name = name.unwrap_or(recipe);
        for id in failed(text) {
            let what = match rows.remove(&(name.to_owned(), id.clone())) {
                None => format!(
                    "{id} failed, and {PAGE} has no row of it below \"{name}\"; matrix/capture makes one"
                ),
                Some((_, said)) if !said.starts_with(CONFIRMED) && !has_note(&about, &id) => {
                    format!(
                        "{id} failed, and no capture confirmed it; say so in the notes of matrix/recipes/{recipe}/about.toml"
                    )
                }
                Some(_) => continue,
            };
            findings.push(Finding::failure(path, 1, what));
        }
    }
    for ((name, id), (line, _)) in rows {
        let what = format!(
            "{id} of \"{name}\" is no cross of the matrix; remove the row, or measure again"
        );
        findings.push(Finding::advice(PAGE, line, what));
    }
}

/// The rows of the page, by server and id.
fn rows(page: &str) -> Rows<'_> {
    let (mut found, mut server) = (Rows::new(), "");
    for (line, number) in page.lines().zip(1..) {
        if let Some(name) = line.strip_prefix("## ") {
            server = name.trim();
        }
        let Some(row) = line.strip_prefix("| ").and_then(|l| l.strip_suffix(" |")) else {
            continue;
        };
        let (Some((id, _)), Some((_, said))) = (row.split_once(" | "), row.rsplit_once(" | "))
        else {
            continue;
        };
        if id.starts_with(|c: char| c.is_ascii_uppercase()) {
            found.insert((server.to_owned(), id.to_owned()), (number, said));
        }
    }
    found
}

/// The ids that a row of the matrix calls failed.
fn failed(data: &str) -> Vec<String> {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let checks = data["checks"].as_array().into_iter().flatten();
    checks
        .filter(|check| check["verdict"] == "fail")
        .filter_map(|check| check["id"].as_str().map(str::to_owned))
        .collect()
}

fn has_note(about: &toml::Table, id: &str) -> bool {
    let notes = about.get("notes").and_then(toml::Value::as_table);
    notes.is_some_and(|notes| notes.contains_key(id))
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    const PAGE: &str = "# Evidence\n\n## Duck 1\n\n| id | seen | for example | |\n|---|---|---|---|\n\
                        | A3 | 1 of 2 | `C:SYN` | confirmed |\n| A4 | 0 of 2 |  | not confirmed |\n| P1 | 1 of 1 |  | confirmed |\n";
    const ABOUT: &str = "name = \"Duck 1\"\n";

    fn found(failed: &[&str], about: &str) -> Vec<String> {
        let checks: Vec<String> = failed
            .iter()
            .map(|id| format!("{{\"id\": \"{id}\", \"verdict\": \"fail\"}}"))
            .collect();
        let data = format!("{{\"checks\": [{}]}}", checks.join(", "));
        let files = [
            (super::PAGE, PAGE),
            ("docs/conformance/data/duck.json", data.as_str()),
            ("matrix/recipes/duck/about.toml", about),
        ];
        run(super::check, &files)
    }

    #[test]
    fn each_cross_has_its_row() {
        let found = found(&["A3", "P1", "L-H1"], ABOUT);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("docs/conformance/data/duck.json:1: L-H1 failed"));
        assert!(found[1].starts_with("docs/conformance/evidence.md:8: advice: A4 of \"Duck 1\""));
    }

    #[test]
    fn what_no_capture_confirmed_is_said_where_it_is_published() {
        let crosses = ["A3", "A4", "P1"];
        let silent = found(&crosses, ABOUT);
        assert_eq!(silent.len(), 1, "{silent:?}");
        assert!(silent[0].contains("A4 failed, and no capture confirmed it"));
        let noted = format!("{ABOUT}[notes]\nA4 = \"no capture showed it\"\n");
        assert!(found(&crosses, &noted).is_empty());
    }
}
