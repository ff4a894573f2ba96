//! Owns watching a target's declared health pages from a thread of its own while a drain goes on (A1).
//! Not: judging what was seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::target::{Answer, Running, Url, VerifyError, ask};

/// Between two looks at a page.
const STEP: Duration = Duration::from_millis(2);

/// What a health page said over time.
#[derive(Debug, Clone, Default)]
pub(crate) struct PageLog {
    /// The begin of the last question that was answered 2xx.
    pub(crate) last_true: Option<Instant>,
    /// When a whole answer other than 2xx was first read, with its status.
    pub(crate) first_false: Option<(Instant, u16)>,
    /// When it first gave no answer at all.
    pub(crate) first_silent: Option<Instant>,
}

/// Both pages.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProbeLog {
    pub(crate) drain: PageLog,
    pub(crate) liveness: Option<PageLog>,
}

/// A watch that goes on.
#[derive(Debug)]
pub(crate) struct Probes {
    over: Arc<AtomicBool>,
    thread: JoinHandle<ProbeLog>,
}

impl Probes {
    /// Begins to watch, where the target declares a drain signal.
    pub(crate) fn watch(options: &Options, running: &Running) -> Result<Option<Self>, VerifyError> {
        let Some(signal) = &options.target.drain_signal else {
            return Ok(None);
        };
        let drain = Url::parse(&running.place.fill(&signal.url))?;
        let liveness = signal
            .liveness_url
            .as_ref()
            .map(|url| Url::parse(&running.place.fill(url)))
            .transpose()?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut log = ProbeLog {
                liveness: liveness.as_ref().map(|_| PageLog::default()),
                ..ProbeLog::default()
            };
            // Acquire pairs with the Release in `finish`.
            while !ended.load(Ordering::Acquire) {
                log.drain.look(&drain);
                if let (Some(page), Some(url)) = (&mut log.liveness, &liveness) {
                    page.look(url);
                }
                std::thread::park_timeout(STEP);
            }
            log
        });
        Ok(Some(Self { over, thread }))
    }

    pub(crate) fn finish(self) -> ProbeLog {
        // Release pairs with the Acquire in the watching thread.
        self.over.store(true, Ordering::Release);
        self.thread.join().unwrap_or_default()
    }
}

impl PageLog {
    fn look(&mut self, url: &Url) {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            url.path, url.host
        );
        let asked_at = Instant::now();
        match ask(url.addr, request.as_bytes(), Duration::from_millis(500)) {
            answer if answer.is_good() => self.last_true = Some(asked_at),
            Answer::Whole { head, .. } => {
                self.first_false
                    .get_or_insert((Instant::now(), head.status));
            }
            Answer::Refused | Answer::Nothing => {
                self.first_silent.get_or_insert_with(Instant::now);
            }
        }
    }
}
