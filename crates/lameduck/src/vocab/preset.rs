//! What each platform gives between the stop signal and SIGKILL, and what to do with it.

use core::{fmt, str::FromStr, time::Duration};

use super::{Repeat, Window};

/// A platform's numbers: grace period and window.
///
/// Each grace period is what the platform gives by default (its documentation is named at the variant), less what its preStop customs take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// No platform was recognised: 10 s, quiet 0.1 s, ceiling 1 s.
    Local,
    /// `docker stop`: 10 s (docker-stop reference, `--time`).
    Docker,
    /// A systemd unit: `TimeoutStopSec` is 90 s by default (systemd.service(5)); 30 s are used.
    Systemd,
    /// A Kubernetes pod: `terminationGracePeriodSeconds` is 30 s by default and includes preStop; 25 s are used.
    Kubernetes,
    /// AWS application load balancer with ip targets: 60 s, set the pod's period to 65 s.
    AwsAlb,
    /// AWS network load balancer with ip targets: 180 s.
    AwsNlb,
    /// Google container-native load balancing: 75 s, set the pod's period to 80 s.
    GcpNeg,
    /// Amazon ECS: `stopTimeout` is 30 s by default, on Fargate at most 120 s.
    Ecs,
    /// Cloud Run: 10 s.
    CloudRun,
    /// Knative: the queue-proxy drains first; 25 s.
    Knative,
    /// Fly machines: SIGINT, 5 s by default.
    Fly,
    /// Nomad: SIGINT, `kill_timeout` is 5 s by default.
    Nomad,
    /// Heroku: 30 s, to all processes, repeated.
    Heroku,
    /// Render: 30 s.
    Render,
    /// AWS Lambda: no long-lived server; refused.
    Lambda,
}

/// Name, grace, floor, quiet, ceiling: the durations in milliseconds.
struct Row(Preset, &'static str, u64, u64, u64, u64);

const ROWS: [Row; 15] = [
    Row(Preset::Local, "local", 10_000, 0, 100, 1_000),
    Row(Preset::Docker, "docker", 10_000, 0, 200, 2_000),
    Row(Preset::Systemd, "systemd", 30_000, 0, 500, 5_000),
    Row(
        Preset::Kubernetes,
        "kubernetes",
        25_000,
        5_000,
        2_000,
        12_000,
    ),
    Row(Preset::AwsAlb, "aws-alb", 60_000, 15_000, 5_000, 30_000),
    Row(Preset::AwsNlb, "aws-nlb", 180_000, 120_000, 5_000, 150_000),
    Row(Preset::GcpNeg, "gcp-neg", 75_000, 15_000, 5_000, 40_000),
    Row(Preset::Ecs, "ecs", 30_000, 2_000, 1_000, 8_000),
    Row(Preset::CloudRun, "cloud-run", 10_000, 0, 200, 1_000),
    Row(Preset::Knative, "knative", 25_000, 0, 200, 1_000),
    Row(Preset::Fly, "fly", 5_000, 500, 300, 1_500),
    Row(Preset::Nomad, "nomad", 5_000, 500, 300, 1_500),
    Row(Preset::Heroku, "heroku", 30_000, 3_000, 1_000, 10_000),
    Row(Preset::Render, "render", 30_000, 3_000, 1_000, 10_000),
    Row(Preset::Lambda, "lambda", 0, 0, 0, 0),
];

impl Preset {
    /// Every preset, as listed in the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.0)
    }

    fn row(self) -> &'static Row {
        ROWS.iter()
            .find(|row| row.0 == self)
            .expect("every preset has a row")
    }

    /// The name used in `LAMEDUCK_PRESET` and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// From the stop signal to SIGKILL.
    #[must_use]
    pub fn grace(self) -> Duration {
        Duration::from_millis(self.row().2)
    }

    /// The window at the preset's own grace period.
    #[must_use]
    pub fn window(self) -> Window {
        let row = self.row();
        Window::new(
            Duration::from_millis(row.3),
            Duration::from_millis(row.4),
            Duration::from_millis(row.5),
        )
    }

    /// The window scaled to a grace period: where that is smaller than the preset's, floor ≤ 20 % and ceiling ≤ 45 % of it, and
    /// both end before the drain does.
    #[must_use]
    pub fn window_within(self, grace: Duration) -> Window {
        let window = self.window();
        if grace >= self.grace() {
            return window;
        }
        window.within(grace)
    }

    /// Escalate at a developer's terminal, record everywhere else.
    #[must_use]
    pub const fn repeat(self) -> Repeat {
        match self {
            Self::Local => Repeat::Escalate,
            _ => Repeat::Record,
        }
    }

    /// Whether readiness stays true until admission closes: on Kubernetes deletion has already cleared the endpoint's `ready`,
    /// and flipping it removes the last endpoint of kube-proxy's `serving && terminating` fallback.
    #[must_use]
    pub const fn keeps_ready_until_close(self) -> bool {
        matches!(
            self,
            Self::Kubernetes | Self::AwsAlb | Self::AwsNlb | Self::GcpNeg | Self::Knative
        )
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Preset {
    type Err = super::PlanError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        ROWS.iter().find(|row| row.1 == name).map(|row| row.0).ok_or_else(|| super::PlanError::Unreadable {
            name: "preset",
            value: name.to_owned(),
            takes: "a preset: local, docker, systemd, kubernetes, aws-alb, aws-nlb, gcp-neg, ecs, cloud-run, knative, fly, nomad, heroku, render",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::Plan;

    #[test]
    fn every_preset_makes_a_plan_that_can_be_kept() {
        for preset in Preset::all().filter(|preset| *preset != Preset::Lambda) {
            let plan = Plan::preset(preset);
            assert!(plan.clone().with_window(plan.window()).is_ok(), "{preset}");
            assert!(plan.window().ceiling < plan.drain_end(), "{preset}");
            assert_eq!(preset.as_str().parse(), Ok(preset));
        }
    }

    #[test]
    fn a_smaller_grace_scales_the_window() {
        let plan = Plan::preset(Preset::Kubernetes)
            .with_grace(Duration::from_secs(10))
            .expect("10 s is enough");
        assert_eq!(plan.window().floor, Duration::from_secs(2));
        assert_eq!(plan.window().ceiling, Duration::from_millis(4_500));
    }

    #[test]
    fn every_grace_from_the_least_on_makes_a_plan() {
        for preset in Preset::all().filter(|preset| *preset != Preset::Lambda) {
            for millis in (1_600..200_000).step_by(97) {
                let grace = Duration::from_millis(millis);
                let plan = Plan::preset(preset).with_grace(grace);
                assert!(plan.is_ok(), "{preset} with {grace:?}: {plan:?}");
            }
        }
    }
}
