//! Lines over a stream, with a bound on each. It knows no message.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest line, in bytes: what 32 names of 256 bytes need, each byte escaped as six.
pub(super) const LONGEST_LINE: usize = 64 << 10;

/// How much is read at a time.
const PIECE: usize = 4 << 10;

/// The lines that come, read piece by piece.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    read: Vec<u8>,
    /// Up to here there is no end of a line.
    searched: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) const fn new(from: R) -> Self {
        Self {
            from,
            read: Vec::new(),
            searched: 0,
        }
    }

    /// The next line without its end; `None` at the end of the stream, also in the middle of a line.
    ///
    /// # Errors
    /// What reading fails with, and `InvalidData` for a line that is too long.
    ///
    /// # Cancel safety
    /// Cancel safe: what was read is kept.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.read[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let rest = self.read.split_off(self.searched + end + 1);
                let mut line = std::mem::replace(&mut self.read, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.read.len();
            if self.searched > LONGEST_LINE {
                let what = format!("a line is longer than {LONGEST_LINE} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            self.read.reserve(PIECE);
            if self.from.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_not_longer_than_they_may() {
        let mut lines = Lines::new(&b"one\n\ntwo\nhalf"[..]);
        for wanted in ["one", "", "two"] {
            let line = lines.next().await.expect("it can be read");
            assert_eq!(line.as_deref(), Some(wanted.as_bytes()));
        }
        assert_eq!(lines.next().await.expect("it ends"), None);
        let long = vec![b'x'; LONGEST_LINE + PIECE];
        let error = Lines::new(&long[..]).next().await.expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
