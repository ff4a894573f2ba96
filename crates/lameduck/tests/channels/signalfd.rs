//! The other form: a signalfd, what it delivers, and where it is refused.

use crate::child::Child;
use crate::{PORTABLE, marks, real_time, send_value, start_quietly};

#[test]
fn a_signalfd_delivers_whole_records_and_closes_with_its_scope() {
    if PORTABLE {
        return;
    }
    let mut child = Child::start();
    child.run(&["hold USR1,RT1", "signalfd USR1,RT1 until"]);
    child.signal(libc::SIGUSR1);
    assert_eq!(
        child.ask("take 0 1"),
        format!("SIGUSR1 SI_USER {}", marks())
    );
    for value in 0..40 {
        child.signal(libc::SIGUSR1);
        send_value(child.pid(), real_time(1), value);
    }
    let expected: Vec<String> = (0..40).map(|value| format!("SIGRTMIN+1 {value}")).collect();
    assert_eq!(
        child.ask("values 0 41"),
        format!("SIGUSR1; {}", expected.join("; "))
    );
    let before: usize = child.ask("fds").parse().expect("a number");
    child.run(&["fire-soon"]);
    assert_eq!(child.ask("recv 0"), "the channel has ended");
    let after: usize = child.ask("fds").parse().expect("a number");
    assert_eq!(before - after, 3, "the signalfd, and the reader's pipe");
    child.run(&["signalfd USR1"]);
    child.run(&["kill USR1 1"]);
    assert_eq!(child.ask("values 1 1"), "SIGUSR1");
}

#[test]
fn a_signalfd_that_would_not_be_safe_is_refused_with_the_reason() {
    let cases: [(&[&str], &str); 6] = [
        (&[], "this thread"),
        (&["thread", "hold USR1"], "a thread that runs already"),
        (&["life all", "hold USR1"], "the lifecycle takes it"),
        (
            &["open USR1", "hold USR1"],
            "another channel takes it with a handler",
        ),
        (
            &["foreign USR1", "hold USR1"],
            "another library has a handler for it",
        ),
        (&["hold USR1", "signalfd USR1"], "shares it with nobody"),
    ];
    for (orders, reason) in cases {
        let mut child = start_quietly();
        if PORTABLE {
            child.run(&["hold USR1"]);
            assert!(
                child
                    .ask("signalfd USR1")
                    .contains("open the channel without")
            );
            continue;
        }
        child.run(orders);
        let seen = child.ask("signalfd USR1");
        assert!(
            seen.starts_with("refused: ") && seen.contains(reason),
            "{orders:?}: {seen}"
        );
        assert!(seen.contains("SIGUSR1"), "{seen}");
    }
}

#[test]
fn a_handler_for_what_a_signalfd_reads_is_refused() {
    if PORTABLE {
        return;
    }
    let mut child = start_quietly();
    child.run(&["hold USR1,TERM", "signalfd USR1"]);
    let seen = child.ask("open USR1");
    assert!(
        seen.contains("a signalfd channel takes it and shares it with nobody"),
        "{seen}"
    );
    let seen = child.ask("life all");
    assert!(
        seen.contains("SIGUSR1 cannot be taken: a signalfd channel of this process has it"),
        "{seen}"
    );
    child.run(&["life default", "kill USR1 1"]);
    assert_eq!(
        child.ask("values 0 1"),
        "SIGUSR1",
        "a lifecycle without it goes beside it"
    );
    child.run(&["kill TERM 1"]);
    assert_eq!(child.ask("outcome"), "Drained");
}

#[test]
fn raise_in_another_thread_reaches_handlers_and_no_signalfd() {
    let mut child = Child::start();
    child.run(&["open USR1", "raise USR1"]);
    assert_eq!(child.ask("values 0 1"), "SIGUSR1");
    if PORTABLE {
        return;
    }
    let mut child = Child::start();
    child.run(&["hold USR1", "signalfd USR1", "raise USR1"]);
    assert_eq!(
        child.ask("try 0"),
        "no signal waits",
        "it waits in that thread for ever"
    );
}

/// INV-7: children start with a clean mask.
#[test]
fn inv_7_children_of_a_program_with_a_signalfd_start_clean() {
    let mut child = Child::start();
    child.run(&["hold USR1,TERM"]);
    let inherited = child.ask("spawn-std");
    assert_ne!(
        inherited, "0000000000000000",
        "this test could not fail otherwise"
    );
    assert_eq!(child.ask("spawn"), "0000000000000000");
}
