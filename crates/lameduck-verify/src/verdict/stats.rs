//! Owns what a count of losses says about the rate behind it.
//! Not: rendering.

use serde::{Deserialize, Serialize};

use super::StopLoss;

/// z for a one-sided 95 % bound.
const Z_95_ONE_SIDED: f64 = 1.644_853_627;

/// The rate that the true loss rate is below, with 95 % certainty; `None` without requests.
///
/// Zero lost: the rule of three (3/n; exact is 1 − 0.05^(1/n)). Else the one-sided Wilson bound.
#[must_use]
pub fn upper_bound_95(lost: u64, requests: u64) -> Option<f64> {
    if requests == 0 {
        return None;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of requests stay far below 2^52"
    )]
    let (lost, n) = (lost as f64, requests as f64);
    if lost == 0.0 {
        return Some((3.0 / n).min(1.0));
    }
    let z2 = Z_95_ONE_SIDED * Z_95_ONE_SIDED;
    let rate = lost / n;
    let centre = rate + z2 / (2.0 * n);
    let spread = Z_95_ONE_SIDED * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
    Some(((centre + spread) / (1.0 + z2 / n)).min(1.0))
}

/// z for a two-sided 95 % interval.
const Z_95_TWO_SIDED: f64 = 1.959_963_985;

/// The rates that fit `lost` of `requests` with 95 % certainty, two-sided (Wilson's score interval); `None` without
/// requests.
#[must_use]
pub fn interval_95(lost: u64, requests: u64) -> Option<(f64, f64)> {
    if requests == 0 {
        return None;
    }
    Some(wilson(precise(lost), precise(requests)))
}

/// Wilson's interval; the counts need not be whole (see [`Rate::of`]).
fn wilson(lost: f64, n: f64) -> (f64, f64) {
    let z2 = Z_95_TWO_SIDED * Z_95_TWO_SIDED;
    let rate = lost / n;
    let centre = rate + z2 / (2.0 * n);
    let spread = Z_95_TWO_SIDED * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
    let at = |value: f64| (value / (1.0 + z2 / n)).clamp(0.0, 1.0);
    // Exact at the ends, where rounding would leave a trace.
    let low = if lost <= 0.0 {
        0.0
    } else {
        at(centre - spread)
    };
    let high = if lost >= n { 1.0 } else { at(centre + spread) };
    (low, high)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of requests stay far below 2^52"
)]
fn precise(count: u64) -> f64 {
    count as f64
}

/// Requests lost of those sent, as a rate with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Requests lost.
    pub lost: u64,
    /// Of so many.
    pub of: u64,
    /// The two-sided 95 % interval of the rate: its lower end.
    pub low: f64,
    /// And its upper end.
    pub high: f64,
    /// By how much the losses of one stop resemble each other: the variance between stops, in units of what
    /// independent requests would show; at least 1. The interval is that of `of / design_effect` requests.
    pub design_effect: f64,
}

impl Rate {
    /// The rate over several stops; `None` without requests.
    ///
    /// Requests of one stop stand or fall together, so they count for less than independent ones: counts are divided
    /// by their design effect (Rao and Scott 1992), then Wilson's interval is taken.
    #[must_use]
    pub fn of(lost: u64, requests: u64, stops: &[StopLoss]) -> Option<Self> {
        if requests == 0 {
            return None;
        }
        let design_effect = design_effect(stops);
        let (low, high) = wilson(
            precise(lost) / design_effect,
            precise(requests) / design_effect,
        );
        let round = |value: f64| (value * 1e8).round() / 1e8;
        Some(Self {
            lost,
            of: requests,
            low: round(low),
            high: round(high),
            design_effect: (design_effect * 1e3).round() / 1e3,
        })
    }
}

/// The variance of the loss rate between stops over the binomial one; 1 where it cannot be told or is less.
pub(crate) fn design_effect(stops: &[StopLoss]) -> f64 {
    let (lost, of) = stops.iter().fold((0, 0), |(lost, of), stop| {
        (lost + stop.lost, of + stop.at_stake)
    });
    if stops.len() < 2 || lost == 0 || lost >= of {
        return 1.0;
    }
    let (k, n) = (precise(stops.len() as u64), precise(of));
    let rate = precise(lost) / n;
    let squares: f64 = stops
        .iter()
        .map(|stop| (precise(stop.lost) - rate * precise(stop.at_stake)).powi(2))
        .sum();
    let between = k / (k - 1.0) * squares / (n * n);
    (between / (rate * (1.0 - rate) / n)).max(1.0)
}

/// The chance of at least `lost` losses of `of` beside the `before`, if both had the same rate (Fisher's exact test,
/// one-sided).
pub(crate) fn fisher_worse(before: (u64, u64), now: (u64, u64)) -> f64 {
    let ((lost_before, of_before), (lost_now, of_now)) = (before, now);
    let (lost, all) = (lost_before + lost_now, of_before + of_now);
    if lost == 0 || of_now == 0 || of_before == 0 {
        return 1.0;
    }
    let ways = |n: u64, k: u64| ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    let total = ways(all, lost);
    let most = lost.min(of_now);
    (lost_now..=most)
        .filter(|k| lost - k <= of_before)
        .map(|k| (ways(of_now, k) + ways(of_before, lost - k) - total).exp())
        .sum::<f64>()
        .min(1.0)
}

/// ln n!, exact to some 1e-9 (Stirling's series above 20).
fn ln_factorial(n: u64) -> f64 {
    if n <= 20 {
        return (2..=n).map(|k| precise(k).ln()).sum();
    }
    let x = precise(n) + 1.0;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + 1.0 / (12.0 * x)
        - 1.0 / (360.0 * x.powi(3))
}

/// "1 in N" for a rate, N rounded down to two digits so that it never claims too much.
#[must_use]
pub fn one_in(rate: f64) -> u64 {
    if rate <= 0.0 {
        return u64::MAX;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and clamped below"
    )]
    let n = (1.0 / rate).min(1e15) as u64;
    let mut step = 1;
    while n / step >= 100 {
        step *= 10;
    }
    n / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_loss_is_the_rule_of_three() {
        assert_eq!(one_in(upper_bound_95(0, 4812).unwrap()), 1600);
        assert_eq!(upper_bound_95(0, 2), Some(1.0));
        assert_eq!(upper_bound_95(0, 0), None);
    }

    #[test]
    fn some_loss_is_wilsons_bound() {
        // 5 of 100, one-sided 95 %: 0.0996 (Wilson, computed by hand).
        let bound = upper_bound_95(5, 100).unwrap();
        assert!((0.098..0.102).contains(&bound), "{bound}");
        assert!((upper_bound_95(100, 100).unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_bound_is_above_the_rate_and_falls_with_more_requests() {
        for n in [10_u64, 100, 1000, 10_000] {
            let here = upper_bound_95(n / 10, n).unwrap();
            let more = upper_bound_95(n, n * 10).unwrap();
            assert!(here > 0.1 && more > 0.1 && more < here, "{n}");
        }
    }

    #[test]
    fn the_interval_is_wilsons() {
        // 5 of 100, two-sided 95 %: 0.0215 to 0.1118 (Wilson 1927, as in Agresti and Coull 1998).
        let (low, high) = interval_95(5, 100).unwrap();
        assert!(
            (low - 0.0215).abs() < 1e-3 && (high - 0.1118).abs() < 1e-3,
            "{low} {high}"
        );
        assert_eq!(interval_95(0, 10).unwrap().0, 0.0);
        assert_eq!(interval_95(10, 10).unwrap().1, 1.0);
        assert_eq!(interval_95(0, 0), None);
    }

    #[test]
    fn losses_that_come_together_widen_the_interval() {
        let stop = |lost| StopLoss {
            at_stake: 100,
            lost,
        };
        let even: Vec<_> = (0..10).map(|_| stop(5)).collect();
        let mut lumped: Vec<_> = (0..9).map(|_| stop(0)).collect();
        lumped.push(stop(50));
        let (even, lumped) = (
            Rate::of(50, 1000, &even).unwrap(),
            Rate::of(50, 1000, &lumped).unwrap(),
        );
        assert_eq!(even.design_effect, 1.0);
        // By hand: between = 10/9 * (9 * 5^2 + 45^2) / 1000^2 = 0.0025; binomial = 0.05 * 0.95 / 1000.
        assert!((lumped.design_effect - 52.632).abs() < 1e-2, "{lumped:?}");
        assert!(lumped.high > even.high * 2.0 && lumped.low < even.low);
    }

    #[test]
    fn fishers_test_is_that_of_the_tea() {
        // The lady and the tea: 3 of 4 against 1 of 4, p = 17/70.
        assert!((fisher_worse((1, 4), (3, 4)) - 17.0 / 70.0).abs() < 1e-9);
        assert!((fisher_worse((0, 4), (4, 4)) - 1.0 / 70.0).abs() < 1e-9);
        assert_eq!(fisher_worse((0, 100), (0, 100)), 1.0);
        assert!(fisher_worse((10, 10_000), (100, 10_000)) < 1e-12);
        assert!(fisher_worse((100, 10_000), (10, 10_000)) > 0.999);
    }

    #[test]
    fn one_in_n_never_claims_too_much() {
        for n in [1_u64, 7, 99, 101, 1604, 99_999] {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let shown = one_in(1.0 / n as f64);
            assert!(shown <= n && shown * 10 >= n * 9, "{n} -> {shown}");
        }
    }
}
