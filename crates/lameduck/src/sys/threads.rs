//! This process' threads as the kernel sees them: `/proc/self/task`.

use std::fs;
use std::io;
use std::time::Duration;

use super::ThreadState;
use super::os::{read_bounded, ticks_per_second};

/// What is read of any one file: a stat line has below 1,200 bytes (proc(5)), the others less.
const FILE_MAX: usize = 2048;

/// The kernel's id of the calling thread.
pub(crate) fn tid() -> i32 {
    // SAFETY: has no precondition and cannot fail.
    unsafe { libc::gettid() }
}

/// The ids of all threads of this process, at most `limit`, ascending, and how many there were.
///
/// # Errors
///
/// What open(2) and getdents(2) report: `/proc` is not mounted, no descriptor is left.
pub(crate) fn thread_ids(limit: usize) -> io::Result<(Vec<i32>, usize)> {
    let mut all: Vec<i32> = fs::read_dir("/proc/self/task")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let total = all.len();
    all.sort_unstable();
    all.truncate(limit);
    Ok((all, total))
}

/// What the kernel tells about one of our threads; what cannot be read is empty. Takes four short reads of `/proc`.
///
/// Each file is read at its own instant.
pub(crate) fn thread_state(tid: i32) -> ThreadState {
    let stat = task_file(tid, "stat");
    let (state, cpu) = parse_stat(&stat).unwrap_or(('?', Duration::ZERO));
    ThreadState {
        comm: task_file(tid, "comm"),
        state,
        cpu,
        wchan: task_file(tid, "wchan"),
        syscall: syscall_of(&task_file(tid, "syscall")),
    }
}

/// The signals that one of our threads has blocked, bit `n - 1` for signal `n`; `None` when it is gone.
#[cfg(all(feature = "dump", target_arch = "x86_64"))]
pub(crate) fn blocked_signals(tid: i32) -> Option<u64> {
    let status = task_file(tid, "status");
    let line = status.lines().find_map(|l| l.strip_prefix("SigBlk:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn task_file(tid: i32, name: &str) -> String {
    let mut buffer = [0; FILE_MAX];
    let read = read_bounded(&format!("/proc/self/task/{tid}/{name}"), &mut buffer);
    read.map(|bytes| String::from_utf8_lossy(bytes).trim_end().to_owned())
        .unwrap_or_default()
}

/// Field 3 (the state), and fields 14 and 15 (user and system time, in ticks) of a stat line.
fn parse_stat(line: &str) -> Option<(char, Duration)> {
    let (_, rest) = line.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let ticks = |field: &str| field.parse::<u64>().ok();
    let user = ticks(fields.nth(14 - 4)?)?;
    let system = ticks(fields.next()?)?;
    let millis = (user + system).saturating_mul(1000) / u64::from(ticks_per_second());
    Some((state, Duration::from_millis(millis)))
}

/// The first word of `/proc/…/syscall`: a number, -1 outside of system calls, `running`, or nothing where ptrace(2) is not allowed.
fn syscall_of(line: &str) -> Option<i64> {
    line.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_gives_state_and_time() {
        let line = "42 (a) b) D 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 98765 1000 10";
        let hz = u64::from(ticks_per_second());
        let cpu = Duration::from_millis(200 * 1000 / hz);
        assert_eq!(parse_stat(line), Some(('D', cpu)));
        assert_eq!(parse_stat("42 (x) S 1 2"), None);
    }

    #[test]
    fn this_thread_is_listed_with_its_facts() {
        let own = tid();
        let (all, total) = thread_ids(usize::MAX).expect("/proc is mounted");
        assert!(all.contains(&own) && all.len() == total && all.is_sorted());
        let facts = thread_state(own);
        assert_eq!(facts.state, 'R', "{facts:?}");
        assert!(!facts.comm.is_empty());
        assert!(thread_ids(0).expect("/proc is mounted").0.is_empty());
    }
}
