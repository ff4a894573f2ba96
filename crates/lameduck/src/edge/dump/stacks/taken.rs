//! The threads with their stacks: asked, unwound, written as addresses, then with names.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::symbols::{Symbols, name_of};
use super::unwind::{Frames, MOST_FRAMES, Unwinder};
use crate::edge::dump::text::Text;
use crate::edge::dump::threads::{left_out, title, waiting, write_plain};
use crate::sys::snapshot::{Answer, Desk, STACK_MAX};
use crate::sys::{self, Module, ThreadState};

/// How long one thread has to answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long all of them have.
const ALL: Duration = Duration::from_secs(3);

/// How long another dump is waited for.
const TURN: Duration = Duration::from_secs(1);

/// From how many threads on equal stacks are written once.
const MANY: usize = 32;

/// What came of asking one thread.
#[derive(Debug)]
enum Stack {
    Frames(Frames),
    Silent,
    Gone,
    Refused,
    /// The time for all was over.
    NotAsked,
    /// It is the one that writes.
    Own,
}

pub(super) fn write(
    signo: i32,
    tids: &[i32],
    facts: &[ThreadState],
    total: usize,
    text: &mut Text<'_>,
) -> io::Result<()> {
    let Some(desk) = desk() else {
        let why = "another dump is being taken, and did not end within a second";
        return write_plain(tids, facts, total, why, text);
    };
    let mut modules = sys::modules();
    let begun = Instant::now();
    let stacks = take(desk, signo, tids, &mut modules);
    let took = begun.elapsed();
    let threads: Vec<Thread<'_>> = (tids.iter().zip(facts).zip(&stacks))
        .map(|((tid, facts), stack)| Thread {
            tid: *tid,
            facts,
            stack,
        })
        .collect();
    addresses(&threads, &modules, text)?;
    text.line("");
    text.line(format_args!(
        "== threads: {total}, their stacks taken within {} ms",
        took.as_millis()
    ));
    named(&threads, signo, &modules, text)?;
    left_out(text, total, tids.len());
    Ok(())
}

/// The right to ask, once whoever has it is done.
fn desk() -> Option<Desk> {
    let until = Instant::now() + TURN;
    loop {
        match Desk::take() {
            None if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            taken => return taken,
        }
    }
}

fn take(mut desk: Desk, signo: i32, tids: &[i32], modules: &mut [Module]) -> Vec<Stack> {
    let mut unwinder = Unwinder::new(modules);
    let own = sys::tid();
    let mut stacks: Vec<Stack> = tids.iter().map(|_| Stack::NotAsked).collect();
    let places: Vec<usize> = (0..tids.len()).filter(|at| tids[*at] != own).collect();
    let others: Vec<i32> = places.iter().map(|at| tids[*at]).collect();
    let mut hear = |at: usize, answer: Answer<'_>| {
        stacks[places[at]] = match answer {
            Answer::Stack { registers, stack } => Stack::Frames(unwinder.walk(registers, stack)),
            Answer::Silent => Stack::Silent,
            Answer::Gone => Stack::Gone,
            Answer::Refused => Stack::Refused,
        };
    };
    desk.ask(signo, &others, PATIENCE, Instant::now() + ALL, &mut hear);
    if let Some(at) = tids.iter().position(|tid| *tid == own) {
        stacks[at] = Stack::Own;
    }
    stacks
}

struct Thread<'a> {
    tid: i32,
    facts: &'a ThreadState,
    stack: &'a Stack,
}

/// Needs no file and little memory: what comes out even if naming them fails.
fn addresses(threads: &[Thread<'_>], modules: &[Module], text: &mut Text<'_>) -> io::Result<()> {
    text.line("== addresses, innermost first; names follow below");
    let mut used = vec![false; modules.len()];
    for thread in threads {
        let Stack::Frames(frames) = thread.stack else {
            continue;
        };
        let mut line = format!("  {}:", thread.tid);
        for address in &frames.addresses {
            let _ = write!(line, " {address:#x}");
            if let Some(at) = modules.iter().position(|m| m.range.contains(address)) {
                used[at] = true;
            }
        }
        text.line(line);
        text.flush_some()?;
    }
    for (module, _) in modules.iter().zip(used).filter(|(_, used)| *used) {
        let mut id = String::new();
        for byte in &module.build_id {
            let _ = write!(id, "{byte:02x}");
        }
        let id = if id.is_empty() { "none" } else { &id };
        text.line(format_args!(
            "  {} at {:#x}-{:#x}, build id {id}",
            name_of(module),
            module.range.start,
            module.range.end
        ));
    }
    text.flush()
}

fn named(
    threads: &[Thread<'_>],
    signo: i32,
    modules: &[Module],
    text: &mut Text<'_>,
) -> io::Result<()> {
    let mut symbols = Symbols::new(modules);
    let mut seen: HashMap<&Frames, i32> = HashMap::new();
    for thread in threads {
        text.line("");
        text.line(title(thread.tid, thread.facts));
        match thread.stack {
            Stack::Own => text.line("  (it writes this dump)"),
            Stack::Gone => text.line("  (it has ended)"),
            Stack::Refused => text
                .line("  the system did not deliver the signal: RLIMIT_SIGPENDING, or a sandbox"),
            Stack::NotAsked => {
                text.line(format_args!("  not asked: {} s were over", ALL.as_secs()))
            }
            Stack::Silent => text.line(silent(thread, signo)),
            Stack::Frames(frames) => {
                let first = *seen.entry(frames).or_insert(thread.tid);
                if first == thread.tid || threads.len() < MANY {
                    stack(frames, &mut symbols, text);
                } else {
                    text.line(format_args!("  the same stack as thread {first}"));
                }
            }
        }
        text.flush_some()?;
    }
    Ok(())
}

fn stack(frames: &Frames, symbols: &mut Symbols<'_>, text: &mut Text<'_>) {
    for (number, address) in frames.addresses.iter().enumerate() {
        let lines = symbols.at(*address);
        let (outer, inlined) = lines
            .split_last()
            .map_or(("?", &[][..]), |(last, rest)| (last.as_str(), rest));
        for line in inlined {
            text.line(format_args!("{number:>4} {line} (inlined)"));
        }
        text.line(format_args!("{number:>4} {outer}"));
    }
    if !frames.is_whole {
        let why = if frames.addresses.len() == MOST_FRAMES {
            format!("{MOST_FRAMES} frames are kept")
        } else {
            format!("no way on, or deeper than {} KiB", STACK_MAX / 1024)
        };
        text.line(format_args!("     … ({why})"));
    }
}

/// Why it may not have answered, and what the kernel says of it by now.
fn silent(thread: &Thread<'_>, signo: i32) -> String {
    let blocked = sys::blocked_signals(thread.tid).is_some_and(|set| set >> (signo - 1) & 1 == 1);
    let why = if blocked {
        format!("it has signal {signo} blocked")
    } else {
        "it cannot be interrupted, or was given no processor".to_owned()
    };
    format!(
        "  no answer within {} ms: {why}; the kernel says {}",
        PATIENCE.as_millis(),
        waiting(thread.facts)
    )
}
