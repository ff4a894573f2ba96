//! WS-*, TLS-3: a WebSocket behind TLS gets its Close, and its connection a close_notify.

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::soon;
use crate::tls_support::Identity;
use crate::wire::Duck;
use crate::ws::open_window;

#[tokio::test]
async fn ws_01_tls_3_a_websocket_behind_tls_ends_in_order() {
    let identity = Identity::of("localhost");
    let duck = Duck::behind(open_window(), |serve| serve.tls(identity.server())).await;
    let stream = TcpStream::connect(duck.rig.addr).await.expect("connect");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(identity.client(&["http/1.1"]));
    let stream = soon("a handshake", connector.connect(name, stream))
        .await
        .expect("a handshake");
    let (mut client, _) = soon(
        "an upgrade",
        tokio_tungstenite::client_async("ws://localhost/echo", stream),
    )
    .await
    .expect("an upgrade");
    let large = Message::binary(vec![7; 300_000]);
    client.send(large.clone()).await.expect("sent");
    let echo = soon("an echo", client.next()).await.expect("one");
    assert_eq!(echo.expect("whole"), large);
    duck.rig.terminate().await;
    let Some(Ok(Message::Close(Some(frame)))) = soon("a Close", client.next()).await else {
        panic!("no Close");
    };
    assert_eq!(frame.code, CloseCode::Away);
    // An end without close_notify would be an error.
    assert!(soon("the end", client.next()).await.is_none());
}
