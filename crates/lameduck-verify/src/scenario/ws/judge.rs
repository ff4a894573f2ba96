//! Owns the verdicts of WS-01 to WS-06 from what the clients of the drain saw.
//! Not: the clients (see `client`).

use std::time::{Duration, Instant};

use super::client::WsClient;
use super::{BUSY, FAREWELL, IDLE, LARGE, SILENT};
use crate::observe::holdups::HeldUp;
use crate::observe::outcome::End;
use crate::scenario::attention::Watch;
use crate::scenario::long::{Seen, millis};
use crate::verdict::{Finding, Verdict};

/// A burst is counted in windows of this length.
const BURST: Duration = Duration::from_millis(100);

pub(super) fn judge(seen: &Seen<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(reason) = super::lacks(seen.bench) {
        let ids = ["WS-01", "WS-02", "WS-03", "WS-06"];
        findings.extend(ids.map(|id| seen.lacking(id, &reason)));
    } else {
        findings.extend([
            judge_close(seen),
            judge_frames(seen),
            judge_silent(seen),
            judge_spread(seen),
        ]);
    }
    findings.push(judge_farewell(seen));
    findings
}

fn poised<'s>(seen: &'s Seen<'_>, group: &'static str) -> impl Iterator<Item = &'s WsClient> {
    seen.talkers::<WsClient>(group)
        .filter(|(was_poised, _)| *was_poised)
        .map(|(_, client)| client)
}

/// Why no WebSocket of a group was open at the signal.
fn instead(seen: &Seen<'_>, group: &'static str) -> String {
    let mut clients = seen.talkers::<WsClient>(group);
    clients.next().map_or_else(
        || "there is none".to_owned(),
        |(_, client)| in_words(client),
    )
}

/// How far a client came that was to wait for the signal, in words.
pub(super) fn in_words(client: &WsClient) -> String {
    match client.status() {
        Some(101) if !client.was_accepted => {
            "the answer to the WebSocket handshake is not what RFC 6455 asks for".to_owned()
        }
        Some(101) if client.end.is_some() => "the WebSocket ends as soon as it is open".to_owned(),
        Some(101) => "the WebSocket does not echo what it is sent".to_owned(),
        Some(status) => format!("the WebSocket handshake is answered with {status}"),
        None => "the WebSocket handshake is not answered".to_owned(),
    }
}

/// What a client met instead of a Close, in words.
fn without_close(client: &WsClient) -> &'static str {
    match client.end {
        Some((_, End::Reset)) => "was reset without a Close frame",
        Some((_, End::Fin)) => "was closed without a Close frame",
        _ => "stayed open until the end",
    }
}

fn judge_close(seen: &Seen<'_>) -> Finding {
    let id = "WS-01";
    let target = &seen.bench.options.target;
    let (mut sockets, mut closed, mut worst, mut last) = (0_u64, 0_u64, None, Duration::ZERO);
    for client in poised(seen, IDLE) {
        sockets += 1;
        let Some(farewell) = &client.frames.farewell else {
            worst.get_or_insert(without_close(client).to_owned());
            continue;
        };
        last = last.max(seen.after_stop(farewell.at));
        match farewell.code {
            Some(code) if target.accepts_close(code) => closed += 1,
            Some(code) => {
                worst.get_or_insert(format!("got a Close with code {code}"));
            }
            None => {
                worst.get_or_insert("got a Close without a code".to_owned());
            }
        }
    }
    let (verdict, detail) = match worst {
        _ if sockets == 0 => (Verdict::NotApplicable, instead(seen, IDLE)),
        Some(worst) => {
            let bad = sockets - closed;
            let detail =
                format!("{bad} of {sockets} were not told that the service leaves; one {worst}");
            (Verdict::Fail, detail)
        }
        None => {
            let detail = format!(
                "{sockets} of {sockets} got a Close ({}), the last {} after the signal",
                target.close_codes_in_words(),
                millis(last)
            );
            (Verdict::Pass, detail)
        }
    };
    seen.finding(id, verdict, detail)
        .with_figure("websockets", sockets)
        .with_figure("closed", closed)
        .with_figure("last_close_ms", last)
}

fn judge_frames(seen: &Seen<'_>) -> Finding {
    let id = "WS-02";
    let (mut sockets, mut large, mut worst) = (0_u64, 0_u64, None);
    for group in [BUSY, LARGE] {
        for client in poised(seen, group) {
            sockets += 1;
            large += u64::from(group == LARGE);
            let frames = &client.frames;
            let trouble = if let Some(violation) = frames.violation {
                format!("saw broken frames: {violation}")
            } else if !client.is_faithful {
                "got a message with bytes in it that nobody had sent".to_owned()
            } else if frames
                .farewell
                .as_ref()
                .is_some_and(|farewell| farewell.is_inside_message)
            {
                "got the Close in the middle of a message".to_owned()
            } else if frames.is_inside_frame() || frames.is_inside_message() {
                format!(
                    "got {} bytes of a message that never became whole",
                    frames.message_bytes()
                )
            } else if group == LARGE && !client.is_echo_whole() {
                "never got the rest of its message".to_owned()
            } else {
                continue;
            };
            worst.get_or_insert(trouble);
        }
    }
    let (verdict, detail) = match worst {
        _ if large == 0 => (Verdict::NotApplicable, {
            let why = instead(seen, LARGE);
            format!("no large message was half sent at the signal: {why}")
        }),
        Some(trouble) => (
            Verdict::Fail,
            format!("of {sockets} WebSockets in the middle of messages, one {trouble}"),
        ),
        None => (
            Verdict::Pass,
            format!(
                "{large} large messages half sent at the signal came whole, and {} busy WebSockets saw whole frames only",
                sockets - large
            ),
        ),
    };
    seen.finding(id, verdict, detail)
        .with_figure("large", large)
        .with_figure("busy", sockets - large)
}

fn judge_silent(seen: &Seen<'_>) -> Finding {
    let id = "WS-03";
    let clients = || poised(seen, SILENT);
    let count = clients().count();
    let held = clients()
        .filter(|client| seen.held_exit(client.end))
        .count();
    let last = clients()
        .filter_map(|client| Some(seen.after_stop(client.end?.0)))
        .max()
        .unwrap_or_default();
    let (verdict, detail) = if count == 0 {
        (Verdict::NotApplicable, instead(seen, SILENT))
    } else if held > 0 {
        let detail = format!(
            "{held} of {count} clients that never answer a Close kept the process until it had to be killed"
        );
        (Verdict::Fail, detail)
    } else {
        let detail = format!(
            "{count} clients never answered the Close; ended {} after the signal",
            millis(last)
        );
        (Verdict::Pass, detail)
    };
    seen.finding(id, verdict, detail)
        .with_figure("silent", count)
        .with_figure("held", held)
        .with_figure("last_end_ms", last)
}

fn judge_farewell(seen: &Seen<'_>) -> Finding {
    let id = "WS-04";
    let Some(owed) = &seen.bench.options.target.ws_farewell else {
        let reason = "the target declares no WebSocket whose application says farewell itself";
        return seen.lacking(id, reason);
    };
    let Some(client) = poised(seen, FAREWELL).next() else {
        return seen.lacking(id, &instead(seen, FAREWELL));
    };
    let code = client
        .frames
        .farewell
        .as_ref()
        .and_then(|farewell| farewell.code);
    let said = client.first_text.as_deref();
    let (verdict, detail) = if said != Some(owed.message.as_str()) {
        let detail = match said {
            Some(said) => format!(
                "the application's last message was to be {:?}, and {said:?} came",
                owed.message
            ),
            None => "the application's last message never came".to_owned(),
        };
        (Verdict::Differs, detail)
    } else if code != Some(owed.code) {
        let detail = match code {
            Some(code) => format!("the application closes with {}, and {code} came", owed.code),
            None => format!(
                "the application closes with {}, and no such Close came",
                owed.code
            ),
        };
        (Verdict::Differs, detail)
    } else {
        let detail = format!("its last message came, then its Close with {}", owed.code);
        (Verdict::Pass, detail)
    };
    seen.finding(id, verdict, detail)
}

/// The largest number of sorted instants within one span of that length.
fn largest_burst(times: &[Instant], within: Duration) -> usize {
    (0..times.len())
        .map(|from| {
            times[from..]
                .iter()
                .take_while(|at| **at - times[from] < within)
                .count()
        })
        .max()
        .unwrap_or(0)
}

fn judge_spread(seen: &Seen<'_>) -> Finding {
    let id = "WS-06";
    let declared = seen.bench.options.target.ws_spread;
    let mut times: Vec<Instant> = poised(seen, IDLE)
        .filter_map(|client| Some(client.frames.farewell.as_ref()?.at))
        .collect();
    let sockets = poised(seen, IDLE).count();
    times.sort_unstable();
    let largest = largest_burst(&times, BURST);
    let span = match (times.first(), times.last()) {
        (Some(first), Some(last)) => *last - *first,
        _ => Duration::ZERO,
    };
    let percent = largest * 100 / times.len().max(1);
    let short = declared.filter(|spread| *spread < BURST * 3);
    let is_spread = short.map_or(percent <= 50, |spread| span >= spread / 2);
    // Who was held up may have seen closes so much closer together than they were.
    let held_up = held_up(seen, times.last().copied());
    let surely = largest_burst(&times, BURST.saturating_sub(held_up.longest));
    let is_burst = short.map_or(surely * 2 > times.len(), |spread| {
        span + held_up.longest < spread / 2
    });
    let seen_words = format!(
        "{percent} % of {} closes within {}, all within {}",
        times.len(),
        millis(BURST),
        millis(span)
    );
    let (verdict, detail) = if sockets == 0 {
        (Verdict::NotApplicable, instead(seen, IDLE))
    } else if times.len() * 2 < sockets {
        let detail = "most WebSockets got no Close (see WS-01)";
        (Verdict::NotApplicable, detail.to_owned())
    } else if declared == Some(Duration::ZERO) {
        let detail = format!("the plan closes all at once: {seen_words}");
        (Verdict::NotApplicable, detail)
    } else if is_spread {
        (Verdict::Pass, seen_words)
    } else {
        (Verdict::Differs, seen_words)
    };
    let mut finding = seen.finding(id, verdict, detail);
    let is_unsure = match verdict {
        // A burst that falls into two halves looks spread.
        Verdict::Pass => held_up.blurs(),
        Verdict::Differs => !is_burst,
        _ => false,
    };
    if is_unsure {
        finding = finding.left_open(held_up);
    }
    finding
        .with_figure("closes", times.len())
        .with_figure("largest_share_in_100_ms_percent", percent)
        .with_figure("span_ms", span)
}

/// How much we were held up while the closes came.
fn held_up(seen: &Seen<'_>, last: Option<Instant>) -> HeldUp {
    let t = seen.departure.t;
    let until = last.unwrap_or(seen.departure.over_at);
    seen.bench.held_up(&[Watch { t, until }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_burst_is_found_wherever_it_is() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(largest_burst(&[], BURST), 0);
        let times = [at(0), at(90), at(185), at(186), at(300), at(500)];
        assert_eq!(largest_burst(&times, BURST), 3);
        assert_eq!(largest_burst(&times, BURST / 2), 2);
        assert_eq!(largest_burst(&[at(0), at(100), at(200)], BURST), 1);
    }
}
