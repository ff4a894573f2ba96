//! Owns what a raw client hears from an HTTP/1.x server: one answer after the other, each with its times.
//! Not: what the answers mean for a check (see `scenario`).

use std::time::Instant;

use super::outcome::{End, Outcome, Usual, classify};
use super::response::ResponseReader;

/// One answer, as far as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reader: ResponseReader,
    pub(crate) first_byte_at: Option<Instant>,
    /// When the last bytes of it so far came.
    pub(crate) last_bytes_at: Option<Instant>,
    /// When its last byte came.
    pub(crate) whole_at: Option<Instant>,
    malformed: bool,
}

/// Answers in the order in which they came on one connection; never more than were asked for.
#[derive(Debug)]
pub(crate) struct Answers {
    all: Vec<Answer>,
    expected: usize,
    /// How the connection ended, and when.
    pub(crate) end: Option<(Instant, End)>,
    /// Bytes behind the last answer that was asked for.
    pub(crate) surplus: u64,
}

impl Answers {
    /// Will hear as many answers as there are requests.
    pub(crate) fn to(requests: usize) -> Self {
        let mut answers = Self {
            all: Vec::new(),
            expected: requests.max(1),
            end: None,
            surplus: 0,
        };
        answers.next();
        answers
    }

    fn next(&mut self) {
        self.all.push(Answer {
            reader: ResponseReader::new(),
            first_byte_at: None,
            last_bytes_at: None,
            whole_at: None,
            malformed: false,
        });
    }

    pub(crate) fn hear(&mut self, mut bytes: &[u8], at: Instant) {
        while !bytes.is_empty() {
            let len = self.all.len();
            let Some(answer) = self.all.last_mut() else {
                return;
            };
            if answer.malformed {
                return;
            }
            if answer.reader.is_complete() {
                if len == self.expected {
                    self.surplus += bytes.len() as u64;
                    return;
                }
                self.next();
                continue;
            }
            answer.first_byte_at.get_or_insert(at);
            answer.last_bytes_at = Some(at);
            match answer.reader.push(bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(_) => answer.malformed = true,
            }
            if answer.reader.is_complete() {
                answer.whole_at = Some(at);
            }
        }
    }

    pub(crate) fn ended(&mut self, end: End, at: Instant) {
        self.end.get_or_insert((at, end));
        if let (End::Fin, Some(last)) = (end, self.all.last_mut()) {
            last.reader.end_of_stream();
            if last.reader.is_complete() {
                last.whole_at.get_or_insert(at);
            }
        }
    }

    /// The answer to the request of that index, if a byte of it came.
    pub(crate) fn get(&self, index: usize) -> Option<&Answer> {
        self.all
            .get(index)
            .filter(|answer| answer.reader.has_begun())
    }

    /// How many answers came whole.
    pub(crate) fn whole(&self) -> usize {
        self.all
            .iter()
            .filter(|answer| answer.reader.is_complete() && !answer.malformed)
            .count()
    }

    /// Every answer that was asked for came whole.
    pub(crate) fn is_all_whole(&self) -> bool {
        self.whole() == self.expected
    }

    /// What the request of that index got; `None` while that is open.
    pub(crate) fn outcome(&self, index: usize, usual: Usual) -> Option<Outcome> {
        let end = self.end.map(|(_, end)| end);
        if let Some(answer) = self.all.get(index) {
            let outcome = classify(&answer.reader, answer.malformed, end, usual)?;
            if !outcome.is_unanswered() || answer.reader.has_begun() || index == 0 {
                return Some(outcome);
            }
        }
        // Nothing of it came: the answer before it may have said why.
        let before = self.all.get(index.min(self.all.len()).checked_sub(1)?)?;
        let told =
            before.reader.is_complete() && before.reader.head().is_some_and(|head| head.close);
        match end? {
            _ if told => Some(Outcome::UnprocessedSafe),
            End::Fin => Some(Outcome::Eof),
            End::Reset => Some(Outcome::Reset),
            End::GaveUp => Some(Outcome::Hung),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

    fn heard(bytes: &[&[u8]], end: End) -> [Option<Outcome>; 3] {
        let stream = bytes.concat();
        let mut seen = Vec::new();
        for split in 0..=stream.len() {
            let mut answers = Answers::to(3);
            let now = Instant::now();
            answers.hear(&stream[..split], now);
            answers.hear(&stream[split..], now);
            answers.ended(end, now);
            seen.push([0, 1, 2].map(|index| answers.outcome(index, Usual::Good)));
        }
        assert!(seen.iter().all(|outcomes| *outcomes == seen[0]));
        seen[0]
    }

    #[test]
    fn pipelined_requests_behind_a_close_are_safe_and_others_are_not() {
        use Outcome::{Eof, Reset, Served, ServedClose, Truncated, UnprocessedSafe};
        assert_eq!(heard(&[OK, OK, OK], End::Fin), [Some(Served); 3]);
        assert_eq!(
            heard(&[OK, CLOSE], End::Fin),
            [Some(Served), Some(ServedClose), Some(UnprocessedSafe)]
        );
        assert_eq!(
            heard(&[CLOSE], End::Reset),
            [
                Some(ServedClose),
                Some(UnprocessedSafe),
                Some(UnprocessedSafe)
            ]
        );
        assert_eq!(heard(&[OK], End::Fin), [Some(Served), Some(Eof), Some(Eof)]);
        assert_eq!(
            heard(&[OK, &OK[..20]], End::Fin),
            [Some(Served), Some(Truncated), Some(Eof)]
        );
        assert_eq!(heard(&[], End::Reset), [Some(Reset); 3]);
    }

    #[test]
    fn bytes_that_nobody_asked_for_are_counted() {
        let mut answers = Answers::to(1);
        answers.hear(&[OK, OK].concat(), Instant::now());
        assert_eq!((answers.whole(), answers.surplus), (1, OK.len() as u64));
    }
}
