//! Services that are not ready at first, fail, or panic before they have a future.

use std::future::{Ready, ready};
use std::io;
use std::task::{Context, Poll};

use axum::response::Response;
use http::Request;
use lameduck::{Count, Lifecycle, Window};
use lameduck_http::{Body, serve};
use tower_service::Service;

use crate::support::{Client, Control, GET, Rig, plan};

/// What the service does with every request.
#[derive(Clone, Copy)]
enum Manner {
    /// Lets the caller wait once, and wakes it.
    Waits {
        has_waited: bool,
    },
    FailsToBeReady,
    PanicsWhenCalled,
}

#[derive(Clone, Copy)]
struct Odd(Manner);

impl Service<Request<Body>> for Odd {
    type Response = Response;
    type Error = io::Error;
    type Future = Ready<io::Result<Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Manner::Waits { has_waited } if !*has_waited => {
                *has_waited = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Manner::FailsToBeReady => Poll::Ready(Err(io::Error::other("on purpose"))),
            Manner::Waits { .. } | Manner::PanicsWhenCalled => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(
            matches!(self.0, Manner::Waits { has_waited: true }),
            "on purpose"
        );
        ready(Ok(Response::new(axum::body::Body::from("at last"))))
    }
}

async fn start(manner: Manner) -> Rig {
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let server = serve(&life, "127.0.0.1:0", Odd(manner)).await;
    let addr = server.expect("a server").local_addr().tcp().expect("tcp");
    Rig::running(life, addr, Control::new()).await
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_waited_for() {
    let rig = start(Manner::Waits { has_waited: false }).await;
    let mut client = Client::connect(rig.addr).await;
    for _ in 0..2 {
        client.send(GET).await;
        assert_eq!(client.served().await.text(), "at last");
    }
}

#[tokio::test]
async fn a_service_that_fails_to_be_ready_is_answered_for() {
    let rig = start(Manner::FailsToBeReady).await;
    let mut client = Client::connect(rig.addr).await;
    client.send(GET).await;
    let answer = client.answer().await.expect("an answer");
    assert!(answer.status == 500 && answer.close, "{answer:?}");
    assert_eq!(rig.count(Count::Panicked), 0);
}

#[tokio::test]
async fn a_panic_without_a_future_ends_one_request() {
    let rig = start(Manner::PanicsWhenCalled).await;
    let mut client = Client::connect(rig.addr).await;
    client.send(GET).await;
    let answer = client.answer().await.expect("an answer");
    assert!(answer.status == 500 && answer.close, "{answer:?}");
    rig.counted(Count::Panicked, 1).await;
}
