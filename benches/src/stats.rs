//! Medians and tables.
//!
//! Owns: `median [min..max]` and Markdown rows. Not here: what is worth a table.

use std::fmt;

/// The median of some measurements, between the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the measurements are not above it.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
    decimals: usize,
}

impl Spread {
    /// Spreads counts, printed without decimals; nothing without measurements.
    pub fn of_counts(values: impl IntoIterator<Item = u64>) -> Option<Self> {
        Self::of(values.into_iter().map(|value| value as f64).collect(), 0)
    }

    /// Spreads milliseconds, printed with one decimal; nothing without measurements.
    pub fn of_millis(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        Self::of(values.into_iter().collect(), 1)
    }

    /// Spreads measurements of any size, printed with about three digits; nothing without measurements.
    pub fn of_figures(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let spread = Self::of(values.into_iter().collect(), 0)?;
        let decimals = match spread.median.abs() {
            whole if whole.fract() == 0.0 && spread.least.fract() == 0.0 => 0,
            large if large >= 100.0 => 0,
            middle if middle >= 10.0 => 1,
            small if small >= 1.0 => 2,
            _ => 3,
        };
        Some(Self { decimals, ..spread })
    }

    fn of(mut values: Vec<f64>, decimals: usize) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&least, &greatest) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            median,
            least,
            greatest,
            decimals,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median,
            least,
            greatest,
            decimals,
        } = *self;
        // A median of counts may lie between two of them.
        let fraction =
            usize::from((median * 2.0).fract() == 0.0 && median.fract() != 0.0).max(decimals);
        write!(
            f,
            "{median:.fraction$} [{least:.decimals$}..{greatest:.decimals$}]"
        )
    }
}

/// Prints a spread, or a dash where nothing was measured.
pub fn cell(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| spread.to_string())
}

/// One Markdown table row.
pub fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_prints_median_least_and_greatest() {
        assert_eq!(cell(Spread::of_counts([3, 1, 2])), "2 [1..3]");
        assert_eq!(cell(Spread::of_counts([1, 2])), "1.5 [1..2]");
        assert_eq!(cell(Spread::of_millis([1.25, 9.0, 4.0])), "4.0 [1.2..9.0]");
        assert_eq!(cell(Spread::of_counts([])), "–");
        assert_eq!(
            cell(Spread::of_figures([1234.56, 1230.0, 1240.2])),
            "1235 [1230..1240]"
        );
        assert_eq!(cell(Spread::of_figures([0.9876])), "0.988 [0.988..0.988]");
    }
}
