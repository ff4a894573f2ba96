//! What a handler has begun hears that nobody waits for it any longer, and why.

use std::time::Duration;

use axum::routing::get;
use lameduck::inflight::Cancellation;
use lameduck::{Cancelled, Lifecycle, Outcome, Plan, Scope, Why, Window};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::frames::{CANCEL, Peer, RST_STREAM, frame, served};
use crate::park::{all_but, all_parked, mark, soon_parked};
use crate::support::{Control, GET, Rig, app, plan, soon, window};

const BEGIN: &[u8] = b"GET /begin HTTP/1.1\r\nhost: a\r\n\r\n";
const BEGIN_AND_HANG: &[u8] = b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n";
const BEGIN_AND_STREAM: &[u8] = b"GET /begin-stream HTTP/1.1\r\nhost: a\r\n\r\n";

struct Asked {
    rig: Rig,
    /// What handlers were given.
    given: UnboundedReceiver<Cancellation>,
}

/// A part of the work that a handler leaves behind.
fn begin(given: &UnboundedSender<Cancellation>) {
    let cancellation = lameduck_http::cancellation().expect("in a handler");
    let again = lameduck_http::cancellation().expect("in a handler");
    assert!(!cancellation.is_cancelled() && !again.is_cancelled());
    given.send(cancellation).expect("the test is there");
}

impl Asked {
    async fn start() -> Self {
        Self::new(plan(window(5_000, 5_000, 5_000))).await
    }

    async fn new(plan: Plan) -> Self {
        let life = Lifecycle::embedded(plan).expect("a lifecycle");
        let control = Control::new();
        let (sender, given) = unbounded_channel();
        let [begins, hangs, streams] = [(); 3].map(|()| sender.clone());
        let (hanging, streaming) = (control.clone(), control.clone());
        let app = app(control.clone())
            .route("/begin", get(async move || begin(&begins)))
            .route(
                "/hang",
                get(async move || {
                    begin(&hangs);
                    hanging.entered.add_permits(1);
                    std::future::pending::<()>().await;
                }),
            )
            .route(
                "/begin-stream",
                get(async move || {
                    begin(&streams);
                    streaming.body().await
                }),
            );
        let server = lameduck_http::serve(&life, "127.0.0.1:0", app);
        let server = server.await.expect("a server");
        let addr = server.local_addr().tcp().expect("tcp");
        Self {
            rig: Rig::running(life, addr, control).await,
            given,
        }
    }

    async fn given(&mut self) -> Cancellation {
        let given = soon("a cancellation", self.given.recv()).await;
        given.expect("handlers are there")
    }
}

async fn cancelled(cancellation: &Cancellation) -> Cancelled {
    soon("the cancellation", cancellation.cancelled()).await
}

fn assert_of_request(cancelled: &Cancelled, why: &Why) {
    assert_eq!((cancelled.scope(), cancelled.why()), (&Scope::Request, why));
}

#[tokio::test]
async fn outside_of_a_handler_there_is_none() {
    assert!(lameduck_http::cancellation().is_none());
}

#[tokio::test]
async fn what_a_request_began_is_over_with_its_response() {
    let mut asked = Asked::start().await;
    let mut client = asked.rig.connect().await;
    let mut peer = Peer::greet(asked.rig.addr, &[]).await;
    for _ in 0..3 {
        client.send(BEGIN).await;
        client.served().await;
        assert_of_request(&cancelled(&asked.given().await).await, &Why::Ended);
        let stream = peer.ask("/begin").await;
        assert_eq!(peer.fate(stream).await, served(""));
        assert_of_request(&cancelled(&asked.given().await).await, &Why::Ended);
    }
    // Each had its own, and their connection is there.
    client.send(BEGIN_AND_STREAM).await;
    let chunks = asked.rig.control.stream().await;
    let given = asked.given().await;
    chunks.send("abc".into()).await.expect("it reads");
    client.seen(b"abc").await;
    assert!(!given.is_cancelled());
    drop(chunks);
    client.answer().await.expect("an answer");
    assert_of_request(&cancelled(&given).await, &Why::Ended);
    let connection = given.parent().expect("of a connection");
    assert!(!connection.is_cancelled());
    drop(client);
    assert_eq!(cancelled(connection).await.why(), &Why::Ended);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_what_was_begun_for_it() {
    let mut asked = Asked::start().await;
    let mut client = asked.rig.connect().await;
    client.send(BEGIN_AND_HANG).await;
    let given = asked.given().await;
    drop(client);
    assert_of_request(&cancelled(&given).await, &Why::ClientGone);

    let mut peer = Peer::greet(asked.rig.addr, &[]).await;
    let stream = peer.ask("/hang").await;
    let given = asked.given().await;
    peer.send(&frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()))
        .await;
    assert_of_request(&cancelled(&given).await, &Why::ClientGone);
    // Others on its connection go on.
    let stream = peer.ask("/hang").await;
    let given = asked.given().await;
    let other = peer.ask("/").await;
    assert_eq!(peer.fate(other).await, served("ok"));
    assert!(!given.is_cancelled(), "{stream}");
    drop(peer);
    assert_of_request(&cancelled(&given).await, &Why::ClientGone);
}

#[tokio::test]
async fn the_path_leads_to_the_connection_the_listener_and_the_service() {
    let mut asked = Asked::start().await;
    let mut client = asked.rig.connect().await;
    client.send(BEGIN_AND_HANG).await;
    let request = asked.given().await;
    let path: Vec<Scope> = std::iter::successors(Some(&request), |one| one.parent())
        .map(|one| one.scope().clone())
        .collect();
    let listener = Scope::Participant(format!("http {}", asked.rig.addr).into());
    let [of_request, Scope::Connection(peer), of_listener, of_service] = &path[..] else {
        panic!("{path:?}");
    };
    assert_eq!(of_request, &Scope::Request);
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    assert_eq!((of_listener, of_service), (&listener, &Scope::Lifecycle));
}

#[tokio::test]
async fn the_drains_end_says_that_it_was_and_who_asked() {
    let short = plan(Window::NONE).with_grace(Duration::from_secs(3));
    let mut asked = Asked::new(short.expect("a plan")).await;
    let mut client = asked.rig.connect().await;
    let mut peer = Peer::greet(asked.rig.addr, &[]).await;
    client.send(BEGIN_AND_HANG).await;
    let _ = peer.ask("/hang").await;
    let given = [asked.given().await, asked.given().await];
    asked.rig.terminate().await;
    asked.rig.window_end().await;
    assert!(!given[0].is_cancelled(), "it may be finished still");
    for given in &given {
        let cancelled = cancelled(given).await;
        assert_eq!(cancelled.scope(), &Scope::Lifecycle);
        assert_eq!(cancelled.why(), &Why::DrainEnded);
        let cause = cancelled.cause().expect("somebody asked").to_string();
        assert!(cause.contains("the test says so"), "{cause}");
    }
    assert!(matches!(asked.rig.outcome().await, Outcome::Forced { .. }));
}

#[tokio::test]
async fn a_connection_is_parked_once_nobody_waits_for_its_end() {
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let (sender, mut given) = unbounded_channel();
    let (app, mark) = mark(app(Control::new()).route("/begin", get(async move || begin(&sender))));
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app).limits(soon_parked());
    let server = server.await.expect("a server");
    let addr = server.local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, addr, Control::new()).await;
    let mut client = rig.connect().await;
    client.send(BEGIN).await;
    client.served().await;
    let connection = {
        let given = soon("a cancellation", given.recv()).await;
        let given = given.expect("the handler is there");
        given.parent().expect("of a connection").clone()
    };
    // It is not put aside, which would be its end for whoever waits; others are meanwhile.
    let mut other = rig.connect().await;
    for _ in 0..3 {
        other.send(GET).await;
        other.served().await;
        all_but(1, &mark).await;
        assert!(!connection.is_cancelled());
    }
    drop(connection);
    all_parked(&mark).await;
    client.send(BEGIN).await;
    client.served().await;
    let given = soon("a cancellation", given.recv()).await;
    let given = given.expect("the handler is there");
    assert_of_request(&cancelled(&given).await, &Why::Ended);
}
