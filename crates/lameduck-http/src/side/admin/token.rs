//! The token of whoever may act: 64 hexadecimal digits in a file that nobody else can read.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lameduck::eintr;
use subtle::ConstantTimeEq as _;

/// Random bytes of a token that is made here.
const RANDOM: usize = 32;
/// What a token has at least: a word that somebody made up is no token.
const SHORTEST: usize = 16;
/// The most that is read of its file.
const LONGEST: u64 = 512;
/// Bits of a mode that let others in: group and world.
const OTHERS: u32 = 0o077;

pub(super) struct Token(Vec<u8>);

impl Token {
    /// Reads the token, or makes one where there is no file yet.
    pub(super) fn at(path: &Path) -> Result<Self, TokenError> {
        let failed = |why| TokenError {
            path: path.to_owned(),
            why,
        };
        // First, because where it is mounted nothing may be writable.
        if fs::symlink_metadata(path).is_ok() {
            return Self::read(path).map_err(failed);
        }
        match Self::make(path) {
            Err(Why::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(path).map_err(failed)
            }
            made => made.map_err(failed),
        }
    }

    fn make(path: &Path) -> Result<Self, Why> {
        let token = Self::random()?;
        // Whole before it has its name: whoever starts at the same time finds all of it, or nothing.
        let mut draft = path.as_os_str().to_owned();
        let several = u64::from_ne_bytes(random()?);
        write!(draft, ".{several:016x}").expect("writing to a string never fails");
        let draft = PathBuf::from(draft);
        let made = token.write_to(&draft).and_then(|()| link(&draft, path));
        let _ = fs::remove_file(&draft);
        made.map(|()| token).map_err(Why::Io)
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut file = eintr::create_new(path, 0o600)?;
        file.write_all(&self.0)?;
        file.write_all(b"\n")
    }

    fn random() -> Result<Self, Why> {
        let mut text = String::with_capacity(2 * RANDOM);
        for byte in random::<RANDOM>()? {
            write!(text, "{byte:02x}").expect("writing to a string never fails");
        }
        Ok(Self(text.into_bytes()))
    }

    fn read(path: &Path) -> Result<Self, Why> {
        // Whoever can put a link there chooses which file is read: none is followed. A pipe must not hold the start.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        check(&file)?;
        let mut text = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut text)?;
        let token = text.trim_ascii();
        let is_long_enough = token.len() >= SHORTEST && text.len() as u64 <= LONGEST;
        if !is_long_enough || !token.iter().all(u8::is_ascii_graphic) {
            return Err(Why::NoToken);
        }
        Ok(Self(token.to_vec()))
    }

    /// Whether it is the one; takes the same time whatever the difference.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0.ct_eq(given).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Gives `draft` the name `path`, unless something has it.
fn link(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        // A file system without hard links: then two that start together may overwrite each other.
        Err(error)
            if [Some(libc::EPERM), Some(libc::EOPNOTSUPP)].contains(&error.raw_os_error()) =>
        {
            if fs::symlink_metadata(path).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(draft, path)
        }
        linked => linked,
    }
}

fn check(file: &File) -> Result<(), Why> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Why::NoFile);
    }
    if meta.mode() & OTHERS != 0 {
        return Err(Why::Readable(meta.mode() & 0o777));
    }
    // SAFETY: takes nothing, cannot fail.
    let ours = unsafe { libc::geteuid() };
    if meta.uid() != ours && meta.uid() != 0 {
        return Err(Why::Foreign(meta.uid()));
    }
    Ok(())
}

/// Random bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A token file that cannot be used.
#[derive(Debug)]
pub struct TokenError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io(io::Error),
    /// Not a regular file.
    NoFile,
    /// Its mode.
    Readable(u32),
    /// Its owner.
    Foreign(u32),
    NoToken,
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token file {} cannot be used: ", self.path.display())?;
        match &self.why {
            Why::Io(error) => error.fmt(f),
            Why::NoFile => f.write_str("it is not a regular file"),
            Why::Readable(mode) => {
                write!(f, "others can read it (mode {mode:04o}); chmod 0600")
            }
            Why::Foreign(uid) => write!(f, "it belongs to uid {uid}"),
            Why::NoToken => write!(
                f,
                "it holds no token of {SHORTEST} to {LONGEST} visible ASCII characters; remove it, and one is made"
            ),
        }
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Why::Io(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("lameduck-token-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn file(&self, content: &[u8], mode: u32) -> PathBuf {
            let path = self.0.join("token");
            let _ = fs::remove_file(&path);
            fs::write(&path, content).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_is_made_and_found_again() {
        let folder = Folder::new("made");
        let path = folder.0.join("token");
        let made = Token::at(&path).expect("made");
        let mode = fs::metadata(&path).expect("there").mode() & 0o777;
        assert_eq!(mode, 0o600);
        let text = fs::read(&path).expect("ours");
        assert_eq!(text.len(), 2 * RANDOM + 1);
        let found = Token::at(&path).expect("read");
        assert!(found.is(&made.0) && found.is(text.trim_ascii()));
        assert!(!found.is(b"") && !found.is(&text) && !found.is(&[b'0'; 2 * RANDOM]));
        fs::remove_file(&path).expect("ours");
        let other = Token::at(&path).expect("made");
        assert!(!other.is(&made.0), "no two are the same");
    }

    #[test]
    fn those_that_start_together_agree_on_one() {
        let folder = Folder::new("together");
        let path = folder.0.join("token");
        let found: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..16).map(|_| scope.spawn(|| Token::at(&path))).collect();
            starting
                .into_iter()
                .map(|one| one.join().expect("no panic").expect("a token"))
                .collect()
        });
        assert!(found.iter().all(|one| one.is(&found[0].0)));
        let left = fs::read_dir(&folder.0).expect("ours").count();
        assert_eq!(left, 1, "no draft is left");
    }

    #[test]
    fn what_others_can_read_is_refused() {
        let folder = Folder::new("open");
        for (content, mode, part) in [
            (&b"0123456789abcdef"[..], 0o640, "(mode 0640); chmod 0600"),
            (b"0123456789abcdef", 0o604, "mode 0604"),
            (b"0123456789abcdef", 0o620, "mode 0620"),
            (b"0123456789abcde", 0o600, "no token of 16"),
            (b"0123456789 abcdef", 0o600, "no token of 16"),
            (&[b'x'; 600], 0o600, "no token of 16"),
            (b"", 0o600, "no token of 16"),
        ] {
            let error = Token::at(&folder.file(content, mode)).expect_err(part);
            assert!(error.to_string().contains(part), "{error}");
        }
        let fine = folder.file(b"  0123456789abcdef\n", 0o400);
        assert!(Token::at(&fine).expect("fine").is(b"0123456789abcdef"));
        let link = folder.0.join("link");
        std::os::unix::fs::symlink(&fine, &link).expect("ours");
        Token::at(&link).expect_err("no link is followed");
        let error = Token::at(&folder.0).expect_err("a directory");
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
