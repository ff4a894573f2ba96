//! The rules, one file for each document that they enforce.

mod absence;
mod code_map;
mod contracts;
mod evidence;
mod features;
mod imports;
mod interrupted;
mod invariants;
mod links;
mod manifests;
mod names;
mod negotiation;
mod readme;
mod shape;
mod snippets;
mod words;

use crate::finding::Finding;
use crate::tree::Tree;

/// Everything that is wrong with `tree`, in no particular order.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let rules: [fn(&Tree, &mut Vec<Finding>); 17] = [
        absence::check,
        code_map::check,
        contracts::check,
        crate::contract_pages::check,
        evidence::check,
        features::check,
        imports::check,
        interrupted::check,
        invariants::check,
        links::check,
        manifests::check,
        names::check,
        negotiation::check,
        readme::check,
        shape::check,
        snippets::check,
        words::check,
    ];
    let mut findings = Vec::new();
    for rule in rules {
        rule(tree, &mut findings);
    }
    findings
}

/// Runs one rule over fixtures and returns its findings as printed.
#[cfg(test)]
fn run(rule: fn(&Tree, &mut Vec<Finding>), files: &[(&str, &str)]) -> Vec<String> {
    let mut findings = Vec::new();
    rule(&Tree::of(files), &mut findings);
    findings.iter().map(ToString::to_string).collect()
}
