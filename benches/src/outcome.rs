//! How one request ended, decided from what its client saw.
//!
//! Owns: the outcomes of the shutdown contract that an HTTP/1.1 client can tell apart, and which of them are a loss.
//! Pure: no socket, no clock. Not here: what was promised to which idle time (`tally`).

use std::fmt;

use serde::Serialize;

/// How much of the request left the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// Not one byte: the connection was found closed at the first write.
    Nothing,
    /// Some bytes, not all.
    Part,
    /// All of it.
    Whole,
}

/// How much of an answer arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Not one byte.
    None,
    /// At least one byte, but less than the framing announced.
    Partial,
    /// All that the framing announced.
    Whole(Meaning),
}

/// What a whole answer says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// What was asked for, on a connection that stays.
    Expected,
    /// What was asked for, with `Connection: close`.
    ExpectedAndClose,
    /// 503 with `Retry-After` and `Connection: close`: safe to send elsewhere.
    RetrySafe,
    /// Another status, or a body that is not what was asked for.
    Unexpected,
}

/// What ended the exchange on the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Nothing: the answer was complete.
    Open,
    /// End of file.
    Fin,
    /// A reset, or a broken pipe.
    Reset,
    /// The client's patience.
    GaveUp,
}

/// All that the client saw of one exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// How much of the request left.
    pub sent: Sent,
    /// How much of the answer came.
    pub answer: Answer,
    /// What ended it.
    pub end: End,
}

/// How one request ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Answered as asked; the connection stays.
    Served,
    /// Answered as asked, with `Connection: close`.
    ServedClose,
    /// Refused so that it can safely be sent elsewhere.
    Refused503,
    /// The connection was closed before a byte of the request left: not a request.
    ClosedBeforeWrite,
    /// Whole request, no answer, end of file.
    Eof,
    /// Whole request, no answer, reset.
    Reset,
    /// The answer stopped before its end.
    Truncated,
    /// Neither answer nor end within the client's patience.
    Hung,
    /// The connection ended while the request was still being sent.
    CutWhileSending,
    /// A whole answer, but not to what was asked.
    Unexpected,
}

impl Outcome {
    /// Decides how a request ended from what its client saw.
    pub fn classify(seen: Evidence) -> Self {
        match (seen.answer, seen.sent, seen.end) {
            (Answer::Whole(Meaning::RetrySafe), _, _) => Self::Refused503,
            // Success before the request was read cannot be an answer to it.
            (Answer::Whole(_), Sent::Nothing | Sent::Part, _) => Self::Unexpected,
            (Answer::Whole(Meaning::Unexpected), ..) => Self::Unexpected,
            (Answer::Whole(Meaning::Expected), ..) => Self::Served,
            (Answer::Whole(Meaning::ExpectedAndClose), ..) => Self::ServedClose,
            (_, _, End::GaveUp | End::Open) => Self::Hung,
            (Answer::Partial, ..) => Self::Truncated,
            (Answer::None, Sent::Nothing, _) => Self::ClosedBeforeWrite,
            (Answer::None, Sent::Part, _) => Self::CutWhileSending,
            (Answer::None, Sent::Whole, End::Fin) => Self::Eof,
            (Answer::None, Sent::Whole, End::Reset) => Self::Reset,
        }
    }

    /// Whether the client lost something that it cannot know to be safe to repeat.
    pub fn is_lost(self) -> bool {
        match self {
            Self::Served | Self::ServedClose | Self::Refused503 | Self::ClosedBeforeWrite => false,
            Self::Eof
            | Self::Reset
            | Self::Truncated
            | Self::Hung
            | Self::CutWhileSending
            | Self::Unexpected => true,
        }
    }

    /// Whether the loss can be a write that crossed the server's FIN (two generals): no answer byte was seen.
    pub fn may_have_crossed(self) -> bool {
        matches!(self, Self::Eof | Self::Reset | Self::CutWhileSending)
    }

    /// The outcome's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::ServedClose => "served+close",
            Self::Refused503 => "refused-503",
            Self::ClosedBeforeWrite => "closed-before-write",
            Self::Eof => "eof",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Hung => "hung",
            Self::CutWhileSending => "cut-while-sending",
            Self::Unexpected => "unexpected-answer",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(sent: Sent, answer: Answer, end: End) -> Outcome {
        Outcome::classify(Evidence { sent, answer, end })
    }

    #[test]
    fn a_whole_request_without_an_answer_is_lost() {
        for (end, outcome) in [
            (End::Fin, Outcome::Eof),
            (End::Reset, Outcome::Reset),
            (End::GaveUp, Outcome::Hung),
        ] {
            let seen = classify(Sent::Whole, Answer::None, end);
            assert_eq!(seen, outcome);
            assert!(seen.is_lost());
        }
    }

    #[test]
    fn an_answer_cut_short_is_truncated_whatever_cut_it() {
        for end in [End::Fin, End::Reset] {
            let seen = classify(Sent::Whole, Answer::Partial, end);
            assert_eq!(seen, Outcome::Truncated);
            assert!(seen.is_lost() && !seen.may_have_crossed());
        }
    }

    #[test]
    fn a_connection_found_closed_is_not_a_loss() {
        for end in [End::Fin, End::Reset] {
            let seen = classify(Sent::Nothing, Answer::None, end);
            assert_eq!(seen, Outcome::ClosedBeforeWrite);
            assert!(!seen.is_lost());
        }
    }

    #[test]
    fn a_request_cut_while_it_is_sent_is_lost() {
        assert_eq!(
            classify(Sent::Part, Answer::None, End::Fin),
            Outcome::CutWhileSending
        );
        assert!(Outcome::CutWhileSending.is_lost());
    }

    #[test]
    fn only_an_expected_answer_to_a_whole_request_is_served() {
        assert_eq!(
            classify(Sent::Whole, Answer::Whole(Meaning::Expected), End::Open),
            Outcome::Served
        );
        assert_eq!(
            classify(
                Sent::Whole,
                Answer::Whole(Meaning::ExpectedAndClose),
                End::Fin
            ),
            Outcome::ServedClose
        );
        assert!(classify(Sent::Whole, Answer::Whole(Meaning::Unexpected), End::Open).is_lost());
        assert!(classify(Sent::Part, Answer::Whole(Meaning::Expected), End::Open).is_lost());
    }

    #[test]
    fn a_retry_safe_refusal_is_not_a_loss_even_before_the_request_is_whole() {
        for sent in [Sent::Part, Sent::Whole] {
            let seen = classify(sent, Answer::Whole(Meaning::RetrySafe), End::Fin);
            assert_eq!(seen, Outcome::Refused503);
            assert!(!seen.is_lost());
        }
    }
}
