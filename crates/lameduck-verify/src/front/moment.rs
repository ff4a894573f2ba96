//! Reads a time as people write it: a number and a unit.

use std::time::Duration;

/// No time of ours is longer than this: a day.
const MOST: f64 = 86_400.0;

/// `8s`, `1500ms`, `2m`, `0.5` (seconds); `None` for anything else.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    let (digits, unit) = units
        .into_iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|digits| (digits, unit)))
        .unwrap_or((text, 1.0));
    // `parse` would also take "inf", "1e9" and signs.
    if !digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return None;
    }
    let seconds = digits.parse::<f64>().ok()? * unit;
    (seconds <= MOST).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let millis = |text| parse_duration(text).map(|time| time.as_millis());
        assert_eq!(millis("8s"), Some(8_000));
        assert_eq!(millis("1500ms"), Some(1_500));
        assert_eq!(millis("2m"), Some(120_000));
        assert_eq!(millis("0.5"), Some(500));
        for bad in ["", "s", "soon", "-1s", "1e3s", "inf", "9999999s", "1 s"] {
            assert_eq!(millis(bad), None, "{bad:?}");
        }
    }
}
