//! Owns which checks a set-up can not reach: one stop only, no instant, no exit to be seen, no child of ours.
//! Not: what a target lacks (see `facts`).

use crate::catalogue;
use crate::options::{Options, Stop};
use crate::target::VerifyError;

/// One drain of a process that runs already judges these, and no others.
pub(super) const IN_ONE_STOP: [&str; 8] = [
    "P1", "H1-01", "H1-02", "H1-03", "H1-04", "H1-05", "H1-06", "A1",
];

const ONE_STOP: &str =
    "a process that we did not start can be stopped once; give --start to have it started again";
const NO_REPEAT: &str = "the stop is no signal: it is given once, and repeats prove nothing";
const NO_EXIT: &str =
    "whether the process is gone can not be seen; --alive would give a command that tells";
const NO_CHILD: &str = "the service is no child of ours: its process can not be looked into, or be met while it starts";

const NO_SIGNAL: &str = "the stop is no signal, and this is about what PID 1 does with signals";
const NOBODY_THERE: &str =
    "the stop is no signal: before the service is ready there is nobody to call";

/// About repeats of a signal.
const REPEATS: [&str; 2] = ["P3", "P9"];
/// About the exit of the process.
const EXITS: [&str; 4] = ["P1", "P2", "N-1", "N-2"];

/// About the process from its first instant on, or from inside.
fn needs_child(id: &str) -> bool {
    id == "A4" || id.starts_with('P') && !REPEATS.contains(&id) && !EXITS.contains(&id)
}

/// Why the set-up can not reach `id`, if it can not.
pub(super) fn beyond(options: &Options, id: &str) -> Option<&'static str> {
    let target = &options.target;
    let driven = target.driven.as_ref();
    if target.pid.is_some() {
        return (!IN_ONE_STOP.contains(&id)).then_some(ONE_STOP);
    }
    if REPEATS.contains(&id) && options.stop.signal().is_none() {
        return Some(NO_REPEAT);
    }
    if id == "P8" && options.stop.signal().is_none() {
        return Some(NO_SIGNAL);
    }
    if id == "P4" && options.stop.signal().is_none() {
        return Some(NOBODY_THERE);
    }
    if driven.is_some() && needs_child(id) {
        return Some(NO_CHILD);
    }
    if EXITS.contains(&id) && driven.is_some_and(|driven| driven.alive.is_none()) {
        return Some(NO_EXIT);
    }
    None
}

/// Refuses what contradicts itself, before anything is started.
pub(crate) fn check(options: &Options) -> Result<(), VerifyError> {
    let target = &options.target;
    let because = |why: &str| Err(VerifyError::Options(why.to_owned()));
    let ways = [
        !target.argv.is_empty(),
        target.pid.is_some(),
        target.driven.is_some(),
    ];
    if ways.iter().filter(|way| **way).count() > 1 {
        return because(
            "a command, --pid and --start are three ways to have a service; give one of them",
        );
    }
    if target.pid.is_some() && target.url.is_none() {
        return because(
            "--pid needs --url: where does the process answer?\nhint: lameduck verify --pid 4711 --url http://127.0.0.1:8080/",
        );
    }
    if target.driven.is_some() && options.stop.signal().is_some() {
        return because(
            "--start needs --stop or --stop-url: what was started by a command is no child of ours, and is not signalled\nhint: --start 'docker run -d --name duck -p {port}:8080 IMAGE' --stop 'docker stop duck' --cleanup 'docker rm -f duck'",
        );
    }
    if target.pid.is_some() && target.ready_line.is_some() && target.logs.is_none() {
        return because(
            "--ready-line needs the output of the service, which a running process keeps to itself\nhint: --logs gives a command that prints it, --ready-path another sign of readiness",
        );
    }
    if options.stop == Stop::Command(String::new()) {
        return because("the stop command is empty");
    }
    Ok(())
}

/// Ids that were asked for and can not be reached, with the reason.
pub(super) fn unreached(options: &Options) -> impl Iterator<Item = (&'static str, &'static str)> {
    let asked = catalogue::list().into_iter().map(|entry| entry.id);
    asked.filter_map(|id| Some((id, beyond(options, id)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Driven, TargetSpec};

    #[test]
    fn what_runs_already_is_stopped_once() {
        let mut options = Options::new(TargetSpec::default());
        options.target.pid = Some(4711);
        options.target.url = Some("http://127.0.0.1:80/".to_owned());
        assert!(check(&options).is_ok());
        for (id, reached) in [
            ("H1-02", true),
            ("P1", true),
            ("P2", false),
            ("L-H1", false),
        ] {
            assert_eq!(beyond(&options, id).is_none(), reached, "{id}");
        }
    }

    #[test]
    fn commands_give_no_repeat_and_without_alive_no_exit() {
        let mut options = Options::new(TargetSpec::default());
        options.target.driven = Some(Driven {
            start: "docker run".to_owned(),
            ..Driven::default()
        });
        assert!(check(&options).is_err(), "there is nothing to stop it with");
        options.stop = Stop::Command("docker stop".to_owned());
        assert!(check(&options).is_ok());
        for id in ["P1", "P2", "P3", "P4", "P9", "A4"] {
            assert!(beyond(&options, id).is_some(), "{id}");
        }
        options.target.driven.as_mut().unwrap().alive = Some("true".to_owned());
        assert_eq!(
            (beyond(&options, "P1"), beyond(&options, "P2")),
            (None, None)
        );
        assert!(beyond(&options, "P4").is_some());
        options.target.argv = vec!["x".to_owned()];
        assert!(check(&options).is_err(), "two ways at once");
    }
}
