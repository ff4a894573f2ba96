//! A plain async function as a service, for programs without a framework.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::body::Body;

/// Makes a service of an async function from request to response.
///
/// # Examples
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
///
/// async fn hello(_request: Request<lameduck_http::Body>) -> Result<Response<String>, Infallible> {
///     Ok(Response::new("hello".to_owned()))
/// }
/// let app = lameduck_http::service_fn(hello);
/// # let _ = app;
/// ```
pub fn service_fn<F, R, B, E>(handle: F) -> ServiceFn<F>
where
    F: FnMut(Request<Body>) -> R,
    R: Future<Output = Result<Response<B>, E>>,
{
    ServiceFn { handle }
}

/// The service that [`service_fn`] makes.
#[derive(Clone, Copy, Debug)]
pub struct ServiceFn<F> {
    handle: F,
}

impl<F, R, B, E> Service<Request<Body>> for ServiceFn<F>
where
    F: FnMut(Request<Body>) -> R,
    R: Future<Output = Result<Response<B>, E>>,
{
    type Response = Response<B>;
    type Error = E;
    type Future = R;

    #[inline]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<Body>) -> R {
        (self.handle)(request)
    }
}
