//! The figures: what each measures, of whom, and under which names its values go.
//!
//! Owns: the order in which contenders take turns. Each figure has a file.

mod departure;
mod memory;

use std::error::Error;

use super::contender::{Contender, Stage, Staging};
use super::record::{Key, Record, Sample};

/// Why a figure could not be measured.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs of what takes turns.
    pub runs: u32,
    /// Idle connections of the largest case.
    pub crowd: usize,
}

/// One figure.
#[derive(Clone, Copy)]
pub struct Figure {
    /// What it is chosen by.
    pub name: &'static str,
    /// What it measures, and how.
    pub about: &'static str,
    measure: fn(&mut Bench) -> Result<(), Failure>,
}

impl std::fmt::Debug for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them, in the order of the page.
pub const ALL: &[Figure] = &[memory::FIGURE, departure::FIGURE];

/// What figures are measured with.
#[derive(Debug)]
pub struct Bench {
    /// The contenders.
    pub stage: Stage,
    /// Where values go.
    pub record: Record,
    /// How much is done.
    pub effort: Effort,
    figure: &'static str,
}

impl Bench {
    /// With nothing measured yet.
    pub fn new(stage: Stage, record: Record, effort: Effort) -> Self {
        Self {
            stage,
            record,
            effort,
            figure: "",
        }
    }

    /// Measures a figure.
    ///
    /// # Errors
    ///
    /// When a server cannot be started, or does not do what it must.
    pub fn measure(&mut self, figure: &Figure) -> Result<(), Failure> {
        self.figure = figure.name;
        (figure.measure)(self)
    }

    /// Those of `contenders` that are here, beginning with another one in each run: nobody always follows the same one.
    fn turns(&self, contenders: &[Contender], staging: Staging<'_>, run: u32) -> Vec<Contender> {
        let mut here: Vec<Contender> = contenders
            .iter()
            .copied()
            .filter(|&contender| self.stage.has(contender, staging))
            .collect();
        let first = run as usize % here.len().max(1);
        here.rotate_left(first);
        here
    }

    fn add(
        &mut self,
        measure: &str,
        case: &str,
        contender: &str,
        run: u32,
        value: f64,
    ) -> Result<(), Failure> {
        let key = Key {
            figure: self.figure.to_owned(),
            measure: measure.to_owned(),
            case: case.to_owned(),
            contender: contender.to_owned(),
        };
        Ok(self.record.add(Sample { key, run, value })?)
    }
}
