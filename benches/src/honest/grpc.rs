//! gRPC calls over HTTP/2: one message there, one back, trailers that say OK.
//!
//! Owns: the frame of a gRPC message and the two fields of the demo's `Note` (written by hand: two fields need no generator).
//! Not here: the HTTP/2 under it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use super::door::Path;
use super::http2::{self, Ask, Asks, Expected, request};
use super::{Field, Watch};
use crate::http1::Digest;
use crate::rng::Rng;
use crate::script::{AfterClose, Promise, Think};
use crate::target::Door;

const SAY: &str = "/lameduck.demo.v1.Echo/Say";

/// Unary calls of `Say`.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) longest: Duration,
    pub(super) think: Think,
}

impl Asks for Plan {
    fn next(&self, door: Door, rng: &mut Rng) -> Ask {
        let delay = rng.within(0..=self.longest.as_millis() as u64);
        let text = format!("note {:016x}", rng.next());
        let mut request = request(Method::POST, door, SAY);
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        Ask {
            label: match door {
                Door::Plain => "grpc say",
                Door::Tls => "tls grpc say",
            },
            think: self.think.draw(rng),
            request,
            pieces: vec![framed(&text, delay).into()],
            gap: Duration::ZERO,
            sips: (usize::MAX, Duration::ZERO),
            expected: Expected::Message(Digest::of(&framed(&text, delay))),
        }
    }
}

/// A `Note { text = 1, delay_ms = 2 }` behind the five bytes that gRPC puts before a message.
fn framed(text: &str, delay_ms: u64) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    let mut note = vec![0x0A, length];
    note.extend(text.as_bytes());
    if delay_ms > 0 {
        note.push(0x10);
        let mut left = delay_ms;
        while left > 0x7F {
            note.push((left & 0x7F) as u8 | 0x80);
            left >>= 7;
        }
        note.push(left as u8);
    }
    let length = u32::try_from(note.len()).expect("a short note");
    [&[0], &length.to_be_bytes()[..], &note].concat()
}

/// Whether a call of `Say` is answered with trailers that say OK.
pub(super) async fn is_spoken(address: SocketAddr, within: Duration) -> bool {
    let watch = Arc::new(Watch::default());
    let field = Field::new(address, None, Promise::Always, within, watch);
    let plan = Plan {
        longest: Duration::ZERO,
        think: Think::None,
    };
    let path = Path::new(&field, Door::Plain, AfterClose::Leave);
    http2::once(path, &plan).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_framed_as_protocol_buffers_say() {
        assert_eq!(
            framed("hi", 300),
            [0, 0, 0, 0, 7, 0x0A, 2, b'h', b'i', 0x10, 0xAC, 0x02]
        );
        assert_eq!(framed("hi", 0), [0, 0, 0, 0, 4, 0x0A, 2, b'h', b'i']);
    }
}
