//! The figures: what each measures, of whom, and under which names its values go.
//!
//! Owns: the order in which contenders take turns. Each figure has a file.

mod broadcast;
mod cpu;
mod departure;
mod lost;
mod memory;
mod scale;
mod small;

use std::error::Error;
use std::io;
use std::path::PathBuf;

use super::callgrind::Profile;
use super::contender::{Contender, Stage, Staging};
use super::machine;
use super::record::{Key, Note, Record, Sample};

/// Why a figure could not be measured.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs of what takes turns.
    pub runs: u32,
    /// Runs of the load modes.
    pub load_runs: u32,
    /// Idle connections of a departure's largest case.
    pub crowd: usize,
    /// Idle connections that are weighed; a fifth of them with TLS, whose handshakes take long.
    pub weighed: usize,
}

impl Effort {
    /// What the page is made from.
    pub const FULL: Self = Self {
        runs: 5,
        load_runs: 20,
        crowd: 10_000,
        weighed: 10_000,
    };
    /// To see that everything works.
    pub const QUICK: Self = Self {
        runs: 1,
        load_runs: 1,
        crowd: 10_000,
        weighed: 2_000,
    };
}

/// Who takes part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cast {
    /// Everybody who is here.
    All,
    /// lameduck and lameduck again: the noise.
    Ourselves,
}

/// One figure.
#[derive(Clone, Copy)]
pub struct Figure {
    /// What it is chosen by.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it measures, and how.
    pub about: &'static str,
    /// The measures that are drawn.
    pub plotted: &'static [&'static str],
    measure: fn(&mut Bench) -> Result<(), Failure>,
}

impl std::fmt::Debug for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them, in the order of the page.
pub const ALL: &[Figure] = &[
    cpu::FIGURE,
    memory::FIGURE,
    departure::FIGURE,
    broadcast::FIGURE,
    lost::FIGURE,
    small::FIGURE,
    scale::FIGURE,
];

/// What figures are measured with.
#[derive(Debug)]
pub struct Bench {
    /// The contenders.
    pub stage: Stage,
    /// Where values go.
    pub record: Record,
    /// How much is done.
    pub effort: Effort,
    /// Who takes part.
    pub cast: Cast,
    /// Where profiles are left, if anywhere.
    pub profiles: Option<PathBuf>,
    figure: &'static str,
}

impl Bench {
    /// With nothing measured yet.
    pub fn new(stage: Stage, record: Record, effort: Effort) -> Self {
        Self {
            stage,
            record,
            effort,
            cast: Cast::All,
            profiles: None,
            figure: "",
        }
    }

    /// Measures a figure, and notes what it must be read with.
    ///
    /// # Errors
    ///
    /// When a server cannot be started, or does not do what it must.
    pub fn measure(&mut self, figure: &Figure) -> Result<(), Failure> {
        self.figure = figure.name;
        self.record.begin(figure.name)?;
        let load = machine::load();
        let measured = (figure.measure)(self);
        let note = format!(
            "{}; load average {load} before, {} after",
            machine::describe(),
            machine::load()
        );
        self.note(note)?;
        for (contender, why) in self.stage.missing().to_vec() {
            self.note(format!("{} is missing: {why}", contender.name()))?;
        }
        measured
    }

    /// Those of `contenders` that are here, beginning with another one in each run: nobody always follows the same one.
    fn turns(&self, contenders: &[Contender], staging: Staging<'_>, run: u32) -> Vec<Contender> {
        let mut here: Vec<Contender> = contenders
            .iter()
            .copied()
            .filter(|&contender| self.stage.has(contender, staging))
            .filter(|contender| self.takes(contender.name()))
            .collect();
        let first = run as usize % here.len().max(1);
        here.rotate_left(first);
        here
    }

    /// Whether somebody is in the cast.
    fn takes(&self, name: &str) -> bool {
        let ourselves = [Contender::Lameduck.name(), Contender::Again.name()];
        self.cast == Cast::All || ourselves.contains(&name)
    }

    fn note(&mut self, note: String) -> Result<(), Failure> {
        let figure = self.figure.to_owned();
        Ok(self.record.note(Note { figure, note })?)
    }

    /// Functions by their cost, the dearest first, where somebody wants them.
    fn keep_profile(&self, name: &str, profile: &Profile) -> io::Result<()> {
        let Some(directory) = &self.profiles else {
            return Ok(());
        };
        let mut functions: Vec<(&String, &f64)> = profile.functions.iter().collect();
        functions.sort_by(|a, b| b.1.total_cmp(a.1));
        let name: String = name
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        let lines = functions
            .iter()
            .map(|(name, cost)| format!("{cost:10.1}  {name}\n"));
        std::fs::write(
            directory.join(format!("{name}.txt")),
            lines.collect::<String>(),
        )
    }

    fn add(
        &mut self,
        measure: &str,
        case: &str,
        contender: &str,
        run: u32,
        value: f64,
    ) -> Result<(), Failure> {
        let key = Key::new(self.figure, measure, case, contender);
        Ok(self.record.add(Sample { key, run, value })?)
    }
}
