//! Owns the report as one page of HTML that needs nothing else: its order, its head, its security policy.
//! Not: the sections (one file each), or escaping (see `page`).

mod checks;
mod lanes;
mod load;
mod page;
mod places;
mod raw;
mod story;

use page::Page;

use super::words::Losses;
use crate::verdict::Report;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A section: its anchor, its heading, and what writes it.
struct Section {
    anchor: &'static str,
    heading: &'static str,
    body: fn(&Report, &mut Page),
}

/// In the order in which a reader asks.
const SECTIONS: [Section; 12] = [
    section("users", "What users saw", story::users),
    section("phases", "Phases", story::phases),
    section("connections", "Connections, one by one", lanes::draw),
    section("load", "Load and latency around T", load::draw),
    section("findings", "Findings", checks::findings),
    section("checks", "All checks", checks::all),
    section("untested", "Not tested, and why", checks::untested),
    section("grace", "Grace period", places::draw),
    section("compared", "Runs compared", checks::compared),
    section("method", "Method and limits", raw::method),
    section("output", "What the target wrote", raw::output),
    section("raw", "Raw data", raw::data),
];

const fn section(
    anchor: &'static str,
    heading: &'static str,
    body: fn(&Report, &mut Page),
) -> Section {
    Section {
        anchor,
        heading,
        body,
    }
}

pub(super) fn render(report: &Report) -> String {
    let mut page = Page::new();
    head(report, &mut page);
    page.raw("<body>\n<a class=\"skip\" href=\"#main\">Skip to the report</a>\n");
    story::masthead(report, &mut page);
    page.raw("<nav aria-label=\"Sections\"><ul>");
    for section in &SECTIONS {
        let anchor = format!("#{}", section.anchor);
        page.raw("<li>")
            .open("a", &[("href", &anchor)])
            .text(section.heading)
            .raw("</a></li>");
    }
    page.raw("</ul></nav>\n<main id=\"main\" tabindex=\"-1\">\n");
    for section in &SECTIONS {
        let label = format!("{}-h", section.anchor);
        page.open(
            "section",
            &[("id", &section.anchor), ("aria-labelledby", &label)],
        )
        .open("h2", &[("id", &label)])
        .text(section.heading)
        .raw("</h2>\n");
        (section.body)(report, &mut page);
        page.raw("</section>\n");
    }
    page.raw("</main>\n<footer><p>")
        .text(format_args!(
            "lameduck verify {} · shutdown contract {} · seed {}",
            report.version, report.contract, report.seed
        ))
        .raw("</p></footer>\n<script>")
        .block(SCRIPT)
        .raw("</script>\n</body>\n</html>\n");
    page.finish()
}

fn head(report: &Report, page: &mut Page) {
    // Our own style and script by their digest, and nothing else from anywhere: should something of the target's
    // ever get through the escaping, it still does not run.
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    );
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .open(
            "meta",
            &[
                ("http-equiv", &"Content-Security-Policy"),
                ("content", &policy),
            ],
        )
        .raw("\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        .raw("<meta name=\"color-scheme\" content=\"light dark\">\n")
        .raw("<meta name=\"referrer\" content=\"no-referrer\">\n")
        // Browsers ask for a favicon unless there is one.
        .raw("<link rel=\"icon\" href=\"data:,\">\n<title>")
        .text(format_args!(
            "{}: {}",
            Losses::of(report).heading(),
            report.target.label
        ))
        .raw("</title>\n<style>")
        .block(STYLE)
        .raw("</style>\n</head>\n");
}

/// SHA-256, in base64, as a security policy wants it.
fn digest(content: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, content.as_bytes());
    base64(digest.as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= chunk.len() {
                let index = word >> (18 - 6 * digit) & 63;
                text.push(char::from(DIGITS[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_as_policies_want_them() {
        // The digest of nothing, as published with the algorithm (FIPS 180-4).
        assert_eq!(digest(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
    }

    #[test]
    fn our_own_blocks_do_not_end_themselves() {
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
    }
}
