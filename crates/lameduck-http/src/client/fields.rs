//! The fields of a request that say where it ends and where it goes: made true before it is sent, or refused.
//!
//! A caller that hands on what it was sent has fields in it that were true of another connection. hyper writes them as they are.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use http_body::Body as _;

use super::body::Body;
use super::target::host_field;

/// Makes the fields agree with the body and with each other. None if they contradict: somebody on the way would believe the wrong one
/// (RFC 9112 §11.2).
pub(super) fn settle(parts: &mut Parts, body: &Body) -> Option<()> {
    if parts.headers.get_all(HOST).iter().count() > 1 {
        return None;
    }
    let length = length_of(body);
    let said = said_length(&parts.headers)?;
    if let (Some(said), Some(length)) = (said, length)
        && said != length
    {
        return None;
    }
    // How a body is framed is a matter of the connection, and of who writes it.
    parts.headers.remove(TRANSFER_ENCODING);
    let is_expected = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
    if length == Some(0) && said.is_none() && is_expected {
        // RFC 9110 §8.6.
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Some(())
}

fn length_of(body: &Body) -> Option<u64> {
    if body.is_end_stream() {
        return Some(0);
    }
    body.size_hint().exact()
}

/// What `Content-Length` says; the outer None if that is not one number (RFC 9110 §8.6).
fn said_length(headers: &HeaderMap) -> Option<Option<u64>> {
    let mut all = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = all.next() else {
        return Some(None);
    };
    let text = first.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (all.next().is_none() && is_number)
        .then(|| text.parse().ok())
        .flatten()
        .map(Some)
}

/// As HTTP/1.1 wants it (RFC 9112 §3.2.1): where to in `Host`, and a body of unknown length in chunks, whatever the method.
pub(super) fn for_http1(parts: &mut Parts, body: &Body, is_secure: bool) {
    parts.version = Version::HTTP_11;
    if !parts.headers.contains_key(HOST)
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::try_from(host_field(authority, is_secure))
    {
        parts.headers.insert(HOST, host);
    }
    if length_of(body).is_none() && !parts.headers.contains_key(CONTENT_LENGTH) {
        // hyper would leave the body of a GET out.
        parts
            .headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let path = parts.uri.path_and_query().cloned();
    parts.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
}

/// As HTTP/2 wants it (RFC 9113 §8.3.1): where to in `:authority`, without a user and a password, and no `Host` beside it.
pub(super) fn for_http2(parts: &mut Parts) {
    parts.version = Version::HTTP_2;
    let host = parts.headers.remove(HOST);
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    parts.uri = towards(&parts.uri, host);
}

fn towards(uri: &Uri, host: Option<Authority>) -> Uri {
    let mut parts = uri.clone().into_parts();
    if host.is_some() {
        parts.authority = host;
    }
    if let Some(authority) = &parts.authority
        && let Some((_, host)) = authority.as_str().rsplit_once('@')
        && let Ok(host) = host.parse()
    {
        parts.authority = Some(host);
    }
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// For how long a server says that it keeps the connection when it rests (`Keep-Alive: timeout=5`, in seconds; RFC 2068 §19.7.1.1).
pub(super) fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get("keep-alive")?.to_str().ok()?;
    said.split(',').find_map(|one| {
        let (name, value) = one.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        let seconds = value.trim().parse().ok().filter(|_| is_timeout)?;
        Some(Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http::Request;
    use http_body::Frame;
    use http_body_util::Empty;

    fn parts(method: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("http://a/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    /// A stream that does not say how long it is.
    fn unknown() -> Body {
        Body::streaming(Unknown)
    }

    struct Unknown;

    impl http_body::Body for Unknown {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }
    }

    #[test]
    fn a_password_stays_here() {
        for (uri, sent) in [
            ("https://user:pw@a:1/x?y", "https://a:1/x?y"),
            ("https://a/x", "https://a/x"),
        ] {
            let uri = uri.parse().expect("a URI");
            assert_eq!(towards(&uri, None).to_string(), sent);
        }
    }

    #[test]
    fn a_length_is_true_or_the_request_is_not_sent() {
        let empty = || Body::streaming(Empty::new());
        for (fields, body, is_sent) in [
            (&[("content-length", "41")][..], Body::from(()), false),
            (&[("content-length", "41")], empty(), false),
            (&[("content-length", "4")], Body::from("abc"), false),
            (&[("content-length", "3")], Body::from("abc"), true),
            (&[("content-length", "+3")], Body::from("abc"), false),
            (&[("content-length", "3, 3")], Body::from("abc"), false),
            (
                &[("content-length", "3"), ("content-length", "3")],
                Body::from("abc"),
                false,
            ),
            (&[("content-length", "41")], unknown(), true),
            (&[("host", "a"), ("host", "b")], Body::from(()), false),
            (&[("host", "b")], Body::from(()), true),
        ] {
            let mut parts = parts("POST", fields);
            let settled = settle(&mut parts, &body);
            assert_eq!(settled.is_some(), is_sent, "{fields:?} {body:?}");
        }
    }

    #[test]
    fn how_a_body_is_framed_is_not_the_callers_business() {
        let mut one = parts("POST", &[("transfer-encoding", "chunked")]);
        settle(&mut one, &Body::from("abc")).expect("settled");
        for_http1(&mut one, &Body::from("abc"), false);
        assert!(!one.headers.contains_key(TRANSFER_ENCODING));
        let mut one = parts("GET", &[]);
        settle(&mut one, &unknown()).expect("settled");
        for_http1(&mut one, &unknown(), false);
        assert_eq!(one.headers[TRANSFER_ENCODING], "chunked");
        for (method, said) in [
            ("POST", true),
            ("PUT", true),
            ("PATCH", true),
            ("GET", false),
        ] {
            let mut one = parts(method, &[]);
            settle(&mut one, &Body::from(())).expect("settled");
            assert_eq!(one.headers.contains_key(CONTENT_LENGTH), said, "{method}");
        }
    }

    #[test]
    fn what_a_server_says_of_its_patience_is_heard() {
        for (field, said) in [
            ("timeout=5", Some(5)),
            ("max=100, Timeout = 60", Some(60)),
            ("timeout=soon", None),
            ("max=5", None),
        ] {
            let one = parts("GET", &[("keep-alive", field)]);
            let said = said.map(Duration::from_secs);
            assert_eq!(keep_alive(&one.headers), said, "{field}");
        }
    }

    #[test]
    fn there_is_one_word_of_where_a_request_goes() {
        let mut one = parts("GET", &[("host", "b:81")]);
        for_http2(&mut one);
        assert_eq!(one.uri, "http://b:81/x");
        assert!(!one.headers.contains_key(HOST));
        let mut one = parts("GET", &[("host", "b:81")]);
        for_http1(&mut one, &Body::from(()), false);
        assert_eq!(one.headers[HOST], "b:81");
        assert_eq!(one.uri, "/x");
    }
}
