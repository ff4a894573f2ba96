//! One connection: a thread that reads heads, answers, and closes in order.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::bell::Listens;
use crate::door::poll_in;
use crate::request::{self, Front};
use crate::{DRAINING, Duck, WINDOW, h2, streams, ws};

/// How long a close lingers for what the peer still sends, and for what it has not taken yet.
const LINGER: Duration = Duration::from_secs(2);
/// How long the broken closes wait, unseeing, before they close.
const BLIND: Duration = Duration::from_millis(30);

/// Nobody serves this, and whoever asks for it is told so before the body is read.
const UNSERVED: &str = " /lameduck-verify/";

/// What a late request meets, where such are refused.
pub(crate) const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Why a connection is closed.
enum Close {
    InOrder,
    /// At once, whatever lies unread in the socket.
    Blindly,
    ByReset,
}

struct Conn {
    duck: Arc<Duck>,
    stream: TcpStream,
    buffer: Vec<u8>,
    answered: u64,
    told_to_continue: bool,
}

pub(crate) fn serve(duck: &Arc<Duck>, stream: TcpStream) {
    duck.connections.fetch_add(1, Ordering::SeqCst);
    let duck = Arc::clone(duck);
    std::thread::spawn(move || {
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_nodelay(true);
        let mut conn = Conn {
            duck: Arc::clone(&duck),
            stream,
            buffer: Vec::new(),
            answered: 0,
            told_to_continue: false,
        };
        let close = conn.run();
        conn.close(&close);
        duck.connections.fetch_sub(1, Ordering::SeqCst);
    });
}

impl Conn {
    fn run(&mut self) -> Close {
        loop {
            if let Some(close) = self.await_bytes() {
                return close;
            }
            if self.answered == 0 && self.buffer.is_empty() && h2::is_spoken(&self.stream) {
                h2::serve(&self.duck, &self.stream);
                return Close::InOrder;
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return Close::InOrder,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            }
            loop {
                let close = match request::front(&self.buffer) {
                    Front::Partial => break,
                    Front::Head { head } => match self.answer_head(&head) {
                        None => break,
                        close => close,
                    },
                    Front::Whole { head, taken } => {
                        self.duck.note_request();
                        self.told_to_continue = false;
                        self.buffer.drain(..taken);
                        self.answer(&head)
                    }
                };
                if let Some(close) = close {
                    return close;
                }
            }
            if self.buffer.len() > 1024 * 1024 {
                return Close::Blindly;
            }
        }
    }

    /// Waits for bytes; says how to close when none are to be waited for any more.
    fn await_bytes(&self) -> Option<Close> {
        let fd = self.stream.as_raw_fd();
        let is_idle = self.buffer.is_empty();
        loop {
            if let Some(close) = self.break_promise(is_idle) {
                return Some(close);
            }
            let has_bytes = self.wait(fd, is_idle);
            // Again: the signal may have come while it waited, and bytes with it.
            if let Some(close) = self.break_promise(is_idle) {
                return Some(close);
            }
            if has_bytes {
                if self.duck.is_broken("H1-05") {
                    // Slow to read; and what was not read at the signal never is.
                    std::thread::sleep(Duration::from_millis(20));
                    if self.duck.phase() >= WINDOW {
                        return Some(Close::Blindly);
                    }
                }
                return None;
            }
            // The door is shut: an idle connection is looked at once more, a fresh one gets a while, then it ends.
            if is_idle && self.duck.phase() >= DRAINING {
                if poll_in(fd, if self.answered == 0 { 250 } else { 1 }) {
                    return None;
                }
                if self.duck.is_broken("H1-03") {
                    return Some(Close::ByReset);
                }
                return Some(Close::InOrder);
            }
        }
    }

    /// Until there are bytes (true), or something has changed that concerns this connection.
    fn wait(&self, fd: i32, is_idle: bool) -> bool {
        if self.duck.phase() < WINDOW && self.broken_concerns(is_idle) {
            self.duck.window_bell.wait_or_bytes(fd, Listens::Yes)
        } else {
            let listens = if is_idle { Listens::Yes } else { Listens::No };
            self.duck.drain_bell.wait_or_bytes(fd, listens)
        }
    }

    /// The broken ways to treat a connection at the signal.
    fn break_promise(&self, is_idle: bool) -> Option<Close> {
        if self.duck.phase() < WINDOW {
            return None;
        }
        self.broken_concerns(is_idle).then(|| {
            std::thread::sleep(BLIND);
            Close::Blindly
        })
    }

    fn broken_concerns(&self, is_idle: bool) -> bool {
        match self.duck.broken.as_str() {
            "H1-02" | "L-H1" | "L-MIX" => is_idle && self.answered > 0,
            "H1-04" => is_idle && self.answered == 0,
            "H1-06" => !is_idle,
            "H1-09" => !is_idle && request::front(&self.buffer) != Front::Partial,
            "H1-13" => self.told_to_continue,
            _ => false,
        }
    }

    /// Answers a request that need not be whole for it: one for a path that nobody serves, or one that waits.
    fn answer_head(&mut self, head: &str) -> Option<Close> {
        if head.contains(UNSERVED) {
            let _ = self.stream.write_all(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
            return Some(if self.duck.is_broken("H1-12") {
                Close::Blindly
            } else {
                Close::InOrder
            });
        }
        if request::field(head, "expect") == Some("100-continue") && !self.told_to_continue {
            self.told_to_continue = true;
            let _ = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        None
    }

    fn answer(&mut self, head: &str) -> Option<Close> {
        if self.duck.refuses_now() {
            let _ = self.stream.write_all(REFUSAL);
            return Some(Close::InOrder);
        }
        let target = head.split(' ').nth(1).unwrap_or("/").to_owned();
        if let Some(answer) = ws::accept(head) {
            return Some(self.upgrade(&answer, &target));
        }
        let name = head.lines().next().unwrap_or_default();
        let ticket = self.duck.note_begun(name);
        let close = self.answer_target(&target);
        self.duck.note_done(ticket);
        close
    }

    fn upgrade(&mut self, answer: &str, target: &str) -> Close {
        let farewell =
            request::number(target, "farewell").and_then(|code| u16::try_from(code).ok());
        if self.stream.write_all(answer.as_bytes()).is_err() {
            return Close::Blindly;
        }
        let early = std::mem::take(&mut self.buffer);
        match ws::serve(&self.duck, &mut self.stream, &early, farewell) {
            ws::Parting::InOrder => Close::InOrder,
            ws::Parting::Blindly => Close::Blindly,
        }
    }

    /// The field that announces the close, from the signal on.
    fn connection(&self) -> &'static str {
        if self.duck.phase() >= WINDOW && !self.duck.is_broken("H1-08") {
            "Connection: close\r\n"
        } else {
            ""
        }
    }

    fn answer_target(&mut self, target: &str) -> Option<Close> {
        if self.duck.is_broken("P7-drop") && self.duck.config.is_fresh() {
            return Some(Close::Blindly);
        }
        if target == "/config" {
            let text = self.duck.config.text();
            return self.answer_text(&text);
        }
        if target == "/clock" {
            let text = format!("{:?}", self.duck.begun.elapsed());
            return self.answer_text(&text);
        }
        let gap = Duration::from_millis(request::number(target, "ms").unwrap_or(0));
        let lasting = if target.starts_with("/stream") {
            let chunks = request::number(target, "chunks").unwrap_or(10);
            let connection = self.connection();
            Some(streams::chunked(
                &self.duck,
                &mut self.stream,
                chunks,
                gap,
                connection,
            ))
        } else if target.starts_with("/sse") {
            let connection = self.connection();
            Some(streams::events(
                &self.duck,
                &mut self.stream,
                gap,
                connection,
            ))
        } else {
            None
        };
        if let Some(ended) = lasting {
            self.answered += 1;
            return match ended {
                Ok(streams::Ended::Whole) if self.duck.phase() < WINDOW => None,
                Ok(streams::Ended::Whole) => Some(Close::InOrder),
                Ok(streams::Ended::Cut) | Err(_) => Some(Close::Blindly),
            };
        }
        let until = Instant::now() + gap;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
            if self.duck.is_broken("H1-01") && self.duck.phase() >= WINDOW {
                return Some(Close::Blindly);
            }
        }
        let length = request::number(target, "bytes").unwrap_or(2);
        let says_close = self.duck.phase() >= WINDOW;
        let connection = self.connection();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{connection}\r\n");
        if self.stream.write_all(head.as_bytes()).is_err() || self.write_body(length).is_err() {
            return Some(Close::Blindly);
        }
        self.answered += 1;
        // Also when the signal came while the body was being written: the client was not told, so it may write again.
        says_close.then_some(Close::InOrder)
    }

    /// What is in force, on a connection that ends with it.
    fn answer_text(&mut self, text: &str) -> Option<Close> {
        let length = text.len();
        let _ = write!(
            self.stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
        );
        Some(Close::InOrder)
    }

    fn write_body(&mut self, mut left: u64) -> std::io::Result<()> {
        let block = [b'x'; 64 * 1024];
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            self.stream.write_all(&block[..count])?;
            left -= count as u64;
        }
        Ok(())
    }

    fn close(&mut self, close: &Close) {
        match close {
            Close::Blindly => {}
            Close::ByReset => {
                let linger = libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                // SAFETY: `linger` lives through the call; the descriptor is ours.
                unsafe {
                    libc::setsockopt(
                        self.stream.as_raw_fd(),
                        libc::SOL_SOCKET,
                        libc::SO_LINGER,
                        (&raw const linger).cast(),
                        size_of::<libc::linger>() as libc::socklen_t,
                    )
                };
            }
            Close::InOrder => self.linger(),
        }
    }

    /// Says that no more will come, then waits until the peer has taken all of it or ended the connection itself.
    fn linger(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        if self.duck.is_broken("H1-10") {
            return;
        }
        let until = Instant::now() + LINGER;
        let fd = self.stream.as_raw_fd();
        let mut rest = [0; 4096];
        while Instant::now() < until {
            if poll_in(fd, 20) && matches!(self.stream.read(&mut rest), Ok(0) | Err(_)) {
                return;
            }
        }
    }
}
