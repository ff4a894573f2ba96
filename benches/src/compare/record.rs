//! What was measured, one value at a time.
//!
//! Owns: the samples, their file (one JSON object a line), and ratios within a run. Not here: goals and tables.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

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

/// All samples of this program's run, in the order in which they first came.
#[derive(Debug, Default)]
pub struct Record {
    samples: Vec<(Key, Runs)>,
    places: HashMap<Key, usize>,
    file: Option<BufWriter<File>>,
}

impl Record {
    /// Kept in memory, and written to a file where one is given.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn new(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            file: path.map(File::create).transpose()?.map(BufWriter::new),
            ..Self::default()
        })
    }

    /// Reads a file back.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a line is no sample.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut record = Self::default();
        for line in std::fs::read_to_string(path)?.lines() {
            record.keep(serde_json::from_str(line)?);
        }
        Ok(record)
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn add(&mut self, sample: Sample) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            serde_json::to_writer(&mut *file, &sample)?;
            writeln!(file)?;
            // What was measured until a figure fails is worth having.
            file.flush()?;
        }
        self.keep(sample);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_their_order_and_survive_a_file() {
        let path = std::env::temp_dir().join(format!("lameduck-record-{}", std::process::id()));
        let mut record = Record::new(Some(&path)).unwrap();
        for (run, contender, value) in [(0, "b", 1.0), (0, "a", 2.0), (1, "b", 3.0)] {
            let key = Key {
                figure: "f".to_owned(),
                measure: "m".to_owned(),
                case: "c".to_owned(),
                contender: contender.to_owned(),
            };
            record.add(Sample { key, run, value }).unwrap();
        }
        let again = Record::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(again.samples(), record.samples());
        assert_eq!(again.samples()[0].0.contender, "b");
        assert_eq!(again.samples()[0].1.len(), 2);
    }
}
