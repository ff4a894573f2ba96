//! The matrix as one HTML file without anything from elsewhere: no script, no font, no image.
//! The detail of a cell is a popover, which opens by pointer and by keyboard.

use std::fmt::Write as _;

use super::record::{Check, Record};
use super::table;

const STYLE: &str = include_str!("page.css");

/// `docs/conformance.html`.
pub(super) fn page(records: &[Record]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>Conformance: what servers do when they are told to stop</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#method\">Skip the matrix</a>\n<header><h1>What servers do when they are told to stop</h1>\n\
         <p>Each cell is the answer of <code>lameduck verify</code> to one promise of the shutdown contract. \
         Choose a cell to see what was seen.</p>\n\
         <p class=\"key\"><span class=\"pass\">✓ pass</span> <span class=\"fail\">✗ fail</span> \
         <span class=\"differs\">≠ differs</span> <span class=\"inconclusive\">? inconclusive</span> \
         <span class=\"na\">– not applicable</span></p>\n\
         <p>A cross says that a promise of <em>our</em> contract is not kept by a default or a documented way to stop; most \
         of these servers never promised it. A dash is no pass. The last group is manners: shown, and they decide nothing.</p>\n\
         <p><a href=\"contract.md\">What the ids mean</a> · <a href=\"conformance/evidence.md\">What packet captures \
         showed</a> · <a href=\"disputing.md\">How to dispute a cell</a> · <a href=\"conformance/data\">The data</a></p>\n\
         </header>\n<main>\n"
    );
    let mut popovers = String::new();
    grid(&mut page, &mut popovers, records);
    page.push_str("<h2 id=\"method\">Method</h2>\n<ul>\n");
    for sentence in table::method(records) {
        let _ = writeln!(page, "<li>{}</li>", code(&sentence));
    }
    page.push_str("</ul>\n<h2>Server by server</h2>\n");
    for record in records {
        server(&mut page, record);
    }
    page.push_str("</main>\n");
    page.push_str(&popovers);
    page.push_str("</body>\n</html>\n");
    page
}

fn grid(page: &mut String, popovers: &mut String, records: &[Record]) {
    let groups = table::groups(records);
    page.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"The matrix\">\n<table>\n<thead>\n\
         <tr><th rowspan=\"2\" scope=\"col\">server</th><th rowspan=\"2\" scope=\"col\" class=\"rate\">lost under load, of n (95 %)</th>",
    );
    for group in &groups {
        let _ = write!(
            page,
            "<th colspan=\"{}\" scope=\"colgroup\">{}</th>",
            group.ids.len(),
            escape(group.title)
        );
    }
    page.push_str("</tr>\n<tr>");
    let columns = table::columns(records);
    for id in groups.iter().flat_map(|group| &group.ids) {
        let owed = columns
            .iter()
            .find(|check| check.id == *id)
            .map_or("", |check| &check.owed);
        let _ = write!(
            page,
            "<th scope=\"col\"><abbr title=\"{}\">{}</abbr></th>",
            escape(owed),
            escape(id)
        );
    }
    page.push_str("</tr>\n</thead>\n<tbody>\n");
    for record in records {
        let _ = write!(
            page,
            "<tr><th scope=\"row\"><a href=\"#{}\">{}</a></th><td class=\"rate\">{}</td>",
            escape(&record.recipe),
            escape(&record.about.name),
            escape(&table::row_rate(record)),
        );
        for id in groups.iter().flat_map(|group| &group.ids) {
            cell(page, popovers, record, id);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

fn cell(page: &mut String, popovers: &mut String, record: &Record, id: &str) {
    let Some(check) = record.check(id) else {
        page.push_str("<td class=\"na\">–<span class=\"word\"> not run</span></td>");
        return;
    };
    let (symbol, word) = table::answer(&check.verdict);
    let name = escape(&format!("{}.{id}", record.recipe));
    let old = if record.about.old.is_some() {
        "<small>old</small>"
    } else {
        ""
    };
    let _ = write!(
        page,
        "<td class=\"{}\"><button popovertarget=\"{name}\" aria-label=\"{} {}: {word}\">{symbol}<span class=\"word\"> {word}</span>{old}</button></td>",
        class(&check.verdict),
        escape(&record.about.name),
        escape(id),
    );
    let _ = writeln!(
        popovers,
        "<div popover id=\"{name}\"><h3>{} · {} · {symbol} {word}</h3><p>{}</p>{}</div>",
        escape(&record.about.name),
        escape(id),
        escape(&table::detail(record, check)),
        owed(record, check),
    );
}

fn owed(record: &Record, check: &Check) -> String {
    let old = record
        .about
        .old
        .as_ref()
        .map(|old| format!("<p>Old: {}</p>", escape(old)));
    format!(
        "<p class=\"owed\">Owed: {}</p>{}",
        escape(&check.owed),
        old.unwrap_or_default()
    )
}

fn class(verdict: &str) -> &str {
    match verdict {
        "pass" | "fail" | "differs" | "inconclusive" | "waived" => verdict,
        _ => "na",
    }
}

fn server(page: &mut String, record: &Record) {
    let about = &record.about;
    let _ = writeln!(
        page,
        "<section id=\"{}\">\n<h3>{}</h3>\n<dl>",
        escape(&record.recipe),
        escape(&about.name)
    );
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(name), value);
    };
    if let Some(old) = &about.old {
        row("old", &escape(old));
    }
    row("installed", &escape(&about.packages.join(", ")));
    row(
        "it says",
        &code(&format!("`{}`", record.run.server_version)),
    );
    row("told by", &escape(&record.signal));
    row(
        "set",
        &about
            .options
            .iter()
            .map(|option| escape(option))
            .collect::<Vec<_>>()
            .join("<br>"),
    );
    row("lost under load", &escape(&table::row_rate(record)));
    row(
        "run",
        &escape(&format!(
            "{} UTC, seed {}, {} launches in {} s",
            record.run.date, record.seed, record.launches, record.run.took_s
        )),
    );
    if !record.command.is_empty() {
        row("command", &code(&format!("`{}`", record.command.join(" "))));
    }
    page.push_str("</dl>\n</section>\n");
}

/// Escapes; what stands between backticks becomes code.
fn code(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        out.push_str(&if index % 2 == 1 {
            format!("<code>{part}</code>")
        } else {
            part
        });
    }
    out
}

/// Text for an element or an attribute: whatever a server wrote is only text.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_wrote_is_only_text() {
        assert_eq!(
            escape("<b a=\"x\">\u{1b}&'"),
            "&lt;b a=&quot;x&quot;&gt; &amp;&#39;"
        );
        assert_eq!(code("run `a<b` now"), "run <code>a&lt;b</code> now");
    }
}
