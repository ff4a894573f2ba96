//! Answers as JSON: what every deed and every refusal says, `{"ok": …, "said": …}`.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::side::admin::Body;

/// An answer with this object.
pub(super) fn object(status: StatusCode, value: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{value}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What came of it, in a sentence.
pub(super) fn said(status: StatusCode, said: impl Display) -> Response<Bytes> {
    let ok = status.is_success();
    object(status, &json!({ "ok": ok, "said": said.to_string() }))
}

/// The same for an answer that is a line of text.
pub(super) fn from_text(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let Body::Whole(Some(text)) = body else {
        return Response::from_parts(parts, body);
    };
    let line = String::from_utf8_lossy(&text);
    let (made, body) = said(parts.status, line.trim_end()).into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.extend(made.headers);
    Response::from_parts(parts, Body::Whole(Some(body)))
}

/// A body, if it is not longer than `most`.
pub(super) async fn body(mut body: Incoming, most: usize) -> Result<Bytes, String> {
    let mut read = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| "the body did not arrive".to_owned())?;
        let data = frame.into_data().unwrap_or_default();
        if read.len() + data.len() > most {
            return Err(format!("the body has more than {most} bytes"));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}
