//! A plan as a unit of systemd.

use std::{fmt::Write as _, time::Duration};

use lameduck::{Plan, Preset};

use super::{seconds, variables, whole_seconds};

/// A runtime that is wedged is noticed after so long, and never later than a stop of it would take.
const WATCHDOG: Duration = Duration::from_secs(30);

pub(super) fn unit(plan: &Plan, name: &str) -> String {
    let stop = whole_seconds(plan.grace());
    let watchdog = plan.deadline().min(WATCHDOG).as_secs().max(1);
    let mut text = format!(
        "# lameduck plan --format systemd: {plan}\n\
         [Unit]\n\
         Description={name}\n\
         After=network.target\n\
         \n\
         [Service]\n\
         # Ready when all participants are; `systemctl reload` is SIGHUP and waits for its end. Needs systemd 253; before it, `notify`.\n\
         Type=notify-reload\n\
         NotifyAccess=main\n\
         ExecStart=/usr/bin/{name}\n\
         # From SIGTERM to SIGKILL. The process is gone after {}.\n\
         TimeoutStopSec={stop}\n\
         KillSignal=SIGTERM\n\
         # SIGTERM to the main process alone; SIGKILL, at the end, to all that is left.\n\
         KillMode=mixed\n\
         # Fed from the runtime: a runtime that is wedged is noticed.\n\
         WatchdogSec={watchdog}\n\
         Restart=on-failure\n\
         Environment=LAMEDUCK_GRACE={}\n",
        seconds(plan.deadline()),
        seconds(plan.grace()),
    );
    for (variable, value) in variables(plan, Preset::Systemd) {
        let _ = writeln!(text, "Environment={variable}={value}");
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_waits_at_least_as_long_as_the_plan_lasts() {
        for millis in [1_600, 5_000, 29_500, 180_000] {
            let plan = Plan::preset(Preset::Systemd)
                .with_grace(Duration::from_millis(millis))
                .expect("a plan");
            let text = unit(&plan, "a");
            let value = |key: &str| -> Duration {
                let line = text.lines().find_map(|line| line.strip_prefix(key));
                Duration::from_secs(line.expect(key).parse().expect("seconds"))
            };
            assert!(value("TimeoutStopSec=") >= plan.grace(), "{text}");
            assert!(value("WatchdogSec=") <= plan.deadline(), "{text}");
            let grace = text
                .lines()
                .find_map(|line| line.strip_prefix("Environment=LAMEDUCK_GRACE="));
            assert_eq!(
                grace.and_then(lameduck::parse_duration),
                Some(plan.grace()),
                "{text}"
            );
        }
    }
}
