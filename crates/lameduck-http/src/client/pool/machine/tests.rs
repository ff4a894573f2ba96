//! Scripts for the machine, and a search by chance through what may happen to it.

use super::*;

const A: &str = "a";
const B: &str = "b";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn machine(connections: usize, per_host: usize, waiting: usize) -> Machine<&'static str> {
    Machine::new(Bounds {
        connections,
        per_host,
        waiting,
        streams: 100,
        idle: seconds(30),
    })
}

const H1: Option<Speaks> = Some(Speaks::Http1);
const ZERO: Duration = Duration::ZERO;

/// A connection with a request on it.
fn open(machine: &mut Machine<&'static str>, host: &'static str, now: Duration) -> ConnId {
    match machine.ask(&host, Wish::Any, H1, now) {
        Answer::Now(Grant::Open(id)) => {
            machine.opened(id, Speaks::Http1, 0, now);
            id
        }
        other => panic!("not opened: {other:?}"),
    }
}

fn wait(machine: &mut Machine<&'static str>, host: &'static str) -> WaiterId {
    match machine.ask(&host, Wish::Any, H1, ZERO) {
        Answer::Wait(id) => id,
        other => panic!("does not wait: {other:?}"),
    }
}

fn closed_by(machine: &Machine<&'static str>, by: ClosedBy) -> u64 {
    let mut all = machine.counts.all_closed();
    all.find(|(one, _)| *one == by).expect("all of them").1
}

#[test]
fn the_last_one_used_is_used_again_and_the_others_expire() {
    let mut machine = machine(10, 10, 10);
    let (one, two) = (open(&mut machine, A, ZERO), open(&mut machine, A, ZERO));
    machine.give_back(one, Fit::Again, seconds(1));
    machine.give_back(two, Fit::Again, seconds(2));
    let again = machine.ask(&A, Wish::Any, H1, seconds(3));
    assert_eq!(again, Answer::Now(Grant::Use(two)));
    assert_eq!(machine.next_due(), Some(seconds(31)));
    machine.tick(millis(30_999));
    assert_eq!(machine.effects(), []);
    machine.tick(seconds(31));
    assert_eq!(machine.effects(), [Effect::Close(one)]);
    assert_eq!(machine.next_due(), Some(seconds(32)), "it has a second");
    machine.tick(seconds(32));
    assert_eq!(machine.effects(), [Effect::Cut(one)]);
    machine.closed(one, seconds(32));
    assert_eq!(closed_by(&machine, ClosedBy::IdleExpired), 1);
}

#[test]
fn a_fresh_one_is_not_one_that_was_idle() {
    let mut machine = machine(10, 2, 10);
    let one = open(&mut machine, A, ZERO);
    machine.give_back(one, Fit::Again, ZERO);
    let fresh = machine.ask(&A, Wish::Fresh, H1, ZERO);
    assert!(matches!(fresh, Answer::Now(Grant::Open(id)) if id != one));
    // No room for one more: what is idle goes, and the next is opened when it has gone.
    let Answer::Wait(waiter) = machine.ask(&A, Wish::Fresh, H1, ZERO) else {
        panic!("there is no room");
    };
    assert_eq!(machine.effects(), [Effect::Close(one)]);
    machine.closed(one, ZERO);
    let [Effect::Grant(granted, Grant::Open(_))] = machine.effects()[..] else {
        panic!("room");
    };
    assert_eq!(granted, waiter);
}

#[test]
fn waiters_are_served_in_their_order_and_their_number_is_bounded() {
    let mut machine = machine(1, 1, 2);
    let conn = open(&mut machine, A, ZERO);
    let (first, second) = (wait(&mut machine, A), wait(&mut machine, A));
    let third = machine.ask(&A, Wish::Any, H1, ZERO);
    assert_eq!(third, Answer::Refused(Refusal::Full));
    assert_eq!(machine.counts.refused_full, 1);
    machine.cancel(first, ZERO);
    machine.give_back(conn, Fit::Again, ZERO);
    let granted = Effect::Grant(second, Grant::Use(conn));
    assert_eq!(machine.effects(), [granted]);
    // One that cannot be used again makes room for another.
    let fourth = wait(&mut machine, A);
    machine.give_back(conn, Fit::Not(ClosedBy::Abandoned), ZERO);
    assert_eq!(machine.effects(), [Effect::Close(conn)]);
    machine.closed(conn, ZERO);
    let effects = machine.effects();
    assert!(matches!(effects[..], [Effect::Grant(id, Grant::Open(_))] if id == fourth));
}

#[test]
fn a_busy_host_does_not_keep_another_from_its_first_connection() {
    let mut machine = machine(2, 2, 10);
    let (one, two) = (open(&mut machine, A, ZERO), open(&mut machine, A, ZERO));
    let other = wait(&mut machine, B);
    let own = wait(&mut machine, A);
    machine.give_back(one, Fit::Again, ZERO);
    assert_eq!(machine.effects(), [Effect::Close(one)], "for the other");
    machine.give_back(two, Fit::Again, ZERO);
    let granted = Effect::Grant(own, Grant::Use(two));
    assert_eq!(machine.effects(), [granted], "one is enough");
    machine.closed(one, ZERO);
    let effects = machine.effects();
    assert!(matches!(effects[..], [Effect::Grant(id, Grant::Open(_))] if id == other));
    assert_eq!(closed_by(&machine, ClosedBy::Evicted), 1);
}

#[test]
fn what_is_idle_elsewhere_is_closed_for_who_needs_its_place() {
    let mut machine = machine(2, 2, 10);
    let (one, two) = (open(&mut machine, A, ZERO), open(&mut machine, A, ZERO));
    machine.give_back(two, Fit::Again, seconds(1));
    machine.give_back(one, Fit::Again, seconds(2));
    wait(&mut machine, B);
    assert_eq!(machine.effects(), [Effect::Close(two)], "the oldest");
    wait(&mut machine, B);
    assert_eq!(machine.effects(), [Effect::Close(one)]);
}

#[test]
fn the_first_connection_tells_whether_more_are_needed() {
    let mut machine = machine(10, 10, 10);
    let Answer::Now(Grant::Open(first)) = machine.ask(&A, Wish::Any, None, ZERO) else {
        panic!("the first is opened");
    };
    let Answer::Wait(second) = machine.ask(&A, Wish::Any, None, ZERO) else {
        panic!("what the host speaks is not known");
    };
    machine.opened(first, Speaks::Http2, 1, ZERO);
    assert_eq!(machine.effects(), [], "nor how much");
    machine.allow(first, 1, ZERO);
    let effects = machine.effects();
    let [Effect::Grant(granted, Grant::Open(another))] = effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(granted, second);
    machine.closed(another, ZERO);
    machine.allow(first, 1_000, ZERO);
    for _ in 1..100 {
        let asked = machine.ask(&A, Wish::Any, None, ZERO);
        assert_eq!(asked, Answer::Now(Grant::Use(first)));
    }
    assert_eq!(machine.in_flight(), 100);
    let beyond = machine.ask(&A, Wish::Any, None, ZERO);
    assert!(matches!(beyond, Answer::Now(Grant::Open(_))), "{beyond:?}");
}

#[test]
fn a_server_that_says_nothing_keeps_nobody_waiting_for_long() {
    for is_open in [false, true] {
        let mut machine = machine(10, 10, 10);
        let Answer::Now(Grant::Open(first)) = machine.ask(&A, Wish::Any, None, ZERO) else {
            panic!("the first is opened");
        };
        if is_open {
            machine.opened(first, Speaks::Http2, 1, ZERO);
        }
        let Answer::Wait(second) = machine.ask(&A, Wish::Any, None, millis(10)) else {
            panic!("the first may tell");
        };
        assert_eq!(machine.next_due(), Some(TELLS_WITHIN));
        machine.tick(TELLS_WITHIN - millis(1));
        assert_eq!(machine.effects(), []);
        machine.tick(TELLS_WITHIN);
        let effects = machine.effects();
        assert!(matches!(effects[..], [Effect::Grant(id, Grant::Open(_))] if id == second));
        let third = machine.ask(&A, Wish::Any, None, TELLS_WITHIN);
        assert!(matches!(third, Answer::Wait(_)), "one at a time");
        assert_eq!(machine.next_due(), Some(2 * TELLS_WITHIN));
    }
}

#[test]
fn a_connection_rests_for_less_time_than_its_server_keeps_it() {
    let mut machine = machine(10, 10, 10);
    let one = open(&mut machine, A, ZERO);
    for (said, kept) in [(5, 4_000), (0, 500), (1_000, 30_000)] {
        machine.keep_for(one, seconds(said));
        machine.give_back(one, Fit::Again, ZERO);
        assert_eq!(machine.next_due(), Some(millis(kept)));
        machine.ask(&A, Wish::Any, H1, ZERO);
    }
    machine.keep_for(one, seconds(5));
    machine.give_back(one, Fit::Again, ZERO);
    machine.tick(seconds(4));
    assert_eq!(machine.effects(), [Effect::Close(one)]);
}

#[test]
fn a_shared_connection_gives_way_to_who_came_before_its_next_request() {
    let mut machine = machine(1, 1, 10);
    let Answer::Now(Grant::Open(id)) = machine.ask(&A, Wish::Any, Some(Speaks::Http2), ZERO) else {
        panic!("opened");
    };
    machine.opened(id, Speaks::Http2, 100, ZERO);
    machine.allow(id, 100, ZERO);
    let other = wait(&mut machine, B);
    let later = machine.ask(&A, Wish::Any, None, ZERO);
    assert!(matches!(later, Answer::Wait(_)), "{later:?}");
    assert_eq!(machine.effects(), []);
    machine.give_back(id, Fit::Again, ZERO);
    assert_eq!(machine.effects(), [Effect::Close(id)]);
    machine.closed(id, ZERO);
    let effects = machine.effects();
    assert!(matches!(effects[..], [Effect::Grant(one, Grant::Open(_))] if one == other));
    assert_eq!(closed_by(&machine, ClosedBy::Evicted), 1);
}

#[test]
fn a_spare_one_is_opened_in_time_or_not_at_all() {
    let mut machine = machine(1, 1, 10);
    let one = open(&mut machine, A, ZERO);
    let Answer::Wait(spare) = machine.ask(&A, Wish::Spare, H1, ZERO) else {
        panic!("there is no room");
    };
    machine.turn(Season::Leaving, ZERO);
    assert_eq!(machine.effects(), [Effect::Refuse(spare)]);
    assert_eq!(machine.waiting(), 0);
    machine.give_back(one, Fit::Again, ZERO);
    assert_eq!(machine.effects(), []);
    let late = machine.ask(&B, Wish::Spare, H1, ZERO);
    assert_eq!(late, Answer::Refused(Refusal::Over));
    machine.closed(one, ZERO);
    assert!(machine.hosts.is_empty());
}

#[test]
fn a_connection_that_rests_already_is_spare_and_not_younger_for_being_asked() {
    let mut machine = machine(10, 10, 10);
    let one = open(&mut machine, A, ZERO);
    machine.give_back(one, Fit::Again, ZERO);
    assert_eq!(machine.ask(&A, Wish::Spare, H1, seconds(9)), Answer::Spare);
    assert_eq!(machine.next_due(), Some(seconds(30)));
}

#[test]
fn a_connection_that_retires_ends_with_its_last_stream() {
    let mut machine = machine(10, 10, 10);
    let Answer::Now(Grant::Open(id)) = machine.ask(&A, Wish::Any, Some(Speaks::Http2), ZERO) else {
        panic!("opened");
    };
    machine.opened(id, Speaks::Http2, 100, ZERO);
    assert_eq!(
        machine.ask(&A, Wish::Any, None, ZERO),
        Answer::Now(Grant::Use(id))
    );
    machine.retire(id, ClosedBy::Peer, ZERO);
    assert!(matches!(
        machine.ask(&A, Wish::Any, None, ZERO),
        Answer::Now(Grant::Open(other)) if other != id
    ));
    machine.give_back(id, Fit::Again, ZERO);
    assert_eq!(machine.effects(), []);
    machine.give_back(id, Fit::Again, ZERO);
    assert_eq!(machine.effects(), [Effect::Close(id)]);
}

#[test]
fn a_drain_closes_what_is_idle_at_once_and_what_was_in_flight_when_it_comes_back() {
    let mut machine = machine(10, 10, 10);
    let (idle, busy) = (open(&mut machine, A, ZERO), open(&mut machine, A, ZERO));
    machine.give_back(idle, Fit::Again, ZERO);
    machine.turn(Season::Leaving, seconds(1));
    assert_eq!(machine.effects(), []);
    machine.turn(Season::Draining, seconds(2));
    assert_eq!(machine.effects(), [Effect::Close(idle)]);
    machine.closed(idle, seconds(2));
    machine.give_back(busy, Fit::Again, seconds(3));
    assert_eq!(machine.effects(), [Effect::Close(busy)]);
    machine.closed(busy, seconds(3));
    assert_eq!(closed_by(&machine, ClosedBy::Draining), 2);
    // What is opened now rests for 100 ms.
    let late = open(&mut machine, A, seconds(4));
    machine.give_back(late, Fit::Again, seconds(4));
    assert_eq!(machine.next_due(), Some(millis(4_100)));
    machine.tick(millis(4_099));
    assert_eq!(machine.effects(), []);
    machine.tick(millis(4_100));
    assert_eq!(machine.effects(), [Effect::Close(late)]);
    machine.closed(late, millis(4_100));
    let last = open(&mut machine, A, seconds(5));
    machine.turn(Season::Over, seconds(5));
    let refused = machine.ask(&A, Wish::Any, H1, seconds(5));
    assert_eq!(refused, Answer::Refused(Refusal::Over));
    machine.give_back(last, Fit::Again, seconds(6));
    assert_eq!(machine.effects(), [Effect::Close(last)]);
    machine.cut(seconds(6));
    assert_eq!(machine.effects(), [Effect::Cut(last)]);
    machine.closed(last, seconds(6));
    assert!(machine.is_empty());
}

#[test]
fn inv_11_a_host_without_connections_and_waiters_is_forgotten() {
    let mut machine = machine(1, 1, 1);
    let one = open(&mut machine, A, ZERO);
    let waiter = wait(&mut machine, B);
    assert_eq!(
        machine.ask(&"c", Wish::Any, H1, ZERO),
        Answer::Refused(Refusal::Full)
    );
    machine.cancel(waiter, ZERO);
    machine.closed(one, ZERO);
    assert!(machine.hosts.is_empty());
}

/// Numbers that are the same in every run (a linear congruential generator, with Knuth's constants).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

/// What the driver knows: requests on connections, connections that are being opened, and those that were let go.
#[derive(Default)]
struct World {
    lent: Vec<ConnId>,
    opening: Vec<ConnId>,
    closing: Vec<ConnId>,
    waiting: Vec<WaiterId>,
    granted: usize,
}

impl World {
    fn take(&mut self, grant: Grant) {
        match grant {
            Grant::Use(id) => {
                assert!(!self.closing.contains(&id), "granted what closes");
                self.lent.push(id);
            }
            Grant::Open(id) => self.opening.push(id),
        }
    }

    fn follow(&mut self, machine: &mut Machine<&'static str>) {
        for effect in machine.effects() {
            match effect {
                Effect::Grant(waiter, grant) => {
                    assert!(self.waiting.contains(&waiter), "granted twice or to nobody");
                    self.waiting.retain(|one| *one != waiter);
                    self.granted += 1;
                    self.take(grant);
                }
                Effect::Refuse(waiter) => self.waiting.retain(|one| *one != waiter),
                Effect::Close(id) => self.closing.push(id),
                Effect::Cut(id) => assert!(self.closing.contains(&id)),
            }
        }
    }

    fn step(&mut self, machine: &mut Machine<&'static str>, dice: &mut Dice, now: Duration) {
        let pick = |dice: &mut Dice, from: &mut Vec<ConnId>| {
            (!from.is_empty()).then(|| from.swap_remove(dice.below(from.len())))
        };
        match dice.below(9) {
            0..3 => {
                let host = [A, B, "c"][dice.below(3)];
                let wish = [Wish::Any, Wish::Any, Wish::Fresh, Wish::Spare][dice.below(4)];
                match machine.ask(&host, wish, None, now) {
                    Answer::Now(grant) => self.take(grant),
                    Answer::Wait(id) => self.waiting.push(id),
                    Answer::Spare | Answer::Refused(_) => {}
                }
            }
            3 => {
                if let Some(id) = pick(dice, &mut self.opening) {
                    // Host c speaks HTTP/2.
                    let is_c = machine.conns.get(&id).is_some_and(|conn| conn.host == "c");
                    let speaks = if is_c { Speaks::Http2 } else { Speaks::Http1 };
                    machine.opened(id, speaks, 1 + dice.below(3), now);
                    self.lent.push(id);
                }
            }
            4 => {
                if let Some(id) = pick(dice, &mut self.opening) {
                    machine.closed(id, now);
                }
            }
            5 => {
                if let Some(id) = pick(dice, &mut self.lent) {
                    let fits = [Fit::Again, Fit::Again, Fit::Not(ClosedBy::Failed)];
                    machine.give_back(id, fits[dice.below(3)], now);
                }
            }
            6 => {
                if let Some(id) = pick(dice, &mut self.closing) {
                    self.lent.retain(|one| *one != id);
                    machine.closed(id, now);
                }
            }
            7 => match dice.below(4) {
                0 => machine.tick(now),
                1 => {
                    if let Some(id) = self.lent.first() {
                        machine.retire(*id, ClosedBy::Peer, now);
                    }
                }
                2 => {
                    if let Some(id) = self.lent.first() {
                        machine.allow(*id, 1 + dice.below(3), now);
                    }
                }
                // Its server ends it while it has a request.
                _ => {
                    if let Some(id) = pick(dice, &mut self.lent) {
                        self.lent.retain(|one| *one != id);
                        self.closing.retain(|one| *one != id);
                        machine.closed(id, now);
                    }
                }
            },
            _ => {
                if !self.waiting.is_empty() {
                    let waiter = self.waiting.swap_remove(dice.below(self.waiting.len()));
                    machine.cancel(waiter, now);
                }
            }
        }
        self.follow(machine);
    }
}

fn assert_bounds(machine: &Machine<&'static str>) {
    assert!(machine.conns.len() <= machine.bounds.connections);
    assert!(machine.waiters.len() <= machine.bounds.waiting);
    let mut open = 0;
    for (host, known) in &machine.hosts {
        assert!(known.open <= machine.bounds.per_host);
        let own = machine.conns.values().filter(|conn| conn.host == *host);
        assert_eq!(own.count(), known.open, "{host}");
        let opening = machine.conns.values();
        let opening = opening
            .filter(|conn| conn.host == *host && matches!(conn.state, State::Opening))
            .count();
        assert_eq!(opening, known.opening);
        open += known.open;
        // Nobody waits beside what it waits for.
        assert!(
            known.waiting.is_empty() || known.idle.is_empty() || known.waiting[0].1 == Wish::Fresh
        );
    }
    assert_eq!(open, machine.conns.len());
    // Nobody is overtaken for ever where all that is open is shared.
    if open == machine.bounds.connections && machine.conns.values().all(Conn::is_shared) {
        let mut waiting = machine.waiters.values();
        let first = waiting.find(|host| machine.is_below_its_bound(host));
        if let Some(first) = first {
            assert!(machine.conns.values().all(|conn| conn.host == *first));
        }
    }
    assert!(machine.hosts.len() <= machine.conns.len() + machine.waiters.len());
}

#[test]
fn inv_11_whatever_happens_the_limits_hold_and_nobody_waits_in_vain() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut machine = machine(2 + dice.below(4), 1 + dice.below(3), 1 + dice.below(5));
        let mut world = World::default();
        let mut now = ZERO;
        for _ in 0..2_000 {
            now += millis(dice.below(2_000) as u64);
            world.step(&mut machine, &mut dice, now);
            assert_bounds(&machine);
        }
        // When everybody is done, whoever waits gets a turn, without anybody else having to come.
        for _ in 0..100 {
            for id in world.opening.split_off(0) {
                machine.opened(id, Speaks::Http1, 0, now);
                world.lent.push(id);
            }
            let all: Vec<_> = machine.conns.keys().copied().collect();
            for id in all {
                machine.allow(id, 1, now);
            }
            for id in world.lent.split_off(0) {
                machine.give_back(id, Fit::Again, now);
            }
            world.follow(&mut machine);
            for id in world.closing.split_off(0) {
                machine.closed(id, now);
            }
            world.follow(&mut machine);
        }
        assert_eq!(world.waiting, [], "seed {seed}");
        assert_eq!(machine.in_flight(), 0);
        assert!(world.granted > 0);
        machine.turn(Season::Over, now);
        world.follow(&mut machine);
        for id in world.closing {
            machine.closed(id, now);
        }
        assert!(
            machine.is_empty() && machine.hosts.is_empty(),
            "seed {seed}"
        );
        let ended: u64 = machine.counts.all_closed().map(|(_, count)| count).sum();
        assert_eq!(
            ended,
            machine.counts.opened + closed_by(&machine, ClosedBy::Unopened)
        );
    }
}
