//! Reads reports from files, a bounded number of bytes.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use lameduck_verify::Report;

use crate::exit::Failure;

/// One more than the longest report, so that a longer one is seen to be too long.
const MOST_BYTES: u64 = (32 << 20) + 1;

pub(super) fn report(path: &Path) -> Result<Report, Failure> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(MOST_BYTES).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::new(format_args!("cannot read {}: {error}", path.display())))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new(format_args!(
            "{} is no report: it is not UTF-8",
            path.display()
        ))
    })?;
    Report::from_json(&text).map_err(|error| {
        let failure = Failure::new(format_args!("{} is no report: {error}", path.display()));
        if text.contains("lameduck.shutdown/1") && !text.contains("lameduck.verify/") {
            failure.hint(
                "this is what a service says of its own shutdown; lameduck explain tells its story",
            )
        } else {
            failure.hint("write one with lameduck verify --format json --output report.json")
        }
    })
}
