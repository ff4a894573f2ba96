//! What is owed over TLS. Sources: the shutdown contract, version 1; RFC 8446.

use super::{CheckInfo, Class};

const SHARED: &str = "shared by the second drain; needs --tls-url or {tls_port}";

pub(super) const ENTRIES: &[CheckInfo] = &[
    CheckInfo {
        id: "TLS-1",
        class: Class::Loss,
        owed: "handshakes under way at the signal, which go on 0.5 to 100 ms after it, complete, and their first request is served",
        short: "handshake under way: completed and served",
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
        source: "handshakes that run in the accept loop stand in each other's way",
        consequence: "one slow client keeps all others out, in service and while leaving",
        remedy: "accept first, then shake hands in a task of the connection",
        scenario: "second",
        cost: SHARED,
    },
];
