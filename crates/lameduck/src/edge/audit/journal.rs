//! systemd's journal: fields in datagrams, as "Native Journal Protocol" (systemd.io/JOURNAL_NATIVE_PROTOCOL) has it.

use std::{io, os::unix::net::UnixDatagram, path::PathBuf};

use super::record::Record;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// syslog(3): a normal but significant condition, and a warning.
const NOTICE: &str = "5";
const WARNING: &str = "4";

/// A socket without a peer of its own, so that a journal that was restarted is found again.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    to: PathBuf,
}

impl Journal {
    pub(super) fn new(to: PathBuf) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A journal that does not read is not waited for: the record is lost and counted.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to })
    }

    /// # Errors
    /// What sendto(2) reports.
    pub(super) fn send(&self, record: &Record, dropped: u64) -> io::Result<()> {
        let json = record.json(dropped);
        let sent = self
            .socket
            .send_to(&datagram(record, Some(&json), dropped), &self.to);
        match sent {
            // Larger than a datagram may be: the fields without the whole record.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self
                .socket
                .send_to(&datagram(record, None, dropped), &self.to),
            sent => sent,
        }
        .map(drop)
    }
}

fn datagram(record: &Record, json: Option<&str>, dropped: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let priority = if record.is_warning { WARNING } else { NOTICE };
    field(&mut bytes, "MESSAGE", &format!("lameduck: {}", record.said));
    field(&mut bytes, "PRIORITY", priority);
    field(&mut bytes, "LAMEDUCK_SCHEMA", super::record::SCHEMA);
    for (name, value) in &record.fields {
        field(&mut bytes, name, value);
    }
    if dropped > 0 {
        field(&mut bytes, "LAMEDUCK_DROPPED", &dropped.to_string());
    }
    if let Some(json) = json {
        field(&mut bytes, "LAMEDUCK_RECORD", json);
    }
    bytes
}

/// `NAME=value`, or, for a value with a line's end, the name, its length as 64 bits in little endian, the value.
fn field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(said: &str) -> Record {
        Record {
            open_json: "{\"a\":1".to_owned(),
            said: said.to_owned(),
            is_warning: true,
            fields: vec![("LAMEDUCK_SIGNAL", "SIGTERM".to_owned())],
        }
    }

    /// A socket that takes the journal's place, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("lameduck-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn fields_come_as_the_protocol_has_them() {
        let place = Place::new("journal");
        let journal = Journal::new(place.0.clone()).expect("a socket");
        journal
            .send(&record("x"), 0)
            .expect_err("nobody is there yet");
        let listening = UnixDatagram::bind(&place.0).expect("bound");
        journal.send(&record("it stopped"), 2).expect("sent");
        let mut bytes = [0; 4_096];
        let count = listening.recv(&mut bytes).expect("it came");
        assert_eq!(
            String::from_utf8_lossy(&bytes[..count]),
            "MESSAGE=lameduck: it stopped\nPRIORITY=4\nLAMEDUCK_SCHEMA=lameduck.audit/1\n\
             LAMEDUCK_SIGNAL=SIGTERM\nLAMEDUCK_DROPPED=2\nLAMEDUCK_RECORD={\"a\":1,\"dropped\":2}\n"
        );
    }

    #[test]
    fn a_line_end_in_a_value_forges_no_field() {
        let mut bytes = Vec::new();
        field(&mut bytes, "MESSAGE", "a\nPRIORITY=0");
        assert_eq!(bytes, b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n");
    }

    #[test]
    fn what_is_too_large_for_a_datagram_comes_without_the_whole_record() {
        let place = Place::new("journal-large");
        let listening = UnixDatagram::bind(&place.0).expect("bound");
        let journal = Journal::new(place.0.clone()).expect("a socket");
        let mut large = record("large");
        large.open_json.push_str(&"x".repeat(8 << 20));
        journal.send(&large, 0).expect("sent");
        let mut bytes = [0; 4_096];
        let count = listening.recv(&mut bytes).expect("it came");
        let text = String::from_utf8_lossy(&bytes[..count]);
        assert!(text.ends_with("LAMEDUCK_SIGNAL=SIGTERM\n"), "{text}");
    }

    #[test]
    fn a_journal_that_does_not_read_is_not_waited_for() {
        let place = Place::new("journal-full");
        let _listening = UnixDatagram::bind(&place.0).expect("bound");
        let journal = Journal::new(place.0.clone()).expect("a socket");
        // net.unix.max_dgram_qlen is a few hundred at most.
        let refused = (0..100_000).find_map(|_| journal.send(&record("x"), 0).err());
        let refused = refused.expect("its queue has an end");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    }
}
