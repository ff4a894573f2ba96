//! WS-05: WebSockets in streams of HTTP/2 (extended CONNECT, RFC 8441), in the drain of `long`.
//! Owns their clients and verdict; not HTTP/2 (see `observe::h2`) or frames (see `observe::ws`).

use std::time::Duration;

use super::client::MASK;
use crate::observe::engine::Engine;
use crate::observe::flow::When;
use crate::observe::h2::Ends;
use crate::observe::h2::call::Call;
use crate::observe::h2::flow::Flow;
use crate::observe::h2::script::{Script, Seen as H2Seen, Step};
use crate::observe::ws::{FrameReader, Last, TEXT, close_frame, frame, pattern};
use crate::scenario::h2::requests;
use crate::scenario::long::{Opening, Seen, millis};
use crate::verdict::{Finding, Verdict};

const GROUP: &str = "ws-tunnels";
/// At each door: two that answer the Close, one that never does.
const ANSWERING: usize = 2;
const ECHO: usize = 16;
/// Bytes of its echo: a head of two, and the message.
const ECHO_FRAME: u64 = ECHO as u64 + 2;
/// And of the Close behind it at least: its head and a code.
const WITH_CLOSE: u64 = ECHO_FRAME + 4;
/// Far more than both.
const KEEP: usize = 4 * 1024;
/// The status that opens a tunnel.
const ACCEPTED: u16 = 200;
/// Extended CONNECT may be used once the server's SETTINGS came; they are waited for in steps.
const SETTINGS_STEP: Duration = Duration::from_millis(5);
const SETTINGS_STEPS: u32 = 100;

pub(super) fn open(opening: &mut Opening<'_>, path: &str) {
    for door in opening.bench.facts.speech.h2_doors(opening.place) {
        for index in 0..=ANSWERING {
            let request = requests::websocket(opening.place, &door, path, KEEP);
            let answers = index < ANSWERING;
            let plan = vec![
                Step::Open(request),
                Step::AwaitAnswers,
                Step::Send {
                    bytes: echo(),
                    ends: Ends::Nothing,
                },
                Step::AwaitBody(ECHO_FRAME),
                Step::AwaitBody(WITH_CLOSE),
            ];
            let script = Tunnel {
                waited: 0,
                begun: 0,
                plan: plan.into_iter(),
                close: answers.then(|| close_frame(1001, MASK)),
            };
            let flow = Flow::new(GROUP, vec![door.clone()], script);
            opening.engine.h2.push(flow);
        }
    }
}

fn echo() -> Vec<u8> {
    let payload: Vec<u8> = (0..ECHO as u64).map(pattern).collect();
    frame(TEXT, Last::Yes, &payload, MASK)
}

/// Connects, waits for the server's SETTINGS, opens the tunnel, asks for one echo, and waits for the Close.
struct Tunnel {
    begun: u8,
    waited: u32,
    plan: std::vec::IntoIter<Step>,
    /// The answer to the Close, for those who give one.
    close: Option<Vec<u8>>,
}

impl Script for Tunnel {
    fn next(&mut self, seen: &H2Seen<'_>) -> Option<Step> {
        if self.begun < 2 {
            self.begun += 1;
            return Some(if self.begun == 1 {
                Step::Connect(0)
            } else {
                Step::Greet
            });
        }
        if !seen.connected {
            return None;
        }
        let greeted = seen.conn.is_some_and(|conn| conn.greeted);
        if !greeted && self.waited < SETTINGS_STEPS {
            self.waited += 1;
            return Some(Step::Pause(When::For(SETTINGS_STEP)));
        }
        // RFC 8441, 3: a client does not ask where it is not offered. Some servers that do not know it would answer.
        let offered = seen.conn.is_some_and(|conn| conn.offers_connect);
        let refused = seen.calls.last().is_some_and(|call| {
            call.exchange
                .status
                .is_some_and(|status| status != ACCEPTED)
        });
        if !offered || refused {
            return None;
        }
        self.plan.next().or_else(|| {
            let answer = self.close.take().map(|bytes| Step::Send {
                bytes,
                ends: Ends::Stream,
            });
            Some(answer.unwrap_or(Step::AwaitEnd))
        })
    }
}

/// A page that says no has a body too.
fn has_echo(call: &Call) -> bool {
    call.exchange.status == Some(ACCEPTED) && call.exchange.body_bytes >= ECHO_FRAME
}

pub(super) fn are_ready(engine: &Engine) -> bool {
    let mut tunnels = engine.h2.iter().filter(|flow| flow.group == GROUP);
    tunnels.all(|flow| flow.is_over() || flow.calls.last().is_some_and(has_echo))
}

/// What came through a tunnel, frame by frame.
fn frames(call: &Call) -> FrameReader {
    let mut reader = FrameReader::default();
    for (at, bytes) in &call.kept {
        reader.push(bytes, *at);
    }
    reader
}

/// Why there was no tunnel; `instead` is a status that was no 200.
fn in_vain(seen: &Seen<'_>, instead: Option<u16>) -> String {
    let mut conns = seen.engine.h2.iter().filter(|flow| flow.group == GROUP);
    let offered = conns.any(|flow| flow.conns.last().is_some_and(|conn| conn.offers_connect));
    let how = match instead {
        Some(status) => format!("is answered with {status}"),
        None if offered => "is not answered".to_owned(),
        None => "is not offered".to_owned(),
    };
    format!("the target has no WebSocket over HTTP/2: extended CONNECT {how}")
}

pub(super) fn judge(seen: &Seen<'_>) -> Finding {
    let id = "WS-05";
    if let Some(reason) = super::lacks(seen.bench) {
        return seen.lacking(id, &reason);
    }
    if !seen.bench.facts.speech.speaks_h2() {
        return seen.lacking(id, "the target does not speak HTTP/2");
    }
    let t = seen.departure.t;
    let target = &seen.bench.options.target;
    let (mut tunnels, mut held, mut last) = (0_u64, 0_u64, Duration::ZERO);
    let (mut worst, mut instead) = (None, None);
    for flow in seen.engine.h2.iter().filter(|flow| flow.group == GROUP) {
        let Some(call) = flow.calls.last() else {
            continue;
        };
        let reader = frames(call);
        let echoed_in_time = call.kept.first().is_some_and(|(at, _)| *at < t) && has_echo(call);
        if !echoed_in_time {
            instead = instead.or(call.exchange.status);
            continue;
        }
        tunnels += 1;
        let end = flow.conns.last().and_then(|conn| conn.end);
        held += u64::from(!call.whole && seen.held_exit(end));
        let trouble = match &reader.farewell {
            _ if reader.violation.is_some() => "saw broken frames".to_owned(),
            None => "ended without a Close frame".to_owned(),
            Some(farewell) if farewell.is_inside_message => {
                "got the Close in the middle of a message".to_owned()
            }
            Some(farewell) => match farewell.code {
                Some(code) if target.accepts_close(code) => {
                    last = last.max(seen.after_stop(farewell.at));
                    continue;
                }
                Some(code) => format!("got a Close with code {code}"),
                None => "got a Close without a code".to_owned(),
            },
        };
        worst.get_or_insert(trouble);
    }
    let (verdict, detail) = if tunnels == 0 {
        (Verdict::NotApplicable, in_vain(seen, instead))
    } else if let Some(trouble) = worst {
        let detail = format!("of {tunnels} WebSockets in streams of HTTP/2, one {trouble}");
        (Verdict::Fail, detail)
    } else if held > 0 {
        let detail =
            "a client that never answered the Close kept the process until it had to be killed";
        (Verdict::Fail, detail.to_owned())
    } else {
        let detail = format!(
            "{tunnels} in streams got a Close ({}), the last {} after the signal",
            target.close_codes_in_words(),
            millis(last)
        );
        (Verdict::Pass, detail)
    };
    seen.finding(id, verdict, detail)
        .with_figure("websockets", tunnels)
        .with_figure("held", held)
        .with_figure("last_close_ms", last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::h2::call::ConnLog;

    fn next_of(offers_connect: bool) -> Option<Step> {
        let mut tunnel = Tunnel {
            begun: 2,
            waited: 0,
            plan: vec![Step::AwaitAnswers].into_iter(),
            close: None,
        };
        let mut conn = ConnLog::new(std::time::Instant::now());
        conn.greeted = true;
        conn.offers_connect = offers_connect;
        tunnel.next(&H2Seen {
            stopped: false,
            connected: true,
            refused: false,
            conn: Some(&conn),
            calls: &[],
        })
    }

    #[test]
    fn a_server_that_does_not_offer_tunnels_is_not_asked_for_one() {
        assert!(next_of(true).is_some());
        assert!(next_of(false).is_none());
    }
}
