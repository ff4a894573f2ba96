//! Which metrics there are, under which names, and from which figures.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lameduck::inflight::Protocol;
use lameduck::{Count, Figures, Lifecycle, Phase, PhaseFigures};
use lameduck_breaker::{Group, Panel};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::CounterWithExemplar;
use prometheus_client::registry::Unit;

use super::breakers;

/// The fates of connections that are counted, as they stand in the report.
const FATES: [Count; 15] = [
    Count::HeadExpired,
    Count::IdleExpired,
    Count::StallExpired,
    Count::PingExpired,
    Count::WsExpired,
    Count::WsHeld,
    Count::AgeExpired,
    Count::HandshakeFailed,
    Count::HandshakeExpired,
    Count::Flooded,
    Count::LingerExpired,
    Count::SilentClosed,
    Count::IdleClosed,
    Count::Malformed,
    Count::Ended,
];

/// How requests end after T, by the counts that add up to it.
const OUTCOMES: [(&str, &[Count]); 6] = [
    ("served", &[Count::Served]),
    ("cut", &[Count::RequestCut]),
    ("truncated", &[Count::Truncated]),
    (
        "expired",
        &[Count::HeadExpired, Count::StallExpired, Count::AgeExpired],
    ),
    ("refused", &[Count::LateRefused]),
    ("late_bytes", &[Count::LateBytes]),
];

const LEAVING: [Phase; 3] = [Phase::Terminating, Phase::Draining, Phase::Stopped];

pub(super) type Labels = Vec<(&'static str, String)>;

/// The figures of one scrape.
#[derive(Debug)]
pub(super) struct Scrape {
    figures: Figures,
    breakers: Vec<Group>,
    /// When the process is gone, on the wall clock.
    deadline: Option<SystemTime>,
}

impl Scrape {
    pub(super) fn of(life: &Lifecycle) -> Self {
        let figures = life.figures();
        let deadline = figures.deadline;
        let deadline = deadline.and_then(|at| figures.started_on.checked_add(at));
        let breakers = life.common::<Panel>().groups();
        Self {
            figures,
            breakers,
            deadline,
        }
    }

    fn phase(&self, phase: Phase) -> Option<&PhaseFigures> {
        self.figures.phases.iter().find(|one| one.phase == phase)
    }

    fn participant(&self, owner: Option<u32>) -> String {
        let named = owner.and_then(|owner| self.figures.participants.get(owner as usize));
        named.map_or_else(|| "none".to_owned(), |named| named.name.clone())
    }

    fn count(&self, count: Count) -> (Labels, u64) {
        (Labels::new(), self.figures.count(count))
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.phases(&mut page)?;
        self.in_flight(&mut page)?;
        self.requests(&mut page)?;
        self.connections(&mut page)?;
        self.participants(&mut page)?;
        self.signals(&mut page)?;
        breakers::write(&self.breakers, &mut page)
    }
}

impl Scrape {
    fn phases(&self, page: &mut Page<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        page.gauges(
            "lameduck_build_info",
            "The version of lameduck",
            [(vec![("version", version)], 1)],
        )?;
        let now = self.figures.phase();
        let phases = Phase::ALL
            .into_iter()
            .map(|phase| (labels([("phase", phase.as_str())]), u64::from(phase == now)));
        page.gauges(
            "lameduck_phase",
            "1 for the phase of the lifecycle, 0 for the others",
            phases,
        )?;
        self.transitions(page)?;
        let deadline = self
            .deadline
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        page.seconds(
            "lameduck_deadline_timestamp",
            "When the process is gone, in Unix time; only once it was asked to leave",
            deadline.map(|deadline| (Labels::new(), deadline)),
        )
    }

    fn transitions(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut metric = page.0.encode_descriptor(
            "lameduck_phase_transitions",
            "Changes of the phase, with the cause of the shutdown",
            None,
            MetricType::Counter,
        )?;
        for pair in self.figures.phases.windows(2) {
            let cause = match &self.figures.cause {
                Some(cause) if pair[1].phase.is_leaving() => cause.kind(),
                _ => "ready",
            };
            let labels = labels([
                ("from", pair[0].phase.as_str()),
                ("to", pair[1].phase.as_str()),
                ("cause", cause),
            ]);
            let counter = CounterWithExemplar::<Labels>::default();
            // Its trace is that of the drain: what came before has none of this id.
            let drain_id = pair[1]
                .phase
                .is_leaving()
                .then(|| vec![("drain_id", self.figures.drain_id.clone())]);
            let at = self.figures.started_on.checked_add(pair[1].at);
            counter.inc_by(1, drain_id, at);
            counter.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn in_flight(&self, page: &mut Page<'_>) -> fmt::Result {
        let held = &self.figures.census.held;
        let mut owners: Vec<_> = held.iter().map(|held| held.owner).collect();
        owners.dedup();
        let busy = owners.into_iter().map(|owner| {
            let busy = held.iter().filter(|held| held.owner == owner);
            let participant = self.participant(owner);
            (
                vec![("participant", participant)],
                busy.map(|held| held.busy as u64).sum(),
            )
        });
        page.gauges(
            "lameduck_inflight_requests",
            "Requests in flight by the participant whose connections they are on",
            busy,
        )?;
        page.gauges(
            "lameduck_inflight_guards",
            "Guards that are held: work of the program that the shutdown waits for",
            [(Labels::new(), self.figures.guards as u64)],
        )?;
        let spoken = Protocol::ALL
            .into_iter()
            .filter(|protocol| *protocol != Protocol::Stream);
        let connections = spoken.map(|protocol| {
            let those = held.iter().filter(|held| held.protocol == protocol);
            let count = those.map(|held| held.slots as u64).sum();
            (labels([("protocol", protocol.as_str())]), count)
        });
        page.gauges(
            "lameduck_connections",
            "Open connections by what is spoken on them",
            connections,
        )
    }

    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let began = self
            .figures
            .phases
            .iter()
            .map(|phase| (labels([("phase", phase.phase.as_str())]), phase.requests));
        page.counters(
            "lameduck_requests_started",
            "Requests by the phase in which they began, health checks left out",
            began,
        )?;
        let ended = LEAVING.into_iter().flat_map(|phase| {
            let figures = self.phase(phase);
            OUTCOMES.into_iter().map(move |(outcome, counts)| {
                let count = |count: &Count| figures.map_or(0, |figures| figures.count(*count));
                let labels = labels([("phase", phase.as_str()), ("outcome", outcome)]);
                (labels, counts.iter().map(count).sum())
            })
        });
        page.counters(
            "lameduck_requests",
            "What became of requests after the service was asked to leave, by the phase in which they ended",
            ended,
        )?;
        let cut = [
            ("truncated", Count::Truncated),
            ("fallback", Count::FallbackGiven),
        ];
        page.counters(
            "lameduck_cut_responses",
            "Responses that a layer cut on purpose, by what their clients got",
            cut.map(|(result, count)| (labels([("result", result)]), self.figures.count(count))),
        )?;
        page.counters(
            "lameduck_handler_panics",
            "Handlers that panicked",
            [self.count(Count::Panicked)],
        )
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counters(
            "lameduck_connections_accepted",
            "Connections accepted, those of the sweep included",
            [self.count(Count::Accepted)],
        )?;
        let fates = FATES.into_iter().map(|fate| {
            let labels = labels([("fate", fate.as_str())]);
            (labels, self.figures.count(fate))
        });
        page.counters(
            "lameduck_connections_ended",
            "Connections that did not simply end when both sides were done, by what became of them",
            fates,
        )?;
        page.counters(
            "lameduck_sweep_accepted",
            "Connections that waited in the kernel when the window ended, and were served",
            [self.count(Count::Swept)],
        )?;
        let handshakes = [
            ("failed", Count::HandshakeFailed),
            ("expired", Count::HandshakeExpired),
        ];
        page.counters(
            "lameduck_handshake_failures",
            "TLS handshakes that did not come to an end",
            handshakes.map(|(reason, count)| {
                let labels = labels([("reason", reason)]);
                (labels, self.figures.count(count))
            }),
        )?;
        page.counters(
            "lameduck_accept_errors",
            "Errors of accept(2), survived",
            [self.count(Count::AcceptError)],
        )?;
        page.counters(
            "lameduck_limit_pauses",
            "How often a listener paused because there were as many connections as allowed",
            [self.count(Count::OverLimit)],
        )
    }

    fn participants(&self, page: &mut Page<'_>) -> fmt::Result {
        let budgets = self.figures.participants.iter().flat_map(|one| {
            let granted = Some(one.granted).filter(|granted| !granted.is_zero());
            let kinds = [
                ("asked", one.budget),
                ("granted", granted),
                ("used", one.used),
            ];
            kinds.into_iter().filter_map(|(kind, took)| {
                let labels = vec![("participant", one.name.clone()), ("kind", kind.to_owned())];
                took.map(|took| (labels, took))
            })
        });
        page.seconds(
            "lameduck_budget",
            "The time that a participant asked for, and what it used since it was told to close",
            budgets,
        )
    }

    fn signals(&self, page: &mut Page<'_>) -> fmt::Result {
        let signals = self.figures.signals.iter().map(|one| {
            let labels = labels([
                ("signal", one.signal.as_str()),
                ("sender_class", one.sender.as_str()),
            ]);
            (labels, one.count)
        });
        page.counters(
            "lameduck_signals",
            "Signals by what kind of sender they had",
            signals,
        )?;
        page.latency(&self.figures.latency)?;
        let dropped = self.figures.dropped.iter();
        page.counters(
            "lameduck_dropped_records",
            "What did not fit into a bounded list or queue",
            dropped.map(|(queue, count)| (labels([("queue", *queue)]), *count)),
        )?;
        page.counters(
            "lameduck_interrupted_calls",
            "System calls that a signal interrupted, of those made through lameduck::eintr",
            [(Labels::new(), lameduck::eintr::count())],
        )
    }
}

/// The text as it grows, a family at a time.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    fn family(
        &mut self,
        (name, help, unit): (&str, &str, Option<&Unit>),
        kind: MetricType,
        rows: impl IntoIterator<Item = (Labels, Figure)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, figure) in rows {
            if labels.is_empty() {
                figure.encode(&mut metric)?;
            } else {
                figure.encode(&mut metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, value)| {
            (
                labels,
                Figure::Gauge(i64::try_from(value).unwrap_or(i64::MAX)),
            )
        });
        self.family((name, help, None), MetricType::Gauge, rows)
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let rows = rows
            .into_iter()
            .map(|(labels, value)| (labels, Figure::Counter(value)));
        self.family((name, help, None), MetricType::Counter, rows)
    }

    /// Gauges whose name gets the unit behind it.
    fn seconds(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, Duration)>,
    ) -> fmt::Result {
        let rows = rows
            .into_iter()
            .map(|(labels, value)| (labels, Figure::Seconds(value.as_secs_f64())));
        let described = (name, help, Some(&Unit::Seconds));
        self.family(described, MetricType::Gauge, rows)
    }

    fn latency(&mut self, latency: &lameduck::Latency) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(
            "lameduck_signal_latency",
            "From a signal's handler until what it asks for was done: for the first request until the phase was published",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        let classes = latency.classes.iter();
        let buckets: Vec<_> = classes
            .map(|(bound, count)| {
                (
                    bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()),
                    *count,
                )
            })
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        metric.encode_histogram::<NoLabelSet>(latency.sum.as_secs_f64(), count, &buckets, None)
    }
}

enum Figure {
    Gauge(i64),
    Counter(u64),
    Seconds(f64),
}

impl Figure {
    fn encode(&self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Gauge(value) => metric.encode_gauge(value),
            Self::Counter(value) => metric.encode_counter::<NoLabelSet, _, u64>(value, None),
            Self::Seconds(value) => metric.encode_gauge(value),
        }
    }
}

pub(super) fn labels<const N: usize>(of: [(&'static str, &str); N]) -> Labels {
    of.map(|(name, value)| (name, value.to_owned())).to_vec()
}
