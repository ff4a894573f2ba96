//! P6: SIGQUIT writes the stacks of all threads to stderr, and the process dies of it.
//!
//! What counts as stacks is kept simple. A stanza is a line that begins, spaces aside, with `goroutine N [` or with
//! `thread` (`Thread`, `Current thread`, a `"` of a JVM's thread name) and is followed, before the next blank line or
//! stanza, by at least one frame: an indented line, or one that begins with `#N`, `N:` or `at `. Where a runtime
//! has threads of its own (Go), one stanza is enough, because it writes all or nothing; else there have to be as many
//! stanzas as the process had threads right before the signal. A log line that begins with "thread" has no frames.

use std::time::{Duration, Instant};

use crate::options::StopSignal;
use crate::scenario::attention::Watch;
use crate::scenario::bench::Bench;
use crate::scenario::stop::{ending, settle_in};
use crate::target::{VerifyError, proc};
use crate::verdict::{Finding, Verdict};

/// Nobody dumps for longer.
const BOUND: Duration = Duration::from_secs(10);

/// What was written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Dump {
    /// Stanzas with at least one frame.
    stacks: usize,
    /// They are those of goroutines.
    of_goroutines: bool,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    if bench.options.stop.signal() == Some(StopSignal::Quit) {
        return Ok(bench.lacking("P6", "SIGQUIT is the stop signal of this target"));
    }
    let running = bench.launch()?;
    let Some(pid) = running.pid() else {
        return Ok(bench.lacking("P6", "the process can not be seen"));
    };
    let mut engine = bench.engine(&running);
    engine.add(ending(bench, &running));
    settle_in(&mut engine, &running);
    if proc::ignores(pid, libc::SIGQUIT) == Some(true) {
        return Ok(bench.lacking(
            "P6",
            "the target ignores SIGQUIT from its start; run it in the foreground, without nohup",
        ));
    }
    // Threads come and go: those that were there at both looks.
    let before = proc::threads(pid);
    engine.run(Instant::now() + Duration::from_millis(20), |_| false);
    let threads = proc::threads(pid).intersection(&before).count();
    // Deep stacks of many threads are longer than the end of its output that is kept otherwise.
    running.keep_more_output();
    let t = running.signal(StopSignal::Quit);
    let deadline = t + BOUND.min(bench.options.patience());
    engine.run(deadline, |_| running.exit().is_some());
    let exit = running.exit();
    let watch = Watch::since(t);
    running.kill();
    let _ = running.await_exit_until(Instant::now() + Duration::from_secs(5));
    engine.give_up();
    let dump = Dump::read(&running.output(exit.is_some()).stderr);
    let by_it = exit.is_some_and(|exit| exit.signal() == Some(libc::SIGQUIT));
    let how = exit.map_or_else(|| "did not die of it".to_owned(), |exit| exit.in_words());
    let whole = dump.is_whole(threads);
    let stacks = match (dump.stacks, whole) {
        (0, _) => format!("stderr has no stacks of its {threads} threads"),
        (stacks, true) => format!("stderr has {stacks} stacks, of {threads} threads"),
        (stacks, false) => format!("stderr has the stacks of {stacks} of {threads} threads"),
    };
    let verdict = if by_it && whole {
        Verdict::Pass
    } else if by_it && running.was_cut() {
        // The rest may have been in what was dropped.
        Verdict::Inconclusive
    } else {
        Verdict::Differs
    };
    let finding = bench
        .finding("P6", verdict, format!("it {how}; {stacks}"))
        .with_figure("threads", threads)
        .with_figure("stacks", dump.stacks);
    Ok(bench.weigh(finding, &[watch]))
}

impl Dump {
    fn read(text: &str) -> Self {
        let mut dump = Self::default();
        let mut in_stanza = false;
        for line in text.lines() {
            let begins = line.trim_start();
            if is_title(begins) {
                in_stanza = true;
                dump.of_goroutines |= begins.starts_with("goroutine ");
            } else if begins.is_empty() {
                in_stanza = false;
            } else if in_stanza && is_frame(line, dump.of_goroutines) {
                dump.stacks += 1;
                // One frame is enough for this stanza.
                in_stanza = false;
            }
        }
        dump
    }

    fn is_whole(&self, threads: usize) -> bool {
        self.stacks > 0 && (self.of_goroutines || self.stacks >= threads)
    }
}

fn is_title(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let goroutine = lower
        .strip_prefix("goroutine ")
        .and_then(|rest| rest.split_once(" ["))
        .is_some_and(|(number, _)| number.parse::<u64>().is_ok());
    let thread = lower
        .strip_prefix("current ")
        .unwrap_or(&lower)
        .strip_prefix("thread ")
        .is_some_and(|rest| !rest.is_empty());
    goroutine || thread || line.starts_with('"') && lower.contains(" tid=")
}

fn is_frame(line: &str, go: bool) -> bool {
    let inner = line.trim_start();
    let numbered = inner
        .trim_start_matches('#')
        .split_once([' ', ':'])
        .is_some_and(|(number, rest)| number.parse::<u32>().is_ok() && !rest.trim().is_empty());
    inner.len() < line.len() || numbered || inner.starts_with("at ") || go && inner.ends_with(')')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks(text: &str, threads: usize) -> (usize, bool) {
        let dump = Dump::read(text);
        (dump.stacks, dump.is_whole(threads))
    }

    #[test]
    fn dumps_of_known_runtimes_are_read() {
        let go = "SIGQUIT: quit\nPC=0x46 m=0\n\ngoroutine 1 [IO wait]:\nmain.main()\n\t/app/main.go:9 +0x1d\n\ngoroutine 5 [select]:\nnet.poll()\n\t/go/net.go:1\n";
        assert_eq!(stacks(go, 9), (2, true));
        let python = "Thread 0x00007f (most recent call first):\n  File \"a.py\", line 3 in wait\n\nCurrent thread 0x00007e (most recent call first):\n  File \"a.py\", line 9 in main\n";
        assert_eq!(stacks(python, 2), (2, true));
        assert_eq!(stacks(python, 3), (2, false));
        let java = "Full thread dump OpenJDK:\n\n\"main\" #1 prio=5 tid=0x1 runnable\n   java.lang.Thread.State: RUNNABLE\n\tat a.B.c(B.java:1)\n";
        assert_eq!(stacks(java, 1), (1, true));
        let numbered =
            "thread 17 \"worker\"\n#0 0x55 poll\n#1 0x56 run\n\nthread 18\n0: main::run\n";
        assert_eq!(stacks(numbered, 2), (2, true));
    }

    #[test]
    fn what_only_mentions_threads_is_no_dump() {
        let log = "thread pool started with 8 workers\nlistening on 127.0.0.1:80\nThread 3 done\n\n  indented, but under no title\nSIGQUIT: 3 connections, 1 busy\n";
        assert_eq!(stacks(log, 1), (0, false));
        assert_eq!(stacks("", 0), (0, false));
    }
}
