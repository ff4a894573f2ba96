//! Rounds against real processes: what is counted must be what the server did.

use std::time::Duration;

use lameduck_benches::engine::{self, Load, Round};
use lameduck_benches::outcome::Outcome;
use lameduck_benches::rng::Rng;
use lameduck_benches::script::{AfterClose, AfterRefusal, Kind, Promise, Script, Think};
use lameduck_benches::server::{self, Launch, Ready, Server, Signal};

const CLIENTS: usize = 8;
const AT: Duration = Duration::from_millis(200);

/// Plays slow requests in a closed loop against a peer that is sent `signal` while all of them wait.
fn play(peer: &str, signal: Signal) -> Round {
    let address = server::free_address().expect("a free port");
    let launch = Launch {
        program: env!("CARGO_BIN_EXE_peer").into(),
        args: vec![peer.into(), address.to_string().into()],
        address,
        ready: Ready::Line,
    };
    let mut server = Server::start(&launch).expect("the peer starts");
    let script = |index| Script {
        kind: Kind::Slow {
            longest: Duration::from_millis(100),
        },
        think: Think::None,
        seed: Rng::child(1, index as u64).next(),
        start: Duration::ZERO,
        after_close: AfterClose::Reconnect,
        after_refusal: AfterRefusal::Leave,
        promise: Promise::Always,
    };
    let load = Load {
        scripts: (0..CLIENTS).map(script).collect(),
        signals: vec![(AT, signal)],
        patience: Duration::from_secs(30),
    };
    let round = engine::run(&load, &mut server).expect("a poll descriptor");
    let tally = &round.tally;
    assert_eq!(
        tally.sent,
        tally.served + tally.refused_503 + tally.lost() + tally.beyond_promise
    );
    assert_eq!(
        (
            tally.refused_before_signal,
            tally.accepted_after_refused,
            tally.connects_hung
        ),
        (0, 0, 0)
    );
    round
}

#[test]
fn a_peer_that_drains_answers_what_is_in_flight_and_exits_with_0() {
    for peer in ["hyper-util", "axum"] {
        let round = play(peer, Signal::Terminate);
        assert_eq!(
            round.status.and_then(|status| status.code()),
            Some(0),
            "{peer}"
        );
        assert!(round.tally.served_after_signal > 0, "{peer}");
        assert!(round.exit_after.is_some(), "{peer}");
        assert_eq!(round.tally.refused, CLIENTS as u64, "{peer}");
    }
}

#[test]
fn a_server_that_dies_under_its_requests_is_seen_to_lose_them() {
    // A signal that the peer does not handle: it dies by it, with a request in flight on nearly every connection.
    let round = play("hyper-util", Signal::Interrupt);
    assert_eq!(round.status.and_then(|status| status.code()), None);
    assert!(round.tally.lost() > 0);
    for loss in round.tally.losses(round.signalled_at) {
        assert!(
            matches!(loss.outcome, Outcome::Eof | Outcome::Reset),
            "{loss}"
        );
        assert!(loss.ended_ms >= 0.0, "{loss}");
    }
}
