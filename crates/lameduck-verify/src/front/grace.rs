//! Owns the arithmetic of time: the grace period, what a preStop sleep and the service itself take of it, and whether
//! the same exit would have been in time on each platform.
//! Not: seeing exits (see `scenario`).

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Front;

/// A platform: from when it wants a process gone until SIGKILL.
struct Platform {
    name: &'static str,
    grace: Duration,
    /// A preStop sleep is part of it.
    counts_pre_stop: bool,
    note: &'static str,
}

const fn platform(name: &'static str, seconds: u64, note: &'static str) -> Platform {
    Platform {
        name,
        grace: Duration::from_secs(seconds),
        counts_pre_stop: false,
        note,
    }
}

/// What each platform gives unless it is told otherwise, shortest first.
const PLATFORMS: [Platform; 9] = [
    platform(
        "fly",
        5,
        "SIGINT, then kill_timeout: 5 s by default, 5 min at most",
    ),
    platform(
        "nomad",
        5,
        "SIGINT (SIGTERM for Docker tasks), then kill_timeout: 5 s by default",
    ),
    platform("docker", 10, "docker stop --time: 10 s by default"),
    platform("cloud-run", 10, "10 s, fixed"),
    platform(
        "ecs",
        30,
        "stopTimeout: 30 s by default, 120 s at most on Fargate",
    ),
    platform(
        "heroku",
        30,
        "30 s, fixed; the signal goes to all processes",
    ),
    platform("render", 30, "30 s by default"),
    Platform {
        name: "kubernetes",
        grace: Duration::from_secs(30),
        counts_pre_stop: true,
        note: "terminationGracePeriodSeconds: 30 s by default, the preStop hook included",
    },
    platform("systemd", 90, "TimeoutStopSec: 90 s by default"),
];

/// The arithmetic of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GraceReport {
    /// From the deregistration to SIGKILL, as it was declared.
    pub grace_ms: f64,
    /// What a preStop sleep takes of it.
    pub pre_stop_ms: f64,
    /// What is left from the signal to SIGKILL.
    pub signal_to_kill_ms: f64,
    /// For how long from the deregistration on the declared front sends new connections.
    pub propagation_ms: f64,
    /// For how long from the signal on it still does.
    pub exposed_ms: f64,
    /// The longest request that ended after the signal, from its beginning to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_request_ms: Option<f64>,
    /// How long exits took, by what was in flight.
    pub exits: Vec<ExitSeen>,
    /// The longest exit by which nothing was forced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_after_ms: Option<f64>,
    /// What that leaves of the declared grace period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom_ms: Option<f64>,
    /// Whether the same exit would have been in time elsewhere.
    pub platforms: Vec<PlatformFit>,
    /// All this in one sentence; empty where no exit was seen.
    pub summary: String,
}

/// How long one exit took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExitSeen {
    /// What was in flight.
    pub with: Cow<'static, str>,
    /// From the signal; none where the process was killed when the grace period was over.
    pub after_ms: Option<f64>,
    /// Something was made never to end: the service had to force its exit.
    pub forced: bool,
}

/// A platform's grace period against the exit seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlatformFit {
    /// The platform.
    pub platform: Cow<'static, str>,
    /// What it gives by default.
    pub grace_ms: f64,
    /// What is left of that after the exit; negative where the process would have been killed before.
    /// None where this run killed the process earlier than the platform would have.
    pub left_ms: Option<f64>,
    /// The process would have been killed there.
    pub killed: Option<bool>,
    /// How the platform counts.
    pub note: Cow<'static, str>,
}

/// What a run saw of exits and requests.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    pub(crate) seen: Vec<ExitSeen>,
    pub(crate) longest_request: Option<Duration>,
}

impl Exits {
    /// Notes one exit; `took` is none where the process had to be killed.
    pub(crate) fn note(&mut self, with: &'static str, took: Option<Duration>) {
        self.seen.push(ExitSeen {
            with: with.into(),
            after_ms: took.map(millis),
            forced: false,
        });
    }

    /// Notes one that the service had to force, from a figure in milliseconds.
    pub(crate) fn note_forced(&mut self, with: &'static str, after_ms: Option<f64>) {
        self.seen.push(ExitSeen {
            with: with.into(),
            after_ms,
            forced: true,
        });
    }

    /// Reckons; `grace` is from the signal to SIGKILL, without the sleep before.
    pub(crate) fn reckon(self, grace: Duration, pre_stop: Duration, front: Front) -> GraceReport {
        let natural = || self.seen.iter().filter(|exit| !exit.forced);
        let was_killed = natural().any(|exit| exit.after_ms.is_none());
        let longest = natural().filter_map(|exit| exit.after_ms).reduce(f64::max);
        let exit = longest.filter(|_| !was_killed);
        let platforms: Vec<_> = if was_killed || exit.is_some() {
            let fit = |platform| fit(platform, exit, grace, pre_stop);
            PLATFORMS.iter().map(fit).collect()
        } else {
            Vec::new()
        };
        let mut report = GraceReport {
            grace_ms: millis(grace + pre_stop),
            pre_stop_ms: millis(pre_stop),
            signal_to_kill_ms: millis(grace),
            propagation_ms: millis(front.propagation()),
            exposed_ms: millis(front.propagation().saturating_sub(pre_stop)),
            longest_request_ms: self.longest_request.map(millis),
            exit_after_ms: exit,
            headroom_ms: exit.map(|exit| millis(grace) - exit),
            exits: self.seen,
            platforms,
            summary: String::new(),
        };
        report.summary = report.in_words();
        report
    }
}

fn fit(platform: &Platform, exit: Option<f64>, grace: Duration, pre_stop: Duration) -> PlatformFit {
    let sleep = if platform.counts_pre_stop {
        pre_stop
    } else {
        Duration::ZERO
    };
    let left = millis(platform.grace) - millis(sleep);
    let (left_ms, killed) = match exit {
        Some(exit) => (Some(left - exit), Some(left < exit)),
        // Killed by us at the end of the declared grace period: a shorter one would have done it too.
        None if left <= millis(grace) => (None, Some(true)),
        None => (None, None),
    };
    PlatformFit {
        platform: platform.name.into(),
        grace_ms: millis(platform.grace),
        left_ms,
        killed,
        note: platform.note.into(),
    }
}

impl GraceReport {
    fn in_words(&self) -> String {
        let sleep = if self.pre_stop_ms > 0.0 {
            format!(" (and {} of preStop before it)", seconds(self.pre_stop_ms))
        } else {
            String::new()
        };
        let Some(exit) = self.exit_after_ms else {
            return if self.platforms.is_empty() {
                String::new()
            } else {
                format!(
                    "had not exited {} after the signal{sleep} and was killed, as it would have been wherever no more is given",
                    seconds(self.signal_to_kill_ms)
                )
            };
        };
        let mut text = format!("exits {} after the signal{sleep}", seconds(exit));
        for (index, (names, grace, left)) in self.by_grace().into_iter().enumerate() {
            text.push_str(if index == 0 { ": " } else { "; " });
            let grace = whole_seconds(grace);
            text.push_str(&if left < 0.0 {
                format!(
                    "{names} ({grace}) would have killed it {} before",
                    seconds(-left)
                )
            } else if index == 0 {
                let leave = if names.contains(',') {
                    "leave"
                } else {
                    "leaves"
                };
                format!("{names} ({grace}) {leave} {}", seconds(left))
            } else {
                format!("{names} ({grace}) {}", seconds(left))
            });
        }
        text
    }

    /// Platforms that come to the same are named together.
    fn by_grace(&self) -> Vec<(String, f64, f64)> {
        let mut groups: Vec<(String, f64, f64)> = Vec::new();
        for fit in &self.platforms {
            let Some(left) = fit.left_ms else { continue };
            match groups.last_mut() {
                Some((names, grace, same)) if *grace == fit.grace_ms && *same == left => {
                    names.push_str(", ");
                    names.push_str(&fit.platform);
                }
                _ => groups.push((fit.platform.to_string(), fit.grace_ms, left)),
            }
        }
        groups
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 1e1
}

fn seconds(millis: f64) -> String {
    if millis < 95.0 {
        return format!("{millis:.0} ms");
    }
    format!("{:.1} s", millis / 1e3)
}

fn whole_seconds(millis: f64) -> String {
    format!("{:.0} s", millis / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: f64) -> Exits {
        let mut exits = Exits::default();
        exits.note("nothing", Some(Duration::from_millis(20)));
        exits.note("requests", Some(Duration::from_secs_f64(seconds)));
        exits.note_forced("a request that never ends", Some(9_000.0));
        exits
    }

    fn left(report: &GraceReport, platform: &str) -> (Option<f64>, Option<bool>) {
        let mut fits = report.platforms.iter();
        let fit = fits.find(|fit| fit.platform == platform).unwrap();
        (fit.left_ms, fit.killed)
    }

    #[test]
    fn an_exit_is_held_against_each_platform() {
        let grace = Duration::from_secs(10);
        let report = after(5.2).reckon(grace, Duration::ZERO, Front::NONE);
        assert_eq!(report.exit_after_ms, Some(5_200.0));
        assert_eq!(report.headroom_ms, Some(4_800.0));
        assert_eq!(left(&report, "fly"), (Some(-200.0), Some(true)));
        assert_eq!(left(&report, "docker"), (Some(4_800.0), Some(false)));
        assert_eq!(
            report.summary,
            "exits 5.2 s after the signal: fly, nomad (5 s) would have killed it 0.2 s before; docker, cloud-run (10 s) 4.8 s; ecs, heroku, render, kubernetes (30 s) 24.8 s; systemd (90 s) 84.8 s"
        );
    }

    #[test]
    fn a_pre_stop_sleep_is_part_of_the_grace_period_of_kubernetes_only() {
        let grace = Duration::from_secs(20);
        let front = Front::named("kubernetes").unwrap();
        let report = after(4.2).reckon(grace, Duration::from_secs(10), front);
        assert_eq!(
            (report.grace_ms, report.signal_to_kill_ms),
            (30_000.0, 20_000.0)
        );
        assert_eq!((report.propagation_ms, report.exposed_ms), (5_000.0, 0.0));
        assert_eq!(left(&report, "kubernetes"), (Some(15_800.0), Some(false)));
        assert_eq!(left(&report, "ecs"), (Some(25_800.0), Some(false)));
        assert!(
            report.summary.contains("10.0 s of preStop"),
            "{}",
            report.summary
        );
    }

    #[test]
    fn a_process_that_was_killed_here_is_not_said_to_fit_anywhere() {
        let mut exits = after(1.0);
        exits.note("requests", None);
        let report = exits.reckon(Duration::from_secs(10), Duration::ZERO, Front::NONE);
        assert_eq!((report.exit_after_ms, report.headroom_ms), (None, None));
        assert_eq!(left(&report, "docker"), (None, Some(true)));
        assert_eq!(left(&report, "kubernetes"), (None, None));
        assert!(report.summary.contains("was killed"), "{}", report.summary);
    }

    #[test]
    fn without_an_exit_nothing_is_claimed() {
        let report = Exits::default().reckon(Duration::from_secs(10), Duration::ZERO, Front::NONE);
        assert!(report.platforms.is_empty() && report.summary.is_empty());
    }
}
