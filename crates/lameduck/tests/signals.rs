//! Signals in real processes: every experiment of the manual's section "Measured", as a script.
//!
//! A test tells a child what to do and looks at what it answers (`support/child.rs`, `support/orders.rs`). The edges
//! are compiled in by path: what is tested here is not public.
#![cfg(all(feature = "signals", target_os = "linux"))]
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    missing_debug_implementations,
    reason = "the edges are compiled in whole and used in part"
)]

#[path = "support/edge.rs"]
mod edge;
mod support;
#[path = "../src/sys/mod.rs"]
mod sys;
#[path = "support/vocab.rs"]
mod vocab;

use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use support::child::{Child, describe, kill};
use support::{namespace, orders, terminal};

#[used]
#[unsafe(link_section = ".init_array")]
static CHILD: extern "C" fn() = orders::run_if_child;

const EVERY: &str = "install QUIT,TERM,INT,HUP,USR2,USR1";

/// How a record names a living process.
fn sender(pid: u32, comm: &str) -> String {
    let comm = if cfg!(lameduck_portable) {
        "/proc unreadable"
    } else {
        comm
    };
    // SAFETY: has no precondition.
    let uid = unsafe { libc::getuid() };
    format!("pid {pid} ({comm}), uid {uid}")
}

fn this_process() -> String {
    let comm = std::fs::read_to_string("/proc/self/comm").expect("/proc is mounted");
    sender(std::process::id(), comm.trim_end())
}

/// A line of `/proc/<pid>/status` that holds a set of signals.
fn signals_in(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let set = status
        .lines()
        .find_map(|l| l.strip_prefix(line)?.strip_prefix(":\t"));
    u64::from_str_radix(set.expect("proc(5) has it"), 16).expect("hexadecimal")
}

fn bit(signo: i32) -> u64 {
    1 << (signo - 1)
}

fn ours() -> u64 {
    [libc::SIGQUIT, libc::SIGTERM, libc::SIGINT, libc::SIGHUP]
        .map(bit)
        .iter()
        .sum()
}

// ---- who sent it ----------------------------------------------------------------------------------------------------

#[test]
fn the_record_names_the_sender() {
    let mut child = Child::start();
    child.run(&["install default"]);
    child.signal(libc::SIGTERM);
    assert_eq!(
        child.ask("take 0 1"),
        format!("SIGTERM SI_USER {}", this_process())
    );
}

#[test]
fn a_queued_signal_names_the_sender() {
    let mut child = Child::start();
    child.run(&["install default"]);
    let pid = i32::try_from(child.pid()).expect("a pid");
    let value = libc::sigval {
        sival_ptr: std::ptr::null_mut(),
    };
    // SAFETY: takes no pointer that is followed; the child lives.
    assert_eq!(unsafe { libc::sigqueue(pid, libc::SIGHUP, value) }, 0);
    assert_eq!(
        child.ask("take 0 1"),
        format!("SIGHUP SI_QUEUE {}", this_process())
    );
}

#[test]
fn a_sender_that_has_exited_keeps_its_pid() {
    let mut child = Child::start();
    child.run(&["install default"]);
    let mut kill = Command::new("kill")
        .args(["-HUP", &child.pid().to_string()])
        .spawn()
        .expect("kill runs");
    let pid = kill.id();
    kill.wait().expect("it ends");
    let expected = sender(pid, "sender exited");
    assert_eq!(child.ask("take 0 1"), format!("SIGHUP SI_USER {expected}"));
}

#[test]
fn a_sender_that_nobody_has_reaped_still_has_its_name() {
    let mut child = Child::start();
    child.run(&["install default"]);
    let mut kill = Command::new("kill")
        .args(["-HUP", &child.pid().to_string()])
        .spawn()
        .expect("kill runs");
    let seen = child.ask("take 0 1");
    let expected = sender(kill.id(), "kill");
    kill.wait().expect("it ends");
    assert_eq!(seen, format!("SIGHUP SI_USER {expected}"));
}

#[test]
fn a_key_typed_at_the_terminal_comes_from_the_kernel() {
    const CTRL_C: u8 = 3;
    const CTRL_BACKSLASH: u8 = 28;
    let (mut child, mut press) = terminal::start();
    child.run(&["install default"]);
    press(CTRL_C);
    let kernel = "SI_KERNEL the kernel (a key at the terminal, for example)";
    assert_eq!(child.ask("take 0 1"), format!("SIGINT {kernel}"));
    press(CTRL_BACKSLASH);
    assert_eq!(child.ask("take 0 1"), format!("SIGQUIT {kernel}"));
}

// ---- none is lost ---------------------------------------------------------------------------------------------------

#[test]
fn five_of_a_kind_are_five_unless_they_wait_together() {
    let mut child = Child::start();
    child.run(&[EVERY, "kill USR1 5"]);
    assert_eq!(child.ask("count 0 5"), "records 5 lost 0");
    child.run(&["block USR1", "kill USR1 5", "unblock 0", "kill HUP 1"]);
    assert_eq!(
        child.ask("take 0 2"),
        "SIGHUP SI_USER this process; SIGUSR1 SI_USER this process"
    );
}

#[test]
fn found_together_they_come_by_priority() {
    let mut child = Child::start();
    child.run(&[
        EVERY,
        "kill USR1 1",
        "kill USR2 1",
        "kill HUP 1",
        "kill INT 1",
        "kill TERM 1",
        "kill QUIT 1",
    ]);
    let seen = child.ask("take 0 6");
    let order: Vec<&str> = seen
        .split("; ")
        .filter_map(|one| one.split(' ').next())
        .collect();
    assert_eq!(
        order,
        [
            "SIGQUIT", "SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2", "SIGUSR1"
        ]
    );
}

#[test]
fn what_a_full_pipe_does_not_take_is_counted() {
    let mut child = Child::start();
    child.run(&[EVERY, "kill USR1 5000"]);
    let seen = child.ask("count 0 5000");
    let words: Vec<&str> = seen.split(' ').collect();
    let ["records", records, "lost", lost] = words[..] else {
        panic!("{seen}")
    };
    let [records, lost] = [records, lost].map(|n| n.parse::<u32>().expect("a number"));
    assert_eq!(records + lost, 5000);
    assert!(records >= 64 && lost > 0, "{seen}");
    child.run(&["kill TERM 1"]);
    assert_eq!(
        child.ask("take 0 1"),
        "SIGTERM SI_USER this process",
        "and it goes on"
    );
}

#[test]
fn raise_in_another_thread_is_seen() {
    let mut child = Child::start();
    child.run(&["install default", "raise TERM"]);
    assert_eq!(child.ask("take 0 1"), "SIGTERM SI_TKILL this process");
}

#[test]
fn one_thread_with_a_clean_mask_is_enough() {
    let mut child = Child::start();
    for signal in ["TERM", "INT", "HUP", "USR1", "USR2"] {
        child.run(&[&format!("block {signal}")]);
    }
    child.run(&["threads 3", EVERY, "driver 0"]);
    for signo in [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ] {
        child.signal(signo);
        let seen = child.ask("take 0 1");
        assert!(seen.ends_with(&this_process()), "{signo}: {seen}");
    }
}

#[test]
fn several_intakes_see_every_signal_until_they_are_dropped() {
    let mut child = Child::start();
    child.run(&["install default", "install default", "kill HUP 1"]);
    for intake in ["take 0 1", "take 1 1"] {
        assert_eq!(child.ask(intake), "SIGHUP SI_USER this process");
    }
    child.run(&["drop 0", "kill TERM 1"]);
    assert_eq!(child.ask("take 1 1"), "SIGTERM SI_USER this process");
    child.run(&["drop 1", "kill TERM 1", "install default", "kill INT 1"]);
    assert_eq!(child.ask("take 2 1"), "SIGINT SI_USER this process");
}

// ---- early ----------------------------------------------------------------------------------------------------------

#[test]
fn a_signal_between_early_and_the_handler_waits() {
    let mut child = Child::start();
    child.run(&["early", "early"]);
    child.signal(libc::SIGTERM);
    child.run(&["install default", "restore 0"]);
    assert_eq!(
        child.ask("take 0 1"),
        format!("SIGTERM SI_USER {}", this_process())
    );
    assert_eq!(child.ask("mask"), "none");
}

#[test]
fn early_gives_back_what_it_took_and_no_more() {
    let mut child = Child::start();
    child.run(&["block USR2", "block TERM", "early"]);
    assert_eq!(
        child.ask("mask"),
        "SIGQUIT,SIGTERM,SIGINT,SIGHUP,SIGUSR2,SIGUSR1"
    );
    child.run(&["install default", "restore 0"]);
    assert_eq!(
        child.ask("mask"),
        "SIGUSR2",
        "inherited, and not ours; SIGTERM is ours, however it was inherited"
    );
}

// ---- children -------------------------------------------------------------------------------------------------------

/// INV-7: children start with a clean mask.
#[test]
fn inv_7_a_child_has_a_clean_mask_and_dies_when_told() {
    let mut child = Child::start();
    child.run(&["early", "install default"]);
    let held: u32 = child.ask("spawn").parse().expect("a pid");
    assert_eq!(
        signals_in(held, "SigBlk") & ours(),
        ours(),
        "this test could not fail otherwise"
    );
    kill(held, libc::SIGKILL);
    assert_eq!(child.ask("reap"), "signal 9");

    child.run(&["driver 0", "restore 0"]);
    let clean: u32 = child.ask("spawn").parse().expect("a pid");
    assert_eq!(signals_in(clean, "SigBlk") & ours(), 0);
    assert_eq!(signals_in(clean, "SigIgn") & ours(), 0);
    kill(clean, libc::SIGTERM);
    assert_eq!(child.ask("reap"), "signal 15");
}

#[test]
fn a_forked_copy_dies_by_its_signal_and_the_parent_hears_nothing() {
    let mut child = Child::start();
    child.run(&["install default"]);
    let copy: u32 = child.ask("fork").parse().expect("a pid");
    kill(copy, libc::SIGTERM);
    assert_eq!(child.ask("reap"), "signal 15");
    child.run(&["kill HUP 1"]);
    assert_eq!(child.ask("take 0 1"), "SIGHUP SI_USER this process");
}

#[test]
fn a_forked_copy_with_an_intake_of_its_own_keeps_it() {
    let mut child = Child::start();
    child.run(&["install default"]);
    let copy: u32 = child.ask("fork-and-take").parse().expect("a pid");
    kill(copy, libc::SIGTERM);
    assert_eq!(child.ask("reap"), "exit 7");
    child.run(&["kill HUP 1"]);
    assert_eq!(child.ask("take 0 1"), "SIGHUP SI_USER this process");
}

// ---- beside others --------------------------------------------------------------------------------------------------

#[test]
fn an_older_handler_runs_as_well() {
    let mut child = Child::start();
    child.run(&["foreign HUP", "install default", "kill HUP 1"]);
    assert_eq!(child.ask("take 0 1"), "SIGHUP SI_USER this process");
    assert_eq!(child.ask("foreign-count"), "1");
    assert_eq!(child.ask("replaced 0"), "none");
}

#[test]
fn a_younger_handler_that_takes_our_place_is_found() {
    let mut child = Child::start();
    child.run(&["install default", "foreign HUP"]);
    assert_eq!(child.ask("replaced 0"), "SIGHUP");
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_sees_it_too_whoever_came_first() {
    for order in ["tokio first", "tokio last"] {
        let mut child = Child::start();
        assert_eq!(child.ask(order), "SIGHUP this process and tokio", "{order}");
    }
}

// ---- inherited "ignore" ---------------------------------------------------------------------------------------------

#[test]
fn what_nohup_ignores_stays_ignored_unless_insisted() {
    let mut child = Child::start_by("nohup", &[]);
    child.run(&["early", "install default"]);
    child.signal(libc::SIGHUP);
    child.run(&["restore 0"]);
    child.signal(libc::SIGTERM);
    assert_eq!(
        child.ask("take 0 1"),
        format!("SIGTERM SI_USER {}", this_process())
    );
    assert_eq!(child.ask("ignored 0"), "SIGHUP");

    child.run(&["insist HUP"]);
    child.signal(libc::SIGHUP);
    assert_eq!(
        child.ask("take 1 1"),
        format!("SIGHUP SI_USER {}", this_process())
    );
}

#[test]
fn what_a_shell_ignores_in_the_background_stays_ignored() {
    let mut child = Child::start_by("sh", &["-c", r#"exec 3<&0; "$0" <&3 3<&- & wait"#]);
    child.run(&["install default"]);
    assert_eq!(child.ask("ignored 0"), "SIGQUIT,SIGINT");
    let pid: u32 = child.ask("pid").parse().expect("a pid");
    kill(pid, libc::SIGINT);
    kill(pid, libc::SIGQUIT);
    kill(pid, libc::SIGTERM);
    assert_eq!(
        child.ask("take 0 1"),
        format!("SIGTERM SI_USER {}", this_process())
    );
}

// ---- the end --------------------------------------------------------------------------------------------------------

#[test]
fn dying_by_a_signal_is_what_the_parent_sees() {
    for (name, signo) in [("QUIT", 3), ("TERM", 15), ("INT", 2), ("HUP", 1)] {
        let mut child = Child::start();
        child.run(&["early", EVERY]);
        child.tell(&format!("die {name}"));
        assert_eq!(describe(child.end()), format!("signal {signo}"));
    }
}

#[test]
fn a_full_standard_error_does_not_hold_the_end() {
    let (_read, write) = sys::pipe().expect("a pipe");
    let mut command = Command::new(std::env::current_exe().expect("the test has a path"));
    let mut child = Child::launch(command.stderr(blocking(&write)));
    assert_eq!(child.ask("stderr"), "not written in time");
    child.tell("die TERM");
    assert_eq!(describe(child.end()), "signal 15");
}

/// The write end as a child's standard error usually is: it blocks.
fn blocking(write: &std::os::fd::OwnedFd) -> Stdio {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open; the command takes no pointer.
    let refused = unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETFL, 0) };
    assert_eq!(refused, 0);
    write
        .as_fd()
        .try_clone_to_owned()
        .expect("a descriptor")
        .into()
}

// ---- PID 1 ----------------------------------------------------------------------------------------------------------

#[test]
fn pid_1_loses_a_signal_before_the_handler_and_early_keeps_it() {
    let test = "pid_1_loses_a_signal_before_the_handler_and_early_keeps_it";
    let Some(mut careless) = namespace::start(test, &[]) else {
        return;
    };
    assert_eq!(careless.ask("pid"), "1");
    kill(namespace::outer_pid(&careless), libc::SIGTERM);
    careless.run(&["install default", "kill HUP 1"]);
    assert_eq!(
        careless.ask("take 0 1"),
        "SIGHUP SI_USER this process",
        "the kernel dropped SIGTERM"
    );

    let Some(mut careful) = namespace::start(test, &[]) else {
        return;
    };
    assert_eq!(careful.ask("pid"), "1");
    careful.run(&["early"]);
    kill(namespace::outer_pid(&careful), libc::SIGTERM);
    careful.run(&["install default", "restore 0"]);
    let outside = "outside this pid namespace (container runtime or kubelet)";
    assert_eq!(
        careful.ask("take 0 1"),
        format!("SIGTERM SI_USER {outside}")
    );
}

#[test]
fn pid_1_cannot_kill_itself() {
    let Some(mut child) = namespace::start("pid_1_cannot_kill_itself", &[]) else {
        return;
    };
    child.run(&["kill TERM 1", "kill KILL 1"]);
    assert_eq!(child.ask("pid"), "1");
}

#[test]
fn pid_1_ends_with_128_and_the_signals_number() {
    let test = "pid_1_ends_with_128_and_the_signals_number";
    for (name, code) in [("QUIT", 131), ("TERM", 143)] {
        let Some(mut child) = namespace::start(test, &[]) else {
            return;
        };
        assert_eq!(child.ask("pid"), "1");
        child.run(&["install default"]);
        child.tell(&format!("die {name}"));
        assert_eq!(describe(child.end()), format!("exit {code}"));
    }
}

#[test]
fn a_shell_that_is_pid_1_is_worth_a_warning() {
    let test = "a_shell_that_is_pid_1_is_worth_a_warning";
    let Some(mut child) = namespace::start(test, &["sh", "-c", r#""$0"; true"#]) else {
        return;
    };
    let expected = if cfg!(lameduck_portable) {
        "none"
    } else {
        "sh"
    };
    assert_eq!(child.ask("shell"), expected);
    assert_eq!(Child::start().ask("shell"), "none");
}
