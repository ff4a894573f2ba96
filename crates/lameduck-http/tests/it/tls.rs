//! TLS-1, TLS-2, TLS-4: handshakes across T, those that stall or fail, and what they agree on.

use std::time::Duration;

use lameduck::{Count, Outcome, Window};
use lameduck_http::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::frames::{EVERY_STREAM, NO_ERROR, Peer, served};
use crate::support::{Client, Ended, GET, end_window_now, millis, plan, soon, window};
use crate::tls_support::{Records, TlsRig, ends_in_order};

#[tokio::test]
async fn tls_1_handshakes_under_way_at_t_complete_and_are_served() {
    let mut limits = Limits::default();
    limits.settle = millis(10_000);
    let rig = TlsRig::limited(plan(Window::NONE), limits).await;
    let mut begun = Vec::new();
    for cut in [1, 5, 100] {
        let mut client = rig.begin().await;
        let hello = client.said();
        client.write_raw(&hello[..cut]).await;
        begun.push((client, hello[cut..].to_vec()));
    }
    let mut answered = rig.begin().await;
    let hello = answered.said();
    answered.write_raw(&hello).await;
    answered.hear().await.expect("a ServerHello");
    // Later than these, so that the server has read them when this one is served.
    let mut idle = rig.reused().await;
    rig.rig.terminate().await;
    rig.rig.window_end().await;
    idle.send(GET).await;
    assert!(idle.served().await.close);
    begun.push((answered, Vec::new()));
    for (mut client, rest) in begun {
        client.write_raw(&rest).await;
        client.shake().await.expect("a handshake");
        let mut client = Client::over(client);
        client.send(GET).await;
        assert!(client.served().await.close);
        ends_in_order(client).await;
    }
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
}

/// Traps of the field: requests that are in the kernel when the service closes, and those that come just after the handshake.
#[tokio::test]
async fn tls_1_between_handshake_and_first_request_nothing_is_reset() {
    for round in 0..20 {
        let mut limits = Limits::default();
        limits.settle = millis(5_000);
        let rig = TlsRig::limited(plan(Window::NONE), limits).await;
        let mut clients = Vec::new();
        for _ in 0..10 {
            clients.push(rig.connect().await);
        }
        for client in clients.iter_mut().step_by(2) {
            let request = client.stream.sealed(GET);
            // The kernel takes it; the server gets no turn before the window is over.
            let wrote = client.stream.tcp.try_write(&request).expect("room");
            assert_eq!(wrote, request.len());
        }
        end_window_now(&rig.rig);
        for client in clients.iter_mut().skip(1).step_by(2) {
            client.send(GET).await;
        }
        for mut client in clients {
            assert!(client.served().await.close, "round {round}");
            ends_in_order(client).await;
        }
        assert_eq!(rig.rig.outcome().await, Outcome::Drained);
    }
}

#[tokio::test]
async fn tls_2_stalled_handshakes_do_not_hold_the_exit() {
    let mut limits = Limits::default();
    limits.head_draining = millis(100);
    let rig = TlsRig::limited(plan(Window::NONE), limits).await;
    let mut half = rig.begin().await;
    let hello = half.said();
    half.write_raw(&hello[..50]).await;
    let mut answered = rig.begin().await;
    let hello = answered.said();
    answered.write_raw(&hello).await;
    answered.hear().await.expect("a ServerHello");
    let mut silent = rig.begin().await;
    let other = rig.reused().await;
    rig.rig.terminate().await;
    ends_in_order(other).await;
    let mut said = Vec::new();
    let end = soon("an end", half.tcp.read_to_end(&mut said)).await;
    end.expect("no reset");
    // user_canceled, close_notify.
    assert_eq!(said, [21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 0]);
    for client in [&mut answered, &mut silent] {
        let end = soon("an end", client.tcp.read_to_end(&mut said)).await;
        end.expect("no reset");
    }
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.rig.count(Count::HandshakeExpired), 2);
    assert_eq!(rig.rig.count(Count::SilentClosed), 1);
}

#[tokio::test]
async fn tls_4_stalled_handshakes_delay_nobody() {
    let mut limits = Limits::default();
    limits.handshake = Duration::from_secs(3_600);
    limits.head_draining = millis(50);
    let rig = TlsRig::limited(plan(window(0, 50, 500)), limits).await;
    let mut stalled = Vec::new();
    for number in 0..60 {
        let mut client = rig.begin().await;
        let hello = client.said();
        match number % 3 {
            0 => client.write_raw(&hello).await,
            1 => client.write_raw(&hello[..number]).await,
            _ => {}
        }
        stalled.push(client);
    }
    let mut honest = rig.reused().await;
    honest.send(GET).await;
    honest.served().await;
    assert_eq!(rig.rig.count(Count::HandshakeExpired), 0);
    rig.rig.terminate().await;
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
    // Those that said something; the silent ones are as idle as any connection.
    assert_eq!(rig.rig.count(Count::HandshakeExpired), 40);
    assert_eq!(rig.rig.count(Count::SilentClosed), 20);
}

#[tokio::test]
async fn tls_2_a_stalled_handshake_expires_while_running_and_a_silent_connection_does_not() {
    let mut limits = Limits::default();
    limits.handshake = millis(50);
    let rig = TlsRig::limited(plan(window(0, 50, 500)), limits).await;
    let silent = rig.begin().await;
    let mut half = rig.begin().await;
    let hello = half.said();
    half.write_raw(&hello[..50]).await;
    rig.rig.counted(Count::HandshakeExpired, 1).await;
    rig.rig.terminate().await;
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.rig.count(Count::SilentClosed), 1);
    drop((silent, half));
}

#[tokio::test]
async fn what_is_no_client_hello_gets_an_alert() {
    let rig = TlsRig::start(plan(window(0, 50, 500))).await;
    let mut plain = Client::connect(rig.rig.addr).await;
    plain.send(GET).await;
    let mut said = Vec::new();
    let end = soon("an end", plain.stream.read_to_end(&mut said)).await;
    end.expect("no reset");
    assert_eq!((said[0], said[5]), (21, 2), "a fatal alert: {said:?}");
    rig.rig.counted(Count::HandshakeFailed, 1).await;
}

#[tokio::test]
async fn who_connects_and_leaves_without_a_word_has_not_failed() {
    let rig = TlsRig::start(plan(window(0, 50, 500))).await;
    let mut client = rig.begin().await;
    client.tcp.shutdown().await.expect("FIN");
    let mut said = Vec::new();
    let end = soon("an end", client.tcp.read_to_end(&mut said)).await;
    end.expect("no reset");
    assert!(said.is_empty());
    assert_eq!(rig.rig.count(Count::HandshakeFailed), 0);
    // In the middle of its first message it has.
    let mut client = rig.begin().await;
    let hello = client.said();
    client.write_raw(&hello[..9]).await;
    client.tcp.shutdown().await.expect("FIN");
    rig.rig.counted(Count::HandshakeFailed, 1).await;
}

#[tokio::test]
async fn alpn_chooses_and_without_it_http_1_is_spoken() {
    let rig = TlsRig::start(plan(window(0, 20_000, 20_000))).await;
    let mut none = rig.connect_alpn(&[]).await;
    assert_eq!(none.stream.session.alpn_protocol(), None);
    none.send(GET).await;
    assert_eq!(none.served().await.text(), "ok");
    let both = rig.connect_alpn(&["http/1.1", "h2"]).await.stream;
    assert_eq!(both.session.alpn_protocol(), Some(&b"h2"[..]));
    let mut peer = Peer::over(both).greeted(&[]).await;
    let stream = peer.ask("/").await;
    assert_eq!(peer.fate(stream).await, served("ok"));
    let unknown = rig.identity.client(&["gopher"]);
    let mut unknown = Records::connect(rig.rig.addr, unknown).await;
    unknown.shake().await.expect_err("nothing in common");
    rig.rig.counted(Count::HandshakeFailed, 1).await;
}

#[tokio::test]
async fn h2_01_over_tls_a_connection_gets_both_goaways_and_close_notify() {
    let rig = TlsRig::start(plan(Window::NONE)).await;
    let stream = rig.connect_alpn(&["h2"]).await.stream;
    let mut peer = Peer::over(stream).greeted(&[]).await;
    let slow = peer.ask("/slow").await;
    rig.rig.control.entered().await;
    rig.rig.terminate().await;
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(peer.goaway().await, (1, NO_ERROR));
    rig.rig.control.release.add_permits(1);
    assert_eq!(peer.fate(slow).await, served("slow"));
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn a_configuration_that_offers_what_is_not_spoken_is_refused() {
    use lameduck_http::Protocols;

    let rig = TlsRig::start(plan(window(0, 50, 500))).await;
    let life = lameduck::Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let app = crate::support::app(rig.rig.control.clone());
        let refused = lameduck_http::serve(&life, "127.0.0.1:0", app)
            .protocols(protocols)
            .tls(rig.identity.server())
            .await
            .expect_err("both are offered");
        assert!(refused.to_string().contains("ALPN"), "{refused}");
    }
    let mut early = rig.identity.server();
    early.max_early_data_size = 1024;
    let app = crate::support::app(rig.rig.control.clone());
    let refused = lameduck_http::serve(&life, "127.0.0.1:0", app)
        .tls(early)
        .await
        .expect_err("early data would be lost");
    assert!(refused.to_string().contains("0-RTT"), "{refused}");
}
