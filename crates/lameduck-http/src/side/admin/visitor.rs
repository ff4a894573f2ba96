//! Who may ask: hosts, other sites' pages, the token.
//!
//! A browser runs pages of strangers, and every one of them may send requests to loopback. It cannot choose the `Host` (a name of its own that
//! it lets point to loopback is seen there: DNS rebinding), nor `Sec-Fetch-Site` and `Origin`, nor read an answer. So: only hosts that
//! are ours; nothing but the page itself for other sites, and that only as somebody's navigation; and to change something, the token.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Request, StatusCode};

use super::token::Token;
use crate::server::listen::LocalAddr;

/// Fetch Metadata, <https://www.w3.org/TR/fetch-metadata/>.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Which hosts are ours.
#[derive(Debug)]
pub(super) struct Hosts {
    bound: Option<IpAddr>,
    names: Vec<String>,
    /// On a Unix socket every host is: no browser gets there by a name.
    any: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

const fn refused(status: StatusCode, why: &'static str) -> Refusal {
    Refusal { status, why }
}

const NO_HOST: Refusal = refused(
    StatusCode::BAD_REQUEST,
    "the request names no host, or more than one",
);
const FOREIGN_HOST: Refusal = refused(
    StatusCode::FORBIDDEN,
    "this host is not one of this listener's: ask for localhost, for the address it is bound to, or for a name that it was given",
);
const FOREIGN_SITE: Refusal = refused(
    StatusCode::FORBIDDEN,
    "the page of another site asks for this, and gets nothing",
);
const NO_TOKEN_FILE: Refusal = refused(
    StatusCode::FORBIDDEN,
    "actions are off: this listener was started without a token file",
);
const NO_TOKEN: Refusal = refused(
    StatusCode::UNAUTHORIZED,
    "this needs the token: Authorization: Bearer TOKEN, as it stands in the token file",
);
const WRONG_TOKEN: Refusal = refused(StatusCode::UNAUTHORIZED, "this is not the token");

impl Hosts {
    pub(super) fn of(local: &LocalAddr, names: Vec<String>) -> Self {
        Self {
            bound: local.tcp().map(|addr| addr.ip().to_canonical()),
            names: names.into_iter().map(without_port).collect(),
            any: matches!(local, LocalAddr::Unix(_)),
        }
    }

    /// Every host.
    #[cfg(feature = "control")]
    pub(super) const fn any() -> Self {
        Self {
            bound: None,
            names: Vec::new(),
            any: true,
        }
    }

    /// Whether the request is for us: by its host, and by its target where that names one.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        if self.any {
            return Ok(());
        }
        let host = only(request.headers(), &HOST).ok_or(NO_HOST)?;
        let host: Authority = host.parse().map_err(|_| FOREIGN_HOST)?;
        let named = [Some(&host), request.uri().authority()];
        if named.into_iter().flatten().all(|host| self.are(host)) {
            Ok(())
        } else {
            Err(FOREIGN_HOST)
        }
    }

    fn are(&self, authority: &Authority) -> bool {
        // What stands before an `@` is how people are led to believe in another host.
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host().trim_end_matches('.');
        if let Some(ip) = literal_of(host) {
            // A literal cannot be made to point elsewhere. Where every address is listened on, each is ours.
            let is_bound = self
                .bound
                .is_some_and(|bound| bound == ip || bound.is_unspecified());
            let is_named = self.names.iter().any(|name| literal_of(name) == Some(ip));
            return ip.is_loopback() || is_bound || is_named;
        }
        host.eq_ignore_ascii_case("localhost")
            || self
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// The address of a host that is one, in brackets or not.
fn literal_of(host: &str) -> Option<IpAddr> {
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let ip: IpAddr = inside.unwrap_or(host).parse().ok()?;
    Some(ip.to_canonical())
}

/// The host of `host:port`: people write what they see in the address bar.
fn without_port(mut name: String) -> String {
    // The end of an address of version 6 looks like a port.
    if literal_of(&name).is_some() {
        return name;
    }
    let port = name.rsplit_once(':').map(|(_, port)| port);
    if let Some(port) = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        name.truncate(name.len() - port.len() - 1);
    }
    name
}

/// Whether what it asks for may be shown: to whoever is no browser, to our own page, and the page to whoever goes there.
pub(super) fn may_see(headers: &HeaderMap, is_page: bool) -> Result<(), Refusal> {
    match site(headers)? {
        Site::Ours => Ok(()),
        Site::Other => {
            let is = |name: &HeaderName, value: &str| {
                headers.get(name).is_some_and(|given| given == value)
            };
            if is_page && is(&MODE, "navigate") && is(&DESTINATION, "document") {
                Ok(())
            } else {
                Err(FOREIGN_SITE)
            }
        }
    }
}

/// Whether it may change something.
pub(super) fn may_act(headers: &HeaderMap, token: Option<&Token>) -> Result<(), Refusal> {
    if site(headers)? == Site::Other {
        return Err(FOREIGN_SITE);
    }
    let token = token.ok_or(NO_TOKEN_FILE)?;
    let given = only(headers, &AUTHORIZATION).ok_or(NO_TOKEN)?;
    let (scheme, given) = given.split_once(' ').ok_or(NO_TOKEN)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(NO_TOKEN);
    }
    if token.is(given.trim().as_bytes()) {
        Ok(())
    } else {
        Err(WRONG_TOKEN)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    /// Our own page, a person's address bar, or no browser at all.
    Ours,
    Other,
}

/// Who sent it. "Same site" is not enough: every port of localhost is the same site.
fn site(headers: &HeaderMap) -> Result<Site, Refusal> {
    if headers.contains_key(&SITE) {
        let site = only(headers, &SITE).ok_or(FOREIGN_SITE)?;
        if site != "same-origin" && site != "none" {
            return Ok(Site::Other);
        }
    }
    if headers.contains_key(&ORIGIN) {
        let origin = only(headers, &ORIGIN).ok_or(FOREIGN_SITE)?;
        let host = only(headers, &HOST).unwrap_or_default();
        let ours = ["http://", "https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme) == Some(host));
        if !ours {
            return Ok(Site::Other);
        }
    }
    Ok(Site::Ours)
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(bound: &str, names: &[&str]) -> Hosts {
        let local = LocalAddr::Tcp(bound.parse().expect("an address"));
        Hosts::of(
            &local,
            names.iter().map(|name| (*name).to_owned()).collect(),
        )
    }

    fn asked(target: &str, host: &[&str]) -> Request<()> {
        let mut request = Request::builder().uri(target);
        for host in host {
            request = request.header(HOST, *host);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn a_name_that_was_made_to_point_here_is_not_ours() {
        let here = hosts("127.0.0.1:9000", &["admin.internal:9000", "tunnel"]);
        for host in [
            "localhost",
            "LOCALHOST:9000",
            "localhost.:1",
            "127.0.0.1:9000",
            "127.9.9.9",
            "[::1]:80",
            "[::ffff:127.0.0.1]",
            "Admin.Internal:443",
            "tunnel",
        ] {
            assert_eq!(here.check(&asked("/", &[host])), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil-localhost",
            "localhost@evil.example",
            "evil.example@localhost",
            "192.0.2.1",
            "[2001:db8::1]",
            "0.0.0.0",
            "2130706433",
            "",
            "local host",
            "localhost/../evil",
        ] {
            assert_eq!(
                here.check(&asked("/", &[host])),
                Err(FOREIGN_HOST),
                "{host}"
            );
        }
        assert_eq!(here.check(&asked("/", &[])), Err(NO_HOST));
        let twice = asked("/", &["localhost", "evil.example"]);
        assert_eq!(here.check(&twice), Err(NO_HOST));
        let absolute = asked("http://evil.example/", &["localhost"]);
        assert_eq!(here.check(&absolute), Err(FOREIGN_HOST));
        let absolute = asked("http://localhost/", &["localhost"]);
        assert_eq!(here.check(&absolute), Ok(()));
    }

    #[test]
    fn a_bound_address_is_ours_and_on_every_address_each_literal_is() {
        let one = hosts("192.0.2.1:9000", &[]);
        assert_eq!(one.check(&asked("/", &["192.0.2.1:9000"])), Ok(()));
        assert_eq!(one.check(&asked("/", &["192.0.2.2"])), Err(FOREIGN_HOST));
        let every = hosts("[::]:9000", &[]);
        assert_eq!(every.check(&asked("/", &["192.0.2.2:9000"])), Ok(()));
        assert_eq!(
            every.check(&asked("/", &["evil.example"])),
            Err(FOREIGN_HOST)
        );
        // What stands before it may be asked for by its address.
        let given = ["198.51.100.7", "2001:db8::1", "[2001:db8::2]:80"];
        let named = hosts("127.0.0.1:9000", &given);
        for host in ["198.51.100.7:80", "[2001:db8::1]", "[2001:DB8::2]:9"] {
            assert_eq!(named.check(&asked("/", &[host])), Ok(()), "{host}");
        }
        assert_eq!(
            named.check(&asked("/", &["[2001:db8::3]"])),
            Err(FOREIGN_HOST)
        );
        let unix = Hosts::of(&LocalAddr::Unix("/run/x.sock".into()), Vec::new());
        assert_eq!(unix.check(&asked("/", &["anything"])), Ok(()));
        assert_eq!(unix.check(&asked("/", &[])), Ok(()));
    }

    fn fields(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().expect("a name");
                (name, value.parse().expect("a value"))
            })
            .collect()
    }

    #[test]
    fn other_sites_see_nothing_and_may_only_be_left_for_the_page() {
        let here = ("host", "localhost:9000");
        for ours in [
            &[here][..],
            &[here, ("sec-fetch-site", "none")],
            &[
                here,
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://localhost:9000"),
            ],
        ] {
            assert_eq!(may_see(&fields(ours), false), Ok(()), "{ours:?}");
        }
        for other in [
            &[here, ("sec-fetch-site", "cross-site")][..],
            &[here, ("sec-fetch-site", "same-site")],
            &[here, ("sec-fetch-site", "what")],
            &[here, ("origin", "http://localhost:3000")],
            &[here, ("origin", "http://evil.example")],
            &[here, ("origin", "null")],
        ] {
            assert_eq!(
                may_see(&fields(other), false),
                Err(FOREIGN_SITE),
                "{other:?}"
            );
            assert_eq!(
                may_see(&fields(other), true),
                Err(FOREIGN_SITE),
                "{other:?}"
            );
        }
        let came = |destination| {
            fields(&[
                here,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", destination),
            ])
        };
        assert_eq!(may_see(&came("document"), true), Ok(()));
        assert_eq!(may_see(&came("document"), false), Err(FOREIGN_SITE));
        assert_eq!(may_see(&came("iframe"), true), Err(FOREIGN_SITE));
    }
}
