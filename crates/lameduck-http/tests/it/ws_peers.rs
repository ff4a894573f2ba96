//! WS-*: clients that others wrote. Where one is missing, its test says so and is no proof.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::{plan, soon, window};
use crate::wire::Duck;

/// Opens a WebSocket, talks, says when it is open, and writes down how it was closed.
const PYTHON: &str = r#"
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1]) as socket:
        await socket.send("hi")
        print("echo", await socket.recv(), flush=True)
        try:
            while True:
                await (await socket.ping())
                await socket.recv()
        except websockets.ConnectionClosed as closed:
            print("closed", closed.rcvd.code, closed.rcvd.reason, "orderly" if closed.rcvd_then_sent else "not")
asyncio.run(main())
"#;

async fn has(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    soon("its version", quiet.status())
        .await
        .is_ok_and(|status| status.success())
}

#[tokio::test]
async fn ws_01_python_sees_an_orderly_close() {
    if !has(Command::new("python3").args(["-c", "import websockets"])).await {
        eprintln!("skipped: the Python package websockets does not run here");
        return;
    }
    let duck = Duck::start(plan(window(0, 20_000, 20_000))).await;
    let mut client = Command::new("python3")
        .args(["-c", PYTHON, &format!("ws://{}/echo", duck.rig.addr)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 was here a moment ago");
    let mut lines = BufReader::new(client.stdout.take().expect("it is piped")).lines();
    let mut line = async || soon("a line", lines.next_line()).await.expect("readable");
    assert_eq!(line().await.as_deref(), Some("echo hi"));
    duck.rig.terminate().await;
    assert_eq!(
        line().await.as_deref(),
        Some("closed 1001 going away orderly")
    );
    assert!(
        soon("its end", client.wait())
            .await
            .expect("a code")
            .success()
    );
    duck.rig.control.entered().await;
}

#[tokio::test]
async fn ws_01_chromium_sees_an_orderly_close() {
    let mut browser = None;
    for name in ["chromium", "chromium-browser", "google-chrome"] {
        if has(Command::new(name).arg("--version")).await {
            browser = Some(name);
            break;
        }
    }
    let Some(browser) = browser else {
        eprintln!("skipped: Chromium does not run here");
        return;
    };
    let duck = Duck::start(plan(window(0, 20_000, 20_000))).await;
    let profile = std::env::temp_dir().join(format!("lameduck-page-{}", std::process::id()));
    let mut page = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://{}/page", duck.rig.addr))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it was here a moment ago");
    assert_eq!(duck.said().await, "echo%20hi");
    duck.rig.terminate().await;
    assert_eq!(duck.said().await, "closed%201001%20going%20away%20orderly");
    page.kill().await.expect("ours");
    // Best effort: its other processes may be writing still.
    let _ = std::fs::remove_dir_all(profile);
}
