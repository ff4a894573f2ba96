//! Which breaker a request belongs to.

use crate::breaker::Breaker;

/// Says which breaker a request belongs to: one for all ([`Breaker`]), or by a function ([`By`]).
pub trait Choose<Request> {
    /// Its breaker; `None`: nobody watches it.
    fn choose(&self, request: &Request) -> Option<Breaker>;

    /// The breaker of every request, where there is only one. A layer can then refuse before the service within is ready.
    fn only(&self) -> Option<&Breaker> {
        None
    }
}

impl<Request> Choose<Request> for Breaker {
    fn choose(&self, _: &Request) -> Option<Breaker> {
        Some(self.clone())
    }

    fn only(&self) -> Option<&Breaker> {
        Some(self)
    }
}

/// Chooses by a function of the request, which should know the breaker or find it in [`Breakers`](crate::Breakers) without waiting.
#[derive(Clone, Copy, Debug)]
pub struct By<F>(pub(crate) F);

impl<Request, F: Fn(&Request) -> Option<Breaker>> Choose<Request> for By<F> {
    fn choose(&self, request: &Request) -> Option<Breaker> {
        (self.0)(request)
    }
}
