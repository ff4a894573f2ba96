//! HTTP/2 by prior knowledge: what is refused or left behind is sent again, and no stream too many.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use lameduck_http::Protocols;
use lameduck_http::client::{Body, ClientError, ClientLimits, ClosedBy, ErrorKind, RetryReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::support::{Raw, Side, ask, request, streaming, tries};
use crate::frames::{
    ACK, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PING, PREFACE, Peer, REFUSED,
    RST_STREAM, SETTINGS, frame,
};
use crate::support::{Ended, soon};

/// The index of `:status: 200` in HPACK's static table (RFC 7541, appendix A).
const STATUS_200: &[u8] = &[0x88];
/// The same name with another value, not indexed (RFC 7541 §6.2.2).
const STATUS_103: &[u8] = &[8, 3, b'1', b'0', b'3'];
const MAX_CONCURRENT_STREAMS: u16 = 3;

async fn side() -> Side {
    Side::with(|builder| builder.protocols(Protocols::Http2)).await
}

/// The server's side of a new connection, after both prefaces.
async fn accept(raw: &Raw, settings: &[(u16, u32)]) -> Peer {
    let mut stream = raw.accept().await.stream;
    let mut preface = [0; PREFACE.len()];
    soon("the preface", stream.read_exact(&mut preface))
        .await
        .expect("a preface");
    assert_eq!(preface, *PREFACE);
    let mut peer = Peer::over(stream);
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    peer.send(&frame(SETTINGS, 0, 0, &payload)).await;
    let first = peer.frame(SETTINGS).await;
    assert_eq!(first.flags, 0);
    peer.send(&frame(SETTINGS, ACK, 0, &[])).await;
    peer
}

/// The stream of the next request.
async fn asked(peer: &mut Peer) -> u32 {
    peer.frame(HEADERS).await.stream
}

async fn answer(peer: &mut Peer, stream: u32) {
    let flags = END_HEADERS | END_STREAM;
    peer.send(&frame(HEADERS, flags, stream, STATUS_200)).await;
}

async fn goaway(peer: &mut Peer, last: u32) {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend(NO_ERROR.to_be_bytes());
    peer.send(&frame(GOAWAY, 0, 0, &payload)).await;
}

/// The client has read what was sent to it.
async fn heard(peer: &mut Peer) {
    peer.send(&frame(PING, 0, 0, b"so far..")).await;
    let pong = peer.frame(PING).await;
    assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"so far.."[..]));
}

type Asked = JoinHandle<Result<Response<Bytes>, ClientError>>;

fn send(side: &Side, raw: &Raw, method: &'static str, body: impl Into<Body>) -> Asked {
    let (client, request) = (side.client.clone(), request(method, raw.addr, body));
    tokio::spawn(async move { ask(&client, request).await })
}

async fn answered(asked: Asked) -> Response<Bytes> {
    let answer = soon("an answer", asked).await.expect("joined");
    answer.expect("an answer")
}

/// The server ends an idle connection, and no task of the client has had a turn since.
#[tokio::test]
async fn an_idle_connection_that_was_ended_is_seen_to_be_whatever_is_asked() {
    for says_so in [false, true] {
        let (side, raw) = (side().await, Raw::bind().await);
        let first = send(&side, &raw, "GET", ());
        let mut peer = accept(&raw, &[]).await;
        let stream = asked(&mut peer).await;
        answer(&mut peer, stream).await;
        answered(first).await;
        side.figures("idle", |figures| figures.idle == 1).await;
        heard(&mut peer).await;
        if says_so {
            goaway(&mut peer, stream).await;
        }
        drop(peer);
        let asking = send(&side, &raw, "POST", streaming("abc"));
        let mut next = soon("another connection", accept(&raw, &[])).await;
        let stream = asked(&mut next).await;
        answer(&mut next, stream).await;
        // It was never given the request.
        assert_eq!(tries(&answered(asking).await).count, 1, "{says_so}");
        let figures = side.client.snapshot();
        assert_eq!((figures.opened, figures.closed_by(ClosedBy::Peer)), (2, 1));
        side.drained().await;
    }
}

#[tokio::test]
async fn hints_that_every_response_has_are_no_flood() {
    let (side, raw) = (side().await, Raw::bind().await);
    let mut peer = None;
    for _ in 0..40 {
        let asking = send(&side, &raw, "POST", "abc");
        let peer = match &mut peer {
            Some(peer) => peer,
            none => none.insert(accept(&raw, &[]).await),
        };
        let stream = asked(peer).await;
        for _ in 0..2 {
            peer.send(&frame(HEADERS, END_HEADERS, stream, STATUS_103))
                .await;
        }
        answer(peer, stream).await;
        assert_eq!(tries(&answered(asking).await).count, 1);
    }
    assert_eq!(side.client.snapshot().opened, 1);
    side.drained().await;
}

/// RFC 9113 §8.1: a server may answer before it has read the request. Its stream counts until the client has ended it, too.
#[tokio::test]
async fn an_upload_that_outlives_its_response_keeps_its_stream_and_is_ended() {
    let side = Side::with(|builder| {
        let mut limits = ClientLimits::default();
        limits.per_host = 1;
        builder.protocols(Protocols::Http2).limits(limits)
    })
    .await;
    let raw = Raw::bind().await;
    let stalled = Body::streaming(Full::<Bytes>::default().with_trailers(pending()));
    let asking = send(&side, &raw, "POST", stalled);
    let mut peer = accept(&raw, &[(MAX_CONCURRENT_STREAMS, 1)]).await;
    let stream = asked(&mut peer).await;
    answer(&mut peer, stream).await;
    answered(asking).await;
    let next = send(&side, &raw, "GET", ());
    side.figures("one waits", |figures| {
        (figures.in_flight, figures.waiting) == (1, 1)
    })
    .await;
    assert_eq!(peer.frame(RST_STREAM).await.stream, stream);
    let stream = asked(&mut peer).await;
    answer(&mut peer, stream).await;
    answered(next).await;
    assert_eq!(side.client.snapshot().opened, 1);
    side.drained().await;
}

struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = Bytes::from_static(&[b'x'; 1_024]);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

/// One that waits for the server to take more cannot be told, so that its connection goes.
#[tokio::test]
async fn an_upload_that_nobody_takes_ends_with_its_connection() {
    let (side, raw) = (side().await, Raw::bind().await);
    let asking = send(&side, &raw, "POST", Body::streaming(Endless));
    let mut peer = accept(&raw, &[]).await;
    let stream = asked(&mut peer).await;
    answer(&mut peer, stream).await;
    answered(asking).await;
    let figures = side
        .figures("it is closed", |figures| figures.open == 0)
        .await;
    assert_eq!(figures.closed_by(ClosedBy::Abandoned), 1);
    side.drained().await;
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_if_its_body_can_be() {
    let (side, raw) = (side().await, Raw::bind().await);
    let asking = send(&side, &raw, "POST", "abc");
    let mut peer = accept(&raw, &[]).await;
    let stream = asked(&mut peer).await;
    peer.send(&frame(RST_STREAM, 0, stream, &REFUSED.to_be_bytes()))
        .await;
    let again = asked(&mut peer).await;
    assert!(again > stream, "on the same connection");
    answer(&mut peer, again).await;
    let answer = answered(asking).await;
    assert_eq!(tries(&answer).reasons, [RetryReason::RefusedStream]);

    let asking = send(&side, &raw, "POST", streaming("abc"));
    let stream = asked(&mut peer).await;
    peer.send(&frame(RST_STREAM, 0, stream, &REFUSED.to_be_bytes()))
        .await;
    let error = soon("an error", asking).await.expect("joined");
    let error = error.expect_err("its body is gone");
    assert_eq!(error.kind(), ErrorKind::RefusedStream);
    assert!(error.is_unprocessed());
    assert_eq!(side.client.snapshot().opened, 1);
    side.drained().await;
    assert_eq!(peer.end().await, &Ended::Fin);
}

#[tokio::test]
async fn what_is_above_the_last_stream_of_a_goaway_moves_to_a_new_connection() {
    let (side, raw) = (side().await, Raw::bind().await);
    let first = send(&side, &raw, "POST", "abc");
    let mut peer = accept(&raw, &[]).await;
    let one = asked(&mut peer).await;
    let second = send(&side, &raw, "POST", "def");
    let three = asked(&mut peer).await;
    assert!(three > one);
    // The first of two says that it leaves, and refuses nothing (RFC 9113 §6.8).
    goaway(&mut peer, crate::frames::EVERY_STREAM).await;
    heard(&mut peer).await;
    let third = send(&side, &raw, "GET", ());
    let mut next = accept(&raw, &[]).await;
    let other = asked(&mut next).await;
    goaway(&mut peer, one).await;
    let moved = asked(&mut next).await;
    answer(&mut next, other).await;
    answer(&mut next, moved).await;
    answer(&mut peer, one).await;
    assert_eq!(tries(&answered(first).await).count, 1);
    let answer = answered(second).await;
    assert_eq!(tries(&answer).reasons, [RetryReason::GoneAway]);
    assert_eq!(tries(&answered(third).await).count, 1);
    assert_eq!(peer.end().await, &Ended::Fin, "its last stream is over");
    side.drained().await;
}

#[tokio::test]
async fn a_connection_that_is_cut_leaves_only_idempotent_requests_to_try_again() {
    let (side, raw) = (side().await, Raw::bind().await);
    let post = send(&side, &raw, "POST", "abc");
    let mut peer = accept(&raw, &[]).await;
    asked(&mut peer).await;
    let get = send(&side, &raw, "GET", ());
    asked(&mut peer).await;
    drop(peer);
    let mut next = accept(&raw, &[]).await;
    let again = asked(&mut next).await;
    answer(&mut next, again).await;
    assert_eq!(tries(&answered(get).await).reasons, [RetryReason::Cut]);
    let error = soon("an error", post).await.expect("joined");
    assert_eq!(error.expect_err("it may have been").kind(), ErrorKind::Cut);
    side.drained().await;
}

#[tokio::test]
async fn no_stream_is_opened_beyond_what_the_server_allows() {
    let side = Side::with(|builder| {
        let mut limits = ClientLimits::default();
        limits.per_host = 2;
        builder.protocols(Protocols::Http2).limits(limits)
    })
    .await;
    let raw = Raw::bind().await;
    let requests: Vec<_> = (0..5).map(|_| send(&side, &raw, "GET", ())).collect();
    let mut one = accept(&raw, &[(MAX_CONCURRENT_STREAMS, 2)]).await;
    let mut two = accept(&raw, &[(MAX_CONCURRENT_STREAMS, 2)]).await;
    let mut open = [
        vec![asked(&mut one).await, asked(&mut one).await],
        vec![asked(&mut two).await, asked(&mut two).await],
    ];
    let figures = side
        .figures("one waits", |figures| figures.waiting == 1)
        .await;
    assert_eq!((figures.open, figures.in_flight), (2, 4));
    assert!(raw.is_quiet().await);
    answer(&mut one, open[0].remove(0)).await;
    let last = asked(&mut one).await;
    answer(&mut one, last).await;
    answer(&mut one, open[0].remove(0)).await;
    for stream in open[1].drain(..) {
        answer(&mut two, stream).await;
    }
    for one in requests {
        answered(one).await;
    }
    side.drained().await;
}

#[tokio::test]
async fn inv_11_a_flood_of_hints_ends_the_connection() {
    let (side, raw) = (side().await, Raw::bind().await);
    let asking = send(&side, &raw, "POST", "abc");
    let mut peer = accept(&raw, &[]).await;
    let stream = asked(&mut peer).await;
    let hint = frame(HEADERS, END_HEADERS, stream, STATUS_103);
    let mut hints = 0;
    while hints < 1_000_000 && peer.stream.write_all(&hint).await.is_ok() {
        hints += 1;
        tokio::task::yield_now().await;
    }
    assert!(hints < 1_000_000, "somebody has to stop");
    let error = soon("an error", asking).await.expect("joined");
    assert_eq!(error.expect_err("too many").kind(), ErrorKind::Malformed);
    side.drained().await;
}
