//! Several listeners on one lifecycle, each leaving in its own way.

use std::net::SocketAddr;
use std::time::Duration;

use lameduck::{Count, Late, Lifecycle, Outcome, Window};
use lameduck_http::{Serve, Server};

use crate::frames::{EVERY_STREAM, NO_ERROR, Peer, served};
use crate::support::{Client, Control, Ended, GET, Rig, SLOW, app, millis, plan, soon, window};

type Building<'a> = Serve<'a, axum::Router>;

fn tcp(server: &Server) -> SocketAddr {
    server.local_addr().tcp().expect("tcp")
}

/// A service with a public listener and a second one that `build` makes different. The rig's handlers are the public one's.
async fn two(
    window: Window,
    build: impl FnOnce(Building<'_>) -> Building<'_>,
    depends: bool,
) -> (Rig, SocketAddr) {
    let life = Lifecycle::embedded(plan(window)).expect("a lifecycle");
    let second = lameduck_http::serve(&life, "127.0.0.1:0", app(Control::new())).name("second");
    let second = build(second).await.expect("a server");
    let control = Control::new();
    let mut public =
        lameduck_http::serve(&life, "127.0.0.1:0", app(control.clone())).name("public");
    if depends {
        public = public.depends_on(&second);
    }
    let public = public.await.expect("a server");
    let addr = tcp(&public);
    (Rig::running(life, addr, control).await, tcp(&second))
}

#[tokio::test]
async fn an_inner_listener_stays_as_it_is_until_nothing_depends_on_it() {
    let (rig, inner) = two(Window::NONE, |serve| serve.inner(), true).await;
    let mut public = rig.connect().await;
    public.send(SLOW).await;
    rig.control.entered().await;
    let mut old = Client::reused(inner).await;
    let mut new = Peer::greet(inner, &[]).await;
    rig.terminate().await;
    rig.window_end().await;
    // Public admission is over; here nothing has changed, for old connections and for new ones.
    soon("the public listener's end", async {
        while tokio::net::TcpStream::connect(rig.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    old.send(GET).await;
    assert!(!old.served().await.close);
    Client::reused(inner).await;
    let stream = new.ask("/").await;
    assert_eq!(new.fate(stream).await, served("ok"));
    assert!(rig.life.report().is_none());
    rig.control.release.add_permits(1);
    assert_eq!(public.served().await.text(), "slow");
    assert_eq!(new.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(new.goaway().await, (1, NO_ERROR));
    assert_eq!(new.end().await, &Ended::Fin);
    assert_eq!(old.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
    tokio::net::TcpStream::connect(inner)
        .await
        .expect_err("swept and closed");
}

#[tokio::test]
async fn what_an_inner_listener_serves_at_its_end_is_waited_for() {
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let control = Control::new();
    let inner = lameduck_http::serve(&life, "127.0.0.1:0", app(control.clone()))
        .inner()
        .await
        .expect("a server");
    let rig = Rig::running(life, tcp(&inner), control).await;
    let mut client = rig.connect().await;
    client.send(SLOW).await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    rig.control.release.add_permits(1);
    let answer = client.served().await;
    assert_eq!(answer.text(), "slow");
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(
        rig.life.inflight().requests.total(),
        0,
        "it counts for no window"
    );
}

#[tokio::test]
async fn a_listener_may_close_before_the_others() {
    let (rig, early) = two(
        window(0, 20_000, 20_000),
        |serve| serve.window_at_most(Duration::ZERO),
        false,
    )
    .await;
    let mut idle = Client::reused(early).await;
    let mut public = Client::reused(rig.addr).await;
    rig.terminate().await;
    assert_eq!(idle.end().await, &Ended::Fin);
    soon("the early listener's end", async {
        while tokio::net::TcpStream::connect(early).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!rig.life.drain().is_closing());
    Client::connect(rig.addr).await.send(GET).await;
    public.send(GET).await;
    public.served().await;
}

#[tokio::test]
async fn a_listener_may_have_its_own_spread_and_late_policy() {
    let (rig, other) = two(
        window(0, 300, 20_000),
        |serve| serve.spread(Duration::from_secs(3600)).late(Late::Refuse),
        false,
    )
    .await;
    let mut here = Client::reused(other).await;
    let mut there = Client::reused(rig.addr).await;
    rig.terminate().await;
    here.send(GET).await;
    // Its share of an hour has not passed.
    assert!(!here.served().await.close);
    there.send(GET).await;
    assert!(there.served().await.close);
    let mut half = Client::connect(other).await;
    half.send(&GET[..5]).await;
    rig.counted(Count::Accepted, 3).await;
    rig.window_end().await;
    // Its first byte was here before.
    half.send(&GET[5..]).await;
    assert!(half.served().await.close);
    assert!(here.ends_within(millis(20_000)).await);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}
