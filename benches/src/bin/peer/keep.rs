//! Who waits for connections at the end: one recipe for each peer, as its documentation has it.
//!
//! Owns: what is done with each connection, and the end. Not here: accepting (`door`), axum, lameduck.

use std::io;
use std::pin::pin;
use std::time::Duration;

use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown, Watcher};
use tokio_graceful::ShutdownGuard;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::door::Door;

/// Longest wait for connections that do not end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one connection is kept with; made when it was accepted.
pub(crate) trait Keep: Send + 'static {
    /// Serves a connection to its end, or until it is told to end.
    fn keep<C>(self, connection: C) -> impl Future<Output = ()> + Send + 'static
    where
        C: GracefulConnection + Send + 'static,
        C::Error: Send;
}

/// Nobody waits.
struct Bare;

impl Keep for Bare {
    async fn keep<C>(self, connection: C)
    where
        C: GracefulConnection + Send + 'static,
        C::Error: Send,
    {
        // A client that went away is the client's business, here and below.
        let _ = connection.await;
    }
}

pub(crate) async fn bare(door: Door) -> io::Result<()> {
    door.accept(|| Bare).await;
    Ok(())
}

impl Keep for Watcher {
    async fn keep<C>(self, connection: C)
    where
        C: GracefulConnection + Send + 'static,
        C::Error: Send,
    {
        let _ = self.watch(connection).await;
    }
}

pub(crate) async fn hyper_util(door: Door) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    door.accept(|| graceful.watcher()).await;
    within(graceful.shutdown()).await
}

struct Told {
    token: CancellationToken,
    _tracked: TaskTrackerToken,
}

impl Keep for Told {
    async fn keep<C>(self, connection: C)
    where
        C: GracefulConnection + Send + 'static,
        C::Error: Send,
    {
        tell(self.token.cancelled(), connection).await;
    }
}

pub(crate) async fn tokens(door: Door) -> io::Result<()> {
    let (token, tracker) = (CancellationToken::new(), TaskTracker::new());
    door.accept(|| Told {
        token: token.clone(),
        _tracked: tracker.token(),
    })
    .await;
    token.cancel();
    tracker.close();
    within(tracker.wait()).await
}

impl Keep for ShutdownGuard {
    async fn keep<C>(self, connection: C)
    where
        C: GracefulConnection + Send + 'static,
        C::Error: Send,
    {
        tell(self.cancelled(), connection).await;
    }
}

pub(crate) async fn tokio_graceful(door: Door) -> io::Result<()> {
    let (told, tell) = tokio::sync::oneshot::channel::<()>();
    let shutdown = tokio_graceful::Shutdown::new(async {
        // It is told by the drop of the other end.
        let _ = tell.await;
    });
    let guard = shutdown.guard_weak();
    door.accept(|| guard.clone().upgrade()).await;
    drop(told);
    let ended = shutdown.shutdown_with_limit(PATIENCE).await;
    ended.map(|_| ()).map_err(io::Error::other)
}

async fn tell<C: GracefulConnection>(end: impl Future<Output = ()>, connection: C) {
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = end => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn within(end: impl Future<Output = ()>) -> io::Result<()> {
    tokio::time::timeout(PATIENCE, end)
        .await
        .map_err(|_| io::Error::other("connections did not end"))
}
