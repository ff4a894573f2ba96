//! Reloads: subscribers run one after the other on a thread of their own, so that a slow one delays nothing else.
//!
//! At most one such thread lives (INV-11). Signals that come while it works are one more round, however many they are.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{Shared, supervisor::Word};
use crate::{machine::Input, vocab::News};

type Subscriber = Box<dyn FnMut() -> Result<(), String> + Send>;

#[derive(Default)]
struct Inner {
    subscribers: Vec<(String, Subscriber)>,
    round: Round,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Round {
    #[default]
    None,
    Running,
    /// Another signal came meanwhile.
    Again,
}

#[derive(Default)]
pub(super) struct Reloads {
    inner: Mutex<Inner>,
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloads").finish_non_exhaustive()
    }
}

impl Reloads {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(&self, name: String, subscriber: Subscriber) {
        self.lock().subscribers.push((name, subscriber));
    }

    /// Runs every subscriber on a thread of its own; what each says becomes a line of the report.
    pub(super) fn run(shared: &Arc<Shared>) {
        {
            let mut inner = shared.reloads().lock();
            if inner.round != Round::None {
                inner.round = Round::Again;
                return;
            }
            inner.round = Round::Running;
        }
        let reloading = Arc::clone(shared);
        let spawned = thread::Builder::new()
            .name("lameduck-reload".to_owned())
            .spawn(move || while reloading.reloads().round(&reloading) {});
        if let Err(error) = spawned {
            shared.reloads().lock().round = Round::None;
            // A manager that waits for the reload it asked for must hear that it is over.
            shared.tell(|| vec![Word::Reloading]);
            shared.tell(|| vec![Word::Ready]);
            let what = format!("reload refused: no thread for it: {error}");
            shared.send(Input::Note(what));
        }
    }

    /// One round; says whether another is due. The lock is not held while foreign code runs.
    fn round(&self, shared: &Shared) -> bool {
        shared.tell(|| vec![Word::Reloading]);
        let mut subscribers = core::mem::take(&mut self.lock().subscribers);
        for (name, subscriber) in &mut subscribers {
            let result = catch_unwind(AssertUnwindSafe(subscriber))
                .unwrap_or_else(|_| Err("it panicked".to_owned()));
            let name = name.clone();
            let reloaded = News::Reloaded { name, result };
            // Before it is said: who reads the line finds it in the status.
            let said = format!("lameduck: {reloaded}");
            if let News::Reloaded { name, result } = reloaded {
                shared.send(Input::Reloaded { name, result });
            }
            shared.say(&said);
        }
        let mut inner = self.lock();
        // Those that subscribed meanwhile stand behind the others.
        subscribers.append(&mut inner.subscribers);
        inner.subscribers = subscribers;
        let again = inner.round == Round::Again;
        // Under the lock, so that it stands before what a next reload says.
        if !again && !shared.phase().is_leaving() {
            shared.tell(|| vec![Word::Ready]);
        }
        inner.round = if again { Round::Running } else { Round::None };
        again
    }
}
