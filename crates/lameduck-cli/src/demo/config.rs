//! What a reload changes: the greeting and the limits.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The most bytes of a configuration file.
const MOST_BYTES: u64 = 64 * 1024;

/// The configuration file: JSON, every field optional, unknown fields refused.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    /// What `GET /` answers.
    pub(super) greeting: String,
    /// The most bytes that `POST /echo` takes.
    pub(super) max_echo_bytes: usize,
    /// The most milliseconds that a parameter may ask for.
    pub(super) max_ms: u64,
    /// The most bytes that `GET /large` sends.
    pub(super) max_large_bytes: u64,
    /// The most chunks that `GET /stream` sends.
    pub(super) max_chunks: u32,
    /// The most bytes that `POST /upload` reads.
    pub(super) max_upload_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            greeting: "hello\n".to_owned(),
            max_echo_bytes: 1 << 20,
            max_ms: 3_600_000,
            max_large_bytes: 1 << 30,
            max_chunks: 100_000,
            max_upload_bytes: 1 << 30,
        }
    }
}

impl Config {
    /// Reads a file. Only a regular one: a pipe would hold the start, and a device need not end.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError {
            path: path.to_owned(),
            source,
        };
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let mut text = String::new();
        let file = fs::File::open(path).map_err(failed)?;
        let read = file.take(MOST_BYTES + 1).read_to_string(&mut text);
        if read.map_err(failed)? as u64 > MOST_BYTES {
            return Err(failed(io::Error::other(format!(
                "more than {MOST_BYTES} bytes"
            ))));
        }
        serde_json::from_str(&text).map_err(|error| failed(io::Error::other(error)))
    }
}

/// A configuration file that cannot be used.
#[derive(Debug)]
pub(super) struct ConfigError {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration {}: {}", self.path.display(), self.source)
    }
}
