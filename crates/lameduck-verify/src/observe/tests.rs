//! Clients against a scripted peer on a real socket: what the peer does, and the word that the client has for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::flow::{Flow, Part, Step, Steps, When};
use super::lateness::Lateness;
use super::outcome::{Exchange, Outcome, Tally};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A peer that takes one connection and plays its part on it.
fn peer(part: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || part(listener.accept().unwrap().0));
    (addr, thread)
}

fn read_request(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    let mut chunk = [0; 256];
    while !seen.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the client ended in the middle of a head");
        seen.extend_from_slice(&chunk[..count]);
    }
}

fn request() -> Step {
    Step::Send {
        bytes: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        part: Part::Whole,
    }
}

fn reset(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: `linger` lives through the call; the descriptor is open.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    drop(stream);
}

fn play(addr: SocketAddr, round_trip: Duration, steps: Vec<Step>) -> Engine {
    let mut engine = Engine::new(addr, round_trip);
    engine.add(Flow::new("it", Steps::new(steps)));
    engine.note_stop(Instant::now());
    engine.run(Instant::now() + Duration::from_secs(20), |engine| {
        engine.flows.iter().all(Flow::is_finished)
    });
    engine
}

fn one(part: impl FnOnce(TcpStream) + Send + 'static) -> Exchange {
    let (addr, thread) = peer(part);
    let engine = play(
        addr,
        Duration::ZERO,
        vec![Step::Connect, request(), Step::AwaitAnswer],
    );
    thread.join().unwrap();
    engine.flows[0].exchanges[0].clone()
}

#[test]
fn a_whole_answer_is_served() {
    let exchange = one(|mut stream| {
        read_request(&mut stream);
        // In two writes, so that the answer is met in the middle.
        stream.write_all(&OK[..10]).unwrap();
        stream.write_all(&OK[10..]).unwrap();
        let _ = stream.read(&mut [0]);
    });
    assert_eq!(
        (exchange.outcome, exchange.status, exchange.body_bytes),
        (Some(Outcome::Served), Some(200), 2)
    );
    assert!(!exchange.is_lost());
}

#[test]
fn a_fin_without_an_answer_is_eof_and_lost() {
    let exchange = one(|mut stream| read_request(&mut stream));
    assert_eq!(exchange.outcome, Some(Outcome::Eof));
    assert!(exchange.is_lost() && !exchange.crossed);
}

#[test]
fn a_reset_without_an_answer_is_reset_and_lost() {
    let exchange = one(|mut stream| {
        read_request(&mut stream);
        reset(stream);
    });
    assert_eq!(exchange.outcome, Some(Outcome::Reset));
    assert!(exchange.is_lost());
}

#[test]
fn a_part_of_an_answer_is_truncated_and_lost() {
    let exchange = one(|mut stream| {
        read_request(&mut stream);
        stream.write_all(&OK[..OK.len() - 1]).unwrap();
    });
    assert_eq!(exchange.outcome, Some(Outcome::Truncated));
    assert!(exchange.is_lost());
}

#[test]
fn an_end_within_one_round_trip_of_the_write_is_marked_crossed() {
    let (addr, thread) = peer(|mut stream| read_request(&mut stream));
    // As if the peer were a minute away: its end must then have been sent before our request reached it.
    let engine = play(
        addr,
        Duration::from_secs(60),
        vec![Step::Connect, request(), Step::AwaitAnswer],
    );
    thread.join().unwrap();
    let mut tally = Tally::default();
    tally.add(&engine.flows[0].exchanges[0]);
    assert_eq!((tally.lost, tally.crossed), (1, 1));
}

#[test]
fn no_answer_and_no_end_is_hung() {
    let (release, hold) = std::sync::mpsc::channel::<()>();
    let (addr, thread) = peer(move |mut stream| {
        read_request(&mut stream);
        let _ = hold.recv();
    });
    let mut engine = Engine::new(addr, Duration::ZERO);
    engine.add(Flow::new(
        "it",
        Steps::new(vec![Step::Connect, request(), Step::AwaitAnswer]),
    ));
    engine.run(Instant::now() + Duration::from_secs(20), |engine| {
        engine.flows[0]
            .exchanges
            .first()
            .is_some_and(|exchange| exchange.written_at.is_some())
    });
    engine.give_up();
    release.send(()).unwrap();
    thread.join().unwrap();
    assert_eq!(engine.flows[0].exchanges[0].outcome, Some(Outcome::Hung));
    assert!(engine.flows[0].exchanges[0].is_lost());
}

/// The look: a client that sees the end in time sends nothing, and nothing is lost.
#[test]
fn an_end_seen_before_the_write_loses_nothing() {
    let (addr, thread) = peer(|mut stream| {
        read_request(&mut stream);
        stream.write_all(OK).unwrap();
    });
    let steps = vec![
        Step::Connect,
        request(),
        Step::AwaitAnswer,
        Step::AwaitEnd,
        request(),
        Step::AwaitAnswer,
    ];
    let engine = play(addr, Duration::ZERO, steps);
    thread.join().unwrap();
    let flow = &engine.flows[0];
    assert_eq!(flow.exchanges.len(), 1, "the second request was not sent");
    assert!(flow.end().is_some());
}

/// An idle connection that meets its end while it waits for its time is not used any more.
#[test]
fn an_end_seen_while_waiting_ends_the_script() {
    let (addr, thread) = peer(|mut stream| {
        read_request(&mut stream);
        stream.write_all(OK).unwrap();
    });
    let mut engine = Engine::new(addr, Duration::ZERO);
    let pause = Step::Pause(When::AfterStop(Duration::ZERO));
    let steps = vec![
        Step::Connect,
        request(),
        Step::AwaitAnswer,
        pause,
        request(),
        Step::AwaitAnswer,
    ];
    engine.add(Flow::new("it", Steps::new(steps)));
    let bound = Instant::now() + Duration::from_secs(20);
    engine.run(bound, |engine| engine.flows[0].end().is_some());
    thread.join().unwrap();
    engine.note_stop(Instant::now());
    engine.run(bound, |engine| engine.flows[0].is_finished());
    assert_eq!(
        engine.flows[0].exchanges.len(),
        1,
        "the second request was not sent"
    );
}

#[test]
fn half_a_request_that_meets_the_end_is_not_lost() {
    let (addr, thread) = peer(|mut stream| {
        let _ = stream.read(&mut [0; 8]);
        reset(stream);
    });
    let first = Step::Send {
        bytes: b"GET / HT".to_vec(),
        part: Part::First,
    };
    let last = Step::Send {
        bytes: b"TP/1.1\r\n\r\n".to_vec(),
        part: Part::Last,
    };
    let engine = play(
        addr,
        Duration::ZERO,
        vec![
            Step::Connect,
            first,
            Step::AwaitEnd,
            last,
            Step::AwaitAnswer,
        ],
    );
    thread.join().unwrap();
    let mut tally = Tally::default();
    tally.add(&engine.flows[0].exchanges[0]);
    assert_eq!((tally.lost, tally.ended_first, tally.sent()), (0, 1, 0));
}

#[test]
fn a_refused_connect_is_seen_as_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let engine = play(
        addr,
        Duration::ZERO,
        vec![Step::Connect, request(), Step::AwaitAnswer],
    );
    assert_eq!(engine.flows[0].refused_connects.len(), 1);
    assert!(engine.flows[0].exchanges.is_empty());
}

#[test]
fn a_write_is_never_before_its_time() {
    let (addr, thread) = peer(|mut stream| {
        read_request(&mut stream);
        stream.write_all(OK).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let offset = Duration::from_millis(20);
    let mut engine = Engine::new(addr, Duration::ZERO);
    let steps = vec![
        Step::Connect,
        Step::Pause(When::AfterStop(offset)),
        request(),
        Step::AwaitAnswer,
    ];
    engine.add(Flow::new("it", Steps::new(steps)).at_offset(offset));
    engine.run(Instant::now() + Duration::from_secs(20), |engine| {
        engine.flows[0].is_poised()
    });
    engine.note_eve();
    assert!(engine.flows[0].was_poised);
    let t = Instant::now();
    engine.note_stop(t);
    engine.run(t + Duration::from_secs(20), |engine| {
        engine.flows[0].is_finished()
    });
    thread.join().unwrap();
    let exchange = &engine.flows[0].exchanges[0];
    assert!(exchange.written_at.is_some_and(|at| at >= t + offset));
    assert_eq!(exchange.planned_at, Some(t + offset));
    assert_eq!(exchange.outcome, Some(Outcome::Served));
}

/// A machine that holds our own loop up is seen to, from right before the signal on: verdicts are weighed by it.
#[test]
fn our_own_lateness_is_counted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let lateness = std::sync::Arc::<Lateness>::default();
    let mut engine =
        Engine::new(listener.local_addr().unwrap(), Duration::ZERO).counting_in(&lateness);
    let steps = vec![
        Step::Connect,
        Step::Pause(When::AfterStop(Duration::from_secs(60))),
    ];
    engine.add(Flow::new("waits", Steps::new(steps)));
    let held_up = Duration::from_millis(40);
    let mut rounds = 0;
    let mut hold_up = |_: &Engine| {
        rounds += 1;
        // What a starved machine does between two looks of the loop.
        std::thread::sleep(held_up);
        rounds > 2
    };
    engine.run(Instant::now() + held_up * 20, &mut hold_up);
    assert_eq!(
        lateness.spread().count,
        0,
        "nothing counts before the signal"
    );
    rounds = 0;
    let t = Instant::now();
    engine.note_stop(t);
    engine.run(Instant::now() + held_up * 20, |_: &Engine| {
        rounds += 1;
        std::thread::sleep(held_up);
        rounds > 2
    });
    let seen = lateness.held_up(t, Instant::now());
    assert!(
        seen.longest >= held_up - Duration::from_millis(10),
        "{seen:?}"
    );
    let spread = lateness.spread();
    assert!(spread.count > 0 && spread.max_us >= 30_000.0, "{spread:?}");
}

/// The loop is held up past its deadline, and the answer came meanwhile: it is read, not called hung.
#[test]
fn what_came_while_we_were_held_up_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (answered, hear) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let count = stream.read(&mut [0; 1024]).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        answered.send(count).unwrap();
        stream
    });
    let mut engine = Engine::new(addr, Duration::from_millis(1));
    let steps = vec![
        Step::Connect,
        Step::Send {
            bytes: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            part: Part::Whole,
        },
        Step::AwaitAnswer,
    ];
    engine.add(Flow::new("asks", Steps::new(steps)));
    let deadline = Instant::now() + Duration::from_millis(300);
    engine.run(deadline, |engine| {
        if engine.flows[0].is_in_flight() && Instant::now() < deadline {
            hear.recv().unwrap();
            // What a machine does that stops us until the time is over.
            while Instant::now() < deadline + Duration::from_millis(20) {
                std::thread::yield_now();
            }
        }
        false
    });
    engine.give_up();
    thread.join().unwrap();
    let outcome = engine.flows[0].exchanges[0].outcome;
    assert_eq!(outcome, Some(Outcome::Served));
}
