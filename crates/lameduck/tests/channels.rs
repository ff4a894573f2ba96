//! Signal channels in real processes, through the public API.
//!
//! A test tells a child what to do and looks at what it answers (`support/child.rs`, `channels/orders.rs`).
#![cfg(all(feature = "signals", target_os = "linux"))]
#![allow(
    unreachable_pub,
    reason = "children are told what to do by modules that other tests share"
)]

#[path = "support/child.rs"]
#[allow(dead_code, reason = "used in part")]
mod child;
#[path = "channels/orders.rs"]
mod orders;
#[path = "channels/signalfd.rs"]
mod signalfd;

use std::io::Read as _;
use std::process::{Command, Stdio};

use child::{Child, describe, kill};

#[used]
#[unsafe(link_section = ".init_array")]
static CHILD: extern "C" fn() = orders::run_if_child;

/// Whether the twin is tested: it names no sender, and has no signalfd.
const PORTABLE: bool = cfg!(lameduck_portable);

fn real_time(nth: i32) -> i32 {
    libc::SIGRTMIN() + nth
}

fn send_value(pid: u32, signo: i32, value: usize) {
    let pid = i32::try_from(pid).expect("a pid");
    let value = libc::sigval {
        sival_ptr: std::ptr::without_provenance_mut(value),
    };
    // SAFETY: the pointer is a number that nobody follows; the child lives.
    assert_eq!(unsafe { libc::sigqueue(pid, signo, value) }, 0);
}

/// A child whose standard error is not the test's.
fn start_quietly() -> Child {
    let mut command = Command::new(std::env::current_exe().expect("the test has a path"));
    Child::launch(command.stderr(Stdio::null()))
}

/// A child, and its standard error.
fn start_and_listen() -> (Child, std::io::PipeReader) {
    let (read, write) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(std::env::current_exe().expect("the test has a path"));
    (Child::launch(command.stderr(Stdio::from(write))), read)
}

fn marks() -> String {
    // SAFETY: has no precondition.
    let uid = unsafe { libc::getuid() };
    format!("pid {} uid {uid}", std::process::id())
}

// ---- records --------------------------------------------------------------------------------------------------------

#[test]
fn a_record_is_whole() {
    let mut child = Child::start();
    child.run(&["open USR1,WINCH,RT1"]);
    child.signal(libc::SIGUSR1);
    assert_eq!(
        child.ask("take 0 1"),
        format!("SIGUSR1 SI_USER {}", marks())
    );
    let comm = std::fs::read_to_string("/proc/self/comm").expect("/proc is mounted");
    let comm = if PORTABLE {
        "/proc unreadable"
    } else {
        comm.trim_end()
    };
    child.signal(libc::SIGWINCH);
    assert!(child.ask("senders 0 1").contains(&format!("({comm})")));
    for value in [7, 8, 9] {
        send_value(child.pid(), real_time(1), value);
    }
    let one = |value| format!("SIGRTMIN+1 SI_QUEUE {} value {value}", marks());
    assert_eq!(child.ask("take 0 3"), [7, 8, 9].map(one).join("; "));
}

#[test]
fn real_time_signals_that_wait_are_all_there_and_ordinary_ones_are_one() {
    let mut child = Child::start();
    child.run(&["open USR1,RT1", "hold USR1,RT1"]);
    for value in 0..5 {
        child.signal(libc::SIGUSR1);
        send_value(child.pid(), real_time(1), value);
    }
    child.run(&["release"]);
    let seen = child.ask("values 0 6");
    assert_eq!(
        seen,
        "SIGUSR1; SIGRTMIN+1 0; SIGRTMIN+1 1; SIGRTMIN+1 2; SIGRTMIN+1 3; SIGRTMIN+1 4"
    );
    assert_eq!(child.ask("try 0"), "no signal waits");
}

#[test]
fn where_the_kernel_counts_what_became_one_the_record_says_it() {
    let mut child = Child::start();
    child.run(&["open RT2"]);
    assert_eq!(child.ask("timer RT2"), "some ran out together");
}

// ---- channels beside each other -------------------------------------------------------------------------------------

#[test]
fn each_channel_gets_its_set_and_the_lifecycle_keeps_its_own() {
    let mut child = start_quietly();
    child.run(&[
        "open USR1,TERM",
        "open USR1,HUP",
        "life default",
        "kill USR1 2",
    ]);
    for channel in ["values 0 2", "values 1 2"] {
        assert_eq!(child.ask(channel), "SIGUSR1; SIGUSR1");
    }
    child.run(&["kill HUP 1"]);
    assert_eq!(child.ask("values 1 1"), "SIGHUP");
    assert_eq!(child.ask("try 0"), "no signal waits");
    child.run(&["drop 1", "kill USR1 1"]);
    assert_eq!(child.ask("values 0 1"), "SIGUSR1");
    child.run(&["kill TERM 1"]);
    assert_eq!(child.ask("values 0 1"), "SIGTERM");
    assert_eq!(child.ask("outcome"), "Drained", "the lifecycle had it too");
}

#[test]
fn a_queue_that_is_full_counts_what_it_drops() {
    let mut child = Child::start();
    child.run(&[
        "open USR1,HUP bound=4",
        "open USR1",
        "kill USR1 10",
        "kill HUP 2",
    ]);
    let seen = child.ask("values 0 6");
    assert_eq!(
        seen,
        "SIGHUP x2; SIGUSR1; SIGUSR1; SIGUSR1; SIGUSR1; SIGUSR1 x6"
    );
    assert_eq!(child.ask("dropped 0"), "8");
    assert_eq!(child.ask("values 1 10"), ["SIGUSR1"; 10].join("; "));
    child.run(&["kill USR1 1"]);
    assert_eq!(child.ask("values 0 1"), "SIGUSR1", "and it goes on");
}

// ---- priority -------------------------------------------------------------------------------------------------------

const SIX_AND_MORE: &str = "USR1,USR2,HUP,INT,TERM,QUIT,WINCH,ALRM,RT1,RT2";

fn send_all(child: &mut Child) {
    for signal in [
        "RT2", "WINCH", "USR1", "RT1", "USR2", "ALRM", "HUP", "INT", "TERM", "QUIT",
    ] {
        child.run(&[&format!("kill {signal} 1")]);
    }
}

#[test]
fn what_waits_together_comes_by_priority() {
    let by_priority = "SIGQUIT; SIGTERM; SIGINT; SIGHUP; SIGUSR2; SIGUSR1; SIGALRM; SIGWINCH; SIGRTMIN+1; SIGRTMIN+2";
    let mut child = Child::start();
    let open = format!("open {SIX_AND_MORE}");
    let hold = format!("hold {SIX_AND_MORE}");
    child.run(&[&open, &format!("{open} first=RT2,ALRM"), &hold]);
    send_all(&mut child);
    assert_eq!(child.ask("try 0"), "no signal waits", "all are held back");
    child.run(&["release"]);
    assert_eq!(child.ask("values 0 10"), by_priority);
    let rest = by_priority
        .replace("; SIGALRM", "")
        .replace("; SIGRTMIN+2", "");
    assert_eq!(
        child.ask("values 1 10"),
        format!("SIGRTMIN+2; SIGALRM; {rest}")
    );
    if PORTABLE {
        return;
    }
    let mut child = Child::start();
    child.run(&[&hold, &format!("signalfd {SIX_AND_MORE}")]);
    send_all(&mut child);
    assert_eq!(
        child.ask("values 0 10"),
        by_priority,
        "a signalfd, the same"
    );
}

#[test]
fn what_comes_later_and_is_more_urgent_overtakes_what_waits() {
    let mut child = Child::start();
    child.run(&["open USR1,TERM", "kill USR1 3"]);
    assert_eq!(child.ask("values 0 1"), "SIGUSR1");
    child.run(&["kill TERM 1"]);
    assert_eq!(child.ask("values 0 3"), "SIGTERM; SIGUSR1; SIGUSR1");
}

#[test]
fn the_lifecycle_decides_by_priority_among_what_waits_together() {
    let mut child = start_quietly();
    child.run(&["hold USR1,USR2,HUP,INT,TERM"]);
    for signal in ["USR1", "USR2", "HUP", "INT", "TERM"] {
        child.run(&[&format!("kill {signal} 1")]);
    }
    child.run(&["life all"]);
    assert_eq!(child.ask("outcome"), "Drained");
    let signals = child.ask("reported");
    assert_eq!(signals, "SIGTERM; SIGINT; SIGHUP; SIGUSR2; SIGUSR1");

    let (mut child, mut read) = start_and_listen();
    child.run(&[
        "hold HUP,TERM,QUIT",
        "kill HUP 1",
        "kill TERM 1",
        "kill QUIT 1",
    ]);
    child.tell("life-to-the-end all");
    assert_eq!(
        describe(child.end()),
        "signal 3",
        "SIGQUIT before all others"
    );
    let mut said = String::new();
    read.read_to_string(&mut said).expect("text");
    assert!(
        said.contains(": SIGQUIT, the process dies of it") && !said.contains("Terminating"),
        "{said}"
    );
}

// ---- the end of a channel -------------------------------------------------------------------------------------------

#[test]
fn a_token_ends_a_channel_and_leaves_nothing_behind() {
    let mut child = Child::start();
    child.run(&["open USR1", "cycle 1"]);
    let before = child.ask("fds");
    child.run(&["cycle 300"]);
    assert_eq!(child.ask("fds"), before);
    child.run(&["kill USR1 1"]);
    assert_eq!(child.ask("values 0 1"), "SIGUSR1", "the other one goes on");
}

#[test]
fn a_token_takes_the_handlers_back_though_nobody_reads() {
    let mut child = Child::start();
    child.run(&["open USR1 until", "kill USR1 1", "fire"]);
    assert_eq!(child.ask("hung-up 0"), "yes");
    child.run(&["kill USR1 1"]);
    assert_eq!(
        child.ask("values 0 1"),
        "SIGUSR1",
        "what had arrived is not lost"
    );
    assert_eq!(child.ask("try 0"), "the channel has ended");
    assert_eq!(child.ask("fd 0"), "none");
}

#[test]
fn a_reader_that_waits_hears_of_the_end() {
    for end in ["until", "until-future"] {
        let mut child = Child::start();
        child.run(&[&format!("open USR1 {end}"), "fire-soon"]);
        assert_eq!(child.ask("recv 0"), "the channel has ended", "{end}");
    }
}

#[test]
fn a_lifecycle_that_drains_ends_its_channels() {
    let mut child = start_quietly();
    child.run(&["life default", "open USR1 until-closing", "kill TERM 1"]);
    assert_eq!(child.ask("recv 0"), "the channel has ended");
    assert_eq!(child.ask("outcome"), "Drained");
}

#[test]
fn what_nohup_ignores_stays_ignored() {
    let mut child = Child::start_by("nohup", &[]);
    child.run(&["open HUP,USR1", "kill HUP 1", "kill USR1 1"]);
    assert_eq!(child.ask("values 0 1"), "SIGUSR1");
    assert_eq!(child.ask("ignored 0"), "SIGHUP");
    child.run(&["open HUP insist", "kill HUP 1"]);
    assert_eq!(child.ask("values 1 1"), "SIGHUP");
}

#[cfg(feature = "tokio")]
#[test]
fn a_task_receives_and_loses_none_when_it_is_interrupted() {
    for order in ["async handlers", "async signalfd"] {
        if PORTABLE && order.ends_with("signalfd") {
            continue;
        }
        let mut child = Child::start();
        assert_eq!(child.ask(order), "500 in order, then the end", "{order}");
    }
}

// ---- the self-check -------------------------------------------------------------------------------------------------

#[test]
fn a_replaced_handler_is_found_in_the_log_and_in_the_status() {
    let (mut child, mut read) = start_and_listen();
    child.run(&[
        "open USR1",
        "life-initializing",
        "foreign USR1",
        "foreign HUP",
    ]);
    assert!(
        child
            .ask("check 0")
            .contains("the handler of SIGUSR1 was replaced")
    );
    let channel =
        "the handler of SIGUSR1 was replaced by another library: channels no longer hear it";
    let life =
        "the handler of SIGHUP was replaced by another library: it no longer ends this service";
    let status = child.ask("ready-and-status");
    for what in [channel, life] {
        assert!(status.contains(&format!("\"{what}\"")), "{status}");
    }
    child.run(&["kill TERM 1"]);
    assert_eq!(child.ask("outcome"), "Drained");
    kill(child.pid(), libc::SIGKILL);
    let mut said = String::new();
    read.read_to_string(&mut said).expect("text");
    for what in [channel, life] {
        assert!(said.contains(&format!("lameduck: {what}\n")), "{said}");
    }
}

#[test]
fn a_channel_that_comes_after_the_stranger_knows_it() {
    let mut child = Child::start();
    child.run(&["open USR1", "foreign USR1", "open USR1"]);
    assert!(
        child
            .ask("check 1")
            .contains("the handler of SIGUSR1 was replaced")
    );
}
