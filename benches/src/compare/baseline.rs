//! What was reached once, as ratios, and whether that still holds.
//!
//! Owns: the baseline's file, and the comparison, which allows for the noise of then and of now. Not here: measuring.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::goals::{Judged, Relation};

/// Differences below this part of a value are no regression, however quiet the machine.
const LEAST_TOLERANCE: f64 = 0.005;
/// Where noise is greater than this part of a value, nothing can be said.
const TOO_NOISY: f64 = 1.0;

/// One figure of then.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// Ours held against theirs, the median.
    pub was: f64,
    /// How far lameduck was from itself, as a part.
    pub noise: f64,
}

/// All figures of then, by the goal's name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Baseline(pub BTreeMap<String, Entry>);

impl Baseline {
    /// Of what was judged just now; only what means the same on another machine.
    pub fn of(judged: &[Judged]) -> Self {
        let portable = judged.iter().filter(|one| is_portable(one));
        Self(
            portable
                .map(|one| {
                    let entry = Entry {
                        was: rounded(one.spread.median),
                        noise: rounded(one.noise()),
                    };
                    (one.goal.id(), entry)
                })
                .collect(),
        )
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When there is none, or it is no baseline.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    }

    /// Writes a file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }

    /// Holds what was judged just now against then. `noise` is lameduck's distance from itself, measured before.
    pub fn compare(&self, judged: &Judged, noise: f64) -> Option<Comparison> {
        let id = judged.goal.id();
        let then = self.0.get(&id).filter(|_| is_portable(judged))?;
        let noise = noise
            .max(judged.noise())
            .max(then.noise)
            .max(LEAST_TOLERANCE);
        let is = judged.spread.median;
        let limit = if judged.goal.relation == Relation::Added || judged.goal.at_most == 0.0 {
            then.was.max(judged.goal.at_most)
        } else {
            then.was * (1.0 + noise)
        };
        let finding = match () {
            () if noise > TOO_NOISY => Finding::TooNoisy,
            () if is > limit => Finding::Worse,
            () => Finding::Held,
        };
        Some(Comparison {
            id,
            was: then.was,
            is,
            noise,
            finding,
        })
    }
}

/// What is held against something of the same run, and what must be nothing at all.
fn is_portable(judged: &Judged) -> bool {
    judged.goal.at_most == 0.0 || judged.goal.is_relative()
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// What came of one figure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finding {
    /// No worse than then, as far as can be seen.
    Held,
    /// Worse than noise explains.
    Worse,
    /// The machine does not allow a judgement.
    TooNoisy,
}

/// One figure, then and now.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Which.
    pub id: String,
    /// Then.
    pub was: f64,
    /// Now.
    pub is: f64,
    /// The part of a value that noise may be.
    pub noise: f64,
    /// The verdict.
    pub finding: Finding,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            was,
            is,
            noise,
            finding,
        } = self;
        let word = match finding {
            Finding::Held => "held",
            Finding::Worse => "WORSE",
            Finding::TooNoisy => "too noisy",
        };
        write!(
            f,
            "{word}: {id}: was {was:.3}, is {is:.3}, noise {:.1} %",
            noise * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::goals::{Against, Goal};
    use crate::stats::Spread;

    fn judged(median: f64, at_most: f64) -> Judged {
        Judged {
            goal: Goal {
                figure: "f",
                measure: "m",
                case: "c",
                against: Against::Peer {
                    name: "p",
                    more: 0.0,
                },
                relation: Relation::Ratio,
                at_most,
            },
            spread: Spread::of_figures([median]).unwrap(),
            null: Spread::of_figures([0.98, 1.02]),
        }
    }

    #[test]
    fn what_is_worse_than_noise_is_found() {
        let baseline = Baseline::of(&[judged(0.5, 1.0)]);
        let finding = |is, noise| baseline.compare(&judged(is, 1.0), noise).unwrap().finding;
        assert_eq!(finding(0.505, 0.0), Finding::Held);
        assert_eq!(finding(0.52, 0.0), Finding::Worse);
        assert_eq!(finding(0.52, 0.1), Finding::Held);
        assert_eq!(finding(0.52, 1.5), Finding::TooNoisy);
        assert_eq!(finding(0.1, 0.0), Finding::Held);
    }

    #[test]
    fn nothing_stays_nothing() {
        let baseline = Baseline::of(&[judged(0.0, 0.0)]);
        assert_eq!(
            baseline.compare(&judged(0.0, 0.0), 0.1).unwrap().finding,
            Finding::Held
        );
        assert_eq!(
            baseline.compare(&judged(1.0, 0.0), 0.1).unwrap().finding,
            Finding::Worse
        );
    }

    #[test]
    fn a_worse_figure_is_told_with_its_numbers() {
        let comparison = Baseline::of(&[judged(0.5, 1.0)])
            .compare(&judged(0.9, 1.0), 0.0)
            .unwrap();
        assert_eq!(
            comparison.to_string(),
            "WORSE: f | m | c | p: was 0.500, is 0.900, noise 2.0 %"
        );
    }
}
