//! Whether a listening socket still exists, asked of the kernel without connecting.
//!
//! Owns: one question of sock_diag(7), and the thread that asks it until the answer is no. Not here: why it closed.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
/// A netlink message's head, and the question behind it (`struct inet_diag_req_v2`).
const QUESTION: usize = 16 + 56;
/// From one question to the next.
const EVERY: Duration = Duration::from_micros(100);

/// Asks about one address.
#[derive(Debug)]
pub struct Probe {
    socket: Socket,
    question: [u8; QUESTION],
}

impl Probe {
    /// About an IPv4 address.
    ///
    /// # Errors
    ///
    /// When the kernel has no sock_diag.
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_SOCK_DIAG);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let SocketAddr::V4(address) = address else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let question = question(*address.ip(), address.port());
        Ok(Self { socket, question })
    }

    /// Whether anybody listens.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub fn is_open(&mut self) -> io::Result<bool> {
        self.socket.send(&self.question)?;
        let mut answer = [0; 1024];
        let read = self.socket.read(&mut answer)?;
        let kind = answer[..read]
            .get(4..6)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(u16::from_ne_bytes([kind[0], kind[1]]) != NLMSG_ERROR)
    }

    /// Asks again and again on a thread of its own; gives the time from `since` to the first no.
    pub fn watch(mut self, since: Instant, within: Duration) -> JoinHandle<Option<Duration>> {
        std::thread::spawn(move || {
            while since.elapsed() < within {
                let asked_at = since.elapsed();
                if !self.is_open().ok()? {
                    return Some(asked_at);
                }
                // The pause between two samples, not a wait for something.
                std::thread::sleep(EVERY);
            }
            None
        })
    }
}

fn question(address: Ipv4Addr, port: u16) -> [u8; QUESTION] {
    let mut bytes = [0; QUESTION];
    bytes[0..4].copy_from_slice(&(QUESTION as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    bytes[16] = libc::AF_INET as u8;
    bytes[17] = libc::IPPROTO_TCP as u8;
    // All states.
    bytes[20..24].fill(0xFF);
    bytes[24..26].copy_from_slice(&port.to_be_bytes());
    bytes[28..32].copy_from_slice(&address.octets());
    // No cookie: whichever socket it is.
    bytes[64..72].fill(0xFF);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_seen_until_it_is_closed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut probe = Probe::new(listener.local_addr().unwrap()).unwrap();
        assert!(probe.is_open().unwrap());
        drop(listener);
        assert!(!probe.is_open().unwrap());
    }
}
