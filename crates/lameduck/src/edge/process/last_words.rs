//! The container's termination log.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What kubelet keeps of a container's termination message (its limit for one container), in bytes.
const TERMINATION_LOG_MAX: usize = 4096;

/// Kubernetes' default `terminationMessagePath`.
const PATH: &str = "/dev/termination-log";

/// Writes at most 4,096 bytes to `/dev/termination-log` if that file exists; says how many, 0 if it does not.
///
/// Longer text is cut at a character's end. Never creates the file, follows no symbolic link, and writes to nothing but
/// a regular file. The file system may make it wait: call it through [`BoundedWriter`](super::BoundedWriter).
///
/// # Errors
///
/// What open(2) and write(2) report, and `InvalidInput` when it is not a regular file.
pub(super) fn termination_log(text: &str) -> io::Result<usize> {
    write_to(Path::new(PATH), text)
}

/// Whether there is one: the container runtime makes it before the process starts. Where there is none nobody is needed to write it.
pub(crate) fn has_termination_log() -> bool {
    Path::new(PATH).symlink_metadata().is_ok()
}

fn write_to(path: &Path, text: &str) -> io::Result<usize> {
    // O_NONBLOCK: opening a FIFO without a reader fails instead of waiting for one.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let mut file = match OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    // Only now: truncating while opening would have happened before the look at what it is.
    file.set_len(0)?;
    let end = (0..=TERMINATION_LOG_MAX.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    let text = &text[..end.unwrap_or(0)];
    file.write_all(text.as_bytes())?;
    Ok(text.len())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A directory of this test's own, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lameduck-{}-{name}", std::process::id()));
            fs::create_dir(&path).expect("a fresh directory");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_writes_only_where_the_file_exists() {
        let dir = Scratch::new("absent");
        let path = dir.0.join("termination-log");
        assert_eq!(write_to(&path, "gone").expect("no error"), 0);
        assert!(!path.exists());
    }

    #[test]
    fn it_replaces_what_was_there_and_cuts_at_a_character() {
        let dir = Scratch::new("cut");
        let path = dir.0.join("termination-log");
        fs::write(&path, "x".repeat(9000)).expect("written");
        let text = format!("{}é and more", "a".repeat(TERMINATION_LOG_MAX - 1));
        assert_eq!(
            write_to(&path, &text).expect("written"),
            TERMINATION_LOG_MAX - 1
        );
        assert_eq!(
            fs::read_to_string(&path).expect("readable"),
            "a".repeat(TERMINATION_LOG_MAX - 1)
        );
        assert_eq!(write_to(&path, "short").expect("written"), 5);
        assert_eq!(fs::read_to_string(&path).expect("readable"), "short");
    }

    #[test]
    fn it_follows_no_link_and_waits_for_no_pipe() {
        let dir = Scratch::new("odd");
        let target = dir.0.join("target");
        fs::write(&target, "precious").expect("written");
        let link = dir.0.join("link");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        write_to(&link, "gone").expect_err("a link");
        assert_eq!(fs::read_to_string(&target).expect("readable"), "precious");

        write_to(Path::new("/dev/null"), "gone").expect_err("not a regular file");

        let fifo = dir.0.join("fifo");
        let made = std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo runs");
        assert!(made.success());
        write_to(&fifo, "gone").expect_err("nobody reads");
    }
}
