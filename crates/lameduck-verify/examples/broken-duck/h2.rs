//! HTTP/2: one connection, on a runtime of its own in the connection's thread. Paths as over HTTP/1.1, and one gRPC
//! method, the `Say` of our demo.

use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use crate::{DRAINING, Duck, RUNNING, WINDOW, ws};

/// Between two looks at the phase.
const STEP: Duration = Duration::from_millis(2);
/// What is not a connection yet, or not any more, gets so long after the door is shut.
const LIMIT: Duration = Duration::from_millis(250);
/// How long a close lingers for what the peer still sends.
const LINGER: Duration = Duration::from_secs(2);

/// Whether an HTTP/2 client speaks; its bytes stay unread.
pub(crate) fn is_spoken(stream: &TcpStream) -> bool {
    let mut first = [0; 4];
    stream.peek(&mut first).is_ok_and(|count| count == 4) && first == *b"PRI "
}

/// Serves a connection on which a client speaks HTTP/2, until it is over.
pub(crate) fn serve(duck: &Arc<Duck>, stream: &TcpStream) {
    let Ok(stream) = stream.try_clone() else {
        return;
    };
    block_on(async {
        let fd = stream.as_raw_fd();
        let born = duck.phase();
        let _ = stream.set_nonblocking(true);
        if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
            drive(duck, stream, fd, born).await;
        }
    });
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(work)
}

/// Until the duck has reached `phase`.
pub(crate) async fn reached(duck: &Duck, phase: u8) {
    while duck.phase() < phase {
        sleep(STEP).await;
    }
}

/// Until the door has been shut for a while.
pub(crate) async fn limit(duck: &Duck) {
    reached(duck, DRAINING).await;
    sleep(LIMIT).await;
}

pub(crate) async fn drive<T>(duck: &Arc<Duck>, io: T, fd: RawFd, born: u8)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let greeting = h2::server::Builder::new()
        .enable_connect_protocol()
        .handshake::<T, Bytes>(io);
    let conn = tokio::select! {
        conn = greeting => conn,
        () = limit(duck), if !duck.is_broken("H2-06") => return,
    };
    let Ok(mut conn) = conn else { return };
    if born >= WINDOW && duck.is_broken("H2-10") {
        conn.abrupt_shutdown(Reason::NO_ERROR);
    }
    let mut leaver = Leaver {
        duck,
        fd,
        born,
        active: Arc::default(),
        accepted: 0,
        leaving_since: None,
        busy_at: Instant::now(),
    };
    while leaver.turn(&mut conn).await {}
}

/// How one connection goes on.
struct Leaver<'d> {
    duck: &'d Arc<Duck>,
    fd: RawFd,
    /// The phase in which it was accepted.
    born: u8,
    active: Arc<AtomicUsize>,
    accepted: usize,
    leaving_since: Option<Instant>,
    /// When it last answered a stream: what it said then may still be on its way.
    busy_at: Instant,
}

impl Leaver<'_> {
    /// False when the connection is over.
    async fn turn<T>(&mut self, conn: &mut Connection<T, Bytes>) -> bool
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let next = tokio::select! {
            next = conn.accept() => Some(next),
            () = sleep(STEP) => None,
        };
        match next {
            Some(Some(Ok((request, respond)))) => self.answer(request, respond),
            Some(Some(Err(_)) | None) => {
                linger(self.fd).await;
                return false;
            }
            None => {}
        }
        self.leave(conn).await
    }

    fn answer(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        self.duck.note_request();
        self.accepted += 1;
        if self.leaving_since.is_some() && self.duck.is_broken("H2-03") {
            respond.send_reset(Reason::INTERNAL_ERROR);
            return;
        }
        if self.duck.refuses_now() {
            respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        let (duck, active) = (Arc::clone(self.duck), Arc::clone(&self.active));
        let number = self.accepted;
        active.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let _ = handle(&duck, number, request, respond).await;
            active.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// What the phase asks for; false when the connection is cut.
    async fn leave<T>(&mut self, conn: &mut Connection<T, Bytes>) -> bool
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let phase = self.duck.phase();
        let idle = self.active.load(Ordering::SeqCst) == 0;
        if !idle {
            self.busy_at = Instant::now();
        }
        if phase < WINDOW {
            return true;
        }
        match self.duck.broken.as_str() {
            "H2-02" => return false,
            "H2-01" => return !(idle && phase >= DRAINING),
            "L-H2" if idle && self.born <= RUNNING && self.leaving_since.is_none() => {
                // Blind: what comes now is thrown away unread.
                std::thread::sleep(Duration::from_millis(30));
                return false;
            }
            _ => {}
        }
        // Those that came inside the window first get their first stream.
        let steer = self.born <= RUNNING || self.accepted > 0 || phase >= DRAINING;
        if self.leaving_since.is_none() && steer {
            self.leaving_since = Some(Instant::now());
            conn.graceful_shutdown();
        }
        if phase >= DRAINING && idle && self.duck.is_broken("H2-07") {
            return false;
        }
        let Some(since) = self.leaving_since else {
            return true;
        };
        if self.duck.is_broken("H2-04") && since.elapsed() > Duration::from_millis(200) {
            reset_at_close(self.fd);
            return false;
        }
        // A peer that never answers the PING.
        let quiet = since.max(self.busy_at).elapsed();
        let silent = idle && phase >= DRAINING && quiet > LIMIT * 2;
        !silent || self.duck.is_broken("H2-05")
    }
}

fn reset_at_close(fd: RawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: `linger` lives through the call; the descriptor is open, its owner waits for us.
    unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
}

/// Reads what the peer still sends until it ends the connection too: unread bytes would make the close a reset.
pub(crate) async fn linger(fd: RawFd) {
    // SAFETY: takes numbers only; the descriptor is open, its owner waits for us.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
    let until = Instant::now() + LINGER;
    let mut rest = [0_u8; 4096];
    while Instant::now() < until {
        // SAFETY: the buffer has that many bytes; the socket does not block.
        let count = unsafe { libc::read(fd, rest.as_mut_ptr().cast(), rest.len()) };
        let waits =
            count < 0 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock;
        if count == 0 || count < 0 && !waits {
            return;
        }
        if waits {
            sleep(STEP).await;
        }
    }
}

async fn handle(
    duck: &Duck,
    number: usize,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (parts, body) = request.into_parts();
    if parts.extensions.get::<h2::ext::Protocol>().is_some() {
        return tunnel(duck, body, respond).await;
    }
    let body = read(body).await?;
    let is_grpc = parts
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let query = parts.uri.query().unwrap_or("").to_owned();
    let value = |name: &str| {
        query.split('&').find_map(|pair| {
            pair.strip_prefix(name)?
                .strip_prefix('=')?
                .parse::<u64>()
                .ok()
        })
    };
    let delay = if is_grpc {
        delay_of(&body)
    } else {
        value("ms")
    };
    let until = Instant::now() + Duration::from_millis(delay.unwrap_or(0));
    let cut = number > 50 && duck.is_broken("H2-08") || is_grpc && duck.is_broken("H2-09");
    while Instant::now() < until {
        sleep(STEP).await;
        if cut && duck.phase() >= WINDOW {
            respond.send_reset(Reason::CANCEL);
            return Ok(());
        }
    }
    if is_grpc {
        return answer_grpc(respond, body).await;
    }
    let mut send = respond.send_response(Response::new(()), false)?;
    let bytes = Bytes::from(vec![b'x'; value("bytes").unwrap_or(2) as usize]);
    if duck.is_broken("H2-07") {
        // Handed over is taken for delivered.
        return send.send_data(bytes, true);
    }
    write(&mut send, bytes).await?;
    send.send_data(Bytes::new(), true)
}

/// A WebSocket in a stream (RFC 8441): echoes, says Close when the server leaves, and waits for the answer for a while.
async fn tunnel(
    duck: &Duck,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut send = respond.send_response(Response::new(()), false)?;
    let (mut input, mut closing_since) = (Vec::new(), None::<Instant>);
    let mut over = false;
    while !over {
        let chunk = tokio::select! {
            chunk = body.data() => Some(chunk),
            () = sleep(STEP) => None,
        };
        if let Some(chunk) = chunk {
            let Some(chunk) = chunk else { break };
            let chunk = chunk?;
            input.extend_from_slice(&chunk);
            body.flow_control().release_capacity(chunk.len())?;
        }
        while let Some((first, payload)) = ws::next_frame(&mut input) {
            if first & 0x0f == ws::CLOSE {
                over = true;
            } else if closing_since.is_none() {
                write(&mut send, ws::served(first, &payload).into()).await?;
            }
        }
        if duck.phase() >= WINDOW && closing_since.is_none() {
            if duck.is_broken("WS-05") {
                break;
            }
            closing_since = Some(Instant::now());
            write(
                &mut send,
                ws::served(0x80 | ws::CLOSE, &1001_u16.to_be_bytes()).into(),
            )
            .await?;
        }
        over |= closing_since.is_some_and(|since| since.elapsed() > ws::CLOSE_BOUND);
    }
    send.send_data(Bytes::new(), true)
}

/// One message: five bytes of prefix, then what was sent.
async fn answer_grpc(mut respond: SendResponse<Bytes>, body: Vec<u8>) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut send = respond.send_response(response, false)?;
    write(&mut send, Bytes::from(body)).await?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    send.send_trailers(trailers)
}

/// `delay_ms`, field 2 of the one message in `body`.
fn delay_of(body: &[u8]) -> Option<u64> {
    let digits = body.get(5..)?.strip_prefix(&[0x10])?;
    let mut value = 0;
    for (index, byte) in digits.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
    }
    Some(value)
}

async fn read(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        all.extend_from_slice(&chunk);
        body.flow_control().release_capacity(chunk.len())?;
    }
    Ok(all)
}

/// Hands bytes over only as the peer gives credit for them.
async fn write(send: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len().min(16 * 1024));
        let allowed = std::future::poll_fn(|context| send.poll_capacity(context)).await;
        let Some(allowed) = allowed.transpose()? else {
            return Ok(());
        };
        send.send_data(bytes.split_to(allowed.min(bytes.len())), false)?;
    }
    Ok(())
}
