//! Where a request goes: what its connections are shared by.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, Scheme};

/// Scheme, host and port of a URI: connections belong to one, and limits per host are counted by it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(super) is_secure: bool,
    /// In lower case; IPv6 in brackets.
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

impl Target {
    /// None for a URI that is not absolute, neither `http` nor `https`, or with a port that is none.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        let is_secure = *scheme == Scheme::HTTPS;
        if !is_secure && *scheme != Scheme::HTTP {
            return None;
        }
        let authority = uri.authority()?;
        if authority.host().is_empty() {
            return None;
        }
        let default = if is_secure { 443 } else { 80 };
        Some(Self {
            is_secure,
            host: authority.host().to_ascii_lowercase().into(),
            port: port(authority)?.unwrap_or(default),
        })
    }

    /// The URI of its root.
    pub(super) fn root(&self) -> Option<Uri> {
        let authority = format!("{}:{}", self.host, self.port);
        Uri::builder()
            .scheme(self.scheme())
            .authority(authority)
            .path_and_query("/")
            .build()
            .ok()
    }

    const fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

/// The port, if there is one (RFC 3986 §3.2.3: it may be empty); the outer None if it is no number from 1 to 65,535.
fn port(authority: &Authority) -> Option<Option<u16>> {
    let text = authority.as_str();
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    match text.strip_prefix(authority.host())?.strip_prefix(':') {
        None | Some("") => Some(None),
        Some(_) => Some(Some(authority.port_u16().filter(|port| *port > 0)?)),
    }
}

/// What a `Host` field says of it (RFC 9110 §7.2): without what is the default, and without a password.
pub(super) fn host_field(authority: &Authority, is_secure: bool) -> String {
    match authority.port_u16() {
        Some(443) if is_secure => authority.host().to_owned(),
        Some(80) if !is_secure => authority.host().to_owned(),
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme(), self.host, self.port)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_same_whatever_is_left_out_of_a_uri() {
        let of = |uri: &str| Target::of(&uri.parse().expect("a URI")).map(|one| one.to_string());
        for (uri, expected) in [
            ("http://a/x", Some("http://a:80")),
            ("http://A:80", Some("http://a:80")),
            ("https://user:pw@a/x?y", Some("https://a:443")),
            ("https://[::1]:8443/", Some("https://[::1]:8443")),
            ("http://a:/x", Some("http://a:80")),
            ("http://a:65616/x", None),
            ("http://user:pw@a:65616/x", None),
            ("http://[::1]:65616/x", None),
            ("http://a:0/", None),
            ("/x", None),
            ("a:80", None),
            ("ftp://a/", None),
        ] {
            assert_eq!(of(uri).as_deref(), expected, "{uri}");
        }
        let field = |uri: &str| {
            let uri: Uri = uri.parse().expect("a URI");
            let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
            host_field(uri.authority().expect("one"), is_secure)
        };
        assert_eq!(field("http://user:pw@a:80/"), "a");
        assert_eq!(field("https://a:80/"), "a:80");
        assert_eq!(field("https://[::1]/"), "[::1]");
    }
}
