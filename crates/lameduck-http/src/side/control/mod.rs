//! The control socket (feature `control`): the admin role for whoever the kernel names, and participants from other processes.
//!
//! | module | owns |
//! |---|---|
//! | `door` | the socket's file: where it may stand, its mode, what it may replace |
//! | `caller` | who connects, as the kernel says, and who may ask |
//! | `desk` | from a request to its answer |
//! | `answers` | answers as JSON, bodies with a bound |
//! | `book` | who takes part: sessions, names, those who are away |
//! | `session` | one connection of a participant: what it is told, what it says |
//! | `join` | what somebody says who wants to take part, or gives time |

mod answers;
mod book;
mod caller;
mod desk;
mod door;
mod join;
mod session;

use std::fmt;
use std::future::{IntoFuture, Ready, ready};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lameduck::Lifecycle;
use tokio::runtime::Handle;

pub use door::ControlError;

use self::book::Book;
use self::caller::Allowed;
use self::desk::ControlDesk;
use super::admin::{AdminRoute, desk_for_control};
use super::{SideServer, start};
use crate::serve::ServeError;

/// Opens a control socket at `path`, from now until the last stop hook: for `lameduck ctl`, for curl, and for participants in other processes and other
/// languages. Await the builder to start.
///
/// It answers what [`admin`](crate::admin()) answers but the page, as JSON, and needs no token: the kernel says who asks (`SO_PEERCRED`), and only the
/// service's own user, root and [those who were allowed](Control::allow_uid) are answered. Others are refused, and stand in the audit. Who drained, cut or
/// reloaded stands in the cause and in the audit, by process, user and executable.
///
/// What answers, and how a sidecar takes part, stands in the [manual](crate::manual::control).
///
/// # The file
/// Every directory above it must belong to the service's user or root, and nobody else may write there unless it is sticky (as /tmp is): whoever could
/// rename the file could stand in for the service. The file has mode 0600 before anybody can connect. A socket that a dead process has left is replaced; one
/// on which somebody answers, one of another user, and what is no socket never are. At the end the file is removed, if it is still this one.
///
/// # Examples
/// ```no_run
/// # async fn run(life: lameduck::Lifecycle) -> Result<(), lameduck_http::ServeError> {
/// lameduck_http::control(&life, "/run/app/control.sock").await?;
/// # Ok(())
/// # }
/// ```
pub fn control(life: &Lifecycle, path: impl Into<PathBuf>) -> Control<'_> {
    Control {
        life,
        path: path.into(),
        allowed: Allowed::default(),
        routes: Vec::new(),
    }
}

/// A control socket to be; await it.
#[must_use = "a control socket opens only when it is awaited"]
pub struct Control<'a> {
    life: &'a Lifecycle,
    path: PathBuf,
    allowed: Allowed,
    routes: Vec<AdminRoute>,
}

impl Control<'_> {
    /// Answers this user too. The file has mode 0666 then, so that it can connect at all; the kernel's word keeps everybody else out.
    pub fn allow_uid(mut self, uid: u32) -> Self {
        self.allowed.uids.push(uid);
        self
    }

    /// Adds a route, as [`Admin::route`](crate::Admin::route) does; paths below `/debug/` are on here.
    pub fn route(mut self, route: AdminRoute) -> Self {
        self.routes.push(route);
        self
    }

    fn start(self) -> Result<SideServer, ServeError> {
        let runtime = Handle::try_current().map_err(|_| ServeError::Runtime)?;
        let bound = door::open(&self.path, self.allowed.mode())
            .map_err(|error| ServeError::Bind(io::Error::other(error)))?;
        let book = Book::new(self.life.clone());
        let admin = desk_for_control(&runtime, self.life, self.routes);
        let desk = ControlDesk::new(admin, self.allowed, book);
        start(self.life, bound, Arc::new(desk))
    }
}

impl IntoFuture for Control<'_> {
    type Output = Result<SideServer, ServeError>;
    type IntoFuture = Ready<Self::Output>;

    /// Starts. A path that cannot be one is [`ServeError::Bind`] with a [`ControlError`] inside. Needs a tokio runtime; never waits longer than a second, and that only for another process that starts in the same directory.
    fn into_future(self) -> Self::IntoFuture {
        ready(self.start())
    }
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("path", &self.path)
            .field("allowed", &self.allowed)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}
