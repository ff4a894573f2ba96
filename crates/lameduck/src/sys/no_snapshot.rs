//! The twin of `snapshot` where no thread can be asked for its stack: on other processors and systems.

use std::io;

/// Nothing can be made ready.
///
/// # Errors
///
/// Always `Unsupported`.
pub(crate) fn prepare() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// None: the default disposition.
pub(crate) const fn handler() -> usize {
    libc::SIG_DFL
}
