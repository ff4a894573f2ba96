//! What an operator asks for.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lameduck::{News, Observed, Outcome, Phase, Window};

use super::{Controlled, Scratch, end};
use crate::support::{Rig, SLOW, plan, soon, window};

#[tokio::test]
async fn the_file_is_for_its_owner_and_goes_with_the_service() {
    let controlled = Controlled::start("file", plan(Window::NONE)).await;
    let meta = std::fs::metadata(&controlled.path).expect("it stands there");
    assert_eq!(meta.mode() & 0o777, 0o600);
    let (status, index) = controlled.json("GET /", "").await;
    assert_eq!(
        (status, &index["schema"]),
        (200, &"lameduck.control/1".into())
    );
    assert_eq!(index["pid"], std::process::id());
    let paths = index["paths"].to_string();
    for path in ["GET /status", "POST /drain", "POST /v1/participants"] {
        assert!(paths.contains(path), "{paths}");
    }
    let (status, said) = controlled.json("GET /status", "").await;
    assert_eq!((status, &said["phase"]), (200, &"Running".into()));
    assert_eq!(controlled.ask("GET /livez", "").await.0, 200);
    let path = controlled.path.clone();
    assert_eq!(end(&controlled.rig).await, Outcome::Drained);
    soon("its file is removed", async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_drain_bears_the_name_of_who_asked_and_may_have_less_time() {
    let controlled = Controlled::start("drain", plan(Window::NONE)).await;
    let life = controlled.rig.life.clone();
    for (grace, why) in [("soon", "a duration"), ("1s", "at least 1.6s")] {
        let (status, said) = controlled
            .json(&format!("POST /drain?grace={grace}"), "")
            .await;
        assert_eq!(status, 400);
        assert!(said["said"].as_str().expect("text").contains(why), "{said}");
    }
    assert_eq!(life.phase(), Phase::Running);
    let mut client = controlled.rig.connect().await;
    client.send(SLOW).await;
    controlled.rig.control.entered().await;
    let (status, said) = controlled
        .json("POST /drain?grace=20s", "disk <full>")
        .await;
    assert_eq!((status, &said["ok"]), (202, &true.into()), "{said}");
    assert_eq!(said["said"], "draining: gone in 19.0 s at the latest");
    soon("it leaves", life.drain().steering()).await;
    let drain = life.drain();
    let given = drain.deadline().expect("leaving");
    assert!(
        given < Duration::from_secs(25),
        "of 30 s only 20 were given: {given:?}"
    );
    let cause = life.cause().expect("leaving").to_string();
    let uid = std::fs::metadata("/proc/self").expect("ours").uid();
    let who = format!(
        "drain on the control socket by pid {} (uid {uid}, {})",
        std::process::id(),
        std::env::current_exe().expect("ours").display()
    );
    assert_eq!(cause, format!("asked by the program: {who}: disk <full>"));
    let (status, said) = controlled.json("POST /drain", "").await;
    assert_eq!((status, &said["ok"]), (409, &false.into()));
    let (status, said) = controlled.json("POST /reload", "").await;
    assert_eq!(status, 409, "{said}");
    // It answers while the service leaves.
    soon("the drain", async {
        while controlled.json("GET /status", "").await.1["phase"] != "Draining" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    controlled.rig.control.release.add_permits(1);
    assert_eq!(controlled.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn what_was_announced_is_taken_back() {
    let controlled = Controlled::start("announced", plan(Window::NONE)).await;
    for (line, why) in [
        ("POST /drain?in=soon", "in is a duration"),
        ("POST /drain?in=60m&grace=5s", "not both"),
    ] {
        let (status, said) = controlled.json(line, "").await;
        assert_eq!(status, 400, "{said}");
        assert!(said["said"].as_str().expect("text").contains(why), "{said}");
    }
    let (status, said) = controlled.json("POST /drain?in=60m", "tonight").await;
    assert_eq!(status, 202, "{said}");
    let (_, waiting) = controlled.json("POST /cancel", "not tonight").await;
    assert_eq!(waiting["said"], "taken back: it goes on serving");
    let (status, _) = controlled.json("POST /cancel", "").await;
    assert_eq!(status, 409, "once");
    let (_, status) = controlled.json("GET /status", "").await;
    assert_eq!(status["phase"], "Running", "{status}");
    assert!(status.get("waits").is_none(), "{status}");
}

#[tokio::test]
async fn nothing_can_be_taken_back_and_unknown_paths_say_where_to_look() {
    let controlled = Controlled::start("paths", plan(Window::NONE)).await;
    let (status, said) = controlled.json("POST /cancel", "").await;
    assert_eq!(status, 409);
    assert_eq!(
        said["said"],
        "cannot be taken back: nothing was announced, and nothing waits for its turn"
    );
    let (status, said) = controlled.json("GET /nowhere", "").await;
    assert_eq!(status, 404);
    assert!(
        said["said"].as_str().expect("text").contains("GET /"),
        "{said}"
    );
    for (line, allowed) in [
        ("GET /drain", "only POST"),
        ("POST /status", "only GET"),
        ("DELETE /v1/participants", "only GET"),
        ("GET /dump", "only POST"),
        ("GET /v1/sessions/x", "only POST"),
    ] {
        let (status, said) = controlled.json(line, "").await;
        assert_eq!(status, 405, "{line}: {said}");
        assert!(
            said["said"].as_str().expect("text").contains(allowed),
            "{said}"
        );
    }
    let (status, dump) = controlled.ask("POST /dump", "").await;
    assert_eq!(status, 200);
    assert!(dump.contains("participant"), "{dump}");
    let _ = end(&controlled.rig).await;
}

#[tokio::test]
async fn a_cut_is_audited_by_name() {
    let controlled = Controlled::start("cut", plan(window(0, 20_000, 20_000))).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let observer = move |seen: &Observed| {
        if let News::Switched(switch) = &seen.news {
            hears.lock().expect("no panic").push(switch.to_string());
        }
    };
    controlled.rig.life.observe("test", observer).expect("room");
    let (status, said) = controlled.json("POST /cut", "enough").await;
    assert_eq!(status, 202, "{said}");
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert!(matches!(outcome, Outcome::Cut(_)), "{outcome}");
    let heard = heard.lock().expect("no panic").join("\n");
    let who = format!(
        "control cut: asked to taken: by pid {} (uid ",
        std::process::id()
    );
    assert!(heard.contains(&who), "{heard}");
}

/// Somebody else connects, where the file lets them: the kernel says who it is, and they get nothing.
#[tokio::test]
async fn another_user_is_refused_and_audited() {
    // SAFETY: takes nothing, and always succeeds.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only root can be another user");
        return;
    }
    let python = Command::new("python3")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !python.is_ok_and(|status| status.success()) {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let rig = Rig::start(plan(Window::NONE)).await;
    let scratch = Scratch::new("others");
    let path = scratch.socket();
    let (friend, stranger) = (65_531, 65_532);
    lameduck_http::control(&rig.life, &path)
        .allow_uid(friend)
        .await
        .expect("a control socket");
    let as_user = |uid: u32| {
        let path = path.clone();
        tokio::task::spawn_blocking(move || {
            let output = Command::new("python3")
                .args(["-c", ASK, path.to_str().expect("ours")])
                .uid(uid)
                .gid(uid)
                .current_dir("/")
                .output()
                .expect("python runs");
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        })
    };
    let said = as_user(friend).await.expect("it ran");
    assert!(
        said.contains("200 OK") && said.contains("\"phase\""),
        "{said}"
    );
    let said = as_user(stranger).await.expect("it ran");
    assert!(
        said.contains("403 Forbidden") && !said.contains("phase"),
        "{said}"
    );
    soon("it is told", async {
        let refused = || {
            let recent = rig.life.recent().happened;
            let mut said = recent.iter().map(|seen| seen.news.to_string());
            said.any(|said| said.contains("asked to refused") && said.contains("uid 65532"))
        };
        while !refused() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let _ = end(&rig).await;
}

const ASK: &str = "
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b'GET /status HTTP/1.0\\r\\n\\r\\n')
while piece := s.recv(65536):
    sys.stdout.write(piece.decode())
";

#[tokio::test]
async fn what_a_deed_does_not_take_is_refused_and_nothing_is_done() {
    let controlled = Controlled::start("unknown", plan(Window::NONE)).await;
    for (line, why) in [
        (
            "POST /drain?graze=4s",
            "there is no parameter \"graze\": this takes grace or in",
        ),
        (
            "POST /drain?grace=4s&now",
            "a parameter is NAME=VALUE: this takes grace or in",
        ),
        (
            "POST /drain?in=1441m",
            "in is a duration such as 30s, 1500ms or 2m, a day at most",
        ),
        (
            "POST /cut?in=4s",
            "there is no parameter \"in\": this takes none",
        ),
        (
            "POST /reload?x=",
            "there is no parameter \"x\": this takes none",
        ),
    ] {
        let (status, said) = controlled.json(line, "").await;
        assert_eq!((status, said["said"].as_str()), (400, Some(why)), "{line}");
    }
    assert_eq!(controlled.rig.life.phase(), Phase::Running);
    assert_eq!(end(&controlled.rig).await, Outcome::Drained);
}

#[tokio::test]
async fn a_request_line_without_a_path_is_answered() {
    let controlled = Controlled::start("pathless", plan(Window::NONE)).await;
    for line in ["POST a:80", "GET a:80", "POST *", "OPTIONS *"] {
        let (status, _) = controlled.ask(line, "").await;
        assert_eq!(status, 404, "{line}");
    }
}

#[tokio::test]
async fn what_is_asked_while_a_turn_is_waited_for_is_answered_from_what_waits() {
    let controlled = Controlled::start("turn", plan(Window::NONE)).await;
    let life = controlled.rig.life.clone();
    let mut turns = life
        .turns(Some(Duration::from_secs(1)))
        .expect("the only one");
    life.shutdown("a new version");
    let wish = soon("the wish", turns.wanted()).await;
    soon("it waits", async {
        while !life.status().to_json().contains(r#""waits":"#) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let seconds = |said: &serde_json::Value| -> f64 {
        let said = said["said"].as_str().expect("text");
        let (_, left) = said.split_once("turn: gone in ").expect("it waits");
        let (left, _) = left.split_once(" s").expect("seconds");
        left.parse().expect("a number")
    };
    let (status, said) = controlled.json("POST /drain?in=60m", "").await;
    assert_eq!(status, 409, "{said}");
    let (status, said) = controlled.json("POST /drain?grace=9s", "").await;
    assert_eq!((status, seconds(&said) <= 9.0), (202, true), "{said}");
    soon("its deadline is earlier", async {
        loop {
            let (_, said) = controlled.json("POST /drain", "").await;
            if seconds(&said) <= 9.0 {
                break;
            }
        }
    })
    .await;
    assert_eq!(life.phase(), Phase::Running);
    let (status, _) = controlled.json("POST /cancel", "").await;
    assert_eq!(status, 200);
    drop(wish);
    assert_eq!(life.phase(), Phase::Running);
}
