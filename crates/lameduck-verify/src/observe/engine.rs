//! Owns the one loop in which all client connections of a scenario are watched: `poll(2)`, timers, no threads.
//! Not: what clients do (see `flow`), or the target process.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flow::{Flow, Mark, Waits, World};
use super::h2;
use super::lateness::Lateness;
use super::outcome::{Exchange, Outcome};
use super::talk::Talk;

/// The longest sleep: stop conditions that are not sockets (an exit) are looked at this often.
const MAX_SLEEP: Duration = Duration::from_millis(5);

/// A client whose sockets the loop watches; it never blocks, and says what it waits for.
pub(crate) trait Client {
    fn is_finished(&self) -> bool;
    /// Goes as far as it can without waiting.
    fn advance(&mut self, world: &World) -> Waits;
    /// Reads all that is there; called when the descriptor is readable.
    fn read(&mut self, world: &World);
    /// Bytes wait that the descriptor does not show.
    fn has_unread(&mut self) -> bool;
    /// The descriptor to poll for bytes and ends, unless the end was seen.
    fn fd(&self) -> Option<RawFd>;
    /// The signal is about to be sent: it writes down whether it is where its scenario wanted it.
    fn note_eve(&mut self);
    /// It waits for an answer since before `instant`.
    fn waits_since(&self, instant: Instant) -> bool;
    /// Stops waiting.
    fn give_up(&mut self, now: Instant);
}

/// Whoever was held up past a deadline looks once more at what came meanwhile: it came in time, and was only not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastLook {
    Owed,
    Taken,
}

impl LastLook {
    fn of(deadline: Instant) -> Self {
        // Who asks for no time wants no look either.
        if Instant::now() < deadline {
            Self::Owed
        } else {
            Self::Taken
        }
    }

    fn is_due(&mut self, late: Duration) -> bool {
        late >= MAX_SLEEP && std::mem::replace(self, Self::Taken) == Self::Owed
    }
}

/// All clients of one scenario.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) flows: Vec<Flow>,
    /// Clients that speak for themselves.
    pub(crate) talks: Vec<Talk>,
    pub(crate) h2: Vec<h2::flow::Flow>,
    world: World,
    /// Where delays of ours are counted.
    lateness: Arc<Lateness>,
}

impl Engine {
    pub(crate) fn new(addr: SocketAddr, round_trip: Duration) -> Self {
        Self {
            flows: Vec::new(),
            talks: Vec::new(),
            h2: Vec::new(),
            world: World {
                addr,
                stopped_at: None,
                is_eve: false,
                is_closing_time: false,
                round_trip,
            },
            lateness: Arc::default(),
        }
    }

    /// Counts its delays together with those of others.
    pub(crate) fn counting_in(mut self, lateness: &Arc<Lateness>) -> Self {
        self.lateness = Arc::clone(lateness);
        self
    }

    /// The loop goes on, and should have at `due`.
    fn note_wakeup(&mut self, due: Instant) {
        let now = Instant::now();
        self.lateness.hold_ups.note(due, now);
        if self.world.is_eve || self.world.stopped_at.is_some() {
            self.lateness.note(now.saturating_duration_since(due));
        }
    }

    pub(crate) fn add(&mut self, flow: Flow) {
        self.flows.push(flow);
    }

    pub(crate) fn add_talk(&mut self, talk: Talk) {
        self.talks.push(talk);
    }

    /// The instant of the stop signal ("T"), once it was sent.
    pub(crate) fn stopped_at(&self) -> Option<Instant> {
        self.world.stopped_at
    }

    /// Notes that the signal is about to be sent: which clients are ready is written down, `Eve` pauses end.
    pub(crate) fn note_eve(&mut self) {
        self.clients().for_each(Client::note_eve);
        self.world.is_eve = true;
    }

    /// Notes T: steps that wait for the signal begin to count.
    pub(crate) fn note_stop(&mut self, t: Instant) {
        self.world.stopped_at.get_or_insert(t);
    }

    /// Every client, of whatever protocol: each list in turn.
    fn clients(&mut self) -> impl Iterator<Item = &mut dyn Client> {
        let h2 = self.h2.iter_mut().map(|flow| flow as &mut dyn Client);
        let flows = self.flows.iter_mut().map(|flow| flow as &mut dyn Client);
        let talks = self.talks.iter_mut().map(|talk| talk as &mut dyn Client);
        flows.chain(h2).chain(talks)
    }

    /// Nobody has anything left to do.
    pub(crate) fn all_finished(&self) -> bool {
        self.flows.iter().all(Flow::is_finished)
            && self.h2.iter().all(Client::is_finished)
            && self.talks.iter().all(Talk::is_settled)
    }

    pub(crate) fn group(&self, group: &'static str) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| flow.group == group)
    }

    pub(crate) fn talks_of(&self, group: &'static str) -> impl Iterator<Item = &Talk> {
        self.talks.iter().filter(move |talk| talk.group == group)
    }

    /// Somebody still has a connection, or is about to.
    pub(crate) fn has_connections(&self) -> bool {
        let (flows, h2, talks) = (self.flows.iter(), self.h2.iter(), self.talks.iter());
        let has = |client: &dyn Client| !client.is_finished() && client.fd().is_some();
        let mut clients = flows
            .map(|flow| flow as &dyn Client)
            .chain(h2.map(|flow| flow as &dyn Client))
            .chain(talks.map(|talk| talk as &dyn Client));
        clients.any(has)
    }

    /// The first thing after `t` that shows to clients that the target is leaving: a refused connect, a connection
    /// that it ended, a `close` that it did not use to say, a GOAWAY.
    pub(crate) fn first_effect(&self, t: Instant) -> Option<Instant> {
        let closes = |exchange: &&Exchange| {
            matches!(
                exchange.outcome,
                Some(Outcome::ServedClose | Outcome::Refused503)
            )
        };
        let all = || self.flows.iter().flat_map(|flow| &flow.exchanges);
        let did_close = all()
            .filter(closes)
            .any(|exchange| exchange.ended_at.is_some_and(|at| at < t));
        let closed = all()
            .filter(|exchange| !did_close && closes(exchange))
            .filter_map(|exchange| exchange.ended_at);
        let refused = self.flows.iter().flat_map(|flow| &flow.refused_connects);
        let ended = self.flows.iter().flat_map(|flow| &flow.marks);
        let ended = ended.filter(|(_, mark)| matches!(mark, Mark::Fin | Mark::Reset));
        let wide = self.h2.iter().flat_map(|flow| &flow.conns);
        let told = wide.flat_map(|log| {
            let goaways = log.goaways.iter().map(|goaway| goaway.at);
            goaways.chain(log.end.map(|(at, _)| at))
        });
        closed
            .chain(refused.map(|(_, at)| *at))
            .chain(ended.map(|(at, _)| *at))
            .chain(told)
            .filter(|at| *at >= t)
            .min()
    }

    /// Lets all flows work until `done` says so, or the deadline has come.
    pub(crate) fn run(&mut self, deadline: Instant, mut done: impl FnMut(&Self) -> bool) {
        let mut polled: Vec<libc::pollfd> = Vec::new();
        let mut owners: Vec<(usize, bool)> = Vec::new();
        let mut last_look = LastLook::of(deadline);
        loop {
            let mut wake = Instant::now() + MAX_SLEEP;
            polled.clear();
            owners.clear();
            let world = self.world;
            for (index, client) in self.clients().enumerate() {
                if client.is_finished() {
                    continue;
                }
                let waits = client.advance(&world);
                let mut events = libc::POLLIN;
                match waits {
                    Waits::Until(due) => wake = wake.min(due),
                    Waits::Writable => events |= libc::POLLOUT,
                    Waits::Nothing | Waits::Bytes => {}
                }
                let Some(fd) = client.fd() else { continue };
                let unread = client.has_unread();
                if unread {
                    wake = Instant::now();
                }
                polled.push(libc::pollfd {
                    fd,
                    events,
                    revents: 0,
                });
                owners.push((index, unread));
            }
            let now = Instant::now();
            if done(self) || now >= deadline && !last_look.is_due(now - deadline) {
                return;
            }
            wait(
                &mut polled,
                wake.min(deadline).saturating_duration_since(now),
            );
            self.note_wakeup(wake.min(deadline));
            let mut ready = polled.iter().zip(&owners).filter(|(entry, (_, unread))| {
                *unread || entry.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0
            });
            let mut next = ready.next();
            for (index, client) in self.clients().enumerate() {
                if next.is_some_and(|(_, (owner, _))| *owner == index) {
                    client.read(&world);
                    next = ready.next();
                }
            }
        }
    }

    /// Clients finish what they have begun and begin nothing new.
    pub(crate) fn note_closing_time(&mut self) {
        self.world.is_closing_time = true;
    }

    /// Ends the flows that wait for an answer since before `instant`: their requests are `hung`.
    pub(crate) fn give_up_on_those_since(&mut self, instant: Instant) {
        let now = Instant::now();
        self.clients()
            .filter(|client| !client.is_finished() && client.waits_since(instant))
            .for_each(|client| client.give_up(now));
    }

    /// Ends all flows: what is still unanswered is `hung`.
    pub(crate) fn give_up(&mut self) {
        let now = Instant::now();
        self.clients()
            .filter(|client| !client.is_finished())
            .for_each(|client| client.give_up(now));
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn wait(polled: &mut [libc::pollfd], sleep: Duration) {
    let spec = libc::timespec {
        tv_sec: libc::time_t::try_from(sleep.as_secs()).unwrap_or(0),
        tv_nsec: libc::c_long::from(sleep.subsec_nanos() as i32),
    };
    // EINTR: an early wake-up, the caller looks at everything again.
    // SAFETY: `polled` is a live array of exactly that many entries, `spec` lives through the call, no mask is given.
    unsafe {
        libc::ppoll(
            polled.as_mut_ptr(),
            polled.len() as libc::nfds_t,
            &raw const spec,
            std::ptr::null(),
        )
    };
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn wait(polled: &mut [libc::pollfd], sleep: Duration) {
    let millis =
        libc::c_int::try_from(sleep.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX);
    // EINTR: an early wake-up, the caller looks at everything again.
    // SAFETY: `polled` is a live array of exactly that many entries.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, millis) };
}
