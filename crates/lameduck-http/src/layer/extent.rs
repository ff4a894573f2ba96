//! How long the body of a response is, as far as its head tells.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};

/// Whether there is none (RFC 9110 §6.4.1); what follows a 101, or a CONNECT that is granted, is no response.
pub(super) fn has_no_body(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || *method == Method::CONNECT && status.is_success()
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// What `Content-Length` says.
pub(super) fn declared(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
