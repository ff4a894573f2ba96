//! Owns the protocols that checks belong to, and the gRPC call that a target is known to answer.
//! Not: finding out what a target speaks (see `scenario::speech`).

use std::fmt;

/// A protocol that checks can be chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2, by prior knowledge and by ALPN.
    H2,
    /// WebSocket.
    Ws,
    /// TLS under any of them.
    Tls,
    /// gRPC over HTTP/2.
    Grpc,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 5] = [Self::H1, Self::H2, Self::Ws, Self::Tls, Self::Grpc];

    /// Its word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::Ws => "ws",
            Self::Tls => "tls",
            Self::Grpc => "grpc",
        }
    }

    /// The protocol of a check; `None` for those that belong to the process, to its door, or to all protocols.
    pub(crate) fn of(id: &str) -> Option<Self> {
        match id {
            "H2-09" => Some(Self::Grpc),
            _ if id.starts_with("H1-") || id == "L-H1" => Some(Self::H1),
            _ if id.starts_with("H2-") || id == "L-H2" => Some(Self::H2),
            _ if id.starts_with("WS-") || id == "L-WS" => Some(Self::Ws),
            _ if id.starts_with("TLS-") || id == "L-TLS" => Some(Self::Tls),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.word().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

/// The text names no protocol that there are checks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProtocol(String);

impl fmt::Display for UnknownProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no protocol with checks; use one of h1, h2, ws, tls, grpc",
            self.0
        )
    }
}

impl std::error::Error for UnknownProtocol {}

/// A unary call that a gRPC target answers with `grpc-status: 0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcCall {
    /// `/package.Service/Method`.
    pub path: String,
    /// The message, as encoded by protobuf; an empty one has no bytes.
    pub message: Vec<u8>,
    /// A message that is answered after half a second or more, if there is one: it keeps calls in flight.
    pub slow_message: Option<Vec<u8>>,
}

impl GrpcCall {
    /// `Say` of our demo, which answers after `delay_ms`.
    pub(crate) fn demo() -> Self {
        // Field 2, a varint: 800 ms.
        let slow = vec![0x10, 0xa0, 0x06];
        Self {
            path: "/lameduck.demo.v1.Echo/Say".to_owned(),
            message: Vec::new(),
            slow_message: Some(slow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_ids_have_their_protocol() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.word().parse(), Ok(protocol));
        }
        assert!("h3".parse::<Protocol>().is_err());
        assert_eq!(Protocol::of("H2-09"), Some(Protocol::Grpc));
        assert_eq!(Protocol::of("L-TLS"), Some(Protocol::Tls));
        assert_eq!((Protocol::of("P1"), Protocol::of("L-MIX")), (None, None));
    }
}
