//! P7: the configuration is read again under load: nothing lost, nothing closed, the new one in force; a broken one is
//! refused and the old one stays; and after that a good one is taken again.
//!
//! One thread is the operator, who writes files, asks for the reload and looks at what is in force; the clients' thread
//! knows nothing of it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::config::ConfigFile;
use crate::declared::Reload;
use crate::observe::engine::Engine;
use crate::observe::flow::{Flow, Mark, Part, Step, Steps, When};
use crate::observe::outcome::Tally;
use crate::options::TargetSpec;
use crate::scenario::attention::Watch;
use crate::scenario::bench::Bench;
use crate::scenario::facts::Means;
use crate::scenario::load::{Crowd, Habit, add_clients};
use crate::scenario::requests;
use crate::scenario::stop::ending;
use crate::target::shell::{self, Ended};
use crate::target::{Output, Running, Scratch, VerifyError, launch};
use crate::verdict::{Finding, Verdict};

const KEEPING: usize = 12;
const CONNECTING: usize = 4;
const IDLE: usize = 4;
const IN_FLIGHT: usize = 2;
/// The clients are in their loops by then.
const RUN_UP: Duration = Duration::from_millis(200);
/// How long a reload may take to be in force.
const IN_FORCE_BOUND: Duration = Duration::from_secs(5);
/// A broken configuration is looked for for so long. That the next good one is taken shows that it was done with.
const REFUSAL_LOOK: Duration = Duration::from_millis(500);
/// An answer that changes by itself (a clock, a counter) does so by then.
const STEADY_LOOK: Duration = Duration::from_millis(1_100);
/// Between two looks.
const STEP: Duration = Duration::from_millis(10);
/// Bytes of an answer looked at.
const MAX_ANSWER: usize = 64 * 1024;
const ASK_BOUND: Duration = Duration::from_secs(2);

/// What the operator saw.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operated {
    /// In force so long after it was asked for.
    Well(Duration),
    /// The declared path shows nothing, or the reload can not be asked for.
    Unclear(String),
    Badly(String),
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    let Some(reload) = &bench.options.target.reload else {
        return Ok(bench.lacking(
            "P7",
            "the target does not declare how it reads its configuration again; [reload] in a profile would",
        ));
    };
    let file = ConfigFile::prepare(reload.file.as_deref(), &reload.first, Scratch::make()?)
        .map_err(|error| VerifyError::Machine("write the target's configuration", error))?;
    bench.launches.fetch_add(1, Ordering::Relaxed);
    let running = launch(
        &with_config(&bench.options.target, reload, file.path()),
        &bench.ledger,
    )?;
    let mut engine = bench.engine(&running);
    open(bench, &running, &mut engine);
    engine.run(Instant::now() + RUN_UP, |_| running.exit().is_some());
    let operator = Operator {
        reload,
        file: &file,
        running: &running,
    };
    let is_done = AtomicBool::new(false);
    let begun = Instant::now();
    let operated = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let operated = operator.work();
            // Release: pairs with the Acquire below; nothing but the flag is read there.
            is_done.store(true, Ordering::Release);
            operated
        });
        let bound = Instant::now() + IN_FORCE_BOUND * 5 + STEADY_LOOK * 2;
        engine.run(bound, |_| is_done.load(Ordering::Acquire));
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let over = Instant::now();
    engine.note_closing_time();
    engine.run(over + Duration::from_secs(3), |engine| {
        let mut busy = engine.flows.iter().filter(|flow| flow.group != "idle");
        busy.all(Flow::is_finished) || running.exit().is_some()
    });
    let died = running.exit().is_some();
    engine.give_up();
    drop(running);
    file.put_back()
        .map_err(|error| VerifyError::Machine("put the target's configuration back", error))?;
    let finding = Reloaded::of(&engine, over, died).judge(bench, &operated);
    let watch = Watch {
        t: begun,
        until: over,
    };
    Ok(bench.weigh(finding, &[watch]))
}

fn with_config(target: &TargetSpec, reload: &Reload, path: &Path) -> TargetSpec {
    let mut spec = target.clone();
    let path = path.to_string_lossy();
    let arguments = reload.arguments.iter();
    spec.argv
        .extend(arguments.map(|text| text.replace("{config}", &path)));
    spec
}

fn open(bench: &Bench<'_>, running: &Running, engine: &mut Engine) {
    let crowd = Crowd {
        keeping: KEEPING,
        connecting: CONNECTING,
        habit: Habit::ComeBack,
    };
    add_clients(bench, running, engine, &bench.rng(0x0e10ad), crowd);
    // Other means of keeping a request in flight wait for a signal that never comes here.
    if matches!(bench.facts.means, Means::Slow(_)) {
        for _ in 0..IN_FLIGHT {
            engine.add(ending(bench, running));
        }
    }
    if bench.facts.keeps_connections {
        for _ in 0..IDLE {
            let bytes = requests::usual(&bench.facts, &running.place);
            let part = Part::Whole;
            let steps = vec![
                Step::Connect,
                Step::Send { bytes, part },
                Step::AwaitAnswer,
                Step::Pause(When::AfterStop(Duration::ZERO)),
            ];
            engine.add(Flow::new("idle", Steps::new(steps)).with_usual(bench.facts.usual));
        }
    }
}

struct Operator<'a> {
    reload: &'a Reload,
    file: &'a ConfigFile,
    running: &'a Running,
}

impl Operator<'_> {
    fn work(&self) -> Operated {
        self.try_work()
            .map_or_else(|operated| operated, Operated::Well)
    }

    fn try_work(&self) -> Result<Duration, Operated> {
        let path = &self.reload.path;
        let unseen = || Operated::Unclear(format!("GET {path} gives no answer that could show it"));
        let first = self.in_force().ok_or_else(unseen)?;
        let differs = |answer: &[u8]| answer != first;
        if self.await_answer(STEADY_LOOK, differs).is_some() {
            return Err(Operated::Unclear(format!(
                "GET {path} answers something else from one moment to the next, with nothing reloaded; a path that shows only the configuration would do"
            )));
        }
        let asked_at = self.ask_for(&self.reload.second)?;
        let is_new = |answer: &[u8]| answer != first;
        let Some(second) = self.await_answer(IN_FORCE_BOUND, is_new) else {
            return Err(Operated::Badly(format!(
                "{} s after the reload GET {path} still answered as before",
                IN_FORCE_BOUND.as_secs()
            )));
        };
        let settled = last_of_the_old(&second, STEADY_LOOK, || self.look());
        let took = settled.saturating_duration_since(asked_at);
        self.ask_for(&self.reload.broken)?;
        let is_other = |answer: &[u8]| answer != second;
        if self.await_answer(REFUSAL_LOOK, is_other).is_some() {
            return Err(Operated::Badly(format!(
                "a broken configuration changed what GET {path} answers"
            )));
        }
        if self.in_force().is_none() {
            let detail = "it answers no more after a broken configuration";
            return Err(Operated::Badly(detail.to_owned()));
        }
        self.ask_for(&self.reload.first)?;
        let is_first = |answer: &[u8]| answer == first;
        if self.await_answer(IN_FORCE_BOUND, is_first).is_none() {
            let detail = "after a broken configuration it takes no good one any more";
            return Err(Operated::Badly(detail.to_owned()));
        }
        Ok(took)
    }

    /// Writes the file and asks for the reload.
    fn ask_for(&self, text: &str) -> Result<Instant, Operated> {
        let unclear = |why: String| Operated::Unclear(why);
        self.file
            .write(text)
            .map_err(|error| unclear(format!("its configuration can not be written: {error}")))?;
        let at = Instant::now();
        let Some((program, arguments)) = self
            .reload
            .command
            .as_ref()
            .and_then(|command| command.split_first())
        else {
            self.running.signal(self.reload.signal);
            return Ok(at);
        };
        let path = self.file.path().to_string_lossy();
        let pid = self.running.pid().unwrap_or_default().to_string();
        let place = &self.running.place;
        let fill = |text: &String| {
            let text = place.fill(text);
            text.replace("{config}", &path).replace("{pid}", &pid)
        };
        let mut command = Command::new(fill(program));
        command
            .args(arguments.iter().map(fill))
            .envs(place.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let (output, called) = (Arc::new(Output::default()), AtomicBool::new(false));
        let ended = shell::run(command, &output, IN_FORCE_BOUND, &called);
        // Some say with a code that the configuration was refused: what is in force afterwards is looked at anyway.
        match &ended {
            Ended::Late(_) => {
                let how = ended.in_words().unwrap_or_default();
                Err(unclear(format!("`{program}` {how}")))
            }
            Ended::Unstarted(how) => Err(unclear(format!("`{program}` {how}"))),
            Ended::Well | Ended::Badly(_) | Ended::Called => Ok(at),
        }
    }

    /// The first answer of the declared path that `is_it`, if one comes in time.
    fn await_answer(&self, bound: Duration, is_it: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let until = Instant::now() + bound;
        loop {
            // Read before asking: however late this thread runs, it asks once after the time.
            let over = Instant::now() >= until;
            if let Some(answer) = self.in_force().filter(|answer| is_it(answer)) {
                return Some(answer);
            }
            if over || self.running.exit().is_some() {
                return None;
            }
            std::thread::park_timeout(STEP);
        }
    }

    fn look(&self) -> Ask {
        if self.running.exit().is_some() {
            return Ask::Over;
        }
        self.in_force().map_or(Ask::Nothing, Ask::Answered)
    }

    /// The body of the declared path, if it is answered whole.
    fn in_force(&self) -> Option<Vec<u8>> {
        let place = &self.running.place;
        let request = requests::head(
            place,
            "GET",
            &place.fill(&self.reload.path),
            "Connection: close\r\n\r\n",
        );
        let until = Instant::now() + ASK_BOUND;
        let mut stream = TcpStream::connect_timeout(&place.url.addr, ASK_BOUND).ok()?;
        stream.set_write_timeout(Some(ASK_BOUND)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = read_until(&mut stream, until)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        Some(answer.split_off(end + 4))
    }
}

/// When something else than `new` was answered last: who hands over from one process to the next may answer with both for a
/// while, and what comes of a broken configuration can be told only when that is over. `ask` says nothing more at the exit.
fn last_of_the_old(new: &[u8], quiet: Duration, mut ask: impl FnMut() -> Ask) -> Instant {
    let bound = Instant::now() + IN_FORCE_BOUND;
    let mut last = Instant::now();
    while last + quiet > Instant::now() && Instant::now() < bound {
        match ask() {
            Ask::Over => break,
            Ask::Answered(answer) if answer != new => last = Instant::now(),
            Ask::Answered(_) | Ask::Nothing => {}
        }
        std::thread::park_timeout(STEP);
    }
    last
}

/// What came of one look at what is in force.
enum Ask {
    Answered(Vec<u8>),
    Nothing,
    /// The process is gone.
    Over,
}

/// Everything up to the end of the stream, if that comes in time; of a long answer its beginning.
fn read_until(stream: &mut TcpStream, until: Instant) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while answer.len() < MAX_ANSWER {
        // For all reads together: who drips is as late as who is silent.
        let left = until.checked_duration_since(Instant::now())?;
        stream
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .ok()?;
        match stream.read(&mut buffer) {
            Ok(0) => return Some(answer),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    answer.truncate(MAX_ANSWER);
    Some(answer)
}

/// What the clients saw meanwhile.
#[derive(Debug, Default)]
struct Reloaded {
    tally: Tally,
    refused: u64,
    kept: u64,
    closed: u64,
    died: bool,
}

impl Reloaded {
    fn of(engine: &Engine, over: Instant, died: bool) -> Self {
        let mut seen = Self {
            died,
            ..Self::default()
        };
        for flow in &engine.flows {
            for exchange in &flow.exchanges {
                seen.tally.add(exchange);
            }
            seen.refused += flow.refused_connects.len() as u64;
            let ended = |(at, mark): &(Instant, Mark)| {
                *at < over && matches!(mark, Mark::Fin | Mark::Reset)
            };
            // Those in their loops are judged by their requests: a close between two of them may have been announced.
            if flow.group == "idle" {
                seen.kept += 1;
                seen.closed += u64::from(flow.marks.iter().any(ended));
            }
        }
        seen
    }

    fn judge(&self, bench: &Bench<'_>, operated: &Operated) -> Finding {
        let unserved = self.tally.sent() - self.tally.served() - self.tally.discarded;
        let sent = self.tally.sent();
        let (verdict, detail) = match operated {
            Operated::Unclear(why) => return bench.lacking("P7", why),
            _ if self.died => (
                Verdict::Differs,
                "the process ended when it should have read its configuration again".to_owned(),
            ),
            Operated::Badly(how) => (Verdict::Differs, how.clone()),
            _ if self.tally.lost + unserved > 0 => (
                Verdict::Differs,
                format!(
                    "{} of {sent} requests across the reloads were not served",
                    unserved.max(self.tally.lost)
                ),
            ),
            _ if self.refused > 0 => (
                Verdict::Differs,
                format!("{} connects were refused across the reloads", self.refused),
            ),
            _ if self.closed > 0 => (
                Verdict::Differs,
                format!(
                    "{} of {} idle connections were closed by a reload",
                    self.closed, self.kept
                ),
            ),
            _ if sent == 0 => (
                Verdict::Inconclusive,
                "no request was under way across the reloads".to_owned(),
            ),
            Operated::Well(took) => (
                Verdict::Pass,
                format!(
                    "in force {:.0} ms after it was asked for, a broken one refused; {sent} of {sent} requests served, {} idle connections kept",
                    took.as_secs_f64() * 1e3,
                    self.kept
                ),
            ),
        };
        let mut finding = bench
            .finding("P7", verdict, detail)
            .with_figure("requests_across", sent)
            .with_figure("idle", self.kept)
            .with_figure("idle_closed", self.closed);
        if let Operated::Well(took) = operated {
            finding = finding.with_figure("in_force_after_ms", *took);
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_drips_for_ever_is_not_read_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let dripping = std::thread::spawn(move || {
            // Ends when the client hangs up.
            while server.write_all(b".").is_ok() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        let until = Instant::now() + Duration::from_millis(100);
        assert_eq!(read_until(&mut client, until), None);
        assert!(Instant::now() >= until);
        drop(client);
        dripping.join().unwrap();
    }

    #[test]
    fn a_hand_over_is_over_when_only_the_new_answers() {
        let quiet = Duration::from_millis(60);
        let mut answers = [&b"new"[..], b"old", b"new", b"old"].into_iter();
        let mut olds = Vec::new();
        let last = last_of_the_old(b"new", quiet, || {
            let answer = answers.next().unwrap_or(b"new");
            if answer == b"old" {
                olds.push(Instant::now());
            }
            Ask::Answered(answer.to_vec())
        });
        assert_eq!(olds.len(), 2, "it looked until the old was silent");
        assert!(last >= olds[1] && Instant::now() >= last + quiet);
        assert!(last_of_the_old(b"new", quiet, || Ask::Over).elapsed() < IN_FORCE_BOUND);
    }

    #[test]
    fn what_ends_in_time_is_read_whole_and_a_long_answer_is_cut() {
        for (sent, wanted) in [(10, 10), (MAX_ANSWER + 10, MAX_ANSWER)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let writing = std::thread::spawn(move || {
                // Who was cut short is hung up on.
                let _ = server.write_all(&vec![b'x'; sent]);
            });
            let until = Instant::now() + Duration::from_secs(60);
            assert_eq!(read_until(&mut client, until).unwrap().len(), wanted);
            drop(client);
            writing.join().unwrap();
        }
    }
}
