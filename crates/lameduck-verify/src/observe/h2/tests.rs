//! A client against scripted bytes on a real socket: what the peer does, and the word that the client has for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::flow::Flow;
use super::frame::{self, Ends, MAX_31};
use super::hpack;
use super::script::{Dialect, Heed, Request, Step, Steps};
use crate::observe::engine::Engine;
use crate::observe::link::Door;
use crate::observe::outcome::{End, Outcome};

fn get(heed: Heed, dialect: Dialect) -> Step {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Step::Open(Request {
        fields: vec![
            field(":method", "GET"),
            field(":scheme", "http"),
            field(":authority", "x"),
            field(":path", "/"),
        ],
        body: Vec::new(),
        ends: Ends::Stream,
        heed,
        dialect,
        keep: 4,
    })
}

/// Reads frames of the client until one of type `kind` came.
fn read_until(stream: &mut TcpStream, kind: u8) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).unwrap();
        if head[3] == kind {
            return;
        }
    }
}

const HEADERS: u8 = 1;

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend(code.to_be_bytes());
    raw(7, 0, 0, &payload)
}

fn head(stream: u32, fields: &[(&str, &str)], ends: Ends) -> Vec<u8> {
    frame::headers(stream, &hpack::encode(fields), ends)
}

/// Plays `part` against a client that takes `steps`; the part begins when the first head of a request is there.
fn play(steps: Vec<Step>, part: impl FnOnce(&mut TcpStream) + Send + 'static) -> Flow {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 24]).unwrap();
        stream.write_all(&frame::settings_of(&[])).unwrap();
        read_until(&mut stream, HEADERS);
        part(&mut stream);
        // In order: what the client still says is read, or the close would be a reset.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut engine = Engine::new(addr, Duration::ZERO);
    let mut all = vec![Step::Connect(0), Step::Greet];
    all.extend(steps);
    engine
        .h2
        .push(Flow::new("it", vec![Door::Usual], Steps::new(all)));
    engine.note_stop(Instant::now());
    engine.run(
        Instant::now() + Duration::from_secs(20),
        Engine::all_finished,
    );
    peer.join().unwrap();
    engine.h2.pop().unwrap()
}

fn one(dialect: Dialect, answer: Vec<u8>) -> Flow {
    play(
        vec![get(Heed::GoAway, dialect), Step::AwaitAnswers],
        move |stream| stream.write_all(&answer).unwrap(),
    )
}

#[test]
fn every_end_of_a_stream_has_its_word() {
    let ok = |ends| head(1, &[(":status", "200")], ends);
    let whole = [ok(Ends::Nothing), frame::data(1, b"hello", Ends::Stream)].concat();
    let cut = [ok(Ends::Nothing), frame::data(1, b"hello", Ends::Nothing)].concat();
    let told = [goaway(MAX_31, 0), whole.clone()].concat();
    let failed = head(1, &[(":status", "500")], Ends::Stream);
    let refusal = head(1, &[(":status", "503"), ("retry-after", "1")], Ends::Stream);
    let rows = [
        (whole, Outcome::Served),
        (told, Outcome::ServedClose),
        (failed, Outcome::Error),
        ([goaway(MAX_31, 0), refusal].concat(), Outcome::Refused503),
        (cut, Outcome::Truncated),
        (raw(3, 0, 1, &7_u32.to_be_bytes()), Outcome::RefusedH2),
        (raw(3, 0, 1, &8_u32.to_be_bytes()), Outcome::Reset),
        (goaway(0, 0), Outcome::RefusedH2),
        (goaway(1, 0), Outcome::Eof),
        (Vec::new(), Outcome::Eof),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Outcome::Reset),
    ];
    for (answer, outcome) in rows {
        let flow = one(Dialect::Http, answer.clone());
        let exchange = &flow.calls[0].exchange;
        assert_eq!(exchange.outcome, Some(outcome), "{answer:x?}");
        assert_eq!(exchange.is_lost(), outcome.is_unanswered(), "{outcome}");
    }
}

#[test]
fn grpc_is_whole_by_its_trailers_only() {
    let start = head(1, &[(":status", "200")], Ends::Nothing);
    let trailers = |code| head(1, &[("grpc-status", code)], Ends::Stream);
    let rows = [
        ([start.clone(), trailers("0")].concat(), Outcome::Served),
        ([start.clone(), trailers("14")].concat(), Outcome::Error),
        (head(1, &[(":status", "404")], Ends::Stream), Outcome::Error),
        (
            [start, frame::data(1, b"x", Ends::Stream)].concat(),
            Outcome::Truncated,
        ),
    ];
    for (answer, outcome) in rows {
        let flow = one(Dialect::Grpc, answer);
        assert_eq!(flow.calls[0].exchange.outcome, Some(outcome));
    }
}

#[test]
fn bodies_are_counted_and_kept_within_their_bound() {
    let start = head(1, &[(":status", "200")], Ends::Nothing);
    let flow = one(
        Dialect::Http,
        [start, frame::data(1, b"hello", Ends::Stream)].concat(),
    );
    assert_eq!(flow.calls[0].exchange.body_bytes, 5);
    assert_eq!(flow.calls[0].kept[0].1, b"hell");
}

#[test]
fn a_goaway_is_heeded_by_those_who_should() {
    let steps = |heed| {
        vec![
            get(Heed::GoAway, Dialect::Http),
            Step::AwaitGoAway,
            get(heed, Dialect::Http),
            Step::AwaitEnd,
        ]
    };
    let flow = play(steps(Heed::GoAway), |stream| {
        stream.write_all(&goaway(1, 0)).unwrap();
    });
    assert_eq!(flow.calls.len(), 1);
    let flow = play(steps(Heed::Nothing), |stream| {
        stream.write_all(&goaway(1, 0)).unwrap();
        read_until(stream, HEADERS);
    });
    assert_eq!(flow.calls.len(), 2);
    assert_eq!(flow.calls[1].exchange.outcome, Some(Outcome::RefusedH2));
    assert_eq!(flow.conns[0].end.map(|(_, end)| end), Some(End::Fin));
    assert_eq!(flow.conns[0].goaways.len(), 1);
}

#[test]
fn pings_are_answered_and_credit_is_given() {
    let steps = vec![get(Heed::GoAway, Dialect::Http), Step::AwaitAnswers];
    let flow = play(steps, |stream| {
        stream.write_all(&raw(6, 0, 0, &[7; 8])).unwrap();
        read_until(stream, 6);
        let mut answer = head(1, &[(":status", "200")], Ends::Nothing);
        answer.extend(frame::data(1, &[b'x'; 1_000], Ends::Nothing));
        stream.write_all(&answer).unwrap();
        read_until(stream, 8);
        stream
            .write_all(&frame::data(1, b"", Ends::Stream))
            .unwrap();
    });
    assert_eq!(flow.conns[0].pings.len(), 1);
    assert_eq!(flow.calls[0].exchange.outcome, Some(Outcome::Served));
}
