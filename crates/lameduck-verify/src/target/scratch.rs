//! Owns a directory of our own that is gone when its owner is.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{VerifyError, kin};

/// An empty directory that only this user may enter.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    stays: bool,
}

impl Scratch {
    /// Where directories for temporary files are.
    pub(crate) fn make() -> Result<Self, VerifyError> {
        Self::make_in(&std::env::temp_dir())
    }

    pub(crate) fn make_in(base: &Path) -> Result<Self, VerifyError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let failed = |error| VerifyError::Machine("make a directory for temporary files", error);
        let mut tries = 0;
        loop {
            // Relaxed: only distinct numbers are needed.
            let name = format!(
                "lameduck-{}-{}",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            );
            let path = base.join(name);
            // `create` fails where something stands already: nobody else's directory is taken.
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    kin::note_directory(&path);
                    return Ok(Self { path, stays: false });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && tries < 100 => {
                    tries += 1;
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where this program is interrupted, somebody who outlives it removes it.
    pub(crate) fn leave_to_a_guard(&self) {
        kin::forget_directory(&self.path);
    }

    /// Leaves it to the user: there is something in it that is theirs.
    pub(crate) fn keep(&mut self) {
        kin::forget_directory(&self.path);
        self.stays = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.stays {
            // What can not be removed stays; there is nobody to tell.
            let _ = fs::remove_dir_all(&self.path);
        }
        kin::forget_directory(&self.path);
    }
}
