//! What is answered instead of a handler that was cut before it gave a head.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::cut::{Cut, TruncatedBy};

/// 503 (RFC 9110 §15.6.4), for who comes again in a second.
pub(super) fn unavailable(cut: &Cut) -> Response<Bytes> {
    let body = format!(
        "{{\"error\":\"{}\",\"by\":\"{}\"}}",
        escaped(&cut.why),
        cut.by
    );
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let fields = response.headers_mut();
    fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert("cache-control", HeaderValue::from_static("no-store"));
    response
}

/// A call's status without any message: "Trailers-Only" of gRPC over HTTP/2, whose head is 200.
pub(super) fn grpc(cut: &Cut) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.extend(status(cut));
    response
}

/// A call's status, as fields: DEADLINE_EXCEEDED for what took too long, else UNAVAILABLE.
pub(super) fn status(cut: &Cut) -> HeaderMap {
    let code = match cut.by {
        TruncatedBy::Overdue => "4",
        TruncatedBy::DrainEnd | TruncatedBy::Application => "14",
    };
    let message = HeaderValue::try_from(percent_encoded(&cut.why))
        .expect("what is left by the encoding is visible ASCII and space");
    HeaderMap::from_iter([
        (
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(code),
        ),
        (HeaderName::from_static("grpc-message"), message),
    ])
}

/// The event that ends an event stream (WHATWG HTML §9.2.6).
pub(super) fn event(cut: &Cut) -> String {
    format!(
        "event: truncated\ndata: {{\"error\":\"{}\",\"by\":\"{}\"}}\n\n",
        escaped(&cut.why),
        cut.by
    )
}

/// As the inside of a JSON string (RFC 8259 §7); one line, whatever it says.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            letter if letter.is_control() => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// As `grpc-message` wants it: space to `~` as they are, but for `%`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Cut {
        Cut {
            by: TruncatedBy::Application,
            why: "\"a\\\n\r\u{7f}\u{85} 100 % ü\n\ndata: x".into(),
        }
    }

    #[test]
    fn whatever_the_reason_says_an_event_is_one_and_json_is_json() {
        let event = event(&hostile());
        assert_eq!(event.lines().count(), 3);
        assert!(event.ends_with("\n\n") && event.matches("\n\n").count() == 1);
        assert!(event.contains(r#"\"a\\\u000a\u000d\u007f\u0085 100 % ü\u000a\u000adata: x"#));
        let body = unavailable(&hostile()).into_body();
        assert!(body.starts_with(br#"{"error":"\"a\\\u000a"#));
    }

    #[test]
    fn a_status_can_say_anything() {
        let fields = status(&hostile());
        let message = "\"a\\%0A%0D%7F%C2%85 100 %25 %C3%BC%0A%0Adata: x";
        assert_eq!(fields["grpc-message"], message);
        assert_eq!(fields["grpc-status"], "14");
        let late = Cut {
            by: TruncatedBy::Overdue,
            why: "late".into(),
        };
        assert_eq!(status(&late)["grpc-status"], "4");
    }
}
