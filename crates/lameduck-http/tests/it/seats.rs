//! What one stream leaves to the next on its connection: room and notes, and nothing of what was in them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use lameduck::{Count, Lifecycle, Outcome, Window};
use lameduck_http::{Body, serve, service_fn};
use tokio::sync::mpsc;

use crate::frames::{CANCEL, DATA, END_STREAM, Fate, Peer, RST_STREAM, frame, served};
use crate::support::{Control, Rig, plan, soon, window};

#[tokio::test]
async fn a_stream_is_named_after_many_others_and_only_while_it_lasts() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let slots = &rig.life.inflight().slots;
    for round in 0..20 {
        let stream = peer.ask("/").await;
        assert_eq!(peer.fate(stream).await, served("ok"));
        // More at a time than seats are kept.
        let slow: [u32; 7] = [
            peer.ask("/slow").await,
            peer.ask("/slow").await,
            peer.ask("/slow").await,
            peer.ask("/slow").await,
            peer.ask("/slow").await,
            peer.ask("/slow").await,
            peer.ask("/slow").await,
        ];
        for _ in &slow {
            rig.control.entered().await;
        }
        let snapshot = slots.snapshot(10);
        assert_eq!((snapshot.busy, snapshot.idle), (7, 1), "round {round}");
        assert!(snapshot.requests.iter().all(|view| view.path == "/slow"));
        rig.control.release.add_permits(slow.len());
        for stream in slow {
            assert_eq!(peer.fate(stream).await, served("slow"));
        }
    }
    soon("their end", async {
        while slots.snapshot(10).busy > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(slots.snapshot(10).idle, 1, "the connection's own");
    assert_eq!(slots.dropped() + slots.contended(), 0);
}

#[tokio::test]
async fn whoever_was_reset_or_panicked_leaves_a_good_seat() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    for _ in 0..6 {
        let broken = peer.ask("/panic-late").await;
        assert!(matches!(peer.fate(broken).await, Fate::Reset(_)));
        let taken_back = peer.ask("/never").await;
        rig.control.entered().await;
        peer.send(&frame(RST_STREAM, 0, taken_back, &CANCEL.to_be_bytes()))
            .await;
        let stream = peer.ask("/").await;
        assert_eq!(peer.fate(stream).await, served("ok"));
    }
    assert_eq!(rig.count(Count::Panicked), 6);
    rig.terminate().await;
    peer.end().await;
    assert_eq!(
        rig.outcome().await,
        Outcome::Drained,
        "every seat came back"
    );
}

/// Its end panics, wherever it is dropped.
struct Bad;

impl Drop for Bad {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "on purpose");
    }
}

impl http_body::Body for Bad {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

#[tokio::test]
async fn a_body_whose_end_panics_costs_its_stream_and_not_the_connections_end() {
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let handle = async |request: Request<Body>| {
        let body = match request.uri().path() {
            "/bad" => axum::body::Body::new(Bad),
            _ => axum::body::Body::from("ok"),
        };
        Ok::<_, Infallible>(Response::new(body))
    };
    let server = serve(&life, "127.0.0.1:0", service_fn(handle)).await;
    let addr = server.expect("a server").local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, addr, Control::new()).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    peer.ask("/bad").await;
    rig.counted(Count::Panicked, 1).await;
    let stream = peer.ask("/").await;
    assert_eq!(peer.fate(stream).await, served("ok"));
    rig.terminate().await;
    peer.end().await;
    assert_eq!(
        rig.outcome().await,
        Outcome::Drained,
        "every seat came back"
    );
}

#[tokio::test]
async fn a_body_that_is_read_after_its_stream_was_answered_keeps_its_notes() {
    let (taken, mut bodies) = mpsc::unbounded_channel();
    let life = Lifecycle::embedded(plan(window(0, 20_000, 20_000))).expect("a lifecycle");
    let handle = move |request: Request<Body>| {
        let taken = taken.clone();
        async move {
            if request.uri().path() == "/keep" {
                taken.send(request.into_body()).expect("the test takes it");
            }
            Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from("ok")))
        }
    };
    let server = serve(&life, "127.0.0.1:0", service_fn(handle)).await;
    let addr = server.expect("a server").local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, addr, Control::new()).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    for _ in 0..3 {
        let upload = peer.ask_with("POST", "/keep", 0).await;
        assert_eq!(peer.fate(upload).await, served("ok"));
        let body = bodies.recv().await.expect("a body");
        let reading = tokio::spawn(body.collect());
        for _ in 0..3 {
            let stream = peer.ask("/").await;
            assert_eq!(peer.fate(stream).await, served("ok"));
        }
        peer.send(&frame(DATA, 0, upload, b"first ")).await;
        let stream = peer.ask("/").await;
        assert_eq!(peer.fate(stream).await, served("ok"));
        peer.send(&frame(DATA, END_STREAM, upload, b"last")).await;
        let read = soon("the upload", reading).await.expect("no panic");
        assert_eq!(read.expect("whole").to_bytes(), "first last");
    }
}
