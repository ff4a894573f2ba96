//! H2-*: what is owed to HTTP/2 clients between T and the exit, and what hostile ones may cost.

use std::time::Duration;

use lameduck::{Count, Late, Outcome, Window};
use lameduck_http::{Limits, Protocols};

use crate::frames::{
    CANCEL, DATA, END_STREAM, EVERY_STREAM, Fate, GOAWAY, NO_ERROR, PING, PREFACE, Peer, REFUSED,
    RST_STREAM, frame, served,
};
use crate::support::{Client, Ended, GET, Rig, app, millis, plan, soon, window};

#[tokio::test]
async fn serves_both_protocols_on_one_listener() {
    let rig = Rig::start(plan(window(0, 50, 500))).await;
    let mut old = rig.connect().await;
    let mut new = Peer::greet(rig.addr, &[]).await;
    let stream = new.ask("/").await;
    assert_eq!(new.fate(stream).await, served("ok"));
    old.send(GET).await;
    assert_eq!(old.served().await.text(), "ok");
}

#[tokio::test]
async fn a_preface_in_pieces_is_recognised_and_a_post_in_pieces_is_no_preface() {
    let rig = Rig::start(plan(window(0, 50, 500))).await;
    for at in [1, 3, 14, 23] {
        let mut peer = Peer::silent(rig.addr).await;
        peer.send(&PREFACE[..at]).await;
        rig.counted(Count::Accepted, 1).await;
        peer.send(&PREFACE[at..]).await;
        peer.send(&frame(4, 0, 0, &[])).await;
        let stream = peer.ask("/").await;
        assert_eq!(peer.fate(stream).await, served("ok"), "split at {at}");
    }
    let mut client = rig.connect().await;
    for byte in b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi".chunks(1) {
        client.send(byte).await;
    }
    assert_eq!(client.served().await.text(), "2");
    // A client that ends in the middle of the undecided is no reason to do anything.
    let mut client = rig.connect().await;
    client.send(b"P").await;
    drop(client);
    let mut client = rig.connect().await;
    client.send(GET).await;
    client.served().await;
}

#[tokio::test]
async fn h2_01_an_idle_connection_gets_both_goaways_and_a_fin() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let stream = peer.ask("/").await;
    assert_eq!(peer.fate(stream).await, served("ok"));
    let mut unused = Peer::greet(rig.addr, &[]).await;
    rig.terminate().await;
    // The window is still open: nobody waits for its end.
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(peer.goaway().await, (1, NO_ERROR));
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(unused.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(unused.goaway().await, (0, NO_ERROR));
    assert_eq!(unused.end().await, &Ended::Fin);
    assert!(!rig.life.drain().is_closing());
    assert_eq!(rig.count(Count::Steered), 2);
}

#[tokio::test]
async fn h2_02_a_stream_open_at_t_completes() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let stream = peer.ask("/slow").await;
    rig.control.entered().await;
    rig.terminate().await;
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(peer.goaway().await, (1, NO_ERROR));
    rig.control.release.add_permits(1);
    assert_eq!(peer.fate(stream).await, served("slow"));
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h2_03_a_stream_between_the_goaways_is_served() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    peer.answers = false;
    rig.terminate().await;
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    let stream = peer.ask("/").await;
    assert_eq!(peer.fate(stream).await, served("ok"));
    let ping = peer.frame(PING).await;
    peer.send(&frame(PING, 1, 0, &ping.payload)).await;
    assert_eq!(peer.goaway().await, (1, NO_ERROR));
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h2_04_a_stream_above_the_last_one_is_left_alone_and_nothing_is_reset() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let first = peer.ask("/slow").await;
    rig.control.entered().await;
    rig.terminate().await;
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(peer.goaway().await, (1, NO_ERROR));
    peer.ask("/").await;
    rig.control.release.add_permits(1);
    assert_eq!(peer.fate(first).await, served("slow"));
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.count(Count::Accepted), 1);
    assert_eq!(rig.life.inflight().requests.total(), 1);
}

#[tokio::test]
async fn h2_04_what_comes_after_the_end_is_read_and_thrown_away() {
    let mut limits = Limits::default();
    limits.settle = Duration::from_secs(10);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    rig.terminate().await;
    assert_eq!(peer.end().await, &Ended::Fin);
    for _ in 0..20 {
        // After a reset the second write at the latest would fail.
        peer.send(&frame(PING, 0, 0, b"are you?")).await;
    }
    drop(peer);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h2_05_a_ping_without_an_answer_does_not_hold_the_exit() {
    let mut limits = Limits::default();
    limits.ping_answer = millis(100);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut idle = Peer::greet(rig.addr, &[]).await;
    let mut busy = Peer::greet(rig.addr, &[]).await;
    (idle.answers, busy.answers) = (false, false);
    let stream = busy.ask("/slow").await;
    rig.control.entered().await;
    rig.terminate().await;
    assert_eq!(idle.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(idle.goaway().await, (0, NO_ERROR));
    assert_eq!(idle.end().await, &Ended::Fin);
    // The other one has a stream: it is waited for, and then the same holds.
    rig.control.release.add_permits(1);
    assert_eq!(busy.fate(stream).await, served("slow"));
    assert_eq!(busy.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(busy.goaway().await, (1, NO_ERROR));
    assert_eq!(busy.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::PingExpired), 2);
}

#[tokio::test]
async fn h2_06_half_a_preface_or_none_does_not_hold_the_exit() {
    let mut limits = Limits::default();
    limits.head_draining = millis(100);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut half = Peer::silent(rig.addr).await;
    half.send(&PREFACE[..20]).await;
    let mut none = Peer::silent(rig.addr).await;
    rig.counted(Count::Accepted, 2).await;
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    half.end().await;
    assert_eq!(none.end().await, &Ended::Fin);
    assert_eq!(rig.count(Count::HeadExpired), 1);
    assert_eq!(rig.count(Count::SilentClosed), 1);
}

#[tokio::test]
async fn h2_07_a_response_that_waits_for_its_window_is_delivered_whole() {
    let rig = Rig::start(plan(Window::NONE)).await;
    // SETTINGS_INITIAL_WINDOW_SIZE
    let mut peer = Peer::greet(rig.addr, &[(4, 1000)]).await;
    let stream = peer.ask("/large?bytes=100000").await;
    let first = peer.frame(DATA).await;
    assert_eq!(first.payload.len(), 1000);
    rig.terminate().await;
    rig.window_end().await;
    let mut got = first.payload.len();
    while got < 100_000 {
        peer.widen(stream, 9000).await;
        peer.widen(0, 9000).await;
        got += peer.frame(DATA).await.payload.len();
    }
    assert_eq!(got, 100_000);
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h2_08_a_hundred_streams_at_t_are_all_served() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(peer.ask("/slow").await);
    }
    for _ in 0..100 {
        rig.control.entered().await;
    }
    rig.terminate().await;
    rig.control.release.add_permits(100);
    for stream in streams {
        assert_eq!(peer.fate(stream).await, served("slow"));
    }
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h2_10_a_connection_made_inside_the_window_has_its_first_stream_served() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    rig.terminate().await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let stream = peer.ask("/slow").await;
    rig.control.entered().await;
    rig.control.release.add_permits(1);
    assert_eq!(peer.fate(stream).await, served("slow"));
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(peer.goaway().await, (1, NO_ERROR));
    assert_eq!(peer.end().await, &Ended::Fin);
}

#[tokio::test]
async fn what_the_deadline_ends_never_looks_whole() {
    let plan = plan(Window::NONE)
        .with_grace(Duration::from_secs(3))
        .expect("a plan");
    let rig = Rig::start(plan).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let never = peer.ask("/never").await;
    rig.control.entered().await;
    let chunks = rig.control.stream().await;
    let endless = peer.ask("/stream").await;
    rig.control.entered().await;
    chunks.send("more".into()).await.expect("taken");
    assert_eq!(peer.frame(DATA).await.payload, b"more");
    rig.terminate().await;
    assert_eq!(peer.fate(never).await, Fate::Reset(CANCEL));
    assert_eq!(peer.fate(endless).await, Fate::Reset(CANCEL));
    assert!(matches!(rig.outcome().await, Outcome::Forced { .. }));
    assert!(
        soon("the handler's end", async {
            while chunks.send("no".into()).await.is_ok() {}
            true
        })
        .await
    );
    let report = rig.life.report().expect("a report").to_json();
    assert!(
        report.contains("/never") && report.contains("/stream"),
        "{report}"
    );
}

#[tokio::test]
async fn a_stream_that_stands_still_is_ended_alone() {
    let mut limits = Limits::default();
    limits.stall = millis(200);
    let rig = Rig::limited(plan(window(0, 20_000, 20_000)), limits).await;
    let mut peer = Peer::greet(rig.addr, &[(4, 10)]).await;
    let unread = peer.ask("/large?bytes=100").await;
    let unsent = peer.ask_with("POST", "/echo", 0).await;
    assert_eq!(peer.fate(unread).await, Fate::Reset(CANCEL));
    assert_eq!(peer.fate(unsent).await, Fate::Reset(CANCEL));
    assert_eq!(rig.count(Count::StallExpired), 2);
    let stream = peer.ask("/").await;
    assert_eq!(peer.fate(stream).await, served("ok"));
}

#[tokio::test]
async fn a_slow_upload_with_progress_is_read_whole() {
    let mut limits = Limits::default();
    limits.stall = millis(2_000);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let stream = peer.ask_with("POST", "/echo", 0).await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    for left in (0..10).rev() {
        let end = if left == 0 { END_STREAM } else { 0 };
        peer.send(&frame(DATA, end, stream, b"0123456789")).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.fate(stream).await, served("100"));
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn an_upload_whose_frame_comes_byte_by_byte_makes_progress() {
    let mut limits = Limits::default();
    limits.stall = millis(2_000);
    limits.ping_every = millis(300);
    let rig = Rig::limited(plan(window(0, 20_000, 20_000)), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let upload = peer.ask_with("POST", "/echo", 0).await;
    let bytes = frame(DATA, END_STREAM, upload, &[b'x'; 200]);
    let (head, payload) = bytes.split_at(9);
    let mut payload = payload.iter();
    peer.send(head).await;
    // Another connection is the clock: PINGs while it waits, and a reset when the limit is over.
    let mut clock = Peer::greet(rig.addr, &[]).await;
    let stalled = clock.ask_with("POST", "/echo", 0).await;
    loop {
        let tick = clock.next().await.expect("a frame");
        match tick.kind {
            PING => peer.send(&[*payload.next().expect("enough")]).await,
            RST_STREAM if tick.stream == stalled => break,
            _ => {}
        }
    }
    peer.send(payload.as_slice()).await;
    assert_eq!(peer.fate(upload).await, served("200"));
    assert_eq!(rig.count(Count::StallExpired), 1);
}

#[tokio::test]
async fn a_request_that_its_client_takes_back_ends_its_handler() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let chunks = rig.control.stream().await;
    let stream = peer.ask("/stream").await;
    rig.control.entered().await;
    peer.send(&frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()))
        .await;
    soon("the body's end", chunks.closed()).await;
}

#[tokio::test]
async fn late_requests_are_refused_retry_safe_where_the_plan_says_so() {
    let rig = Rig::start(plan(Window::NONE).with_late(Late::Refuse)).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    peer.answers = false;
    rig.terminate().await;
    rig.window_end().await;
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    let late = peer.ask("/").await;
    assert_eq!(peer.fate(late).await, Fate::Reset(REFUSED));
    let ping = peer.frame(PING).await;
    peer.send(&frame(PING, 1, 0, &ping.payload)).await;
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.count(Count::LateRefused), 1);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn an_idle_connection_is_told_before_it_is_closed() {
    let mut limits = Limits::default();
    limits.idle = millis(100);
    let rig = Rig::limited(plan(window(0, 20_000, 20_000)), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let stream = peer.ask("/").await;
    assert_eq!(peer.fate(stream).await, served("ok"));
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(peer.goaway().await, (1, NO_ERROR));
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.count(Count::IdleExpired), 1);
}

#[tokio::test]
async fn an_old_connection_is_told_before_its_streams_are_ended() {
    let mut limits = Limits::default();
    limits.age = Some(millis(200));
    limits.age_grace = Some(millis(200));
    let rig = Rig::limited(plan(window(0, 20_000, 20_000)), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let stream = peer.ask("/never").await;
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    assert_eq!(peer.goaway().await, (1, NO_ERROR));
    assert_eq!(peer.fate(stream).await, Fate::Reset(CANCEL));
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.count(Count::AgeExpired), 1);
    // HTTP/1.1 says it with the response.
    let mut client = rig.connect().await;
    while client.ended.is_none() {
        client.send(GET).await;
        if client.served().await.close {
            assert_eq!(client.end().await, &Ended::Fin);
        }
    }
}

#[tokio::test]
async fn a_client_that_went_without_a_word_is_found_out() {
    let mut limits = Limits::default();
    limits.ping_every = millis(100);
    limits.ping_answer = millis(100);
    let rig = Rig::limited(plan(window(0, 20_000, 20_000)), limits).await;
    let mut here = Peer::greet(rig.addr, &[]).await;
    let mut gone = Peer::greet(rig.addr, &[]).await;
    gone.answers = false;
    let kept = here.ask("/slow").await;
    gone.ask("/never").await;
    // The one that answers lives through as many questions as it takes to lose the other.
    let asked = async {
        here.frame(PING).await;
        here.frame(PING).await;
    };
    tokio::join!(gone.end(), asked);
    rig.control.release.add_permits(1);
    assert_eq!(here.fate(kept).await, served("slow"));
}

#[tokio::test]
async fn streams_above_the_limit_are_refused_retry_safe() {
    let mut limits = Limits::default();
    limits.streams = 2;
    let rig = Rig::limited(plan(window(0, 20_000, 20_000)), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let first = peer.ask("/slow").await;
    let second = peer.ask("/slow").await;
    let third = peer.ask("/").await;
    assert_eq!(peer.fate(third).await, Fate::Reset(REFUSED));
    rig.control.release.add_permits(2);
    assert_eq!(peer.fate(first).await, served("slow"));
    assert_eq!(peer.fate(second).await, served("slow"));
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    let mut honest = Peer::greet(rig.addr, &[]).await;
    let mut hostile = Peer::greet(rig.addr, &[]).await;
    let mut flood = Vec::new();
    for number in 0..2_000_u32 {
        let stream = 2 * number + 1;
        let head = crate::frames::request("GET", "/never");
        flood.extend(frame(1, 5, stream, &head));
        flood.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    // It may be cut off before it has said everything.
    let _ = soon(
        "the flood",
        tokio::io::AsyncWriteExt::write_all(&mut hostile.stream, &flood),
    )
    .await;
    hostile.end().await;
    let stream = honest.ask("/").await;
    assert_eq!(honest.fate(stream).await, served("ok"));
}

#[tokio::test]
async fn what_is_no_http2_is_told_so() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    // A stream of the server's numbering.
    peer.send(&frame(1, 5, 2, &crate::frames::request("GET", "/")))
        .await;
    let mut told = false;
    while let Some(frame) = peer.next().await {
        told |= frame.kind == GOAWAY && frame.word(4) == 1;
    }
    assert!(told, "GOAWAY with PROTOCOL_ERROR");
    rig.counted(Count::Malformed, 1).await;
}

#[tokio::test]
async fn a_listener_speaks_only_the_protocol_that_it_is_given() {
    let start = |protocols| async move {
        let life = lameduck::Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
        let control = crate::support::Control::new();
        let server = lameduck_http::serve(&life, "127.0.0.1:0", app(control.clone()))
            .protocols(protocols)
            .await
            .expect("a server");
        Rig::running(life, server.local_addr().tcp().expect("tcp"), control).await
    };
    let old = start(Protocols::Http1).await;
    let mut client = Client::connect(old.addr).await;
    client.send(PREFACE).await;
    assert!(client.answer().await.is_none(), "hyper has no answer to it");
    let new = start(Protocols::Http2).await;
    let mut client = Client::connect(new.addr).await;
    client.try_send(GET).await.expect("sent");
    let mut peer = Peer::greet(new.addr, &[]).await;
    let stream = peer.ask("/").await;
    assert_eq!(peer.fate(stream).await, served("ok"));
}

#[tokio::test]
async fn a_stream_that_begins_late_in_the_life_of_a_service_has_its_whole_limit() {
    let mut limits = Limits::default();
    limits.stall = millis(2_000);
    limits.ping_every = millis(800);
    let rig = Rig::limited(plan(window(0, 20_000, 20_000)), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    // The connection looks for stalls as long as a stream is open, four times in each limit.
    let held = peer.ask("/slow").await;
    rig.control.entered().await;
    // Its end says that the service is older than the limit.
    let stalled = peer.ask_with("POST", "/echo", 0).await;
    rig.control.entered().await;
    assert_eq!(peer.fate(stalled).await, Fate::Reset(CANCEL));
    peer.forget();
    let upload = peer.ask_with("POST", "/echo", 0).await;
    rig.control.entered().await;
    // It comes past the next look, well inside the limit.
    peer.frame(PING).await;
    peer.send(&frame(DATA, END_STREAM, upload, b"late")).await;
    assert_eq!(peer.fate(upload).await, served("4"));
    rig.control.release.add_permits(1);
    assert_eq!(peer.fate(held).await, served("slow"));
}

#[tokio::test]
async fn h2_05_a_client_that_leaves_the_ping_unanswered_cannot_go_on_for_ever() {
    let mut limits = Limits::default();
    limits.ping_answer = millis(100);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    peer.answers = false;
    let first = peer.ask("/slow").await;
    rig.control.entered().await;
    rig.terminate().await;
    assert_eq!(peer.goaway().await, (EVERY_STREAM, NO_ERROR));
    // One stream after the other, never none.
    let refused = loop {
        let next = peer.ask("/").await;
        match peer.fate(next).await {
            Fate::Reset(reason) => break reason,
            fate => assert_eq!(fate, served("ok")),
        }
    };
    assert_eq!(refused, REFUSED);
    rig.control.release.add_permits(1);
    assert_eq!(peer.fate(first).await, served("slow"));
    assert_eq!(peer.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn a_call_in_both_directions_may_be_silent_while_nobody_leaves() {
    let mut limits = Limits::default();
    limits.stall = millis(200);
    let rig = Rig::limited(plan(window(0, 20_000, 20_000)), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let call = peer.ask_with("POST", "/mirror", 0).await;
    let head = peer.frame(crate::frames::HEADERS).await;
    assert_eq!(head.payload[0], 0x88);
    // One that began later and is no such call is ended by the limit meanwhile.
    let stalled = peer.ask_with("POST", "/echo", 0).await;
    assert_eq!(peer.fate(stalled).await, Fate::Reset(CANCEL));
    peer.send(&frame(DATA, END_STREAM, call, b"after all"))
        .await;
    assert_eq!(peer.fate(call).await, served("after all"));
    assert_eq!(rig.count(Count::StallExpired), 1);
}

#[tokio::test]
async fn an_answer_without_content_has_none_and_fields_of_connections_stay_behind() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    let (mut client, connection) = ::h2::client::handshake(rig.connect().await.stream)
        .await
        .expect("greeted");
    tokio::spawn(connection);
    let mut ask = async |method: &str, path: &str| {
        let uri = format!("http://a{path}");
        let request = http::Request::builder().method(method).uri(uri);
        let request = request
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(())
            .expect("a request");
        client = client.clone().ready().await.expect("ready");
        let (answer, _) = client.send_request(request, true).expect("sent");
        let answer = soon("an answer", answer).await.expect("answered");
        let (head, mut body) = answer.into_parts();
        let mut content = Vec::new();
        while let Some(data) = body.data().await {
            content.extend_from_slice(&data.expect("whole"));
        }
        (head, content)
    };
    let (head, content) = ask("GET", "/no-content").await;
    assert_eq!(head.status, 204);
    assert!(content.is_empty() && !head.headers.contains_key("content-length"));
    for name in ["connection", "keep-alive", "x-hop"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
    let (head, content) = ask("HEAD", "/large?bytes=7").await;
    assert!(content.is_empty());
    assert_eq!(head.headers["content-length"], "7");
    assert!(head.headers.contains_key("date"));
    let (_, content) = ask("GET", "/cookie").await;
    assert_eq!(content, b"a=1; b=2");
}

#[tokio::test]
async fn more_fields_than_allowed_are_answered_with_431() {
    let mut limits = Limits::default();
    limits.headers = 3;
    let rig = Rig::limited(plan(window(0, 20_000, 20_000)), limits).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let mut block = crate::frames::request("GET", "/");
    // `accept-encoding: gzip, deflate`, one byte each.
    block.extend([0x90; 4]);
    peer.send(&frame(1, 5, 1, &block)).await;
    let head = peer.frame(crate::frames::HEADERS).await;
    assert_eq!(head.flags & END_STREAM, END_STREAM);
    assert_ne!(head.payload[0], 0x88);
    assert_eq!(rig.count(Count::Malformed), 1);
}

#[tokio::test]
async fn a_body_that_panics_never_looks_whole_and_takes_nothing_else_with_it() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let other = peer.ask("/slow").await;
    rig.control.entered().await;
    let broken = peer.ask("/panic-late").await;
    assert!(matches!(peer.fate(broken).await, Fate::Reset(_)));
    rig.control.release.add_permits(1);
    assert_eq!(peer.fate(other).await, served("slow"));
    let mut old = rig.connect().await;
    old.send(b"GET /panic-late HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    assert!(old.answer().await.is_none_or(|answer| !answer.whole));
    // Its end is the connection's end: only a reset tells it from a whole one.
    let mut ancient = rig.connect().await;
    ancient.send(b"GET /panic-late HTTP/1.0\r\n\r\n").await;
    assert!(ancient.answer().await.is_none_or(|answer| !answer.whole));
    assert_eq!(rig.count(Count::Panicked), 3);
}

#[tokio::test]
async fn a_client_that_only_makes_noise_is_told_to_calm_down() {
    let rig = Rig::start(plan(window(0, 20_000, 20_000))).await;
    let mut honest = Peer::greet(rig.addr, &[]).await;
    for noise in [
        frame(PING, 0, 0, b"12345678"),
        frame(4, 0, 0, &[]),
        frame(2, 0, 1, &[0, 0, 0, 0, 15]),
        frame(0x20, 0, 0, b"what?"),
    ] {
        let mut hostile = Peer::greet(rig.addr, &[]).await;
        hostile.answers = false;
        let flood = noise.repeat(3_000);
        // It may be cut off before it has said everything, and does not read what it is answered.
        let (mut reader, mut writer) = hostile.stream.split();
        let flooding = tokio::io::AsyncWriteExt::write_all(&mut writer, &flood);
        let mut heard = Vec::new();
        let hearing = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut heard);
        let _ = soon("the flood", async { tokio::join!(flooding, hearing) }).await;
        // GOAWAY with ENHANCE_YOUR_CALM, unless a reset took it away.
        let told = heard
            .windows(17)
            .any(|bytes| bytes[3] == GOAWAY && bytes[16] == 0xb);
        assert!(told || heard.len() < 3_000 * 17, "{} bytes", heard.len());
    }
    rig.counted(Count::Flooded, 4).await;
    let stream = honest.ask("/").await;
    assert_eq!(honest.fate(stream).await, served("ok"));
}
