//! What is owed under load. Source: the shutdown contract, version 1.

use super::{CheckInfo, Class};

pub(super) const ENTRIES: &[CheckInfo] = &[CheckInfo {
    id: "L-H1",
    class: Class::Loss,
    owed: "closed-loop HTTP/1.1 clients across the signal at a random instant lose nothing, in any round",
    short: "under load: none lost",
    source: "what a deploy looks like in production",
    consequence: "every deploy, scale-down and node drain costs users requests",
    remedy: "before closing anything, go on answering for a moment with `Connection: close`; look at a connection before closing it",
    scenario: "load",
    cost: "20 launches (--rounds), about 1 s each",
}];
