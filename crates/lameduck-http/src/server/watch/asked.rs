//! The cancellations of a connection and of its request, made where a handler asks for one: nobody else pays for them.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lameduck::inflight::{Cancellation, Canceller};
use lameduck::{Scope, Why};

use super::Watch;

/// See the module.
#[derive(Debug)]
pub(super) struct Asked {
    connection: Connection,
    /// None between two requests, and before one asks.
    request: Mutex<Option<Canceller>>,
}

/// Whose connection it is: the notes of the connection itself end it, and those of its streams do not.
#[derive(Debug)]
enum Connection {
    Own(Canceller),
    Of(Cancellation),
}

impl Asked {
    fn connection(&self) -> &Cancellation {
        match &self.connection {
            Connection::Own(canceller) => canceller.cancellation(),
            Connection::Of(cancellation) => cancellation,
        }
    }

    /// Who may end it.
    const fn owner(&self) -> Option<&Canceller> {
        match &self.connection {
            Connection::Own(canceller) => Some(canceller),
            Connection::Of(_) => None,
        }
    }

    fn request(&self) -> MutexGuard<'_, Option<Canceller>> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Of the request that is open; of the connection where none is.
    pub(crate) fn cancellation(&self) -> Cancellation {
        let asked = self.asked();
        if !self.is_open() {
            return asked.connection().clone();
        }
        let mut request = asked.request();
        let canceller = request.get_or_insert_with(|| asked.connection().scoped(Scope::Request));
        canceller.cancellation().clone()
    }

    fn asked(&self) -> &Asked {
        self.asked.get_or_init(|| {
            let connection = match &self.connection {
                Some(connection) => Connection::Of(connection.asked().connection().clone()),
                None => {
                    let peer = match self.peer {
                        Some(peer) => peer.to_string(),
                        None => "a Unix socket".to_owned(),
                    };
                    let scope = Scope::Connection(peer.into());
                    Connection::Own(self.shared.cancellation.scoped(scope))
                }
            };
            Box::new(Asked {
                connection,
                request: Mutex::new(None),
            })
        })
    }

    /// Whether somebody asked. For requests of which nobody did, all that this costs: a load.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.get().is_some()
    }

    /// Whether somebody may still be waiting to hear of the connection's end: then its notes may not be put aside.
    pub(crate) fn is_waited_for(&self) -> bool {
        let owner = self.asked.get().and_then(|asked| asked.owner());
        owner.is_some_and(Canceller::is_watched)
    }

    /// The request is over.
    pub(crate) fn end_request(&self, why: Why) {
        let Some(asked) = self.asked.get() else {
            return;
        };
        // Outside the lock: whoever is woken may ask.
        let canceller = asked.request().take();
        if let Some(canceller) = canceller {
            canceller.cancel_because(why, self.shared.life.cause());
        }
    }

    /// The connection is over.
    pub(crate) fn end_connection(&self) {
        if let Some(owner) = self.asked.get().and_then(|asked| asked.owner()) {
            owner.cancel_because(Why::Ended, self.shared.life.cause());
        }
    }

    /// The client does not want this stream's answer any longer.
    pub(crate) fn note_reset(&self) {
        self.ended_by_peer.store(true, Relaxed);
    }

    /// Whether the client is known to have gone away.
    pub(crate) fn is_client_gone(&self) -> bool {
        let of_connection = self.connection.as_ref();
        self.is_ended_by_peer() || of_connection.is_some_and(|watch| watch.is_ended_by_peer())
    }
}
