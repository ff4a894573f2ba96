//! How a channel is to be opened.

use std::future::Future;

use super::channel::{Channel, Source};
use super::scope::{Bell, Scope, end_with};
use super::waiting::Waiting;
use crate::edge::signal::{ChannelError, Handlers, Ignored, SignalFd};
use crate::inflight::Fired;
use crate::sys::{Signo, Signos};

/// How many records wait in a channel's queue, unless told otherwise. More do not fit into a pipe of the usual 64 KiB.
const BOUND: u32 = 1024;

/// A channel that is not open yet; see [`Channel::of`].
#[derive(Debug)]
#[must_use = "a channel opens with `open`"]
pub struct Opening {
    signals: Signos,
    bound: u32,
    first: Vec<Signo>,
    ignored: Ignored,
    token: Option<Fired>,
    scope: Option<Scope>,
}

impl Opening {
    pub(super) const fn new(signals: Signos) -> Self {
        Self {
            signals,
            bound: BOUND,
            first: Vec::new(),
            ignored: Ignored::Stays,
            token: None,
            scope: None,
        }
    }

    /// How many records may wait for the reader, at least 1 (1,024 unless told otherwise). What comes on top is counted by kind,
    /// and handed over as a record that says how many ([`Received::dropped`](super::Received::dropped)).
    ///
    /// A signalfd needs no queue of ours: what is not read waits in the kernel, up to `RLIMIT_SIGPENDING`.
    pub const fn bound(mut self, records: u32) -> Self {
        self.bound = if records == 0 { 1 } else { records };
        self
    }

    /// Which signals go before all others when several wait, the first one first.
    ///
    /// After them, and without this: QUIT > TERM > INT > HUP > USR2 > USR1, then the others by number, real-time ones last. Of
    /// one kind the older goes first.
    pub fn first(mut self, signals: impl IntoIterator<Item = impl Into<Signo>>) -> Self {
        self.first = signals.into_iter().map(Into::into).collect();
        self
    }

    /// Takes SIGINT, SIGQUIT and SIGHUP even if the process inherited them ignored (`nohup`, `cmd &`). Otherwise they stay
    /// ignored, as their sender meant it, and [`Channel::left_ignored`] names them.
    ///
    /// A signalfd takes them anyway: what is blocked is not ignored.
    pub const fn even_if_ignored(mut self) -> Self {
        self.ignored = Ignored::IsTaken;
        self
    }

    /// Ends the channel when a token fires, such as [`Drain::closing`](crate::Drain::closing) or
    /// [`Token::fired`](crate::inflight::Token::fired).
    ///
    /// Handlers do nothing from that moment on and are taken back, whether or not anybody reads. The reader gets what had arrived,
    /// then the end, and its descriptor is closed.
    pub fn until(mut self, fired: Fired) -> Self {
        self.scope = Some(Scope::new(fired.again()));
        self.token = Some(fired);
        self
    }

    /// Ends the channel when a future is ready: any other library's token. The reader polls it; nobody else does, so the handlers
    /// are taken back when the reader next looks.
    pub fn until_future(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        self.token = None;
        self.scope = Some(Scope::new(end));
        self
    }

    /// Opens the channel with handlers. They are chained: whoever else takes the same signals gets them too.
    ///
    /// The signals no longer do what they do by default, also when the channel is over (`signal-hook-registry`, which all share,
    /// gives nothing back). They are unblocked in the calling thread.
    ///
    /// # Errors
    ///
    /// No descriptors, a handler that the system refuses (a sandbox), or a signal that a signalfd channel holds.
    pub fn open(self) -> Result<Channel, ChannelError> {
        let bell = self.bell()?;
        self.listen(bell)
    }

    /// Opens the channel with a signalfd(2): no handler runs, and a program with several threads is told 30 % sooner.
    ///
    /// For programs that are written for it. Call [`block`](super::block) in the first line of `main`, and keep what it returns for as
    /// long as the channel: a thread that does not block a signal takes it instead, and the process dies of it. `raise` in another thread than the one that reads is not seen. Children inherit
    /// the mask unless [`process::Command`](crate::process::Command) starts them. The [manual](crate::manual::channels) has the
    /// comparison.
    ///
    /// # Errors
    ///
    /// Whatever makes it unsafe, with the reason: a thread that does not block the signals, a lifecycle, a channel or another
    /// library that takes one of them with a handler, another signalfd for one of them, a `/proc` that does not tell. Everywhere
    /// but on Linux.
    pub fn open_signalfd(self) -> Result<Channel, ChannelError> {
        let bell = self.bell()?;
        self.watch(bell)
    }

    /// As [`open`](Self::open), for tasks of a tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); and outside of a runtime.
    ///
    /// # Panics
    ///
    /// If the runtime was built without `enable_io`.
    #[cfg(feature = "tokio")]
    pub fn open_async(self) -> Result<super::AsyncChannel, ChannelError> {
        super::AsyncChannel::new(self.listen(None)?)
    }

    /// As [`open_signalfd`](Self::open_signalfd), for tasks of a tokio runtime. `#[tokio::main]` starts its threads before the first
    /// line of `main`: build the runtime by hand, after [`block`](super::block).
    ///
    /// # Errors
    ///
    /// As [`open_signalfd`](Self::open_signalfd); and outside of a runtime.
    ///
    /// # Panics
    ///
    /// If the runtime was built without `enable_io`.
    #[cfg(feature = "tokio")]
    pub fn open_signalfd_async(self) -> Result<super::AsyncChannel, ChannelError> {
        super::AsyncChannel::new(self.watch(None)?)
    }

    /// What a blocking reader is woken by; who has no scope, needs none.
    fn bell(&self) -> Result<Option<Bell>, ChannelError> {
        let bell = self.scope.as_ref().map(|_| Bell::new());
        bell.transpose().map_err(ChannelError::descriptor)
    }

    fn listen(self, bell: Option<Bell>) -> Result<Channel, ChannelError> {
        let handlers = Handlers::open(self.signals, self.bound, self.ignored)?;
        let token = self
            .token
            .and_then(|fired| end_with(fired, handlers.registration()));
        let source = Source::Handlers { handlers, token };
        let waiting = Waiting::new(self.first);
        Ok(Channel::new(
            self.signals,
            self.bound,
            source,
            waiting,
            self.scope,
            bell,
        ))
    }

    fn watch(self, bell: Option<Bell>) -> Result<Channel, ChannelError> {
        let source = Source::SignalFd(SignalFd::open(self.signals)?);
        let waiting = Waiting::new(self.first);
        Ok(Channel::new(
            self.signals,
            self.bound,
            source,
            waiting,
            self.scope,
            bell,
        ))
    }
}
