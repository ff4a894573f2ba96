//! What a service writes down of each request: a line when its handler begins, one when its hook runs, one at the end.
//!
//! Owns the file's form, on both sides, and the address that the front looks up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::Tally;

/// A service's side.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<BufWriter<File>>);

impl Ledger {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(BufWriter::new(File::create_new(path)?))))
    }

    pub(crate) fn begin(&self, id: u64) {
        self.write(format_args!("begin {id}"));
    }

    pub(crate) fn end(&self, id: u64, how: &str) {
        self.write(format_args!("end {id} {how}"));
    }

    /// What is counted at the end of the process; what should be zero is named so.
    pub(crate) fn left(&self, what: &str, count: u64) {
        self.write(format_args!("left {count} {what}"));
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A ledger that cannot be written lacks lines, and its reader complains.
        let _ = file.flush();
    }

    fn write(&self, line: std::fmt::Arguments<'_>) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As above.
        let _ = writeln!(file, "{line}");
    }
}

/// Tells the front where the back is, from now on.
pub(crate) fn publish(path: &Path, address: SocketAddr) -> io::Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, address.to_string())?;
    fs::rename(draft, path)
}

/// The ledgers of everybody who stood in one place.
#[derive(Debug, Default)]
pub(crate) struct Book {
    begun: BTreeMap<u64, u64>,
    ended: BTreeMap<u64, u64>,
    how: Tally,
    complaints: Vec<String>,
}

impl Book {
    pub(crate) fn read(paths: &[PathBuf]) -> io::Result<Self> {
        let mut book = Self::default();
        for path in paths {
            let text = fs::read_to_string(path)?;
            let mut left = 0;
            for line in text.lines() {
                let mut words = line.splitn(3, ' ');
                let (kind, number) = (words.next(), words.next());
                let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
                    book.complaints.push(format!("no line of a ledger: {line}"));
                    continue;
                };
                match (kind, words.next()) {
                    (Some("begin"), None) => *book.begun.entry(number).or_default() += 1,
                    (Some("end"), Some(how)) => {
                        *book.ended.entry(number).or_default() += 1;
                        *book.how.entry(how.to_owned()).or_default() += 1;
                    }
                    (Some("left"), Some(what)) => {
                        left += 1;
                        if number != 0 {
                            book.complaints.push(format!("{number} left: {what}"));
                        }
                    }
                    _ => book.complaints.push(format!("no line of a ledger: {line}")),
                }
            }
            if left == 0 {
                let name = path.display();
                book.complaints
                    .push(format!("{name} has no last lines: its service died"));
            }
        }
        Ok(book)
    }

    /// How often the handler of this request began.
    pub(crate) fn done(&self, id: u64) -> u64 {
        self.begun.get(&id).copied().unwrap_or_default()
    }

    /// What is wrong with these ledgers: every request's hook runs exactly once, and nothing is left at the end.
    pub(crate) fn complaints(&self, place: &str) -> Vec<String> {
        let mut complaints: Vec<String> = self.complaints.clone();
        for (id, begun) in &self.begun {
            let ended = self.ended.get(id).copied().unwrap_or_default();
            if ended != *begun {
                complaints.push(format!(
                    "request {id} began {begun} times, and ended {ended} times"
                ));
            }
        }
        let strange = self.ended.keys().filter(|id| !self.begun.contains_key(id));
        complaints.extend(strange.map(|id| format!("request {id} ended and never began")));
        for (how, count) in self.how.iter().filter(|(how, _)| *how != "Completed") {
            complaints.push(format!("{count} requests ended as {how}"));
        }
        complaints
            .into_iter()
            .map(|complaint| format!("{place}: {complaint}"))
            .collect()
    }
}
