//! The socket's file: where it may stand, who may have made what stands there already, and from when on anybody can connect.
//!
//! The permissions of a Unix socket's file say who may connect, and whoever may write to its directory can put another one there: so every
//! directory on the way must be one in which nobody else can rename or remove what is ours. The file gets its mode before listen(2): until then the
//! kernel refuses every connection, so nobody comes in by the mode that bind(2) gave it, and the process' umask stays as it is.

use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lameduck::eintr;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::server::listen::{self, BACKLOG, Bound, SocketFile};

/// Bits of a mode that let others write: group and world.
const OTHERS_WRITE: u32 = 0o022;
/// In such a directory only a file's owner, the directory's, and root may rename or remove the file.
const STICKY: u32 = 0o1000;
/// `sun_path` of unix(7) less the byte that ends it.
const LONGEST: usize = 107;
/// Two that start together take turns: each holds the directory's lock for some system calls.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Binds the socket, gives its file the mode, and listens.
pub(super) fn open(path: &Path, mode: u32) -> Result<Bound, ControlError> {
    let failed = |why| ControlError {
        path: path.to_owned(),
        why,
    };
    prepare(path, mode).map_err(failed)
}

fn prepare(path: &Path, mode: u32) -> Result<Bound, Why> {
    let name = path.file_name().ok_or(Why::NoName)?;
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let directory = parent.unwrap_or_else(|| Path::new("."));
    // What is looked at is what is used, whatever becomes of a link on the way.
    let directory = fs::canonicalize(directory).map_err(Why::Directory)?;
    for above in directory.ancestors() {
        check_directory(above)?;
    }
    let path = &*directory.join(name);
    let length = path.as_os_str().len();
    if length > LONGEST {
        return Err(Why::TooLong(length));
    }
    // Whoever starts at the same time would take our file for an abandoned one between bind(2) and listen(2).
    let _turn = Turn::take(&directory)?;
    make_room(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path)?;
    let listening = fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .and_then(|()| socket.listen(BACKLOG));
    if let Err(error) = listening {
        file.remove();
        return Err(Why::Io(error));
    }
    Ok(Bound::unix(socket, path.to_owned(), file))
}

/// Whether nobody but us and root can put something else in the place of what we make there.
fn check_directory(directory: &Path) -> Result<(), Why> {
    let meta = fs::metadata(directory).map_err(Why::Directory)?;
    let whose = meta.uid();
    if whose != 0 && whose != effective_uid() {
        return Err(Why::Foreign {
            directory: directory.to_owned(),
            uid: whose,
        });
    }
    if meta.mode() & OTHERS_WRITE != 0 && meta.mode() & STICKY == 0 {
        return Err(Why::Writable {
            directory: directory.to_owned(),
            mode: meta.mode() & 0o7777,
        });
    }
    Ok(())
}

/// Removes what a process of ours that is gone has left; anything else stays, and is named.
fn make_room(path: &Path) -> Result<(), Why> {
    let meta = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !meta.file_type().is_socket() {
        return Err(Why::NoSocket);
    }
    if meta.uid() != effective_uid() {
        return Err(Why::NotOurs { uid: meta.uid() });
    }
    match listen::connect_now(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(Why::Io)
        }
        // Also where its queue is full, or it may not be connected to: somebody has it.
        Err(_) => Err(Why::InUse { pid: None }),
        Ok(stream) => {
            let pid = super::caller::peer_of(stream.as_fd()).and_then(|peer| peer.pid);
            Err(Why::InUse { pid })
        }
    }
}

/// The lock of a directory (flock(2)), for as long as it is held.
struct Turn {
    _directory: File,
}

impl Turn {
    fn take(directory: &Path) -> Result<Self, Why> {
        let directory = File::open(directory).map_err(Why::Directory)?;
        for _ in 0..LOOKS {
            // EINTR: nothing was done, and it is called again below.
            // SAFETY: takes numbers only; the descriptor is open.
            let lock = || match unsafe {
                libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB)
            } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            };
            match eintr::retry(lock) {
                Ok(()) => {
                    return Ok(Self {
                        _directory: directory,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(BETWEEN_LOOKS);
                }
                // A file system without locks: then two that start together may get in each other's way.
                Err(_) => {
                    return Ok(Self {
                        _directory: directory,
                    });
                }
            }
        }
        Err(Why::Busy)
    }
}

pub(super) fn effective_uid() -> u32 {
    // SAFETY: always succeeds, and takes nothing.
    unsafe { libc::geteuid() }
}

/// Why a control socket cannot be where it was asked for; the message says what to do.
#[derive(Debug)]
pub struct ControlError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io(io::Error),
    Directory(io::Error),
    NoName,
    TooLong(usize),
    Foreign { directory: PathBuf, uid: u32 },
    Writable { directory: PathBuf, mode: u32 },
    NoSocket,
    NotOurs { uid: u32 },
    InUse { pid: Option<u32> },
    Busy,
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no control socket at {}: ", self.path.display())?;
        match &self.why {
            Why::Io(error) => error.fmt(f),
            Why::Directory(error) => write!(f, "its directory cannot be used: {error}"),
            Why::NoName => f.write_str("the path names no file"),
            Why::TooLong(bytes) => write!(
                f,
                "the path has {bytes} bytes, and that of a Unix socket has {LONGEST} at most; give a shorter one, such as one below /run"
            ),
            Why::Foreign { directory, uid } => write!(
                f,
                "{} belongs to uid {uid}, who could put another socket there; use a directory of your own (mkdir -m 700 DIRECTORY)",
                directory.display()
            ),
            Why::Writable { directory, mode } => write!(
                f,
                "others may write to {} (mode {mode:04o}) and could put another socket there; take that from them (chmod go-w {}) or use a directory of its own (mkdir -m 700 DIRECTORY)",
                directory.display(),
                directory.display()
            ),
            Why::NoSocket => f.write_str(
                "something that is no socket stands there, and is left alone; give another path or remove it",
            ),
            Why::NotOurs { uid } => write!(
                f,
                "a socket of uid {uid} stands there, and is left alone; give another path"
            ),
            Why::InUse { pid: Some(pid) } => write!(
                f,
                "process {pid} answers there; give each process a path of its own"
            ),
            Why::InUse { pid: None } => {
                f.write_str("another process has it; give each process a path of its own")
            }
            Why::Busy => f.write_str(
                "somebody has held the lock of its directory for a second; try again, or use a directory of its own",
            ),
        }
    }
}

impl Error for ControlError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Why::Io(error) | Why::Directory(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
