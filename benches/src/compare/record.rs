//! What was measured, one value at a time.
//!
//! Owns: the samples, their file (one JSON object a line), and ratios within a run. Not here: goals and tables.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a value is of.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Key {
    /// The figure: `memory`.
    pub figure: String,
    /// What was measured, with its unit: `RSS per connection, B`.
    pub measure: String,
    /// The circumstances: `HTTP/1.1`.
    pub case: String,
    /// Whose it is.
    pub contender: String,
}

impl Key {
    /// Puts one together.
    pub fn new(figure: &str, measure: &str, case: &str, contender: &str) -> Self {
        Self {
            figure: figure.to_owned(),
            measure: measure.to_owned(),
            case: case.to_owned(),
            contender: contender.to_owned(),
        }
    }
}

/// One value.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sample {
    /// What it is of.
    #[serde(flatten)]
    pub key: Key,
    /// In which run, from 0 on; contenders of one run ran beside each other.
    pub run: u32,
    /// The value.
    pub value: f64,
}

/// Values of one key by their run.
pub type Runs = BTreeMap<u32, f64>;

/// A line of a file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Line {
    Sample(Sample),
    Note(Note),
}

/// What must be known to read a figure: the machine, who was missing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Note {
    /// The figure.
    pub figure: String,
    /// In words.
    pub note: String,
}

/// Samples, in the order in which they first came, and notes.
#[derive(Debug, Default)]
pub struct Record {
    samples: Vec<(Key, Runs)>,
    places: HashMap<Key, usize>,
    notes: Vec<Note>,
    directory: Option<PathBuf>,
    file: Option<BufWriter<File>>,
}

impl Record {
    /// Kept in memory, and in a directory where one is given: a file for each figure.
    pub fn new(directory: Option<&Path>) -> Self {
        Self {
            directory: directory.map(Path::to_path_buf),
            ..Self::default()
        }
    }

    /// Reads some figures back; what has no file was not measured.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or holds something else.
    pub fn read<'a>(
        directory: &Path,
        figures: impl IntoIterator<Item = &'a str>,
    ) -> io::Result<Self> {
        let mut record = Self::default();
        for figure in figures {
            let text = match std::fs::read_to_string(path(directory, figure)) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for line in text.lines() {
                match serde_json::from_str(line)? {
                    Line::Sample(sample) => record.keep(sample),
                    Line::Note(note) => record.notes.push(note),
                }
            }
        }
        Ok(record)
    }

    /// Begins a figure, in a new file.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn begin(&mut self, figure: &str) -> io::Result<()> {
        if let Some(directory) = &self.directory {
            self.file = Some(BufWriter::new(File::create(path(directory, figure))?));
        }
        Ok(())
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn add(&mut self, sample: Sample) -> io::Result<()> {
        self.write(&Line::Sample(sample.clone()))?;
        self.keep(sample);
        Ok(())
    }

    /// Adds a note.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn note(&mut self, note: Note) -> io::Result<()> {
        self.write(&Line::Note(note.clone()))?;
        self.notes.push(note);
        Ok(())
    }

    /// The notes of a figure.
    pub fn notes(&self, figure: &str) -> impl Iterator<Item = &str> {
        let of = self.notes.iter().filter(move |note| note.figure == figure);
        of.map(|note| note.note.as_str())
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            serde_json::to_writer(&mut *file, line)?;
            writeln!(file)?;
            // What was measured until a figure fails is worth having.
            file.flush()?;
        }
        Ok(())
    }

    fn keep(&mut self, sample: Sample) {
        let end = self.samples.len();
        let place = *self.places.entry(sample.key.clone()).or_insert(end);
        if place == end {
            self.samples.push((sample.key, Runs::new()));
        }
        self.samples[place].1.insert(sample.run, sample.value);
    }

    /// Everything, in order.
    pub fn samples(&self) -> &[(Key, Runs)] {
        &self.samples
    }

    /// The values of one key.
    pub fn runs(&self, key: &Key) -> Option<&Runs> {
        Some(&self.samples[*self.places.get(key)?].1)
    }
}

fn path(directory: &Path, figure: &str) -> PathBuf {
    directory.join(figure).with_extension("jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_their_order_and_survive_a_file() {
        let directory =
            std::env::temp_dir().join(format!("lameduck-record-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let mut record = Record::new(Some(&directory));
        record.begin("f").unwrap();
        let note = "two cores".to_owned();
        let figure = "f".to_owned();
        record.note(Note { figure, note }).unwrap();
        for (run, contender, value) in [(0, "b", 1.0), (0, "a", 2.0), (1, "b", 3.0)] {
            let key = Key::new("f", "m", "c", contender);
            record.add(Sample { key, run, value }).unwrap();
        }
        let again = Record::read(&directory, ["f", "never measured"]).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(again.notes("f").collect::<Vec<_>>(), ["two cores"]);
        assert_eq!(again.samples(), record.samples());
        assert_eq!(again.samples()[0].0.contender, "b");
        assert_eq!(again.samples()[0].1.len(), 2);
    }
}
