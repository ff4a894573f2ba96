//! A small JSON reader, for what another life of ours wrote and for the messages of strangers: bounded in depth by itself and in length by
//! whoever reads the text.
//!
//! Owns RFC 8259's grammar, not the meaning. Numbers stay text until somebody asks what they are. `serde_json` is what its tests hold it
//! against; it is not used, because this crate without features has no dependencies, and what is read here is small.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::{fmt, time::Duration};

/// How deep values may stand in one another: what is written here is four deep, and messages two.
const DEEPEST: usize = 16;

/// One JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Flag(bool),
    Number(Number<'a>),
    Text(Cow<'a, str>),
    #[cfg_attr(
        not(feature = "signals"),
        allow(dead_code, reason = "only the history has lists")
    )]
    List(Vec<Self>),
    /// In the order in which they were written; of one that stands twice the last counts.
    Object(Vec<(Cow<'a, str>, Self)>),
}

/// A number, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number<'a>(pub(crate) &'a str);

impl Number<'_> {
    /// The nearest whole number; the largest for one that is larger.
    pub(crate) fn whole(self) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float that is too large becomes the largest number"
        )]
        self.0
            .parse()
            .unwrap_or_else(|_| self.float().round() as i64)
    }

    /// As milliseconds, to the nearest microsecond; none below zero.
    pub(crate) fn millis(self) -> Option<Duration> {
        if let Some(micros) = self.micros() {
            return Some(Duration::from_micros(micros));
        }
        // With a sign or an exponent, or beyond what can be counted.
        let float = self.float();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not below zero; a float that is too large becomes the largest number"
        )]
        (float >= 0.0).then(|| Duration::from_micros((float * 1e3).round() as u64))
    }

    /// What no float has rounded: digits, and perhaps a fraction.
    fn micros(self) -> Option<u64> {
        let (whole, part) = self.0.split_once('.').unwrap_or((self.0, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) {
            return None;
        }
        let mut fraction = part
            .bytes()
            .map(|digit| u64::from(digit - b'0'))
            .chain([0; 4]);
        let micros = fraction
            .by_ref()
            .take(3)
            .fold(0, |micros, digit| micros * 10 + digit);
        let rounded = micros + u64::from(fraction.next() >= Some(5));
        whole
            .parse::<u64>()
            .ok()?
            .checked_mul(1_000)?
            .checked_add(rounded)
    }

    fn float(self) -> f64 {
        // Its grammar is that of floats, and a part of it: one that is too large is infinite.
        self.0.parse().unwrap_or(f64::NAN)
    }
}

/// A text is not JSON, from this byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoJson {
    pub(crate) at: usize,
    pub(crate) why: &'static str,
}

impl fmt::Display for NoJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no JSON at byte {}: {}", self.at, self.why)
    }
}

impl<'a> Value<'a> {
    /// Reads a text that holds one value, and white space around it.
    pub(crate) fn read(text: &'a str) -> Result<Self, NoJson> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(1)?;
        reader.space();
        if reader.at == text.len() {
            Ok(value)
        } else {
            Err(reader.wrong("nothing may follow"))
        }
    }

    /// The fields of an object; none of anything else.
    pub(crate) fn fields(&self) -> &[(Cow<'a, str>, Self)] {
        match self {
            Self::Object(fields) => fields,
            _ => &[],
        }
    }

    /// A field of an object.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        let mut fields = self.fields().iter().rev();
        fields.find_map(|(key, value)| (key == name).then_some(value))
    }

    /// A field that is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.field(name)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A field that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<Number<'a>> {
        match self.field(name)? {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A field that is a number of milliseconds.
    pub(crate) fn millis(&self, name: &str) -> Option<Duration> {
        self.number(name).and_then(Number::millis)
    }

    /// A field that is a list.
    #[cfg(any(test, feature = "signals"))]
    pub(crate) fn list(&self, name: &str) -> Option<&[Self]> {
        match self.field(name)? {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    const fn wrong(&self, why: &'static str) -> NoJson {
        NoJson { at: self.at, why }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes over a byte, if it stands here.
    fn takes(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn needs(&mut self, byte: u8, why: &'static str) -> Result<(), NoJson> {
        if self.takes(byte) {
            Ok(())
        } else {
            Err(self.wrong(why))
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, NoJson> {
        if depth > DEEPEST {
            return Err(self.wrong("nested too deeply"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => {
                let field = |reader: &mut Self| {
                    reader.space();
                    if reader.peek() != Some(b'"') {
                        return Err(reader.wrong("a field begins with its name"));
                    }
                    let key = reader.string()?;
                    reader.space();
                    reader.needs(b':', "a colon stands behind a field's name")?;
                    Ok((key, reader.value(depth + 1)?))
                };
                self.items(b'}', field).map(Value::Object)
            }
            Some(b'[') => self
                .items(b']', |reader| reader.value(depth + 1))
                .map(Value::List),
            Some(b'"') => self.string().map(Value::Text),
            Some(b't') => self.word("true", Value::Flag(true)),
            Some(b'f') => self.word("false", Value::Flag(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            _ => Err(self.wrong("a value is missing")),
        }
    }

    /// What stands between brackets, separated by commas; the opening one is here.
    fn items<T>(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<T, NoJson>,
    ) -> Result<Vec<T>, NoJson> {
        self.at += 1;
        self.space();
        let mut items = Vec::new();
        if self.takes(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            self.space();
            if self.takes(close) {
                return Ok(items);
            }
            self.needs(b',', "a comma stands between two")?;
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, NoJson> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.wrong("no value begins so"))
        }
    }

    /// RFC 8259 §6.
    fn number(&mut self) -> Result<Number<'a>, NoJson> {
        let begin = self.at;
        let _ = self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Ok(Number(&self.text[begin..self.at]))
    }

    /// At least one.
    fn digits(&mut self) -> Result<(), NoJson> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > begin {
            Ok(())
        } else {
            Err(self.wrong("a digit is missing"))
        }
    }

    /// RFC 8259 §7; the opening quote is here. Borrowed where nothing is escaped in it.
    fn string(&mut self) -> Result<Cow<'a, str>, NoJson> {
        self.at += 1;
        let begin = self.at;
        let mut copied: Option<String> = None;
        let mut plain = begin;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let rest = &self.text[plain..self.at];
                    self.at += 1;
                    return Ok(match copied {
                        None => Cow::Borrowed(rest),
                        Some(copied) => Cow::Owned(copied + rest),
                    });
                }
                Some(b'\\') => {
                    let copied = copied.get_or_insert_default();
                    copied.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    let character = self.escaped()?;
                    copied.push(character);
                    plain = self.at;
                }
                // Bytes of longer characters are above these: a text is cut at none of them.
                Some(byte) if byte >= b' ' => self.at += 1,
                Some(_) => return Err(self.wrong("a control character in a text")),
                None => return Err(self.wrong("a text does not end")),
            }
        }
    }

    /// What a backslash stands for; it was read.
    fn escaped(&mut self) -> Result<char, NoJson> {
        let simple = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.wrong("no escape is written so")),
        };
        self.at += 1;
        Ok(simple)
    }

    /// A character by its number, or the two halves of one. Half a character alone is replaced, as text of strangers often has it.
    fn unicode(&mut self) -> Result<char, NoJson> {
        let mut code = self.hex()?;
        let behind = self.at;
        if (0xd800..0xdc00).contains(&code) && self.takes(b'\\') && self.takes(b'u') {
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                code = 0x1_0000 + ((code - 0xd800) << 10) + (second - 0xdc00);
            } else {
                self.at = behind;
            }
        } else {
            self.at = behind;
        }
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, NoJson> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| self.wrong("four hexadecimal digits"))?;
        self.at += 4;
        Ok(digits.iter().fold(0, |sum, digit| {
            let value = char::from(*digit).to_digit(16).expect("looked at above");
            sum << 4 | value
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::json::Json, *};

    #[test]
    fn what_the_writer_writes_is_read_back() {
        let took = Duration::from_micros(6_900_123);
        let text = Json::object(|json| {
            json.text("name", "db \"main\"\\\n\u{1}é🦆");
            json.millis("took_ms", took);
            json.flag("met", true);
            json.list("items", [1, 2], |json, number| json.number("n", number));
            json.nested("empty", |_| {});
        });
        let value = Value::read(&text).expect("JSON");
        assert_eq!(value.text("name"), Some("db \"main\"\\\n\u{1}é🦆"));
        assert_eq!(value.millis("took_ms"), Some(took));
        assert_eq!(value.field("met"), Some(&Value::Flag(true)));
        let items = value.list("items").expect("a list");
        assert_eq!(items[1].field("n"), Some(&Value::Number(Number("2"))));
        assert_eq!(value.field("empty"), Some(&Value::Object(Vec::new())));
        assert_eq!(value.field("none"), None);
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_ceases_to_be() {
        let deep = "[".repeat(100_000);
        let rows = [
            ("", 0, "a value is missing"),
            ("{", 1, "a field begins with its name"),
            ("{\"a\" 1}", 5, "a colon stands behind a field's name"),
            ("{\"a\":1,}", 7, "a field begins with its name"),
            ("[1 2]", 3, "a comma stands between two"),
            ("01", 1, "nothing may follow"),
            ("1.", 2, "a digit is missing"),
            ("-", 1, "a digit is missing"),
            ("tru", 0, "no value begins so"),
            ("\"a", 2, "a text does not end"),
            ("\"a\n\"", 2, "a control character in a text"),
            (r#""\x""#, 2, "no escape is written so"),
            (r#""\u12""#, 3, "four hexadecimal digits"),
            ("{} {}", 3, "nothing may follow"),
            (deep.as_str(), DEEPEST, "nested too deeply"),
        ];
        for (text, at, why) in rows {
            assert_eq!(Value::read(text), Err(NoJson { at, why }), "{text:.20}");
        }
    }

    #[test]
    fn half_a_character_is_replaced_and_two_halves_are_one() {
        let rows = [
            (r#""\ud83e\udd86""#, "🦆"),
            (r#""\ud83ex""#, "\u{fffd}x"),
            (r#""\udd86""#, "\u{fffd}"),
            (r#""\ud83e\n""#, "\u{fffd}\n"),
            (r#""\ud83e\ud83e\udd86""#, "\u{fffd}🦆"),
        ];
        for (text, read) in rows {
            let expected = Value::Text(read.into());
            assert_eq!(Value::read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn numbers_are_whole_or_milliseconds() {
        let rows = [
            ("0", 0, Some(0)),
            ("-0", 0, Some(0)),
            ("1.5", 2, Some(1_500)),
            ("1.0005", 1, Some(1_001)),
            ("1.00049", 1, Some(1_000)),
            ("0.9999999", 1, Some(1_000)),
            ("-1", -1, None),
            ("1.5e3", 1_500, Some(1_500_000)),
            ("1e-99", 0, Some(0)),
            (
                "9007199254740993",
                9_007_199_254_740_993,
                Some(9_007_199_254_740_993_000),
            ),
            ("18446744073709551615", i64::MAX, Some(u64::MAX)),
            ("1e999", i64::MAX, Some(u64::MAX)),
        ];
        for (text, whole, micros) in rows {
            let number = Number(text);
            assert_eq!(number.whole(), whole, "{text}");
            let expected = micros.map(Duration::from_micros);
            assert_eq!(number.millis(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"[\[\]{},:"\\u0-9a-f. ntr\-]{0,40}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // A number that no float holds is JSON all the same, and half a character is replaced.
            let is_ours = |error: &serde_json::Error| {
                let why = error.to_string();
                why.contains("out of range") || why.contains("surrogate") || why.contains("hex escape")
            };
            prop_assume!(!theirs.as_ref().is_err_and(is_ours));
            prop_assume!(text.matches(['[', '{']).count() < DEEPEST);
            prop_assert_eq!(Value::read(&text).is_ok(), theirs.is_ok(), "{:?}", text);
        }

        #[test]
        fn any_string_comes_back(name in any::<String>()) {
            let text = Json::object(|json| json.text("name", &name));
            let read = Value::read(&text).expect("JSON");
            prop_assert_eq!(read.text("name"), Some(name.as_str()));
        }
    }
}
