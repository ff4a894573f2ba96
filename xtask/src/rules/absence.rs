//! What must not be there (INV-6, INV-7): a clock in the machine, a signal disposition changed outside its edge.

use crate::finding::Finding;
use crate::source::Source;
use crate::tree::Tree;

/// A word or path that a place must not hold.
struct Absence {
    /// The places, as path prefixes.
    within: &'static [&'static str],
    /// Places inside those that may hold it.
    except: &'static [&'static str],
    /// Paths (`std::env`) by their leading segments, or single identifiers.
    words: &'static [&'static str],
    reason: &'static str,
}

const ABSENCES: &[Absence] = &[
    Absence {
        within: &["crates/lameduck/src/machine/"],
        except: &[],
        words: &[
            "Instant",
            "SystemTime",
            "std::thread",
            "std::env",
            "std::net",
            "std::fs",
            "std::process",
            "std::os",
            "std::io",
            "std::sync",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "UnixStream",
            "tokio",
            "libc",
            "rand",
        ],
        reason: "the machine reads no clock, thread, environment or socket (INV-6); pass it in as an `Input`",
    },
    Absence {
        within: &["crates/lameduck/src/machine/"],
        except: &[],
        words: &["HashMap", "HashSet", "RandomState", "DefaultHasher"],
        reason: "its order differs from run to run (INV-6); use `BTreeMap`, `BTreeSet` or a `Vec`",
    },
    Absence {
        within: &["crates/"],
        except: &[
            "crates/lameduck/src/edge/signal",
            // A process of its own, between the tester and a target; it never runs a line of ours besides.
            "crates/lameduck-verify/src/target/ward",
            // Between fork and exec: what a target is born with, not what we have.
            "crates/lameduck-verify/src/target/birth.rs",
            // `lameduck verify` runs no lifecycle: the edge is never there with it.
            "crates/lameduck-cli/src/verify/interrupted.rs",
            "crates/lameduck/src/sys/",
        ],
        words: &[
            "sigaction",
            "sigprocmask",
            "pthread_sigmask",
            "register_sigaction",
            "libc::signal",
            "signal_hook_registry",
        ],
        reason: "only `edge/signal` changes a disposition or mask (INV-7); ask it",
    },
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree
        .sources()
        .iter()
        .filter(|s| s.in_crate().is_some() && !s.is_test_file())
    {
        for absence in ABSENCES {
            let starts = |prefixes: &[&str]| prefixes.iter().any(|p| source.path.starts_with(p));
            if starts(absence.within) && !starts(absence.except) {
                check_file(source, absence, findings);
            }
        }
    }
}

fn check_file(source: &Source, absence: &Absence, findings: &mut Vec<Finding>) {
    let (paths, words): (Vec<&str>, Vec<&str>) =
        absence.words.iter().partition(|w| w.contains("::"));
    for token in source
        .tokens
        .iter()
        .filter(|t| !source.is_test_line(t.line))
    {
        if let Some(word) = token.ident().filter(|name| words.contains(name)) {
            findings.push(Finding::failure(
                &source.path,
                token.line,
                format!("`{word}`: {}", absence.reason),
            ));
        }
    }
    for path in source.resolved_paths() {
        let written = path.segments.join("::");
        let starts = |p: &&&str| {
            written
                .strip_prefix(**p)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        if let Some(word) = paths.iter().find(starts) {
            findings.push(Finding::failure(
                &source.path,
                path.line,
                format!("`{word}`: {}", absence.reason),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    fn findings(path: &str, text: &str) -> usize {
        run(super::check, &[(path, text)]).len()
    }

    #[test]
    fn inv_6_the_machine_has_no_clock() {
        let path = "crates/lameduck/src/machine/mod.rs";
        assert_eq!(findings(path, "use std::time::{Duration, Instant};"), 1);
        assert_eq!(findings(path, "fn f() { std::env::var(\"X\"); }"), 1);
        assert_eq!(findings(path, "use std::{env, fmt};"), 1);
        assert_eq!(
            findings(
                path,
                "use std::time::Duration; // an Instant would be wrong here"
            ),
            0
        );
        assert_eq!(
            findings(
                "crates/lameduck/src/driver/thread.rs",
                "use std::time::Instant;"
            ),
            0
        );
    }

    #[test]
    fn inv_6_tests_of_the_machine_may_hash() {
        let text = "#[cfg(test)]\nmod tests {\n use std::collections::HashSet;\n}";
        assert_eq!(findings("crates/lameduck/src/machine/mod.rs", text), 0);
    }

    #[test]
    fn inv_7_one_edge_owns_dispositions() {
        let text = "fn f() { unsafe { libc::sigaction(1, a, b) }; }";
        assert_eq!(findings("crates/lameduck/src/driver/thread.rs", text), 1);
        assert_eq!(
            findings("crates/lameduck/src/edge/signal/handler.rs", text),
            0
        );
        assert_eq!(findings("crates/lameduck/tests/signals.rs", text), 0);
    }
}
