//! Interrupted system calls: who calls the kernel directly says what becomes of `EINTR`.

use crate::finding::Finding;
use crate::source::Source;
use crate::tree::Tree;

/// Calls that a signal can interrupt (signal(7)), or that must not be made again after it (close, open).
const CALLS: [&str; 52] = [
    "accept",
    "accept4",
    "clock_nanosleep",
    "close",
    "connect",
    "copy_file_range",
    "creat",
    "dup2",
    "dup3",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "fdatasync",
    "flock",
    "fsync",
    "getrandom",
    "msgrcv",
    "msgsnd",
    "nanosleep",
    "open",
    "openat",
    "pause",
    "poll",
    "ppoll",
    "pread",
    "preadv",
    "pselect",
    "pwrite",
    "pwritev",
    "read",
    "readv",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "select",
    "sem_timedwait",
    "sem_wait",
    "send",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "sigsuspend",
    "sigtimedwait",
    "sigwaitinfo",
    "splice",
    "wait4",
    "waitid",
    "waitpid",
    "write",
    "writev",
];

/// How many lines above a call may say it.
const ABOVE: u32 = 8;

const REASON: &str = "a signal can interrupt it: call it through `lameduck::eintr`, or say above it, after `EINTR:`, what happens then";

/// What has a loop of its own, or should not be done in one.
const LOOPS: [(&str, &str); 3] = [
    (
        "Interrupted",
        "`lameduck::eintr` has the loop, and counts it",
    ),
    ("EINTR", "`lameduck::eintr` has the loop, and counts it"),
    (
        "create_new",
        "repeats after an interruption, and then takes its own file for another's: `lameduck::eintr::create_new`",
    ),
];

/// Owns the loops.
const HOME: &str = "crates/lameduck/src/sys/eintr.rs";

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree.sources() {
        let is_ours = source.in_crate().is_some() && !source.is_test_file();
        if is_ours {
            check_file(source, findings);
        }
    }
}

fn check_file(source: &Source, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut fail = |line: u32, what: String| {
        findings.push(Finding::failure(&source.path, line, what));
    };
    for pair in source.tokens.windows(4) {
        let line = pair[0].line;
        let Some(name) = pair[3].ident().filter(|_| pair[0].is_ident("libc")) else {
            continue;
        };
        let is_called = lines
            .get(pair[3].line as usize - 1)
            .is_some_and(|line| line.contains(&format!("libc::{name}(")));
        if CALLS.contains(&name)
            && is_called
            && !is_said(&lines, line)
            && !source.is_test_line(line)
        {
            fail(line, format!("`libc::{name}`: {REASON}"));
        }
    }
    // `lameduck verify` knows nothing of the library that it judges.
    let may_loop = source.path == HOME || source.path.starts_with("crates/lameduck-verify/");
    for (name, what) in LOOPS {
        let found = source.tokens.iter().filter(|token| token.is_ident(name));
        for token in found.filter(|token| !may_loop && !source.is_test_line(token.line)) {
            if !is_said(&lines, token.line) {
                fail(token.line, format!("`{name}`: {what}"));
            }
        }
    }
}

/// Whether the lines above, or the line itself, say what becomes of an interruption.
fn is_said(lines: &[&str], line: u32) -> bool {
    let from = line.saturating_sub(ABOVE + 1) as usize;
    let above = &lines[from..lines.len().min(line as usize)];
    above
        .iter()
        .any(|line| line.contains("EINTR:") || line.contains("eintr::"))
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    fn findings(path: &str, text: &str) -> usize {
        run(super::check, &[(path, text)]).len()
    }

    #[test]
    fn a_raw_call_says_what_becomes_of_an_interruption() {
        let path = "crates/lameduck/src/sys/fd.rs";
        let raw = "fn f() { unsafe { libc::read(0, a, 1) }; }";
        assert_eq!(findings(path, raw), 1);
        let said = format!("// EINTR: it does not block.\n{raw}");
        assert_eq!(findings(path, &said), 0);
        let through = "fn f() { eintr::repeat(|| unsafe { libc::read(0, a, 1) }); }";
        assert_eq!(findings(path, through), 0);
        let far = format!("// EINTR: elsewhere.\n{}{raw}", "\n".repeat(9));
        assert_eq!(findings(path, &far), 1);
        assert_eq!(findings(path, "fn f() { unsafe { libc::getpid() }; }"), 0);
        assert_eq!(findings("crates/lameduck/tests/signals.rs", raw), 0);
    }

    #[test]
    fn one_place_has_the_loop() {
        let text = "fn f() { if e.kind() == ErrorKind::Interrupted {} }";
        assert_eq!(findings("crates/lameduck-http/src/server/sock.rs", text), 1);
        let number = "fn f() { if e.raw_os_error() == Some(libc::EINTR) {} }";
        assert_eq!(
            findings("crates/lameduck-http/src/server/sock.rs", number),
            1
        );
        let open = "fn f() { OpenOptions::new().create_new(true); }";
        assert_eq!(findings("crates/lameduck-http/src/server/sock.rs", open), 1);
        assert_eq!(findings(super::HOME, text), 0);
        assert_eq!(
            findings("crates/lameduck-verify/src/target/ask.rs", text),
            0
        );
    }
}
