//! TLS-3 and what H1 owes over TLS: close_notify at every orderly end, none at a cut, and nothing lost inside half a record.

use axum::Router;
use axum::extract::WebSocketUpgrade;
use axum::routing::any;
use lameduck::{Count, Lifecycle, Outcome, Plan, Window};
use lameduck_http::Limits;
use tokio::io::AsyncReadExt;

use crate::support::{
    Client, Control, Ended, GET, Rig, end_window_now, millis, plan, soon, window,
};
use crate::tls_support::{Identity, Records, TlsRig, ends_in_order};
use crate::wire::{CLOSE, GOING_AWAY, Got, TEXT, cut_frame, got, masked};

#[tokio::test]
async fn tls_3_a_request_is_served_and_the_drain_ends_by_close_notify() {
    let rig = TlsRig::start(plan(Window::NONE)).await;
    let client = rig.reused().await;
    rig.rig.terminate().await;
    ends_in_order(client).await;
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.rig.count(Count::IdleClosed), 1);
}

#[tokio::test]
async fn tls_3_an_expired_idle_connection_and_a_said_close_end_by_close_notify() {
    let mut limits = Limits::default();
    limits.idle = millis(500);
    let rig = TlsRig::limited(plan(window(0, 5_000, 5_000)), limits).await;
    ends_in_order(rig.reused().await).await;
    rig.rig.counted(Count::IdleExpired, 1).await;
    let mut client = rig.connect().await;
    client
        .send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(client.served().await.close);
    ends_in_order(client).await;
}

#[tokio::test]
async fn tls_3_a_head_that_expires_is_told_so_and_ends_by_close_notify() {
    let mut limits = Limits::default();
    limits.head = millis(50);
    let rig = TlsRig::limited(plan(window(0, 5_000, 5_000)), limits).await;
    let mut client = rig.reused().await;
    client.send(b"GET / HT").await;
    assert_eq!(client.answer().await.expect("an explanation").status, 408);
    ends_in_order(client).await;
    // Half a record is half a head.
    let mut client = rig.reused().await;
    let request = client.stream.sealed(GET);
    client.stream.write_raw(&request[..9]).await;
    assert_eq!(client.answer().await.expect("an explanation").status, 408);
    rig.rig.counted(Count::HeadExpired, 2).await;
}

/// A plan whose drain deadline comes a moment after T.
fn hasty() -> Plan {
    plan(Window::NONE)
        .with_grace(Plan::LEAST_GRACE)
        .expect("the least grace")
}

#[tokio::test]
async fn tls_3_a_cut_says_no_close_notify() {
    let rig = TlsRig::start(hasty()).await;
    let mut client = rig.connect().await;
    client.send(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    rig.rig.control.entered().await;
    rig.rig.terminate().await;
    assert_eq!(client.end().await, &Ended::Cut);
    assert!(matches!(rig.rig.outcome().await, Outcome::Forced { .. }));
}

#[tokio::test]
async fn h1_11_over_tls_a_response_delimited_by_its_close_never_looks_whole_when_it_is_cut() {
    let rig = TlsRig::start(hasty()).await;
    let chunks = rig.rig.control.stream().await;
    let mut client = rig.connect().await;
    client.send(b"GET /stream HTTP/1.0\r\n\r\n").await;
    chunks.send("part".into()).await.expect("a reader");
    client.head_seen().await;
    rig.rig.terminate().await;
    let answer = client.answer().await.expect("a head");
    assert!(!answer.whole);
    assert_eq!(client.ended, Some(Ended::Reset));
    drop(chunks);
}

/// Clients in all the ways in which a part of a request may be below TLS when nobody above it has seen anything.
async fn half_sent(rig: &TlsRig) -> Vec<(Client<Records>, Vec<u8>)> {
    let mut clients = Vec::new();
    for reused in [false, true] {
        for cut in [1, 4, 5, 20] {
            let mut client = match reused {
                false => rig.connect().await,
                true => rig.reused().await,
            };
            let request = client.stream.sealed(GET);
            client.stream.write_raw(&request[..cut]).await;
            clients.push((client, request[cut..].to_vec()));
        }
        // The first half of the head in a record of its own, the second begun.
        let mut client = match reused {
            false => rig.connect().await,
            true => rig.reused().await,
        };
        let mut request = client.stream.sealed(&GET[..7]);
        request.extend(client.stream.sealed(&GET[7..]));
        let cut = request.len() - 10;
        client.stream.write_raw(&request[..cut]).await;
        clients.push((client, request[cut..].to_vec()));
    }
    clients
}

#[tokio::test]
async fn h1_06_over_tls_inv_12_half_a_record_at_t_is_completed_and_served() {
    let mut limits = Limits::default();
    limits.settle = millis(10);
    let rig = TlsRig::limited(plan(Window::NONE), limits).await;
    let clients = half_sent(&rig).await;
    let idle = rig.reused().await;
    rig.rig.terminate().await;
    // The idle one is let go: so would be the others if nobody knew of their halves.
    ends_in_order(idle).await;
    for (mut client, rest) in clients {
        client.stream.write_raw(&rest).await;
        assert!(client.served().await.close);
        ends_in_order(client).await;
    }
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_06_over_tls_half_a_record_in_the_kernel_at_t_is_completed_and_served() {
    let mut limits = Limits::default();
    limits.settle = millis(10);
    let rig = TlsRig::limited(plan(Window::NONE), limits).await;
    let (mut one, idle) = (rig.reused().await, rig.reused().await);
    let request = one.stream.sealed(GET);
    let wrote = one.stream.tcp.try_write(&request[..9]).expect("room");
    end_window_now(&rig.rig);
    ends_in_order(idle).await;
    one.stream.write_raw(&request[wrote..]).await;
    assert!(one.served().await.close);
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_10_over_tls_a_slow_reader_gets_every_byte_and_close_notify() {
    const LENGTH: usize = 16 * 1024 * 1024;
    let rig = TlsRig::start(plan(Window::NONE)).await;
    let mut client = rig.connect().await;
    client
        .send(format!("GET /large?bytes={LENGTH} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
        .await;
    client.head_seen().await;
    rig.rig.terminate().await;
    rig.rig.window_end().await;
    assert!(
        rig.rig.life.report().is_none(),
        "the rest is still to be read"
    );
    assert_eq!(client.served().await.body.len(), LENGTH);
    ends_in_order(client).await;
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_10_over_tls_a_reader_that_stops_does_not_hold_the_exit() {
    let mut limits = Limits::default();
    limits.stall_draining = millis(100);
    let rig = TlsRig::limited(plan(Window::NONE), limits).await;
    let mut client = rig.connect().await;
    client
        .send(b"GET /large?bytes=33554432 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    client.head_seen().await;
    rig.rig.terminate().await;
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.rig.count(Count::StallExpired), 1);
    let answer = client.answer().await.expect("a head");
    assert!(!answer.whole);
    assert_ne!(client.ended, Some(Ended::Fin), "a cut says no close_notify");
}

#[tokio::test]
async fn h1_10_over_tls_what_fits_under_tls_but_not_into_the_kernel_is_no_idle_connection() {
    // A response that TLS takes whole while its client does not read: only the flush waits.
    let mut limits = Limits::default();
    limits.settle = millis(10);
    let rig = TlsRig::limited(plan(Window::NONE), limits).await;
    let mut stalled = rig.connect().await;
    let mut lengths = Vec::new();
    // Enough of them to fill the send queue, each small enough for TLS's own.
    for _ in 0..400 {
        lengths.extend_from_slice(b"GET /large?bytes=32768 HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    stalled.send(&lengths).await;
    stalled.head_seen().await;
    let idle = rig.reused().await;
    rig.rig.terminate().await;
    ends_in_order(idle).await;
    // Pipelined behind a `close` there is nothing; before it every response is whole.
    loop {
        let answer = stalled.served().await;
        assert_eq!(answer.body.len(), 32_768);
        if answer.close {
            break;
        }
    }
    ends_in_order(stalled).await;
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_12_over_tls_an_early_answer_to_an_unread_upload_is_readable() {
    let rig = TlsRig::start(plan(window(0, 5_000, 5_000))).await;
    let mut client = rig.connect().await;
    client
        .send(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 4194304\r\n\r\n")
        .await;
    // Answered before the upload; after close_notify and FIN the client goes on.
    client.head_seen().await;
    rig.rig.terminate().await;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..32 {
        client
            .try_send(&piece)
            .await
            .expect("no reset while the client still sends");
        tokio::task::yield_now().await;
    }
    assert_eq!(client.served().await.text(), "early");
    ends_in_order(client).await;
}

#[tokio::test]
async fn tls_3_what_comes_after_close_notify_is_read_whatever_it_is() {
    let rig = TlsRig::start(plan(window(0, 5_000, 5_000))).await;
    let mut client = rig.connect().await;
    client
        .send(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 4194304\r\n\r\n")
        .await;
    client.head_seen().await;
    // No record at all: TLS would end the connection over it, and with it the answer on its way.
    let garbage = vec![0xff; 64 * 1024];
    for _ in 0..32 {
        client.stream.write_raw(&garbage).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.served().await.text(), "early");
    ends_in_order(client).await;
}

#[tokio::test]
async fn fin_without_close_notify_is_an_end_like_any() {
    use tokio::io::AsyncWriteExt;

    let rig = TlsRig::start(plan(window(0, 50, 500))).await;
    let mut client = rig.reused().await;
    client.stream.tcp.shutdown().await.expect("FIN");
    ends_in_order(client).await;
    assert_eq!(rig.rig.count(Count::Malformed), 0);
}

#[tokio::test]
async fn ws_01_over_tls_close_comes_before_close_notify() {
    let identity = Identity::of("localhost");
    let app = Router::new().route(
        "/echo",
        any(|upgrade: WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move {
                while let Some(Ok(message)) = socket.recv().await {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            })
        }),
    );
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
        .tls(identity.server())
        .await
        .expect("a server");
    let addr = server.local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, addr, Control::new()).await;
    let mut records = Records::connect(addr, identity.client(&["http/1.1"])).await;
    records.shake().await.expect("a handshake");
    let mut client = Client::over(records);
    client
        .send(
            b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let head = client.interim().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.send(&masked(TEXT, b"hi")).await;
    let mut bytes = Vec::new();
    let mut next = async |client: &mut Client<Records>| {
        loop {
            if let Some(got) = cut_frame(&mut bytes) {
                return got;
            }
            let read = soon("a frame", client.stream.read_buf(&mut bytes)).await;
            assert!(read.expect("no cut") > 0, "an end without a Close");
        }
    };
    assert_eq!(next(&mut client).await, got(TEXT, "hi"));
    rig.terminate().await;
    let Got::Frame(CLOSE, said) = next(&mut client).await else {
        panic!("no Close");
    };
    assert_eq!(said, GOING_AWAY);
    client.send(&masked(CLOSE, &said[..2])).await;
    ends_in_order(client).await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
}
