//! A3 on Unix sockets: the file goes first, then the queue, then the socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use lameduck::{Count, Lifecycle, ListenerKind, Outcome, Window};
use lameduck_http::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Control, GET, PATIENCE, Rig, app, end_window_now, plan, soon};

fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lameduck-http-{name}-{}.sock", std::process::id()))
}

/// A running service on a Unix socket; the rig's address means nothing.
async fn start(path: &Path, limits: Limits) -> Rig {
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let control = Control::new();
    let addr = format!("unix:{}", path.display());
    lameduck_http::serve(&life, addr.as_str(), app(control.clone()))
        .limits(limits)
        .await
        .expect("a server");
    Rig::running(life, ([127, 0, 0, 1], 0).into(), control).await
}

/// Asks and reads to the end: the whole of the answer, if the end was orderly.
fn ask(mut stream: UnixStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map(|_| text)
}

#[tokio::test]
async fn a_unix_socket_is_served_and_its_file_removed() {
    let path = socket_path("served");
    let rig = start(&path, Limits::default()).await;
    let mut stream = tokio::net::UnixStream::connect(&path)
        .await
        .expect("connect");
    stream.write_all(GET).await.expect("write");
    let mut buffer = [0; 1024];
    let got = soon("an answer", stream.read(&mut buffer))
        .await
        .expect("read");
    assert!(buffer[..got].starts_with(b"HTTP/1.1 200 "));
    rig.terminate().await;
    assert_eq!(
        soon("FIN", stream.read(&mut buffer))
            .await
            .expect("orderly"),
        0
    );
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert!(!path.exists(), "the file is ours to remove");
}

#[tokio::test]
async fn a3_what_waits_on_a_unix_socket_is_served() {
    let path = socket_path("waits");
    let mut limits = Limits::default();
    limits.settle = Duration::from_secs(10);
    let rig = start(&path, limits).await;
    let waiting: Vec<_> = (0..100)
        .map(|_| UnixStream::connect(&path).expect("connect"))
        .collect();
    end_window_now(&rig);
    let readers = tokio::task::spawn_blocking(move || {
        for stream in waiting {
            let text = ask(stream).expect("no reset");
            assert!(text.starts_with("HTTP/1.1 200 "), "{text:?}");
        }
    });
    soon("100 answers", readers).await.expect("answers");
    assert_eq!(rig.outcome().await, Outcome::Drained);
    let report = rig.life.report().expect("a report");
    assert_eq!(report.listeners[0].kind, ListenerKind::Unix);
    assert_eq!(report.listeners[0].swept, 100);
}

#[tokio::test]
async fn a3_the_file_is_gone_before_the_queue_is_emptied() {
    let path = socket_path("order");
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let looked_for = path.clone();
    let app = axum::Router::new().route(
        "/",
        axum::routing::get(move || async move { format!("found: {}", looked_for.exists()) }),
    );
    let addr = format!("unix:{}", path.display());
    lameduck_http::serve(&life, addr.as_str(), app)
        .await
        .expect("a server");
    let rig = Rig::running(life, ([127, 0, 0, 1], 0).into(), Control::new()).await;
    let mut waiting = UnixStream::connect(&path).expect("connect");
    waiting.write_all(GET).expect("write");
    end_window_now(&rig);
    assert_eq!(rig.outcome().await, Outcome::Drained);
    let mut text = String::new();
    waiting.read_to_string(&mut text).expect("no reset");
    assert!(text.ends_with("found: false"), "{text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_closing_a_unix_socket_under_load_resets_nobody() {
    let path = socket_path("load");
    let rig = start(&path, Limits::default()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let lost = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (path, stop, lost) = (path.clone(), stop.clone(), lost.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(stream) = UnixStream::connect(&path) else {
                        std::thread::yield_now();
                        continue;
                    };
                    if !ask(stream).is_ok_and(|text| text.ends_with("ok")) {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    rig.counted(Count::Accepted, 200).await;
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a client");
    }
    assert_eq!(lost.load(Ordering::Relaxed), 0);
    let gone = UnixStream::connect(&path).expect_err("closed");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}
