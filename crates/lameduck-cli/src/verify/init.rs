//! `lameduck verify --init`: gets to know a service and writes its first profile.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Write as _},
    path::Path,
    process::ExitCode,
};

use console::Term;
use lameduck_verify::{Options, Survey};

use crate::{
    exit::Failure,
    lines::{columns, hanging},
};

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Keep,
    Replace,
}

impl Existing {
    pub(super) const fn of(force: bool) -> Self {
        if force { Self::Replace } else { Self::Keep }
    }
}

/// Writes the profile, and says on stderr what was found and what was not.
pub(super) fn init(
    options: &Options,
    output: Option<&Path>,
    existing: Existing,
) -> Result<ExitCode, Failure> {
    if let Some(path) = output.filter(|path| existing == Existing::Keep && path.exists()) {
        return Err(exists(path));
    }
    eprintln!("verify: trying out {}", options.target.label);
    let survey = Survey::of(options).map_err(|error| Failure::of(&error))?;
    write(&survey.to_toml(), output, existing)?;
    let width = columns(&Term::stderr()).unwrap_or(usize::MAX);
    for line in survey.findings() {
        eprint!("{}", hanging("found      ", &line, width));
    }
    for line in survey.gaps() {
        eprint!("{}", hanging("not found  ", &line, width));
    }
    let path = output.map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
    eprintln!("next       lameduck verify --profile {path}");
    Ok(ExitCode::SUCCESS)
}

fn write(text: &str, output: Option<&Path>, existing: Existing) -> Result<(), Failure> {
    let Some(path) = output else {
        // A reader that went away has seen enough.
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(());
    };
    let mut open = OpenOptions::new();
    match existing {
        // Not replaced, not even if it appeared in the meantime.
        // EINTR: to open a file on a disk does not wait; on others the message says that a file is there, and it is.
        Existing::Keep => open.write(true).create_new(true),
        Existing::Replace => open.write(true).create(true).truncate(true),
    };
    let written = open
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(path),
        _ => Failure::new(format_args!("cannot write {}: {error}", path.display())),
    })
}

fn exists(path: &Path) -> Failure {
    Failure::new(format_args!("{} is there already", path.display()))
        .hint("--force replaces it; another --output keeps it")
}
