//! Circuit breakers on the admin listener: the list in the status, and what somebody with the token may do with one.
//!
//! Owns their JSON and the three deeds. Which breakers there are is known to the lifecycle's [`Panel`].

use std::fmt::Write as _;

use http::{Response, StatusCode};
use lameduck::{Lifecycle, Status};
use lameduck_breaker::{Breaker, Panel};

use crate::side::role::text;

/// How many are listed; those that are not closed come first.
const MOST: usize = 64;

/// What is to become of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    Open,
    Closed,
    Released,
}

/// The status as JSON, with the breakers that belong to the lifecycle, if it has any.
pub(super) fn with_breakers(life: &Lifecycle, status: &Status) -> String {
    let mut json = status.to_json();
    let (listed, count) = life.common::<Panel>().look(MOST, of);
    if listed.is_empty() {
        return json;
    }
    let unlisted = count.saturating_sub(listed.len());
    let end = json.pop();
    debug_assert_eq!(end, Some('}'), "a status is an object");
    let _ = write!(
        json,
        ",\"breakers\":[{}],\"breakers_unlisted\":{unlisted}}}",
        listed.join(",")
    );
    json
}

fn of(breaker: &Breaker) -> String {
    let mut json = String::new();
    write_breaker(&mut json, breaker);
    json
}

fn write_breaker(json: &mut String, breaker: &Breaker) {
    let (label, figures, window) = (breaker.label(), breaker.figures(), breaker.counts());
    let _ = write!(json, "{{\"id\":{},\"name\":", breaker.id());
    quote(json, &label.name);
    if let Some(key) = &label.key {
        json.push_str(",\"key\":");
        quote(json, key);
    }
    let _ = write!(json, ",\"state\":\"{}\"", breaker.state());
    let millis = |time: std::time::Duration| time.as_millis();
    let _ = write!(json, ",\"since_ms\":{}", millis(breaker.since()));
    if let Some(left) = breaker.probes_in() {
        let _ = write!(json, ",\"probes_in_ms\":{}", millis(left));
    }
    let _ = write!(json, ",\"probes_out\":{}", breaker.probes_out());
    let _ = write!(
        json,
        ",\"window\":{{\"calls\":{},\"failures\":{},\"slow\":{}}}",
        window.calls, window.failures, window.slow
    );
    for (key, count) in [
        ("calls", figures.calls),
        ("failures", figures.failures),
        ("slow", figures.slow),
        ("ignored", figures.ignored),
        ("abandoned", figures.abandoned),
        ("rejected", figures.rejected),
        ("probes", figures.probes),
        ("opened", figures.opened),
        ("half_opened", figures.half_opened),
        ("closed", figures.closed),
        ("forced", figures.forced),
    ] {
        let _ = write!(json, ",\"{key}\":{count}");
    }
    json.push('}');
}

/// Text as a JSON string (RFC 8259 §7). A key may be anything that a peer sent.
fn quote(json: &mut String, text: &str) {
    json.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                json.push('\\');
                json.push(char);
            }
            // Other line ends, and what an HTML reader might take for a tag, are escaped though JSON does not ask for it.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{0}'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(char));
            }
            _ => json.push(char),
        }
    }
    json.push('"');
}

/// Forces or releases the breaker that a request's query names, and says what came of it.
pub(super) fn force(
    life: &Lifecycle,
    force: Force,
    query: Option<&str>,
    reason: String,
) -> Response<String> {
    let ids = query.unwrap_or_default().split('&');
    let mut ids = ids.filter_map(|pair| pair.strip_prefix("id="));
    let (Some(Ok(id)), None) = (ids.next().map(str::parse::<u64>), ids.next()) else {
        let why = "say which breaker, as ?id=NUMBER: /status lists them\n".to_owned();
        return text(StatusCode::BAD_REQUEST, why);
    };
    let Some(breaker) = life.common::<Panel>().find(id) else {
        let why = "no breaker has this number, or it is gone: /status lists them\n".to_owned();
        return text(StatusCode::NOT_FOUND, why);
    };
    let has_changed = match force {
        Force::Open => breaker.force_open(reason),
        Force::Closed => breaker.force_closed(reason),
        Force::Released => breaker.release(reason),
    };
    let (label, state) = (breaker.label(), breaker.state());
    if has_changed {
        text(StatusCode::OK, format!("{label} is {state} now\n"))
    } else {
        let why = format!("{label} is {state} already\n");
        text(StatusCode::CONFLICT, why)
    }
}

#[cfg(test)]
mod tests {
    use lameduck::{Plan, Preset};
    use lameduck_breaker::{Breakers, Settings};

    use super::*;

    #[test]
    fn a_key_that_a_peer_chose_is_text_and_nothing_else() {
        let life = Lifecycle::embedded(Plan::preset(Preset::Local)).expect("a lifecycle");
        assert!(!with_breakers(&life, &life.status()).contains("breakers"));
        let settings = Settings::new().lifecycle(&life);
        let hosts = Breakers::<String>::new("hosts", settings).expect("settings that fit");
        let hostile = "\"}]</script>\r\n\ndata: \u{2028}\\\u{0}";
        let held = hosts.of(hostile).expect("a place");
        let json = with_breakers(&life, &life.status());
        let quoted = r#""key":"\"}]\u003c/script\u003e\u000d\u000a\u000adata: \u2028\\\u0000""#;
        assert!(json.contains(quoted), "{json}");
        assert_eq!(json.lines().count(), 1);
        assert!(json.ends_with("],\"breakers_unlisted\":0}"), "{json}");
        drop(held);
        for key in 0..100 {
            _ = hosts.of(key.to_string().as_str());
        }
        let json = with_breakers(&life, &life.status());
        assert!(json.ends_with("],\"breakers_unlisted\":37}"), "{json}");
        assert_eq!(json.matches("\"state\":\"closed\"").count(), MOST);
    }

    #[test]
    fn only_a_number_that_somebody_has_forces_anything() {
        let life = Lifecycle::embedded(Plan::preset(Preset::Local)).expect("a lifecycle");
        let settings = Settings::new().lifecycle(&life);
        let breaker = Breaker::new("db", settings).expect("settings that fit");
        let id = format!("id={}", breaker.id());
        let twice = format!("{id}&{id}");
        let ask = |query: Option<&str>| {
            force(&life, Force::Open, query, String::new())
                .status()
                .as_u16()
        };
        for (query, status) in [
            (None, 400),
            (Some(""), 400),
            (Some("id="), 400),
            (Some("id=-1"), 400),
            (Some("id=db"), 400),
            (Some(twice.as_str()), 400),
            (Some("id=18446744073709551615"), 404),
            (Some(id.as_str()), 200),
            (Some(id.as_str()), 409),
        ] {
            assert_eq!(ask(query), status, "{query:?}");
        }
    }
}
