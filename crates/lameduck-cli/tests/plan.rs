//! `lameduck plan`: what it prints is what the examples hold, and what the platforms' own readers read.

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::service::{Ended, Service};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

fn plan(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let arguments = [&["plan"], arguments].concat();
    Service::start(LAMEDUCK, &arguments, variables).end()
}

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let ended = plan(arguments, &[]);
    assert_eq!(ended.how(), "exit 0", "{}", ended.stderr);
    format!("{}\n", ended.stdout)
}

/// Compares with a file of the examples; `UPDATE_EXAMPLES=1` writes it.
#[track_caller]
fn assert_example(file: &str, arguments: &[&str]) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples")).join(file);
    let text = printed(arguments);
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        std::fs::write(&path, &text).expect(file);
    }
    let held = std::fs::read_to_string(&path).expect(file);
    let again = format!("lameduck plan {} > examples/{file}", arguments.join(" "));
    assert_eq!(held, text, "write it again: {again}");
}

#[test]
fn the_examples_are_what_it_prints() {
    assert_example(
        "kubernetes/deployment.yaml",
        &["--format", "kubernetes", "--name", "shop"],
    );
    assert_example(
        "kubernetes/deployment-alb.yaml",
        &[
            "--format",
            "kubernetes",
            "--preset",
            "aws-alb",
            "--name",
            "shop",
        ],
    );
    assert_example(
        "systemd/shop.service",
        &["--format", "systemd", "--name", "shop"],
    );
}

/// A manifest as its fields; None where nothing can read YAML.
fn yaml(text: &str) -> Option<Value> {
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1])))";
    let python = Command::new("python3").args(["-c", script, text]).output();
    match python {
        Ok(output) if output.status.success() => {
            Some(serde_json::from_slice(&output.stdout).expect("JSON"))
        }
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("ModuleNotFound") => {
            panic!("no YAML: {}", String::from_utf8_lossy(&output.stderr))
        }
        _ => {
            eprintln!("skipped: python3 yaml does not run here");
            None
        }
    }
}

#[test]
fn every_number_of_a_manifest_comes_from_the_plan() {
    for (window, floor) in [("8,1,20", 8), ("0,0.0005,3", 1), ("none", 1)] {
        numbers_come_from_the_plan(window, floor);
    }
}

fn numbers_come_from_the_plan(window: &str, floor: u64) {
    let flags = [
        "--preset",
        "kubernetes",
        "--grace",
        "40s",
        "--window",
        window,
    ];
    let plan: Value = serde_json::from_str(&printed(&[&["--format", "json"], &flags[..]].concat()))
        .expect("JSON");
    assert_eq!(plan["grace_ms"], 40_000);
    let sleeping = ["--format", "kubernetes", "--pre-stop", "3s"];
    let Some(manifest) = yaml(&printed(&[&sleeping[..], &flags[..]].concat())) else {
        return;
    };
    let pod = &manifest["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    // 40 s of grace, 3 s of preStop, 5 s to spare.
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 48);
    assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], 3);
    let grace = pod["metadata"]["annotations"]["lameduck.dev/grace"].as_str();
    let grace = grace
        .and_then(lameduck::parse_duration)
        .expect("a duration");
    assert_eq!(grace.as_millis(), 40_000);
    let env = container["env"].as_array().expect("variables");
    let named = |name: &str| {
        let found = env.iter().find(|one| one["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {env:?}"))
    };
    assert_eq!(
        named("LAMEDUCK_GRACE")["valueFrom"]["fieldRef"]["fieldPath"],
        "metadata.annotations['lameduck.dev/grace']"
    );
    let said = named("LAMEDUCK_WINDOW")["value"].as_str().expect("text");
    let readiness = &container["readinessProbe"];
    let noticed = readiness["periodSeconds"]
        .as_u64()
        .zip(readiness["failureThreshold"].as_u64());
    assert!(
        noticed.is_some_and(|(every, failures)| every * failures <= floor),
        "{readiness:#}"
    );

    // A process with these variables comes to the same plan.
    let variables = [
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("LAMEDUCK_GRACE", "40s"),
        ("LAMEDUCK_WINDOW", said),
    ];
    let there = self::plan(&["--format", "json"], &variables);
    let mut there: Value = serde_json::from_str(&there.stdout).expect("JSON");
    there["reason"] = plan["reason"].clone();
    assert_eq!(there, plan);
}

#[test]
fn what_cannot_be_kept_is_an_error_that_names_the_numbers() {
    let ended = plan(&["--grace", "1s"], &[]);
    assert_eq!(ended.how(), "exit 2", "{}", ended.stderr);
    assert!(ended.stderr.contains("1s"), "{}", ended.stderr);
    let ended = plan(&["--preset", "lambda"], &[]);
    assert_eq!(ended.how(), "exit 2", "{}", ended.stderr);
    let ended = plan(&["--preset", "nowhere"], &[]);
    assert!(
        ended.stderr.contains("kubernetes, aws-alb"),
        "{}",
        ended.stderr
    );
}

#[test]
fn text_says_what_would_be_followed_here_and_why() {
    let ended = plan(&[], &[("FLY_MACHINE_ID", "1"), ("LAMEDUCK_GRASE", "9s")]);
    assert!(
        ended
            .stdout
            .starts_with("plan fly (FLY_MACHINE_ID is set)\n"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stderr.contains("LAMEDUCK_GRASE is not a variable"),
        "{}",
        ended.stderr
    );
}
