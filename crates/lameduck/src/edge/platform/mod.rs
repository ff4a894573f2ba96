//! The platform edge: which plan this process is to follow, from its environment.
//!
//! Owns the reading of variables and the table of what betrays a platform. Does not own the presets' numbers
//! ([`Preset`](crate::Preset)) nor what is done with a plan. Precedence: flag > variable > preset.

mod text;

use std::{
    env, fmt, fs,
    io::{self, Read as _},
    path::PathBuf,
    time::Duration,
};

pub use text::{parse_duration, parse_window};

use crate::{
    sys,
    vocab::{Plan, PlanError, Preset, Repeat},
};

/// A plan, and how it was come by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detected {
    /// The plan.
    pub plan: Plan,
    /// What decided it, as a sentence without a full stop.
    pub reason: String,
    /// What should be looked at, such as a variable with an unknown name.
    pub warnings: Vec<String>,
    /// Where `LAMEDUCK_REPORT` wants the report, besides stderr.
    pub report: Option<PathBuf>,
    /// Where `LAMEDUCK_AUDIT` wants the audit, as [`Audit`](crate::Audit) reads it.
    pub audit: Option<String>,
    /// Where `LAMEDUCK_HISTORY` wants what participants needed to be remembered, as [`History::file`](crate::History::file) takes it.
    pub history: Option<PathBuf>,
    /// Where `LAMEDUCK_PROBES_LISTEN` wants the probes.
    pub probes_listen: Option<String>,
    /// Where `LAMEDUCK_ADMIN_LISTEN` wants the admin listener.
    pub admin_listen: Option<String>,
    /// Where `LAMEDUCK_ADMIN_TOKEN_FILE` has the token of whoever may act on the admin listener.
    pub admin_token_file: Option<PathBuf>,
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plan {} ({})", self.plan, self.reason)
    }
}

/// No duration is longer than this, in bytes.
const GRACE_FILE_MAX: u64 = 64;

/// The variables that lameduck reads, for `--help` and for the warning about others.
pub const VARIABLES: [&str; 12] = [
    "LAMEDUCK_GRACE",
    "LAMEDUCK_GRACE_FILE",
    "LAMEDUCK_PRESET",
    "LAMEDUCK_WINDOW",
    "LAMEDUCK_REPEAT",
    "LAMEDUCK_REPORT",
    "LAMEDUCK_AUDIT",
    "LAMEDUCK_HISTORY",
    "LAMEDUCK_PROBES_LISTEN",
    "LAMEDUCK_ADMIN_LISTEN",
    "LAMEDUCK_ADMIN_TOKEN_FILE",
    "LAMEDUCK_CONTROL",
];

impl Plan {
    /// The plan for where this process runs: a preset by what the environment betrays, changed by `LAMEDUCK_*` variables.
    ///
    /// # Errors
    /// [`PlanError`] if a variable cannot be read, if the numbers contradict each other, or on a platform without
    /// long-lived servers.
    pub fn detect() -> Result<Detected, PlanError> {
        detect(
            &|name| env::var(name).ok(),
            sys::is_pid1(),
            env::vars_os().filter_map(|(name, _)| name.into_string().ok()),
        )
    }
}

/// What betrays a platform, most telling first: a variable, and one that must be absent or present beside it.
fn recognise(var: &dyn Fn(&str) -> Option<String>, pid1: bool) -> (Preset, String) {
    let has = |name: &str| var(name).is_some();
    let kubernetes = has("KUBERNETES_SERVICE_HOST");
    let table = [
        (
            has("AWS_LAMBDA_RUNTIME_API"),
            Preset::Lambda,
            "AWS_LAMBDA_RUNTIME_API",
        ),
        (
            has("K_SERVICE") && kubernetes,
            Preset::Knative,
            "K_SERVICE and KUBERNETES_SERVICE_HOST",
        ),
        (has("K_SERVICE"), Preset::CloudRun, "K_SERVICE"),
        (kubernetes, Preset::Kubernetes, "KUBERNETES_SERVICE_HOST"),
        (
            has("ECS_CONTAINER_METADATA_URI_V4"),
            Preset::Ecs,
            "ECS_CONTAINER_METADATA_URI_V4",
        ),
        (has("FLY_MACHINE_ID"), Preset::Fly, "FLY_MACHINE_ID"),
        (has("NOMAD_ALLOC_ID"), Preset::Nomad, "NOMAD_ALLOC_ID"),
        (has("DYNO"), Preset::Heroku, "DYNO"),
        (has("RENDER"), Preset::Render, "RENDER"),
        (has("INVOCATION_ID"), Preset::Systemd, "INVOCATION_ID"),
    ];
    match table.into_iter().find(|(found, ..)| *found) {
        Some((_, preset, by)) => (preset, format!("{by} is set")),
        None if pid1 => (
            Preset::Docker,
            "PID 1 and no orchestrator's variable".to_owned(),
        ),
        None => (Preset::Local, "no platform was recognised".to_owned()),
    }
}

fn detect(
    var: &dyn Fn(&str) -> Option<String>,
    pid1: bool,
    names: impl Iterator<Item = String>,
) -> Result<Detected, PlanError> {
    let (mut preset, mut reason) = recognise(var, pid1);
    if let Some(name) = var("LAMEDUCK_PRESET") {
        preset = name
            .parse()
            .map_err(|_| unreadable("LAMEDUCK_PRESET", &name, "the name of a preset"))?;
        "LAMEDUCK_PRESET is set".clone_into(&mut reason);
    }
    if preset == Preset::Lambda {
        return Err(PlanError::NoServer { preset });
    }
    let mut plan = Plan::preset(preset);
    if let Some(value) = var("LAMEDUCK_GRACE") {
        let takes = "a duration such as 25s, 1500ms or 2m";
        let grace =
            parse_duration(&value).ok_or_else(|| unreadable("LAMEDUCK_GRACE", &value, takes))?;
        plan = plan.with_grace(grace)?;
        reason.push_str(", LAMEDUCK_GRACE is set");
    } else if let Some(path) = var("LAMEDUCK_GRACE_FILE") {
        plan = plan.with_grace(grace_in(&path)?)?;
        reason.push_str(", LAMEDUCK_GRACE_FILE is set");
    }
    if let Some(value) = var("LAMEDUCK_WINDOW") {
        let takes = "none, the name of a preset, or FLOOR,QUIET,CEILING";
        let window = parse_window(&value, plan.grace())
            .ok_or_else(|| unreadable("LAMEDUCK_WINDOW", &value, takes))?;
        plan = plan.with_window(window)?;
        reason.push_str(", LAMEDUCK_WINDOW is set");
    }
    if let Some(value) = var("LAMEDUCK_REPEAT") {
        plan = plan.with_repeat(match value.as_str() {
            "record" => Repeat::Record,
            "escalate" => Repeat::Escalate,
            _ => return Err(unreadable("LAMEDUCK_REPEAT", &value, "record or escalate")),
        });
    }
    let mut warnings: Vec<String> = names
        .filter(|name| name.starts_with("LAMEDUCK_") && !VARIABLES.contains(&name.as_str()))
        .map(|name| {
            format!(
                "{name} is not a variable of lameduck; it knows {}",
                VARIABLES.join(", ")
            )
        })
        .collect();
    warnings.sort();
    Ok(Detected {
        plan,
        reason,
        warnings,
        report: var("LAMEDUCK_REPORT").map(PathBuf::from),
        audit: var("LAMEDUCK_AUDIT").filter(|place| !place.is_empty()),
        history: var("LAMEDUCK_HISTORY")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        probes_listen: var("LAMEDUCK_PROBES_LISTEN"),
        admin_listen: var("LAMEDUCK_ADMIN_LISTEN"),
        admin_token_file: var("LAMEDUCK_ADMIN_TOKEN_FILE").map(PathBuf::from),
    })
}

/// The grace in a file: of a volume of Kubernetes' downward API, where an annotation stands as the file's only line. Read once, at the start.
fn grace_in(path: &str) -> Result<Duration, PlanError> {
    let mut said = String::new();
    // Nothing but a file: a pipe could make the start wait for ever.
    let read = fs::metadata(path)
        .and_then(|is| {
            is.is_file()
                .then_some(())
                .ok_or(io::ErrorKind::InvalidInput.into())
        })
        .and_then(|()| fs::File::open(path))
        .and_then(|file| file.take(GRACE_FILE_MAX).read_to_string(&mut said));
    let failed = || {
        let takes = "the path of a file with a duration such as 25s, 1500ms or 2m";
        unreadable("LAMEDUCK_GRACE_FILE", path, takes)
    };
    read.map_err(|_| failed())?;
    parse_duration(said.trim()).ok_or_else(failed)
}

fn unreadable(name: &'static str, value: &str, takes: &'static str) -> PlanError {
    PlanError::Unreadable {
        name,
        value: value.to_owned(),
        takes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)], pid1: bool) -> Result<Detected, PlanError> {
        let var = |name: &str| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        detect(&var, pid1, vars.iter().map(|(key, _)| (*key).to_owned()))
    }

    #[test]
    fn each_platform_is_recognised() {
        let rows: [(&[(&str, &str)], Preset); 9] = [
            (&[], Preset::Local),
            (
                &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")],
                Preset::Kubernetes,
            ),
            (
                &[("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("K_SERVICE", "a")],
                Preset::Knative,
            ),
            (&[("K_SERVICE", "a")], Preset::CloudRun),
            (
                &[("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2")],
                Preset::Ecs,
            ),
            (&[("FLY_MACHINE_ID", "1")], Preset::Fly),
            (&[("NOMAD_ALLOC_ID", "1")], Preset::Nomad),
            (&[("DYNO", "web.1")], Preset::Heroku),
            (
                &[("INVOCATION_ID", "1"), ("RENDER", "true")],
                Preset::Render,
            ),
        ];
        for (vars, preset) in rows {
            assert_eq!(
                with(vars, false).expect("a plan").plan.origin(),
                preset,
                "{vars:?}"
            );
        }
        assert_eq!(
            with(&[], true).expect("a plan").plan.origin(),
            Preset::Docker
        );
        assert!(matches!(
            with(&[("AWS_LAMBDA_RUNTIME_API", "x")], false),
            Err(PlanError::NoServer {
                preset: Preset::Lambda
            })
        ));
    }

    #[test]
    fn variables_change_the_preset() {
        let detected = with(
            &[
                ("LAMEDUCK_GRACE", "20"),
                ("LAMEDUCK_WINDOW", "1,0.5,3s"),
                ("LAMEDUCK_REPEAT", "record"),
                ("LAMEDUCK_GRASE", "1"),
            ],
            false,
        )
        .expect("a plan");
        assert_eq!(detected.plan.grace(), Duration::from_secs(20));
        assert_eq!(detected.plan.window().quiet, Duration::from_millis(500));
        assert_eq!(detected.plan.repeat(), Repeat::Record);
        assert!(
            detected.warnings[0].starts_with("LAMEDUCK_GRASE"),
            "{:?}",
            detected.warnings
        );
    }

    #[test]
    fn a_file_of_the_downward_api_says_the_grace_unless_the_variable_does() {
        let path = env::temp_dir().join(format!("lameduck-grace-{}", std::process::id()));
        let path = path.to_str().expect("text").to_owned();
        fs::write(&path, "40s\n").expect("written");
        let file = ("LAMEDUCK_GRACE_FILE", path.as_str());
        let grace = |vars: &[(&str, &str)]| with(vars, false).map(|found| found.plan.grace());
        assert_eq!(grace(&[file]), Ok(Duration::from_secs(40)));
        assert_eq!(
            grace(&[file, ("LAMEDUCK_GRACE", "20s")]),
            Ok(Duration::from_secs(20))
        );
        fs::write(&path, "soon").expect("written");
        grace(&[file]).expect_err("no duration");
        fs::remove_file(&path).expect("there");
        let error = grace(&[file]).expect_err("no file");
        assert!(error.to_string().contains("LAMEDUCK_GRACE_FILE"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_says_what_can() {
        let error = with(&[("LAMEDUCK_GRACE", "soon")], false).expect_err("not a duration");
        assert_eq!(
            error.to_string(),
            "LAMEDUCK_GRACE=\"soon\" is not a duration such as 25s, 1500ms or 2m"
        );
        assert!(with(&[("LAMEDUCK_WINDOW", "5,1,2")], false).is_err());
    }
}
