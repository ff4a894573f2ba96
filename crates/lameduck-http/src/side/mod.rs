//! The probes and admin listeners: small servers beside the service, that answer until the last hook.
//!
//! Owns what they have in common. They are no participants: they neither count as in flight nor against quiet, and outlive the drain.
//!
//! | module | owns |
//! |---|---|
//! | `accept` | the accept loop, the places, one connection from accept to its end |
//! | `role` | what each role answers, and what every answer bears |
//! | `admin` | the admin role: who may ask, its routes, the page, the events, the actions |
//! | `control` | the control socket: who may ask, by the kernel's word; what the admin role does, and participants from other processes |

mod accept;
mod admin;
#[cfg(feature = "control")]
mod control;
mod role;

use std::sync::Arc;

use lameduck::Lifecycle;
use tokio::runtime::Handle;

pub use admin::{Admin, AdminRequest, AdminRoute, TokenError, admin};
#[cfg(feature = "control")]
pub use control::{Control, ControlError, control};
pub(crate) use role::text;

use self::role::{Probes, Role};
use crate::serve::ServeError;
use crate::server::listen::{Bound, LocalAddr, ToListenAddr};

/// Answers `/livez`, `/readyz`, `/startupz` and `/lbz` on `addr`, from now until the last stop hook.
///
/// One request a connection, at most 64 connections at the same time. A request head has one second, a connection two: past it the
/// connection is dropped without an answer. Where all 64 places are taken, whoever has sent no head for longest gives its place up.
///
/// # Errors
/// When the address cannot be bound, or there is no tokio runtime.
///
/// # Cancel safety
/// It never waits: once polled it has started, before that dropping it changes nothing.
pub async fn probes(life: &Lifecycle, addr: impl ToListenAddr) -> Result<SideServer, ServeError> {
    start(life, bind(&addr)?, Arc::new(Probes))
}

/// A probes or admin listener. Dropping the handle changes nothing.
#[derive(Clone, Debug)]
pub struct SideServer {
    local: LocalAddr,
}

impl SideServer {
    /// Where it listens, with the port that the kernel chose for port 0.
    #[must_use]
    pub const fn local_addr(&self) -> &LocalAddr {
        &self.local
    }
}

fn bind(addr: &impl ToListenAddr) -> Result<Bound, ServeError> {
    addr.to_listen_addr()
        .and_then(|addr| Bound::bind(&addr))
        .map_err(ServeError::Bind)
}

fn start(life: &Lifecycle, bound: Bound, role: Arc<dyn Role>) -> Result<SideServer, ServeError> {
    let runtime = Handle::try_current().map_err(|_| ServeError::Runtime)?;
    let local = bound.local.clone();
    let (bound, file) = bound.into_parts();
    let listener = accept::listen(bound).map_err(ServeError::Bind)?;
    let life = life.clone();
    // A file is removed while the process is still there.
    let last = file.is_some().then(|| life.epilogue());
    runtime.spawn(async move {
        let accepting = accept::accept(&life, listener, role);
        let end = async {
            match &last {
                Some(last) => tokio::select! {
                    _ = last.begun() => {}
                    _ = life.outcome() => {}
                },
                None => {
                    let _ = life.outcome().await;
                }
            }
        };
        tokio::pin!(accepting);
        tokio::select! {
            () = &mut accepting => {}
            () = end => {}
        }
        // Before the socket is closed: as long as it is open, no successor's file can have its inode.
        if let Some(file) = file {
            file.remove();
        }
    });
    Ok(SideServer { local })
}
