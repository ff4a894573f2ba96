//! The examples for other people's tests and pipelines do what their pages say: they pass on a service that leaves well,
//! fail on one that does not, and their workflow is one.
//!
//! What is not installed is skipped and says so; `.ci/run` installs all of it.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::seats::seat;

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name)
}

/// Runs a program in the directory of an example, which finds the command in LAMEDUCK.
fn run(directory: &str, program: &str, arguments: &[&str], careless: &str) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(example(directory))
        .env("LAMEDUCK", LAMEDUCK)
        .env("CARELESS", careless)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Whether a program is here; says so if not.
fn is_here(program: &str, arguments: &[&str]) -> bool {
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let here = done.is_ok_and(|status| status.success());
    if !here {
        eprintln!(
            "skipped: {program} {} does not run here",
            arguments.join(" ")
        );
    }
    here
}

fn all(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(error)
}

#[test]
fn pytest_passes_on_the_service_and_fails_on_a_careless_one() {
    let _seat = seat();
    if !is_here("python3", &["-m", "pytest", "--version"]) {
        return;
    }
    let pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider"];
    let good = run("pytest", "python3", &pytest, "");
    let said = all(&good);
    assert!(good.status.success(), "{said}");
    // Inconclusive on a busy machine is a skip; the other test must have passed.
    assert!(
        said.contains("2 passed") || said.contains("1 passed, 1 skipped"),
        "{said}"
    );
    let bad = [&pytest[..], &["-k", "no_request"]].concat();
    let bad = run("pytest", "python3", &bad, "1");
    let said = all(&bad);
    assert_eq!(bad.status.code(), Some(1), "{said}");
    assert!(
        said.contains("requests lost") && said.contains("H1-01: "),
        "{said}"
    );
}

#[test]
fn node_test_passes_on_the_service_and_fails_on_a_careless_one() {
    let _seat = seat();
    if !is_here("node", &["--test", "--version"]) {
        return;
    }
    let good = run("node", "node", &["--test"], "");
    let said = all(&good);
    assert!(good.status.success(), "{said}");
    assert!(
        said.contains("fail 0") && !said.contains("pass 0"),
        "{said}"
    );
    let bad = run(
        "node",
        "node",
        &["--test", "--test-name-pattern=no request"],
        "1",
    );
    let said = all(&bad);
    assert_eq!(bad.status.code(), Some(1), "{said}");
    assert!(
        said.contains("requests lost") && said.contains("H1-01: "),
        "{said}"
    );
}

/// What a workflow must have to be taken, besides being YAML: events, jobs, a machine, and steps that do one thing each.
const CHECK: &str = r#"
import sys, yaml
flow = yaml.safe_load(open(sys.argv[1]))
assert set(flow) <= {"name", "on", True, "permissions", "env", "jobs", "concurrency", "defaults"}, flow.keys()
assert flow.get("on", flow.get(True)), "no events"
for name, job in flow["jobs"].items():
    assert job["runs-on"] and job["timeout-minutes"], name
    for step in job["steps"]:
        assert ("run" in step) != ("uses" in step), step
        assert set(step) <= {"name", "id", "if", "uses", "with", "run", "env", "shell"}, step
        if "uses" in step:
            assert "@" in step["uses"], step
        else:
            print(step["run"])
"#;

#[test]
fn the_workflow_is_one_and_its_scripts_are_shell() {
    let path = example("github-actions/verify.yml");
    let text = std::fs::read_to_string(&path).expect("the workflow");
    assert!(!text.contains('\t'), "YAML has no tabs");
    assert!(text.contains("lameduck verify --profile"), "{text}");
    if !is_here("python3", &["-c", "import yaml"]) {
        return;
    }
    let path = path.to_str().expect("a path of ours");
    let checked = run("github-actions", "python3", &["-c", CHECK, path], "");
    assert!(checked.status.success(), "{}", all(&checked));
    let scripts = String::from_utf8(checked.stdout).expect("text");
    let shell = run("github-actions", "bash", &["-n", "-c", &scripts], "");
    assert!(shell.status.success(), "{}", all(&shell));
}
