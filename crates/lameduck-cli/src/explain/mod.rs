//! `lameduck explain`: a shutdown report as a story. Reading is here, the story in `story`, the advice in `advice`.

mod advice;
mod story;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    process::ExitCode,
};

use lameduck::wire::Shutdown;

use crate::{args::ExplainArguments, exit::Failure};

/// The most that is read: a report is a few kilobytes, the stderr of a long life may be more.
const MOST_BYTES: u64 = 64 << 20;

pub(crate) fn run(arguments: &ExplainArguments) -> Result<ExitCode, Failure> {
    let text = read(&arguments.report)?;
    let report = Shutdown::find(&text).map_err(|error| {
        Failure::new(format_args!("{}: {error}", arguments.report.display()))
            .hint("give the file of `--report FILE`, or the stderr of a service that uses lameduck")
    })?;
    let text = story::tell(&report);
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(MOST_BYTES).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::new(format_args!("cannot read {}: {error}", path.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
