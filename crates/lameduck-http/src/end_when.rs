//! `end_when`: a body that ends when it is told to.
//!
//! Owns the wrapper for bodies whose application chooses the moment itself. Works under any server.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// Gives the frames of `body` until `moment` comes, then ends it cleanly between two of them and drops it.
///
/// For long responses that can stop anywhere between two frames, and whose application knows when: with
/// [`Drain::closing`](lameduck::Drain::closing) it goes on through the whole lame-duck window, where [`Ending`](crate::Ending) would have
/// ended it with its connection's share of the floor.
///
/// # Examples
/// ```
/// use http_body_util::Empty;
///
/// async fn feed() -> axum::body::Body {
///     let rows = Empty::<bytes::Bytes>::new(); // an endless one
///     match lameduck_http::drain() {
///         Some(drain) => axum::body::Body::new(lameduck_http::end_when(rows, drain.closing())),
///         None => axum::body::Body::new(rows),
///     }
/// }
/// # let _ = feed();
/// ```
pub const fn end_when<B: Body, F: Future>(body: B, moment: F) -> EndWhen<B, F> {
    EndWhen {
        body: Some(body),
        moment,
    }
}

pin_project! {
    /// The body of [`end_when`].
    #[derive(Debug)]
    pub struct EndWhen<B, F> {
        // None: the moment has come.
        #[pin]
        body: Option<B>,
        #[pin]
        moment: F,
    }
}

impl<B: Body, F: Future> Body for EndWhen<B, F> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        if this.moment.poll(cx).is_ready() {
            this.body.set(None);
            return Poll::Ready(None);
        }
        body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    /// No promise: the moment may come before the last byte.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        if let Some(upper) = self
            .body
            .as_ref()
            .map_or(Some(0), |body| body.size_hint().upper())
        {
            hint.set_upper(upper);
        }
        hint
    }
}
