//! Imports run downwards: handles → edges → driver → machine → vocab, and edges never import each other (ARCHITECTURE, "Rooms").

use std::collections::BTreeMap;

use crate::finding::Finding;
use crate::paths::UsedPath;
use crate::source::Source;
use crate::tree::Tree;

/// The crate whose rooms are kept apart.
const CRATE: &str = "lameduck";

/// Which rooms (top-level modules) a room of `crates/lameduck` may import, beside itself. What is not listed stands
/// above all of them and may import any: the handles in `lifecycle`, and a new room until it has its row here.
const ROOMS: &[(&str, &[&str])] = &[
    ("vocab", &[]),
    ("sync", &[]),
    ("sys", &["vocab", "sync"]),
    ("machine", &["vocab"]),
    ("negotiation", &["vocab"]),
    ("inflight", &["vocab", "sync"]),
    ("driver", &["vocab", "machine", "inflight", "sync", "sys"]),
    ("lending", &["inflight"]),
    (
        EDGES,
        &["vocab", "machine", "inflight", "sync", "sys", "driver"],
    ),
];

/// The room of the edges; its modules are rooms of their own.
const EDGES: &str = "edge";

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let roots = root_names(tree);
    for source in tree.sources().iter().filter(|s| !s.is_test_file()) {
        let Some((CRATE, below)) = source.in_crate() else {
            continue;
        };
        if !matches!(below, "lib.rs" | "main.rs") {
            check_file(source, &roots, findings);
        }
    }
}

fn check_file(source: &Source, roots: &BTreeMap<String, String>, findings: &mut Vec<Finding>) {
    let module = source.module();
    let Some(room) = module.first() else { return };
    let allowed = ROOMS
        .iter()
        .find(|(name, _)| name == room)
        .map(|(_, allowed)| *allowed);
    for path in source.resolved_paths() {
        let Some(target) = target_room(&path, roots) else {
            continue;
        };
        if room == EDGES && target == EDGES {
            check_edge(source, &module, &path, findings);
        } else if target != *room
            && allowed.is_some_and(|allowed| !allowed.contains(&target.as_str()))
        {
            let reach = allowed
                .filter(|a| !a.is_empty())
                .map_or_else(|| "nothing of the crate".to_owned(), |a| a.join(", "));
            let what = format!(
                "`{room}` imports `{}`, but may import {reach}; move what it needs below both",
                path.segments.join("::")
            );
            findings.push(Finding::failure(&source.path, path.line, what));
        }
    }
}

/// An edge may name itself, and the words that `edge/mod.rs` itself defines; never a sibling.
fn check_edge(source: &Source, module: &[String], path: &UsedPath, findings: &mut Vec<Finding>) {
    let (Some(own), Some(other)) = (module.get(1), path.segments.get(2)) else {
        return;
    };
    let is_module = other.chars().next().is_some_and(char::is_lowercase) && path.segments.len() > 3;
    if own != other && is_module {
        let what =
            format!("edge `{own}` imports edge `{other}`; what both need belongs below the edges");
        findings.push(Finding::failure(&source.path, path.line, what));
    }
}

/// The room that a path leads to: `crate::room::…`, or through a name that `lib.rs` re-exports.
fn target_room(path: &UsedPath, roots: &BTreeMap<String, String>) -> Option<String> {
    if path.segments[0] != "crate" {
        return None;
    }
    let second = path.segments.get(1)?;
    match roots.get(second) {
        Some(room) => Some(room.clone()),
        None if second.chars().next()?.is_lowercase() => Some(second.clone()),
        None => None,
    }
}

/// The names that `lib.rs` lifts to the root, with the room that each comes from.
fn root_names(tree: &Tree) -> BTreeMap<String, String> {
    let lib = tree
        .sources()
        .iter()
        .find(|s| s.in_crate() == Some((CRATE, "lib.rs")));
    let paths = lib.map(Source::resolved_paths).unwrap_or_default();
    let mut names = BTreeMap::new();
    for path in paths {
        let segments: Vec<&String> = path
            .segments
            .iter()
            .filter(|s| *s != "crate" && *s != "self")
            .collect();
        if let [room, .., name] = segments.as_slice() {
            names.insert((*name).clone(), (*room).clone());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    const LIB: (&str, &str) = (
        "crates/lameduck/src/lib.rs",
        "mod vocab; pub use vocab::Phase; pub use driver::thread::Driver;",
    );

    fn findings(path: &str, text: &str) -> Vec<String> {
        run(super::check, &[LIB, (path, text)])
    }

    #[test]
    fn machine_reaches_vocab_only() {
        let text = "use crate::vocab::Phase;\nuse crate::inflight::Gate;";
        let found = findings("crates/lameduck/src/machine/mod.rs", text);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(
            "crates/lameduck/src/machine/mod.rs:2: `machine` imports `crate::inflight::Gate`"
        ));
    }

    #[test]
    fn a_re_export_hides_nothing() {
        let path = "crates/lameduck/src/machine/phases.rs";
        assert!(findings(path, "use crate::Phase;").is_empty());
        assert_eq!(findings(path, "use crate::Driver;").len(), 1);
        assert_eq!(findings(path, "fn f() { crate::{driver::x()} }").len(), 1);
    }

    #[test]
    fn edges_are_strangers() {
        let text = "use super::signal::Signals;\nuse crate::driver::Handle;\nuse super::reload::Own;\nuse super::Shared;";
        let found = findings("crates/lameduck/src/edge/reload.rs", text);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("edge `reload` imports edge `signal`"));
    }

    #[test]
    fn driver_must_not_know_an_edge_and_tests_may() {
        let text = "use crate::edge::signal::Pipe;\n#[cfg(test)]\nmod tests {\n use crate::edge::signal::Pipe;\n}";
        assert_eq!(
            findings("crates/lameduck/src/driver/thread.rs", text).len(),
            1
        );
    }

    #[test]
    fn edges_stand_below_the_handles() {
        let found = findings(
            "crates/lameduck/src/edge/control.rs",
            "use crate::lifecycle::Lifecycle;",
        );
        assert_eq!(found.len(), 1);
        assert!(
            findings(
                "crates/lameduck/src/lifecycle/start.rs",
                "use crate::edge::signal::early;"
            )
            .is_empty()
        );
    }

    #[test]
    fn other_crates_and_the_root_are_free() {
        assert!(findings("crates/lameduck-http/src/conn.rs", "use crate::edge::x;").is_empty());
        assert!(
            run(
                super::check,
                &[(
                    "crates/lameduck/src/lib.rs",
                    "use crate::edge::signal::Pipe;"
                )]
            )
            .is_empty()
        );
    }
}
