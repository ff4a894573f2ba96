//! A small JSON writer: the cut has no runtime and no allocator to spare for a library, and the shapes are few.

use core::{fmt::Write as _, time::Duration};

/// Writes one JSON value into a string. Keys and values are given in order; commas are its own business.
#[derive(Debug, Default)]
pub(crate) struct Json {
    out: String,
}

impl Json {
    pub(crate) fn object(fields: impl FnOnce(&mut Self)) -> String {
        let mut json = Self::default();
        json.braced('{', '}', fields);
        json.out
    }

    fn braced(&mut self, open: char, close: char, inside: impl FnOnce(&mut Self)) {
        self.out.push(open);
        inside(self);
        if self.out.ends_with(',') {
            self.out.pop();
        }
        self.out.push(close);
    }

    fn key(&mut self, key: &str) {
        self.quoted(key);
        self.out.push(':');
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.quoted(value);
        self.out.push(',');
    }

    pub(crate) fn number(&mut self, key: &str, value: impl Into<i128>) {
        self.key(key);
        let _ = write!(self.out, "{},", value.into());
    }

    /// Milliseconds with three decimals.
    pub(crate) fn millis(&mut self, key: &str, value: Duration) {
        self.signed_millis(key, value, Duration::ZERO);
    }

    /// `at - origin` in milliseconds with three decimals; negative before the origin.
    pub(crate) fn signed_millis(&mut self, key: &str, at: Duration, origin: Duration) {
        let (sign, distance) = if at < origin {
            ("-", origin - at)
        } else {
            ("", at - origin)
        };
        let micros = distance.as_micros();
        self.key(key);
        let _ = write!(self.out, "{sign}{}.{:03},", micros / 1_000, micros % 1_000);
    }

    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        let _ = write!(self.out, "{value},");
    }

    pub(crate) fn null(&mut self, key: &str) {
        self.key(key);
        self.out.push_str("null,");
    }

    pub(crate) fn nested(&mut self, key: &str, fields: impl FnOnce(&mut Self)) {
        self.key(key);
        self.braced('{', '}', fields);
        self.out.push(',');
    }

    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Self, T),
    ) {
        self.key(key);
        self.braced('[', ']', |json| {
            for one in items {
                json.braced('{', '}', |json| item(json, one));
                json.out.push(',');
            }
        });
        self.out.push(',');
    }

    pub(crate) fn texts<T: AsRef<str>>(&mut self, key: &str, items: impl IntoIterator<Item = T>) {
        self.key(key);
        self.braced('[', ']', |json| {
            for one in items {
                json.quoted(one.as_ref());
                json.out.push(',');
            }
        });
        self.out.push(',');
    }

    /// RFC 8259 §7: the quote, the backslash and the control characters are escaped.
    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                control if control < ' ' => {
                    let _ = write!(self.out, "\\u{:04x}", control as u32);
                }
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }
}
