//! A recipe: what is installed, which of its options are named, and how its version is asked for.
//! How the server is started and where it answers stands beside it, in a profile that `lameduck verify` reads itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// The file `about.toml` of a recipe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    name: String,
    kind: Kind,
    packages: Vec<String>,
    #[serde(default)]
    old: Option<String>,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    version: Vec<String>,
    backend: bool,
    options: Vec<String>,
    #[serde(default)]
    notes: BTreeMap<String, String>,
}

/// What sort of a server it is; rows are ordered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Stands before an application that stays up.
    Proxy,
    /// The server of a language's own library.
    Runtime,
    /// Runs applications of one language.
    Server,
    /// A library that applications are written with.
    Framework,
    /// This project's own.
    Ours,
}

/// A server and how it is judged.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// The name of its directory.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) packages: Vec<String>,
    /// Why it is called old, if it is.
    pub(super) old: Option<String>,
    /// Files that must be there, relative to the root.
    pub(super) needs: Vec<String>,
    /// What prints its version.
    pub(super) version: Vec<String>,
    /// The application that stays up must be up.
    pub(super) backend: bool,
    /// What is set for the sake of stopping, and why.
    pub(super) options: Vec<String>,
    /// Remarks on single checks, by id: what a capture showed, or why there is nothing to see.
    pub(super) notes: BTreeMap<String, String>,
    /// What `lameduck verify` reads; without it, it judges its own demo.
    pub(super) profile: Option<PathBuf>,
    /// The same server with TLS, where one process speaks either plain text or TLS.
    pub(super) secure: Option<PathBuf>,
}

impl Recipe {
    fn read(directory: &Path) -> Result<Self, String> {
        let id = directory
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let path = directory.join("about.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let about: About =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let file = |name| Some(directory.join(name)).filter(|path| path.exists());
        Ok(Self {
            id,
            name: about.name,
            kind: about.kind,
            packages: about.packages,
            old: about.old,
            needs: about.needs,
            version: about.version,
            backend: about.backend,
            options: about.options,
            notes: about.notes,
            profile: file("profile.toml"),
            secure: file("tls.toml"),
        })
    }

    /// What of it is not installed.
    pub(super) fn missing(&self, root: &Path) -> Option<String> {
        let mut needs = self.needs.iter().filter(|need| !root.join(need).exists());
        needs.next().cloned().or_else(|| {
            let program = self.version.first()?;
            let plain = !program.contains('/') && !program.contains('{');
            (plain && Command::new(program).arg("--version").output().is_err())
                .then(|| program.clone())
        })
    }

    /// The first line that its version command prints with a digit in it.
    pub(super) fn ask_version(&self, root: &Path, lameduck: &Path) -> String {
        let Some((program, arguments)) = self.version.split_first() else {
            return "unknown".to_owned();
        };
        let program = program.replace("{lameduck}", &lameduck.display().to_string());
        let Ok(output) = Command::new(program)
            .args(arguments)
            .current_dir(root)
            .output()
        else {
            return "unknown".to_owned();
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text
            .lines()
            .find(|line| line.contains(|c: char| c.is_ascii_digit()));
        // A program names itself by the path that it was called by, and cargo a package by the address it came from.
        let line = line.unwrap_or("unknown").trim();
        line.rsplit(['/', '#'])
            .find(|part| part.contains(|c: char| c.is_ascii_digit()))
            .map_or_else(
                || line.to_owned(),
                |last| {
                    if line.contains("://") || line.starts_with("matrix/") {
                        after_path(line, last)
                    } else {
                        line.to_owned()
                    }
                },
            )
    }
}

/// `line` without the path or address that it begins with.
fn after_path(line: &str, last: &str) -> String {
    if line.contains("://") {
        return last.replace('@', " ");
    }
    line.split_once(char::is_whitespace)
        .map_or_else(|| line.to_owned(), |(_, rest)| rest.trim().to_owned())
}

/// All recipes, in the order of the table's rows: by kind, then by name.
pub(super) fn read_all(directory: &Path) -> Result<Vec<Recipe>, String> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut recipes = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| Recipe::read(&entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    recipes.sort_by_key(|recipe| (recipe.kind, recipe.name.to_lowercase()));
    Ok(recipes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_of_the_tree_can_be_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let recipes = read_all(&root.join("matrix/recipes")).unwrap();
        assert!(recipes.len() >= 14, "{}", recipes.len());
        for recipe in &recipes {
            assert!(
                !recipe.options.is_empty() && !recipe.packages.is_empty(),
                "{}",
                recipe.id
            );
            assert_eq!(
                recipe.profile.is_none(),
                recipe.kind == Kind::Ours,
                "{}",
                recipe.id
            );
        }
    }

    #[test]
    fn versions_lose_their_paths() {
        assert_eq!(
            after_path("https://example.org/index#axum@0.8.9", "axum@0.8.9"),
            "axum 0.8.9"
        );
        assert_eq!(
            after_path(
                "matrix/.env/bin/envoy  version: 1.40",
                "envoy  version: 1.40"
            ),
            "version: 1.40"
        );
    }
}
