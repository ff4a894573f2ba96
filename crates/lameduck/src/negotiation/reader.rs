//! A small JSON reader for messages of strangers: one object, bounded in bytes and depth (RFC 8259).
//!
//! Owns the grammar, not the meaning. `serde_json` is what its tests hold it against; it is not used, because this crate
//! without features has no dependencies, and what a message needs is small.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::time::Duration;

use super::{MOST_BYTES, Malformed, malformed::Kind};

/// How deep objects and lists may be nested. Messages need two; what they do not know is passed over.
const MOST_DEPTH: usize = 16;

/// A value; what no message has is read and not kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    Object(Object),
    List,
}

/// A number, whole or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i64),
    Other(f64),
}

impl Number {
    /// The nearest whole number.
    pub(super) fn whole(self) -> i64 {
        match self {
            Self::Whole(number) => number,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a float that is too large becomes the largest number"
            )]
            Self::Other(number) => number.round() as i64,
        }
    }

    /// As milliseconds, to the microsecond; `None` below zero.
    pub(super) fn millis(self) -> Option<Duration> {
        match self {
            Self::Whole(number) => u64::try_from(number).ok().map(Duration::from_millis),
            Self::Other(number) if number >= 0.0 => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "not below zero; a float that is too large becomes the largest number"
                )]
                let micros = (number * 1e3).round() as u64;
                Some(Duration::from_micros(micros))
            }
            Self::Other(_) => None,
        }
    }
}

/// The fields of an object. Where a name stands twice, the last one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object(Vec<(String, Value)>);

impl Object {
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .rev()
            .find(|one| one.0 == name)
            .map(|one| &one.1)
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// Reads one object, with nothing but blanks around it.
pub(super) fn read(text: &str) -> Result<Object, Malformed> {
    if text.len() > MOST_BYTES {
        return Err(Malformed::new(Kind::TooLong));
    }
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    if reader.peek() != Some(b'{') {
        return Err(reader.wrong("an object begins with {"));
    }
    let object = reader.object(1)?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.wrong("one object is a message"));
    }
    Ok(object)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, why: &'static str) -> Malformed {
        Malformed::new(Kind::Syntax { at: self.at, why })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes over this byte if it is next.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Passes over the word if it is next.
    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("no value begins so"));
        }
        self.at += word.len();
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, Malformed> {
        if depth > MOST_DEPTH {
            return Err(self.wrong("nested too deeply"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth).map(Value::Object),
            Some(b'[') => self.list(depth).map(|()| Value::List),
            Some(b'"') => self.string().map(Value::Text),
            Some(b't') => self.word("true").map(|()| Value::Flag(true)),
            Some(b'f') => self.word("false").map(|()| Value::Flag(false)),
            Some(b'n') => self.word("null").map(|()| Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            _ => Err(self.wrong("a value is missing")),
        }
    }

    /// The cursor stands on its brace.
    fn object(&mut self, depth: usize) -> Result<Object, Malformed> {
        self.at += 1;
        let mut fields = Vec::new();
        self.blanks();
        if self.takes(b'}') {
            return Ok(Object(fields));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a field begins with its name"));
            }
            let name = self.string()?;
            self.blanks();
            if !self.takes(b':') {
                return Err(self.wrong("a colon stands behind a field's name"));
            }
            self.blanks();
            fields.push((name, self.value(depth + 1)?));
            self.blanks();
            if self.takes(b'}') {
                return Ok(Object(fields));
            }
            if !self.takes(b',') {
                return Err(self.wrong("a comma stands between fields"));
            }
        }
    }

    /// The cursor stands on its bracket.
    fn list(&mut self, depth: usize) -> Result<(), Malformed> {
        self.at += 1;
        self.blanks();
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            self.blanks();
            self.value(depth + 1)?;
            self.blanks();
            if self.takes(b']') {
                return Ok(());
            }
            if !self.takes(b',') {
                return Err(self.wrong("a comma stands between values"));
            }
        }
    }

    /// RFC 8259 §6.
    fn number(&mut self) -> Result<Number, Malformed> {
        let start = self.at;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        let mut is_whole = true;
        if self.takes(b'.') {
            is_whole = false;
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            is_whole = false;
            if !self.takes(b'+') {
                self.takes(b'-');
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if is_whole && let Ok(number) = text.parse() {
            return Ok(Number::Whole(number));
        }
        let number = text.parse().map_err(|_| self.wrong("no number"))?;
        Ok(Number::Other(number))
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.wrong("a digit is missing"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// RFC 8259 §7; the cursor stands on the opening quote.
    fn string(&mut self) -> Result<String, Malformed> {
        self.at += 1;
        let mut read = String::new();
        loop {
            let start = self.at;
            while self
                .peek()
                .is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= b' ')
            {
                self.at += 1;
            }
            // What ended the run is one byte of ASCII, so both ends stand between characters.
            read.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(read);
                }
                Some(b'\\') => {
                    self.at += 1;
                    read.push(self.escaped()?);
                }
                Some(_) => return Err(self.wrong("a control character in a text")),
                None => return Err(self.wrong("a text does not end")),
            }
        }
    }

    /// The cursor stands behind the backslash.
    fn escaped(&mut self) -> Result<char, Malformed> {
        let byte = self
            .peek()
            .ok_or_else(|| self.wrong("a text does not end"))?;
        let simple = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.wrong("no escape is written so")),
        };
        self.at += 1;
        Ok(simple)
    }

    /// A character by its number, or the two halves of one. Half a character alone is replaced, as text of strangers often has it.
    fn unicode(&mut self) -> Result<char, Malformed> {
        let first = self.four_digits()?;
        if !(0xD800..0xDC00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let behind = self.at;
        if self.takes(b'\\') && self.takes(b'u') {
            let second = self.four_digits()?;
            if (0xDC00..0xE000).contains(&second) {
                let number = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        self.at = behind;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn four_digits(&mut self) -> Result<u32, Malformed> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let mut number = 0;
        for digit in digits.ok_or_else(|| self.wrong("a text does not end"))? {
            let digit = char::from(*digit).to_digit(16);
            number = number * 16 + digit.ok_or_else(|| self.wrong("four hexadecimal digits"))?;
        }
        self.at += 4;
        Ok(number)
    }
}

impl Value {
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}
