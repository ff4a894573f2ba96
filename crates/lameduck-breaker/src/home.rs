//! Breakers that belong to a lifecycle (feature `lameduck`): what its drain breaks never counts, and what they do is on record.
//!
//! Owns which failures a drain may have caused. It changes no breaker: it makes settings out of what every program can set.

use std::sync::Arc;

use lameduck::{Lifecycle, Phase, Switch, Weight};

use crate::panel::Panel;
use crate::settings::Settings;
use crate::transition::{State, Transition};
use crate::verdict::Fault;

impl Settings {
    /// Breakers made with these settings belong to this lifecycle.
    ///
    /// Their transitions are told to its observers and stand in its audit, they are listed in its [`Panel`] (`life.common::<Panel>()`, which
    /// `lameduck-http` shows), and what its drain breaks never counts.
    ///
    /// # Phases
    /// From the window's end on failures count as nothing, those of a cut among them, and in `Terminating` those that say 503 do, except in clients' calls: see [the manual](crate::manual::choosing).
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lameduck::{Lifecycle, Plan, Preset};
    /// use lameduck_breaker::{Breaker, Panel, Settings, State};
    ///
    /// let life = Lifecycle::embedded(Plan::preset(Preset::Local))?;
    /// let db = Breaker::new("db", Settings::new().lifecycle(&life).failures_in_a_row(1))?;
    /// assert_eq!(life.common::<Panel>().breakers(64).len(), 1);
    /// life.shutdown("the example is over");
    /// life.cut();
    /// life.wait();
    /// db.acquire()?.failure();
    /// assert_eq!(db.state(), State::Closed, "our own end is nobody's failure");
    /// # Ok(()) }
    /// ```
    pub fn lifecycle(self, life: &Lifecycle) -> Self {
        let (asks, drain, tells) = (life.clone(), life.drain(), life.clone());
        self.panel(&life.common::<Panel>())
            .excuse(Arc::new(move |fault| {
                // The window is over a moment before the phase says so, and a cut ends it all without another phase.
                let is_over = drain.is_closing() || asks.report().is_some();
                is_over || is_ours(asks.phase(), fault)
            }))
            .on_transition(move |transition| tells.switched(switch(transition)))
    }
}

/// Whether a service that leaves may have broken it itself.
fn is_ours(phase: Phase, fault: Fault) -> bool {
    match fault {
        // In the lame-duck window all is served as ever; what is turned away is turned away by handlers that know.
        Fault::TurnedAway => phase.is_leaving(),
        Fault::Failed => phase >= Phase::Draining,
    }
}

fn switch(transition: &Transition) -> Switch {
    let is_grave = matches!(transition.to, State::Open | State::ForcedOpen);
    Switch::new("breaker", transition.label.to_string())
        .turned(transition.from.as_str(), transition.to.as_str())
        .because(transition.why.to_string())
        .weighing(if is_grave {
            Weight::Warning
        } else {
            Weight::Info
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_window_only_what_is_turned_away_is_ours_and_in_the_drain_all_of_it() {
        for (phase, failed, turned_away) in [
            (Phase::Initializing, false, false),
            (Phase::Running, false, false),
            (Phase::Terminating, false, true),
            (Phase::Draining, true, true),
            (Phase::Stopped, true, true),
        ] {
            assert_eq!(is_ours(phase, Fault::Failed), failed, "{phase}");
            assert_eq!(is_ours(phase, Fault::TurnedAway), turned_away, "{phase}");
        }
    }
}
