//! Owns one blocking question over HTTP with a bound in time: readiness, probes, and trying out what a target can do.
//! Not: judged requests; those go through `observe::engine`.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::observe::response::{Head, ResponseReader};

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Refused,
    /// Connected, but no whole answer came in time or the connection ended.
    Nothing,
    Whole {
        head: Head,
        body_bytes: u64,
        took: Duration,
    },
}

impl Answer {
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Whole { head, .. } if (200..300).contains(&head.status))
    }

    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Refused => "was refused".to_owned(),
            Self::Nothing => "got no answer".to_owned(),
            Self::Whole { head, .. } => format!("answered {}", head.status),
        }
    }
}

/// Sends `request` on a fresh connection and reads the answer, all within `bound`.
pub(crate) fn ask(addr: SocketAddr, request: &[u8], bound: Duration) -> Answer {
    let begun = Instant::now();
    let Ok(mut stream) = TcpStream::connect_timeout(&addr, bound) else {
        return Answer::Refused;
    };
    let _ = stream.set_nodelay(true);
    if stream.write_all(request).is_err() {
        return Answer::Nothing;
    }
    let mut reader = ResponseReader::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let left = bound.saturating_sub(begun.elapsed());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Answer::Nothing;
        }
        match stream.read(&mut buffer) {
            Ok(0) => reader.end_of_stream(),
            Ok(count) if reader.push(&buffer[..count]).is_err() => return Answer::Nothing,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Answer::Nothing,
        }
        if reader.is_complete() {
            let head = reader.head().unwrap_or_default();
            return Answer::Whole {
                head,
                body_bytes: reader.body_bytes(),
                took: begun.elapsed(),
            };
        }
        if matches!(stream.peek(&mut [0]), Ok(0)) {
            reader.end_of_stream();
            if !reader.is_complete() {
                return Answer::Nothing;
            }
        }
    }
}
