//! Breakers beside a reference that keeps a list of every call: what is done to both in any order must look the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use crate::breaker::Breaker;
use crate::settings::Settings;
use crate::transition::State;
use crate::{Attempt, Verdict};

#[derive(Clone, Debug)]
enum Deed {
    Acquire,
    /// Of the calls under way the one with this number, modulo how many there are.
    Report(usize, Verdict),
    Drop(usize),
    Pass(u64),
    Force(u8),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let verdict = prop_oneof![
        3 => Just(Verdict::Success),
        4 => Just(Verdict::Failure),
        1 => Just(Verdict::TurnedAway),
        1 => Just(Verdict::Ignored),
    ];
    let deed = prop_oneof![
        8 => Just(Deed::Acquire),
        8 => (0_usize..8, verdict).prop_map(|(which, verdict)| Deed::Report(which, verdict)),
        1 => (0_usize..8).prop_map(Deed::Drop),
        4 => (0_u64..700).prop_map(Deed::Pass),
        // Long enough for everything to be over.
        1 => (2_000_u64..200_000).prop_map(Deed::Pass),
        1 => (0_u8..6).prop_map(Deed::Force),
    ];
    proptest::collection::vec(deed, 1..200)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    Closed,
    Open { until: u64 },
    HalfOpen { since: u64 },
}

/// A call under way: in which stay it was admitted, when, and how.
#[derive(Clone, Copy, Debug)]
struct Call {
    stay: usize,
    began: u64,
    is_probe: bool,
    is_forced: bool,
}

/// As simple as can be: one list, one thread, sums made anew.
#[derive(Debug)]
struct Reference {
    stands: Stands,
    force: u8,
    /// Counts stays, so that none is taken for another.
    stay: usize,
    /// When the first bucket of this stay began.
    since: u64,
    /// When, failed, slow.
    answered: Vec<(u64, bool, bool)>,
    in_a_row: u32,
    streak: u32,
    out: u8,
    won: u8,
    lost: u8,
    turns: u64,
}

const WINDOW: u64 = 1_000;
const BUCKET: u64 = 100;
const SLOW: u64 = 300;
const OPEN_FOR: u64 = 400;
const OPEN_MOST: u64 = 1_200;
const PROBE_WITHIN: u64 = 900;
const PROBES: u8 = 3;
const TO_CLOSE: u8 = 2;

fn settings() -> Settings {
    let millis = Duration::from_millis;
    Settings::new()
        .window(millis(WINDOW))
        .minimum_calls(5)
        .failure_rate(0.5)
        .slow_calls(millis(SLOW), 0.6)
        .failures_in_a_row(4)
        .open_for(millis(OPEN_FOR))
        .growing(2, millis(OPEN_MOST))
        .jitter(0.0)
        .probes(PROBES, TO_CLOSE)
        .probe_within(millis(PROBE_WITHIN))
}

impl Reference {
    fn new() -> Self {
        Self {
            stands: Stands::Closed,
            force: 0,
            stay: 0,
            since: 0,
            answered: Vec::new(),
            in_a_row: 0,
            streak: 0,
            out: 0,
            won: 0,
            lost: 0,
            turns: 0,
        }
    }

    fn turn(&mut self, stands: Stands) {
        self.stands = stands;
        self.stay += 1;
        self.turns += 1;
        (self.out, self.won, self.lost) = (0, 0, 0);
        self.answered.clear();
        self.in_a_row = 0;
    }

    fn open(&mut self, now: u64) {
        let wait = (OPEN_FOR << self.streak.min(8)).min(OPEN_MOST);
        // A circuit is closed a millisecond after its last probe at the earliest.
        let until = now.max(self.since) + wait;
        self.turn(Stands::Open { until });
    }

    fn acquire(&mut self, now: u64) -> Option<Call> {
        let call = |stay, is_probe, is_forced| Call {
            stay,
            began: now,
            is_probe,
            is_forced,
        };
        match (self.force, self.stands) {
            (1, _) => None,
            (2, _) => Some(call(self.stay, false, true)),
            (_, Stands::Closed) => Some(call(self.stay, false, false)),
            (_, Stands::Open { until }) if now < until => None,
            (_, Stands::Open { .. }) => {
                self.turn(Stands::HalfOpen { since: now });
                self.out = 1;
                Some(call(self.stay, true, false))
            }
            (_, Stands::HalfOpen { .. }) if self.out + self.won + self.lost < PROBES => {
                if self.out == 0 {
                    // Nobody can be missing before somebody is under way.
                    self.stands = Stands::HalfOpen { since: now };
                }
                self.out += 1;
                Some(call(self.stay, true, false))
            }
            (_, Stands::HalfOpen { since }) => {
                if now >= since + PROBE_WITHIN {
                    self.streak += 1;
                    self.open(now);
                }
                None
            }
        }
    }

    fn report(&mut self, call: Call, verdict: Option<Verdict>, now: u64) {
        let is_present = call.stay == self.stay && !call.is_forced;
        let slow = now - call.began >= SLOW;
        let failed = match verdict {
            None | Some(Verdict::Ignored) => {
                if call.is_probe && is_present {
                    self.out -= 1;
                }
                return;
            }
            Some(verdict) => verdict != Verdict::Success,
        };
        if !is_present {
            return;
        }
        if call.is_probe {
            self.out -= 1;
            if failed || slow {
                self.lost += 1;
            } else {
                self.won += 1;
            }
            if self.won >= TO_CLOSE {
                self.turn(Stands::Closed);
                self.since = now + 1;
                self.streak = 0;
            } else if self.lost > PROBES - TO_CLOSE {
                self.streak += 1;
                self.open(now);
            }
            return;
        }
        self.answered.push((now, failed, slow));
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        if (failed || slow) && self.force == 0 {
            let (calls, failures, slow) = self.sums(now);
            let rates = failures * 2 >= calls && failures > 0 || slow * 10 >= calls * 6;
            if self.in_a_row >= 4 || calls >= 5 && rates {
                self.open(now);
            }
        }
    }

    fn sums(&self, now: u64) -> (u64, u64, u64) {
        let bucket = |at: u64| at.saturating_sub(self.since) / BUCKET;
        let inside = self
            .answered
            .iter()
            .filter(|(at, ..)| bucket(*at) + WINDOW / BUCKET > bucket(now));
        let (mut calls, mut failures, mut slows) = (0, 0, 0);
        for (_, failed, slow) in inside {
            calls += 1;
            failures += u64::from(*failed);
            slows += u64::from(*slow);
        }
        (calls, failures, slows)
    }

    fn state(&self) -> State {
        match (self.force, self.stands) {
            (1, _) => State::ForcedOpen,
            (2, _) => State::ForcedClosed,
            (_, Stands::Closed) => State::Closed,
            (_, Stands::Open { .. }) => State::Open,
            (_, Stands::HalfOpen { .. }) => State::HalfOpen,
        }
    }
}

fn same(deeds: Vec<Deed>) -> Result<(), TestCaseError> {
    let clock = Arc::new(AtomicU64::new(0));
    let reads = Arc::clone(&clock);
    let settings = settings().clock(move || Duration::from_millis(reads.load(Ordering::Relaxed)));
    let breaker = Breaker::new("tried", settings).expect("settings that fit");
    let mut reference = Reference::new();
    let mut under_way: Vec<(Attempt<&Breaker>, Call)> = Vec::new();
    let (mut answered, mut abandoned) = (0, 0);
    for deed in deeds {
        let now = clock.load(Ordering::Relaxed);
        match deed {
            Deed::Acquire => {
                let expected = reference.acquire(now);
                match (breaker.acquire(), expected) {
                    (Ok(attempt), Some(call)) => {
                        prop_assert_eq!(attempt.is_probe(), call.is_probe);
                        under_way.push((attempt, call));
                    }
                    (Err(rejected), None) => {
                        prop_assert!(!rejected.retry_after.is_zero());
                        if let Stands::Open { until } = reference.stands
                            && reference.force == 0
                        {
                            prop_assert_eq!(
                                rejected.retry_after.as_millis(),
                                u128::from(until - now)
                            );
                        }
                    }
                    (got, expected) => prop_assert!(false, "{got:?} instead of {expected:?}"),
                }
            }
            Deed::Report(which, verdict) if !under_way.is_empty() => {
                let (attempt, call) = under_way.remove(which % under_way.len());
                attempt.report(verdict);
                reference.report(call, Some(verdict), now);
                answered += u64::from(verdict != Verdict::Ignored);
            }
            Deed::Drop(which) if !under_way.is_empty() => {
                let (attempt, call) = under_way.remove(which % under_way.len());
                drop(attempt);
                reference.report(call, None, now);
                abandoned += 1;
            }
            Deed::Report(..) | Deed::Drop(_) => {}
            Deed::Pass(time) => _ = clock.fetch_add(time, Ordering::Relaxed),
            Deed::Force(force) => {
                // Released as often as both others together.
                reference.force = [0, 0, 0, 0, 1, 2][usize::from(force)];
                _ = match reference.force {
                    1 => breaker.force_open(""),
                    2 => breaker.force_closed(""),
                    _ => breaker.release(""),
                };
            }
        }
        let now = clock.load(Ordering::Relaxed);
        prop_assert_eq!(breaker.state(), reference.state());
        prop_assert_eq!(breaker.probes_out(), u32::from(reference.out));
        if reference.stands == Stands::Closed {
            let counts = breaker.counts();
            let sums = (counts.calls, counts.failures, counts.slow);
            prop_assert_eq!(sums, reference.sums(now));
        }
        let figures = breaker.figures();
        prop_assert_eq!(
            figures.opened + figures.half_opened + figures.closed,
            reference.turns
        );
        prop_assert_eq!((figures.calls, figures.abandoned), (answered, abandoned));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_breaker_does_what_a_list_of_calls_would(deeds in deeds()) {
        same(deeds)?;
    }
}
