//! Owns what is tried out about a target before anything is judged: what it answers, whether it keeps connections,
//! takes POSTs, and how a request can be kept in flight.
//! Not: judging.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::requests;
use super::speech::Speech;
use crate::observe::outcome::Usual;
use crate::observe::response::ResponseReader;
use crate::options::Options;
use crate::target::{Answer, LaunchError, Place, Running, VerifyError, ask};

/// Bound for one question.
const ASK_BOUND: Duration = Duration::from_secs(5);
/// Bytes of the large response that is asked for.
pub(crate) const LARGE_BYTES: u64 = 8 * 1024 * 1024;

/// A response of so many bytes is large; more would only take time.
const LARGE_ENOUGH: std::ops::RangeInclusive<u64> = 1024 * 1024..=256 * 1024 * 1024;

/// How a request is kept in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Means {
    /// By the slow path (with `{ms}`).
    Slow(String),
    /// By a POST whose body is completed late.
    HalfPost(String),
    /// By a head that is completed late: the weakest means, any server has it.
    HalfHead,
}

/// What was found out.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// It answers HTTP/1.1 in plain text, which most checks of the process and of the door ask in.
    pub(crate) speaks_h1: bool,
    pub(crate) usual: Usual,
    pub(crate) status: u16,
    pub(crate) keeps_connections: bool,
    pub(crate) post_path: Option<String>,
    pub(crate) means: Means,
    pub(crate) large_path: Option<String>,
    /// How many bytes come from there.
    pub(crate) large_bytes: u64,
    /// How many bytes the usual answer has, without its head.
    pub(crate) answer_bytes: u64,
    /// Where WebSockets are echoed, ports not filled in.
    pub(crate) ws_path: Option<String>,
    /// What it speaks besides HTTP/1.1.
    pub(crate) speech: Speech,
    pub(crate) round_trip: Duration,
    pub(crate) notes: Vec<String>,
}

impl Facts {
    /// Tries the target out.
    ///
    /// # Errors
    /// Fails when it does not answer HTTP at all.
    pub(crate) fn learn(options: &Options, running: &Running) -> Result<Self, VerifyError> {
        let place = &running.place;
        let mut notes = Vec::new();
        let request = requests::get(place, &place.url.path);
        let answer = ask(place.url.addr, &request, ASK_BOUND);
        let Answer::Whole {
            head, body_bytes, ..
        } = answer
        else {
            let never_ready = || LaunchError::NeverReady {
                path: place.url.path.clone(),
                last: answer.in_words(),
                waited: ASK_BOUND,
                output: running.stderr(),
            };
            let facts = Self::without_h1(options, running).ok_or_else(never_ready)?;
            facts.speech.check_trust(options, place)?;
            return Ok(facts);
        };
        notes.push(format!("GET {} answers {}", place.url.path, head.status));
        if head.close {
            notes.push("it closes each connection after one response, so there is no idle connection to reuse".to_owned());
        }
        let mut facts = Self {
            speaks_h1: true,
            usual: if head.status >= 500 {
                Usual::ServerError
            } else {
                Usual::Good
            },
            status: head.status,
            keeps_connections: !head.close,
            post_path: None,
            means: Means::HalfHead,
            large_path: None,
            large_bytes: 0,
            answer_bytes: body_bytes,
            ws_path: None,
            speech: Speech::default(),
            round_trip: round_trip(place.url.addr),
            notes,
        };
        facts.try_posts(options, place);
        facts.try_means(options, place);
        facts.try_large(options, place);
        facts.try_websocket(options, place);
        if super::asks_for_more(options) {
            facts.speech = Speech::learn(options, place, &mut facts.notes);
            facts.speech.check_trust(options, place)?;
        }
        Ok(facts)
    }

    /// For targets that speak HTTP/2 only (most gRPC servers), or nothing but TLS.
    fn without_h1(options: &Options, running: &Running) -> Option<Self> {
        let mut notes =
            vec!["it speaks no HTTP/1.1 in plain text: what is asked in that is n/a".to_owned()];
        let speech = Speech::learn(options, &running.place, &mut notes);
        (speech.speaks_h2() || speech.tls).then(|| Self {
            speaks_h1: false,
            usual: Usual::Good,
            status: 200,
            keeps_connections: true,
            post_path: None,
            means: options
                .target
                .slow_path
                .as_deref()
                .map_or(Means::HalfHead, |path| {
                    Means::Slow(running.place.fill(path))
                }),
            large_path: None,
            large_bytes: 0,
            answer_bytes: 0,
            ws_path: None,
            speech,
            round_trip: round_trip(running.place.url.addr),
            notes,
        })
    }

    fn try_posts(&mut self, options: &Options, place: &Place) {
        let path = options
            .target
            .post_path
            .as_deref()
            .map_or_else(|| place.url.path.clone(), |path| place.fill(path));
        let with_posts = Self {
            post_path: Some(path.clone()),
            ..self.clone()
        };
        let answer = ask(
            place.url.addr,
            &requests::usual(&with_posts, place),
            ASK_BOUND,
        );
        match answer {
            Answer::Whole { head, .. } if head.status < 400 && head.close != self.keeps_connections => {
                self.post_path = Some(path.clone());
                self.notes.push(format!("requests under test are POST {path}"));
            }
            _ => self.notes.push(format!(
                "requests under test are GETs: POST {path} {}; many clients send a lost GET again by themselves",
                answer.in_words()
            )),
        }
    }

    fn try_means(&mut self, options: &Options, place: &Place) {
        if let Some(path) = options
            .target
            .slow_path
            .as_deref()
            .map(|path| place.fill(path))
        {
            let request = requests::get(place, &path.replace("{ms}", "150"));
            let answer = ask(place.url.addr, &request, ASK_BOUND);
            match answer {
                Answer::Whole { took, .. }
                    if took >= Duration::from_millis(100) && answer.is_good() =>
                {
                    self.notes
                        .push(format!("in flight means: a request that runs, GET {path}"));
                    self.means = Means::Slow(path);
                    return;
                }
                _ => self.notes.push(format!(
                    "the slow path does not hold a request for 150 ms: it {}",
                    answer.in_words()
                )),
            }
        }
        let upload = options.target.upload_path.as_deref();
        let paths = [self.post_path.clone(), upload.map(|path| place.fill(path))];
        for path in paths.into_iter().flatten() {
            if half_post_waits(place, &path) {
                self.notes.push(format!(
                    "in flight means: a POST {path} whose body is completed after the signal"
                ));
                self.means = Means::HalfPost(path);
                return;
            }
        }
        self.notes.push(
            "in flight means: a request whose head is completed after the signal (pass --slow-path for a request that really runs)"
                .to_owned(),
        );
    }

    fn try_large(&mut self, options: &Options, place: &Place) {
        let Some(template) = options.target.large_path.as_deref() else {
            // What it answers anyhow may do.
            if LARGE_ENOUGH.contains(&self.answer_bytes) && self.usual == Usual::Good {
                let path = place.url.path.clone();
                self.notes.push(format!(
                    "a large response is that of GET {path}, {} bytes",
                    self.answer_bytes
                ));
                (self.large_path, self.large_bytes) = (Some(path), self.answer_bytes);
            }
            return;
        };
        let path = place
            .fill(template)
            .replace("{bytes}", &LARGE_BYTES.to_string());
        let answer = ask(place.url.addr, &requests::get(place, &path), ASK_BOUND * 2);
        match answer {
            Answer::Whole { body_bytes, .. }
                if answer.is_good() && body_bytes >= *LARGE_ENOUGH.start() =>
            {
                (self.large_path, self.large_bytes) = (Some(path), body_bytes);
            }
            _ => self.notes.push(format!(
                "the large path gives no response of 1 MiB or more: it {}",
                answer.in_words()
            )),
        }
    }

    fn try_websocket(&mut self, options: &Options, place: &Place) {
        let Some(template) = options.target.ws_path.as_deref() else {
            return;
        };
        match super::ws::try_out(place, &place.fill(template)) {
            Ok(()) => self.ws_path = Some(template.to_owned()),
            Err(why) => self.notes.push(why),
        }
    }

    /// A request can be kept in flight for as long as we like.
    pub(crate) fn can_hold_for_ever(&self) -> bool {
        !matches!(self.means, Means::HalfHead)
    }
}

/// The shortest of a few connects: on a quiet moment, one round trip.
pub(crate) fn round_trip(addr: SocketAddr) -> Duration {
    (0..8)
        .filter_map(|_| {
            let begun = Instant::now();
            TcpStream::connect_timeout(&addr, Duration::from_secs(1))
                .ok()
                .map(|_| begun.elapsed())
        })
        .min()
        .unwrap_or(Duration::from_micros(100))
}

/// Whether the target waits for the second half of a body, and answers then.
fn half_post_waits(place: &Place, path: &str) -> bool {
    let (first, last) = requests::half_post(place, path);
    let Ok(mut stream) = TcpStream::connect_timeout(&place.url.addr, ASK_BOUND) else {
        return false;
    };
    let _ = stream.set_nodelay(true);
    let silent = |stream: &TcpStream| {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(150)));
        stream.peek(&mut [0]).is_err_and(|error| {
            matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            )
        })
    };
    if stream.write_all(&first).is_err() || !silent(&stream) || stream.write_all(&last).is_err() {
        return false;
    }
    let mut reader = ResponseReader::new();
    let mut buffer = [0; 4096];
    let _ = stream.set_read_timeout(Some(ASK_BOUND));
    for _ in 0..256 {
        match stream.read(&mut buffer) {
            Ok(0) => reader.end_of_stream(),
            Ok(count) if reader.push(&buffer[..count]).is_ok() => {}
            _ => return false,
        }
        if let Some(head) = reader.head() {
            return head.status < 400;
        }
    }
    false
}
