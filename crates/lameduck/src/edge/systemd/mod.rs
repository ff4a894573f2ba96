//! The systemd edge: sd_notify(3), by the protocol of `NOTIFY_SOCKET` (features `systemd`).
//!
//! Owns how things are said; what is said when is the driver's. A thread of its own writes, because the socket's queue may be full for as
//! long as the manager is busy, and the driver waits for nobody.

use std::{
    env, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use sd_notify::NotifyState;

use crate::driver::{Supervisor, Word};

/// Messages that may wait behind one that is stuck; further ones are dropped and counted.
const WAITING_MAX: usize = 64;

/// Says things to the service manager that started this process.
#[derive(Debug)]
pub(crate) struct Notifier {
    messages: SyncSender<Vec<Word>>,
    dropped: AtomicU64,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The notifier that the environment asks for; None where `NOTIFY_SOCKET` is not set.
    ///
    /// # Errors
    /// No thread is left.
    pub(crate) fn from_env() -> io::Result<Option<Arc<dyn Supervisor>>> {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(None);
        }
        let (messages, queue) = mpsc::sync_channel(WAITING_MAX);
        thread::Builder::new()
            .name("lameduck-notify".to_owned())
            .spawn(move || work(&queue))?;
        Ok(Some(Arc::new(Self {
            messages,
            dropped: AtomicU64::new(0),
            // Of another process where WATCHDOG_PID says so.
            watchdog: sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()),
        })))
    }
}

impl Supervisor for Notifier {
    fn tell(&self, words: Vec<Word>) {
        if self.messages.try_send(words).is_err() {
            // Relaxed: a figure.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn work(queue: &Receiver<Vec<Word>>) {
    for words in queue {
        let mut states = Vec::with_capacity(words.len() + 1);
        for word in &words {
            say(word, &mut states);
        }
        // A manager that does not listen has its own rules for that.
        let _ = sd_notify::notify(&states);
    }
}

fn say<'a>(word: &'a Word, states: &mut Vec<NotifyState<'a>>) {
    if *word == Word::Reloading {
        // `Type=notify-reload` compares it with the time of its signal (sd_notify(3)).
        states.extend(NotifyState::monotonic_usec_now());
    }
    states.push(match word {
        Word::Ready => NotifyState::Ready,
        Word::Reloading => NotifyState::Reloading,
        Word::Stopping => NotifyState::Stopping,
        Word::Status(text) => NotifyState::Status(text),
        Word::Extend(more) => {
            NotifyState::ExtendTimeoutUsec(u32::try_from(more.as_micros()).unwrap_or(u32::MAX))
        }
        Word::Alive => NotifyState::Watchdog,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_sd_notify() {
        let words = [
            Word::Ready,
            Word::Stopping,
            Word::Status("draining".to_owned()),
            Word::Extend(Duration::from_millis(1_500)),
            Word::Extend(Duration::from_secs(1_000_000)),
            Word::Alive,
        ];
        let mut states = Vec::new();
        words.iter().for_each(|word| say(word, &mut states));
        let said: Vec<_> = states.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "READY=1",
                "STOPPING=1",
                "STATUS=draining",
                "EXTEND_TIMEOUT_USEC=1500000",
                "EXTEND_TIMEOUT_USEC=4294967295",
                "WATCHDOG=1"
            ]
        );
    }
}
