//! Verifies the command given as arguments and prints the report: the whole library in one screen.
//!
//! `cargo run -p lameduck-verify --example verify-command -- python3 -m http.server '{port}'`; the `lameduck` command
//! has all the options. Environment: `ROUNDS`, `ONLY` (ids, separated by commas), `SIGNAL`, `GRACE` (seconds), `JSON`.

use std::process::ExitCode;
use std::time::Duration;

use lameduck_verify::{FailOn, Options, Progress, StopSignal, Style, TargetSpec, Verification};

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let mut options = Options::new(TargetSpec::command(std::env::args().skip(1)));
    if let Some(rounds) = variable("ROUNDS").and_then(|text| text.parse().ok()) {
        options.rounds = rounds;
    }
    if let Some(seconds) = variable("GRACE").and_then(|text| text.parse().ok()) {
        options.grace = Duration::from_secs(seconds);
    }
    if let Some(signal) = variable("SIGNAL").and_then(|text| text.parse::<StopSignal>().ok()) {
        options.stop = signal.into();
    }
    options.only = variable("ONLY")
        .map(|ids| ids.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    options.target.slow_path = variable("SLOW_PATH");
    options.target.large_path = variable("LARGE_PATH");
    let verification = Verification::from(options).progress(|progress| {
        if let Progress::Scenario { name, done, total } = progress {
            eprintln!("[{done}/{total}] {name}");
        }
    });
    match verification.run() {
        Ok(report) if variable("JSON").is_some() => {
            println!("{}", report.to_json());
            ExitCode::from(report.exit_code(FailOn::Loss))
        }
        Ok(report) => {
            print!("{}", report.render_text(Style::plain()));
            ExitCode::from(report.exit_code(FailOn::Loss))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
