//! `lameduck plan`: a plan, and manifests whose numbers all come from it.
//!
//! Owns which plan is meant, and the two formats for reading; a file for each platform owns its manifest.

mod kubernetes;
mod systemd;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use lameduck::{Plan, PlanError, Preset};
use serde_json::json;

use crate::{
    args::{PlanArguments, PlanFormat},
    exit::Failure,
};

pub(crate) fn run(arguments: &PlanArguments) -> Result<ExitCode, Failure> {
    if arguments.pre_stop.is_some() && arguments.format != PlanFormat::Kubernetes {
        return Err(
            Failure::new("--pre-stop is about a hook that only Kubernetes has")
                .hint("leave it out, or add --format kubernetes"),
        );
    }
    let (plan, reason) = plan(arguments)?;
    let text = match arguments.format {
        PlanFormat::Text => text(&plan, &reason),
        PlanFormat::Json => json(&plan, &reason),
        PlanFormat::Kubernetes => {
            let pre_stop = arguments.pre_stop.unwrap_or_default();
            kubernetes::manifest(&plan, pre_stop, &arguments.name)
        }
        PlanFormat::Systemd => systemd::unit(&plan, &arguments.name),
    };
    // A reader that went away has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The plan that is meant, and what decided it.
fn plan(arguments: &PlanArguments) -> Result<(Plan, String), Failure> {
    let failed = |error: PlanError| Failure::of(&error);
    let preset = arguments.preset.or(match arguments.format {
        PlanFormat::Text | PlanFormat::Json => None,
        PlanFormat::Kubernetes => Some(Preset::Kubernetes),
        PlanFormat::Systemd => Some(Preset::Systemd),
    });
    let (mut plan, mut reason) = match preset {
        Some(preset @ Preset::Lambda) => return Err(failed(PlanError::NoServer { preset })),
        Some(preset) => (Plan::preset(preset), format!("preset {preset}")),
        None => {
            let detected = Plan::detect().map_err(failed)?;
            for warning in &detected.warnings {
                eprintln!("warning: {warning}");
            }
            (detected.plan, detected.reason)
        }
    };
    if let Some(grace) = arguments.grace {
        plan = plan.with_grace(grace).map_err(failed)?;
        reason.push_str(", --grace");
    }
    if let Some(text) = &arguments.window {
        let window = lameduck::parse_window(text, plan.grace()).ok_or_else(|| {
            Failure::new(format_args!("--window {text} is no window"))
                .hint("give none, the name of a preset, or FLOOR,QUIET,CEILING such as 0.5,0.2,3")
        })?;
        plan = plan.with_window(window).map_err(failed)?;
        reason.push_str(", --window");
    }
    Ok((plan, reason))
}

fn text(plan: &Plan, reason: &str) -> String {
    let window = plan.window();
    let mut text = format!("plan {} ({reason})\n", plan.origin());
    let rows = [
        ("grace", plan.grace(), "from the stop signal to SIGKILL"),
        (
            "window floor",
            window.floor,
            "new connections are served at least so long",
        ),
        (
            "window quiet",
            window.quiet,
            "then the window ends when no request came for so long",
        ),
        ("window ceiling", window.ceiling, "and at the latest here"),
        (
            "drain ends",
            plan.drain_end(),
            "what is still in flight is ended and named",
        ),
        (
            "reserve",
            plan.reserve(),
            "for stop hooks, before the deadline",
        ),
        ("deadline", plan.deadline(), "the process is gone"),
        ("margin", plan.margin(), "between the deadline and SIGKILL"),
    ];
    for (name, time, what) in rows {
        let time = seconds(time);
        let _ = writeln!(text, "  {name:<15} {time:>8}  {what}");
    }
    let _ = writeln!(
        text,
        "  late requests: {}   repeated signals: {}",
        plan.late().as_str(),
        plan.repeat().as_str()
    );
    text
}

fn json(plan: &Plan, reason: &str) -> String {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let window = plan.window();
    let value = json!({
        "schema": "lameduck.plan/1",
        "preset": plan.origin().as_str(),
        "reason": reason,
        "grace_ms": millis(plan.grace()),
        "margin_ms": millis(plan.margin()),
        "reserve_ms": millis(plan.reserve()),
        "drain_end_ms": millis(plan.drain_end()),
        "deadline_ms": millis(plan.deadline()),
        "window": {
            "floor_ms": millis(window.floor),
            "quiet_ms": millis(window.quiet),
            "ceiling_ms": millis(window.ceiling),
        },
        "late": plan.late().as_str(),
        "repeat": plan.repeat().as_str(),
    });
    format!("{value:#}\n")
}

/// `LAMEDUCK_PRESET` and `LAMEDUCK_WINDOW`, where a process would not come to the same plan by itself.
fn variables(plan: &Plan, recognised: Preset) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    let preset = plan.origin();
    if preset != recognised {
        variables.push(("LAMEDUCK_PRESET", preset.to_string()));
    }
    let window = plan.window();
    if window != preset.window_within(plan.grace()) {
        let value = match window {
            lameduck::Window::NONE => "none".to_owned(),
            window => [window.floor, window.quiet, window.ceiling]
                .map(seconds)
                .join(","),
        };
        variables.push(("LAMEDUCK_WINDOW", value));
    }
    variables
}

/// A duration as `lameduck` reads it, and as people do.
fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

/// Whole seconds, rounded up: what manifests take.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
