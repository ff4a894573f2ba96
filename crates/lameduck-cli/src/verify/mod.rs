//! `lameduck verify`: from arguments to a target, from a report to an exit code.

mod init;
mod interrupted;
mod options;
mod progress;
mod show;

use std::process::ExitCode;

use lameduck_verify::FailOn;

use crate::{
    args::VerifyArguments,
    exit::Failure,
    report::{self, Export, Others},
};

/// Runs the checks; the exit code is the contract's, or with a baseline that of the comparison.
pub(crate) fn run(arguments: VerifyArguments) -> Result<ExitCode, Failure> {
    if arguments.list {
        return show::list();
    }
    if arguments.front.list_fronts {
        return show::fronts();
    }
    interrupted::clean_up().map_err(|error| {
        Failure::new(format_args!(
            "cannot prepare for being interrupted: {error}"
        ))
    })?;
    let ended = test(arguments);
    interrupted::die_first();
    ended
}

fn test(arguments: VerifyArguments) -> Result<ExitCode, Failure> {
    let wanted = arguments.output.clone();
    if arguments.profile.init {
        let replace = init::Existing::of(arguments.profile.force);
        return init::init(
            &options::options(arguments)?,
            wanted.output.as_deref(),
            replace,
        );
    }
    let fail_on = FailOn::from(wanted.fail_on);
    let others = Others::read(&wanted, &[])?;
    let export = Export::to(wanted.otlp.as_deref())?;
    let mut measured = if arguments.front.until.is_some() {
        let rollout = options::rollout(arguments)?;
        progress::watch(|progress| lameduck_verify::rollout(&rollout, progress))?
    } else {
        let options = options::options(arguments)?;
        progress::measure(&options)?
    };
    interrupted::die_first();
    others.hold_against(&mut measured, fail_on);
    report::write(&measured, &wanted, fail_on)?;
    export.send(&measured);
    Ok(ExitCode::from(measured.final_exit_code(fail_on)))
}
