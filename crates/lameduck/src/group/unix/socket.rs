//! The socket of a host: whose it is, and that it is the only one at its path.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::sys;

/// How many connections wait to be accepted.
const BACKLOG: u32 = 128;

/// A listening socket that only its owner can reach; unlinked when it is dropped.
#[derive(Debug)]
pub(super) struct OwnSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Whoever has its lock is the host of this path. The file stays: unlinked, two could have a lock on one path.
    _lock: File,
}

impl OwnSocket {
    /// Takes the path over from a host that is gone.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        check_directory(path)?;
        let lock = lock(path)?;
        match fs::symlink_metadata(path) {
            // Whoever bound it held the lock that is ours now.
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
            Ok(_) => {
                return Err(told(
                    io::ErrorKind::AlreadyExists,
                    path,
                    "is there already, and is no socket",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // Before listen(2): until then nobody can connect, whatever the umask.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self {
            listener: socket.listen(BACKLOG)?,
            path: path.to_owned(),
            _lock: lock,
        })
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        // Gone already, or to be replaced by the next host.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether the other end of a connection is of our user, or root.
pub(super) fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let (peer, own) = (stream.peer_cred()?.uid(), sys::effective_uid());
    if peer == own || peer == 0 {
        return Ok(());
    }
    let what = format!("the process at the other end is of user {peer}, not {own} or root");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

/// Whether nobody but us and root can put a socket of their own in the place of ours: the rule of the control socket, for every directory on
/// the way.
fn check_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // What is looked at is what is used, whatever a link on the way points to.
    for above in fs::canonicalize(directory)?.ancestors() {
        let found = fs::metadata(above)?;
        let refused = |what| Err(told(io::ErrorKind::PermissionDenied, above, what));
        if found.uid() != 0 && found.uid() != sys::effective_uid() {
            return refused("is of another user, who could put another socket there");
        }
        // In a sticky one only the owner of a file, and of the directory, may replace it.
        if found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0 {
            return refused("is writable by others; give the socket a directory of its own");
        }
    }
    Ok(())
}

fn lock(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let lock = options.custom_flags(libc::O_NOFOLLOW).open(&name)?;
    if sys::lock_now(lock.as_fd())? {
        Ok(lock)
    } else {
        Err(told(io::ErrorKind::AddrInUse, path, "has a host already"))
    }
}

fn told(kind: io::ErrorKind, path: &Path, what: &str) -> io::Error {
    io::Error::new(kind, format!("{} {what}", path.display()))
}
