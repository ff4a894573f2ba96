//! Owns what the contract says about each id that this version can check: what is owed, why, how it is measured, what
//! failing costs, and how it is mended (`fixes`). Not: how it is checked (see `scenario`).

mod entries;
mod fixes;
mod http2;
mod load;
mod negotiation;
mod page;
mod tls;
mod websocket;

use serde::{Deserialize, Serialize};

pub use page::{contract_page, contract_table};

pub use fixes::{Checked, Fix, ServerKind, UnknownServer, fix, fixes};

/// Whether a check decides verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Requests are at stake: decides verdicts.
    Loss,
    /// Good manners: `differs` where they are missing, and a failure only with `--fail-on any`.
    Manners,
}

/// One id of the contract, for `--list` and for explaining findings.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CheckInfo {
    /// The id; it never changes its meaning.
    pub id: &'static str,
    /// Whether it decides verdicts.
    pub class: Class,
    /// What a client is owed.
    pub owed: &'static str,
    /// The same in a few words, for tables.
    pub short: &'static str,
    /// How it is measured: clients, instants, counts; what is n/a, and what inconclusive.
    pub measured: &'static str,
    /// Where the demand comes from.
    pub source: &'static str,
    /// What failing costs users.
    pub consequence: &'static str,
    /// How it is generally mended.
    pub remedy: &'static str,
    /// The scenario that judges it; checks of one scenario share their launches.
    pub scenario: &'static str,
    /// Launches and time, in words.
    pub cost: &'static str,
}

/// In the order of the contract.
const SECTIONS: [&[CheckInfo]; 6] = [
    entries::ENTRIES,
    http2::ENTRIES,
    websocket::ENTRIES,
    tls::ENTRIES,
    negotiation::ENTRIES,
    load::ENTRIES,
];

/// Every id that this version checks, in the order of the contract.
#[must_use]
pub fn list() -> Vec<CheckInfo> {
    SECTIONS.concat()
}

/// What the contract says about `id`, in whatever case it is written.
#[must_use]
pub fn check(id: &str) -> Option<CheckInfo> {
    let mut all = SECTIONS.into_iter().flatten();
    all.find(|entry| entry.id.eq_ignore_ascii_case(id)).copied()
}

/// The id that `word` is most likely a slip for.
#[must_use]
pub fn nearest_id(word: &str) -> Option<&'static str> {
    let ids: Vec<&'static str> = list().iter().map(|entry| entry.id).collect();
    crate::profile::nearest(word, &ids)
}

impl CheckInfo {
    /// What its family asks about, in words.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self.id.chars().next() {
            Some('P') => "Process",
            Some('A') => "Admission",
            Some('W') => "WebSocket",
            Some('T') => "TLS",
            Some('L') => "Load",
            Some('N') => "Negotiation",
            _ if self.id.starts_with("H2") => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }

    /// A command that runs this check alone on a target of the reader's; what is in capitals is theirs to fill in.
    #[must_use]
    pub fn command(&self) -> String {
        let needs: &[(&str, &str)] = &[
            ("A2", "--front kubernetes --grace 30s "),
            ("H1-10", "--large-path '/PATH?bytes={bytes}' "),
            ("H1-11", "--stream-path '/PATH?chunks={chunks}&ms={ms}' "),
            ("H1-14", "--sse-path /PATH "),
            ("H2-09", "--grpc-path /PACKAGE.SERVICE/METHOD "),
            ("WS-", "--ws-path /PATH "),
            ("L-WS", "--ws-path /PATH "),
            ("TLS-", "--tls-url https://127.0.0.1:{tls_port}/ "),
            ("N-", "--control /PATH "),
            ("L-TLS", "--tls-url https://127.0.0.1:{tls_port}/ "),
        ];
        let need = needs.iter().find(|(id, _)| self.id.starts_with(id));
        let flag = need.map_or("", |(_, flag)| *flag);
        format!(
            "lameduck verify --only {} {flag}-- COMMAND {{port}}",
            self.id
        )
    }
}

/// The entry of `id`.
pub(crate) fn entry(id: &str) -> Option<&'static CheckInfo> {
    SECTIONS.into_iter().flatten().find(|entry| entry.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_whole_and_named_once() {
        let all = list();
        for (index, entry) in all.iter().enumerate() {
            assert!(
                all[..index].iter().all(|earlier| earlier.id != entry.id),
                "{} twice",
                entry.id
            );
            for text in [
                entry.owed,
                entry.source,
                entry.measured,
                entry.consequence,
                entry.remedy,
                entry.cost,
            ] {
                assert!(text.len() > 10, "{}: {text:?}", entry.id);
            }
            assert!(entry.short.chars().count() <= 46, "{}", entry.id);
        }
    }
}
