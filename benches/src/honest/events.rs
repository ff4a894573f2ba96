//! A reader of events: its stream must end where an event ends, and look complete.
//!
//! Owns: the session and its fate. Not here: the framing of the response (`crate::http1`).

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::Field;
use super::door::{Path, Route, Stream};
use super::ledger::{Ended, Fate};
use crate::http1::Response;
use crate::target::Door;

pub(super) async fn live(mut path: Path<'_>, every: Duration) {
    let field = path.field;
    let label = match path.door {
        Door::Plain => "events",
        Door::Tls => "tls events",
    };
    let request = format!(
        "GET /sse?ms={} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n",
        every.as_millis().max(1)
    );
    while let Some(mut stream) = path.open(Route::Http1).await {
        let written_at = Instant::now();
        let fate = follow(field, &mut stream, request.as_bytes()).await;
        field.ledger().end(Ended {
            label,
            fate,
            written_at,
        });
    }
}

async fn follow(field: &Field, stream: &mut Stream, request: &[u8]) -> Fate {
    let lost = |how: String| Fate::Lost(how.into());
    if let Err(error) = stream.write_all(request).await {
        return lost(format!("not written: {error}"));
    }
    if let Err(error) = stream.flush().await {
        return lost(format!("not written: {error}"));
    }
    let mut response = Response::new();
    let mut buffer = vec![0; 16 * 1024];
    while !response.is_over() {
        // Limits are on silence, never on the whole.
        let error = match timeout(field.patience, stream.read(&mut buffer)).await {
            Ok(Ok(0)) => ErrorKind::UnexpectedEof.into(),
            Ok(Ok(read)) => {
                response.take(&buffer[..read]);
                continue;
            }
            Ok(Err(error)) => error,
            Err(_) => return lost("silent".to_owned()),
        };
        let (status, bytes) = (response.status(), response.body_length());
        return lost(format!(
            "cut, not ended, after {bytes} bytes of a {status}: {error}"
        ));
    }
    match response.status() {
        200 if !response.is_complete() => lost("no well-formed response".to_owned()),
        200 if response.body_length() > 0 && !response.ends_with_empty_line() => {
            lost("ended inside an event".to_owned())
        }
        200 if field.watch.signalled_at().is_none() => lost("ended before the signal".to_owned()),
        200 => Fate::Served,
        503 if response.has_retry_after() => Fate::Refused,
        status => lost(format!("answered {status}")),
    }
}
