//! Owns which paths of a profile are tried, under which usual names, and what each would enable.
//! Not: the questions (see `questions`), the other keys (see `launching`, `doors`, `leaving`), or the file (see `write`).

use super::questions;
use super::write::quoted;
use super::{Entry, Origin, Table};
use crate::options::Options;
use crate::scenario::ws;
use crate::target::Place;

/// A path that a profile can name, and how it is found.
struct Wanted {
    key: &'static str,
    /// Usual names; the first is the example where none of them answers.
    usual: &'static [&'static str],
    field: fn(&mut Options) -> &mut Option<String>,
    is_it: fn(&Place, &str) -> bool,
    seen: &'static str,
    /// What it enables.
    enables: &'static str,
}

const WANTED: [Wanted; 8] = [
    Wanted {
        key: "ready",
        usual: &["/readyz", "/healthz", "/health", "/ready", "/livez", "/up"],
        field: |options| &mut options.target.ready_path,
        is_it: questions::is_good,
        seen: "answers 2xx",
        enables: "without it the service counts as ready when it accepts a connection",
    },
    Wanted {
        key: "slow",
        usual: &[
            "/slow?ms={ms}",
            "/sleep?ms={ms}",
            "/delay?ms={ms}",
            "/wait?ms={ms}",
            "/slow/{ms}",
            "/sleep/{ms}",
        ],
        field: |options| &mut options.target.slow_path,
        is_it: questions::holds,
        seen: "holds a request for as long as it is asked to",
        enables: "a path that answers after {ms} milliseconds lets H1-01, P2, P3, P9 and H2-02 see requests that really run, instead of half-sent ones",
    },
    Wanted {
        key: "post",
        usual: &["/", "/echo", "/post", "/api/echo"],
        field: |options| &mut options.target.post_path,
        is_it: questions::takes_posts,
        seen: "takes a POST",
        enables: "with a path that takes POSTs, what is lost is what no client may send again: sweeps and loads use it",
    },
    Wanted {
        key: "upload",
        usual: &["/upload", "/echo", "/"],
        field: |options| &mut options.target.upload_path,
        is_it: questions::takes_uploads,
        seen: "reads 256 KiB",
        enables: "H1-09, H1-12 and H1-13 need a path that reads bodies of any length",
    },
    Wanted {
        key: "large",
        usual: &[
            "/large?bytes={bytes}",
            "/bytes/{bytes}",
            "/blob?bytes={bytes}",
        ],
        field: |options| &mut options.target.large_path,
        is_it: questions::is_large,
        seen: "answers with as many bytes as it is asked for",
        enables: "H1-10 and H2-07 need a path that answers with {bytes} bytes",
    },
    Wanted {
        key: "stream",
        usual: &[
            "/stream?chunks={chunks}&ms={ms}",
            "/chunks?chunks={chunks}&ms={ms}",
        ],
        field: |options| &mut options.target.stream_path,
        is_it: questions::streams,
        seen: "answers in chunks, as many and as far apart as it is asked to",
        enables: "H1-11 needs a path that answers in {chunks} chunks, {ms} milliseconds apart",
    },
    Wanted {
        key: "sse",
        usual: &["/sse?ms={ms}", "/events", "/sse", "/stream", "/api/events"],
        field: |options| &mut options.target.sse_path,
        is_it: |place, path| questions::is_event_stream(place, &path.replace("{ms}", "100")),
        seen: "is an event stream",
        enables: "H1-14 needs a path with an event stream",
    },
    Wanted {
        key: "websocket",
        usual: &["/ws", "/websocket", "/socket", "/echo", "/"],
        field: |options| &mut options.target.ws_path,
        is_it: |place, path| ws::try_out(place, path).is_ok(),
        seen: "is a WebSocket that echoes",
        enables: "WS-01 to WS-06 and L-WS need a path with a WebSocket that echoes",
    },
];

/// One launch, being asked.
pub(super) struct Probe<'p> {
    pub(super) place: &'p Place,
    /// What was asked for, and what was found.
    pub(super) options: Options,
    /// It answers 2xx whatever the path: names prove nothing.
    pub(super) answers_all: bool,
}

impl<'p> Probe<'p> {
    pub(super) fn new(options: &Options, place: &'p Place) -> Self {
        let mut options = options.clone();
        // What is learned must not depend on which checks were chosen.
        (options.only, options.skip, options.protocols) = Default::default();
        Self {
            place,
            options,
            answers_all: questions::is_good(place, "/lameduck-asks-for-what-nobody-has"),
        }
    }

    /// Every path that was given or found; `options` know them afterwards.
    pub(super) fn paths(&mut self) -> Vec<Entry> {
        WANTED.iter().map(|wanted| self.path(wanted)).collect()
    }

    fn path(&mut self, wanted: &Wanted) -> Entry {
        let entry = |value: &str, origin, note| Entry {
            table: Table::Paths,
            key: wanted.key,
            value: quoted(value),
            origin,
            note,
        };
        let given = (wanted.field)(&mut self.options).clone();
        let is_it = |path: &str| (wanted.is_it)(self.place, &self.place.fill(path));
        if let Some(path) = given {
            let note = if is_it(&path) {
                format!("{path} {}", wanted.seen)
            } else {
                format!("it was not seen that {path} {}", wanted.seen)
            };
            return entry(&path, Origin::Given, note);
        }
        // Where any path is answered 2xx, only what shows by more than that is believed.
        let by_status = ["ready", "post", "upload"].contains(&wanted.key);
        if self.answers_all && by_status && wanted.key != "post" {
            let note = format!(
                "every path is answered 2xx, so nothing can be told; {}",
                wanted.enables
            );
            return entry(wanted.usual[0], Origin::Missing, note);
        }
        let found = wanted.usual.iter().find(|path| is_it(path));
        match found {
            Some(path) => {
                *(wanted.field)(&mut self.options) = Some((*path).to_owned());
                entry(path, Origin::Found, format!("{path} {}", wanted.seen))
            }
            None => {
                let note = format!("{} (tried: {})", wanted.enables, wanted.usual.join(", "));
                entry(wanted.usual[0], Origin::Missing, note)
            }
        }
    }
}

/// What the texts of this file say that keys enable.
#[cfg(test)]
pub(super) fn promises() -> Vec<&'static str> {
    WANTED.iter().map(|wanted| wanted.enables).collect()
}
