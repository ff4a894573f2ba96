//! A last word after the end.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    driver::{Shared, Speaker},
    inflight::Fired,
    vocab::Outcome,
};

/// Something that has a last word to say when all is over: a page that is watched, an exporter. Dropping it says that the word was said.
///
/// Between the last stop hook and the end of the process the lifecycle waits for those that are alive, 100 ms at most and not past the
/// deadline. A cut waits for nobody.
#[must_use = "dropping it says that there is nothing left to say"]
pub struct Epilogue {
    shared: Arc<Shared>,
    who: Speaker,
}

impl Epilogue {
    pub(super) fn new(shared: Arc<Shared>, who: Speaker) -> Self {
        shared.epilogues().enter(who);
        Self { shared, who }
    }

    /// Waits until the outcome is known.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing (INV-8).
    pub fn begun(&self) -> Begun {
        Begun {
            begun: self.shared.epilogues().begun().fired(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Epilogue {
    fn drop(&mut self) {
        self.shared.leave_epilogue(self.who);
    }
}

impl fmt::Debug for Epilogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epilogue").finish_non_exhaustive()
    }
}

/// Resolves when the outcome is known. See [`Epilogue::begun`].
///
/// # Cancel safety
/// Cancel safe: dropping it changes nothing (INV-8).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Begun {
    begun: Fired,
    shared: Arc<Shared>,
}

impl Future for Begun {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.begun).poll(cx).map(|()| {
            self.shared
                .epilogues()
                .outcome()
                .expect("the outcome is set before the token fires")
        })
    }
}
