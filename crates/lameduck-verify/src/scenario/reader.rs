//! H1-10: a client that reads a large response slowly while the target is told to stop.
//! Not: fast readers; they prove nothing about the last bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::attention::Watch;
use super::bench::Bench;
use super::drain::in_flight_time;
use super::requests;
use crate::observe::response::ResponseReader;
use crate::observe::wire::unread;
use crate::target::VerifyError;
use crate::verdict::{Finding, Verdict};

/// Small, so that what we have not read is the target's to keep.
const RECEIVE_BUFFER: usize = 32 * 1024;
const CHUNK: usize = 32 * 1024;
/// The signal comes so long after the request.
const STOP_AFTER: Duration = Duration::from_millis(200);
/// Between an end of the stream and the exit that caused it, until we have seen both.
const EXIT_SEEN: Duration = Duration::from_millis(500);
/// Fewer bytes than this may be on their way inside the kernel at any instant.
const ON_THE_WAY: u64 = 256 * 1024;

pub(crate) fn run(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    let Some(path) = bench.facts.large_path.as_deref() else {
        return Ok(bench.lacking(
            "H1-10",
            "no path with a large response is known; --large-path would give one",
        ));
    };
    let running = bench.launch()?;
    let request = requests::get(&running.place, path);
    let mut stream = connect(running.place.url.addr)
        .map_err(|error| VerifyError::Machine("connect to the target", error))?;
    let total_time = in_flight_time(bench.options.grace);
    let step = total_time / u32::try_from(bench.facts.large_bytes / CHUNK as u64).unwrap_or(1);
    let mut read = Slow {
        reader: ResponseReader::new(),
        bytes: 0,
        before_stop: 0,
        first: None,
    };
    let begun = Instant::now();
    let sent = stream.write_all(&request);
    let (mut t, mut exit_seen, mut next) = (None, None, begun);
    let mut over = sent.is_err();
    while !over {
        let now = Instant::now();
        if t.is_none() && now >= begun + STOP_AFTER {
            t = Some(running.stop(&bench.options.stop));
            read.before_stop = read.bytes + unread(&stream) as u64;
        }
        if exit_seen.is_none()
            && let Some(exit) = running.exit()
        {
            exit_seen = Some((exit, read.bytes + unread(&stream) as u64));
        }
        if t.is_some_and(|t| now >= t + bench.options.patience()) {
            break;
        }
        over = read.take(&mut stream) || read.reader.is_complete();
        // What was missed is not caught up with: a burst would read away what an exit leaves in the kernel.
        next = (next + step).max(now);
        let pause = next.saturating_duration_since(Instant::now());
        if !pause.is_zero() {
            let _ = running.await_exit_until(Instant::now() + pause.min(Duration::from_millis(20)));
        }
    }
    let over_at = Instant::now();
    let finding = judge(bench, &read, t.is_some(), exit_seen.map(|(_, had)| had));
    let finding = match t {
        Some(t) => bench.weigh(finding, &[Watch::since(t)]),
        None => finding,
    };
    let Some(t) = t.filter(|_| running.is_told_vaguely()) else {
        return Ok(finding);
    };
    // An exit that ended the response is seen a little later.
    let exit = running.await_exit_until(over_at + EXIT_SEEN);
    let effects = [running.told_at(), exit.map(|exit| exit.at)];
    let told = effects.into_iter().flatten().min();
    let told = told.map(|at| at.saturating_duration_since(t));
    Ok(placed(finding, told, over_at - t))
}

/// A response that was over, or for the most part so, before the target can have known of the stop proves nothing.
/// `told` and `over` are reckoned from T.
fn placed(mut finding: Finding, told: Option<Duration>, over: Duration) -> Finding {
    let is_unsure = match finding.verdict {
        Verdict::Pass => told.is_none_or(|told| told > over / 2),
        // What ended it can only have been the stop, if that was made by then.
        Verdict::Fail => told.is_none_or(|told| told > over + EXIT_SEEN),
        _ => false,
    };
    if is_unsure {
        let after = told.map_or_else(
            || "was not made by the end of the response".to_owned(),
            |told| format!("took {:.0} ms", told.as_secs_f64() * 1e3),
        );
        finding.detail = format!(
            "{}; but the stop {after}, and most was read before: --signal has an instant",
            finding.detail
        );
        finding.verdict = Verdict::Inconclusive;
        (finding.consequence, finding.remedy) = (None, None);
    }
    finding
}

struct Slow {
    reader: ResponseReader,
    bytes: u64,
    /// Of these: read, or there to be read, when the signal was sent.
    before_stop: u64,
    first: Option<u16>,
}

impl Slow {
    /// Reads one chunk; true when the stream is over.
    fn take(&mut self, stream: &mut TcpStream) -> bool {
        let mut buffer = [0; CHUNK];
        match stream.read(&mut buffer) {
            Ok(0) => {
                self.reader.end_of_stream();
                true
            }
            Ok(count) => {
                self.bytes += count as u64;
                let bad = self.reader.push(&buffer[..count]).is_err();
                self.first = self.reader.head().map(|head| head.status);
                bad
            }
            Err(error) => !matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
            ),
        }
    }
}

fn judge(bench: &Bench<'_>, read: &Slow, stopped: bool, had_at_exit: Option<u64>) -> Finding {
    let body = read.reader.body_bytes();
    let whole = read.reader.is_complete();
    let left = had_at_exit.map_or(0, |had| read.bytes.saturating_sub(had));
    let (verdict, detail) = if !stopped {
        (
            Verdict::Inconclusive,
            "the response was over before the signal".to_owned(),
        )
    } else if whole && read.bytes - read.before_stop < ON_THE_WAY {
        let left = read.bytes - read.before_stop;
        (
            Verdict::Inconclusive,
            format!(
                "when the signal came only {left} bytes were left, which the kernel may have had already"
            ),
        )
    } else if !whole {
        (
            Verdict::Fail,
            format!(
                "the response ended after {body} of {} bytes",
                bench.facts.large_bytes
            ),
        )
    } else if left > ON_THE_WAY {
        let detail = format!(
            "every byte came, but {left} of them were still in the kernel when the process exited: where the network ends with the process (a container), they are lost"
        );
        (Verdict::Fail, detail)
    } else {
        (
            Verdict::Pass,
            format!("all {body} bytes, and none was left behind by the exit"),
        )
    };
    bench
        .finding("H1-10", verdict, detail)
        .with_figure("body_bytes", body)
        .with_figure("left_in_kernel_bytes", left)
}

fn connect(addr: std::net::SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect_timeout(&addr.into(), Duration::from_secs(5))?;
    let stream: TcpStream = socket.into();
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Options, TargetSpec};
    use crate::scenario::bench::finding;

    #[test]
    fn a_stop_that_came_too_late_proves_nothing() {
        let options = Options::new(TargetSpec::default());
        let ms = Duration::from_millis;
        let placed = |verdict, told: Option<u64>| {
            let finding = finding(&options, 1, "H1-10", verdict, "all came".to_owned());
            placed(finding, told.map(ms), ms(2_000)).verdict
        };
        let unsure = Verdict::Inconclusive;
        for (verdict, told, expected) in [
            (Verdict::Pass, Some(20), Verdict::Pass),
            (Verdict::Pass, Some(1_300), unsure),
            (Verdict::Pass, None, unsure),
            (Verdict::Fail, Some(2_001), Verdict::Fail),
            (Verdict::Fail, Some(9_000), unsure),
            (Verdict::Fail, None, unsure),
            (unsure, Some(20), unsure),
        ] {
            assert_eq!(placed(verdict, told), expected, "{verdict:?} {told:?}");
        }
    }
}
