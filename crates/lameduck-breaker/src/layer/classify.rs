//! What came of a call, by its answer.

use crate::verdict::Verdict;

/// Says what came of a call. A closure `Fn(Result<&Response, &Error>) -> Verdict` is one.
pub trait Classify<Response, Error> {
    /// What came of it.
    fn classify(&self, answer: Result<&Response, &Error>) -> Verdict;
}

impl<Response, Error, F> Classify<Response, Error> for F
where
    F: Fn(Result<&Response, &Error>) -> Verdict,
{
    fn classify(&self, answer: Result<&Response, &Error>) -> Verdict {
        self(answer)
    }
}

/// An error is a failure, any response a success.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorsFail;

impl<Response, Error> Classify<Response, Error> for ErrorsFail {
    fn classify(&self, answer: Result<&Response, &Error>) -> Verdict {
        match answer {
            Ok(_) => Verdict::Success,
            Err(_) => Verdict::Failure,
        }
    }
}
