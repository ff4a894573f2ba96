//! The hooks that a handler adds to its own request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lameduck::inflight::{Afterwards, NotKept};

use super::RequestEnd;

/// How many hooks one request may be given by its handler.
const MOST_OF_A_REQUEST: usize = 64;

pub(super) type OwnHook = Box<dyn FnOnce(&RequestEnd) + Send>;

/// Adds hooks to one request; found in its extensions under [`RequestHooks`](super::RequestHooks).
#[derive(Clone)]
pub struct OnEnd {
    own: Arc<Own>,
}

struct Own {
    /// Closed once the request is over.
    hooks: Afterwards<OwnHook>,
    cut: AtomicBool,
    /// Of the same request, for a layer around this one.
    outer: Option<OnEnd>,
}

impl fmt::Debug for OnEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnEnd").finish_non_exhaustive()
    }
}

impl OnEnd {
    pub(super) fn within(outer: Option<Self>) -> Self {
        Self {
            own: Arc::new(Own {
                hooks: Afterwards::bounded(MOST_OF_A_REQUEST),
                cut: AtomicBool::new(false),
                outer,
            }),
        }
    }

    /// Runs this hook when the request is over, after those of the layer.
    ///
    /// # Errors
    /// [`HookRefused`] if it is over already, or has 64 hooks; the hook does not run then.
    pub fn run(&self, hook: impl FnOnce(&RequestEnd) + Send + 'static) -> Result<(), HookRefused> {
        let kept = self.own.hooks.push(Box::new(hook));
        kept.map_err(|refused| match refused {
            NotKept::Closed(_) => HookRefused::Over,
            NotKept::Full(_) => HookRefused::TooMany,
        })
    }

    /// The request is over: what is to run now.
    pub(super) fn close(&self) -> Vec<OwnHook> {
        self.own.hooks.close()
    }

    /// The request's response was cut on purpose, by a layer within.
    pub(in crate::layer) fn note_cut(&self) {
        // Read by the task that serves the request, which is the one that calls this.
        self.own.cut.store(true, Ordering::Relaxed);
        if let Some(outer) = &self.own.outer {
            outer.note_cut();
        }
    }

    pub(super) fn was_cut(&self) -> bool {
        self.own.cut.load(Ordering::Relaxed)
    }
}

/// Why a hook was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HookRefused {
    /// The request has ended.
    Over,
    /// It has 64 hooks of its own.
    TooMany,
}

impl fmt::Display for HookRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over => f.write_str("the request has ended"),
            Self::TooMany => write!(f, "a request takes {MOST_OF_A_REQUEST} hooks of its own"),
        }
    }
}

impl std::error::Error for HookRefused {}
