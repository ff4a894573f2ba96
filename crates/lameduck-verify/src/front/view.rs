//! Owns what users of each front would have seen: every request after T is kept as served or as a failure with its
//! times, then looked at through each front's propagation time and retries.
//! Not: verdicts; a view is a figure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Front, Retry, fronts};
use crate::observe::engine::Engine;
use crate::observe::outcome::{Exchange, Outcome};

/// Failures kept with their times; more are counted in `unkept`.
const MAX_FAILURES: usize = 50_000;
/// Served requests are kept as counts per so much time.
const BUCKET: Duration = Duration::from_millis(10);

/// What users behind one front saw, or would have seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FrontView {
    /// The front's name.
    pub front: String,
    /// It is the one that was declared; without a declaration, the direct view.
    pub declared: bool,
    /// `measured` through the front itself, or `computed` from what direct clients saw.
    pub basis: Cow<'static, str>,
    /// From the deregistration until it sends nothing new.
    pub propagation_ms: f64,
    /// The preStop sleep between the deregistration and the signal.
    pub pre_stop_ms: f64,
    /// From the signal until it sends nothing new; none where clients never learn, or where it was measured.
    pub exposed_ms: Option<f64>,
    /// Requests after the signal (or under way then) that it would have sent here.
    pub requests: u64,
    /// Of these: answered.
    pub served: u64,
    /// Of these: failed, and hidden from users by asking another instance.
    pub retried: u64,
    /// Of these: refused, which users saw.
    pub refused: u64,
    /// Of these: lost, which users saw.
    pub lost: u64,
    /// Of these: other failures that users saw (5xx, handshakes that never became whole).
    pub errors: u64,
    /// What users saw, by outcome.
    pub seen: BTreeMap<Cow<'static, str>, u64>,
    /// Requests of this run that it would have sent elsewhere: begun when it had learned, or refused to clients
    /// that know no front.
    pub elsewhere: u64,
    /// From the signal to the first failure that users saw.
    pub first_error_ms: Option<f64>,
    /// From the signal to the last one.
    pub last_error_ms: Option<f64>,
    /// How long before it had learned the door was shut, where it does not retry connects.
    pub uncovered_ms: Option<f64>,
    /// All this in one sentence.
    pub summary: String,
}

impl FrontView {
    /// Failures that users saw.
    #[must_use]
    pub fn visible(&self) -> u64 {
        self.refused + self.lost + self.errors
    }
}

/// A request that did not end well.
#[derive(Debug, Clone, Copy)]
struct Failure {
    /// From T to its beginning; zero if it was under way.
    begun: Duration,
    /// From T to its end.
    ended: Duration,
    outcome: Outcome,
    is_post: bool,
    is_lost: bool,
}

impl Failure {
    fn is_refusal(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::RefusedConnect
                | Outcome::RefusedH2
                | Outcome::Refused503
                | Outcome::UnprocessedSafe
        )
    }
}

/// All requests after the signal, of the scenarios whose clients behave as users do.
#[derive(Debug, Default)]
pub(crate) struct Sightings(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// By the bucket in which they were begun.
    served: BTreeMap<u64, u64>,
    failures: Vec<Failure>,
    unkept: u64,
    longest: Option<Duration>,
}

impl Sightings {
    /// Takes in all that the clients of `engine` saw; T is `t`.
    pub(crate) fn take(&self, engine: &Engine, t: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for flow in &engine.flows {
            let exchanges = flow.exchanges.iter();
            exchanges.for_each(|exchange| seen.take(exchange, t));
            seen.take_connects(&flow.refused_connects, Outcome::RefusedConnect, t);
            seen.take_connects(&flow.failed_handshakes, Outcome::HandshakeFailed, t);
        }
        for flow in engine.h2.iter().filter(|flow| flow.group != "hostile") {
            let calls = flow.calls.iter();
            calls.for_each(|call| seen.take(&call.exchange, t));
            seen.take_connects(&flow.refused_connects, Outcome::RefusedConnect, t);
            seen.take_connects(&flow.failed_handshakes, Outcome::HandshakeFailed, t);
        }
    }

    /// The longest request that was under way at the signal or begun after it, and answered.
    pub(crate) fn longest(&self) -> Option<Duration> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.longest
    }

    /// Takes in connects that were neither accepted nor refused until their client gave up.
    pub(crate) fn take_hung(&self, connects: &[(Instant, Instant)], t: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take_connects(connects, Outcome::Hung, t);
    }

    /// What was seen through `front` itself: it has retried what it retries, and what is left is what users saw.
    pub(crate) fn measured(&self, front: Front) -> FrontView {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = FrontView::new(front, seen.served.values().sum());
        view.basis = Cow::Borrowed("measured");
        view.declared = true;
        for failure in &seen.failures {
            view.see(failure);
        }
        view.summary = view.in_words(front);
        view
    }

    /// The view through each known front; `declared` takes the place of the front of its name.
    pub(crate) fn views(&self, declared: Front, pre_stop: Duration) -> Vec<FrontView> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = fronts()
            .iter()
            .filter_map(|info| Front::named(info.name).ok());
        known
            .map(|front| {
                let front = if front.name() == declared.name() {
                    declared
                } else {
                    front
                };
                seen.through(front, declared, pre_stop)
            })
            .collect()
    }
}

impl Seen {
    fn take(&mut self, exchange: &Exchange, t: Instant) {
        let Some(outcome) = exchange.outcome.filter(|_| exchange.is_at_stake(t)) else {
            return;
        };
        let since = |at: Instant| at.saturating_duration_since(t);
        let begun = since(exchange.begun_at);
        if outcome.is_served() {
            if let Some(ended) = exchange.ended_at {
                let took = ended.saturating_duration_since(exchange.begun_at);
                self.longest = self.longest.max(Some(took));
            }
            self.note_served(begun);
            return;
        }
        // Written late by ourselves, or never written: nothing can be said about it.
        if outcome.is_unanswered() && !exchange.is_lost() {
            return;
        }
        self.note(Failure {
            begun,
            ended: since(exchange.ended_at.unwrap_or(exchange.begun_at)),
            outcome,
            is_post: exchange.is_post,
            is_lost: exchange.is_lost(),
        });
    }

    fn note_served(&mut self, begun: Duration) {
        let bucket = begun.as_millis() / BUCKET.as_millis();
        let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
        *self.served.entry(bucket).or_default() += 1;
    }

    fn take_connects(&mut self, connects: &[(Instant, Instant)], outcome: Outcome, t: Instant) {
        for (begun, at) in connects.iter().filter(|(_, at)| *at >= t) {
            self.note(Failure {
                begun: begun.saturating_duration_since(t),
                ended: *at - t,
                outcome,
                is_post: false,
                is_lost: false,
            });
        }
    }

    fn note(&mut self, failure: Failure) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(failure);
        } else {
            self.unkept += 1;
        }
    }

    fn through(&self, front: Front, declared: Front, pre_stop: Duration) -> FrontView {
        let exposed = (!front.is_none()).then(|| front.propagation().saturating_sub(pre_stop));
        let reaches = |begun: Duration| exposed.is_none_or(|exposed| begun < exposed);
        let bucket_reaches = |bucket: &u64| {
            let begun = BUCKET.saturating_mul(u32::try_from(*bucket).unwrap_or(u32::MAX));
            // Under way at the signal: it was sent here, whatever the front learned since.
            *bucket == 0 || reaches(begun)
        };
        let all: u64 = self.served.values().sum();
        let counts = self
            .served
            .iter()
            .filter(|(bucket, _)| bucket_reaches(bucket));
        let served: u64 = counts.map(|(_, count)| count).sum();
        let mut view = FrontView {
            declared: front.name() == declared.name(),
            pre_stop_ms: millis(pre_stop),
            exposed_ms: exposed.map(millis),
            elsewhere: all - served,
            ..FrontView::new(front, served)
        };
        for failure in &self.failures {
            view.take(failure, front, reaches(failure.begun));
        }
        let shut = self
            .failures
            .iter()
            .filter(|failure| failure.outcome == Outcome::RefusedConnect)
            .map(|failure| failure.ended)
            .min();
        if let (Some(shut), Some(exposed)) = (shut, exposed)
            && shut < exposed
            && !front.info().retries.contains(&Retry::Connect)
        {
            view.uncovered_ms = Some(millis(exposed - shut));
        }
        view.summary = view.in_words(front);
        view
    }
}

impl FrontView {
    fn new(front: Front, served: u64) -> Self {
        Self {
            front: front.name().to_owned(),
            declared: false,
            basis: Cow::Borrowed("computed"),
            propagation_ms: millis(front.propagation()),
            pre_stop_ms: 0.0,
            exposed_ms: None,
            requests: served,
            served,
            retried: 0,
            refused: 0,
            lost: 0,
            errors: 0,
            seen: BTreeMap::new(),
            elsewhere: 0,
            first_error_ms: None,
            last_error_ms: None,
            uncovered_ms: None,
            summary: String::new(),
        }
    }

    fn take(&mut self, failure: &Failure, front: Front, is_sent_here: bool) {
        let under_way = failure.is_lost && failure.begun.is_zero();
        // Who connects directly and is refused knows that nothing was done, and may go elsewhere.
        if !(is_sent_here || under_way) || front.is_none() && failure.is_refusal() {
            self.elsewhere += 1;
            return;
        }
        if front.hides(failure.outcome, failure.is_post) {
            self.requests += 1;
            self.retried += 1;
            return;
        }
        self.see(failure);
    }

    /// Counts what users saw.
    fn see(&mut self, failure: &Failure) {
        self.requests += 1;
        let count = match (failure.is_lost, failure.is_refusal()) {
            (true, _) => &mut self.lost,
            (_, true) => &mut self.refused,
            _ => &mut self.errors,
        };
        *count += 1;
        *self.seen.entry(failure.outcome.word().into()).or_default() += 1;
        let at = millis(failure.ended);
        self.first_error_ms = Some(self.first_error_ms.map_or(at, |first| first.min(at)));
        self.last_error_ms = Some(self.last_error_ms.map_or(at, |last| last.max(at)));
    }

    fn in_words(&self, front: Front) -> String {
        let through = if front.is_none() && self.basis == "measured" {
            "users".to_owned()
        } else if front.is_none() {
            "clients that connect directly".to_owned()
        } else {
            format!("users behind {}", front.name())
        };
        let mut text = match (self.first_error_ms, self.last_error_ms) {
            (Some(first), Some(last)) => format!(
                "{through} saw {} in {} requests ({}), the first {} and the last {} after {}",
                plural(self.visible(), "failure"),
                self.requests,
                self.by_kind(),
                seconds(first),
                seconds(last),
                if self.basis == "measured" {
                    "T"
                } else {
                    "the signal"
                }
            ),
            _ => format!("{through} saw no failure in {} requests", self.requests),
        };
        if self.retried > 0 {
            text.push_str(&format!("; {} more were hidden by retries", self.retried));
        }
        if let Some(uncovered) = self.uncovered_ms {
            text.push_str(&format!(
                "; the door was shut {} before the front has learned",
                seconds(uncovered)
            ));
        }
        text
    }

    /// What it does, and for how long; nothing where clients connect directly.
    pub(crate) fn times(&self) -> Option<String> {
        let front = Front::named(&self.front).ok()?;
        if front.is_none() {
            return None;
        }
        let name = &self.front;
        let retries = front.info().retries.iter().map(|retry| retry.word());
        let retries: Vec<_> = retries.collect();
        let retries = if retries.is_empty() {
            "it retries nothing".to_owned()
        } else {
            format!("it retries {}", retries.join(", "))
        };
        if self.basis == "measured" {
            return Some(format!(
                "{name}, asked as its users ask it; {retries} unless it is told otherwise"
            ));
        }
        let sleep = if self.pre_stop_ms > 0.0 {
            format!(
                ", of which a preStop sleep of {} leaves {}",
                seconds(self.pre_stop_ms),
                seconds(self.exposed_ms.unwrap_or_default())
            )
        } else {
            String::new()
        };
        Some(format!(
            "{name}, which goes on sending new connections for {}{sleep}; {retries}",
            seconds(self.propagation_ms)
        ))
    }

    fn by_kind(&self) -> String {
        let kinds = self.seen.iter();
        let kinds: Vec<_> = kinds
            .map(|(word, count)| match &**word {
                "error" => plural(*count, "server error"),
                word => format!("{count} {word}"),
            })
            .collect();
        kinds.join(", ")
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn plural(count: u64, word: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {word}{s}")
}

fn seconds(millis: f64) -> String {
    format!("{:.2} s", millis / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(begun_ms: u64, outcome: Outcome) -> Failure {
        Failure {
            begun: Duration::from_millis(begun_ms),
            ended: Duration::from_millis(begun_ms + 1),
            outcome,
            is_post: true,
            is_lost: outcome.is_unanswered(),
        }
    }

    /// Ten served at once, a door that shuts after 400 ms, one POST reset.
    fn seen() -> Sightings {
        let mut seen = Seen::default();
        (0..10).for_each(|_| seen.note_served(Duration::ZERO));
        seen.note_served(Duration::from_secs(30));
        seen.note(failure(100, Outcome::Reset));
        seen.note(failure(400, Outcome::RefusedConnect));
        seen.note(failure(6_000, Outcome::RefusedConnect));
        Sightings(Mutex::new(seen))
    }

    fn view(name: &str, pre_stop_ms: u64) -> FrontView {
        let declared = Front::named("kubernetes").unwrap();
        let views = seen().views(declared, Duration::from_millis(pre_stop_ms));
        views.into_iter().find(|view| view.front == name).unwrap()
    }

    #[test]
    fn each_front_shows_its_users_what_it_sends_and_does_not_retry() {
        let direct = view("none", 0);
        assert_eq!((direct.lost, direct.refused, direct.elsewhere), (1, 0, 2));
        assert_eq!((direct.requests, direct.exposed_ms), (12, None));
        let kubernetes = view("kubernetes", 0);
        assert!(kubernetes.declared);
        assert_eq!(
            (kubernetes.lost, kubernetes.refused, kubernetes.retried),
            (1, 1, 0)
        );
        assert_eq!((kubernetes.requests, kubernetes.elsewhere), (12, 2));
        assert_eq!(
            (kubernetes.first_error_ms, kubernetes.last_error_ms),
            (Some(101.0), Some(401.0))
        );
        assert_eq!(kubernetes.uncovered_ms, Some(4_599.0));
        let istio = view("istio", 0);
        assert_eq!((istio.lost, istio.refused, istio.retried), (1, 0, 1));
        assert_eq!(istio.uncovered_ms, None);
        let alb = view("alb", 0);
        assert_eq!((alb.refused, alb.last_error_ms), (2, Some(6_001.0)));
    }

    #[test]
    fn a_pre_stop_sleep_covers_its_part_of_the_propagation() {
        let covered = view("kubernetes", 5_000);
        assert_eq!(
            (covered.refused, covered.lost, covered.exposed_ms),
            (0, 0, Some(0.0))
        );
        assert_eq!((covered.visible(), covered.uncovered_ms), (0, None));
        let mostly = view("kubernetes", 4_800);
        assert_eq!((mostly.refused, mostly.lost), (0, 1));
    }

    #[test]
    fn failures_are_bounded_and_what_is_not_kept_is_counted() {
        let mut seen = Seen::default();
        (0..MAX_FAILURES + 3).for_each(|_| seen.note(failure(1, Outcome::Error)));
        assert_eq!((seen.failures.len(), seen.unkept), (MAX_FAILURES, 3));
    }
}
