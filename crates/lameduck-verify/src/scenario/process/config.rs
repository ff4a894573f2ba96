//! Owns the file that a target reads its configuration from: ours, or the user's, which is written through (links, mode
//! and owner stay) and is put back on every way out.
//! Not: when it is written, or what the target makes of it (see `reload`).

use std::fs::{self, File, OpenOptions};
use std::io::{Error, Read, Result, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::target::Scratch;

/// A configuration of the user is no larger than this, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Puts the file back if we are gone before we could: our end of its standard input closes then. Only then is our
/// directory, with the copy in it, removed. What it is told is `done` when that was done in the ordinary way.
const GUARD: &str = "read -r word; [ \"$word\" = done ] && exit 0; cat \"$KEPT\" >\"$FILE\" && rm -r -- \"$SCRATCH\"";

/// The file that the target reads; what stood in it is put back.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    theirs: Option<Theirs>,
    scratch: Scratch,
}

/// What is owed to a file that is not ours.
#[derive(Debug)]
struct Theirs {
    before: Vec<u8>,
    /// A copy that outlives us.
    kept: PathBuf,
    guard: Child,
}

impl ConfigFile {
    /// The user's `file`, or else one of our own; `text` is what stands in it from now on.
    pub(super) fn prepare(file: Option<&Path>, text: &str, scratch: Scratch) -> Result<Self> {
        let config = match file {
            None => Self {
                path: scratch.path().join("config"),
                theirs: None,
                scratch,
            },
            Some(path) => {
                // What a link points at is written, not the link. The target may run in another directory than we do.
                let path = fs::canonicalize(path)?;
                let theirs = Theirs::keep(&path, &scratch)?;
                Self {
                    path,
                    theirs: Some(theirs),
                    scratch,
                }
            }
        };
        config.write(text)?;
        Ok(config)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Ours in one go, as a careful operator does: nobody reads half a file. Theirs in place: a new file in its stead
    /// would have another owner, another mode, and no part in links and mounts.
    pub(super) fn write(&self, text: &str) -> Result<()> {
        if self.theirs.is_some() {
            return write_in_place(&self.path, text.as_bytes());
        }
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, text)?;
        fs::rename(&fresh, &self.path)
    }

    /// Puts back what stood in it.
    ///
    /// # Errors
    /// Names the copy, which stays then.
    pub(super) fn put_back(mut self) -> Result<()> {
        self.restore()
    }

    fn restore(&mut self) -> Result<()> {
        let Some(mut theirs) = self.theirs.take() else {
            return Ok(());
        };
        let done = write_in_place(&self.path, &theirs.before);
        // Were the guard let go without this word, it would try as well.
        if let Some(mut word) = theirs.guard.stdin.take() {
            let _ = word.write_all(b"done\n");
        }
        let _ = theirs.guard.wait();
        done.map_err(|error| {
            self.scratch.keep();
            let (path, kept) = (self.path.display(), theirs.kept.display());
            let how = format!("{path}: {error}; what stood in it is kept in {kept}");
            Error::new(error.kind(), how)
        })
    }
}

impl Drop for ConfigFile {
    /// On the ways out on which another error is told.
    fn drop(&mut self) {
        let _ = self.restore();
    }
}

impl Theirs {
    fn keep(path: &Path, scratch: &Scratch) -> Result<Self> {
        let mut before = Vec::new();
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(Error::other(format!("{} is no file", path.display())));
        }
        file.take(MAX_BYTES + 1).read_to_end(&mut before)?;
        if before.len() as u64 > MAX_BYTES {
            let how = format!("{} is larger than {MAX_BYTES} bytes", path.display());
            return Err(Error::other(how));
        }
        // Nobody else may enter the directory, so the mode of the copy does not matter.
        scratch.leave_to_a_guard();
        let kept = scratch.path().join("before");
        fs::write(&kept, &before)?;
        let guard = Command::new("sh")
            .args(["-c", GUARD])
            .env("KEPT", &kept)
            .env("FILE", path)
            .env("SCRATCH", scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self {
            before,
            kept,
            guard,
        })
    }
}

/// The same file, other contents. Cut to length last: nobody finds it empty.
fn write_in_place(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn theirs(directory: &Scratch) -> (PathBuf, PathBuf) {
        let (file, link) = (
            directory.path().join("service.toml"),
            directory.path().join("link.toml"),
        );
        fs::write(&file, "mine, and longer than ours\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink("service.toml", &link).unwrap();
        (file, link)
    }

    fn is_as_before(file: &Path, link: &Path) -> bool {
        let mode = fs::metadata(file).unwrap().permissions().mode() & 0o777;
        let text = fs::read_to_string(file).unwrap();
        mode == 0o600
            && text == "mine, and longer than ours\n"
            && fs::symlink_metadata(link).unwrap().is_symlink()
    }

    #[test]
    fn a_file_of_the_user_keeps_its_link_and_mode_and_gets_its_text_back() {
        let directory = Scratch::make().unwrap();
        let (file, link) = theirs(&directory);
        let config = ConfigFile::prepare(Some(&link), "first", Scratch::make().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), "first");
        config.write("{").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "{");
        assert_eq!(config.path(), fs::canonicalize(&file).unwrap());
        let ours = config.scratch.path().to_owned();
        config.put_back().unwrap();
        assert!(is_as_before(&file, &link));
        assert!(!ours.exists());
    }

    /// What is left of us after Ctrl-C is a closed pipe.
    #[test]
    fn the_guard_puts_it_back_when_we_are_gone() {
        let directory = Scratch::make().unwrap();
        let (file, link) = theirs(&directory);
        let mut config =
            ConfigFile::prepare(Some(&link), "first", Scratch::make().unwrap()).unwrap();
        config.write("{").unwrap();
        let mut theirs = config.theirs.take().unwrap();
        drop(theirs.guard.stdin.take());
        theirs.guard.wait().unwrap();
        assert!(is_as_before(&file, &link));
        assert!(!config.scratch.path().exists());
    }

    #[test]
    fn where_it_can_not_be_put_back_the_copy_stays_and_is_named() {
        let directory = Scratch::make().unwrap();
        let (file, link) = theirs(&directory);
        let config = ConfigFile::prepare(Some(&link), "first", Scratch::make().unwrap()).unwrap();
        let ours = config.scratch.path().to_owned();
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let error = config.put_back().unwrap_err().to_string();
        let kept = ours.join("before");
        assert!(error.contains(&*kept.to_string_lossy()), "{error}");
        assert_eq!(
            fs::read_to_string(&kept).unwrap(),
            "mine, and longer than ours\n"
        );
        fs::remove_dir_all(&ours).unwrap();
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let scratch = Scratch::make().unwrap();
        let prepared = ConfigFile::prepare(Some(Path::new("/dev/null")), "first", scratch);
        assert!(prepared.unwrap_err().to_string().contains("is no file"));
    }
}
