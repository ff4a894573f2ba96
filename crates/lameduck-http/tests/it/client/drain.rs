//! What each phase means for the connections of a client.

use std::sync::Arc;

use http::Uri;
use lameduck::{Lifecycle, Outcome, Participant, Phase, Window};
use lameduck_http::client::{Client, ClosedBy, ErrorKind};

use super::support::{OK, Raw, Side, ask, figures, get, uri, whole};
use crate::support::{Control, Ended, Rig, SLOW, millis, plan, soon};

/// Somebody who needs the client, and is at work until the test says that it is done.
fn user(side: &Side) -> Participant {
    let user = side.life.participate("user").after(&side.client);
    let user = user.register().expect("a free name");
    user.ready();
    user
}

async fn draining(side: &Side) {
    side.life.shutdown("the test says so");
    soon("Draining", side.life.drain().closing()).await;
}

#[tokio::test]
async fn a_drain_closes_idle_connections_at_once_and_the_others_when_they_come_back() {
    let side = Side::start().await;
    let user = user(&side);
    let raw = Raw::bind().await;
    let send = || {
        let client = side.client.clone();
        tokio::spawn(async move { ask(&client, get(raw.addr)).await })
    };
    let (one, two) = (send(), send());
    let (mut idle, mut busy) = (raw.accept().await, raw.accept().await);
    idle.head().await;
    busy.head().await;
    idle.say(OK).await;
    side.figures("one idle", |figures| figures.idle == 1).await;
    draining(&side).await;
    assert_eq!(idle.end().await, Ended::Fin);
    busy.say(OK).await;
    for one in [one, two] {
        soon("an answer", one)
            .await
            .expect("joined")
            .expect("an answer");
    }
    assert_eq!(busy.end().await, Ended::Fin);
    let figures = side.figures("none", |figures| figures.open == 0).await;
    assert_eq!(figures.closed_by(ClosedBy::Draining), 2);

    // Whoever is at work still has a client; what it opens does not stay.
    let late = send();
    let mut link = raw.accept().await;
    link.serve().await;
    soon("an answer", late)
        .await
        .expect("joined")
        .expect("an answer");
    assert_eq!(link.end().await, Ended::Fin);
    let figures = side.figures("none", |figures| figures.open == 0).await;
    assert_eq!(figures.closed_by(ClosedBy::IdleExpired), 1);

    user.done();
    let outcome = soon("the end", side.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
    let error = ask(&side.client, get(raw.addr)).await.expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert_eq!(side.client.snapshot().refused_stopped, 1);
}

#[tokio::test]
async fn nothing_is_warmed_once_the_service_leaves() {
    let life = Lifecycle::embedded(plan(crate::support::window(20_000, 0, 20_000)));
    let life = life.expect("a lifecycle");
    let client = Client::builder(&life).build().expect("a client");
    life.ready();
    assert!(soon("Running", life.running()).await);
    let raw = Raw::bind().await;
    let root: Uri = uri(raw.addr, "/");
    soon("a connection", client.warm(&root))
        .await
        .expect("warm");
    let mut link = raw.accept().await;
    figures(&client, "idle", |figures| figures.idle == 1).await;
    soon("the same", client.warm(&root)).await.expect("warm");
    let seen = figures(&client, "idle", |figures| figures.idle == 1).await;
    assert_eq!((seen.opened, seen.requests), (1, 0));
    life.shutdown("the test says so");
    soon("T", life.drain().steering()).await;
    let refused = async {
        loop {
            if let Err(error) = client.warm(&root).await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    };
    let error = soon("a refusal", refused).await;
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert_eq!(life.phase(), Phase::Terminating);
    // What is there is used as before.
    let asking = {
        let (client, request) = (client.clone(), get(raw.addr));
        tokio::spawn(async move { ask(&client, request).await })
    };
    link.serve().await;
    soon("an answer", asking)
        .await
        .expect("joined")
        .expect("an answer");
    life.cut();
    let _ = soon("the end", life.outcome()).await;
}

#[tokio::test]
async fn inv_10_a_server_that_drains_has_its_client_until_it_is_done() {
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let client = Client::builder(&life).name("upstream").build();
    let client = client.expect("a client");
    let upstream = Raw::bind().await;
    let control = Control::new();
    let (proxy, entered) = (client.clone(), control.clone());
    let addr = upstream.addr;
    let app = axum::Router::new().route(
        "/slow",
        axum::routing::get(move || async move {
            entered.entered.add_permits(1);
            entered.release.acquire().await.expect("open").forget();
            match proxy.send(get(addr)).await {
                Ok(response) => String::from_utf8(whole(response).await.body().to_vec()),
                Err(error) => Ok(error.to_string()),
            }
            .expect("text")
        }),
    );
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app).after(&client);
    let server = server.await.expect("a server");
    let rig = Rig::running(life, server.local_addr().tcp().expect("tcp"), control).await;
    let mut asker = rig.connect().await;
    asker.send(SLOW).await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    rig.control.release.add_permits(1);
    let mut link = upstream.accept().await;
    link.serve().await;
    assert_eq!(asker.served().await.text(), "ok");
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(client.snapshot().open, 0);
    let report = rig.life.report().expect("over");
    let ended = |name: &str| {
        let mut all = report.participants.iter();
        let one = all.find(|one| one.name.starts_with(name)).expect(name);
        one.ended_at
    };
    assert!(ended("http") <= ended("upstream"), "{report:?}");
}

#[tokio::test]
async fn what_is_open_when_nobody_should_use_it_is_closed_and_named() {
    let side = Side::with(|builder| builder.name("billing").budget(millis(600))).await;
    let raw = Raw::bind().await;
    let client = side.client.clone();
    let asking = tokio::spawn(async move { client.send(get(raw.addr)).await });
    let mut link = raw.accept().await;
    link.head().await;
    link.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok")
        .await;
    let forgotten = Arc::new(asking.await.expect("joined").expect("a response"));
    let client = side.client.clone();
    let stuck = tokio::spawn(async move { ask(&client, get(raw.addr)).await });
    let mut silent = raw.accept().await;
    silent.head().await;
    side.life.shutdown("the test says so");
    let outcome = soon("the end", side.life.outcome()).await;
    assert_eq!(outcome, Outcome::Failed, "the hook says so");
    assert!(matches!(link.end().await, Ended::Fin | Ended::Reset));
    assert!(matches!(silent.end().await, Ended::Fin | Ended::Reset));
    let error = soon("an error", stuck).await.expect("joined");
    assert_eq!(error.expect_err("stopped").kind(), ErrorKind::Stopped);
    let figures = side.figures("none", |figures| figures.open == 0).await;
    assert_eq!(figures.closed_by(ClosedBy::Cut), 2, "{figures:?}");
    let report = side.life.report().expect("over").to_json();
    let named = format!(
        "billing still had a connection: http://{}, open for ",
        raw.addr
    );
    assert!(report.contains(&named), "{report}");
    let hook = format!(
        "2 connections were still open: http://{}, open for ",
        raw.addr
    );
    assert!(report.contains(&hook), "{report}");
    assert!(
        report.contains("1 requests so far, 1 in flight"),
        "{report}"
    );
    assert!(report.contains(r#""budget_ms":600.000"#), "{report}");
    drop(forgotten);
}

#[tokio::test]
async fn who_waits_when_the_client_is_stopped_is_told() {
    let side = Side::limited(|limits| limits.per_host = 1).await;
    let raw = Raw::bind().await;
    let send = || {
        let client = side.client.clone();
        tokio::spawn(async move { ask(&client, get(raw.addr)).await })
    };
    let first = send();
    let mut link = raw.accept().await;
    link.head().await;
    let waits = send();
    side.figures("one waits", |figures| figures.waiting == 1)
        .await;
    side.life.shutdown("the test says so");
    let error = soon("a refusal", waits).await.expect("joined");
    assert_eq!(error.expect_err("stopped").kind(), ErrorKind::Stopped);
    link.say(OK).await;
    soon("an answer", first)
        .await
        .expect("joined")
        .expect("an answer");
    let outcome = soon("the end", side.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
}
