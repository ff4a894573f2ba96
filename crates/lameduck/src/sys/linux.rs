//! What only Linux offers: `pipe2`, `ppoll`, the boot clock, `/proc`, signalfd(2).

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{FD_BATCH, FdSignal, OwnFacts, ProcessFacts, Signos, ThreadFacts, eintr};

/// `/proc/<pid>/stat` is one line of 52 numbers and a name of at most 64 bytes (proc(5)): below 1,200 bytes.
const STAT_MAX: usize = 2048;

/// `/proc/self/task/<tid>/status` is some 60 short lines; the list of CPUs and nodes may be long, but stands after the masks.
const STATUS_MAX: usize = 8192;

/// A pipe, read end first; both ends are closed on exec and never block.
///
/// # Errors
///
/// What `pipe2(2)` reports: too many open files.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors that the call writes.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both descriptors were just created, are open, and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// One `ppoll(2)` that waits at most `timeout`; the mask of signals stays as it is.
pub(super) fn poll(set: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let spec = timeout.map(|t| libc::timespec {
        tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(t.subsec_nanos().cast_signed()),
    });
    let spec = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // EINTR: the caller's, who knows until when it waits.
    // SAFETY: pointer and length describe `set`, exclusively borrowed; `spec` is null or points to a value that lives
    // until the end of this function; a null mask means "leave it".
    let n = unsafe {
        libc::ppoll(
            set.as_mut_ptr(),
            set.len() as libc::nfds_t,
            spec,
            std::ptr::null(),
        )
    };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Time since boot, suspend included: the clock of `starttime` in `/proc/<pid>/stat`; async-signal-safe.
pub(crate) fn since_boot() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a timespec that the call may write. `clock_gettime` is on the list of signal-safety(7). It fails
    // only for a clock that the kernel lacks (BOOTTIME: since 2.6.39); `now` then stays zero, which no process start is before.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// Name and start of a process, zombies included, from one read of `/proc/<pid>/stat`.
///
/// # Errors
///
/// `NotFound` when there is no such process (or it is hidden, or `/proc` is not mounted); `InvalidData` when the line is
/// not as proc(5) says; what open(2) and read(2) report.
pub(crate) fn process_facts(pid: u32) -> io::Result<ProcessFacts> {
    let mut buffer = [0; STAT_MAX];
    let line = read_bounded(&format!("/proc/{pid}/stat"), &mut buffer)?;
    let (comm, start_ticks) = parse_stat(line).ok_or(io::ErrorKind::InvalidData)?;
    let hz = ticks_per_second();
    let tick = Duration::from_secs(1) / hz;
    let hz = u64::from(hz);
    let started_at =
        Duration::from_secs(start_ticks / hz) + tick * u32::try_from(start_ticks % hz).unwrap_or(0);
    Ok(ProcessFacts {
        comm: comm.to_vec(),
        started_at,
    })
}

/// What glibc's allocator says of itself; `None` before 2.33, which has no `mallinfo2`.
#[cfg(target_env = "gnu")]
pub(crate) fn heap_info() -> Option<libc::mallinfo2> {
    // Looked up, not linked: a program linked against it would not start with an older glibc.
    // SAFETY: the name is NUL-terminated; looking a symbol up has no other obligation.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: this is the function that malloc.h declares: no arguments, the structure as its value.
    let mallinfo2: extern "C" fn() -> libc::mallinfo2 = unsafe { std::mem::transmute(found) };
    Some(mallinfo2())
}

/// Memory and threads of this process from one read of `/proc/self/stat`, and the size of `/proc/self/fd`, which is the number of open
/// descriptors since Linux 6.2 (and 0 before).
pub(crate) fn own_facts() -> OwnFacts {
    let mut buffer = [0; STAT_MAX];
    let line = read_bounded("/proc/self/stat", &mut buffer).ok();
    let fields = line.and_then(parse_own_stat);
    let files = std::fs::metadata("/proc/self/fd").ok();
    OwnFacts {
        resident_bytes: fields.map(|(_, pages)| pages.saturating_mul(page_size())),
        threads: fields.map(|(threads, _)| threads),
        open_files: files.map(|files| files.len()).filter(|count| *count > 0),
    }
}

/// Fields 20 (`num_threads`) and 24 (`rss`, in pages) of a stat line.
fn parse_own_stat(line: &[u8]) -> Option<(u64, u64)> {
    let close = line.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(20 - 3);
    let threads = fields.next()?.parse().ok()?;
    let pages = fields.nth(24 - 21)?.parse().ok()?;
    Some((threads, pages))
}

fn page_size() -> u64 {
    // SAFETY: takes no pointer and has no precondition.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes > 0)
        .unwrap_or(4_096)
}

/// Reads a file until its end or the end of the buffer.
pub(super) fn read_bounded<'b>(path: &str, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut file = File::open(path)?;
    let mut filled = 0;
    while filled < buffer.len() {
        match eintr::repeat(|| file.read(&mut buffer[filled..])) {
            Ok(0) => break,
            Ok(n) => filled += n,
            // A process that ends between open and read.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}

/// Field 2 (the name, which may contain anything, also `)`) and field 22 (`starttime`, in ticks) of a stat line.
fn parse_stat(line: &[u8]) -> Option<(&[u8], u64)> {
    let open = line.iter().position(|b| *b == b'(')?;
    let close = line.iter().rposition(|b| *b == b')')?;
    let comm = line.get(open + 1..close)?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let start = rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
    Some((comm, start))
}

/// The first threads of this process and what they block, from `/proc/self/task/*/status`. One that ends meanwhile is left out.
///
/// # Errors
///
/// `/proc` is not mounted or says nothing of masks (`InvalidData`).
pub(crate) fn thread_masks(at_most: usize) -> io::Result<Vec<ThreadFacts>> {
    let mut threads = Vec::new();
    let mut buffer = vec![0; STATUS_MAX];
    for entry in std::fs::read_dir("/proc/self/task")?.take(at_most) {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match read_bounded(&format!("/proc/self/task/{id}/status"), &mut buffer) {
            Ok(text) => {
                let (name, blocked) = parse_status(text).ok_or(io::ErrorKind::InvalidData)?;
                threads.push(ThreadFacts {
                    id,
                    name: name.to_vec(),
                    blocked,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(threads)
}

/// The lines `Name` and `SigBlk` of a status file.
fn parse_status(text: &[u8]) -> Option<(&[u8], Signos)> {
    let line = |key: &[u8]| {
        let mut lines = text.split(|b| *b == b'\n');
        lines.find_map(|line| line.strip_prefix(key))
    };
    let blocked = std::str::from_utf8(line(b"SigBlk:\t")?).ok()?;
    let blocked = u64::from_str_radix(blocked, 16).ok()?;
    Some((line(b"Name:\t")?, Signos::from_bits(blocked)))
}

/// A descriptor from which the pending signals of this set can be read; closed on exec, never blocks.
///
/// # Errors
///
/// What `signalfd(2)` reports: too many open files.
pub(crate) fn signalfd(set: Signos) -> io::Result<OwnedFd> {
    let set = super::mask::set_of(set.numbers());
    // SAFETY: the set is initialised and lives for the call; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just created, is open, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the next signals, at most 16, in the kernel's order: ordinary ones by number, then real-time ones by number.
///
/// # Errors
///
/// `WouldBlock` when none is pending, and what `read(2)` reports.
pub(crate) fn read_signalfd(
    fd: BorrowedFd<'_>,
    found: &mut impl FnMut(FdSignal),
) -> io::Result<usize> {
    const LEN: usize = size_of::<libc::signalfd_siginfo>();
    // SAFETY: zeroed memory is a valid array of these: integers throughout.
    let mut infos: [libc::signalfd_siginfo; FD_BATCH] = unsafe { std::mem::zeroed() };
    let n = eintr::repeat(|| {
        // SAFETY: `fd` is open for the call; pointer and length describe `infos`, exclusively borrowed; the kernel writes
        // whole structures of this type.
        let n = unsafe { libc::read(fd.as_raw_fd(), infos.as_mut_ptr().cast(), LEN * FD_BATCH) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    })? / LEN;
    for info in &infos[..n] {
        found(FdSignal {
            signo: info.ssi_signo.cast_signed(),
            code: info.ssi_code,
            pid: info.ssi_pid,
            uid: info.ssi_uid,
            overrun: info.ssi_overrun,
            value: usize::try_from(info.ssi_ptr).unwrap_or(0),
        });
    }
    Ok(n)
}

/// Adds a change of directory to what posix_spawn(3) does in the child (glibc 2.29, musl 1.1.24).
///
/// # Errors
///
/// No memory.
pub(super) fn add_chdir(
    actions: &mut libc::posix_spawn_file_actions_t,
    directory: &CStr,
) -> io::Result<()> {
    // SAFETY: the actions are initialised (exclusively borrowed from their owner); the path is copied.
    match unsafe { libc::posix_spawn_file_actions_addchdir_np(actions, directory.as_ptr()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

pub(super) fn ticks_per_second() -> u32 {
    // SAFETY: takes no pointer and has no precondition.
    let hz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // 100 on every Linux (USER_HZ); the fallback is for an answer that is no number of ticks.
    u32::try_from(hz).ok().filter(|hz| *hz > 0).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_spaces_and_parentheses() {
        let line = b"42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 10\n";
        assert_eq!(parse_stat(line), Some((&b"a) b (c)"[..], 98765)));
    }

    #[test]
    fn a_line_that_is_cut_is_refused() {
        for line in [&b""[..], b"42", b"42 (x", b"42 (x) S 1 2", b")("] {
            assert_eq!(parse_stat(line), None);
        }
    }

    #[test]
    fn what_the_system_tells_about_us_is_right() {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.expect(name).parse().expect("a number")
        };
        let facts = own_facts();
        let resident = facts.resident_bytes.expect("memory");
        // Pages come and go between the two reads.
        let there = field("VmRSS:") * 1_024;
        assert!(resident.abs_diff(there) < 64 << 20, "{resident} {there}");
        assert!(facts.threads.expect("threads") >= 1);
        assert!(parse_own_stat(b"1 (a) b) S 1 2").is_none());
        let line =
            b"42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 17 0 98765 1000 99 10\n";
        assert_eq!(parse_own_stat(line), Some((17, 99)));
        if let Some(before) = facts.open_files {
            // Other tests open and close files, too; none of them this many.
            let many: Vec<_> = (0..200).map(|_| File::open("/proc/self/stat")).collect();
            let after = own_facts().open_files.expect("as before");
            assert!(after >= before + 100, "{before} {after}");
            drop(many);
        }
    }

    #[test]
    fn a_threads_mask_is_what_it_blocked() {
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("masked".to_owned());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = thread.spawn(move || {
            super::super::block([libc::SIGUSR2]);
            ready.send(()).expect("it is waited for");
            told.recv().expect_err("nothing is ever sent");
        });
        is_ready.recv().expect("it starts");
        let threads = thread_masks(usize::MAX).expect("/proc is mounted");
        let masked = threads.iter().find(|thread| thread.name == b"masked");
        let blocked = masked.expect("it lives").blocked;
        assert_eq!(blocked.bits(), 1 << (libc::SIGUSR2 - 1));
        assert_eq!(thread_masks(1).map(|threads| threads.len()).ok(), Some(1));
        drop(tell);
        thread.expect("a thread").join().expect("it ends");
    }

    #[test]
    fn our_own_facts_are_right() {
        let own = process_facts(std::process::id()).expect("/proc is mounted");
        let comm = std::fs::read("/proc/self/comm").expect("/proc is mounted");
        assert_eq!(own.comm, comm.strip_suffix(b"\n").expect("a line"));
        assert!(own.started_at <= since_boot());
    }
}
