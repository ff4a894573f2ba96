//! A plan as a Deployment.

use std::{fmt::Write as _, time::Duration};

use lameduck::{Plan, Preset};

use super::{seconds, variables, whole_seconds};

/// What a pod's period has beyond preStop and grace, for what kubelet and the container runtime take between them: the difference in
/// the presets (30 s for a grace of 25 s, 65 s for 60 s, 80 s for 75 s).
const SPARE: Duration = Duration::from_secs(5);

/// Where the grace stands in the pod, for the downward API: `terminationGracePeriodSeconds` itself is not to be had there
/// (kubernetes/kubernetes#50032).
const ANNOTATION: &str = "lameduck.dev/grace";

/// How often readiness is asked, and how many refusals in a row it takes: together at most the floor, so that a service that is to
/// leave is seen to be unready while it still accepts.
fn readiness(plan: &Plan) -> (u64, u64) {
    match plan.window().floor.as_secs() {
        0..=1 => (1, 1),
        floor => ((floor / 2).min(10), 2),
    }
}

pub(super) fn manifest(plan: &Plan, pre_stop: Duration, name: &str) -> String {
    let pre_stop = whole_seconds(pre_stop);
    let period = whole_seconds(plan.grace() + SPARE) + pre_stop;
    let mut text = format!(
        "# lameduck plan --format kubernetes: {plan}\n\
         apiVersion: apps/v1\n\
         kind: Deployment\n\
         metadata:\n\
         \x20 name: {name}\n\
         spec:\n\
         \x20 selector:\n\
         \x20   matchLabels:\n\
         \x20     app: {name}\n\
         \x20 template:\n\
         \x20   metadata:\n\
         \x20     labels:\n\
         \x20       app: {name}\n\
         \x20     annotations:\n\
         \x20       # From SIGTERM to SIGKILL, after any preStop; the container reads it as LAMEDUCK_GRACE.\n\
         \x20       {ANNOTATION}: \"{}\"\n\
         \x20   spec:\n\
         \x20     # {} + {pre_stop} s of preStop + {} s to spare.\n\
         \x20     terminationGracePeriodSeconds: {period}\n\
         \x20     containers:\n\
         \x20       - name: {name}\n\
         \x20         image: {name}:latest\n\
         \x20         # The form that is a list: a shell as PID 1 would not pass SIGTERM on.\n\
         \x20         command: [\"/{name}\"]\n\
         \x20         env:\n\
         \x20           - name: LAMEDUCK_GRACE\n\
         \x20             valueFrom:\n\
         \x20               fieldRef:\n\
         \x20                 fieldPath: metadata.annotations['{ANNOTATION}']\n\
         \x20           - name: LAMEDUCK_PROBES_LISTEN\n\
         \x20             value: \"0.0.0.0:8081\"\n",
        seconds(plan.grace()),
        format_args!("{} s of grace", plan.grace().as_secs_f64()),
        SPARE.as_secs(),
    );
    for (variable, value) in variables(plan, Preset::Kubernetes) {
        let _ = write!(
            text,
            "            - name: {variable}\n              value: \"{value}\"\n"
        );
    }
    write_probes(&mut text, plan);
    if pre_stop > 0 {
        let _ = write!(
            text,
            "          # The sleep action is in Kubernetes from 1.30 on; before it, exec a sleep.\n          lifecycle:\n            preStop:\n              sleep: {{seconds: {pre_stop}}}\n"
        );
    }
    text
}

fn write_probes(text: &mut String, plan: &Plan) {
    let (every, failures) = readiness(plan);
    let _ = write!(
        text,
        "          ports:\n\
         \x20           - name: http\n\
         \x20             containerPort: 8080\n\
         \x20           - name: probes\n\
         \x20             containerPort: 8081\n\
         \x20         startupProbe:\n\
         \x20           httpGet: {{path: /startupz, port: probes}}\n\
         \x20           periodSeconds: 1\n\
         \x20           failureThreshold: 60\n\
         \x20         # {}\n\
         \x20         readinessProbe:\n\
         \x20           httpGet: {{path: /readyz, port: probes}}\n\
         \x20           periodSeconds: {every}\n\
         \x20           failureThreshold: {failures}\n\
         \x20         # True to the end: a drain is no reason for a restart.\n\
         \x20         livenessProbe:\n\
         \x20           httpGet: {{path: /livez, port: probes}}\n\
         \x20           periodSeconds: 10\n\
         \x20           failureThreshold: 3\n",
        readiness_said(plan),
    );
}

fn readiness_said(plan: &Plan) -> String {
    let floor = plan.window().floor;
    let (every, failures) = readiness(plan);
    if Duration::from_secs(every * failures) <= floor {
        let floor = floor.as_secs_f64();
        format!("Seen to be unready within the window's floor of {floor} s.")
    } else {
        "As soon as a probe can see it; the window's floor is shorter.".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_holds_all_that_happens_in_it() {
        for (preset, period) in [
            (Preset::Kubernetes, 30),
            (Preset::AwsAlb, 65),
            (Preset::GcpNeg, 80),
        ] {
            let text = manifest(&Plan::preset(preset), Duration::ZERO, "a");
            let line = format!("terminationGracePeriodSeconds: {period}\n");
            assert!(text.contains(&line), "{text}");
            assert!(!text.contains("preStop:"), "{text}");
        }
        let slept = manifest(
            &Plan::preset(Preset::Kubernetes),
            Duration::from_millis(4_100),
            "a",
        );
        assert!(slept.contains("terminationGracePeriodSeconds: 35\n"));
        assert!(slept.contains("sleep: {seconds: 5}\n"), "{slept}");
    }

    #[test]
    fn unreadiness_is_noticed_within_the_floor() {
        for preset in Preset::all().filter(|preset| *preset != Preset::Lambda) {
            let plan = Plan::preset(preset);
            let (every, failures) = readiness(&plan);
            let noticed = Duration::from_secs(every * failures);
            let floor = plan.window().floor.max(Duration::from_secs(1));
            assert!(noticed <= floor, "{preset}: {noticed:?} > {floor:?}");
        }
    }
}
