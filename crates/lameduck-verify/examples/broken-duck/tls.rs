//! TLS: a door of its own; HTTP/1.1 or HTTP/2 by ALPN. Certificates are made at the start.

use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::conn::REFUSAL;
use crate::{DRAINING, Duck, WINDOW, h2};

/// A handshake takes so long at most.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// The broken way: one handshake at a time, whoever waits.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("a certificate can be made");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the key belongs to the certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Serves a connection of the TLS door in a thread of its own.
pub(crate) fn serve(duck: &Arc<Duck>, acceptor: &TlsAcceptor, stream: TcpStream) {
    duck.connections.fetch_add(1, Ordering::SeqCst);
    let (duck, acceptor) = (Arc::clone(duck), acceptor.clone());
    std::thread::spawn(move || {
        let born = duck.phase();
        let _ = stream.set_nonblocking(true);
        let _ = stream.set_nodelay(true);
        let fd = stream.as_raw_fd();
        h2::block_on(async {
            if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
                converse(&duck, &acceptor, stream, fd, born).await;
            }
        });
        duck.connections.fetch_sub(1, Ordering::SeqCst);
    });
}

async fn converse(
    duck: &Arc<Duck>,
    acceptor: &TlsAcceptor,
    stream: tokio::net::TcpStream,
    fd: RawFd,
    born: u8,
) {
    let turn = duck
        .is_broken("TLS-4")
        .then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    let shaken = tokio::select! {
        shaken = acceptor.accept(stream) => shaken,
        () = sleep(HANDSHAKE), if !duck.is_broken("TLS-2") => return,
        () = h2::limit(duck), if !duck.is_broken("TLS-2") => return,
        () = h2::reached(duck, WINDOW), if duck.is_broken("TLS-1") => return,
    };
    drop(turn);
    let Ok(tls) = shaken else { return };
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = Quiet {
        io: tls,
        fd,
        says_nothing: duck.is_broken("TLS-3"),
    };
    if is_h2 {
        h2::drive(duck, io, fd, born).await;
    } else {
        let mut io = io;
        let _ = http1(duck, &mut io).await;
        if io.shutdown().await.is_ok() {
            h2::linger(fd).await;
        }
    }
}

/// Requests one after the other; an idle connection is looked at once more before it ends.
async fn http1<T>(duck: &Duck, io: &mut T) -> std::io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (mut buffer, mut answered) = (Vec::new(), 0);
    loop {
        let mut chunk = [0; 4096];
        let count = tokio::select! {
            biased;
            count = io.read(&mut chunk) => count?,
            () = idle_end(duck, answered), if buffer.is_empty() => return Ok(()),
        };
        if count == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..count]);
        while let Some((head, length)) = whole(&buffer) {
            let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
            buffer.drain(..head + length);
            duck.note_request();
            if answer(duck, io, &text).await? {
                return Ok(());
            }
            answered += 1;
        }
    }
}

/// Until an idle connection is of no more use.
async fn idle_end(duck: &Duck, answered: u32) {
    if duck.is_broken("L-TLS") && answered > 0 {
        h2::reached(duck, WINDOW).await;
        // Blind: what comes now is thrown away unread.
        std::thread::sleep(Duration::from_millis(30));
        return;
    }
    h2::reached(duck, DRAINING).await;
    sleep(Duration::from_millis(if answered == 0 { 250 } else { 2 })).await;
}

fn whole(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    (buffer.len() >= head + length).then_some((head, length))
}

/// True when the answer said `close`.
async fn answer<T>(duck: &Duck, io: &mut T, head: &str) -> std::io::Result<bool>
where
    T: AsyncWrite + Unpin,
{
    if duck.refuses_now() {
        io.write_all(REFUSAL).await?;
        io.flush().await?;
        return Ok(true);
    }
    let ms = head
        .split(' ')
        .nth(1)
        .and_then(|path| path.split_once("ms="))
        .and_then(|(_, digits)| digits.parse::<u64>().ok());
    let until = Instant::now() + Duration::from_millis(ms.unwrap_or(0));
    while Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
    let close = duck.phase() >= WINDOW;
    let connection = if close { "Connection: close\r\n" } else { "" };
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{connection}\r\nok");
    io.write_all(text.as_bytes()).await?;
    io.flush().await?;
    Ok(close)
}

/// A session that ends with close_notify, or, broken, without.
struct Quiet<T> {
    io: T,
    fd: RawFd,
    says_nothing: bool,
}

impl<T: AsyncRead + Unpin> AsyncRead for Quiet<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Quiet<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.says_nothing {
            return Pin::new(&mut self.io).poll_shutdown(context);
        }
        // SAFETY: takes numbers only; the descriptor belongs to the session in `io`.
        unsafe { libc::shutdown(self.fd, libc::SHUT_WR) };
        Poll::Ready(Ok(()))
    }
}
