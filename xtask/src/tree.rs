//! The workspace as text: every file that a rule may want, read once.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use crate::source::Source;

/// Directories that hold no text of ours.
const SKIPPED: [&str; 8] = [
    ".git",
    "target",
    "fuzz/target",
    "fuzz/corpus",
    "fuzz/artifacts",
    "matrix/.env",
    "matrix/node/node_modules",
    "matrix/servers-rust/target",
];
/// Larger files are data, not text that somebody maintains.
const LARGEST: u64 = 2 << 20;

/// The files below the root, by path with `/`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: Vec<(String, String)>,
    sources: Vec<Source>,
}

impl Tree {
    /// Reads the workspace.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        walk(root, "", &mut files)?;
        Ok(Self::from_files(files))
    }

    fn from_files(mut files: Vec<(String, String)>) -> Self {
        files.sort();
        let mut sources: Vec<Source> = files
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| Source::new(path, text))
            .collect();
        mark_test_modules(&mut sources);
        Self { files, sources }
    }

    /// A tree made of fixtures.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self::from_files(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    /// All files, path and text.
    pub(crate) fn files(&self) -> &[(String, String)] {
        &self.files
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        let at = self
            .files
            .binary_search_by(|(p, _)| p.as_str().cmp(path))
            .ok()?;
        Some(&self.files[at].1)
    }

    /// Whether a file or directory of that path exists.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.text(path).is_some()
            || self
                .files
                .iter()
                .any(|(p, _)| p.strip_prefix(path).is_some_and(|r| r.starts_with('/')))
    }

    /// All Rust files.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// All directories below `root` that hold a Rust file that is not test code, relative to it and without a final slash.
    pub(crate) fn source_directories(&self, root: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for source in self.sources.iter().filter(|s| !s.is_test_file()) {
            let Some(below) = source
                .path
                .strip_prefix(root)
                .and_then(|p| p.strip_prefix('/'))
            else {
                continue;
            };
            found.extend(
                below
                    .match_indices('/')
                    .map(|(at, _)| below[..at].to_owned()),
            );
        }
        found
    }
}

/// A file that its parent declares as `#[cfg(test)] mod name;` is test code, and so is all below it.
fn mark_test_modules(sources: &mut [Source]) {
    let mut roots = Vec::new();
    for source in sources.iter() {
        let (directory, name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let own = match name {
            "mod.rs" | "lib.rs" | "main.rs" => directory.to_owned(),
            _ => source.path.trim_end_matches(".rs").to_owned(),
        };
        roots.extend(
            source
                .test_modules
                .iter()
                .map(|module| format!("{own}/{module}")),
        );
    }
    for source in sources {
        let below = |root: &String| {
            source
                .path
                .strip_prefix(root.as_str())
                .is_some_and(|r| r == ".rs" || r.starts_with('/'))
        };
        if roots.iter().any(below) {
            source.mark_test();
        }
    }
}

fn walk(directory: &Path, prefix: &str, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&path.as_str()) {
            walk(&entry.path(), &path, files)?;
        } else if kind.is_file() && entry.metadata()?.len() <= LARGEST {
            // What is not UTF-8 is not text; no rule reads it.
            if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                files.push((path, text));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_line_test_modules_are_test_code() {
        let tree = Tree::of(&[
            (
                "crates/a/src/machine/mod.rs",
                "#[cfg(test)] mod model; mod phases;",
            ),
            ("crates/a/src/machine/model.rs", ""),
            ("crates/a/src/machine/model/search.rs", ""),
            ("crates/a/src/machine/phases.rs", ""),
        ]);
        let tests: Vec<&str> = tree
            .sources()
            .iter()
            .filter(|s| s.is_test_file())
            .map(|s| s.path.as_str())
            .collect();
        assert_eq!(
            tests,
            [
                "crates/a/src/machine/model.rs",
                "crates/a/src/machine/model/search.rs"
            ]
        );
    }

    #[test]
    fn directories_exist_when_a_file_does() {
        let tree = Tree::of(&[("docs/decisions/README.md", "")]);
        assert!(tree.exists("docs/decisions/") && tree.exists("docs") && !tree.exists("doc"));
    }
}
