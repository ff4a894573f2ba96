//! Tests of the negotiation: what is read and written, both sides alone, and both over a bad network.

mod model;
mod reading;
mod schema;
mod sides;

use alloc::{string::String, vec, vec::Vec};
use core::time::Duration;

use super::{End, FromParticipant, ToParticipant};
use crate::vocab::{Phase, Terms};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// One of each message, with everything that it may bear and with as little as it may.
fn to_participant() -> Vec<ToParticipant> {
    let id = || String::from("0123456789abcdef");
    let terms = Terms::new(ms(8_000), Some(ms(2_500)), Some(ms(120)));
    let bare = Terms::new(ms(0), None, None);
    let mut all = vec![
        ToParticipant::Hello {
            session: "7".into(),
            phase: Phase::Running,
            drain_id: None,
        },
        ToParticipant::Hello {
            session: "a \"session\"\n".into(),
            phase: Phase::Draining,
            drain_id: Some(id()),
        },
    ];
    for terms in [terms, bare] {
        all.push(ToParticipant::ShutdownRequest {
            id: id(),
            kind: "signal".into(),
            cause: "SIGTERM from pid 1 (systemd), uid 0".into(),
            terms,
            again: terms == bare,
        });
        let id = id();
        all.push(ToParticipant::Close { id, terms });
    }
    for wish in [Some(u32::MAX), None] {
        let (id, by) = (id(), ms(1));
        all.push(ToParticipant::Granted {
            id,
            wish,
            by,
            terms,
        });
    }
    all.extend(End::ALL.map(|state| ToParticipant::Over { id: id(), state }));
    all
}

fn from_participant() -> Vec<FromParticipant> {
    let id = || String::from("0123456789abcdef");
    vec![
        FromParticipant::Ready,
        FromParticipant::Ack { id: id() },
        FromParticipant::Working {
            id: id(),
            done: 0,
            total: i64::MAX as u64,
            note: "flushing ünïcode \u{1}".into(),
        },
        FromParticipant::Working {
            id: id(),
            done: 1,
            total: 2,
            note: String::new(),
        },
        FromParticipant::NeedMore {
            id: id(),
            wish: 1,
            by: ms(500),
            why: "two batches left".into(),
        },
        FromParticipant::Done {
            id: id(),
            figures: vec![("rows".into(), 12), ("balance".into(), i64::MIN)],
        },
        FromParticipant::Done {
            id: id(),
            figures: Vec::new(),
        },
        FromParticipant::Refused {
            id: id(),
            why: "busy".into(),
        },
        FromParticipant::Failed {
            id: Some(id()),
            why: "no space left".into(),
        },
        FromParticipant::Failed {
            id: None,
            why: String::new(),
        },
    ]
}
