//! An HTTP/1.1 client on a raw socket, that sends what it is told and reads one response at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{BOUND, until};

/// The most of a head, and of a body.
const MOST_HEAD: u64 = 64 << 10;
const MOST_BODY: u64 = 16 << 20;

pub struct Wire {
    stream: BufReader<TcpStream>,
}

/// One response, whole.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }

    pub fn says_close(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

impl Wire {
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, BOUND)?;
        stream.set_read_timeout(Some(BOUND))?;
        stream.set_write_timeout(Some(BOUND))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Connects as soon as somebody listens.
    #[track_caller]
    pub fn connect_when_ready(to: SocketAddr) -> Self {
        until("a listener", || Self::connect(to).ok())
    }

    /// One request on a connection of its own.
    pub fn ask(to: SocketAddr, path: &str) -> io::Result<Response> {
        let mut wire = Self::connect(to)?;
        wire.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ))?;
        wire.response()
    }

    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .expect("sent");
        self.response().expect("a response")
    }

    #[track_caller]
    pub fn post(&mut self, path: &str, body: &str) -> Response {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .expect("sent");
        self.response().expect("a response")
    }

    /// Sends a POST without its body; returns once the handler asks for it, when the request is certainly in flight.
    #[track_caller]
    pub fn begin_post(&mut self, path: &str, length: usize) {
        self.send(&format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"))
            .expect("sent");
        let head = self.head().expect("an interim response");
        assert!(head.starts_with("http/1.1 100"), "{head}");
    }

    /// Reads one response to its end.
    pub fn response(&mut self) -> io::Result<Response> {
        let head = self.head()?;
        self.rest(head)
    }

    /// Reads what follows a head.
    pub fn rest(&mut self, head: String) -> io::Result<Response> {
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a response: {head:?}")))?;
        let mut response = Response {
            status,
            head,
            body: String::new(),
        };
        let body = if response.header("transfer-encoding") == Some("chunked") {
            self.chunks()?
        } else if let Some(length) = response.header("content-length") {
            let length: u64 = length.parse().map_err(io::Error::other)?;
            self.exactly(length)?
        } else {
            let mut body = Vec::new();
            (&mut self.stream).take(MOST_BODY).read_to_end(&mut body)?;
            body
        };
        response.body = String::from_utf8(body).map_err(io::Error::other)?;
        Ok(response)
    }

    /// Whether the peer ends the connection by FIN and sends nothing before it.
    pub fn ends(&mut self) -> io::Result<bool> {
        let mut byte = [0];
        Ok(self.stream.read(&mut byte)? == 0)
    }

    /// Reads a head, in lower case.
    pub fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        let mut from = (&mut self.stream).take(MOST_HEAD);
        while !head.ends_with("\r\n\r\n") {
            if from.read_line(&mut head)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("a head that ends after {head:?}"),
                ));
            }
        }
        Ok(head.to_lowercase())
    }

    fn exactly(&mut self, length: u64) -> io::Result<Vec<u8>> {
        if length > MOST_BODY {
            return Err(io::Error::other("more than a test reads"));
        }
        let mut body = Vec::new();
        (&mut self.stream).take(length).read_to_end(&mut body)?;
        if body.len() as u64 == length {
            return Ok(body);
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{} bytes of {length}", body.len()),
        ))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            (&mut self.stream).take(64).read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let chunk = self.exactly(size + 2)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..chunk.len() - 2]);
            if body.len() as u64 > MOST_BODY {
                return Err(io::Error::other("more than a test reads"));
            }
        }
    }
}
