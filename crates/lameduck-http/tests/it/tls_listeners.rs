//! TLS among other listeners, and what handlers learn of it.

use axum::routing::get;
use axum::{Extension, Router};
use lameduck::{Lifecycle, Outcome, Window};
use lameduck_http::tls::rustls::ServerConfig;
use lameduck_http::tls::rustls::server::WebPkiClientVerifier;
use lameduck_http::{Limits, Peer};
use rustls::ClientConfig;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::frames;
use crate::support::{Client, Control, Ended, GET, Rig, app, plan, soon, window};
use crate::tls_support::{Identity, Records, TlsRig, ends_in_order, provider};

/// What a handler sees of its client.
async fn who(Extension(peer): Extension<Peer>) -> String {
    let Some(tls) = peer.tls() else {
        return format!("{} in the clear", peer.addr().is_some());
    };
    format!(
        "{} {} {} {}",
        tls.server_name().unwrap_or("-"),
        String::from_utf8_lossy(tls.alpn().unwrap_or(b"-")),
        tls.version()
            .and_then(|version| version.as_str())
            .unwrap_or("-"),
        tls.certificates().len(),
    )
}

/// A service that asks its clients for a certificate that signs itself.
async fn asking(ours: &Identity, theirs: &Identity) -> Rig {
    let verifier = WebPkiClientVerifier::builder_with_provider(theirs.roots().into(), provider())
        .allow_unauthenticated()
        .build()
        .expect("a verifier");
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![ours.certificate.clone()], ours.key())
        .expect("a configuration");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let life = Lifecycle::embedded(plan(window(0, 50, 500))).expect("a lifecycle");
    let server = lameduck_http::serve(&life, "127.0.0.1:0", Router::new().route("/", get(who)))
        .tls(Arc::new(config))
        .connect_info(Peer::clone)
        .await
        .expect("a server");
    let addr = server.local_addr().tcp().expect("tcp");
    Rig::running(life, addr, Control::new()).await
}

#[tokio::test]
async fn client_certificates_reach_the_handler_over_both_protocols() {
    let (ours, theirs, stranger) = (
        Identity::of("localhost"),
        Identity::of("client"),
        Identity::of("stranger"),
    );
    let rig = asking(&ours, &theirs).await;
    let with = |identity: &Identity, alpn: &str| {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(ours.roots())
            .with_client_auth_cert(vec![identity.certificate.clone()], identity.key())
            .expect("a certificate");
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Arc::new(config)
    };
    let mut one = Records::connect(rig.addr, with(&theirs, "http/1.1")).await;
    one.shake().await.expect("a handshake");
    let mut one = Client::over(one);
    one.send(GET).await;
    assert_eq!(one.served().await.text(), "localhost http/1.1 TLSv1_3 1");

    let mut two = Records::connect(rig.addr, with(&theirs, "h2")).await;
    two.shake().await.expect("a handshake");
    let mut two = frames::Peer::over(two).greeted(&[]).await;
    let stream = two.ask("/").await;
    assert_eq!(
        two.fate(stream).await,
        frames::served("localhost h2 TLSv1_3 1")
    );

    let mut none = Records::connect(rig.addr, ours.client(&[])).await;
    none.shake().await.expect("a handshake");
    let mut none = Client::over(none);
    none.send(GET).await;
    assert_eq!(none.served().await.text(), "localhost - TLSv1_3 0");

    // In TLS 1.3 the client is through before it is judged.
    let mut unknown = Records::connect(rig.addr, with(&stranger, "http/1.1")).await;
    let refused = match unknown.shake().await {
        Ok(()) => unknown.hear().await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "a certificate that nobody trusts");
    rig.counted(lameduck::Count::HandshakeFailed, 1).await;
}

async fn probe(addr: std::net::SocketAddr, path: &str) -> u16 {
    let mut client = Client::connect(addr).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    client.send(request.as_bytes()).await;
    client.answer().await.expect("an answer").status
}

#[tokio::test]
async fn tcp_unix_and_tls_listeners_drain_together_while_probes_answer() {
    let identity = Identity::of("localhost");
    let path = std::env::temp_dir().join(format!("lameduck-http-all-{}.sock", std::process::id()));
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let control = Control::new();
    let service = || app(control.clone());
    let tcp = lameduck_http::serve(&life, "127.0.0.1:0", service())
        .await
        .expect("a server");
    let unix = lameduck_http::serve(&life, format!("unix:{}", path.display()), service())
        .await
        .expect("a server");
    let tls = lameduck_http::serve(&life, "127.0.0.1:0", service())
        .name("tls")
        .tls(identity.server())
        .await
        .expect("a server");
    let probes = lameduck_http::probes(&life, "127.0.0.1:0")
        .await
        .expect("probes");
    let probes = probes.local_addr().tcp().expect("tcp");
    assert!(unix.local_addr().tcp().is_none());
    let addr = tcp.local_addr().tcp().expect("tcp");
    let secure = tls.local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, addr, control.clone()).await;

    let mut plain: Client<TcpStream> = rig.connect().await;
    let local = soon("a connection", UnixStream::connect(&path)).await;
    let mut local = Client::over(local.expect("connect"));
    let mut records = Records::connect(secure, identity.client(&["http/1.1"])).await;
    records.shake().await.expect("a handshake");
    let mut sealed = Client::over(records);
    let slow = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";
    plain.send(slow).await;
    local.send(slow).await;
    sealed.send(slow).await;
    for _ in 0..3 {
        control.entered().await;
    }
    assert_eq!(probe(probes, "/lbz").await, 200);
    rig.terminate().await;
    rig.window_end().await;
    assert_eq!(probe(probes, "/lbz").await, 503);
    assert_eq!(probe(probes, "/livez").await, 200);
    control.release.add_permits(3);
    assert!(plain.served().await.close);
    assert!(local.served().await.close);
    assert!(sealed.served().await.close);
    assert_eq!(plain.end().await, &Ended::Fin);
    assert_eq!(local.end().await, &Ended::Fin);
    ends_in_order(sealed).await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert!(!path.exists());
}

#[tokio::test]
async fn tls_over_a_unix_socket_is_served() {
    let identity = Identity::of("localhost");
    let path = std::env::temp_dir().join(format!("lameduck-http-tls-{}.sock", std::process::id()));
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    lameduck_http::serve(
        &life,
        format!("unix:{}", path.display()),
        Router::new().route("/", get(who)),
    )
    .limits(Limits::default())
    .tls(identity.server())
    .connect_info(Peer::clone)
    .await
    .expect("a server");
    let rig = Rig::running(life, ([127, 0, 0, 1], 0).into(), Control::new()).await;
    let mut socket = soon("a connection", UnixStream::connect(&path))
        .await
        .expect("connect");
    let name = "localhost".try_into().expect("a name");
    let mut session = rustls::ClientConnection::new(identity.client(&[]), name).expect("a session");
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("memory");
    socket.write_all(&hello).await.expect("write");
    let mut first = [0; 3];
    soon("a ServerHello", socket.read_exact(&mut first))
        .await
        .expect("read");
    assert_eq!(first, [22, 3, 3]);
    drop(socket);
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn without_connect_info_a_request_carries_nothing_of_ours() {
    let rig = TlsRig::start(plan(window(0, 50, 500))).await;
    let app = Router::new().route(
        "/",
        get(|peer: Option<Extension<Peer>>| async move { peer.is_none().to_string() }),
    );
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
        .await
        .expect("a server");
    let addr = server.local_addr().tcp().expect("tcp");
    let plain = Rig::running(life, addr, rig.rig.control.clone()).await;
    let mut client = plain.connect().await;
    client.send(GET).await;
    assert_eq!(client.served().await.text(), "true");
}
