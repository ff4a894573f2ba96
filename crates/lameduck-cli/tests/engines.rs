//! The commands of docs/in-your-pipeline.md that drive an engine, as they stand there: quoting, braces, ports, cleaning
//! up. The engines are stand-ins that understand these commands and refuse all others.

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{seats::seat, service::Service};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");
const DOC: &str = include_str!("../../../docs/in-your-pipeline.md");

/// What both engines have in common: a container is a demo with a file for its id and one for its log.
const CONTAINER: &str = r#"
set -eu
refuse() { echo "no such command: $*" >&2; exit 64; }
begin() { echo begun >>"$HOME/begun-$1"; setsid "$LAMEDUCK" demo --listen "$2" --window 0.2,0.1,1 --grace 4s >"$HOME/$1.log" 2>&1 & echo $! >"$HOME/$1"; }
runs() { read -r id <"$HOME/$1" && kill -0 "$id" && ! grep -q ') Z' "/proc/$id/stat"; } 2>/dev/null
stop() { read -r id <"$HOME/$1" && kill -TERM "$id"; }
remove() { if runs "$1"; then read -r id <"$HOME/$1"; kill -KILL "$id"; fi; rm -f "$HOME/$1" "$HOME/$1.log"; }
"#;

const DOCKER: &str = r#"
case "$*" in
"run -d --name duck-"*" --network host IMAGE --listen 127.0.0.1:"*) begin "$4" "$9" ;;
"inspect -f {{.State.Running}} duck-"*) if runs "$4"; then echo true; else echo false; fi ;;
"stop -t 12 duck-"*) stop "$4"; while runs "$4"; do sleep 0.02; done ;;
"logs duck-"*) cat "$HOME/$2.log" ;;
"rm -f duck-"*) remove "$3" ;;
*) refuse "$@" ;;
esac
"#;

const KUBECTL: &str = r#"
case "$*" in
"run duck-"*" --image=IMAGE --restart=Never") echo "$2" >"$HOME/made-$2" ;;
"wait --for=condition=Ready pod/duck-"*) cat "$HOME/made-${3#pod/}" ;;
"port-forward pod/duck-"*" "*":8080")
    name=${2#pod/}
    begin "$name" "127.0.0.1:${3%:8080}"
    while runs "$name"; do sleep 0.05; done ;;
"get pod duck-"*" -o jsonpath={.status.phase}") runs "$3" && echo Running ;;
"delete pod duck-"*" --wait=false") stop "$3" ;;
"logs duck-"*) cat "$HOME/$2.log" ;;
"delete pod duck-"*" --ignore-not-found --now") remove "$3"; rm "$HOME/made-$3" ;;
*) refuse "$@" ;;
esac
"#;

/// The command of the document in which this engine is started.
fn shown(engine: &str) -> String {
    let blocks = DOC.split("```console\n").skip(1);
    let block = blocks
        .filter_map(|block| block.split("```").next())
        .find(|block| block.contains(&format!("--start '{engine} run")));
    let block = block.expect("the document shows it");
    block.trim_end().trim_start_matches("$ ").to_owned()
}

fn drives(engine: &str, script: &str) {
    let _seat = seat();
    let home: PathBuf =
        std::env::temp_dir().join(format!("lameduck-{engine}-{}", std::process::id()));
    fs::create_dir_all(&home).expect("a directory of our own");
    let tool = home.join(engine);
    fs::write(&tool, format!("#!/bin/sh{CONTAINER}{script}")).expect("it can be written");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let _ = fs::remove_file(home.join("lameduck"));
    std::os::unix::fs::symlink(LAMEDUCK, home.join("lameduck")).expect("a link");
    let path = format!(
        "{}:{}",
        home.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut command = Command::new("sh");
    // A flag is given once.
    let asked = shown(engine).replace("--only P1,P2,H1-01 ", "");
    command
        .args(["-c", &format!("{asked} --only P1,H1-01 --format json")])
        .env("PATH", path)
        .env("HOME", &home)
        .env("LAMEDUCK", LAMEDUCK)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let ended = Service::launch(&mut command).end();
    let report: Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr));
    for check in report["checks"].as_array().expect("a list") {
        assert_eq!(check["verdict"], "pass", "{check:#}");
    }
    let wrote = &report["target"]["output"];
    assert!(wrote.to_string().contains("listening on"), "{wrote}");
    let names = |prefix: &str| {
        let files = fs::read_dir(&home).expect("it is there").flatten();
        files
            .filter(|file| file.file_name().to_string_lossy().starts_with(prefix))
            .count()
    };
    assert!(names("begun-duck-") > 0, "nothing was started");
    assert_eq!(
        names("duck-") + names("made-"),
        0,
        "each launch was cleaned up"
    );
    fs::remove_dir_all(&home).expect("it is ours");
}

#[test]
fn docker_as_the_document_shows_it() {
    drives("docker", DOCKER);
}

#[test]
fn kubectl_as_the_document_shows_it() {
    drives("kubectl", KUBECTL);
}
