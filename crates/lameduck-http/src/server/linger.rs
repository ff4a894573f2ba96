//! The end of a connection that loses nothing: FIN, then wait until the peer has everything.
//!
//! Owns "done" (DESIGN §2): SHUT_WR is sent and the send queue is empty, or for the linger limit nothing was taken out of it. A socket that is closed with unread
//! input answers with RST, which can destroy a response on its way to the reader; so input that may still come is read and thrown away.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::io::Stream;
use super::sock::{self, Pending};

/// What the client may still be sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// It ended, or nothing of it is outstanding.
    Complete,
    /// More may come, that nobody will read; over when nothing came for this long.
    UnreadUntilQuiet(Duration),
}

/// How a close went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lingered {
    /// The peer has everything.
    Done,
    /// The limit passed.
    Expired,
}

/// A close, and what came after our end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) how: Lingered,
    /// Bytes of the client that nobody read.
    pub(crate) discarded: usize,
}

/// Bytes thrown away at most; a client that sends more gets the RST that it asks for.
const DISCARDED_AT_MOST: usize = 16 * 1024 * 1024;
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(1);
pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(32);

/// Sends FIN and waits until all that was sent is acknowledged, or for `limit` nothing was.
///
/// # Cancel safety
/// Dropping the future closes the socket at once.
pub(crate) async fn close<S: Stream>(mut stream: S, input: Input, limit: Duration) -> Lingered {
    match end(&mut stream, limit).await {
        Ended::Sent => settle(&mut stream, input, limit).await.how,
        Ended::Gone => Lingered::Done,
        Ended::Unsent => Lingered::Expired,
    }
}

/// How the end was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// FIN is behind everything else in the send queue.
    Sent,
    /// The connection was gone already.
    Gone,
    /// What stands before FIN found no room in the send queue, and the peer took nothing out of it: only under TLS.
    Unsent,
}

/// Sends FIN, behind close_notify under TLS. For that it waits as long as the peer reads something within each `stall`.
///
/// # Cancel safety
/// Dropping the future may leave FIN unsent; asking again goes on.
pub(crate) async fn end<S: Stream>(stream: &mut S, stall: Duration) -> Ended {
    let mut queued = sock::unacknowledged(stream.as_fd());
    loop {
        match timeout(stall, stream.shutdown()).await {
            Ok(Ok(())) => return Ended::Sent,
            Ok(Err(_)) => return Ended::Gone,
            Err(_) => {}
        }
        let left = sock::unacknowledged(stream.as_fd());
        if left >= queued {
            return Ended::Unsent;
        }
        queued = left;
    }
}

/// Waits after FIN until all that was sent is acknowledged, or for `limit` nothing was.
///
/// # Cancel safety
/// Dropping the future changes nothing; the stream can be dropped then.
pub(crate) async fn settle<S: Stream>(stream: &mut S, input: Input, limit: Duration) -> Settled {
    let mut reader = Reader {
        ended: false,
        broken: false,
        left: DISCARDED_AT_MOST,
    };
    let how = read_on(stream, &mut reader, input, limit).await;
    Settled {
        how,
        discarded: DISCARDED_AT_MOST - reader.left,
    }
}

async fn read_on<S: Stream>(
    stream: &mut S,
    reader: &mut Reader,
    input: Input,
    limit: Duration,
) -> Lingered {
    let mut until = Instant::now() + limit;
    let mut queued = usize::MAX;
    let mut seen = (reader.left, Instant::now());
    let mut wait = FIRST_WAIT;
    loop {
        if seen.0 != reader.left {
            seen = (reader.left, Instant::now());
        }
        let expected = match input {
            Input::Complete => false,
            Input::UnreadUntilQuiet(quiet) => seen.1.elapsed() < quiet,
        };
        let unread = expected || sock::look(stream.as_fd()) == Pending::Data;
        let settled = !unread || reader.ended || reader.left == 0;
        match sock::unacknowledged(stream.as_fd()) {
            Some(0) if settled => return Lingered::Done,
            // A slow reader that makes progress gets every byte.
            Some(left) if left < queued && left > 0 => {
                if queued != usize::MAX {
                    until = Instant::now() + limit;
                }
                queued = left;
            }
            None if reader.ended => return Lingered::Done,
            // After a reset the queue keeps its count for ever: nothing more can be delivered.
            _ if reader.broken => return Lingered::Done,
            _ => {}
        }
        if Instant::now() >= until {
            return Lingered::Expired;
        }
        // Acknowledgements wake nobody, so they are asked for with growing pauses; input does.
        let pause = (Instant::now() + wait).min(until);
        if reader.ended || reader.left == 0 {
            sleep(pause - Instant::now()).await;
        } else {
            let _ = timeout_at(pause, poll_fn(|cx| reader.poll_end(cx, stream))).await;
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

struct Reader {
    ended: bool,
    broken: bool,
    left: usize,
}

impl Reader {
    /// Throws input away until its end or the bound.
    fn poll_end<S: Stream>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<()> {
        let mut scratch = [0_u8; 4096];
        while self.left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.left = self.left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(end) => {
                    self.ended = true;
                    self.broken = end.is_err();
                    return Poll::Ready(());
                }
            }
        }
        Poll::Ready(())
    }
}
