//! What is spoken on a connection, as far as its server has said so.

/// What a slot's connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Protocol {
    /// Not known yet: no byte of a request came, or its server does not say.
    #[default]
    Unknown = 0,
    /// HTTP/1.0 or HTTP/1.1.
    Http1 = 1,
    /// HTTP/2.
    Http2 = 2,
    /// No connection, but one stream of an HTTP/2 connection, which has a slot of its own.
    Stream = 3,
    /// A WebSocket.
    WebSocket = 4,
    /// Something else after an upgrade.
    Upgraded = 5,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 6] = [
        Self::Unknown,
        Self::Http1,
        Self::Http2,
        Self::Stream,
        Self::WebSocket,
        Self::Upgraded,
    ];

    /// Its name, as it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http1 => "http/1.1",
            Self::Http2 => "http/2",
            Self::Stream => "http/2 stream",
            Self::WebSocket => "websocket",
            Self::Upgraded => "upgraded",
        }
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        match bits {
            1 => Self::Http1,
            2 => Self::Http2,
            3 => Self::Stream,
            4 => Self::WebSocket,
            5 => Self::Upgraded,
            _ => Self::Unknown,
        }
    }
}

/// How many slots there are of each protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByProtocol([usize; Protocol::ALL.len()]);

impl ByProtocol {
    pub(super) fn count(&mut self, protocol: Protocol) {
        self.0[protocol as usize] += 1;
    }

    /// How many there are of one.
    #[must_use]
    pub const fn of(&self, protocol: Protocol) -> usize {
        self.0[protocol as usize]
    }

    /// Those of which there are any.
    pub fn some(&self) -> impl Iterator<Item = (Protocol, usize)> + '_ {
        Protocol::ALL
            .into_iter()
            .map(|protocol| (protocol, self.of(protocol)))
            .filter(|(_, count)| *count > 0)
    }
}
