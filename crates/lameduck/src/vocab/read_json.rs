//! A small JSON reader, for what another life of ours wrote: bounded in depth by itself and in length by whoever reads the text.
//!
//! Owns RFC 8259's grammar. Numbers stay text: whoever asks says what it may be, and no float decides.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::{fmt, time::Duration};

/// How deep lists and objects may stand in one another: what is written here is four deep.
const DEEPEST: usize = 16;

/// One JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Flag(bool),
    /// As it was written.
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    /// In the order in which they were written; of one that stands twice the first is found.
    Object(Vec<(Cow<'a, str>, Self)>),
}

/// A text is not JSON, from this byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoJson {
    pub(crate) at: usize,
}

impl fmt::Display for NoJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no JSON from byte {} on", self.at)
    }
}

impl<'a> Value<'a> {
    /// Reads a text that holds one value, and white space around it.
    pub(crate) fn read(text: &'a str) -> Result<Self, NoJson> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == text.len() {
            Ok(value)
        } else {
            Err(reader.wrong())
        }
    }

    /// A field of an object.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find_map(|(key, value)| (key == name).then_some(value)),
            _ => None,
        }
    }

    /// A field that is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.field(name)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A field that is a list.
    pub(crate) fn list(&self, name: &str) -> Option<&[Self]> {
        match self.field(name)? {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// A field that is a number of milliseconds, to the microsecond; none below zero.
    pub(crate) fn millis(&self, name: &str) -> Option<Duration> {
        let Self::Number(text) = self.field(name)? else {
            return None;
        };
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        // An exponent or a sign is no digit, and none is ever written.
        let millis: u64 = whole.parse().ok().filter(|_| digits(whole))?;
        if !digits(part) {
            return None;
        }
        let micros = part
            .bytes()
            .chain(*b"000")
            .take(3)
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        let micros = millis.checked_mul(1_000)?.checked_add(micros)?;
        Some(Duration::from_micros(micros))
    }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self) -> NoJson {
        NoJson { at: self.at }
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

    fn needs(&mut self, byte: u8) -> Result<(), NoJson> {
        if self.takes(byte) {
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, NoJson> {
        if depth > DEEPEST {
            return Err(self.wrong());
        }
        self.space();
        match self.peek() {
            Some(b'{') => {
                let field = |reader: &mut Self| {
                    reader.space();
                    let key = reader.string()?;
                    reader.space();
                    reader.needs(b':')?;
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
            _ => self.number().map(Value::Number),
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
            self.needs(b',')?;
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, NoJson> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.wrong())
        }
    }

    /// RFC 8259 §6.
    fn number(&mut self) -> Result<&'a str, NoJson> {
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
        Ok(&self.text[begin..self.at])
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
            Err(self.wrong())
        }
    }

    /// RFC 8259 §7. Borrowed where nothing is escaped in it.
    fn string(&mut self) -> Result<Cow<'a, str>, NoJson> {
        self.needs(b'"')?;
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
                _ => return Err(self.wrong()),
            }
        }
    }

    /// What a backslash stands for; it was read.
    fn escaped(&mut self) -> Result<char, NoJson> {
        let wrong = self.wrong();
        let byte = self.peek().ok_or(wrong)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                // A pair of surrogates is one character; half a pair is none.
                let code = if (0xd800..0xdc00).contains(&first) {
                    self.needs(b'\\')?;
                    self.needs(b'u')?;
                    let second = self.hex()?;
                    if !(0xdc00..0xe000).contains(&second) {
                        return Err(wrong);
                    }
                    0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                } else {
                    first
                };
                char::from_u32(code).ok_or(wrong)?
            }
            _ => return Err(wrong),
        })
    }

    fn hex(&mut self) -> Result<u32, NoJson> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| self.wrong())?;
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
        assert_eq!(items[1].field("n"), Some(&Value::Number("2")));
        assert_eq!(value.field("empty"), Some(&Value::Object(Vec::new())));
        assert_eq!(value.field("none"), None);
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_ceases_to_be() {
        let deep = "[".repeat(100_000);
        let rows = [
            ("", 0),
            ("{", 1),
            ("{\"a\":1,}", 7),
            ("[1 2]", 3),
            ("01", 1),
            ("1.", 2),
            ("-", 1),
            ("tru", 0),
            ("\"a\n\"", 2),
            (r#""\ud800x""#, 7),
            (r#""\u12""#, 3),
            ("{} {}", 3),
            (deep.as_str(), DEEPEST + 1),
        ];
        for (text, at) in rows {
            assert_eq!(Value::read(text), Err(NoJson { at }), "{text:.20}");
        }
    }

    #[test]
    fn milliseconds_are_read_without_a_float() {
        let rows = [
            ("0", Some(0)),
            ("1.5", Some(1_500)),
            ("1.0009", Some(1_000)),
            ("18446744073709551615", None),
            ("-1", None),
            ("1e3", None),
            ("1.5e3", None),
        ];
        for (number, micros) in rows {
            let text = format!("{{\"ms\":{number}}}");
            let value = Value::read(&text).expect("JSON");
            let expected = micros.map(Duration::from_micros);
            assert_eq!(value.millis("ms"), expected, "{number}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"[\[\]{},:"\\u0-9a-f. ntr\-]{0,40}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // A number that no float holds is JSON all the same.
            let too_large = |error: &serde_json::Error| error.to_string().contains("out of range");
            prop_assume!(!theirs.as_ref().is_err_and(too_large));
            prop_assume!(text.matches(['[', '{']).count() <= DEEPEST);
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
