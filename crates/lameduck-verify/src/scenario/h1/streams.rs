//! H1-11 and H1-14: chunked responses that end or never do, and event streams.

use std::time::Duration;

use super::client::{Client, Deed, LONG, Sign};
use crate::observe::outcome::{End, Outcome, Tally};
use crate::scenario::drain::in_flight_time;
use crate::scenario::judge::in_words;
use crate::scenario::long::{LAST_BOUND, Opening, Seen, millis};
use crate::scenario::requests;
use crate::target::Place;
use crate::verdict::{Finding, Verdict};

const ENDING: &str = "ending-streams";
const ENDLESS: &str = "endless-streams";
const EVENTS: &str = "event-streams";

/// Between two chunks or events.
const PACE: Duration = Duration::from_millis(50);
/// At the pace above, more than an hour.
const ENDLESS_CHUNKS: u64 = 100_000;
const CLIENTS: usize = 3;

fn fill(place: &Place, template: &str, chunks: u64) -> String {
    place
        .fill(template)
        .replace("{chunks}", &chunks.to_string())
        .replace("{ms}", &PACE.as_millis().to_string())
}

/// How long the streams that end are asked to last, from their request on.
fn longest(grace: Duration) -> Duration {
    in_flight_time(grace) + LAST_BOUND
}

fn reading(place: &Place, path: &str, last: Deed) -> Client {
    let request = requests::get(place, path);
    let first = Deed::Await(Sign::Body(1), LONG);
    Client::new(1, vec![Deed::Connect, Deed::Send(request), first, last])
}

pub(super) fn open(opening: &mut Opening<'_>) {
    let target = &opening.bench.options.target;
    if let Some(template) = target.stream_path.as_deref()
        && opening.wants("H1-11")
        && template.contains("{chunks}")
    {
        let path = fill(opening.place, template, ENDLESS_CHUNKS);
        opening.add(ENDLESS, reading(opening.place, &path, Deed::AwaitEnd));
    }
    if let Some(template) = target.sse_path.as_deref()
        && opening.wants("H1-14")
    {
        let path = fill(opening.place, template, ENDLESS_CHUNKS);
        for _ in 0..CLIENTS {
            let client = reading(opening.place, &path, Deed::AwaitEndOrAnswer);
            opening.add(EVENTS, client);
        }
    }
}

/// The streams that end by themselves begin last: whenever T comes, their last chunk is due after it.
pub(super) fn open_last(opening: &mut Opening<'_>) {
    let target = &opening.bench.options.target;
    if let Some(template) = target.stream_path.as_deref()
        && opening.wants("H1-11")
    {
        let chunks = (longest(opening.bench.options.grace).as_millis() / PACE.as_millis()) as u64;
        let path = fill(opening.place, template, chunks);
        for _ in 0..CLIENTS {
            let client = reading(opening.place, &path, Deed::AwaitEndOrAnswer);
            opening.add(ENDING, client);
        }
    }
}

pub(super) fn judge(seen: &Seen<'_>) -> Vec<Finding> {
    vec![judge_chunked(seen), judge_events(seen)]
}

fn poised<'s>(seen: &'s Seen<'_>, group: &'static str) -> impl Iterator<Item = &'s Client> {
    seen.talkers::<Client>(group)
        .filter(|(was_poised, _)| *was_poised)
        .map(|(_, client)| client)
}

/// What those who were not poised got, in words.
fn instead(seen: &Seen<'_>, group: &'static str) -> String {
    let status = seen.talkers::<Client>(group).find_map(|(_, client)| {
        let head = client.answers.get(0)?.reader.head()?;
        Some(head.status)
    });
    match status {
        Some(status) => format!("it answers {status} there and ends"),
        None => "it does not answer there".to_owned(),
    }
}

/// What the endless responses came to.
struct Endless {
    clients: usize,
    held: bool,
    looks_whole: bool,
    cut_after: Option<Duration>,
    /// What the target logs can be seen.
    is_seen: bool,
    is_named: bool,
}

impl Endless {
    fn of(seen: &Seen<'_>, template: &str) -> Self {
        let clients = || poised(seen, ENDLESS);
        let route = template.split('?').next().unwrap_or(template);
        Self {
            clients: clients().count(),
            held: clients().any(|client| seen.held_exit(client.answers.end)),
            looks_whole: clients().any(|client| client.answers.whole() > 0),
            cut_after: clients()
                .filter_map(|client| Some(seen.after_stop(client.answers.end?.0)))
                .max(),
            is_seen: seen.account.is_some() || clients().next().is_none(),
            is_named: clients().next().is_none()
                || seen.account.is_none_or(|account| account.contains(route)),
        }
    }

    /// The verdict where those that end have all ended whole.
    fn judge(&self, ending: u64) -> (Verdict, String) {
        if self.looks_whole {
            let detail =
                "the endless response was ended with a terminator: it looks complete and is not";
            return (Verdict::Fail, detail.to_owned());
        }
        if self.held {
            let detail = "the endless response went on until the grace period was over, and the process had to be killed";
            return (Verdict::Fail, detail.to_owned());
        }
        let cut = self.cut_after.map_or_else(String::new, |after| {
            format!(
                "; the endless one was cut {} after the signal",
                millis(after)
            )
        });
        if self.is_named {
            let unseen = if self.is_seen {
                ""
            } else {
                "; whether it is named can not be seen (--logs)"
            };
            (Verdict::Pass, format!("{ending} ended whole{cut}{unseen}"))
        } else {
            let detail =
                format!("{ending} ended whole{cut}, and nothing on standard error names it");
            (Verdict::Differs, detail)
        }
    }
}

/// Why there is nothing to judge: the path gives no such response, or it was over too early.
fn no_streams(seen: &Seen<'_>) -> (Verdict, String) {
    let mut clients = seen.talkers::<Client>(ENDING);
    let was_over = clients.any(|(_, client)| {
        client.answers.get(0).is_some_and(|first| {
            first.reader.body_bytes() > 0
                && first.reader.head().is_some_and(|head| head.status == 200)
        })
    });
    if was_over {
        let detail =
            "the streams had ended when the signal came: too short, or this machine too busy";
        (Verdict::Inconclusive, detail.to_owned())
    } else {
        let why = instead(seen, ENDING);
        let detail = format!("the stream path gave no response that lasts: {why}");
        (Verdict::NotApplicable, detail)
    }
}

/// A chunk that is so late is not on its way any more.
const STANDSTILL: Duration = Duration::from_millis(500);

/// It was cut by the target while chunks still came, yet not before it should have ended by itself: the target, or this machine,
/// was slower than the path was asked to be, and a drain need not wait for that. Who stopped sending is not excused.
fn overran(client: &Client, longest: Duration) -> bool {
    let due = client.wrote_at.map(|at| at + longest);
    let moved = client.answers.get(0).and_then(|first| first.last_bytes_at);
    match (due, moved, client.answers.end) {
        (_, _, Some((_, End::GaveUp))) => false,
        (Some(due), Some(moved), Some((end, _))) => end >= due && end < moved + STANDSTILL,
        _ => false,
    }
}

fn judge_chunked(seen: &Seen<'_>) -> Finding {
    let id = "H1-11";
    let Some(template) = seen.bench.options.target.stream_path.as_deref() else {
        let reason = "no path with a chunked response is known; --stream-path would give one";
        return seen.lacking(id, reason);
    };
    let mut tally = Tally::default();
    let longest = longest(seen.bench.options.grace);
    let (mut ending, mut slow, mut worst) = (0_u64, 0_u64, None);
    for client in poised(seen, ENDING) {
        ending += 1;
        let exchange = client.exchange(0, false, seen.bench.facts.usual);
        tally.add(&exchange);
        let outcome = exchange.outcome.unwrap_or(Outcome::Hung);
        if outcome.is_served() {
            continue;
        }
        if overran(client, longest) && !seen.held_exit(client.answers.end) {
            slow += 1;
        } else {
            worst.get_or_insert(outcome);
        }
    }
    let endless = Endless::of(seen, template);
    let (verdict, detail) = match worst {
        _ if ending == 0 => no_streams(seen),
        Some(outcome) => {
            let how = in_words(outcome);
            let detail = format!("{ending} chunked responses would have ended in time; one {how}");
            (Verdict::Fail, detail)
        }
        None if slow > 0 => {
            let detail = format!(
                "{slow} of {ending} chunked responses ran slower than they were asked to, and had not ended when they were due: whether they would have in time can not be told"
            );
            (Verdict::Inconclusive, detail)
        }
        None => endless.judge(ending),
    };
    let finding = seen
        .finding(id, verdict, detail)
        .with_requests(tally)
        .with_figure("ending", ending)
        .with_figure("slow", slow)
        .with_figure("endless", endless.clients);
    unnamed(finding)
}

/// What it means that a cut response is not named.
fn unnamed(mut finding: Finding) -> Finding {
    if finding.verdict == Verdict::Differs {
        finding.consequence =
            Some("a response was cut off, and nobody can tell afterwards which one it was".into());
        finding.remedy = Some("name what the deadline ends: method, path, peer, age".into());
    }
    finding
}

fn judge_events(seen: &Seen<'_>) -> Finding {
    let id = "H1-14";
    if seen.bench.options.target.sse_path.is_none() {
        let reason = "no path with an event stream is known; --sse-path would give one";
        return seen.lacking(id, reason);
    }
    let (mut streams, mut last, mut worst) = (0_u64, Duration::ZERO, None);
    for client in poised(seen, EVENTS) {
        streams += 1;
        let first = client.answers.get(0);
        let is_whole = client.answers.whole() > 0;
        let at_boundary = first.is_some_and(|first| first.reader.is_at_event_boundary());
        let ended_at = first
            .and_then(|first| first.whole_at)
            .or(client.answers.end.map(|(at, _)| at));
        if let Some(at) = ended_at {
            last = last.max(seen.after_stop(at));
        }
        let trouble = match (is_whole, at_boundary) {
            (true, true) => continue,
            (true, false) => "ended inside an event",
            (false, _) if seen.held_exit(client.answers.end) => {
                "went on until the grace period was over, and the process had to be killed"
            }
            (false, _) => match client.answers.end {
                Some((_, End::Reset)) => "was reset",
                _ => "was cut without a terminator",
            },
        };
        worst.get_or_insert(trouble);
    }
    let (verdict, detail) = if streams == 0 {
        let why = instead(seen, EVENTS);
        let detail = format!("the path gave no event stream that lasts: {why}");
        (Verdict::NotApplicable, detail)
    } else if let Some(trouble) = worst {
        let detail = format!("of {streams} event streams open at the signal, one {trouble}");
        (Verdict::Fail, detail)
    } else {
        let detail = format!(
            "{streams} event streams ended between two events, with a terminator, the last {} after the signal",
            millis(last)
        );
        (Verdict::Pass, detail)
    };
    seen.finding(id, verdict, detail)
        .with_figure("streams", streams)
        .with_figure("last_end_ms", last)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_cut_after_it_was_due_ran_too_slowly() {
        let asked = Instant::now();
        let cut = |moved_ms, end_ms, end| {
            let mut client = Client::new(1, Vec::new());
            client.wrote_at = Some(asked);
            let at = |ms| asked + Duration::from_millis(ms);
            let some = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
            client.answers.hear(some, at(moved_ms));
            client.answers.end = Some((at(end_ms), end));
            client
        };
        let longest = longest(Duration::from_secs(4));
        assert_eq!(longest, Duration::from_millis(2_500));
        assert!(!overran(&cut(2_450, 2_499, End::Fin), longest), "too early");
        assert!(overran(&cut(2_450, 2_500, End::Fin), longest));
        assert!(overran(&cut(2_450, 2_500, End::Reset), longest));
        assert!(
            !overran(&cut(300, 2_500, End::Fin), longest),
            "it stood still"
        );
        assert!(
            !overran(&cut(3_900, 4_000, End::GaveUp), longest),
            "it hangs"
        );
    }
}
