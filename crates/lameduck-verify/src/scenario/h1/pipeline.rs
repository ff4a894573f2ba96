//! H1-08: requests sent one behind the other without waiting, all of them before the signal.

use super::client::{Client, Deed, LONG, Sign};
use crate::observe::flow::When;
use crate::observe::outcome::{Outcome, Tally};
use crate::scenario::facts::Means;
use crate::scenario::judge::in_words;
use crate::scenario::long::{Opening, Seen};
use crate::scenario::requests;
use crate::verdict::{Finding, Verdict};

const GROUP: &str = "pipelines";
/// Of each kind: behind a slow request, and all at the last moment.
const CLIENTS: usize = 4;
/// Requests in one pipeline.
const DEPTH: usize = 4;

pub(super) fn open(opening: &mut Opening<'_>) {
    if !opening.wants("H1-08") || !opening.bench.facts.keeps_connections {
        return;
    }
    let usual = |count: usize, opening: &Opening<'_>| -> Vec<u8> {
        (0..count)
            .flat_map(|_| requests::usual(&opening.bench.facts, opening.place))
            .collect()
    };
    for _ in 0..CLIENTS {
        if let Means::Slow(_) = opening.bench.facts.means {
            let (mut bytes, _) =
                requests::in_flight(&opening.bench.facts, opening.place, opening.time);
            bytes.extend(usual(DEPTH - 1, opening));
            let deeds = vec![
                Deed::Connect,
                Deed::Send(bytes),
                Deed::Hold(When::AfterStop(std::time::Duration::ZERO)),
                Deed::Await(Sign::Answers(DEPTH), LONG),
            ];
            opening.add(GROUP, Client::new(DEPTH, deeds));
        }
        let deeds = vec![
            Deed::Connect,
            Deed::Hold(When::Eve),
            Deed::Send(usual(DEPTH, opening)),
            Deed::Await(Sign::Answers(DEPTH), LONG),
        ];
        opening.add(GROUP, Client::new(DEPTH, deeds));
    }
}

pub(super) fn judge(seen: &Seen<'_>) -> Finding {
    if !seen.bench.facts.keeps_connections {
        let reason =
            "the target closes each connection after one response: nothing can be pipelined";
        return seen.lacking("H1-08", reason);
    }
    let (mut tally, mut worst, mut pipelines) = (Tally::default(), None, 0_u64);
    let (t, mut crossing) = (seen.departure.t, 0_u64);
    for (_, client) in seen
        .talkers::<Client>(GROUP)
        .filter(|(was_poised, client)| *was_poised && client.wrote_at.is_some())
    {
        pipelines += 1;
        for index in 0..DEPTH {
            let exchange = client.exchange(index, seen.bench.posts(), seen.bench.facts.usual);
            tally.add(&exchange);
            crossing += u64::from(exchange.ended_at.is_none_or(|ended| ended >= t));
            let outcome = exchange.outcome.unwrap_or(Outcome::Hung);
            let safe = matches!(outcome, Outcome::UnprocessedSafe | Outcome::Refused503);
            if !outcome.is_served() && !safe {
                worst.get_or_insert((index, outcome));
            }
        }
    }
    let (verdict, detail) = match worst {
        _ if pipelines == 0 => (
            Verdict::NotApplicable,
            "the target ended every connection before the signal".to_owned(),
        ),
        Some((index, outcome)) => (
            Verdict::Fail,
            format!(
                "of {DEPTH} requests sent at once before the signal, number {} {}",
                index + 1,
                in_words(outcome)
            ),
        ),
        None if crossing == 0 => (
            Verdict::Inconclusive,
            "every pipelined request was answered before the signal came".to_owned(),
        ),
        None => (
            Verdict::Pass,
            format!(
                "{} of {} pipelined requests answered, {} left behind a `close`, safe to send again",
                tally.served(),
                tally.sent(),
                tally.count(Outcome::UnprocessedSafe)
            ),
        ),
    };
    seen.finding("H1-08", verdict, detail)
        .with_requests(tally)
        .with_figure("pipelines", pipelines)
}
