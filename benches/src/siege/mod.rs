//! One attack on one demo: a quiet time, the attack, the time after it, the attack again and a stop in its midst.
//!
//! Owns: the order of these parts, the honest clients beside them, the criteria. Not here: attacks (`hostile`), clients
//! (`honest`), the table (`row`).

mod row;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::honest::ledger::{Ledger, Moment};
use crate::honest::{Field, Member, Party, Role, Route, Watch};
use crate::hostile::crowd::Crowd;
use crate::hostile::{Attack, Ends};
use crate::memory::{Peak, resident};
use crate::rng::Rng;
use crate::script::{AfterClose, AfterRefusal, Kind, Promise, Script, Think};
use crate::server::{Signal, describe};
use crate::target::{Demo, Door, Running, Speech};
pub use row::{Honest, Millis, Row, heading, markdown};

/// How long the honest clients are alone, before the attack and after it.
const CALM: Duration = Duration::from_millis(1_500);
/// How long the peers may take to do their opening.
const PLACED_WITHIN: Duration = Duration::from_secs(20);
/// How long one honest exchange may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(8);
/// What 99 of 100 honest exchanges must not exceed while the attack goes on: a delay that a person would call an outage.
const DELAYED: Duration = Duration::from_secs(2);
/// Memory that an attack may cost whatever its size: pages that the allocator keeps.
const SLACK: u64 = 8 * 1024 * 1024;
/// The exit code of a drain that was ended by its deadline.
const FORCED: i32 = 124;
/// Most bytes of the demo's stderr that a finding shows.
const MOST_SHOWN: usize = 300;
/// After the deadline a process may need so long to be seen gone.
const SEEN_GONE: Duration = Duration::from_millis(500);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How attacks are played.
#[derive(Clone, Copy, Debug)]
pub struct Siege {
    /// The demo's grace period.
    pub grace: Duration,
    /// How long an attack goes on once all its peers are there.
    pub hold: Duration,
}

/// A criterion that was not kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// An honest client lost something.
    Lost(String),
    /// Something else that an honest client must not see.
    Seen(String),
    /// Honest clients were kept waiting: 99 % of them no longer than this.
    Delayed(Duration),
    /// A peer cost more than stated: so many bytes, and what was allowed.
    Costly(u64, u64),
    /// It did not end as it should.
    Exit(String),
    /// The attack was not what it says: so many of its peers came to their opening, out of so many.
    Unplaced(usize, usize),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(how) => write!(f, "lost {how}"),
            Self::Seen(what) => f.write_str(what),
            Self::Delayed(p99) => {
                write!(f, "99 % of the honest within {p99:?}, allowed {DELAYED:?}")
            }
            Self::Costly(bytes, allowed) => {
                write!(f, "{bytes} bytes of memory, allowed {allowed}")
            }
            Self::Exit(how) => f.write_str(how),
            Self::Unplaced(placed, peers) => {
                write!(f, "only {placed} of {peers} peers came to their opening")
            }
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Siege {
    /// Plays one attack with so many peers against a fresh demo.
    ///
    /// # Errors
    ///
    /// When the demo does not start, or a thread cannot be had.
    ///
    /// # Panics
    ///
    /// When the demo lacks the listener that the attack needs: whoever calls asks what it speaks.
    pub fn lay(
        &self,
        demo: &Demo,
        attack: &Attack,
        peers: usize,
    ) -> Result<Row, Box<dyn std::error::Error>> {
        let mut running = demo.start("local", self.grace, &[])?;
        let address = running
            .address(attack.door)
            .expect("the demo has the listener that the attack needs");
        let watch = Arc::new(Watch::default());
        let party = Party::start(field(&running, &watch), honest_clients(demo))?;
        let pid = running.server.id();

        std::thread::sleep(CALM);
        let before = resident(pid)?;
        party.field().ledger().enter(Moment::During);
        let peak = Peak::watch(pid);
        let mut crowd = Crowd::start(attack, peers, address)?;
        let placed = crowd.wait_placed(PLACED_WITHIN);
        std::thread::sleep(self.hold);
        let most = peak.most();
        drop(peak);
        crowd.stop();

        party.field().ledger().enter(Moment::After);
        std::thread::sleep(CALM);
        let after = resident(pid)?;

        party.field().ledger().enter(Moment::Leaving);
        let mut again = Crowd::start(attack, peers, address)?;
        again.wait_placed(PLACED_WITHIN);
        let signalled_at = watch.signal();
        running.server.signal(Signal::Terminate);
        let exited_at = running.server.wait_exit(self.grace + SEEN_GONE);
        again.stop();
        let went_home = party.finish(PATIENCE * 2);

        let mut row = Row {
            attack: attack.name,
            peers,
            connections: crowd.counts().connected(),
            ended_by_server: crowd.counts().ended_by_server(),
            written: crowd.counts().written(),
            memory: [before, most, after],
            bytes_each: [
                most.saturating_sub(before) / peers as u64,
                attack.bytes_each,
            ],
            honest: Honest::default(),
            latency: [Millis::default(); 2],
            exit_ms: exited_at.map(|at| (at - signalled_at).as_secs_f64() * 1e3),
            deadline_ms: self.deadline().as_secs_f64() * 1e3,
            findings: Vec::new(),
        };
        if placed < peers {
            row.findings.push(Finding::Unplaced(placed, peers));
        }
        row.judge_memory();
        row.judge_honest(&party.field().ledger(), signalled_at, went_home);
        self.judge_exit(&mut row, attack.ends, &mut running);
        Ok(row)
    }

    /// The deadline of the plan: the grace period less its margin (5 %, at least 0.5 s and at most 2 s).
    fn deadline(&self) -> Duration {
        self.grace - (self.grace / 20).clamp(ms(500), ms(2_000))
    }

    fn judge_exit(&self, row: &mut Row, ends: Ends, running: &mut Running) {
        let status = running.server.exit_status();
        let complaint = match (row.exit_ms, status.and_then(|status| status.code())) {
            (Some(after), Some(0)) if after <= row.deadline_ms => return,
            (Some(after), Some(FORCED)) if after <= row.deadline_ms && ends == Ends::OrForced => {
                return;
            }
            (Some(after), _) => format!(
                "ended by {} {after:.0} ms after SIGTERM, instead of exit 0 within {:.0} ms: {}",
                status.map_or_else(|| "nothing".to_owned(), describe),
                row.deadline_ms,
                first_of(&running.server.stderr(), MOST_SHOWN)
            ),
            (None, _) => format!("alive {:?} after SIGTERM", self.grace + SEEN_GONE),
        };
        row.findings.push(Finding::Exit(complaint));
    }
}

impl Row {
    fn judge_memory(&mut self) {
        let [before, most, _] = self.memory;
        let allowed = self.bytes_each[1] * self.peers as u64 + SLACK;
        let cost = most.saturating_sub(before);
        if cost > allowed {
            self.findings.push(Finding::Costly(cost, allowed));
        }
    }

    fn judge_honest(&mut self, ledger: &Ledger, signalled_at: Instant, went_home: bool) {
        for count in ledger.kinds().values() {
            self.honest.sent += count.sent;
            self.honest.lost += count.lost;
            self.honest.refused += count.refused;
            self.honest.crossed += count.crossed;
        }
        for loss in ledger.losses() {
            let told = loss.tell(Some(signalled_at)).to_string();
            self.findings.push(Finding::Lost(told));
        }
        let seen = ledger.complaints().iter().cloned().map(Finding::Seen);
        self.findings.extend(seen);
        if ledger.dropped() > 0 {
            let more = format!("{} more, not kept", ledger.dropped());
            self.findings.push(Finding::Seen(more));
        }
        if !went_home {
            let stuck = "an honest client did not come to an end".to_owned();
            self.findings.push(Finding::Seen(stuck));
        }
        let during = ledger.latency(Moment::During);
        self.latency = [ledger.latency(Moment::Before), during]
            .map(|one| one.map(Millis::from).unwrap_or_default());
        match during {
            Some(latency) if latency.p99 <= DELAYED => {}
            Some(latency) => self.findings.push(Finding::Delayed(latency.p99)),
            None => {
                let none = "no honest client was served during the attack".to_owned();
                self.findings.push(Finding::Seen(none));
            }
        }
    }
}

fn field(running: &Running, watch: &Arc<Watch>) -> Field {
    let promise = Promise::Within {
        idle: ms(80),
        hold: ms(200),
    };
    Field::new(
        running.server.address(),
        running.tls,
        promise,
        PATIENCE,
        Arc::clone(watch),
    )
}

fn first_of(text: &str, most: usize) -> String {
    text.trim().chars().take(most).collect()
}

/// A few honest clients of everything that the demo speaks, with think times that the window sees.
fn honest_clients(demo: &Demo) -> Vec<Member> {
    let think = Think::Between(ms(2), ms(30));
    let http1 = |door, kind| Role::Http1 {
        door,
        script: Script {
            kind,
            think: think.clone(),
            seed: 0,
            start: Duration::ZERO,
            after_close: AfterClose::Reconnect,
            after_refusal: AfterRefusal::Leave,
            promise: Promise::Always,
        },
    };
    let http2 = |door, kind| Role::Http2 {
        door,
        streams: 2,
        kind,
        think: think.clone(),
    };
    let grpc = |door| Role::Grpc {
        door,
        streams: 2,
        longest: ms(5),
        think: think.clone(),
    };
    let websocket = |route| Role::WebSocket {
        door: Door::Plain,
        route,
        largest: 16 * 1024,
        think: think.clone(),
    };
    let echo = || Kind::Echo { largest: 16 * 1024 };
    let mut roles = vec![
        http1(Door::Plain, Kind::Get),
        http1(Door::Plain, Kind::Get),
        http1(Door::Plain, echo()),
        http1(Door::Plain, Kind::PerRequest { hold: ms(5) }),
    ];
    let mut add = |speech, more: Vec<Role>| {
        if demo.speaks(speech) {
            roles.extend(more);
        }
    };
    add(
        Speech::Http2,
        vec![http2(Door::Plain, Kind::Get), http2(Door::Plain, echo())],
    );
    add(Speech::WebSocket, vec![websocket(Route::Http1)]);
    add(Speech::Tunnel, vec![websocket(Route::Http2)]);
    add(Speech::Grpc, vec![grpc(Door::Plain)]);
    add(
        Speech::Tls,
        vec![
            http1(Door::Tls, Kind::Get),
            http1(Door::Tls, Kind::PerRequest { hold: ms(5) }),
        ],
    );
    if demo.speaks(Speech::Http2) {
        add(Speech::Tls, vec![http2(Door::Tls, echo())]);
    }
    let mut rng = Rng::new(1);
    roles
        .into_iter()
        .map(|role| Member {
            role,
            after_close: AfterClose::Reconnect,
            seed: rng.next(),
            start: rng.duration(Duration::ZERO..=ms(30)),
        })
        .collect()
}
