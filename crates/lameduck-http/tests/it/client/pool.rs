//! Connections: reused, counted, bounded.

use lameduck_http::client::{ClosedBy, ErrorKind};

use super::support::{OK, Raw, Side, ask, get, tries, whole};
use crate::support::{Ended, millis, soon};

#[tokio::test]
async fn a_connection_is_used_again_and_its_request_is_as_http_wants_it() {
    let side = Side::start().await;
    let raw = Raw::bind().await;
    let addr = raw.addr;
    let client = side.client.clone();
    let asking = tokio::spawn(async move {
        for _ in 0..3 {
            let answer = ask(&client, get(addr)).await.expect("an answer");
            assert_eq!(answer.body(), "ok");
            assert_eq!(tries(&answer).count, 1);
        }
    });
    let mut link = raw.accept().await;
    for _ in 0..3 {
        let head = link.serve().await;
        assert_eq!(head, format!("GET / HTTP/1.1\r\nhost: {addr}\r\n\r\n"));
    }
    asking.await.expect("asked");
    let figures = side.figures("idle", |figures| figures.idle == 1).await;
    assert_eq!((figures.open, figures.opened, figures.requests), (1, 1, 3));
    side.drained().await;
    assert_eq!(link.end().await, Ended::Fin);
    assert_eq!(side.client.snapshot().closed_by(ClosedBy::Draining), 1);
}

#[tokio::test]
async fn inv_11_the_limits_hold_whatever_is_asked_at_once() {
    let side = Side::limited(|limits| {
        (limits.connections, limits.per_host, limits.waiting) = (3, 2, 4);
    })
    .await;
    let (one, two) = (Raw::bind().await, Raw::bind().await);
    let send = |addr| {
        let client = side.client.clone();
        tokio::spawn(async move { ask(&client, get(addr)).await })
    };
    let first: Vec<_> = (0..2).map(|_| send(one.addr)).collect();
    let mut links = vec![one.accept().await, one.accept().await];
    let other = send(two.addr);
    let mut link = two.accept().await;
    let waiting: Vec<_> = (0..4).map(|_| send(one.addr)).collect();
    side.figures("four wait", |figures| figures.waiting == 4)
        .await;
    let refused = soon("a refusal", send(two.addr)).await.expect("joined");
    let refused = refused.expect_err("too many wait");
    assert_eq!(refused.kind(), ErrorKind::TooManyWaiting);
    assert!(one.is_quiet().await && two.is_quiet().await);
    let figures = side.client.snapshot();
    assert_eq!(
        (figures.open, figures.in_flight, figures.refused_full),
        (3, 3, 1)
    );
    for _ in 0..3 {
        for link in &mut links {
            link.serve().await;
        }
    }
    link.serve().await;
    for one in first.into_iter().chain(waiting).chain([other]) {
        soon("an answer", one)
            .await
            .expect("joined")
            .expect("an answer");
    }
    assert_eq!(side.client.snapshot().opened, 3);
    side.drained().await;
}

#[tokio::test]
async fn a_wait_is_bounded_in_time() {
    let side = Side::limited(|limits| {
        (limits.per_host, limits.wait) = (1, millis(30));
    })
    .await;
    let raw = Raw::bind().await;
    let client = side.client.clone();
    let first = tokio::spawn(async move { ask(&client, get(raw.addr)).await });
    let mut link = raw.accept().await;
    let late = ask(&side.client, get(raw.addr)).await.expect_err("taken");
    assert_eq!(late.kind(), ErrorKind::WaitedTooLong);
    assert!(late.is_unprocessed());
    let figures = side.client.snapshot();
    assert_eq!((figures.refused_late, figures.waiting), (1, 0));
    link.serve().await;
    first.await.expect("joined").expect("an answer");
    side.drained().await;
}

#[tokio::test]
async fn whoever_is_dropped_gives_back_what_it_had() {
    let side = Side::limited(|limits| limits.per_host = 1).await;
    let raw = Raw::bind().await;
    // While it connects, while it waits, while it is answered, while its body is read.
    let client = side.client.clone();
    let answered = tokio::spawn(async move { client.send(get(raw.addr)).await });
    let mut link = raw.accept().await;
    link.head().await;
    let client = side.client.clone();
    let waits = tokio::spawn(async move { client.send(get(raw.addr)).await });
    side.figures("one waits", |figures| figures.waiting == 1)
        .await;
    waits.abort();
    side.figures("none waits", |figures| figures.waiting == 0)
        .await;
    answered.abort();
    assert_eq!(link.end().await, Ended::Fin, "its request is over");
    let figures = side.figures("none", |figures| figures.open == 0).await;
    assert_eq!(figures.closed_by(ClosedBy::Abandoned), 1);

    let client = side.client.clone();
    let reads = tokio::spawn(async move { client.send(get(raw.addr)).await });
    let mut link = raw.accept().await;
    link.head().await;
    link.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok")
        .await;
    let response = reads.await.expect("joined").expect("a response");
    assert_eq!(side.client.snapshot().in_flight, 1);
    drop(response);
    assert_eq!(link.end().await, Ended::Fin, "nobody reads the rest");
    let figures = side.figures("none", |figures| figures.open == 0).await;
    assert_eq!(figures.closed_by(ClosedBy::Abandoned), 2);
    side.drained().await;
}

#[tokio::test]
async fn a_body_of_which_the_rest_is_there_leaves_its_connection_to_others() {
    let side = Side::start().await;
    let raw = Raw::bind().await;
    let client = side.client.clone();
    let sent = tokio::spawn(async move { client.send(get(raw.addr)).await });
    let mut link = raw.accept().await;
    link.serve().await;
    drop(sent.await.expect("joined").expect("a response"));
    side.figures("idle", |figures| figures.idle == 1).await;
    let client = side.client.clone();
    let again = tokio::spawn(async move {
        whole(client.send(get(raw.addr)).await?).await;
        Ok::<_, lameduck_http::client::ClientError>(())
    });
    link.head().await;
    link.say(OK).await;
    again.await.expect("joined").expect("an answer");
    side.drained().await;
}

#[tokio::test]
async fn an_idle_connection_expires_and_one_host_makes_room_for_another() {
    let side = Side::limited(|limits| {
        (limits.idle, limits.connections) = (millis(50), 1);
    })
    .await;
    let (one, two) = (Raw::bind().await, Raw::bind().await);
    let client = side.client.clone();
    let first = tokio::spawn(async move { ask(&client, get(one.addr)).await });
    let mut link = one.accept().await;
    link.serve().await;
    first.await.expect("joined").expect("an answer");
    let client = side.client.clone();
    let other = tokio::spawn(async move { ask(&client, get(two.addr)).await });
    assert_eq!(link.end().await, Ended::Fin);
    let mut link = two.accept().await;
    link.serve().await;
    other.await.expect("joined").expect("an answer");
    assert_eq!(link.end().await, Ended::Fin);
    let figures = side.figures("none", |figures| figures.open == 0).await;
    let ended = figures.closed_by(ClosedBy::IdleExpired) + figures.closed_by(ClosedBy::Evicted);
    assert_eq!(ended, 2, "{figures:?}");
    assert!(figures.closed_by(ClosedBy::IdleExpired) >= 1);
    side.drained().await;
}
