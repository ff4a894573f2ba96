//! `lameduck plan`, as typed.

use std::time::Duration;

use clap::{Args, ValueEnum};

/// Print a shutdown plan, and the manifest whose numbers all come from it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lameduck plan                                       what would be followed here, and why\n  lameduck plan --format kubernetes                   a Deployment: grace period, probes, variables\n  lameduck plan --format kubernetes --preset aws-alb  the same behind an application load balancer\n  lameduck plan --format systemd --grace 60s          a unit: TimeoutStopSec, Type, WatchdogSec\n\nWithout --preset: what the platform is recognised as; for a manifest, the platform that the manifest is for."
)]
pub(crate) struct PlanArguments {
    /// What is printed
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub(crate) format: PlanFormat,
    /// The platform whose numbers the plan begins with: kubernetes, aws-alb, systemd, … (a wrong word names all)
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<lameduck::Preset>,
    /// From the stop signal to SIGKILL, such as 25s
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    pub(crate) grace: Option<Duration>,
    /// The lame-duck window: none, the name of a preset, or FLOOR,QUIET,CEILING
    #[arg(long, value_name = "WINDOW")]
    pub(crate) window: Option<String>,
    /// How long a preStop hook sleeps before the signal comes (Kubernetes takes it from the same period); for --format kubernetes
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    pub(crate) pre_stop: Option<Duration>,
    /// The service's name in a manifest
    #[arg(long, value_name = "NAME", default_value = "service", value_parser = name)]
    pub(crate) name: String,
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people at a terminal.
    Text,
    /// For programs.
    Json,
    /// A Deployment.
    Kubernetes,
    /// A unit of systemd.
    Systemd,
}

/// A DNS label (RFC 1123 §2.1), as Kubernetes wants names to be: nothing that could be anything else in a manifest.
fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let inside = !text.starts_with('-') && !text.ends_with('-');
    if (1..=63).contains(&text.len()) && text.chars().all(plain) && inside {
        Ok(text.to_owned())
    } else {
        Err("not up to 63 lower-case letters, digits and dashes between them".to_owned())
    }
}
