//! A rehearsal: the way out is walked once with a throw-away machine when the driver starts.
//!
//! The first termination signal comes after hours or days, often because the machine is short of memory. Walking the
//! path once maps its code and the allocator's first pages, so that the signal does not wait for a dozen page faults.

use core::time::Duration;

use crate::{
    machine::{Answer, Effect, Enrolment, Hook, Input, Listens, Machine, ParticipantId, Traffic},
    vocab::{
        ListenerKind, ListenerReport, Outcome, Plan, Sender, Signal, SignalCode, SignalRecord,
        SynGate,
    },
};

/// Walks from start to exit; says how it would end if everything behaved, with the report's length.
pub(super) fn rehearse(plan: &Plan) -> (Option<Outcome>, usize) {
    let mut machine = Machine::new(plan.clone());
    let id = ParticipantId::new(0);
    let server = Enrolment {
        id,
        name: "rehearsal".to_owned(),
        after: Vec::new(),
        budget: None,
        listens: Listens::UntilClosed,
        hook: Hook::Some,
    };
    let term = SignalRecord::new(Signal::Term, SignalCode::User, Sender::Itself);
    for input in [
        Input::Enrol(server),
        Input::Ready(id),
        Input::Started,
        Input::Signal(term),
    ] {
        machine.handle(Duration::ZERO, input);
    }
    let mut outcome = None;
    let mut now = Duration::ZERO;
    // A window of a thousand samples at most, and a few steps more.
    for _ in 0..2_000 {
        while let Some(effect) = machine.poll_effect() {
            match effect {
                Effect::ReadTraffic => {
                    machine.handle(
                        now,
                        Input::Traffic(Traffic {
                            requests: 0,
                            mean_gap: None,
                        }),
                    );
                }
                Effect::CloseAdmission => machine.handle(now, Input::AdmissionClosed(id, closed())),
                Effect::CloseConnectionsGate => {
                    machine.handle(now, Input::Answer(id, Answer::done()));
                    machine.handle(now, Input::ConnectionsDrained);
                }
                Effect::CloseGuardsGate => machine.handle(now, Input::GuardsDrained),
                Effect::RunHook(id) => machine.handle(now, Input::HookEnded(id, Ok(()))),
                Effect::Exit(end) => outcome = Some(end),
                _ => {}
            }
        }
        let Some(due) = machine.poll_timeout().filter(|_| outcome.is_none()) else {
            break;
        };
        now = due;
        machine.handle(now, Input::Wake);
    }
    (outcome, machine.report().to_json().len())
}

fn closed() -> ListenerReport {
    ListenerReport {
        address: String::new(),
        kind: ListenerKind::Exclusive,
        gate: SynGate::Off,
        swept: 0,
        took: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::Preset;

    #[test]
    fn every_preset_ends_well_when_everything_behaves() {
        for preset in Preset::all().filter(|preset| *preset != Preset::Lambda) {
            let (outcome, length) = rehearse(&Plan::preset(preset));
            assert_eq!(outcome, Some(Outcome::Drained), "{preset}");
            assert!(length > 500, "{preset}");
        }
    }
}
