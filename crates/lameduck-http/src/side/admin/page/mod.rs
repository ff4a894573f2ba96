//! The page: one document with its style and its script in it, and what a browser is told about it.
//!
//! Nothing of a request stands in it; what it shows comes by `/events`, and is written as text.

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::token::random;

const DOCUMENT: &str = include_str!("document.html");
const STYLE: &str = include_str!("style.css");
/// One script, in the order in which its parts need each other.
const SCRIPT: &str = concat!(
    include_str!("watch.js"),
    include_str!("lanes.js"),
    include_str!("draw.js"),
    include_str!("breakers.js"),
    include_str!("act.js"),
);

/// What no answer's content may do in a browser, unless it says otherwise.
const NOTHING: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page; `acts` says whether there is a token at all.
pub(super) fn page(acts: bool) -> io::Result<Response<Bytes>> {
    let mut nonce = String::with_capacity(32);
    for byte in random::<16>()? {
        write!(nonce, "{byte:02x}").expect("writing to a string never fails");
    }
    let document = DOCUMENT
        .replace("@nonce@", &nonce)
        .replace("@acts@", if acts { "yes" } else { "no" })
        .replace("@version@", env!("CARGO_PKG_VERSION"))
        .replace("/*@style@*/", STYLE)
        .replace("/*@script@*/", SCRIPT);
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let mut response = Response::new(Bytes::from(document));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    let policy = HeaderValue::try_from(policy).expect("hexadecimal digits and our own words");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// What every answer of an admin listener bears: no guessing of types, no frames, no reading by other sites, no caches.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, NOTHING),
        (http::header::CACHE_CONTROL, "no-store"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_blocks_do_not_end_themselves() {
        for block in [STYLE, SCRIPT] {
            assert!(!block.contains("</") && !block.contains("<!--"));
        }
    }

    #[test]
    fn every_page_has_a_nonce_of_its_own_and_no_blank_is_left() {
        let [first, second] = [true, false].map(|acts| page(acts).expect("random bytes"));
        let policy = |page: &Response<Bytes>| page.headers()[CONTENT_SECURITY_POLICY].clone();
        assert_ne!(policy(&first), policy(&second));
        let text = std::str::from_utf8(first.body()).expect("text");
        for blank in ["@nonce@", "@acts@", "@version@", "@style@", "@script@"] {
            assert!(!text.contains(blank), "{blank}");
        }
        // Nothing is loaded from anywhere.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for from in ["src=", "http://", "https://", "url(", "@import"] {
            assert!(!text.contains(from), "{from}");
        }
    }
}
