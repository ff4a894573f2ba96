//! The one list of promises that the duck can break: what `--list-breaks` prints and what `mutants-verify` runs.

/// What the check says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Fail,
    Differs,
}

impl Says {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Differs => "differs",
        }
    }
}

/// A promise that can be broken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Break {
    /// The word after `--break`.
    pub(crate) name: &'static str,
    /// The id that has to see it.
    pub(crate) id: &'static str,
    pub(crate) says: Says,
    /// What the duck then does.
    pub(crate) what: &'static str,
}

const fn fails(name: &'static str, id: &'static str, what: &'static str) -> Break {
    let says = Says::Fail;
    Break {
        name,
        id,
        says,
        what,
    }
}

const fn differs(name: &'static str, id: &'static str, what: &'static str) -> Break {
    let says = Says::Differs;
    Break {
        name,
        id,
        says,
        what,
    }
}

pub(crate) const BREAKS: &[Break] = &[
    fails("P1", "P1", "ignores the stop signal"),
    differs("P1-code", "P1", "exits with 3 after a planned stop"),
    fails("P2", "P2", "waits for a stuck request for ever"),
    differs("P2-code", "P2", "exits with 0 though it cut a request off"),
    differs("P3", "P3", "does not cut at the third signal"),
    fails("P4", "P4", "ignores a signal that comes while it starts"),
    differs("P5", "P5", "has no handler for SIGINT"),
    differs("P6", "P6", "dies of SIGQUIT without a word"),
    differs("P7", "P7", "takes a broken configuration"),
    differs("P7-drop", "P7", "drops requests for a while after a reload"),
    fails(
        "P8",
        "P8",
        "relies on default actions, which PID 1 does not get",
    ),
    fails("P9", "P9", "exits at the second signal"),
    differs(
        "P10",
        "P10",
        "leaves a temporary file and a socket path behind",
    ),
    differs("P10-child", "P10", "leaves a child behind"),
    differs("A1", "A1", "tells balancers nothing until it is gone"),
    fails(
        "A2",
        "A2",
        "stops accepting before the front has heard of it",
    ),
    fails("A3", "A3", "closes its listener with clients in the queue"),
    fails(
        "A4",
        "A4",
        "closes its listener before the last ACKs are there",
    ),
    fails("A5", "A5", "goes on accepting, and drops what it accepts"),
    fails("H1-01", "H1-01", "cuts requests in flight"),
    fails("H1-02", "H1-02", "closes idle connections at the signal"),
    fails("H1-03", "H1-03", "resets idle connections"),
    fails("H1-04", "H1-04", "closes connections that sent nothing yet"),
    fails(
        "H1-05",
        "H1-05",
        "throws requests away that it has not read yet",
    ),
    fails("H1-06", "H1-06", "throws half sent heads away"),
    fails("H1-07", "H1-07", "waits for half a head for ever"),
    fails(
        "H1-08",
        "H1-08",
        "drops pipelined requests without a `close`",
    ),
    fails("H1-09", "H1-09", "cuts slow uploads"),
    fails(
        "H1-09-stall",
        "H1-09",
        "waits for a stalled upload for ever",
    ),
    fails("H1-10", "H1-10", "exits with a response in the kernel"),
    fails("H1-11", "H1-11", "cuts a stream that would end in time"),
    fails(
        "H1-11-end",
        "H1-11",
        "ends a cut stream as if it were whole",
    ),
    differs("H1-11-name", "H1-11", "does not say what it cut"),
    fails("H1-12", "H1-12", "answers early, then resets"),
    fails("H1-13", "H1-13", "drops clients that wait for 100"),
    fails("H1-14", "H1-14", "cuts an event stream inside an event"),
    differs("H2-01", "H2-01", "closes HTTP/2 connections without GOAWAY"),
    fails("H2-02", "H2-02", "cuts open streams"),
    fails("H2-03", "H2-03", "resets streams behind the first GOAWAY"),
    fails("H2-04", "H2-04", "resets the connection of a late stream"),
    fails("H2-05", "H2-05", "waits for the PING without end"),
    fails("H2-06", "H2-06", "waits for half a preface without end"),
    fails("H2-07", "H2-07", "drops what waits for WINDOW_UPDATE"),
    fails("H2-08", "H2-08", "cancels streams from the 26th on"),
    fails("H2-09", "H2-09", "ends gRPC calls without trailers"),
    fails("H2-10", "H2-10", "sends new connections away in the window"),
    fails("WS-01", "WS-01", "ends WebSockets without a Close frame"),
    fails("WS-02", "WS-02", "puts the Close inside another frame"),
    fails(
        "WS-03",
        "WS-03",
        "waits for the answer to its Close for ever",
    ),
    differs(
        "WS-04",
        "WS-04",
        "does not let the application say farewell",
    ),
    fails(
        "WS-05",
        "WS-05",
        "ends tunnels of HTTP/2 without a Close frame",
    ),
    differs("WS-06", "WS-06", "closes all WebSockets at once"),
    fails("TLS-1", "TLS-1", "drops handshakes under way"),
    fails("TLS-2", "TLS-2", "has no limit for a stalled handshake"),
    fails("TLS-3", "TLS-3", "closes without close_notify"),
    fails("TLS-4", "TLS-4", "shakes hands one client at a time"),
    fails("N-1", "N-1", "waits for no participant"),
    fails("N-2", "N-2", "waits for a silent participant for ever"),
    fails("N-2-again", "N-2", "asks a silent participant only once"),
    fails("N-3", "N-3", "grants more than the drain leaves"),
    fails("N-3-mute", "N-3", "answers no wish"),
    fails("N-4", "N-4", "grants the same wish twice"),
    fails("N-5", "N-5", "gives participants up at half their budget"),
    fails("N-8", "N-8", "takes answers of any drain"),
    fails("N-9", "N-9", "leaves unanswered what it can not read"),
    fails("N-9-form", "N-9", "sends a version that is a text"),
    fails(
        "N-9-end",
        "N-9",
        "ends sessions that say what it can not read",
    ),
    fails(
        "N-10",
        "N-10",
        "waits for participants that lost their connection",
    ),
    fails(
        "N-10-name",
        "N-10",
        "keeps the name of a participant that lost its connection",
    ),
    fails("L-H1", "L-H1", "closes idle connections at the signal"),
    fails("L-H2", "L-H2", "closes idle HTTP/2 connections unseen"),
    fails("L-WS", "L-WS", "ends WebSockets without a Close frame"),
    fails("L-TLS", "L-TLS", "closes idle TLS connections unseen"),
    fails("L-MIX", "L-MIX", "closes idle connections at the signal"),
];

/// One line for each, its parts separated by tabs: name, id, verdict, what the duck does.
pub(crate) fn list() -> String {
    let lines = BREAKS.iter().map(|entry| {
        let (name, id, what) = (entry.name, entry.id, entry.what);
        format!("{name}\t{id}\t{}\t{what}\n", entry.says.word())
    });
    lines.collect()
}
