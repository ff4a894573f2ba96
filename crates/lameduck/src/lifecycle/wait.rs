//! The futures of a lifecycle: named, cancel safe, without a runtime.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    driver::Shared,
    inflight::Fired,
    machine::{Answer, Input, ParticipantId},
    vocab::{ListenerKind, ListenerReport, Outcome, SynGate},
};

use super::Enrol;

/// Resolves at `Running`, or when the service leaves without ever having run. See [`Lifecycle::running`](super::Lifecycle::running).
///
/// # Cancel safety
/// Cancel safe: dropping it changes nothing (INV-8).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Running {
    running: Fired,
    leaving: Fired,
    shared: Arc<Shared>,
}

impl Running {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            running: shared.running.fired(),
            leaving: shared.over.fired(),
            shared: Arc::clone(shared),
        }
    }
}

impl Future for Running {
    /// Whether the service runs: `false` if it was over before.
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        if Pin::new(&mut self.running).poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        Pin::new(&mut self.leaving)
            .poll(cx)
            .map(|()| self.shared.running.is_fired())
    }
}

/// The name of the participant that stands for a server that the program keeps.
const SERVER: &str = "server";

/// Resolves when the lame-duck window is over. See [`Lifecycle::draining`](super::Lifecycle::draining).
///
/// # Cancel safety
/// Cancel safe: dropping it changes nothing (INV-8).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Draining {
    closing: Fired,
    shared: Arc<Shared>,
}

impl Draining {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let closing = shared.closing.fired();
        // A second call finds the name taken: one server is enough to keep the guards' gate open.
        if let Ok(server) = Enrol::new(Arc::clone(shared), SERVER.to_owned())
            .listener(|| Ok(()))
            .register()
        {
            server.ready();
            // Ended by `finish`, by name.
            core::mem::forget(server);
        }
        shared.send(Input::Started);
        Self {
            closing,
            shared: Arc::clone(shared),
        }
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = Pin::new(&mut self.closing).poll(cx);
        if polled.is_ready()
            && let Some(id) = server(&self.shared)
        {
            let report = ListenerReport {
                address: "(the program's own server)".to_owned(),
                kind: ListenerKind::Foreign,
                gate: SynGate::Off,
                swept: 0,
                took: std::time::Duration::ZERO,
            };
            self.shared.send(Input::AdmissionClosed(id, report));
        }
        polled
    }
}

fn server(shared: &Shared) -> Option<ParticipantId> {
    let index = shared.seats().iter().position(|seat| seat.name == SERVER)?;
    u32::try_from(index).ok().map(ParticipantId::new)
}

/// The program's server has returned.
pub(super) fn end_server(shared: &Shared) {
    let why = "the server ended by itself".to_owned();
    shared.send(Input::Terminate { why });
    if let Some(id) = server(shared) {
        shared.send(Input::Answer(id, Answer::done()));
    }
}

/// Resolves at the end. See [`Lifecycle::outcome`](super::Lifecycle::outcome).
///
/// # Cancel safety
/// Cancel safe: dropping it changes nothing (INV-8).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Over {
    over: Fired,
    shared: Arc<Shared>,
}

impl Over {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            over: shared.over.fired(),
            shared: Arc::clone(shared),
        }
    }
}

impl Future for Over {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match Pin::new(&mut self.over).poll(cx) {
            Poll::Ready(()) => Poll::Ready(
                self.shared
                    .outcome()
                    .expect("the outcome is set before the token fires"),
            ),
            Poll::Pending => Poll::Pending,
        }
    }
}
