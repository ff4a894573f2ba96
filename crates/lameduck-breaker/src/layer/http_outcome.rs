//! What came of an HTTP request, by its answer.

use http::{HeaderMap, Response, StatusCode};

use super::classify::Classify;
use crate::verdict::Verdict;

/// By status: 5xx and errors are failures, everything else is a success, 4xx among it: the client's mistakes say nothing about the service.
///
/// 503 is [`TurnedAway`](Verdict::TurnedAway). A `grpc-status` of 2, 4, 13, 14 or 15 (unknown, deadline exceeded, internal, unavailable, data loss)
/// is a failure too: in the head by this, in trailers with [`Until::BodyEnds`](crate::Until::BodyEnds).
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpOutcome;

impl<B, E> Classify<Response<B>, E> for HttpOutcome {
    fn classify(&self, answer: Result<&Response<B>, &E>) -> Verdict {
        match answer {
            Err(_) => Verdict::Failure,
            Ok(response) => match response.status() {
                StatusCode::SERVICE_UNAVAILABLE => Verdict::TurnedAway,
                status if status.is_server_error() => Verdict::Failure,
                _ => of_grpc(response.headers()),
            },
        }
    }
}

/// What a gRPC status says, if there is one (gRPC over HTTP/2, "Responses").
pub(super) fn of_grpc(headers: &HeaderMap) -> Verdict {
    let status = headers.get("grpc-status").map(|status| status.as_bytes());
    match status {
        Some(b"14") => Verdict::TurnedAway,
        Some(b"2" | b"4" | b"13" | b"15") => Verdict::Failure,
        _ => Verdict::Success,
    }
}
