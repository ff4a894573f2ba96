//! What was measured, one value at a time.
//!
//! Owns: the samples, their file (one JSON object a line), and ratios within a run. Not here: goals and tables.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a value is of.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
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

/// All samples of this program's run.
#[derive(Debug, Default)]
pub struct Record {
    samples: BTreeMap<Key, BTreeMap<u32, f64>>,
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
            samples: BTreeMap::new(),
            file: path.map(File::create).transpose()?.map(BufWriter::new),
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
            file.flush()?;
        }
        self.keep(sample);
        Ok(())
    }

    fn keep(&mut self, sample: Sample) {
        self.samples
            .entry(sample.key)
            .or_default()
            .insert(sample.run, sample.value);
    }

    /// Everything, in order.
    pub fn samples(&self) -> impl Iterator<Item = (&Key, &BTreeMap<u32, f64>)> {
        self.samples.iter()
    }

    /// The values of one key.
    pub fn values(&self, key: &Key) -> Vec<f64> {
        let of = self.samples.get(key);
        of.into_iter().flat_map(BTreeMap::values).copied().collect()
    }

    /// Ours over theirs plus `more`, run by run.
    pub fn ratios(&self, key: &Key, beside: &str, more: f64) -> Vec<f64> {
        let theirs = Key {
            contender: beside.to_owned(),
            ..key.clone()
        };
        let (Some(ours), Some(theirs)) = (self.samples.get(key), self.samples.get(&theirs)) else {
            return Vec::new();
        };
        ours.iter()
            .filter_map(|(run, ours)| Some(ours / (theirs.get(run)? + more)))
            .collect()
    }
}
