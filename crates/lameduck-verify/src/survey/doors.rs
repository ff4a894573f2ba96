//! Owns the doors of a service as a profile names them: URLs, a gRPC call, the page that tells balancers.
//! Not: paths behind them (see `probe`).

use super::probe::Probe;
use super::questions;
use super::write::quoted;
use super::{Entry, Origin, Table};
use crate::options::DrainSignal;
use crate::scenario::facts::Facts;
use crate::target::Url;

impl Probe<'_> {
    pub(super) fn urls(&self, facts: &Facts) -> Vec<Entry> {
        let target = &self.options.target;
        let plain = Entry {
            table: Table::Urls,
            key: "http",
            value: quoted(target.url.as_deref().unwrap_or("http://127.0.0.1:{port}/")),
            origin: if target.url.is_some() {
                Origin::Given
            } else {
                Origin::Found
            },
            note: if facts.speaks_h1 {
                facts.notes.join("; ")
            } else {
                "it speaks no HTTP/1.1 in plain text".to_owned()
            },
        };
        let speaks_tls = facts.speech.tls || facts.speech.tls_h2;
        let tls = Entry {
            table: Table::Urls,
            key: "https",
            value: quoted(
                target
                    .tls_url
                    .as_deref()
                    .unwrap_or("https://localhost:{tls_port}/"),
            ),
            origin: match (&target.tls_url, speaks_tls) {
                (Some(_), _) => Origin::Given,
                (None, true) => Origin::Found,
                (None, false) => Origin::Missing,
            },
            note: if speaks_tls {
                format!(
                    "TLS is spoken there, with {}; any certificate will do unless [tls] names authorities",
                    if facts.speech.tls_h2 {
                        "HTTP/2 by ALPN"
                    } else {
                        "HTTP/1.1 only"
                    }
                )
            } else {
                "TLS-1 to TLS-4, L-TLS and HTTP/2 by ALPN need a TLS listener; {tls_port} in `command` becomes its port".to_owned()
            },
        };
        vec![plain, tls]
    }

    /// gRPC, and what tells balancers that it leaves.
    pub(super) fn others(&mut self, facts: &Facts) -> Vec<Entry> {
        let call = self.options.target.grpc.as_ref();
        let mut entries = vec![Entry {
            table: Table::Grpc,
            key: "path",
            value: quoted(call.map_or("/package.Service/Method", |call| &call.path)),
            origin: if call.is_some() { Origin::Given } else { Origin::Missing },
            note: match (call.is_some(), facts.speech.grpc) {
                (true, true) => "the call is answered with grpc-status 0".to_owned(),
                (true, false) => "the call was not answered with grpc-status 0".to_owned(),
                (false, _) => "H2-09 needs a unary gRPC method; `message` and `slow_message` are protobuf bytes in hexadecimal".to_owned(),
            },
        }];
        if let Some(call) = call.filter(|call| !call.message.is_empty()) {
            entries.push(message("message", &call.message));
        }
        if let Some(slow) = call.and_then(|call| call.slow_message.as_ref()) {
            entries.push(message("slow_message", slow));
        }
        entries.extend(self.drain_signal());
        entries
    }

    fn drain_signal(&mut self) -> Vec<Entry> {
        const PLACES: [&str; 2] = ["http://127.0.0.1:{probes_port}", "http://127.0.0.1:{port}"];
        let entry = |key, value: &str, origin, note: String| Entry {
            table: Table::DrainSignal,
            key,
            value: quoted(value),
            origin,
            note,
        };
        let says_yes = |url: &str| {
            let Ok(url) = Url::parse(&self.place.fill(url)) else {
                return false;
            };
            let mut there = self.place.clone();
            there.url = url;
            questions::is_good(&there, &there.url.path)
        };
        let given = self.options.target.drain_signal.clone();
        let origin = if given.is_some() {
            Origin::Given
        } else {
            Origin::Found
        };
        let found = given.or_else(|| {
            // Only a page of this name promises to say no before the door is shut.
            let url = PLACES.map(|place| format!("{place}/lbz"));
            let url = url
                .into_iter()
                .find(|url| !self.answers_all && says_yes(url))?;
            let liveness = format!("{}/livez", url.trim_end_matches("/lbz"));
            Some(DrainSignal {
                liveness_url: says_yes(&liveness).then_some(liveness),
                url,
            })
        });
        let Some(signal) = found else {
            let note = "A1 needs a page that answers 2xx until the service is told to stop; `liveness` names one that does until the exit";
            return vec![entry(
                "url",
                "http://127.0.0.1:{port}/readyz",
                Origin::Missing,
                note.to_owned(),
            )];
        };
        let mut entries = vec![entry(
            "url",
            &signal.url,
            origin,
            "answers 2xx now; A1 watches it turn".to_owned(),
        )];
        if let Some(liveness) = &signal.liveness_url {
            let note = "answers 2xx now; A1 expects that until the exit".to_owned();
            entries.push(entry("liveness", liveness, origin, note));
        }
        self.options.target.drain_signal = Some(signal);
        entries
    }
}

fn message(key: &'static str, bytes: &[u8]) -> Entry {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Entry {
        table: Table::Grpc,
        key,
        value: quoted(&hex),
        origin: Origin::Given,
        note: "protobuf bytes in hexadecimal".to_owned(),
    }
}
