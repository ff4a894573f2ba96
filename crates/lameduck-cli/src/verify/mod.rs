//! `lameduck verify`: from arguments to a target, from a report to an exit code.

mod init;
mod options;
mod progress;
mod show;

use std::process::ExitCode;

use lameduck_verify::FailOn;

use crate::{
    args::{FailOnArgument, VerifyArguments},
    exit::Failure,
};

/// Runs the checks; the exit code is the contract's.
pub(crate) fn run(arguments: VerifyArguments) -> Result<ExitCode, Failure> {
    if arguments.list {
        return show::list();
    }
    if arguments.front.list_fronts {
        return show::fronts();
    }
    let wanted = arguments.output.clone();
    if arguments.profile.init {
        let replace = init::Existing::of(arguments.profile.force);
        return init::init(
            &options::options(arguments)?,
            wanted.output.as_deref(),
            replace,
        );
    }
    let fail_on = match wanted.fail_on {
        FailOnArgument::Loss => FailOn::Loss,
        FailOnArgument::Any => FailOn::Any,
    };
    let options = options::options(arguments)?;
    let report = progress::measure(&options)?;
    show::show(&report, &wanted, fail_on)?;
    Ok(ExitCode::from(report.exit_code(fail_on)))
}
