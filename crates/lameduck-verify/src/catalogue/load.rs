//! What is owed under load. Source: the shutdown contract, version 1.

use super::{CheckInfo, Class};

pub(super) const ENTRIES: &[CheckInfo] = &[
    CheckInfo {
        id: "L-H1",
        class: Class::Loss,
        owed: "closed-loop HTTP/1.1 clients across the signal at a random instant lose nothing, in any round",
        short: "under load: none lost",
        source: "what a deploy looks like in production",
        consequence: "every deploy, scale-down and node drain costs users requests",
        remedy: "before closing anything, go on answering for a moment with `Connection: close`; look at a connection before closing it",
        scenario: "load",
        cost: "20 launches (--rounds), about 1 s each",
    },
    CheckInfo {
        id: "L-WS",
        class: Class::Loss,
        owed: "closed-loop echo clients across the signal lose no message: one sent before the Close was seen gets its echo, or a Close comes in order",
        short: "under load: no message lost",
        source: "RFC 6455 §1.4: behind a Close, the peer knows what was not processed",
        consequence: "messages vanish at every deploy, and neither side knows",
        remedy: "say Close before closing, read on until the peer has said Close too",
        scenario: "load",
        cost: "half as many launches as L-H1 (--rounds), about 1 s each; needs --ws-path",
    },
    CheckInfo {
        id: "L-MIX",
        class: Class::Loss,
        owed: "all protocols at once, slow and hostile clients among them: nothing is lost among the honest",
        short: "mixed, with hostile clients: none lost",
        source: "what production looks like: half heads, clients that never read, floods, resets",
        consequence: "one bad client costs good ones their requests when the service leaves",
        remedy: "bound every client in time and memory, and let none of them delay the drain of others",
        scenario: "load",
        cost: "a fifth of the launches of L-H1 (--rounds), each up to the grace period",
    },
];
