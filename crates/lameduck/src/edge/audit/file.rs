//! A file that is only appended to, and set aside when it has grown.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use crate::sys::{self, eintr};

/// When a file is set aside, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    bytes: u64,
    keep: u32,
}

impl Rotation {
    /// Less than this would set a file aside for every few records.
    const LEAST_BYTES: u64 = 4 << 10;

    pub(super) fn new(bytes: u64, keep: u32) -> Self {
        Self {
            bytes: bytes.max(Self::LEAST_BYTES),
            keep: keep.max(1),
        }
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            bytes: super::Audit::ROTATE,
            keep: super::Audit::KEEP,
        }
    }
}

/// A file that is appended to.
///
/// Several processes may append to the same one: each record is one write with O_APPEND. It is opened anew when somebody
/// else (another process, logrotate) has moved it away.
#[derive(Debug)]
pub(super) struct AppendFile {
    path: PathBuf,
    mode: u32,
    rotation: Rotation,
    open: Option<Open>,
    /// Why it could not be set aside, until it was said: records go on into a file that is too large rather than nowhere.
    stuck: Option<io::Error>,
    /// Whether that was said.
    stuck_said: bool,
    /// A record was written in part, such as when the disk became full: the next begins on a line of its own.
    torn: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: (u64, u64),
    /// Devices and pipes do not grow, and have no disk.
    is_regular: bool,
}

impl AppendFile {
    pub(super) const fn new(path: PathBuf, mode: u32, rotation: Rotation) -> Self {
        Self {
            path,
            mode,
            rotation,
            open: None,
            stuck: None,
            stuck_said: false,
            torn: false,
        }
    }

    /// Appends a line.
    ///
    /// # Errors
    /// What open(2) and write(2) report; `WriteZero` when only a part was written.
    pub(super) fn append(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + u64::from(self.torn);
        let mut open = self.reopen()?;
        if open.is_regular {
            let size = open.file.metadata()?.len();
            if size > 0 && size + length > self.rotation.bytes {
                match self.set_aside(&open) {
                    // Its size may have been somebody else's doing; what is open now is the youngest.
                    Ok(()) => {
                        self.stuck_said = false;
                        self.open = Some(open);
                        open = self.reopen()?;
                    }
                    Err(why) => self.note_stuck(&why),
                }
            }
        }
        let torn = self.torn;
        let bytes = if torn {
            format!("\n{line}")
        } else {
            line.to_owned()
        };
        let written = write_once(&open.file, bytes.as_bytes());
        self.open = Some(open);
        match written {
            Ok(count) if count == bytes.len() => {
                self.torn = false;
                Ok(())
            }
            Ok(count) => {
                self.torn = torn || count > 0;
                Err(io::ErrorKind::WriteZero.into())
            }
            Err(error) => Err(error),
        }
    }

    fn note_stuck(&mut self, why: &io::Error) {
        if !std::mem::replace(&mut self.stuck_said, true) {
            let bytes = self.rotation.bytes;
            let why = format!("it cannot be set aside ({why}) and grows beyond {bytes} bytes");
            self.stuck = Some(io::Error::other(why));
        }
    }

    /// Why it could not be set aside, once.
    pub(super) fn take_stuck(&mut self) -> Option<io::Error> {
        self.stuck.take()
    }

    /// # Errors
    /// What fdatasync(2) reports.
    pub(super) fn sync(&self) -> io::Result<()> {
        match &self.open {
            Some(open) if open.is_regular => open.file.sync_data(),
            _ => Ok(()),
        }
    }

    /// The file that has the name now.
    fn reopen(&mut self) -> io::Result<Open> {
        match self.open.take() {
            Some(open) if self.is_there(&open) => Ok(open),
            _ => self.open_path(),
        }
    }

    /// Whether this file has the name still.
    fn is_there(&self, open: &Open) -> bool {
        let found = fs::symlink_metadata(&self.path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == open.id)
    }

    /// Opens it, or makes it. What an attacker may have put there is not written to: a link, or a file of theirs.
    fn open_path(&self) -> io::Result<Open> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(self.mode)
            // O_NONBLOCK: opening a FIFO that nobody reads is an error, not a wait.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
            .open(&self.path)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP) => {
                    io::Error::other("it is a symbolic link; name the file itself")
                }
                _ => error,
            })?;
        let found = file.metadata()?;
        let kind = found.file_type();
        let is_regular = kind.is_file();
        if !is_regular && !kind.is_fifo() && !kind.is_char_device() {
            return Err(io::Error::other("it is no file, pipe or character device"));
        }
        if is_regular && ![sys::effective_uid(), 0].contains(&found.uid()) {
            let why = format!("it belongs to another user (uid {})", found.uid());
            return Err(io::Error::other(why));
        }
        Ok(Open {
            file,
            id: (found.dev(), found.ino()),
            is_regular,
        })
    }

    /// `FILE` becomes `FILE.1`, that `FILE.2`, and so on up to the first number that is free; the oldest is overwritten.
    fn set_aside(&self, open: &Open) -> io::Result<()> {
        // Another process that appends to the same file may be doing it: then it is done.
        if !sys::lock_now(open.file.as_fd())? {
            return Ok(());
        }
        let done = self.rename_all(open);
        if done.is_err() {
            // Otherwise the lock ends with the file, which nobody writes to any longer; now somebody does, and others may have more luck.
            sys::unlock(open.file.as_fd());
        }
        done
    }

    fn rename_all(&self, open: &Open) -> io::Result<()> {
        if !self.is_there(open) {
            return Ok(());
        }
        open.file.sync_data()?;
        // What failed before left a gap: nothing beyond it is moved again.
        let free = (1..self.rotation.keep)
            .find(|number| fs::symlink_metadata(numbered(&self.path, *number)).is_err());
        for number in (1..free.unwrap_or(self.rotation.keep)).rev() {
            let younger = numbered(&self.path, number);
            match fs::rename(&younger, numbered(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(&self.path, 1))
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// One write(2), repeated only when it was interrupted before it wrote anything.
fn write_once(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    eintr::repeat(|| file.write(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// A directory of this test's own, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lameduck-{}-{name}", std::process::id()));
            fs::create_dir(&path).expect("a fresh directory");
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("audit.jsonl")
        }

        fn read(&self, suffix: &str) -> String {
            let mut name = self.file().into_os_string();
            name.push(suffix);
            fs::read_to_string(name).unwrap_or_default()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn line(number: usize) -> String {
        format!("{number:>1023}\n")
    }

    #[test]
    fn a_file_is_made_for_its_owner_alone_and_appended_to() {
        let dir = Scratch::new("audit-made");
        let mut file = AppendFile::new(dir.file(), 0o600, Rotation::default());
        file.append("one\n").expect("written");
        let mut other = AppendFile::new(dir.file(), 0o600, Rotation::default());
        other.append("two\n").expect("written");
        file.append("three\n").expect("written");
        file.sync().expect("synced");
        assert_eq!(dir.read(""), "one\ntwo\nthree\n");
        let mode = fs::metadata(dir.file())
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn it_is_set_aside_by_size_and_so_many_are_kept() {
        let dir = Scratch::new("audit-aside");
        let mut file = AppendFile::new(dir.file(), 0o600, Rotation::new(4 << 10, 2));
        for number in 0..14 {
            file.append(&line(number)).expect("written");
        }
        // Four to a file: 0 to 3 are gone.
        let numbers = |suffix| {
            let text = dir.read(suffix);
            text.split_whitespace()
                .map(|word| word.parse().expect("a number"))
                .collect::<Vec<usize>>()
        };
        assert_eq!(numbers(""), [12, 13]);
        assert_eq!(numbers(".1"), [8, 9, 10, 11]);
        assert_eq!(numbers(".2"), [4, 5, 6, 7]);
        assert!(!dir.0.join("audit.jsonl.3").exists());
    }

    #[test]
    fn what_cannot_be_set_aside_grows_and_is_said_once() {
        let dir = Scratch::new("audit-stuck");
        let mut file = AppendFile::new(dir.file(), 0o600, Rotation::new(4 << 10, 1));
        // A directory that is not empty cannot be overwritten by a file.
        fs::create_dir_all(dir.0.join("audit.jsonl.1/full")).expect("made");
        let mut said = Vec::new();
        for number in 0..9 {
            file.append(&line(number)).expect("written all the same");
            file.sync().expect("synced all the same");
            said.extend(file.take_stuck());
        }
        assert_eq!(dir.read("").lines().count(), 9);
        let [once] = &said[..] else {
            panic!("{said:?}");
        };
        let why = once.to_string();
        assert!(
            why.contains("cannot be set aside") && why.contains("4096"),
            "{why}"
        );

        // Another process is not kept from it, once somebody has made room.
        fs::remove_dir_all(dir.0.join("audit.jsonl.1")).expect("removed");
        let mut other = AppendFile::new(dir.file(), 0o600, Rotation::new(4 << 10, 1));
        other.append(&line(9)).expect("written");
        assert_eq!(dir.read("").lines().count(), 1);
        assert_eq!(dir.read(".1").lines().count(), 9);
    }

    #[test]
    fn what_stands_behind_a_gap_stays_where_it_is() {
        let dir = Scratch::new("audit-gap");
        let mut file = AppendFile::new(dir.file(), 0o600, Rotation::new(4 << 10, 5));
        // Four to a file: .1 to .4 are there.
        for number in 0..20 {
            file.append(&line(number)).expect("written");
        }
        // As a last rename that fails leaves it, again and again.
        fs::remove_file(dir.0.join("audit.jsonl.2")).expect("there");
        file.append(&line(20)).expect("written");
        let first = |suffix| -> usize {
            let text = dir.read(suffix);
            let word = text.split_whitespace().next().expect("a line");
            word.parse().expect("a number")
        };
        let firsts = ["", ".1", ".2", ".3", ".4"].map(first);
        assert_eq!(firsts, [20, 16, 12, 4, 0]);
    }

    #[test]
    fn two_that_append_to_one_file_lose_nothing_when_it_is_set_aside() {
        let dir = Scratch::new("audit-two");
        let rotation = Rotation::new(8 << 10, 64);
        let write = |from: usize| {
            let mut file = AppendFile::new(dir.file(), 0o600, rotation);
            move || {
                (from..from + 100).for_each(|number| file.append(&line(number)).expect("written"))
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(write(0));
            scope.spawn(write(100));
        });
        let mut found: Vec<usize> = (0..=64)
            .map(|number| {
                if number == 0 {
                    String::new()
                } else {
                    format!(".{number}")
                }
            })
            .flat_map(|suffix| {
                let text = dir.read(&suffix);
                text.split_whitespace()
                    .map(|word| word.parse().expect("whole lines"))
                    .collect::<Vec<usize>>()
            })
            .collect();
        found.sort_unstable();
        assert!(found.into_iter().eq(0..200));
    }

    #[test]
    fn it_follows_who_moves_it_away() {
        let dir = Scratch::new("audit-moved");
        let mut file = AppendFile::new(dir.file(), 0o600, Rotation::default());
        file.append("one\n").expect("written");
        fs::rename(dir.file(), dir.0.join("audit.jsonl.old")).expect("moved");
        file.append("two\n").expect("written");
        assert_eq!(dir.read(""), "two\n");
    }

    #[test]
    fn what_may_be_a_trap_is_refused_and_nothing_waits() {
        let dir = Scratch::new("audit-traps");
        let precious = dir.0.join("precious");
        fs::write(&precious, "precious").expect("written");
        symlink(&precious, dir.file()).expect("a link");
        let mut file = AppendFile::new(dir.file(), 0o600, Rotation::default());
        let refused = file.append("x\n").expect_err("a link");
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        assert_eq!(fs::read_to_string(&precious).expect("there"), "precious");

        fs::remove_file(dir.file()).expect("removed");
        let made = std::process::Command::new("mkfifo")
            .arg(dir.file())
            .status();
        assert!(made.expect("mkfifo runs").success());
        file.append("x\n").expect_err("nobody reads it");

        fs::remove_file(dir.file()).expect("removed");
        file.append("x\n").expect("a file at last");
        assert_eq!(dir.read(""), "x\n");
    }

    #[test]
    fn a_full_disk_is_an_error_each_time() {
        let mut full = AppendFile::new("/dev/full".into(), 0o600, Rotation::default());
        for _ in 0..2 {
            let error = full.append("x\n").expect_err("no room");
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        }
        full.sync().expect("nothing to sync");
    }
}
