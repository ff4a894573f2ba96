//! The signal channel's example: told things by signals, then to stop.

#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use support::service::Service;

const PLAN: [(&str, &str); 2] = [("LAMEDUCK_WINDOW", "none"), ("LAMEDUCK_GRACE", "20s")];

#[test]
fn a_channel_says_who_asked_and_ends_with_the_lifecycle() {
    let mut service = Service::start(env!("CARGO_BIN_EXE_signal_channel"), &[], &PLAN);
    service.line("ready");
    service.signal(libc::SIGUSR1);
    let us = format!("pid {}", std::process::id());
    assert!(service.line("level 0, says ").contains(&us));

    let pid = i32::try_from(service.pid()).expect("a pid");
    let value = libc::sigval {
        sival_ptr: std::ptr::without_provenance_mut(3),
    };
    // SAFETY: the pointer is a number that nobody follows; the child lives.
    let sent = unsafe { libc::sigqueue(pid, libc::SIGRTMIN() + 1, value) };
    assert_eq!(sent, 0);
    assert!(service.line("level 3, says ").contains(&us));

    service.signal(libc::SIGTERM);
    service.line("no more signals");
    service.end().assert_drained();
}
