//! What the driver needs from the world, as two traits that edges implement.

use std::{os::fd::BorrowedFd, time::Duration};

use crate::vocab::{Outcome, Signal, SignalRecord};

/// Where signals come from.
pub(crate) trait Signals: Send {
    /// Becomes readable when there is a signal.
    fn fd(&self) -> BorrowedFd<'_>;
    /// The signals that arrived, most urgent first.
    fn drain(&mut self, into: &mut Vec<SignalRecord>);
    /// Called once on the driver's thread: from here on it accepts them.
    fn adopt(&self);
    /// Signals that came while there was no room for their record: they arrived, but nobody knows from whom.
    fn lost(&self) -> u64;
    /// Signals whose handler somebody has replaced since: they no longer arrive here.
    fn replaced(&self) -> Vec<Signal>;
    /// What is wrong with the signal channels of this process, in sentences.
    fn disturbed_channels(&self) -> Vec<String>;
}

/// What is to be done when the report is written, on whatever thread.
pub(crate) type Then = Box<dyn FnOnce() + Send>;

/// How a process says what happened, and ends.
pub(crate) trait LastWords: Send {
    /// Writes a text for people to stderr, waiting at most `patience`.
    fn say(&mut self, text: &str, patience: Duration);
    /// Writes the report wherever reports go, waiting at most `patience`. Who has written last does `then`, so that nobody has to be woken in
    /// between; past `patience` nobody may have done it yet.
    fn report(&mut self, json: &str, patience: Duration, then: Then);
    /// Ends the process as the outcome says.
    fn end(&mut self, outcome: Outcome) -> !;
    /// Ends the process as SIGQUIT does.
    fn die_by_quit(&mut self) -> !;
}
