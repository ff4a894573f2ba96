//! Durations and windows as people write them.

use std::time::Duration;

use crate::vocab::{Preset, Window};

/// The longest duration that is read: a day is more than any platform gives.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// A duration: `25s`, `1500ms`, `2m`, or plain seconds such as `4` or `0.5`. At most a day.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let scale = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    let plain = number.chars().all(|c| c.is_ascii_digit() || c == '.') && !number.is_empty();
    let seconds = number.parse::<f64>().ok().filter(|_| plain)? * scale;
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    (duration <= LONGEST).then_some(duration)
}

/// A window: `none`, the name of a preset (scaled to `grace`), or `FLOOR,QUIET,CEILING`.
#[must_use]
pub fn parse_window(text: &str, grace: Duration) -> Option<Window> {
    if text == "none" {
        return Some(Window::NONE);
    }
    if let Ok(preset) = text.parse::<Preset>() {
        return (preset != Preset::Lambda).then(|| preset.window_within(grace));
    }
    let mut parts = text.split(',').map(parse_duration);
    let window = Window::new(parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let rows = [
            ("25s", 25_000),
            ("1500ms", 1_500),
            ("2m", 120_000),
            ("4", 4_000),
            ("0.5", 500),
            (" 1s ", 1_000),
        ];
        for (text, millis) in rows {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "", "s", "-1s", "1e9", "inf", "NaN", "1h", "90000s", "1 s x", "+1s", "1.2.3",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn windows_are_none_a_preset_or_three_durations() {
        let grace = Duration::from_secs(25);
        assert_eq!(parse_window("none", grace), Some(Window::NONE));
        assert_eq!(
            parse_window("kubernetes", grace),
            Some(Preset::Kubernetes.window())
        );
        assert_eq!(parse_window("0,0.1,1", grace), Some(Preset::Local.window()));
        for text in ["", "1,2", "1,2,3,4", "lambda", "a,b,c"] {
            assert_eq!(parse_window(text, grace), None, "{text}");
        }
    }
}
