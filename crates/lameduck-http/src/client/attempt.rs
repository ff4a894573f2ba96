//! One try: a connection, the request on it, and what became of that.
//!
//! Owns finding out what happened, from what hyper and h2 say and from what passed over the wire. Whether it is tried again is decided in
//! `retry`.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use tokio::time::{Instant, sleep_until, timeout};

use super::Inner;
use super::body::{Body, Progress, Sent};
use super::conn;
use super::connect::Unconnected;
use super::fields;
use super::pool::Refused;
use super::pool::counts::ClosedBy;
use super::pool::lease::{Held, Lease, Opening};
use super::pool::machine::{Season, Speaks, Wish};
use super::response::ResponseBody;
use super::retry::{Mishap, Replay};
use super::target::Target;
use super::wire::Mark;
use crate::server::exchange::BoxError;

/// A request through all of its tries.
pub(super) struct Course {
    pub(super) target: Target,
    pub(super) parts: Parts,
    /// What the next try sends; None once it was given away for good.
    pub(super) body: Option<Body>,
    pub(super) wish: Wish,
}

/// A try without a response.
pub(super) enum Missed {
    /// It did not get a connection: that is the end of it.
    Refused(Refused),
    NoTls,
    Failed {
        mishap: Mishap,
        replay: Replay,
        source: Option<BoxError>,
    },
}

impl Missed {
    fn unsent(mishap: Mishap, source: impl Into<BoxError>) -> Self {
        Self::Failed {
            mishap,
            replay: Replay::Untouched,
            source: Some(source.into()),
        }
    }
}

impl Inner {
    pub(super) async fn attempt(
        &self,
        course: &mut Course,
    ) -> Result<Response<ResponseBody>, Missed> {
        let Some(lease) = self.connection(&course.target, course.wish).await? else {
            return Err(Missed::unsent(Mishap::Unreached, "no connection"));
        };
        let copy = course
            .body
            .as_ref()
            .and_then(|body| body.copy(self.limits.replay));
        let Some(body) = course.body.take() else {
            // Nobody tries again without a body; sending none in its place would be worse than saying so.
            return Err(Missed::Failed {
                mishap: Mishap::Body,
                replay: Replay::Spent,
                source: None,
            });
        };
        let progress = Progress::new();
        let sent = Sent::new(body, Arc::clone(&progress));
        let request = course.request(sent, &lease);
        let result = self.exchange(lease, request, &progress).await;
        result.map_err(|(mishap, returned, source)| {
            let replay = match (&returned, &copy) {
                (Some(_), _) => Replay::Untouched,
                (None, Some(_)) => Replay::Copied,
                (None, None) => Replay::Spent,
            };
            course.body = returned.or(copy);
            Missed::Failed {
                mishap,
                replay,
                source,
            }
        })
    }

    /// A connection for one request. None only for who wished for a spare one, and there is one.
    pub(super) async fn connection(
        &self,
        target: &Target,
        wish: Wish,
    ) -> Result<Option<Lease>, Missed> {
        let presumed = self.connector.presumed(target);
        let held = self.pool.hold(target, wish, presumed, self.limits.wait);
        match held.await.map_err(Missed::Refused)? {
            Held::Lease(lease) => Ok(Some(lease)),
            Held::Opening(opening) => self.open(target, opening).await.map(Some),
            Held::Spare => Ok(None),
        }
    }

    async fn open(&self, target: &Target, opening: Opening) -> Result<Lease, Missed> {
        let wire = Arc::clone(&opening.wire);
        let opens = async {
            let (stream, speaks) = self.connector.connect(target).await?;
            let begun = conn::begin(opening, stream, speaks, &self.limits).await;
            begun.map_err(|error| match error.is_parse() {
                true => Unconnected::Unsuited(error.into()),
                false => Unconnected::Unreached(error.into()),
            })
        };
        let (mut opens, mut cut) = (
            pin!(timeout(self.limits.connect, opens)),
            pin!(wire.cut_seen()),
        );
        let opened = poll_fn(|cx| match cut.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(Ok(None))),
            Poll::Pending => opens.as_mut().poll(cx),
        });
        match opened.await {
            Ok(Ok(Some(lease))) => Ok(lease),
            // Nobody wants what was opened, or its server closed it before anybody could.
            Ok(Ok(None)) if self.pool.season() == Season::Over => {
                Err(Missed::Refused(Refused::Over))
            }
            Ok(Ok(None)) => {
                let error = io::Error::from(io::ErrorKind::ConnectionAborted);
                Err(Missed::unsent(Mishap::Unreached, error))
            }
            Ok(Err(Unconnected::Unreached(error))) => Err(Missed::unsent(Mishap::Unreached, error)),
            Ok(Err(Unconnected::Unsuited(error))) => Err(Missed::unsent(Mishap::Unsuited, error)),
            Ok(Err(Unconnected::NoTls)) => Err(Missed::NoTls),
            Err(elapsed) => Err(Missed::unsent(Mishap::Unreached, elapsed)),
        }
    }

    async fn exchange(
        &self,
        mut lease: Lease,
        request: Request<Sent>,
        progress: &Progress,
    ) -> Result<Response<ResponseBody>, (Mishap, Option<Body>, Option<BoxError>)> {
        let mark = lease.wire.ask();
        let (limit, wire) = (self.limits.answer, Arc::clone(&lease.wire));
        let Some(sending) = lease.try_send(request) else {
            lease.fail(ClosedBy::Peer);
            return Err((Mishap::Unwritten, None, None));
        };
        let gone = async {
            wire.gone().await;
            lease.let_go();
        };
        let waited = within(limit, progress, gone, sending).await;
        let mut failed = match waited {
            Waited::Answer(Ok(response)) => {
                let stall = self.limits.stall;
                if let Some(said) = fields::keep_alive(response.headers()) {
                    lease.keep_for(said);
                }
                return Ok(response.map(|incoming| ResponseBody::new(incoming, lease, stall)));
            }
            Waited::Answer(Err(failed)) => failed,
            Waited::Expired => {
                // On HTTP/2 the others go on: whether the server is still there is what PING is for.
                drop(lease);
                return Err((Mishap::Expired, None, None));
            }
            Waited::Forgotten => {
                let mishap = judge(None, false, &lease, mark, progress);
                lease.fail(ClosedBy::Failed);
                return Err((mishap, None, None));
            }
        };
        let returned = failed
            .take_message()
            .map(|request| request.into_body().into_inner());
        let mishap = judge(
            Some(failed.error()),
            returned.is_some(),
            &lease,
            mark,
            progress,
        );
        if is_of_stream(failed.error()) {
            lease.give_back(ClosedBy::Failed);
        } else {
            lease.fail(ClosedBy::Failed);
        }
        Err((mishap, returned, Some(failed.into_error().into())))
    }
}

impl Course {
    /// The request as its connection wants it.
    fn request(&self, body: Sent, lease: &Lease) -> Request<Sent> {
        let mut parts = self.parts.clone();
        match lease.speaks() {
            Speaks::Http1 => {
                fields::for_http1(&mut parts, &body.body, self.target.is_secure);
                let mut request = Request::from_parts(parts, body);
                let wire = Arc::clone(&lease.wire);
                hyper::ext::on_informational(&mut request, move |_| wire.interim());
                request
            }
            Speaks::Http2 => {
                fields::for_http2(&mut parts);
                Request::from_parts(parts, body)
            }
        }
    }
}

/// How an answer came, or did not.
enum Waited<T> {
    Answer(T),
    /// It took too long.
    Expired,
    /// Its connection is closed, and nobody said a word. That should not be; a request that waits for ever should be even less.
    Forgotten,
}

/// For how long hyper's tasks may take to say that a connection is closed.
const TOLD_WITHIN: Duration = Duration::from_millis(250);

/// Waits for the answer: no longer than `limit` after the request's body moved last, nor than a moment after its connection is `gone`.
async fn within<F: Future>(
    limit: Duration,
    progress: &Progress,
    gone: impl Future<Output = ()>,
    answer: F,
) -> Waited<F::Output> {
    let (mut answer, mut gone) = (pin!(answer), pin!(gone));
    let mut timer = pin!(sleep_until(progress.last() + limit));
    let mut is_gone = false;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Waited::Answer(answer));
        }
        if !is_gone && gone.as_mut().poll(cx).is_ready() {
            is_gone = true;
            timer.as_mut().reset(Instant::now() + TOLD_WITHIN);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if is_gone {
                return Poll::Ready(Waited::Forgotten);
            }
            let until = progress.last() + limit;
            if until <= timer.deadline() {
                return Poll::Ready(Waited::Expired);
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    })
    .await
}

/// What a try without a response was. `error`: what hyper says, if it said anything.
fn judge(
    error: Option<&hyper::Error>,
    is_returned: bool,
    lease: &Lease,
    mark: Mark,
    progress: &Progress,
) -> Mishap {
    if is_returned {
        // It never came to be written.
        return Mishap::Unwritten;
    }
    if progress.has_failed() {
        return Mishap::Body;
    }
    if lease.wire.is_flooded() || error.is_some_and(hyper::Error::is_parse) {
        return Mishap::Malformed;
    }
    if let Some(mishap) = error.and_then(of_h2) {
        return mishap;
    }
    if !lease.wire.has_written(mark, lease.speaks()) {
        return Mishap::Unwritten;
    }
    // On HTTP/2 what was read may be anybody's; there is no response, or hyper had given it.
    if lease.speaks() == Speaks::Http1 && lease.wire.has_read(mark) {
        return Mishap::CutShort;
    }
    Mishap::Cut
}

/// What frames say about a try. h2 gives a GOAWAY of the server to the streams above its last one, and an end of the connection to the others;
/// and to a stream that hyper was about to open when the GOAWAY came.
fn of_h2(error: &hyper::Error) -> Option<Mishap> {
    let error = h2_error(error)?;
    if error.is_io() {
        return None;
    }
    if !error.is_remote() {
        return Some(Mishap::Malformed);
    }
    if error.is_go_away() {
        return Some(Mishap::GoneAway);
    }
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => Some(Mishap::RefusedStream),
        // It may have been processed, and was ended.
        Some(h2::Reason::NO_ERROR | h2::Reason::CANCEL | h2::Reason::INTERNAL_ERROR) => {
            Some(Mishap::Cut)
        }
        _ => Some(Mishap::Malformed),
    }
}

/// Whether only this stream ended, and not its connection.
fn is_of_stream(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(h2::Error::is_reset)
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::pin::Pin;
    use std::task::Context;

    use bytes::Bytes;
    use http_body::{Body as HttpBody, Frame};
    use tokio::time::{Sleep, sleep};

    /// A byte every 40 s.
    struct Slow {
        left: u32,
        timer: Pin<Box<Sleep>>,
    }

    impl HttpBody for Slow {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            std::task::ready!(self.timer.as_mut().poll(cx));
            self.left -= 1;
            self.timer = Box::pin(sleep(Duration::from_secs(40)));
            let byte = Frame::data(Bytes::from_static(b"x"));
            Poll::Ready(if self.left > 0 { Some(Ok(byte)) } else { None })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_its_time_from_when_the_body_moved_last() {
        let limit = Duration::from_secs(60);
        let progress = Progress::new();
        let body = Body::streaming(Slow {
            left: 6,
            timer: Box::pin(sleep(Duration::ZERO)),
        });
        let mut sent = Sent::new(body, Arc::clone(&progress));
        let began = Instant::now();
        let uploads = async {
            while poll_fn(|cx| Pin::new(&mut sent).poll_frame(cx))
                .await
                .is_some()
            {}
            // The body is over, and the server thinks.
            sleep(Duration::from_secs(59)).await;
        };
        let waited = within(limit, &progress, pending(), uploads).await;
        assert!(matches!(waited, Waited::Answer(())));
        assert!(began.elapsed() > 3 * limit);

        let began = Instant::now();
        let waited = within(limit, &Progress::new(), pending(), pending::<()>()).await;
        assert!(matches!(waited, Waited::Expired));
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_forgotten_does_not_wait_for_its_time() {
        let (limit, progress) = (Duration::from_secs(60), Progress::new());
        let began = Instant::now();
        let gone = sleep(Duration::from_secs(1));
        let waited = within(limit, &progress, gone, pending::<()>()).await;
        assert!(matches!(waited, Waited::Forgotten));
        assert!(began.elapsed() < Duration::from_secs(2));
        // What is said a moment after the end is heard.
        let gone = sleep(Duration::from_secs(1));
        let answer = sleep(Duration::from_millis(1_200));
        let waited = within(limit, &Progress::new(), gone, answer).await;
        assert!(matches!(waited, Waited::Answer(())));
    }
}
