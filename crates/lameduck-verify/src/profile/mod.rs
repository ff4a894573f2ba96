//! Owns profiles: what a service is and what may be expected of it, in a file that is kept beside its code.
//! Not: writing a first one (see `survey`), or what the declarations do (see `declared` and `scenario`).

mod apply;
mod error;
mod form;
mod values;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use crate::declared::Authorities;
use crate::options::{Options, TargetSpec};

pub use error::ProfileError;
pub(crate) use error::nearest;

use form::Form;

/// A profile is no larger than this, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// A target profile: how a service is started, where it answers, what it promises, and which checks are waived.
///
/// Written in TOML; `lameduck verify --init` writes a first one. It names a command that is run, so it is read only where
/// somebody names the file, and never found by itself.
///
/// # Examples
/// ```
/// use lameduck_verify::{Profile, Verification};
///
/// let profile = Profile::parse(
///     r#"
///     [target]
///     command = ["./serve", "--port", "{port}"]
///     [paths]
///     slow = "/slow?ms={ms}"
///     [[waive]]
///     id = "H1-08"
///     reason = "no client of ours pipelines"
///     "#,
/// )?;
/// let verification = Verification::from(profile.options());
/// # let _ = verification;
/// # Ok::<(), lameduck_verify::ProfileError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    form: Form,
    authorities: Option<Authorities>,
    /// Where it was read from; file names in it are relative to that file.
    path: Option<PathBuf>,
}

impl Profile {
    /// Reads a profile from a file.
    ///
    /// # Errors
    /// Says which line of it can not be used, and what may have been meant; or why it can not be read.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let text = read_bounded(path).map_err(|error| ProfileError::unreadable(path, &error))?;
        Self::of(&text, Some(path)).map_err(|error| error.in_file(path))
    }

    /// Reads a profile from text. File names in it are relative to the working directory.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        Self::of(text, None)
    }

    fn of(text: &str, path: Option<&Path>) -> Result<Self, ProfileError> {
        let form: Form = toml::from_str(text).map_err(|error| ProfileError::of(text, &error))?;
        form.check()
            .map_err(|(at, message)| ProfileError::at(text, at, message))?;
        let mut profile = Self {
            form,
            authorities: None,
            path: path.map(Path::to_owned),
        };
        profile.read_authorities(text)?;
        Ok(profile)
    }

    fn read_authorities(&mut self, text: &str) -> Result<(), ProfileError> {
        let Some(file) = &self.form.tls.authorities else {
            return Ok(());
        };
        let path = self.beside(file.get_ref());
        let said = |message: String| {
            ProfileError::at(
                text,
                file.span().start,
                format!("{}: {message}", path.display()),
            )
        };
        let pem = read_bounded(&path).map_err(|error| said(error.to_string()))?;
        self.authorities =
            Some(Authorities::from_pem(pem.as_bytes()).map_err(|error| said(error.to_string()))?);
        Ok(())
    }

    /// The options that it stands for, everything else at its default.
    #[must_use]
    pub fn options(&self) -> Options {
        let mut options = Options::new(TargetSpec::default());
        self.apply(&mut options);
        options
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The file with the authorities that it trusts.
    pub(crate) fn authorities(&self) -> Option<PathBuf> {
        let file = self.form.tls.authorities.as_ref()?;
        Some(self.beside(file.get_ref()))
    }

    /// A file that it names: relative names are relative to the profile.
    fn beside(&self, file: &str) -> PathBuf {
        let directory = self.path.as_deref().and_then(Path::parent);
        directory.map_or_else(|| PathBuf::from(file), |directory| directory.join(file))
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    if text.len() > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}
