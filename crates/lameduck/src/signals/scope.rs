//! What ends a channel from outside: a token of ours, or any future.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::edge::signal::Registration;
use crate::inflight::Fired;
use crate::sys;

/// What ends the channel, as its reader sees it.
pub(super) struct Scope(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope")
    }
}

impl Scope {
    pub(super) fn new(end: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Box::pin(end))
    }

    pub(super) fn is_over(&mut self, waker: &Waker) -> bool {
        let mut context = Context::from_waker(waker);
        self.0.as_mut().poll(&mut context).is_ready()
    }
}

/// Wakes a reader that waits in poll(2).
#[derive(Debug)]
pub(super) struct Bell {
    read: Arc<OwnedFd>,
    pub(super) waker: Waker,
}

struct Rope {
    write: OwnedFd,
    /// A token may pull the rope when the channel has gone already. Without a reader that would be SIGPIPE, which not every program
    /// ignores.
    _read: Arc<OwnedFd>,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A pipe that is full has woken the reader already.
        sys::write_once(self.write.as_fd(), &[1]);
    }
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = sys::pipe()?;
        let read = Arc::new(read);
        let waker = Waker::from(Arc::new(Rope {
            write,
            _read: Arc::clone(&read),
        }));
        Ok(Self { read, waker })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    pub(super) fn hush(&self) {
        // Nothing there is as good as something.
        let _ = sys::read(self.fd(), &mut [0; 64]);
    }
}

/// Takes the handlers back when a token fires, whether or not anybody reads the channel.
///
/// Handlers fall silent at once. Taking them back waits for whatever handler runs at the time, so it is not done on the thread
/// that fires the token: that may be the driver's, which waits for nobody.
struct Ender(Arc<Registration>);

impl Wake for Ender {
    fn wake(self: Arc<Self>) {
        self.0.silence();
        let thread = std::thread::Builder::new().name("lameduck-signals".to_owned());
        let registration = Arc::clone(&self.0);
        // Where no thread is to be had, the channel's next call or its end does it.
        let _ = thread.spawn(move || registration.end());
    }
}

/// Ends the registration when the token fires; `None` if it has fired already. Dropped, it does nothing any more.
pub(super) fn end_with(mut fired: Fired, registration: &Arc<Registration>) -> Option<Fired> {
    let waker = Waker::from(Arc::new(Ender(Arc::clone(registration))));
    match Pin::new(&mut fired).poll(&mut Context::from_waker(&waker)) {
        Poll::Pending => Some(fired),
        Poll::Ready(()) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rope_that_outlives_its_bell_still_has_a_reader() {
        let bell = Bell::new().expect("a pipe");
        let Bell { read, waker } = bell;
        drop(read);
        // Where SIGPIPE is ignored, as here, a pipe without a reader would answer EPIPE.
        errno::set_errno(errno::Errno(0));
        waker.wake_by_ref();
        assert_eq!(errno::errno(), errno::Errno(0));
    }
}
