//! What is to be reached, and whether it was.
//!
//! Owns: what a goal is, and its judgement from samples: run by run, then the median. Not here: which goals there are
//! (`table`), measuring.

mod table;

use super::contender::Contender;
use super::record::{Key, Record, Runs};
use crate::stats::Spread;

/// What a goal compares with.
#[derive(Clone, Copy, Debug)]
pub enum Against {
    /// Nothing: the value itself counts.
    Nobody,
    /// A peer in the same circumstances.
    Peer {
        /// Who.
        name: &'static str,
        /// What is added to its value.
        more: f64,
    },
    /// Something else that was measured in the same run.
    Other {
        /// What.
        measure: &'static str,
        /// In which circumstances.
        case: &'static str,
        /// Whose.
        name: &'static str,
    },
}

/// How ours stands to theirs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// Divided by it.
    Ratio,
    /// What is left of ours without theirs.
    Added,
}

/// One goal of lameduck's.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The figure.
    pub figure: &'static str,
    /// The measure.
    pub measure: &'static str,
    /// The circumstances.
    pub case: &'static str,
    /// What it is held against.
    pub against: Against,
    /// How.
    pub relation: Relation,
    /// The most that is good.
    pub at_most: f64,
}

/// A goal with what came of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The goal.
    pub goal: Goal,
    /// Ours held against theirs, run by run.
    pub spread: Spread,
    /// The same of lameduck against itself, where that was measured.
    pub null: Option<Spread>,
}

impl Judged {
    /// Whether it was reached.
    pub fn held(&self) -> bool {
        self.spread.median <= self.goal.at_most
    }

    /// How far lameduck is from itself, as a part: the greatest distance of a run from 1, or where it was not measured
    /// beside itself, that of a run from the median.
    pub fn noise(&self) -> f64 {
        let own = || farthest(self.spread, self.spread.median);
        self.null.map_or_else(own, |null| farthest(null, 1.0))
    }
}

fn farthest(of: Spread, from: f64) -> f64 {
    // What is nothing at all has no distance.
    let away = |ratio: f64| {
        if ratio > 0.0 {
            (ratio / from).ln().abs()
        } else {
            0.0
        }
    };
    away(of.least).max(away(of.greatest))
}

impl Goal {
    /// One goal's name; two goals that differ only in how much is good have the same.
    pub fn id(&self) -> String {
        let Self {
            figure,
            measure,
            case,
            ..
        } = self;
        format!("{figure} | {measure} | {case} | {}", self.beside())
    }

    /// Whether it is held against something of the same run.
    pub fn is_relative(&self) -> bool {
        !matches!(self.against, Against::Nobody)
    }

    /// Who it is held against, in words.
    pub fn beside(&self) -> String {
        match self.against {
            Against::Nobody => "–".to_owned(),
            Against::Peer { name, more: 0.0 } => name.to_owned(),
            Against::Peer { name, more } => format!("{name} + {more}"),
            Against::Other {
                measure,
                case,
                name,
            } => {
                let parts = [(measure, self.measure), (case, self.case)];
                let differ = parts.iter().filter(|(other, own)| other != own);
                let differ: Vec<&str> = differ.map(|(other, _)| *other).collect();
                format!("{name}: {}", differ.join(", "))
            }
        }
    }

    /// What of ours it is about; several goals may be about the same.
    pub fn measured(&self) -> String {
        format!("{} | {} | {}", self.figure, self.measure, self.case)
    }

    /// lameduck beside itself, run by run; nothing where that was not measured.
    fn null(&self, record: &Record) -> Option<Spread> {
        let of = |contender: Contender| {
            record.runs(&Key::new(
                self.figure,
                self.measure,
                self.case,
                contender.name(),
            ))
        };
        let (ours, again) = (of(Contender::Lameduck)?, of(Contender::Again)?);
        Spread::of_figures(each(again, ours, |again, ours| again / ours))
    }

    /// How far lameduck was from itself; nothing where that was not measured.
    pub fn noise(&self, record: &Record) -> Option<f64> {
        self.null(record).map(|null| farthest(null, 1.0))
    }

    /// Judges from what was measured; nothing where that is not enough.
    pub fn judge(&self, record: &Record) -> Option<Judged> {
        let of = |measure: &str, case: &str, contender: &str| {
            record.runs(&Key::new(self.figure, measure, case, contender))
        };
        let ours = of(self.measure, self.case, Contender::Lameduck.name())?;
        let values = match self.against {
            Against::Nobody => ours.values().copied().collect(),
            Against::Peer { name, more } => {
                self.relate(ours, of(self.measure, self.case, name)?, more)
            }
            Against::Other {
                measure,
                case,
                name,
            } => self.relate(ours, of(measure, case, name)?, 0.0),
        };
        Some(Judged {
            goal: *self,
            spread: Spread::of_figures(values)?,
            null: self.null(record),
        })
    }

    fn relate(&self, ours: &Runs, theirs: &Runs, more: f64) -> Vec<f64> {
        each(ours, theirs, |ours, theirs| match self.relation {
            Relation::Ratio => ours / (theirs + more),
            Relation::Added => ours - theirs - more,
        })
    }
}

fn each(ours: &Runs, theirs: &Runs, relate: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let both = ours
        .iter()
        .filter_map(|(run, ours)| Some((*ours, *theirs.get(run)?)));
    let related = both.map(|(ours, theirs)| relate(ours, theirs));
    // Nothing by nothing is no ratio.
    related.filter(|ratio| ratio.is_finite()).collect()
}

pub use table::all;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::record::Sample;

    #[test]
    fn a_goal_is_judged_run_by_run() {
        let mut record = Record::default();
        let goal = Goal {
            figure: "f",
            measure: "m",
            case: "c",
            against: Against::Peer {
                name: "theirs",
                more: 0.0,
            },
            relation: Relation::Ratio,
            at_most: 0.5,
        };
        assert!(goal.judge(&record).is_none());
        for (run, ours, theirs) in [(0, 1.0, 4.0), (1, 100.0, 100.0), (2, 2.0, 5.0)] {
            for (contender, value) in [
                ("lameduck", ours),
                ("theirs", theirs),
                ("lameduck, again", ours * 1.5),
            ] {
                let key = Key::new("f", "m", "c", contender);
                record.add(Sample { key, run, value }).unwrap();
            }
        }
        let judged = goal.judge(&record).unwrap();
        assert_eq!(
            (
                judged.spread.least,
                judged.spread.median,
                judged.spread.greatest
            ),
            (0.25, 0.4, 1.0)
        );
        assert!(judged.held());
        assert!((judged.noise() - 1.5_f64.ln()).abs() < 1e-9);
        let alone = Judged {
            null: None,
            ..judged
        };
        assert!((alone.noise() - 2.5_f64.ln()).abs() < 1e-9);
    }
}
