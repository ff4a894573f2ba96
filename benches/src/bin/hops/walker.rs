//! Clients of the front: one thread each, one request after the other on a kept connection.
//!
//! Owns: the look before a write, and whether a request is answered, refused so that it may be sent again, or lost. Nothing of lameduck.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lameduck_benches::http1::Response;
use lameduck_benches::rng::Rng;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest thought between two requests; shorter than the services are quiet before they close.
const LONGEST_THOUGHT: Duration = Duration::from_millis(25);
const MOST_COMPLAINTS: usize = 20;

/// What became of a request.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Answered,
    /// Answered with another status: nothing is lost, but it was not served.
    Refused(u16),
    Lost(String),
}

/// Walkers under way.
pub(crate) struct Walks {
    over: Arc<AtomicBool>,
    walkers: Vec<JoinHandle<Vec<(u64, Fate)>>>,
}

/// What became of all requests, by id.
pub(crate) struct Walked {
    pub(crate) fates: BTreeMap<u64, Fate>,
}

impl Walks {
    pub(crate) fn begin(count: u64, door: &Arc<RwLock<SocketAddr>>, seed: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let walkers = (0..count).map(|walker| {
            let (over, door) = (over.clone(), door.clone());
            let rng = Rng::child(seed, walker);
            // Ids of one walker are a million apart from those of the next.
            thread::spawn(move || walk(&door, &over, rng, walker * 1_000_000))
        });
        Self {
            walkers: walkers.collect(),
            over,
        }
    }

    /// Ends them: each finishes the request that it has begun.
    pub(crate) fn end(self) -> Walked {
        // Relaxed: a walker sees it before its next request, or the one after.
        self.over.store(true, Ordering::Relaxed);
        let fates = self.walkers.into_iter();
        let fates = fates.flat_map(|walker| walker.join().expect("walkers do not panic"));
        Walked {
            fates: fates.collect(),
        }
    }
}

impl Walked {
    pub(crate) fn complaints(&self) -> Vec<String> {
        let told = self.fates.iter().filter_map(|(id, fate)| match fate {
            Fate::Answered => None,
            Fate::Refused(status) => Some(format!("request {id} was answered with {status}")),
            Fate::Lost(how) => Some(format!("request {id} was lost: {how}")),
        });
        told.take(MOST_COMPLAINTS).collect()
    }
}

fn walk(
    door: &RwLock<SocketAddr>,
    over: &AtomicBool,
    mut rng: Rng,
    first: u64,
) -> Vec<(u64, Fate)> {
    let mut fates = Vec::new();
    let mut kept: Option<TcpStream> = None;
    // Relaxed: see `Walks::end`.
    while !over.load(Ordering::Relaxed) {
        thread::sleep(rng.duration(Duration::ZERO..=LONGEST_THOUGHT));
        let Some(mut stream) = kept.take().filter(is_clear).or_else(|| connect(door)) else {
            // Refused at the door: it goes to the next address, which stands there by now.
            continue;
        };
        let id = first + fates.len() as u64;
        match ask(&mut stream, id, rng.within(0..=8)) {
            Ok(answer) => {
                fates.push((
                    id,
                    match answer.status() {
                        200 => Fate::Answered,
                        status => Fate::Refused(status),
                    },
                ));
                kept = (!answer.closes()).then_some(stream);
            }
            Err(how) => fates.push((id, Fate::Lost(how.to_string()))),
        }
    }
    fates
}

fn connect(door: &RwLock<SocketAddr>) -> Option<TcpStream> {
    let address = *door.read().expect("nobody panics with it");
    let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// The look before a write: nothing has come, no end either.
fn is_clear(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let looked = stream.peek(&mut [0]);
    let is_silent = matches!(looked, Err(error) if error.kind() == ErrorKind::WouldBlock);
    is_silent && stream.set_nonblocking(false).is_ok()
}

/// How a request was lost.
enum Loss {
    Write(std::io::Error),
    Read(std::io::Error, u64),
    End(u64),
    Garbled,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(error) => write!(f, "it could not be written: {error}"),
            Self::Read(error, got) => write!(f, "{error}, after {got} bytes of an answer"),
            Self::End(got) => write!(f, "the connection ended after {got} bytes of an answer"),
            Self::Garbled => f.write_str("the answer is not HTTP"),
        }
    }
}

fn ask(stream: &mut TcpStream, id: u64, work: u64) -> Result<Response, Loss> {
    let request =
        format!("POST /do/{id}?ms={work} HTTP/1.1\r\nhost: front\r\ncontent-length: 3\r\n\r\nabc");
    stream.write_all(request.as_bytes()).map_err(Loss::Write)?;
    let mut response = Response::new();
    let mut buffer = [0; 4_096];
    while !response.is_over() {
        match stream.read(&mut buffer) {
            Ok(0) => {
                response.end_of_file();
                if !response.is_complete() {
                    return Err(Loss::End(response.received()));
                }
            }
            Ok(count) => response.take(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Loss::Read(error, response.received())),
        }
    }
    match response.is_complete() {
        true => Ok(response),
        false => Err(Loss::Garbled),
    }
}
