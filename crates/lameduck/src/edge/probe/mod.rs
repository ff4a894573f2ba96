//! The probe edge: what an orchestrator or a balancer is told when it asks.
//!
//! Owns the meaning of `/livez`, `/readyz`, `/startupz` and `/lbz` in each phase. Does not own sockets: servers mount it.

use crate::vocab::{Phase, Plan};

/// The answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeAnswer {
    /// Whether it is 200; otherwise 503.
    pub ok: bool,
    /// A line for people: the phase.
    pub body: String,
}

/// The paths that are probes.
pub const PROBE_PATHS: [&str; 4] = ["/livez", "/readyz", "/startupz", "/lbz"];

/// Paths that only health checks ask for.
const CHECKED: [&str; 5] = ["/livez", "/readyz", "/startupz", "/lbz", "/healthz"];

/// How the checkers of Kubernetes, AWS, Google Cloud and Envoy begin their `User-Agent`.
const CHECKERS: [&[u8]; 4] = [
    b"kube-probe/",
    b"ELB-HealthChecker/",
    b"GoogleHC/",
    b"Envoy/HC",
];

/// Whether a request is a health check, by its path or its `User-Agent`: it neither prolongs the lame-duck window nor
/// counts as load.
///
/// # Examples
/// ```
/// use lameduck::is_health_check;
/// assert!(is_health_check("/livez", None));
/// assert!(is_health_check("/", Some(b"kube-probe/1.33")));
/// assert!(!is_health_check("/orders", Some(b"curl/8")));
/// ```
#[must_use]
pub fn is_health_check(path: &str, user_agent: Option<&[u8]>) -> bool {
    let by_checker = |agent: &[u8]| CHECKERS.iter().any(|checker| agent.starts_with(checker));
    CHECKED.contains(&path) || user_agent.is_some_and(by_checker)
}

/// Answers a probe; `None` for any other path.
///
/// | path | true in |
/// |---|---|
/// | `/livez` | every phase: a service that drains must not be restarted |
/// | `/startupz` | from `Running` on |
/// | `/lbz` | `Running` only: false from T, before admission closes (INV-3) |
/// | `/readyz` | `Running`; where the platform has cleared readiness itself, `Terminating` too |
pub(crate) fn answer(path: &str, phase: Phase, plan: &Plan) -> Option<ProbeAnswer> {
    let ok = match path {
        "/livez" => true,
        "/startupz" => phase >= Phase::Running,
        "/lbz" => phase == Phase::Running,
        "/readyz" => {
            phase == Phase::Running
                || phase == Phase::Terminating && plan.origin().keeps_ready_until_close()
        }
        _ => return None,
    };
    Some(ProbeAnswer {
        ok,
        body: format!("{phase}\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::Preset;

    #[test]
    fn inv_3_the_balancer_is_told_at_once_and_liveness_stays() {
        let plan = Plan::preset(Preset::Local);
        for phase in Phase::ALL {
            let ok = |path| answer(path, phase, &plan).expect("a probe").ok;
            assert!(ok("/livez"), "{phase}");
            assert_eq!(ok("/lbz"), phase == Phase::Running, "{phase}");
            assert_eq!(ok("/startupz"), phase != Phase::Initializing, "{phase}");
        }
        assert_eq!(answer("/", Phase::Running, &plan), None);
    }

    #[test]
    fn readiness_follows_the_platform() {
        let ready = |preset| {
            answer("/readyz", Phase::Terminating, &Plan::preset(preset))
                .expect("a probe")
                .ok
        };
        assert!(!ready(Preset::Systemd));
        assert!(ready(Preset::Kubernetes));
    }
}
