//! Owns what the caller has declared and no probe could see: written down again, so that a new profile loses nothing.
//! Not: what has examples or findings beside it (see `launching`, `probe`, `doors`, `leaving`).

use super::write::{list, quoted};
use super::{Entry, Origin, Table, duration};
use crate::declared::{ControlSocket, Reload, TlsTrust};
use crate::options::{Options, TargetSpec};

/// A key, its value where one was given, and what it is for.
type Row = (&'static str, Option<String>, &'static str);

pub(super) fn entries(options: &Options) -> Vec<Entry> {
    let target = &options.target;
    let reload = target.reload.as_ref();
    [
        (Table::Target, vec![name(target)]),
        (Table::WebSocket, websocket(target)),
        (Table::Tls, tls(options)),
        (Table::Reload, reload.map_or_else(Vec::new, reload_rows)),
        (
            Table::Control,
            target.control.as_ref().map_or_else(Vec::new, control),
        ),
        (Table::Checks, checks(options)),
    ]
    .into_iter()
    .flat_map(|(table, rows)| {
        rows.into_iter().filter_map(move |(key, value, note)| {
            Some(Entry {
                table,
                key,
                value: value?,
                origin: Origin::Given,
                note: note.to_owned(),
            })
        })
    })
    .collect()
}

fn name(target: &TargetSpec) -> Row {
    let command = target.argv.join(" ");
    let usual = target.driven.as_ref().map_or(&command, |it| &it.start);
    let is_name = !target.label.is_empty() && target.label != *usual && target.pid.is_none();
    let name = is_name.then(|| quoted(&target.label));
    ("name", name, "how reports name it")
}

fn websocket(target: &TargetSpec) -> Vec<Row> {
    let spread = target.ws_spread.map(|time| quoted(&duration(time)));
    let farewell = target.ws_farewell.as_ref().map(|said| {
        let (path, message) = (quoted(&said.path), quoted(&said.message));
        format!(
            "{{ path = {path}, message = {message}, code = {} }}",
            said.code
        )
    });
    vec![
        (
            "spread",
            spread,
            "over how long it spreads the closes of its WebSockets (WS-05)",
        ),
        (
            "farewell",
            farewell,
            "where the application says farewell itself, and how (WS-06)",
        ),
    ]
}

fn tls(options: &Options) -> Vec<Row> {
    let file = options.profile.as_ref().and_then(|it| it.authorities());
    let (authorities, note) = match (&options.target.tls_trust, file) {
        (TlsTrust::Any, _) => (None, ""),
        (TlsTrust::Authorities(_), Some(file)) => (
            Some(quoted(&absolute(&file))),
            "whose certificates will do there",
        ),
        // Certificates that a program had in its hands have no file to name.
        (TlsTrust::Authorities(_), None) => (
            Some(quoted("authorities.pem")),
            "certificates were given, but no file: put them there",
        ),
    };
    let name = options.target.tls_name.as_deref().map(quoted);
    vec![
        ("authorities", authorities, note),
        ("name", name, "whom its certificate is for"),
    ]
}

fn reload_rows(said: &Reload) -> Vec<Row> {
    let words = |words: &[String]| (!words.is_empty()).then(|| list(words));
    let file = said.file.as_deref().map(|file| quoted(&absolute(file)));
    let usual = Reload::default();
    let signal = (said.signal != usual.signal).then(|| quoted(&said.signal.name()[3..]));
    vec![
        (
            "arguments",
            words(&said.arguments),
            "added to its arguments; {config} becomes the file (P7)",
        ),
        ("file", file, "the file that it reads"),
        ("first", Some(quoted(&said.first)), "its first contents"),
        ("second", Some(quoted(&said.second)), "other good ones"),
        ("broken", Some(quoted(&said.broken)), "what it must refuse"),
        (
            "path",
            Some(quoted(&said.path)),
            "its answer shows which is in force",
        ),
        ("signal", signal, "asks for it"),
        (
            "command",
            said.command.as_deref().and_then(words),
            "asks for it, instead of the signal",
        ),
    ]
}

fn control(said: &ControlSocket) -> Vec<Row> {
    let arguments = (!said.arguments.is_empty()).then(|| list(&said.arguments));
    vec![
        (
            "path",
            Some(quoted(&said.path)),
            "where participants negotiate its exit (N-1 to N-10)",
        ),
        (
            "arguments",
            arguments,
            "added to its arguments; {control} becomes a path of ours",
        ),
    ]
}

fn checks(options: &Options) -> Vec<Row> {
    let usual = Options::new(TargetSpec::default()).rounds;
    let ids = |ids: &[String]| (!ids.is_empty()).then(|| list(ids));
    let protocols: Vec<String> = options.protocols.iter().map(ToString::to_string).collect();
    let rounds = (options.rounds != usual).then(|| options.rounds.to_string());
    vec![
        ("only", ids(&options.only), "the checks that run"),
        ("skip", ids(&options.skip), "checks that do not"),
        (
            "protocols",
            ids(&protocols),
            "what is checked besides the process and its door",
        ),
        ("rounds", rounds, "fresh processes for the load checks"),
    ]
}

/// What is relative in a profile is relative to its file; this was relative to us.
pub(super) fn absolute(path: &std::path::Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().into_owned()
}
