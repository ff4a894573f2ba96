//! `lameduck verify`: from arguments to a target, from a report to an exit code.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use lameduck_verify::{
    Colour, FailOn, GrpcCall, Options, Progress, Report, Style, TargetSpec, Verdict, VerifyError,
};

use crate::{
    args::{FailOnArgument, Format, VerifyArguments},
    exit::Failure,
};

/// The grace period of the embedded demo, which is started with it.
const DEMO_GRACE: Duration = Duration::from_secs(4);

/// Runs the checks; the exit code is the contract's.
pub(crate) fn run(arguments: VerifyArguments) -> Result<ExitCode, Failure> {
    if arguments.list {
        return list();
    }
    let fail_on = match arguments.fail_on {
        FailOnArgument::Loss => FailOn::Loss,
        FailOnArgument::Any => FailOn::Any,
    };
    let format = arguments.format;
    let output = arguments.output.clone();
    let options = options(arguments)?;
    let report = measure(&options)?;
    let text = match format {
        Format::Json => format!("{}\n", report.to_json()),
        Format::Text => report.render_text(style(fail_on, output.is_some())),
    };
    match output {
        Some(path) => {
            fs::write(&path, text).map_err(|error| {
                Failure::new(format_args!("cannot write {}: {error}", path.display()))
            })?;
            say(&format!(
                "{} written to {}\n",
                verdict(&report),
                path.display()
            ));
        }
        None => say(&text),
    }
    Ok(ExitCode::from(report.exit_code(fail_on)))
}

/// A reader that went away, such as `head`, has seen enough.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

const fn verdict(report: &Report) -> &'static str {
    match report.verdict {
        Verdict::Pass => "verdict pass,",
        Verdict::Fail => "verdict fail,",
        _ => "verdict inconclusive,",
    }
}

fn options(arguments: VerifyArguments) -> Result<Options, Failure> {
    let embedded = arguments.command.is_empty();
    let target = if embedded {
        demo()?
    } else {
        TargetSpec::command(arguments.command)
    };
    let mut options = Options::new(target);
    if embedded {
        options.grace = DEMO_GRACE;
        if arguments.url.is_some() {
            return Err(
                Failure::new("--url needs a command to start the service with")
                    .hint("lameduck verify --url http://127.0.0.1:{port}/path -- CMD"),
            );
        }
    }
    let target = &mut options.target;
    let overrides = [
        (&mut target.url, arguments.url),
        (&mut target.tls_url, arguments.tls_url),
        (&mut target.ready_path, arguments.ready_path),
        (&mut target.slow_path, arguments.slow_path),
        (&mut target.large_path, arguments.large_path),
        (&mut target.post_path, arguments.post_path),
        (&mut target.upload_path, arguments.upload_path),
        (&mut target.stream_path, arguments.stream_path),
        (&mut target.sse_path, arguments.sse_path),
        (&mut target.ws_path, arguments.ws_path),
    ];
    for (field, value) in overrides {
        if value.is_some() {
            *field = value;
        }
    }
    if let Some(copies) = arguments.copies {
        target.copies = usize::from(copies);
    }
    if let Some(path) = arguments.grpc_path {
        target.grpc = Some(GrpcCall {
            path,
            message: arguments
                .grpc_message
                .map_or_else(Vec::new, |message| message.0),
            slow_message: arguments.grpc_slow_message.map(|message| message.0),
        });
    }
    if let Some(grace) = arguments.grace {
        options.grace = grace;
    }
    options.signal = arguments.signal;
    options.only = arguments.only;
    options.skip = arguments.skip;
    options.protocols = arguments.protocol;
    options.seed = arguments.seed;
    options.rounds = arguments.rounds;
    Ok(options)
}

/// This very program, as a child.
fn demo() -> Result<TargetSpec, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format_args!("cannot find this program: {error}")))?;
    let program = program.into_os_string().into_string();
    program.map(TargetSpec::embedded_demo).map_err(|path| {
        Failure::new(format_args!(
            "the path of this program is not UTF-8: {}",
            path.display()
        ))
    })
}

fn measure(options: &Options) -> Result<Report, Failure> {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} launches  {msg}  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    // indicatif draws on stderr, and only where that is a terminal; scripts get lines instead.
    let lines = !io::stderr().is_terminal();
    let mut scenario = "";
    let report = lameduck_verify::verify(options, &mut |progress| match progress {
        Progress::Scenario { name, done, total } => {
            scenario = name;
            bar.set_length(u64::from(total));
            bar.set_position(u64::from(done));
            bar.set_message(name);
            if lines {
                eprintln!("verify: {done}/{total} {name}");
            }
        }
        Progress::Launch { done, total, lost } => {
            bar.set_length(u64::from(total));
            bar.set_position(u64::from(done));
            if lost > 0 {
                bar.set_message(format!("{scenario}, {lost} lost so far"));
            }
        }
        _ => {}
    });
    bar.finish_and_clear();
    report.map_err(|error| {
        let failure = Failure::of(&error);
        let advised = error.to_string().contains("hint:");
        if advised || !matches!(error, VerifyError::Launch(_)) {
            return failure;
        }
        failure.hint("run the command by hand; its port is in the variable PORT and replaces {port}, --url and --ready-path say where it answers")
    })
}

fn style(fail_on: FailOn, to_file: bool) -> Style {
    let mut style = Style::plain();
    style.fail_on = fail_on;
    if !to_file && io::stdout().is_terminal() {
        if std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
            style.color = Colour::Ansi;
        }
        if let Some((_, columns)) = console_size() {
            style.width = usize::from(columns).clamp(60, 160);
        }
    }
    style
}

/// Rows and columns of the terminal on stdout.
fn console_size() -> Option<(u16, u16)> {
    console::Term::stdout().size_checked()
}

fn list() -> Result<ExitCode, Failure> {
    let mut text = format!(
        "{:<7} {:<8} {:<44} {}\n",
        "id", "class", "what a client is owed", "cost"
    );
    for check in lameduck_verify::list() {
        let class = format!("{:?}", check.class).to_lowercase();
        text.push_str(&format!(
            "{:<7} {class:<8} {:<44} {}\n",
            check.id, check.short, check.cost
        ));
    }
    say(&text);
    Ok(ExitCode::SUCCESS)
}
