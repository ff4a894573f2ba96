//! `cargo xtask <task>`: the chores that need more than a line of the justfile.
//!
//! `contract-pages` writes the contract's pages from the catalogue, so that they are said in one place only.
//!
//! `tidy` reads the tree and says what a compiler cannot: imports that run upwards, a code map with ghosts, an
//! invariant without a test. It owns no opinion of its own: each rule names the document that it enforces. `matrix`
//! judges servers that are not ours, for the published table; `mutants-verify` and `soak-verify` judge the tester.

mod contract_pages;
mod finding;
mod honesty;
mod lex;
mod matrix;
mod paths;
mod rules;
mod source;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use crate::finding::Severity;
use crate::tree::Tree;

const USAGE: &str = "usage: cargo xtask tidy | contract-pages | matrix [--only NAME,...] [--rounds N] [--seed SEED] [--out DIR] [--lameduck PATH] [--pages-only]
       cargo xtask mutants-verify [--only ID,...] [--output FILE] | soak-verify [--from N] [--rounds N] [--only ID,...] [--lameduck PATH]

  tidy             check what the compiler does not: imports, headers, code map, invariants, README, pages
  contract-pages   write the pages of the contract, one for each id, from the catalogue of lameduck-verify
  matrix           judge the servers of matrix/recipes and write docs/conformance.{md,html}; matrix/install brings them
  mutants-verify   break each promise of a correct server in turn: does its check see it?
  soak-verify      the whole catalogue again and again on correct servers, where nothing may fail";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("tidy"), None) => tidy(root()),
        (Some("contract-pages"), None) => contract_pages(root()),
        (Some("mutants-verify"), first) => honesty::mutants(root(), first.into_iter().chain(args)),
        (Some("soak-verify"), first) => honesty::soak(root(), first.into_iter().chain(args)),
        (Some("matrix"), first) => matrix::matrix(root(), first.into_iter().chain(args)),
        (Some("help" | "--help" | "-h"), _) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// The workspace that this binary was built from.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask stands inside the workspace")
}

/// Writes the pages of the contract where they are missing or other.
fn contract_pages(root: &Path) -> ExitCode {
    let written = Tree::read(root).and_then(|tree| contract_pages::write(root, &tree));
    match written {
        Ok(count) => {
            eprintln!("contract-pages: {count} written, the others are current");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: cannot write the pages: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs every rule over the workspace.
fn tidy(root: &Path) -> ExitCode {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("error: cannot read {}: {error}", root.display());
            return ExitCode::from(2);
        }
    };
    let mut findings = rules::check(&tree);
    findings.sort();
    let (mut failures, mut advice) = (0_u32, 0_u32);
    for finding in &findings {
        match finding.severity {
            Severity::Failure => failures += 1,
            Severity::Advice => advice += 1,
        }
        println!("{finding}");
    }
    eprintln!(
        "tidy: {} files, {failures} to fix, {advice} to think about",
        tree.files().len()
    );
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
