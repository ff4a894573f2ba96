//! A byte stream inside an HTTP/2 stream, opened by extended CONNECT (RFC 8441).
//!
//! Owns: the request, and the two directions as one stream. Not here: what is spoken through it (`websocket`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

use super::door::{Line, Stream, Witness};
use super::http2::{fate, request};
use super::ledger::Fate;
use crate::target::Door;

/// How often it is looked whether the server's settings have come; whoever calls bounds the whole.
const AGAIN: Duration = Duration::from_millis(1);

/// Both directions of one stream, and a look at the connection under it.
#[derive(Debug)]
pub(super) struct Tunnel {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What has come and was not read yet.
    rest: Bytes,
    witness: Witness,
}

impl Tunnel {
    /// Opens an HTTP/2 connection and asks for a WebSocket on it.
    pub(super) async fn open(stream: Stream, door: Door, path: &str) -> Result<Self, Fate> {
        let lost = |error: io::Error| Fate::Lost(error.to_string().into());
        let witness = stream.witness().map_err(lost)?;
        let handshake = h2::client::handshake(stream).await;
        let (mut sender, connection) = handshake.map_err(|error| fate(&error, "no handshake"))?;
        // The task ends with the connection: when the server has closed, or nothing uses it any more.
        tokio::spawn(connection);
        while !sender.is_extended_connect_protocol_enabled() {
            // Only with the server's settings it is known whether it may be asked.
            if std::future::poll_fn(|context| sender.poll_ready(context))
                .await
                .is_err()
            {
                return Err(Fate::Unsent);
            }
            sleep(AGAIN).await;
        }
        let mut request = request(Method::CONNECT, door, path);
        let version = http::HeaderValue::from_static("13");
        request
            .headers_mut()
            .insert("sec-websocket-version", version);
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        let Ok((response, send)) = sender.send_request(request, false) else {
            return Err(Fate::Unsent);
        };
        let response = response.await.map_err(|error| fate(&error, "no answer"))?;
        match response.status() {
            StatusCode::OK => Ok(Self {
                send,
                receive: response.into_body(),
                rest: Bytes::new(),
                witness,
            }),
            StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key("retry-after") => {
                Err(Fate::Refused)
            }
            status => Err(Fate::Lost(format!("answered {status}").into())),
        }
    }
}

impl Line for Tunnel {
    fn has_news(&self) -> bool {
        self.witness.has_news()
    }

    /// What has come is read by the connection's task: it gets its turn.
    async fn arrival(&self) -> io::Result<()> {
        tokio::task::yield_now().await;
        Ok(())
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.receive.poll_data(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(data)) => {
                    // Fails only when the stream is over, which the next read tells.
                    let _ = self.receive.flow_control().release_capacity(data.len());
                    self.rest = data;
                }
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(bytes.len());
        loop {
            let count = match ready!(self.send.poll_capacity(context)) {
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(0)) => continue,
                Some(Ok(count)) => count.min(bytes.len()),
            };
            let data = Bytes::copy_from_slice(&bytes[..count]);
            let sent = self.send.send_data(data, false);
            return Poll::Ready(sent.map(|()| count).map_err(io::Error::other));
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.send.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(io::Error::other))
    }
}
