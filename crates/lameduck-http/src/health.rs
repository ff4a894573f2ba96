//! Which requests are health checks: they neither prolong the lame-duck window nor count as load.

use http::header::USER_AGENT;
use http::{HeaderValue, Request};

/// Whether a request is a health check, by its path (`/livez`, `/readyz`, `/startupz`, `/lbz`, `/healthz`) or its `User-Agent` (`kube-probe`,
/// `ELB-HealthChecker`, `GoogleHC`, `Envoy/HC`).
///
/// # Examples
/// ```
/// use lameduck_http::is_health_check;
///
/// let probe = http::Request::get("/").header("user-agent", "kube-probe/1.33").body(()).unwrap();
/// assert!(is_health_check(&probe));
/// assert!(!is_health_check(&http::Request::get("/orders").body(()).unwrap()));
/// ```
#[must_use]
pub fn is_health_check<B>(request: &Request<B>) -> bool {
    let agent = request.headers().get(USER_AGENT);
    lameduck::is_health_check(request.uri().path(), agent.map(HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> bool {
        is_health_check(
            &Request::get("/api")
                .header(USER_AGENT, name)
                .body(())
                .expect("a request"),
        )
    }

    #[test]
    fn checkers_are_known_by_name() {
        assert!(agent("kube-probe/1.31+"));
        assert!(agent("ELB-HealthChecker/2.0"));
        assert!(agent("GoogleHC/1.0"));
        assert!(agent("Envoy/HC"));
        assert!(!agent("curl/8.5"));
        assert!(!agent("not-kube-probe/1"));
    }

    #[test]
    fn checks_are_known_by_path() {
        for path in ["/livez", "/readyz", "/startupz", "/lbz", "/healthz"] {
            assert!(is_health_check(
                &Request::get(path).body(()).expect("a request")
            ));
        }
        assert!(is_health_check(
            &Request::get("/lbz?full").body(()).expect("a request")
        ));
        assert!(!is_health_check(
            &Request::get("/lbz/x").body(()).expect("a request")
        ));
    }
}
