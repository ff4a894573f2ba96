//! What happens as spans and events of the crate `tracing` (feature `tracing`).

use std::{collections::BTreeMap, fmt};

use tracing::{Level, Span, event, info_span};

use crate::{
    driver::Observer,
    vocab::{News, Observed, Phase, SignalVerdict, Weight},
};

/// Tells the program's `tracing` subscriber what happens to a lifecycle: an event for each [`Observed`], inside the span of the phase or
/// of the participant that it is about. The target of all of them is `lameduck`, and the spans `life` and `shutdown`, under which the
/// others stand, bear the `drain_id`.
///
/// | span | fields | lasts |
/// |---|---|---|
/// | `life` | `drain_id` | until the request to stop |
/// | `shutdown` | `drain_id`, `cause` | from there to the end |
/// | `phase` | `phase` | as the phase |
/// | `participant` | `participant` | from enrolment until it has ended; from the request on under `shutdown` |
/// | `hook` | `participant` | as the stop hook |
///
/// It runs on an observer's thread, so the subscriber has to be the global default, and a subscriber that is slow delays nobody; times
/// are those of that thread. Where times have to be exact (a trace that is exported), take them from [`Observed`] itself.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lameduck::{Lifecycle, Plan, Preset, Tracing, Window};
///
/// let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
/// life.observe("tracing", Tracing::new(life.drain_id()))?;
/// life.shutdown("the example is over");
/// let _ = life.wait();
/// # Ok(()) }
/// ```
#[must_use = "register it with `Lifecycle::observe`"]
pub struct Tracing {
    drain_id: String,
    /// `life`, and later `shutdown`.
    root: Span,
    phase: Span,
    leaving: bool,
    participants: BTreeMap<String, Span>,
    hooks: BTreeMap<String, Span>,
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracing")
            .field("drain_id", &self.drain_id)
            .finish_non_exhaustive()
    }
}

impl Tracing {
    /// For the lifecycle of this [`drain_id`](crate::Lifecycle::drain_id).
    pub fn new(drain_id: impl Into<String>) -> Self {
        Self {
            drain_id: drain_id.into(),
            // Made when there is something to tell: by then the program has set its subscriber.
            root: Span::none(),
            phase: Span::none(),
            leaving: false,
            participants: BTreeMap::new(),
            hooks: BTreeMap::new(),
        }
    }

    fn begin(&mut self) {
        if self.root.is_none() {
            self.root =
                info_span!(target: "lameduck", parent: None, "life", drain_id = %self.drain_id);
            self.phase = self.span_of(Phase::Initializing);
        }
    }

    fn span_of(&self, phase: Phase) -> Span {
        info_span!(target: "lameduck", parent: &self.root, "phase", phase = phase.as_str())
    }

    /// Spans that begin with this.
    fn open(&mut self, seen: &Observed) {
        match &seen.news {
            // What begins the shutdown belongs to it; its phase follows.
            News::Signal {
                record,
                verdict: SignalVerdict::Started,
                ..
            } => self.leave(format!("{} from {}", record.signal, record.sender)),
            News::PhaseChanged { to, cause, .. } => {
                if to.is_leaving() {
                    self.leave(cause.as_ref().map_or_else(String::new, ToString::to_string));
                }
                self.phase = self.span_of(*to);
            }
            News::Enrolled { name, .. } => {
                let span = info_span!(target: "lameduck", parent: &self.root, "participant", participant = name.as_str());
                self.participants.insert(name.clone(), span);
            }
            News::HookBegan { name } => {
                let span = info_span!(target: "lameduck", parent: &self.root, "hook", participant = name.as_str());
                self.hooks.insert(name.clone(), span);
            }
            _ => {}
        }
    }

    /// Begins the span of the shutdown, under which all that follows stands.
    fn leave(&mut self, cause: String) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        self.root = info_span!(target: "lameduck", parent: None, "shutdown", drain_id = %self.drain_id, cause);
        let root = &self.root;
        // The phase in which it was asked goes on for a moment.
        self.phase = Span::clone(root);
        for (name, span) in &mut self.participants {
            *span = info_span!(target: "lameduck", parent: root, "participant", participant = name.as_str());
        }
    }

    /// What it is about.
    fn place(&self, news: &News) -> &Span {
        let found = match news {
            News::HookBegan { name } | News::HookEnded { name, .. } => self.hooks.get(name),
            News::Enrolled { name, .. }
            | News::Ready { name }
            | News::Away { name, .. }
            | News::Returned { name }
            | News::Granted { name, .. }
            | News::Answered { name }
            | News::ToldToClose { name }
            | News::AskedAgain { name }
            | News::Ended { name, .. }
            | News::ListenerClosed { name, .. } => self.participants.get(name),
            _ => None,
        };
        found.unwrap_or(&self.phase)
    }

    /// Spans that end with this.
    fn close(&mut self, news: &News) {
        match news {
            News::Ended { name, .. } => drop(self.participants.remove(name)),
            News::HookEnded { name, .. } => drop(self.hooks.remove(name)),
            News::Exit { .. } => {
                self.participants.clear();
                self.hooks.clear();
                self.phase = Span::none();
                self.root = Span::none();
            }
            _ => {}
        }
    }
}

/// As an event, with what is in flight.
macro_rules! tell {
    ($level:expr, $drain_id:expr, $seen:expr) => {
        event!(
            target: "lameduck",
            $level,
            kind = $seen.news.as_str(),
            number = $seen.number,
            connections = $seen.inflight.connections,
            busy = $seen.inflight.busy,
            guards = $seen.inflight.guards,
            drain_id = %$drain_id,
            "{}",
            $seen.news
        )
    };
}

impl Observer for Tracing {
    fn observe(&mut self, seen: &Observed) {
        self.begin();
        self.open(seen);
        // Entered, not only named as parent: not every subscriber looks at an event's parent.
        self.place(&seen.news)
            .in_scope(|| match seen.news.weight() {
                Weight::Error => tell!(Level::ERROR, self.drain_id, seen),
                Weight::Warning => tell!(Level::WARN, self.drain_id, seen),
                Weight::Info => tell!(Level::INFO, self.drain_id, seen),
            });
        self.close(&seen.news);
    }

    fn missed(&mut self, count: u64) {
        self.begin();
        self.phase.in_scope(|| {
            event!(target: "lameduck", Level::WARN, drain_id = %self.drain_id, missed = count, "{count} happenings were missed");
        });
    }
}
