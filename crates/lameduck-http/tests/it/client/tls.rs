//! `https`: what ALPN agrees on, whom to trust, and who ends first.

use std::net::SocketAddr;

use http::{Request, Version};
use lameduck::{Outcome, Window};
use lameduck_http::client::{Body, ClosedBy, ErrorKind, GivenUp};
use lameduck_http::{Limits, Protocols};

use super::support::{Side, ask, get, tries, uri};
use crate::support::{Rig, plan, soon, window};
use crate::tls_support::{Identity, TlsRig};

fn secure(host: &str, addr: SocketAddr) -> Request<Body> {
    let port = addr.port();
    Request::post(format!("https://{host}:{port}/"))
        .body("abc".into())
        .expect("a request")
}

async fn side(identity: &Identity, protocols: Protocols) -> Side {
    // What the configuration says of protocols is replaced.
    let config = identity.client(&["spdy/3"]);
    Side::with(|builder| builder.tls(config).protocols(protocols)).await
}

#[tokio::test]
async fn alpn_agrees_on_what_both_speak() {
    let rig = TlsRig::start(plan(Window::NONE)).await;
    for (protocols, version) in [
        (Protocols::Both, Version::HTTP_2),
        (Protocols::Http1, Version::HTTP_11),
        (Protocols::Http2, Version::HTTP_2),
    ] {
        let side = side(&rig.identity, protocols).await;
        // By name both families are tried: this server has an address of one.
        for host in ["127.0.0.1", "localhost", "LOCALHOST"] {
            for _ in 0..2 {
                let answer = ask(&side.client, secure(host, rig.rig.addr)).await;
                let answer = answer.expect(host);
                assert_eq!(answer.version(), version, "{host}");
                assert_eq!(answer.body(), "ok");
                assert_eq!(tries(&answer).count, 1);
            }
        }
        let figures = side.figures("idle", |figures| figures.idle == 2).await;
        assert_eq!(figures.opened, 2, "one for each name");
        side.drained().await;
    }
}

#[tokio::test]
async fn many_at_once_share_the_connection_that_alpn_allows_them_to_share() {
    let rig = TlsRig::start(plan(Window::NONE)).await;
    let side = side(&rig.identity, Protocols::Both).await;
    let asking: Vec<_> = (0..40)
        .map(|_| {
            let (client, request) = (side.client.clone(), secure("127.0.0.1", rig.rig.addr));
            tokio::spawn(async move { ask(&client, request).await })
        })
        .collect();
    for one in asking {
        soon("an answer", one)
            .await
            .expect("joined")
            .expect("an answer");
    }
    assert_eq!(side.client.snapshot().opened, 1);
    side.drained().await;
}

#[tokio::test]
async fn who_is_not_trusted_is_asked_once() {
    let rig = TlsRig::start(plan(Window::NONE)).await;
    let other = side(&Identity::of("localhost"), Protocols::Both).await;
    let error = ask(&other.client, secure("127.0.0.1", rig.rig.addr)).await;
    let error = error.expect_err("not trusted");
    assert_eq!((error.kind(), error.tries()), (ErrorKind::Unsuited, 1));
    assert_eq!(error.why_given_up(), Some(GivenUp::Final));
    let figures = other.figures("none", |figures| figures.open == 0).await;
    assert_eq!(figures.closed_by(ClosedBy::Unopened), 1);
    other.drained().await;

    let none = Side::start().await;
    let error = ask(&none.client, secure("127.0.0.1", rig.rig.addr)).await;
    assert_eq!(error.expect_err("no TLS").kind(), ErrorKind::NoTls);
    for wrong in ["/", "ftp://a/"] {
        let request = Request::get(wrong).body(()).expect("a request");
        let error = none.client.send(request).await.expect_err(wrong);
        assert_eq!(error.kind(), ErrorKind::Unsendable);
    }
    let mut connect = get(rig.rig.addr);
    *connect.method_mut() = http::Method::CONNECT;
    *connect.uri_mut() = uri(rig.rig.addr, "/");
    let error = none.client.send(connect).await.expect_err("no tunnels");
    assert_eq!(error.kind(), ErrorKind::Unsendable);
    none.drained().await;
}

#[tokio::test]
async fn a_session_that_its_server_ended_is_not_used_again() {
    let mut limits = Limits::default();
    limits.idle = crate::support::millis(30);
    let rig = TlsRig::limited(plan(Window::NONE), limits).await;
    let side = side(&rig.identity, Protocols::Http1).await;
    for _ in 0..3 {
        let answer = ask(&side.client, secure("127.0.0.1", rig.rig.addr)).await;
        assert_eq!(answer.expect("an answer").body(), "ok");
        side.figures("none", |figures| figures.open == 0).await;
    }
    assert_eq!(side.client.snapshot().closed_by(ClosedBy::Peer), 3);
    side.drained().await;
}

#[tokio::test]
async fn two_sides_that_leave_at_once_lose_nothing() {
    let rig = TlsRig::start(plan(window(20, 0, 40))).await;
    let TlsRig { rig, identity } = rig;
    let side = side(&identity, Protocols::Both).await;
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (client, request) = (side.client.clone(), secure("127.0.0.1", rig.addr));
            tokio::spawn(async move { ask(&client, request).await })
        })
        .collect();
    side.figures("one is open", |figures| figures.in_flight > 1)
        .await;
    Rig::terminate(&rig).await;
    for one in asking {
        soon("an answer", one)
            .await
            .expect("joined")
            .expect("an answer");
    }
    side.drained().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
}
