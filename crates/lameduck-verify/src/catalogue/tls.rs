//! What is owed over TLS. Sources: the shutdown contract, version 1; RFC 8446.

use super::{CheckInfo, Class};

const SHARED: &str = "shared by the second drain; needs --tls-url or {tls_port}";

pub(super) const ENTRIES: &[CheckInfo] = &[
    CheckInfo {
        id: "TLS-1",
        class: Class::Loss,
        owed: "handshakes under way at the signal, which go on 0.5 to 100 ms after it, complete, and their first request is served",
        short: "handshake under way: completed and served",
        measured: "32 handshakes: 16 have sent half a ClientHello before the signal, 16 all of it. They go on 0.5 to 100 ms after the signal, 2 of each kind for each offset, and must become whole and have their first request served. When fewer than 6 offsets were met in time the drain is made again, up to three in all, and then the answer is inconclusive. Where the profile says late = \"refuse\", a refusal that is safe to try again counts as well.",
        source: "a handshake takes one or two round trips, and clients have connected already",
        consequence: "clients that had just connected meet a failed handshake, which many report as an attack",
        remedy: "count a connection from its accept, not from the end of its handshake",
        scenario: "second",
        cost: SHARED,
    },
    CheckInfo {
        id: "TLS-2",
        class: Class::Loss,
        owed: "a stalled handshake does not hold the exit",
        short: "stalled handshake does not hold the exit",
        measured: "12 clients stall: 6 inside their ClientHello, 6 behind it. Fail when one is still connected at the end of the grace period and the process has to be killed, or when only the declared forced exit ended it.",
        source: "port scanners, plain-text health checks and dying clients stall in the handshake",
        consequence: "one stalled client makes each deploy wait until the platform kills the process",
        remedy: "give handshakes a limit of their own, and a shorter one while draining",
        scenario: "second",
        cost: SHARED,
    },
    CheckInfo {
        id: "TLS-3",
        class: Class::Loss,
        owed: "every orderly close sends close_notify first",
        short: "closes begin with close_notify",
        measured: "4 idle connections of HTTP/1.1 over TLS, and the idle and busy ones of HTTP/2 over TLS (H2-01). Fail when the target closes one by a bare FIN, without close_notify, or resets it. What ends by a kill or by the declared forced exit is not counted; n/a where nothing was closed by the target itself.",
        source: "RFC 8446 §6.1: without it, a cut-off connection can not be told from a whole one",
        consequence: "clients log truncation errors, and responses that end with the connection are not trusted",
        remedy: "shut the TLS session down before the socket",
        scenario: "second",
        cost: SHARED,
    },
    CheckInfo {
        id: "TLS-4",
        class: Class::Loss,
        owed: "a slow or hostile handshake never delays another connection",
        short: "bad handshakes delay nobody else",
        measured: "While 12 clients stall in their handshake, the 32 of TLS-1 are in the middle of theirs and 4 speak no TLS, 4 honest ones connect anew every 20 ms, and 2 without TLS where the target answers in plain text too. Fail when one of the 4 waits for more than 700 ms and four times the usual handshake, or when none is served; inconclusive when the 2, whom no handshake can delay, waited for a quarter of that as well, unless the others waited for eight times as long as they.",
        source: "handshakes that run in the accept loop stand in each other's way",
        consequence: "one slow client keeps all others out, in service and while leaving",
        remedy: "accept first, then shake hands in a task of the connection",
        scenario: "second",
        cost: SHARED,
    },
];
