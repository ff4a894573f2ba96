//! Owns the course of A4: a namespace, a target in it, a SYN every few milliseconds across the signal, the verdict.
//! Not: segments, clients or the device.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::client::{Client, UNDER_WAY};
use super::device::{Device, NoNetwork};
use super::segment::Segment;
use crate::observe::outcome::{Outcome, Tally};
use crate::scenario::attention::Watch;
use crate::scenario::bench::Bench;
use crate::scenario::judge::in_words;
use crate::scenario::requests;
use crate::target::{Running, VerifyError};
use crate::verdict::{Finding, Verdict};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 1);
/// The address that clients come from: on the other side of the device.
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 2);
const FIRST_PORT: u16 = 20_000;
/// A new client so often: several ACKs are under way at any instant.
const EVERY: Duration = Duration::from_millis(5);
const RUN_UP: Duration = Duration::from_millis(200);
/// Clients at most, before and after the signal.
const MAX_CLIENTS: usize = 800;
/// Once a SYN was not answered at once, so many more are sent: the door is shut, or it is not.
const AFTER_SHUT: usize = 12;
/// A SYN that is not answered after this long came to a shut door.
const SYN_BOUND: Duration = Duration::from_millis(15);

pub(crate) fn run(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    // The namespace belongs to a thread, and to what is started by it; with the thread it is gone.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| in_own_network(bench));
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn in_own_network(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    let device = match Device::in_own_network(OURS) {
        Ok(device) => device,
        Err(NoNetwork { what, error }) => {
            let reason = format!(
                "{what} ({error}); as root, or under `unshare -rn`, a late ACK can be made"
            );
            return Ok(bench.lacking("A4", &reason));
        }
    };
    let running = match bench.launch() {
        Ok(running) => running,
        // It started well outside: what it lacks here is something that it reaches over the network.
        Err(VerifyError::Launch(_)) => {
            let reason = "the target does not become ready in a network namespace of its own: it needs somebody outside";
            return Ok(bench.lacking("A4", reason));
        }
        Err(other) => return Err(other),
    };
    let SocketAddr::V4(target) = running.place.url.addr else {
        return Ok(bench.lacking(
            "A4",
            "the target listens on IPv6, and this client speaks IPv4",
        ));
    };
    let mut crowd = Crowd {
        bench,
        running: &running,
        device,
        target,
        clients: Vec::new(),
        next_at: Instant::now(),
    };
    crowd.work(Instant::now() + RUN_UP, |_| false);
    if !crowd
        .clients
        .iter()
        .any(|client| client.answers.whole() > 0)
    {
        let reason = "the target does not answer at the address of our own network namespace";
        return Ok(bench.lacking("A4", reason));
    }
    let t = running.stop(&bench.options.stop);
    // Also beyond the exit: that shuts the door at the latest.
    crowd.work(t + bench.options.grace / 2, Crowd::is_door_shut);
    crowd.next_at = t + bench.options.grace * 2;
    crowd.work(t + bench.options.grace, |crowd| {
        crowd.clients.iter().all(Client::is_over)
    });
    Ok(bench.weigh(crowd.judge(t), &[Watch::since(t)]))
}

/// All clients, and the network between them and the target.
struct Crowd<'a> {
    bench: &'a Bench<'a>,
    running: &'a Running,
    device: Device,
    target: SocketAddrV4,
    clients: Vec<Client>,
    /// When the next client begins.
    next_at: Instant,
}

impl Crowd<'_> {
    fn work(&mut self, deadline: Instant, done: impl Fn(&Self) -> bool) {
        let mut buffer = [0; 64 * 1024];
        loop {
            let now = Instant::now();
            if now >= deadline || done(self) {
                return;
            }
            if now >= self.next_at && self.clients.len() < MAX_CLIENTS {
                self.next_at = now + EVERY;
                self.begin(now);
            }
            for index in 0..self.clients.len() {
                for packet in self.clients[index].tick(now) {
                    self.send(&packet);
                }
            }
            self.wait();
            // Bounded: what comes later has its turn in the next round.
            for _ in 0..256 {
                let Some(count) = self.device.receive(&mut buffer) else {
                    break;
                };
                let Some(segment) = Segment::read(&buffer[..count]) else {
                    continue;
                };
                let index = usize::from(segment.to.port().wrapping_sub(FIRST_PORT));
                if let Some(client) = self.clients.get_mut(index)
                    && let Some(packet) = client.take(&segment, Instant::now())
                {
                    self.send(&packet);
                }
            }
        }
    }

    fn begin(&mut self, now: Instant) {
        let port = FIRST_PORT + u16::try_from(self.clients.len()).expect("clients are bounded");
        let request = requests::usual(&self.bench.facts, &self.running.place);
        let from = SocketAddrV4::new(THEIRS, port);
        let (client, syn) = Client::new(from, self.target, request, now);
        self.clients.push(client);
        self.send(&syn);
    }

    fn send(&self, packet: &[u8]) {
        // A full device loses packets, as networks do: the target sends again, and the judge sees what came of it.
        let _ = self.device.send(packet);
    }

    fn wait(&self) {
        let mut entry = libc::pollfd {
            fd: self.device.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // EINTR: its caller looks and waits again.
        // SAFETY: one live entry.
        unsafe { libc::poll(&raw mut entry, 1, 1) };
    }

    /// When the first client knocked in vain, by now.
    fn shut_at(&self, now: Instant) -> Option<Instant> {
        let in_vain = |client: &&Client| {
            client.was_refused
                || client.was_retransmitted
                || client.answered_at.is_none() && now >= client.syn_at + SYN_BOUND
        };
        self.clients
            .iter()
            .find(in_vain)
            .map(|client| client.syn_at)
    }

    fn is_door_shut(&self) -> bool {
        let Some(shut_at) = self.shut_at(Instant::now()) else {
            return false;
        };
        let after = self.clients.iter().filter(|client| client.syn_at > shut_at);
        after.count() >= AFTER_SHUT
    }

    fn judge(&self, t: Instant) -> Finding {
        let id = "A4";
        let shut_at = self.shut_at(Instant::now()).filter(|at| *at >= t);
        let (mut tally, mut crossing, mut worst) = (Tally::default(), 0_u64, None);
        if let Some(shut_at) = shut_at {
            for client in &self.clients {
                let under_way = client.answered_at.is_some_and(|at| at <= shut_at)
                    && client.acked_at.is_none_or(|at| at >= shut_at);
                if !under_way {
                    continue;
                }
                crossing += 1;
                let usual = self.bench.facts.usual;
                let outcome = client.answers.outcome(0, usual).unwrap_or(Outcome::Hung);
                tally.add_outcome(outcome);
                if outcome.is_unanswered() {
                    tally.lost += 1;
                    tally.lost_posts += u64::from(self.bench.posts());
                    worst.get_or_insert(outcome);
                }
            }
        }
        let ms = UNDER_WAY.as_millis();
        let (verdict, detail) = match (shut_at, worst) {
            (None, _) => (
                Verdict::NotApplicable,
                "the door was never seen to shut".to_owned(),
            ),
            (Some(_), Some(worst)) => {
                let detail = format!(
                    "{} of {crossing} clients whose last ACK was under way ({ms} ms) when the door shut were dropped; one {}",
                    tally.lost,
                    in_words(worst)
                );
                (Verdict::Fail, detail)
            }
            (Some(_), None) if crossing == 0 => (
                Verdict::Inconclusive,
                "no ACK was under way when the door shut".to_owned(),
            ),
            (Some(_), None) => {
                let detail = format!(
                    "{crossing} clients whose last ACK was under way ({ms} ms) when the door shut were answered"
                );
                (Verdict::Pass, detail)
            }
        };
        let refused = self.clients.iter().filter(|client| client.was_refused);
        let finding = self
            .bench
            .finding(id, verdict, detail)
            .with_requests(tally)
            .with_figure("clients", self.clients.len())
            .with_figure("ack_under_way", crossing)
            .with_figure("refused_syns", refused.count());
        match shut_at {
            Some(at) => finding.with_figure("door_open_ms", at.saturating_duration_since(t)),
            None => finding,
        }
    }
}
