//! Bounded text: lines that fit are written, the others counted.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is kept back before it is written in one piece.
const CHUNK: usize = 16 * 1024;

/// Lines on their way to a reader.
pub(super) struct Text<'w> {
    into: &'w mut dyn io::Write,
    waiting: String,
    left: usize,
    left_out: usize,
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<'w> Text<'w> {
    pub(super) fn new(into: &'w mut dyn io::Write, most: usize) -> Self {
        Self {
            into,
            waiting: String::with_capacity(CHUNK),
            left: most,
            left_out: 0,
        }
    }

    /// One line, if there is room for it.
    pub(super) fn line(&mut self, line: impl fmt::Display) {
        use fmt::Write as _;
        let before = self.waiting.len();
        // Writing to a string fails only if the value's own `Display` does.
        let _ = writeln!(self.waiting, "{line}");
        let length = self.waiting.len() - before;
        if length > self.left {
            self.waiting.truncate(before);
            self.left_out += 1;
        } else {
            self.left -= length;
        }
    }

    /// Hands on what has come together, once it is worth it.
    ///
    /// # Errors
    ///
    /// What the reader's end reports.
    pub(super) fn flush_some(&mut self) -> io::Result<()> {
        if self.waiting.len() < CHUNK {
            return Ok(());
        }
        self.flush()
    }

    /// Hands everything on.
    ///
    /// # Errors
    ///
    /// What the reader's end reports.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.into.write_all(self.waiting.as_bytes())?;
        self.waiting.clear();
        self.into.flush()
    }

    /// The last line, for which there is always room.
    ///
    /// # Errors
    ///
    /// What the reader's end reports.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.waiting.push_str(&match self.left_out {
            0 => "== end of the dump\n".to_owned(),
            lines => format!("== end of the dump: {lines} line(s) were left out for its bound\n"),
        });
        self.flush()
    }
}

/// A time as people say it: at least a millisecond's worth of digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age(pub(super) Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0..10_000 => write!(f, "{millis} ms"),
            10_000..600_000 => write!(f, "{}.{} s", millis / 1000, millis % 1000 / 100),
            _ => {
                let minutes = millis / 60_000;
                write!(f, "{} h {:02} min", minutes / 60, minutes % 60)
            }
        }
    }
}

/// Text that cannot forge a line: names of threads and tasks are chosen by programs, paths by clients.
pub(super) fn printable(text: &str) -> String {
    let safe = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().map(safe).collect()
}

/// The time of day in UTC, as RFC 3339 has it.
pub(super) fn utc(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// The date of a day after 1970-01-01: 400 years have 146,097 days, and a year that begins in March has its leap day last.
const fn civil(days: u64) -> (u64, u64, u64) {
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march / 146_097, from_march % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + (month <= 2) as u64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (4_102_444_799, "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn invariant_11_lines_past_the_bound_are_counted() {
        let mut written = Vec::new();
        let mut text = Text::new(&mut written, 10);
        for line in ["12345678", "too long", "", "no"] {
            text.line(line);
        }
        text.end().expect("a vector takes all");
        assert_eq!(
            String::from_utf8_lossy(&written),
            "12345678\n\n== end of the dump: 2 line(s) were left out for its bound\n"
        );
    }

    #[test]
    fn ages_have_the_digits_that_matter() {
        for (millis, expected) in [
            (0, "0 ms"),
            (9_999, "9999 ms"),
            (12_345, "12.3 s"),
            (3_661_000, "1 h 01 min"),
        ] {
            assert_eq!(Age(Duration::from_millis(millis)).to_string(), expected);
        }
        assert_eq!(printable("a\nb\x1b"), "a\u{fffd}b\u{fffd}");
    }
}
