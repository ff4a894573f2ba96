//! Which requests are health checks: they neither prolong the lame-duck window nor count as load.

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Request};

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
    let agent = user_agent(request.headers());
    lameduck::is_health_check(request.uri().path(), agent.map(HeaderValue::as_bytes))
}

/// Asked for each request. Where there are few fields, comparing names that are known by number is a third of hashing one.
fn user_agent(fields: &HeaderMap) -> Option<&HeaderValue> {
    const FEW: usize = 8;
    if fields.len() > FEW {
        return fields.get(USER_AGENT);
    }
    let mut fields = fields.iter();
    fields
        .find(|(name, _)| *name == USER_AGENT)
        .map(|(_, value)| value)
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
    fn a_checker_is_known_among_few_fields_and_among_many() {
        for others in 0..20 {
            let mut request = Request::get("/api");
            for number in 0..others {
                request = request.header(format!("x-{number}"), "kube-probe/1");
            }
            assert!(!is_health_check(&request.body(()).expect("a request")));
            let mut request = Request::get("/api").header("host", "a");
            for number in 0..others {
                request = request.header(format!("x-{number}"), "-");
            }
            let request = request.header(USER_AGENT, "kube-probe/1").body(());
            assert!(is_health_check(&request.expect("a request")), "{others}");
        }
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
