//! Owns how what an id demands is mended in the servers that people use: one table for each server.
//! Not: what is owed (see `catalogue`), nor showing it.

mod clouds;
mod go;
mod java;
mod lameduck;
mod node;
mod proxies;
mod python;
mod rust;
mod server;

use serde::Serialize;

pub use server::{ServerKind, UnknownServer};

/// How a mend was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Checked {
    /// With `lameduck verify`, on the version that is named.
    Run,
    /// Against the documentation or the source that is named.
    Read,
    /// Not yet: it is written from memory.
    No,
}

impl Checked {
    /// In words, for readers.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Run => "tried out with lameduck verify",
            Self::Read => "checked against the source named, not tried out",
            Self::No => "not checked: read the source named before you rely on it",
        }
    }
}

/// How some ids are mended in one server.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Fix {
    /// The server, or the platform around it.
    pub server: ServerKind,
    /// The ids that it serves.
    pub ids: &'static [&'static str],
    /// What to do.
    pub how: &'static str,
    /// The setting or the code, at most fifteen lines; empty where there is nothing to write.
    pub code: &'static str,
    /// What `code` is written in, as Markdown names it.
    pub language: &'static str,
    /// The versions that it holds for.
    pub version: &'static str,
    /// What it does not mend.
    pub leaves: &'static str,
    /// The page and section, or the file, that it follows.
    pub source: &'static str,
    /// How it was checked.
    pub checked: Checked,
}

const TABLES: [&[Fix]; 8] = [
    lameduck::FIXES,
    rust::FIXES,
    go::FIXES,
    node::FIXES,
    python::FIXES,
    proxies::FIXES,
    java::FIXES,
    clouds::FIXES,
];

/// How `id` is mended in `server`, if that is written down.
#[must_use]
pub fn fix(id: &str, server: ServerKind) -> Option<Fix> {
    fixes(id).find(|fix| fix.server == server)
}

/// How `id` is mended, in every server for which that is written down.
pub fn fixes(id: &str) -> impl Iterator<Item = Fix> {
    let serves = move |fix: &&Fix| fix.ids.iter().any(|own| own.eq_ignore_ascii_case(id));
    let mut found: Vec<Fix> = TABLES
        .into_iter()
        .flatten()
        .filter(serves)
        .copied()
        .collect();
    found.sort_by_key(|fix| fix.server);
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::list;

    /// At least so many servers or platforms for each id.
    const LEAST: usize = 2;

    #[test]
    fn every_id_has_fixes_and_none_has_two_for_one_server() {
        for entry in list() {
            let found: Vec<Fix> = fixes(entry.id).collect();
            // The negotiation is ours, and nobody else speaks the coordinator's part yet.
            let least = if entry.id.starts_with("N-") { 1 } else { LEAST };
            assert!(
                found.len() >= least,
                "{} has {} fixes",
                entry.id,
                found.len()
            );
            for (index, one) in found.iter().enumerate() {
                let again = found[..index]
                    .iter()
                    .any(|other| other.server == one.server);
                assert!(!again, "{} has two fixes for {}", entry.id, one.server);
            }
        }
    }

    #[test]
    fn every_server_is_served_and_every_fix_is_whole() {
        for kind in ServerKind::all() {
            let mut all = TABLES.into_iter().flatten();
            assert!(all.any(|fix| fix.server == kind), "nothing for {kind}");
        }
        for fix in TABLES.into_iter().flatten() {
            let what = format!("{} {:?}", fix.server, fix.ids);
            for id in fix.ids {
                let known = list().iter().any(|entry| entry.id == *id);
                assert!(known, "{what}: no {id}");
            }
            assert!(fix.code.lines().count() <= 15, "{what}: code is long");
            assert!(
                fix.code.lines().all(|line| line.chars().count() <= 76),
                "{what}: code is wide"
            );
            assert_eq!(fix.code.is_empty(), fix.language.is_empty(), "{what}");
            for text in [fix.how, fix.version, fix.leaves, fix.source] {
                assert!(text.len() > 5, "{what}: {text:?}");
            }
        }
    }

    #[test]
    fn a_fix_is_found_for_one_server() {
        let fix = fix("h1-02", ServerKind::Nginx).expect("nginx is mended");
        assert!(fix.code.contains("keepalive_min_timeout"));
        assert!(super::fix("H1-02", ServerKind::Systemd).is_none());
    }
}
