//! Owns what a count of losses says about the rate behind it.
//! Not: rendering.

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
    fn one_in_n_never_claims_too_much() {
        for n in [1_u64, 7, 99, 101, 1604, 99_999] {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let shown = one_in(1.0 / n as f64);
            assert!(shown <= n && shown * 10 >= n * 9, "{n} -> {shown}");
        }
    }
}
