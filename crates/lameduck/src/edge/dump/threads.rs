//! The threads: what the kernel says of each, and its stack.

use std::io;
use std::sync::OnceLock;

use super::syscalls;
use super::text::{Age, Text, printable};
use crate::sys::{self, ThreadState};

/// How many threads are listed.
pub(super) const MOST_THREADS: usize = 4_096;

/// Writes these threads, of so many, with their stacks.
pub(super) type WithStacks = fn(&[i32], &[ThreadState], usize, &mut Text<'_>) -> io::Result<()>;

/// Set once stacks were switched on.
pub(super) static WITH_STACKS: OnceLock<WithStacks> = OnceLock::new();

pub(super) fn write(text: &mut Text<'_>) -> io::Result<()> {
    text.line("");
    let (tids, total) = match sys::thread_ids(MOST_THREADS) {
        Ok(found) => found,
        Err(error) => {
            text.line(format_args!(
                "== threads: they cannot be listed, /proc/self/task: {error}"
            ));
            return text.flush();
        }
    };
    let facts: Vec<ThreadState> = tids.iter().map(|tid| sys::thread_state(*tid)).collect();
    match WITH_STACKS.get() {
        Some(write) => write(&tids, &facts, total, text)?,
        None => {
            let why = "they were not switched on: Start::dump_stacks, feature `dump`";
            write_plain(&tids, &facts, total, why, text)?;
        }
    }
    text.flush()
}

/// The threads without their stacks, and why.
pub(super) fn write_plain(
    tids: &[i32],
    facts: &[ThreadState],
    total: usize,
    why: &str,
    text: &mut Text<'_>,
) -> io::Result<()> {
    text.line(format_args!("== threads: {total}, without stacks: {why}"));
    for (tid, facts) in tids.iter().zip(facts) {
        text.line(title(*tid, facts));
        text.flush_some()?;
    }
    left_out(text, total, tids.len());
    Ok(())
}

pub(super) fn left_out(text: &mut Text<'_>, total: usize, named: usize) {
    if let more @ 1.. = total.saturating_sub(named) {
        text.line(format_args!("… and {more} more thread(s)"));
    }
}

/// `thread 123 "worker" sleeping in futex (futex_do_wait), cpu 1200 ms`
pub(super) fn title(tid: i32, facts: &ThreadState) -> String {
    format!(
        "thread {tid} \"{}\" {}, cpu {}",
        printable(&facts.comm),
        waiting(facts),
        Age(facts.cpu)
    )
}

/// State, system call and wait channel in words.
pub(super) fn waiting(facts: &ThreadState) -> String {
    let state = match facts.state {
        'R' => "running",
        'S' => "sleeping",
        'D' => "in uninterruptible sleep",
        'T' => "stopped",
        't' => "stopped by a tracer",
        'Z' | 'X' => "ended",
        'I' => "idle",
        _ => "in a state that is not known",
    };
    let call = match facts.syscall {
        None | Some(-1) => String::new(),
        Some(number) => match syscalls::name(number) {
            Some(name) => format!(" in {name}"),
            None => format!(" in system call {number}"),
        },
    };
    let channel = match facts.wchan.as_str() {
        "" | "0" => String::new(),
        channel => format!(" ({})", printable(channel)),
    };
    format!("{state}{call}{channel}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_is_told_in_a_line() {
        let facts = ThreadState {
            comm: "work\ner".to_owned(),
            state: 'S',
            cpu: Duration::from_millis(12),
            wchan: "futex_do_wait".to_owned(),
            syscall: Some(-1),
        };
        assert_eq!(
            title(7, &facts),
            "thread 7 \"work\u{fffd}er\" sleeping (futex_do_wait), cpu 12 ms"
        );
        let unknown = ThreadState::default();
        assert_eq!(
            title(7, &unknown),
            "thread 7 \"\" in a state that is not known, cpu 0 ms"
        );
    }
}
