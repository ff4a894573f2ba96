//! `Terminating`: the lame-duck window, then the sweep of the listeners.
//!
//! The window ends when it has been quiet for long enough, not before its floor, not after its ceiling; what "quiet"
//! means is decided from [`Traffic`](crate::machine::Traffic), which the driver reads on request. The phase ends when
//! every listener has said that it closed.

use core::time::Duration;

use super::{Leaving, Present, draining::Draining, leaving::Turn};
use crate::{
    machine::{Answer, Core, Effect, Input, Traffic},
    vocab::{CutBy, Phase},
};

/// How many gaps of the last minute without a request are quiet.
const QUIET_GAPS: u32 = 5;
/// How often the traffic is read: ten times in a quiet interval, within these bounds.
const LEAST_SAMPLE: Duration = Duration::from_millis(2);
const MOST_SAMPLE: Duration = Duration::from_millis(100);
/// How long listeners may take to close. A sweep bounds itself to a second, so this is
/// for a server that does not answer.
const SWEEP_LIMIT: Duration = Duration::from_millis(1_500);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Terminating {
    pub(super) leaving: Leaving,
    step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Window(Watch),
    Sweep { until: Duration },
}

/// What is known of the traffic since T.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Watch {
    requests: Option<u64>,
    last_request_at: Duration,
    quiet: Duration,
    next_sample: Duration,
}

impl Terminating {
    pub(super) fn begin(now: Duration, mut leaving: Leaving, core: &mut Core) -> Present {
        if leaving.window.is_none() {
            return Self::sweep(now, leaving, core);
        }
        leaving.in_window = true;
        let quiet = leaving.window.quiet;
        core.effect(Effect::ReadTraffic);
        let watch = Watch {
            requests: None,
            last_request_at: now,
            quiet,
            next_sample: now.saturating_add(sample_every(quiet)),
        };
        Present::Terminating(Self {
            leaving,
            step: Step::Window(watch),
        })
    }

    fn sweep(now: Duration, mut leaving: Leaving, core: &mut Core) -> Present {
        leaving.in_window = false;
        core.effect(Effect::CloseAdmission);
        let until = now
            .saturating_add(SWEEP_LIMIT)
            .min(leaving.drain_end(&core.plan));
        Self {
            leaving,
            step: Step::Sweep { until },
        }
        .swept(now, core)
    }

    /// On to `Draining` if every listener has closed, or was given its time.
    fn swept(self, now: Duration, core: &mut Core) -> Present {
        let Step::Sweep { until } = self.step else {
            return Present::Terminating(self);
        };
        let open = core.roster.admitting().join(", ");
        if !open.is_empty() && now < until {
            return Present::Terminating(self);
        }
        if !open.is_empty() {
            core.journal.note(
                now,
                format!("not known to have closed its listener in time: {open}"),
            );
        }
        Draining::begin(now, self.leaving, core)
    }

    pub(super) fn input(mut self, now: Duration, input: Input, core: &mut Core) -> Present {
        match input {
            Input::Traffic(traffic) => return self.traffic(now, traffic, core),
            Input::AdmissionClosed(id, report) => core.roster.admission_closed(now, id, report),
            Input::Answer(id, answer) => {
                if let Answer::Failed { why } = &answer {
                    core.note_failure(now, id, why);
                }
                core.roster.answer(now, id, &answer);
            }
            Input::Cut => return self.leaving.cut(now, Phase::Terminating, CutBy::Api, core),
            Input::Signal(record) => match self.leaving.signal(now, record, core) {
                Turn::Nothing => {}
                Turn::Cut(signal) => {
                    return self
                        .leaving
                        .cut(now, Phase::Terminating, CutBy::Signal(signal), core);
                }
                Turn::EndWindow => return Self::sweep(now, self.leaving, core),
            },
            _ => {}
        }
        self.swept(now, core)
    }

    fn traffic(mut self, now: Duration, traffic: Traffic, core: &mut Core) -> Present {
        let Step::Window(watch) = &mut self.step else {
            return Present::Terminating(self);
        };
        match watch.requests {
            None => {
                let gaps = traffic
                    .mean_gap
                    .map_or(Duration::ZERO, |gap| gap.saturating_mul(QUIET_GAPS));
                watch.quiet = watch.quiet.max(gaps);
            }
            Some(before) if traffic.requests != before => watch.last_request_at = now,
            Some(_) => {}
        }
        watch.requests = Some(traffic.requests);
        if now >= watch.end(&self.leaving) {
            debug_assert!(
                now >= self.leaving.after_begun(self.leaving.window.floor),
                "INV-3: only an escalation ends a window before its floor"
            );
            return Self::sweep(now, self.leaving, core);
        }
        Present::Terminating(self)
    }

    pub(super) fn wake(mut self, now: Duration, core: &mut Core) -> Present {
        if now >= self.leaving.drain_end(&core.plan) {
            self.leaving.in_window = false;
            if matches!(self.step, Step::Window(_)) {
                core.effect(Effect::CloseAdmission);
            }
            return Draining::begin(now, self.leaving, core);
        }
        match &mut self.step {
            Step::Window(_) if now >= self.leaving.after_begun(self.leaving.window.ceiling) => {
                Self::sweep(now, self.leaving, core)
            }
            Step::Window(watch) => {
                // The end is decided when the answer comes, from figures that are not older than the decision.
                core.effect(Effect::ReadTraffic);
                watch.next_sample = now.saturating_add(sample_every(watch.quiet));
                Present::Terminating(self)
            }
            Step::Sweep { .. } => self.swept(now, core),
        }
    }

    pub(super) fn timeout(&self, core: &Core) -> Duration {
        let own = match &self.step {
            Step::Window(watch) => {
                let end = watch.end(&self.leaving);
                let soon = if end > watch.next_sample {
                    watch.next_sample
                } else {
                    end.max(watch.sampled_at())
                };
                soon.min(self.leaving.after_begun(self.leaving.window.ceiling))
            }
            Step::Sweep { until } => *until,
        };
        own.min(self.leaving.drain_end(&core.plan))
    }
}

impl Watch {
    /// When the window ends if no further request comes.
    fn end(&self, leaving: &Leaving) -> Duration {
        let window = leaving.window;
        let quiet = self.last_request_at.saturating_add(self.quiet);
        quiet
            .max(leaving.after_begun(window.floor))
            .min(leaving.after_begun(window.ceiling))
    }

    /// No earlier than a little after the last sample, so that every wake moves a timer.
    fn sampled_at(&self) -> Duration {
        self.next_sample
            .saturating_sub(sample_every(self.quiet))
            .saturating_add(LEAST_SAMPLE)
    }
}

fn sample_every(quiet: Duration) -> Duration {
    (quiet / 10).clamp(LEAST_SAMPLE, MOST_SAMPLE)
}
