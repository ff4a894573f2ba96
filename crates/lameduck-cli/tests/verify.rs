//! `lameduck verify`, as a user and as a program have it: schema, verdict, exit codes, what to do next.

mod support;

use serde_json::Value;
use support::{
    seats::seat,
    service::{Ended, Service},
};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

fn verify(arguments: &[&str]) -> Ended {
    let mut all = vec!["verify"];
    all.extend(arguments);
    Service::start(LAMEDUCK, &all, &[]).end()
}

fn ids(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().expect("a list");
    checks
        .iter()
        .filter_map(|check| check["id"].as_str())
        .collect()
}

/// The first-light set of the contract.
const FIRST_LIGHT: [&str; 16] = [
    "P1", "P2", "P3", "P4", "P9", "A1", "A2", "A3", "A5", "H1-01", "H1-02", "H1-03", "H1-04",
    "H1-05", "H1-06", "L-H1",
];

#[test]
fn l_h1_the_embedded_demo_loses_nothing_and_the_json_is_the_schema() {
    let _seat = seat();
    let ended = verify(&["--rounds", "2", "--format", "json"]);
    let report: Value =
        serde_json::from_str(&ended.stdout).expect("JSON and nothing else on stdout");
    assert_eq!(report["schema"], "lameduck.verify/1");
    let checks = report["checks"].as_array().expect("a list").iter();
    let failed: Vec<_> = checks.filter(|check| check["verdict"] == "fail").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(report["lost"], 0);
    assert!(
        ["pass", "inconclusive"].contains(&report["verdict"].as_str().expect("a word")),
        "{report:#}"
    );
    assert_eq!(
        ended.how(),
        if report["verdict"] == "pass" {
            "exit 0"
        } else {
            "exit 3"
        }
    );

    assert_eq!(report["target"]["label"], "embedded demo");
    assert!(
        report["requests"]["sent"].as_u64() > Some(0),
        "{}",
        report["requests"]
    );
    assert_eq!(report["requests"]["lost"], 0);
    assert_eq!(report["exit"]["code"], 0);
    assert!(report["exit"]["after_ms"].as_f64() > Some(0.0));
    assert!(!report["timeline"].as_array().expect("a list").is_empty());
    let ids = ids(&report);
    for id in FIRST_LIGHT {
        assert!(ids.contains(&id), "{id} is missing in {ids:?}");
    }
    for check in report["checks"].as_array().expect("a list") {
        assert!(
            ["loss", "manners"].contains(&check["class"].as_str().expect("a word")),
            "{check:#}"
        );
        assert!(
            check["requests"].is_object() && check["figures"].is_object(),
            "{check:#}"
        );
        assert!(
            check["detail"].is_string() && check["verdict"].is_string(),
            "{check:#}"
        );
    }
}

#[test]
fn a_server_that_just_dies_fails_with_a_loss_and_a_next_command() {
    let _seat = seat();
    let target = [
        "--",
        "python3",
        "-m",
        "http.server",
        "{port}",
        "--bind",
        "127.0.0.1",
    ];
    let mut arguments = vec!["--rounds", "2", "--grace", "5s"];
    arguments.extend(target);
    let ended = verify(&arguments);
    assert_eq!(ended.how(), "exit 1", "{}\n{}", ended.stdout, ended.stderr);
    let loss = ended
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("LOST "));
    let lost = loss
        .and_then(|loss| loss.split(" of ").next())
        .expect("the loss sentence");
    assert_ne!(lost, "0", "{}", ended.stdout);
    assert!(
        ended.stdout.contains("next    lameduck verify --only "),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.trim_end().ends_with("exit 1"),
        "{}",
        ended.stdout
    );
}

#[test]
fn only_and_skip_choose() {
    let _seat = seat();
    let ended = verify(&["--only", "P1,H1-01", "--skip", "H1-01", "--format", "json"]);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(ids(&report), ["P1"]);
    assert_eq!(ended.how(), "exit 0", "{report:#}");
}

#[test]
fn a_protocol_chooses_its_checks_and_those_of_the_process() {
    let _seat = seat();
    let ended = verify(&[
        "--protocol",
        "h2,tls",
        "--only",
        "P1,H1-01,H2-01,TLS-3",
        "--format",
        "json",
    ]);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(ids(&report), ["P1", "H2-01", "TLS-3"]);
    assert_eq!(ended.how(), "exit 0", "{report:#}");
}

#[test]
fn list_shows_each_check_its_class_and_its_cost() {
    let _seat = seat();
    let ended = verify(&["--list"]);
    assert_eq!(ended.how(), "exit 0");
    for id in FIRST_LIGHT {
        let mut lines = ended.stdout.lines();
        assert!(
            lines.any(|line| line.split(' ').next() == Some(id)),
            "{id} in\n{}",
            ended.stdout
        );
    }
}

#[test]
fn what_cannot_be_tested_is_2_and_says_what_to_do() {
    let _seat = seat();
    let rows: [(&[&str], &str); 10] = [
        (&["--only", "H9-99"], "no check is named `H9-99`"),
        (&["--skip", "H9-99"], "no check is named `H9-99`"),
        (
            &["--only", "P1", "--skip", "P1"],
            "`--only` and `--skip` leave no check to run",
        ),
        (&["--", "/nonexistent/service"], "/nonexistent/service"),
        (
            &["--only", "P1", "--", "false"],
            "the target exited with 1 before it was ready",
        ),
        (&["--rounds", "0"], "--rounds"),
        (&["--signal", "NOTHING"], "--signal"),
        (&["--protocol", "h3"], "`h3` is no protocol with checks"),
        (
            &["--grpc-path", "/a.B/C", "--grpc-message", "abc"],
            "not bytes in hexadecimal",
        ),
        (
            &["--tls-url", "http://127.0.0.1:1/", "--", "true"],
            "it must begin with https://",
        ),
    ];
    for (arguments, part) in rows {
        let ended = verify(arguments);
        assert_eq!(ended.how(), "exit 2", "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(part),
            "{arguments:?}: {part:?} in\n{}",
            ended.stderr
        );
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
    let ended = verify(&["--", "/nonexistent/service"]);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
}

#[test]
fn fronts_are_listed_and_a_rollout_needs_all_it_takes() {
    let _seat = seat();
    let ended = verify(&["--list-fronts"]);
    assert_eq!(ended.how(), "exit 0");
    for front in ["none", "kubernetes", "istio", "ingress-nginx", "alb", "nlb"] {
        let mut lines = ended.stdout.lines();
        assert!(
            lines.any(|line| line.split(' ').next() == Some(front)),
            "{front} in\n{}",
            ended.stdout
        );
    }
    let rows: [(&[&str], &str); 5] = [
        (&["--front", "k8s"], "`k8s` is no front"),
        (&["--front", "alb:soon"], "`soon` is no propagation time"),
        (
            &["--pre-stop", "9s", "--grace", "9s", "--", "true"],
            "leaves nothing of a grace period",
        ),
        (&["--until", "true"], "--url"),
        (
            &[
                "--url",
                "http://127.0.0.1:1/",
                "--stop",
                "true",
                "--until",
                "true",
                "--protocol",
                "ws",
            ],
            "a rollout is watched in one protocol",
        ),
    ];
    for (arguments, part) in rows {
        let ended = verify(arguments);
        assert_eq!(ended.how(), "exit 2", "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(part),
            "{arguments:?}: {part:?} in\n{}",
            ended.stderr
        );
    }
}
