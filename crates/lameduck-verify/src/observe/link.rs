//! Owns one client connection as flows see it: plain TCP, or TLS over it, with the same few calls.
//! Not: the socket itself (see `wire`), or the session (see `tls`).

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::tls::{Reach, Session, TlsDoor};
use super::wire::{Dial, Look, Wire};

/// Which door of the target a client knocks at.
#[derive(Debug, Clone, Default)]
pub(crate) enum Door {
    /// Where the engine's other clients go, in plain text.
    #[default]
    Usual,
    /// Plain text at an address of its own.
    Plain(SocketAddr),
    Tls(Arc<TlsDoor>),
}

impl Door {
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    fn addr(&self, usual: SocketAddr) -> SocketAddr {
        match self {
            Self::Usual => usual,
            Self::Plain(addr) => *addr,
            Self::Tls(door) => door.addr,
        }
    }
}

/// How a handshake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shake {
    There,
    AwaitsBytes,
    AwaitsRoom,
    Broken,
}

/// One connection of ours.
#[derive(Debug)]
pub(crate) struct Link {
    wire: Wire,
    tls: Option<Box<Session>>,
}

impl Link {
    /// Begins a connect; a TLS handshake is begun later (see [`shake`](Self::shake)).
    pub(crate) fn dial(door: &Door, usual: SocketAddr) -> io::Result<(Self, Dial)> {
        let tls = match door {
            Door::Tls(door) => Some(Box::new(Session::new(door)?)),
            Door::Usual | Door::Plain(_) => None,
        };
        let (wire, dial) = Wire::dial(door.addr(usual))?;
        Ok((Self { wire, tls }, dial))
    }

    /// How the connect stands; call it when the socket is writable.
    pub(crate) fn dialled(&self) -> Dial {
        self.wire.dialled()
    }

    /// Takes the handshake as far as `reach`; plain connections are always there.
    pub(crate) fn shake(&mut self, reach: Reach) -> Shake {
        let Some(tls) = &mut self.tls else {
            return Shake::There;
        };
        tls.allow(reach);
        match tls.flush(&self.wire) {
            Ok(()) if tls.has_reached(reach) => Shake::There,
            Ok(()) => Shake::AwaitsBytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Shake::AwaitsRoom,
            Err(_) => Shake::Broken,
        }
    }

    /// A TLS handshake was begun, or is still to begin, and is not over.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// The peer said that it will send no more: FIN on a plain connection, close_notify under TLS.
    pub(crate) fn was_notified(&self) -> bool {
        self.tls
            .as_ref()
            .is_none_or(|tls| tls.notified_at.is_some())
    }

    pub(crate) fn look(&mut self) -> Look {
        if self.has_unread() {
            return Look::Bytes;
        }
        self.wire.look()
    }

    /// Sends some of `bytes`; with none, what was taken earlier goes on its way.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.send(&self.wire, bytes),
            None if bytes.is_empty() => Ok(0),
            None => self.wire.send(bytes),
        }
    }

    /// Bytes were taken that the socket has not.
    pub(crate) fn has_backlog(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_backlog())
    }

    /// Bytes were read from the socket that nobody has received: it will not poll as readable for them.
    pub(crate) fn has_unread(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| tls.has_unread())
    }

    pub(crate) fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.receive(&self.wire, into),
            None => self.wire.receive(into),
        }
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.wire.fd()
    }
}
