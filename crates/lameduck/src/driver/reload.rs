//! Reloads: subscribers run one after the other on a thread of their own, so that a slow one delays nothing else.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::{Command, Shared};
use crate::machine::Input;

type Subscriber = Box<dyn FnMut() -> Result<(), String> + Send>;

#[derive(Default)]
pub(super) struct Reloads {
    subscribers: Mutex<Vec<(String, Subscriber)>>,
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloads").finish_non_exhaustive()
    }
}

impl Reloads {
    pub(super) fn subscribe(&self, name: String, subscriber: Subscriber) {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name, subscriber));
    }

    /// Runs every subscriber on a thread of its own; what each says becomes a line of the report.
    pub(super) fn run(shared: &Arc<Shared>) {
        let shared = Arc::clone(shared);
        let spawned = thread::Builder::new()
            .name("lameduck-reload".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let mut subscribers = shared
                        .reloads()
                        .subscribers
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    for (name, subscriber) in subscribers.iter_mut() {
                        let what = match subscriber() {
                            Ok(()) => format!("reloaded {name}"),
                            Err(why) => {
                                format!("reload of {name} refused, the old one stays: {why}")
                            }
                        };
                        shared.say(&format!("lameduck: {what}"));
                        shared.send(Command::Input(Input::Note(what)));
                    }
                }
            });
        if let Err(error) = spawned {
            shared.send(Command::Input(Input::Note(format!(
                "reload refused: no thread for it: {error}"
            ))));
        }
    }
}
