//! Owns IPv4 and TCP as far as one hand-made client needs them: writing a segment, reading one, checksums.
//! Not: when segments are sent (see `client`), or the device (see `device`).

use std::net::{Ipv4Addr, SocketAddrV4};

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;

const IP_HEADER: usize = 20;
const TCP_HEADER: usize = 20;
const TCP: u8 = 6;

/// One TCP segment, between two addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) data: &'a [u8],
}

impl<'a> Segment<'a> {
    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The packet that carries it.
    pub(super) fn packet(&self) -> Vec<u8> {
        let total = (IP_HEADER + TCP_HEADER + self.data.len()) as u16;
        let mut packet = Vec::with_capacity(usize::from(total));
        packet.extend([0x45, 0]);
        packet.extend(total.to_be_bytes());
        // Identification, no fragments, 64 hops, TCP; the checksum comes last.
        packet.extend([0, 1, 0, 0, 64, TCP, 0, 0]);
        packet.extend(self.from.ip().octets());
        packet.extend(self.to.ip().octets());
        let checksum = checksum(&[&packet]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());

        packet.extend(self.from.port().to_be_bytes());
        packet.extend(self.to.port().to_be_bytes());
        packet.extend(self.seq.to_be_bytes());
        packet.extend(self.ack.to_be_bytes());
        packet.extend([
            (TCP_HEADER as u8 / 4) << 4,
            self.flags,
            0xff,
            0xff,
            0,
            0,
            0,
            0,
        ]);
        packet.extend(self.data);
        let checksum = self.tcp_checksum(&packet[IP_HEADER..]);
        packet[IP_HEADER + 16..IP_HEADER + 18].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    fn tcp_checksum(&self, segment: &[u8]) -> u16 {
        let length = (segment.len() as u16).to_be_bytes();
        checksum(&[
            &self.from.ip().octets(),
            &self.to.ip().octets(),
            &[0, TCP],
            &length,
            segment,
        ])
    }

    /// The segment in an IPv4 packet; `None` for anything else.
    pub(super) fn read(packet: &'a [u8]) -> Option<Self> {
        let first = *packet.first()?;
        let header = usize::from(first & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        if first >> 4 != 4 || header < IP_HEADER || *packet.get(9)? != TCP {
            return None;
        }
        let address = |at: usize| -> Option<Ipv4Addr> {
            let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(octets.into())
        };
        let tcp = packet.get(header..total)?;
        let port = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
        let number = |at: usize| Some(u32::from_be_bytes(tcp.get(at..at + 4)?.try_into().ok()?));
        let offset = usize::from(*tcp.get(12)? >> 4) * 4;
        Some(Self {
            from: SocketAddrV4::new(address(12)?, port(0)?),
            to: SocketAddrV4::new(address(16)?, port(2)?),
            seq: number(4)?,
            ack: number(8)?,
            flags: *tcp.get(13)?,
            data: tcp.get(offset.max(TCP_HEADER)..)?,
        })
    }
}

/// The Internet checksum (RFC 1071) over parts; all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(data: &[u8]) -> Segment<'_> {
        Segment {
            from: "10.9.0.2:40001".parse().unwrap(),
            to: "127.0.0.1:8080".parse().unwrap(),
            seq: 0xfedc_ba98,
            ack: 77,
            flags: PSH | ACK,
            data,
        }
    }

    #[test]
    fn a_segment_survives_the_wire_and_its_checksums_are_right() {
        for data in [&b""[..], b"GET", b"GET / HTTP/1.1\r\n\r\n"] {
            let packet = segment(data).packet();
            assert_eq!(Segment::read(&packet), Some(segment(data)));
            // A checksum over data with its own checksum in it is zero.
            assert_eq!(checksum(&[&packet[..IP_HEADER]]), 0);
            assert_eq!(segment(data).tcp_checksum(&packet[IP_HEADER..]), 0);
        }
        // RFC 1071 §3, its example.
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&example]), !0xddf2);
    }

    #[test]
    fn packets_cut_anywhere_are_no_segments_and_no_panics() {
        let packet = segment(b"hello").packet();
        for end in 0..packet.len() {
            assert_eq!(Segment::read(&packet[..end]), None, "{end}");
        }
        let mut udp = packet.clone();
        udp[9] = 17;
        assert_eq!(Segment::read(&udp), None);
        let mut short = packet;
        short[32] = 0xf0;
        assert_eq!(Segment::read(&short), None);
    }
}
