//! What the duck keeps outside of its memory: a configuration that it reads again, and files that it removes.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Broken, requests are dropped for so long after a reload.
const DROPPING: Duration = Duration::from_millis(300);

/// The configuration: one line, `greeting: …`.
#[derive(Debug, Default)]
pub(crate) struct Config {
    path: Option<PathBuf>,
    text: Mutex<String>,
    read_at: Mutex<Option<Instant>>,
}

impl Config {
    pub(crate) fn read(path: Option<PathBuf>) -> Self {
        let text = path.as_ref().map(std::fs::read_to_string);
        Self {
            text: Mutex::new(text.and_then(Result::ok).unwrap_or_default()),
            path,
            read_at: Mutex::new(None),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.text.lock().expect("no holder panics").clone()
    }

    /// Takes what stands in the file, if it is good or `broken` is.
    pub(crate) fn read_again(&self, broken: &str) {
        let Some(text) = self.path.as_ref().map(std::fs::read_to_string) else {
            return;
        };
        let text = text.unwrap_or_default();
        if text.starts_with("greeting: ") && text.ends_with('\n') || broken == "P7" {
            *self.text.lock().expect("no holder panics") = text;
        }
        *self.read_at.lock().expect("no holder panics") = Some(Instant::now());
    }

    /// A reload was a moment ago.
    pub(crate) fn is_fresh(&self) -> bool {
        let read_at = self.read_at.lock().expect("no holder panics");
        read_at.is_some_and(|at| at.elapsed() < DROPPING)
    }
}

/// A temporary file and a socket path; both go with their owner.
#[derive(Debug)]
pub(crate) struct Belongings {
    file: PathBuf,
    socket: PathBuf,
    stays: bool,
    _listener: Option<UnixListener>,
}

impl Belongings {
    /// Only in a directory that the tester made: nobody else's is littered.
    pub(crate) fn put(broken: &str) -> Option<Self> {
        let directory = PathBuf::from(std::env::var_os("TMPDIR")?);
        let name = directory.file_name()?.to_str()?;
        name.starts_with("lameduck-").then_some(())?;
        let (file, socket) = (directory.join("duck.tmp"), directory.join("duck.sock"));
        std::fs::write(&file, "quack\n").ok()?;
        if broken == "P10-child" {
            // Nobody waits for it.
            let _ = Command::new("sleep").arg("60").spawn();
        }
        Some(Self {
            file,
            _listener: UnixListener::bind(&socket).ok(),
            socket,
            stays: broken == "P10",
        })
    }
}

impl Drop for Belongings {
    fn drop(&mut self) {
        if !self.stays {
            let _ = std::fs::remove_file(&self.file);
            let _ = std::fs::remove_file(&self.socket);
        }
    }
}
