//! What is sent again, and what never is.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use lameduck_http::client::{Body, ClientError, ClosedBy, ErrorKind, GivenUp, RetryReason};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::support::{Link, OK, Raw, Side, ask, request, streaming, tries};
use crate::support::{millis, soon};

type Asked = JoinHandle<Result<Response<Bytes>, ClientError>>;

fn asked(side: &Side, raw: &Raw, method: &'static str, body: impl Into<Body>) -> Asked {
    let (client, request) = (side.client.clone(), request(method, raw.addr, body));
    tokio::spawn(async move { ask(&client, request).await })
}

async fn answer(asked: Asked) -> Result<Response<Bytes>, ClientError> {
    soon("an answer", asked).await.expect("joined")
}

/// A client with one idle connection, its server, and the server's end of it.
async fn idle(side: &Side) -> (Raw, Link) {
    let raw = Raw::bind().await;
    let first = asked(side, &raw, "GET", ());
    let mut link = raw.accept().await;
    link.serve().await;
    answer(first).await.expect("an answer");
    side.figures("idle", |figures| figures.idle == 1).await;
    (raw, link)
}

/// The server ends an idle connection, and no task of the client has had a turn since.
#[tokio::test]
async fn an_idle_connection_that_was_ended_is_seen_to_be_whatever_is_asked() {
    for method in ["GET", "POST"] {
        for body in [Body::from(()), Body::from("abc"), streaming("abc")] {
            let side = Side::start().await;
            let what = format!("{method} {body:?}");
            let (raw, link) = idle(&side).await;
            drop(link);
            let (client, request) = (side.client.clone(), request(method, raw.addr, body));
            let mut asking = tokio::spawn(async move { ask(&client, request).await });
            let mut link = tokio::select! {
                link = raw.accept() => link,
                early = &mut asking => panic!("{what}: {early:?}"),
            };
            link.serve().await;
            let answer = answer(asking).await.expect(&what);
            // It was never given the request.
            assert_eq!(tries(&answer).count, 1, "{what}");
            let figures = side.client.snapshot();
            assert_eq!((figures.opened, figures.closed_by(ClosedBy::Peer)), (2, 1));
            side.drained().await;
        }
    }
}

#[tokio::test]
async fn what_may_have_been_processed_is_sent_again_only_if_twice_is_once() {
    for (method, body, again) in [
        ("GET", Body::from(()), true),
        ("DELETE", Body::from(()), true),
        ("PUT", Body::from("abc"), true),
        ("PUT", streaming("abc"), false),
        ("PUT", Body::from(vec![b'x'; 9]), false),
        ("POST", Body::from("abc"), false),
        ("POST", Body::from(()), false),
        ("PATCH", Body::from("abc"), false),
    ] {
        let side = Side::limited(|limits| limits.replay = 8).await;
        let what = format!("{method} {body:?}");
        let (raw, mut link) = idle(&side).await;
        let asking = asked(&side, &raw, method, body);
        link.head().await;
        drop(link);
        if again {
            raw.accept().await.serve().await;
            let answer = answer(asking).await.expect(&what);
            assert_eq!(tries(&answer).reasons, [RetryReason::Cut], "{what}");
            assert_eq!(side.client.snapshot().retries_for(RetryReason::Cut), 1);
        } else {
            let error = answer(asking).await.expect_err(&what);
            assert_eq!((error.kind(), error.tries()), (ErrorKind::Cut, 1), "{what}");
            let why = match method {
                "PUT" => GivenUp::BodySpent,
                _ => GivenUp::NotIdempotent,
            };
            assert_eq!(error.why_given_up(), Some(why), "{what}");
            assert!(!error.is_unprocessed() && raw.is_quiet().await, "{what}");
        }
        side.drained().await;
    }
}

#[tokio::test]
async fn a_response_that_has_begun_is_never_asked_for_again() {
    for begun in [
        "H",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let side = Side::start().await;
        let (raw, mut link) = idle(&side).await;
        let asking = asked(&side, &raw, "GET", ());
        link.head().await;
        link.say(begun.as_bytes()).await;
        drop(link);
        let error = answer(asking).await.expect_err(begun);
        let kind = match begun {
            "nonsense\r\n\r\n" => ErrorKind::Malformed,
            _ => ErrorKind::CutShort,
        };
        assert_eq!(
            (error.kind(), error.tries()),
            (kind, 1),
            "{begun:?}: {error}"
        );
        assert_eq!(error.why_given_up(), Some(GivenUp::Final));
        assert!(raw.is_quiet().await, "{begun:?}");
        side.drained().await;
    }
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_an_error_and_no_second_request() {
    let side = Side::start().await;
    let (raw, mut link) = idle(&side).await;
    let (client, get) = (side.client.clone(), request("GET", raw.addr, ()));
    let asking = tokio::spawn(async move { client.send(get).await });
    link.head().await;
    link.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc")
        .await;
    let response = asking.await.expect("joined").expect("a response");
    drop(link);
    let body = soon("the body", response.into_body().collect()).await;
    let error = body.expect_err("two bytes are missing");
    assert!(!error.is_expired(), "{error}");
    assert!(raw.is_quiet().await);
    side.drained().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_as_often_as_allowed_and_may_come_back() {
    let raw = Raw::bind().await;
    let addr = raw.addr;
    drop(raw);
    let side = Side::start().await;
    let error = ask(&side.client, request("POST", addr, streaming("abc"))).await;
    let error = error.expect_err("refused");
    assert_eq!((error.kind(), error.tries()), (ErrorKind::Unreached, 3));
    assert_eq!(error.why_given_up(), Some(GivenUp::Tries));
    assert!(error.is_unprocessed());
    assert_eq!(
        error.to_string(),
        "the server was not reached, given up after 3 tries: it was tried as often as allowed"
    );
    let figures = side.client.snapshot();
    assert_eq!(figures.retries_for(RetryReason::Unreached), 2);
    assert_eq!((figures.open, figures.opened), (0, 0));
    side.drained().await;

    let side = Side::limited(|limits| limits.tries = 100).await;
    let (client, post) = (side.client.clone(), request("POST", addr, streaming("abc")));
    let asking = tokio::spawn(async move { ask(&client, post).await });
    side.figures("a retry", |figures| {
        figures.retries_for(RetryReason::Unreached) > 0
    })
    .await;
    let listener = TcpListener::bind(addr).await.expect("the port is free");
    let (mut stream, _) = soon("a connection", listener.accept())
        .await
        .expect("accept");
    stream.write_all(OK).await.expect("write");
    assert_eq!(
        answer(asking).await.expect("an answer").status(),
        StatusCode::OK
    );
    side.drained().await;
}

/// On two threads, because the end may be seen before the request gets its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_up_at_once_is_no_end_of_the_client() {
    let side = Side::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("an address");
    let hangs_up = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    for _ in 0..50 {
        let error = ask(&side.client, request("GET", addr, ())).await;
        let kind = error.expect_err("nobody answers").kind();
        let ended = [ErrorKind::Unreached, ErrorKind::Unwritten, ErrorKind::Cut];
        assert!(ended.contains(&kind), "{kind:?}");
    }
    hangs_up.abort();
    side.figures("none", |figures| figures.open == 0).await;
    side.drained().await;
}

#[tokio::test]
async fn inv_11_a_head_without_end_a_flood_of_hints_and_silence_are_bounded() {
    let side = Side::limited(|limits| limits.head = 8_192).await;
    let (raw, mut link) = idle(&side).await;
    let asking = asked(&side, &raw, "GET", ());
    link.head().await;
    let mut said = 0_usize;
    let _ = link.stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
    while said < 64 << 20 {
        let line = format!("x-{said}: {}\r\n", "y".repeat(1_000));
        if soon("a write", link.stream.write_all(line.as_bytes()))
            .await
            .is_err()
        {
            break;
        }
        said += line.len();
    }
    assert!(said < 64 << 20, "somebody has to stop");
    let error = answer(asking).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    side.drained().await;

    let side = Side::start().await;
    let (raw, mut link) = idle(&side).await;
    let asking = asked(&side, &raw, "GET", ());
    link.head().await;
    let mut hints = 0;
    while hints < 1_000_000 {
        let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n";
        if soon("a write", link.stream.write_all(hint)).await.is_err() {
            break;
        }
        hints += 1;
        tokio::task::yield_now().await;
    }
    assert!(hints < 1_000_000, "somebody has to stop");
    let error = answer(asking).await.expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    side.drained().await;

    let side = Side::limited(|limits| {
        (limits.answer, limits.stall) = (millis(40), millis(40));
    })
    .await;
    let (raw, mut link) = idle(&side).await;
    let asking = asked(&side, &raw, "GET", ());
    link.head().await;
    let error = answer(asking).await.expect_err("no answer");
    assert_eq!((error.kind(), error.tries()), (ErrorKind::Expired, 1));
    let (client, get) = (side.client.clone(), request("GET", raw.addr, ()));
    let asking = tokio::spawn(async move { client.send(get).await });
    let mut link = raw.accept().await;
    link.head().await;
    link.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc")
        .await;
    let response = asking.await.expect("joined").expect("a response");
    let body = soon("the body", response.into_body().collect()).await;
    assert!(body.expect_err("it stands still").is_expired());
    side.figures("none", |figures| figures.open == 0).await;
    side.drained().await;
}
