//! The look at channels that somebody else may have disturbed.

use super::channel::unblocked;
use super::claims::{self, Taker};

/// How many threads are looked at in one check of a signalfd's signals; the first ones are the oldest.
const THREADS: usize = 256;

/// What is wrong with the channels of this process, one sentence for each signal; normally nothing.
///
/// One question to the kernel for each signal that a channel takes; a read of `/proc` for each of the first 256 threads, if there
/// is a signalfd.
pub(crate) fn check_channels() -> Vec<String> {
    let replaced = claims::replaced(claims::taken(Taker::Channel));
    let mut found: Vec<String> = replaced
        .iter()
        .map(|signo| {
            format!(
                "the handler of {signo} was replaced by another library: channels no longer hear it"
            )
        })
        .collect();
    let by_fd = claims::taken(Taker::SignalFd);
    if !by_fd.is_empty()
        && let Some((signo, thread, name)) = unblocked(by_fd, THREADS)
    {
        found.push(format!(
            "thread {thread} ({name}) does not block {signo}: its signalfd channel may miss it, and the process may die of it"
        ));
    }
    found
}
