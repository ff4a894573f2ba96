//! A1: probes and admin, beside the service and inside it.

use axum::Router;
use lameduck::{Lifecycle, Outcome, Window};
use lameduck_http::{ExposeDrain, LocalAddr, ServeError};

use crate::support::{Answer, Client, Rig, SLOW, plan, soon, window};

async fn ask(addr: &LocalAddr, path: &str) -> Answer {
    let mut client = Client::connect(addr.tcp().expect("tcp")).await;
    client
        .send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())
        .await;
    client.answer().await.expect("an answer")
}

#[tokio::test]
async fn a1_lbz_is_false_from_t_and_livez_stays_true() {
    let rig = Rig::start(plan(window(0, 5_000, 5_000))).await;
    let probes = lameduck_http::probes(&rig.life, "127.0.0.1:0")
        .await
        .expect("probes");
    let addr = probes.local_addr();
    assert_eq!(ask(addr, "/lbz").await.status, 200);
    assert_eq!(ask(addr, "/readyz").await.status, 200);
    rig.terminate().await;
    assert_eq!(ask(addr, "/lbz").await.status, 503);
    assert_eq!(ask(addr, "/livez").await.status, 200);
    let mut client = rig.connect().await;
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.served().await;
    assert_eq!(ask(addr, "/nothing").await.status, 404);
}

#[tokio::test]
async fn probes_answer_from_initializing_until_the_drain_is_over() {
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let probes = lameduck_http::probes(&life, "127.0.0.1:0")
        .await
        .expect("probes");
    let addr = probes.local_addr().clone();
    assert_eq!(ask(&addr, "/livez").await.status, 200);
    assert_eq!(ask(&addr, "/readyz").await.status, 503);
    let control = crate::support::Control::new();
    let app = crate::support::app(control.clone());
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
        .await
        .expect("a server");
    let public = server.local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, public, control).await;
    assert_eq!(ask(&addr, "/readyz").await.status, 200);
    let mut busy = rig.connect().await;
    busy.send(SLOW).await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    assert_eq!(ask(&addr, "/livez").await.status, 200);
    rig.control.release.add_permits(1);
    busy.served().await;
    assert_eq!(
        rig.outcome().await,
        Outcome::Drained,
        "an open prober holds nothing"
    );
}

#[tokio::test]
async fn admin_shows_the_status_and_only_at_home() {
    let rig = Rig::start(plan(window(0, 5_000, 5_000))).await;
    let admin = lameduck_http::admin(&rig.life, "127.0.0.1:0")
        .await
        .expect("admin");
    let mut busy = rig.connect().await;
    busy.send(SLOW).await;
    rig.control.entered().await;
    // The status is the driver's picture, which it renews a moment after the phase.
    let running = async {
        loop {
            let status = ask(admin.local_addr(), "/status").await;
            assert_eq!(status.status, 200);
            if status.text().contains("Running") {
                break status;
            }
        }
    };
    let status = soon("Running in the status", running).await;
    assert!(status.text().contains("/slow"), "{status:?}");
    assert_eq!(ask(admin.local_addr(), "/livez").await.status, 200);
    let refused = lameduck_http::admin(&rig.life, "0.0.0.0:0")
        .await
        .expect_err("reachable");
    assert!(matches!(refused, ServeError::Reachable(_)), "{refused}");
    rig.control.release.add_permits(1);
    busy.served().await;
}

#[tokio::test]
async fn probes_and_the_drain_can_be_mounted_in_an_application() {
    async fn leaving(request: axum::extract::Request) -> String {
        let drain = request
            .extensions()
            .get::<lameduck::Drain>()
            .expect("exposed");
        drain.is_steering().to_string()
    }
    let life = Lifecycle::embedded(plan(window(0, 5_000, 5_000))).expect("a lifecycle");
    let app = Router::new()
        .route("/leaving", axum::routing::get(leaving))
        .route_service("/lbz", lameduck_http::probe_routes(&life))
        .layer(ExposeDrain::new(&life));
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
        .await
        .expect("a server");
    life.ready();
    assert!(soon("Running", life.running()).await);
    assert_eq!(ask(server.local_addr(), "/lbz").await.status, 200);
    assert_eq!(ask(server.local_addr(), "/leaving").await.text(), "false");
    life.shutdown("now");
    soon("T", life.drain().steering()).await;
    assert_eq!(ask(server.local_addr(), "/lbz").await.status, 503);
    assert_eq!(ask(server.local_addr(), "/leaving").await.text(), "true");
}

#[tokio::test]
async fn a_plain_function_is_an_application() {
    async fn hello(
        request: http::Request<lameduck_http::Body>,
    ) -> Result<http::Response<String>, std::convert::Infallible> {
        Ok(http::Response::new(request.uri().path().to_owned()))
    }
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let app = lameduck_http::service_fn(hello);
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
        .name("hello")
        .await;
    let server = server.expect("a server");
    life.ready();
    assert!(soon("Running", life.running()).await);
    assert_eq!(ask(server.local_addr(), "/path").await.text(), "/path");
}
