//! `lameduck slots`: the host of a group on one machine.

use std::{
    io::Write as _,
    process::{ExitCode, Termination as _},
};

use lameduck::{
    Plan, Start, Window,
    group::{Rules, SlotHost},
};

use crate::{args::SlotsArguments, exit::Failure};

/// Runs until it is told to stop; the exit code is the outcome's.
pub(crate) fn run(arguments: SlotsArguments) -> Result<ExitCode, Failure> {
    // It has no clients that a window would be for.
    let plan = Plan::detect().map(|detected| detected.plan);
    let plan = plan.and_then(|plan| plan.with_window(Window::NONE));
    let plan = plan.map_err(|error| Failure::of(&error))?;
    let outcome = lameduck::run(Start::from(plan), async move |life| {
        let mut rules = Rules::new(arguments.max_unavailable);
        if arguments.per_zone {
            rules = rules.per_zone();
        }
        if let Some(members) = arguments.expected {
            rules = rules.expecting(members);
        }
        let host = SlotHost::bind(&arguments.socket, rules)?.settling(arguments.settling);
        life.worker("slots", async move |stop| {
            tokio::select! {
                () = host.serve() => {}
                () = stop.closing() => {}
            }
        })?;
        let line = format!(
            "lameduck slots at {}: {rules} may be unavailable\n",
            arguments.socket.display()
        );
        // Whoever started us without reading our stdout does not need the line.
        let _ = std::io::stdout().write_all(line.as_bytes());
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    });
    Ok(outcome.report())
}
