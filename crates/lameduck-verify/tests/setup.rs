//! What a user meets when there is nothing to judge, and that nothing is left behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use lameduck_verify::{LaunchError, Options, TargetSpec, Verification, VerifyError, list};

fn command(argv: &[&str]) -> Options {
    let mut options = Options::new(TargetSpec::command(argv.iter().copied()));
    options.grace = Duration::from_secs(2);
    options.only = vec!["P1".to_owned()];
    options
}

fn error(options: &Options) -> VerifyError {
    Verification::from(options.clone()).run().unwrap_err()
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let error = error(&command(&["no-such-program-anywhere"]));
    assert!(
        matches!(error, VerifyError::Launch(LaunchError::NotFound(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("`no-such-program-anywhere`"));
}

#[test]
fn no_command_at_all_is_said() {
    let error = error(&command(&[]));
    assert!(
        matches!(error, VerifyError::Launch(LaunchError::NoCommand)),
        "{error:?}"
    );
}

#[test]
fn an_early_exit_shows_what_the_target_wrote() {
    let error = error(&command(&[
        "sh",
        "-c",
        "echo cannot read config >&2; exit 9",
    ]));
    let text = error.to_string();
    assert!(
        matches!(error, VerifyError::Launch(LaunchError::ExitedEarly { .. })),
        "{text}"
    );
    assert!(
        text.contains("exited with 9") && text.contains("cannot read config"),
        "{text}"
    );
}

#[test]
fn what_the_target_wrote_can_not_steer_the_terminal() {
    let error = error(&command(&[
        "sh",
        "-c",
        r"printf '\033[2Jgone\n' >&2; exit 1",
    ]));
    assert!(!error.to_string().contains('\u{1b}'));
}

#[test]
fn an_address_that_answers_already_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = command(&["sleep", "10"]);
    options.target.url = Some(format!("http://{}/", listener.local_addr().unwrap()));
    let error = error(&options);
    assert!(
        matches!(error, VerifyError::Launch(LaunchError::AddressTaken(_))),
        "{error:?}"
    );
}

#[test]
fn unknown_ids_and_empty_choices_are_usage_errors() {
    let mut options = command(&["true"]);
    options.only = vec!["H9-99".to_owned()];
    assert!(matches!(error(&options), VerifyError::UnknownId(id) if id == "H9-99"));
    options.only = vec!["p1".to_owned()];
    options.skip = vec!["P1".to_owned()];
    assert!(matches!(error(&options), VerifyError::NothingToRun));
}

#[test]
fn a_url_that_can_not_be_used_is_refused_before_anything_starts() {
    let mut options = command(&["sh", "-c", "exit 5"]);
    options.target.url = Some("https://127.0.0.1:1/".to_owned());
    assert!(matches!(error(&options), VerifyError::Url(..)));
}

/// A target that dies early may have started others: its whole group goes with it.
#[test]
fn nothing_is_left_behind_when_a_target_fails_to_start() {
    let directory = std::env::temp_dir().join(format!("lameduck-verify-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let note = directory.join("grandchild");
    let script = format!("sleep 600 & echo $! > '{}'; exit 3", note.display());
    let text = error(&command(&["sh", "-c", &script])).to_string();
    assert!(text.contains("exited with 3"), "{text}");
    let pid: libc::pid_t = std::fs::read_to_string(&note)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let bound = Instant::now() + Duration::from_secs(10);
    // SAFETY: signal 0 only asks whether the process is there.
    while unsafe { libc::kill(pid, 0) } == 0 && !is_zombie(pid) {
        assert!(Instant::now() < bound, "process {pid} is left behind");
        std::thread::yield_now();
    }
}

/// Killed, and waiting for whoever inherited it: gone for our purposes.
fn is_zombie(pid: libc::pid_t) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn every_id_can_be_asked_for_alone() {
    for entry in list() {
        let mut options = command(&["no-such-program-anywhere"]);
        options.only = vec![entry.id.to_owned()];
        assert!(
            matches!(
                error(&options),
                VerifyError::Launch(LaunchError::NotFound(_))
            ),
            "{}",
            entry.id
        );
    }
}
