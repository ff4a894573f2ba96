//! WS-*: where a Close may stand, and what silent clients and stubborn applications may cost.

use lameduck::{Count, Outcome, Window};
use lameduck_http::{Limits, WebSockets};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Ended, millis, plan, soon};
use crate::wire::{BINARY, CLOSE, Duck, GOING_AWAY, Got, TEXT, got, masked};
use crate::ws::open_window;

fn impatient() -> Limits {
    let mut limits = Limits::default();
    limits.ws_close = millis(100);
    limits.stall_draining = millis(200);
    limits
}

#[tokio::test]
async fn ws_02_a_message_half_sent_is_completed_first() {
    let duck = Duck::start(open_window()).await;
    let mut client = duck.open("/raw").await;
    let mut inner = duck.inner().await;
    let mut other = duck.open("/echo").await;
    // The first fragment whole, the second begun.
    inner
        .write_all(b"\x01\x03one\x00\x7e\x00\x80")
        .await
        .expect("written");
    assert_eq!(client.bytes(9).await, b"\x01\x03one\x00\x7e\x00\x80");
    duck.rig.terminate().await;
    other.say_goodbye(GOING_AWAY).await;
    inner.write_all(&[b'x'; 100]).await.expect("written");
    // The rest, the last fragment, and the beginning of another message, in one write.
    let mut rest = vec![b'x'; 28];
    rest.extend(b"\x80\x03end\x81\x05never");
    let writing = tokio::spawn(async move {
        inner.write_all(&rest).await.expect("taken");
        inner
    });
    assert_eq!(client.bytes(128).await, [b'x'; 128]);
    assert_eq!(client.next().await, got(0x80, "end"));
    assert_eq!(client.next().await, got(CLOSE, GOING_AWAY));
    // What the application writes now counts as written, and goes nowhere.
    let mut inner = soon("the write", writing).await.expect("no panic");
    inner.write_all(b"\x81\x05never").await.expect("taken");
    client.send(CLOSE, &GOING_AWAY[..2]).await;
    let mut answer = [0; 8];
    soon("the answer", inner.read_exact(&mut answer))
        .await
        .expect("the application hears it");
    assert_eq!(answer[..], masked(CLOSE, &GOING_AWAY[..2])[..]);
    drop(inner);
    assert_eq!(client.next().await, Got::Fin);
}

#[tokio::test]
async fn ws_02_a_large_echo_under_way_is_delivered_before_the_close() {
    let duck = Duck::start(open_window()).await;
    let mut client = duck.open("/echo").await;
    let mut other = duck.open("/echo").await;
    let large = vec![7; 8 * 1024 * 1024];
    client.send(BINARY, &large).await;
    let begun = client.bytes(10 + 1000).await;
    duck.rig.terminate().await;
    other.say_goodbye(GOING_AWAY).await;
    let rest = client.bytes(large.len() - 1000).await;
    assert_eq!(begun[0], BINARY);
    assert!(begun[10..].iter().chain(&rest).all(|byte| *byte == 7));
    client.say_goodbye(GOING_AWAY).await;
}

#[tokio::test]
async fn ws_02_a_message_without_an_end_is_interrupted_between_its_frames() {
    let duck = Duck::with(open_window(), impatient(), WebSockets::default()).await;
    let mut client = duck.open("/raw").await;
    let mut inner = duck.inner().await;
    inner.write_all(b"\x01\x03one").await.expect("written");
    duck.rig.terminate().await;
    assert_eq!(client.next().await, got(TEXT & 0x0f, "one"));
    assert_eq!(client.next().await, got(CLOSE, GOING_AWAY));
}

#[tokio::test]
async fn ws_02_a_frame_without_an_end_is_never_interrupted() {
    let duck = Duck::with(plan(Window::NONE), impatient(), WebSockets::default()).await;
    let mut client = duck.open("/raw").await;
    let mut inner = duck.inner().await;
    inner.write_all(b"\x81\x05on").await.expect("written");
    duck.rig.terminate().await;
    assert_eq!(client.next().await, Got::Torn(Ended::Fin));
    let mut nothing = [0; 1];
    assert_eq!(inner.read(&mut nothing).await.expect("an end"), 0);
    assert!(inner.write_all(b"e!").await.is_err(), "nobody is there");
    drop(inner);
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
    assert_eq!(duck.rig.count(Count::WsExpired), 1);
}

#[tokio::test]
async fn ws_03_a_client_that_does_not_answer_holds_nothing_up() {
    let duck = Duck::with(plan(Window::NONE), impatient(), WebSockets::default()).await;
    let mut client = duck.open("/echo").await;
    duck.rig.terminate().await;
    assert_eq!(client.next().await, got(CLOSE, GOING_AWAY));
    assert_eq!(client.next().await, Got::Fin);
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
    assert_eq!(duck.rig.count(Count::WsExpired), 1);
    assert_eq!(duck.rig.count(Count::WsHeld), 0);
    // The handler read the end.
    duck.rig.control.entered().await;
}

#[tokio::test]
async fn ws_03_an_application_that_never_reads_holds_nothing_up() {
    let duck = Duck::with(plan(Window::NONE), impatient(), WebSockets::default()).await;
    let mut client = duck.open("/holds").await;
    // Its last words have a place of their own in the socket; nobody reads them.
    client.send(TEXT, &[b'x'; 100]).await;
    duck.rig.terminate().await;
    client.say_goodbye(GOING_AWAY).await;
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
    assert_eq!(duck.rig.count(Count::WsHeld), 1);
}

#[tokio::test]
async fn ws_03_an_application_that_closed_itself_is_not_helped_but_bounded() {
    let duck = Duck::with(plan(Window::NONE), impatient(), WebSockets::default()).await;
    let mut client = duck.open("/raw").await;
    let mut inner = duck.inner().await;
    inner.write_all(b"\x88\x02\x03\xe8").await.expect("written");
    assert_eq!(client.next().await, got(CLOSE, b"\x03\xe8".as_slice()));
    duck.rig.terminate().await;
    assert_eq!(client.next().await, Got::Fin);
    drop(inner);
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn ws_01_an_application_that_leaves_without_a_word_is_helped() {
    let duck = Duck::start(open_window()).await;
    let mut client = duck.open("/raw").await;
    let inner = duck.inner().await;
    duck.rig.terminate().await;
    drop(inner);
    client.say_goodbye(GOING_AWAY).await;
}

#[tokio::test]
async fn ws_03_a_client_that_never_reads_holds_nothing_up() {
    let mut limits = impatient();
    limits.stall = millis(500);
    let duck = Duck::with(plan(Window::NONE), limits, WebSockets::default()).await;
    let client = duck.open("/raw").await;
    let mut inner = duck.inner().await;
    // More than every buffer between the two; the frame never ends.
    let writing = tokio::spawn(async move {
        let head = [0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0];
        inner.write_all(&head).await.expect("room for a head");
        loop {
            if inner.write_all(&[0; 65_536]).await.is_err() {
                return;
            }
        }
    });
    duck.rig.terminate().await;
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
    soon("the writer's end", writing).await.expect("no panic");
    drop(client);
}

#[tokio::test]
async fn ws_02_a_slow_reader_gets_all_of_a_frame() {
    let mut limits = Limits::default();
    limits.stall_draining = millis(1500);
    let duck = Duck::with(plan(Window::NONE), limits, WebSockets::default()).await;
    let mut client = duck.open("/raw").await;
    let mut inner = duck.inner().await;
    // Much more than every buffer between the two.
    const PART: usize = 1024 * 1024;
    const PARTS: usize = 64;
    let writing = tokio::spawn(async move {
        let mut head = vec![BINARY, 127];
        head.extend(((PART * PARTS) as u64).to_be_bytes());
        inner.write_all(&head).await.expect("written");
        for _ in 0..PARTS {
            inner.write_all(&[7; PART]).await.expect("written");
        }
        inner
    });
    client.bytes(10).await;
    duck.rig.terminate().await;
    for _ in 0..PARTS {
        // Together longer than the limit for standing still.
        tokio::time::sleep(millis(50)).await;
        assert!(client.bytes(PART).await.iter().all(|byte| *byte == 7));
    }
    assert_eq!(client.next().await, got(CLOSE, GOING_AWAY));
    drop(soon("the writer", writing).await.expect("no panic"));
    assert_eq!(client.next().await, Got::Fin);
    assert_eq!(duck.rig.outcome().await, Outcome::Drained);
    assert_eq!(duck.rig.count(Count::WsExpired), 0);
}

#[tokio::test]
async fn an_application_that_leaves_without_a_word_in_running_is_not_spoken_for() {
    let mut limits = Limits::default();
    limits.age = Some(millis(3_600_000));
    let duck = Duck::with(open_window(), limits, WebSockets::default()).await;
    let mut client = duck.open("/raw").await;
    drop(duck.inner().await);
    assert_eq!(client.next().await, Got::Fin);
}

#[tokio::test]
async fn a_websocket_as_old_as_it_may_become_is_closed() {
    let mut limits = Limits::default();
    limits.age = Some(millis(100));
    let duck = Duck::with(open_window(), limits, WebSockets::default()).await;
    let mut client = duck.open("/echo").await;
    client.say_goodbye(GOING_AWAY).await;
    assert!(!duck.rig.life.drain().is_steering());
}
