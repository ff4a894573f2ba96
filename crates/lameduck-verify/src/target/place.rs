//! Owns where a target is reached: URLs, ports, and filling in `{port}`.
//! Not: starting anything.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::error::{LaunchError, VerifyError};
use super::scratch::Scratch;
use crate::declared::TlsTrust;
use crate::options::TargetSpec;

/// An `http://` or `https://` URL, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) addr: SocketAddr,
    pub(crate) host: String,
    pub(crate) path: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, VerifyError> {
        let bad = |why| VerifyError::Url(text.to_owned(), why);
        if text.starts_with("https://") {
            return Err(bad(
                "it must begin with http://; --tls-url takes the one that begins with https://",
            ));
        }
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| bad("it must begin with http://"))?;
        Self::split(text, rest, 80)
    }

    /// An `https://` URL.
    fn parse_tls(text: &str) -> Result<Self, VerifyError> {
        let rest = text
            .strip_prefix("https://")
            .ok_or_else(|| VerifyError::Url(text.to_owned(), "it must begin with https://"))?;
        Self::split(text, rest, 443)
    }

    fn split(text: &str, rest: &str, port: u16) -> Result<Self, VerifyError> {
        let bad = |why| VerifyError::Url(text.to_owned(), why);
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let with_port = if authority
            .rsplit(']')
            .next()
            .is_some_and(|tail| tail.contains(':'))
        {
            authority.to_owned()
        } else {
            format!("{authority}:{port}")
        };
        let mut found = with_port
            .to_socket_addrs()
            .map_err(|_| bad("its host is not known"))?;
        let addr = found.next().ok_or_else(|| bad("its host has no address"))?;
        if text
            .bytes()
            .any(|byte| byte.is_ascii_control() || byte == b' ')
        {
            return Err(bad("it contains blanks or control characters"));
        }
        Ok(Self {
            addr,
            host: authority.to_owned(),
            path: path.to_owned(),
        })
    }
}

/// The ports and addresses of one launch.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    port: u16,
    probes_port: u16,
    tls_port: u16,
    /// The directory of its control socket, where a path for one is asked for.
    control: Option<Arc<Scratch>>,
    pub(crate) url: Url,
    /// Where it answers TLS, if it is said to.
    pub(crate) tls: Option<Url>,
    /// Which certificates will do there.
    pub(crate) trust: TlsTrust,
    /// The name that its certificate is for, where that is not the URL's.
    pub(crate) tls_name: Option<String>,
}

impl Place {
    /// Chooses fresh ports, unless the URL fixes one.
    pub(crate) fn choose(spec: &TargetSpec) -> Result<Self, VerifyError> {
        let (port, probes_port, tls_port) = (free_port()?, free_port()?, free_port()?);
        let fill = |text: &str| fill(text, port, probes_port, tls_port);
        let url = Url::parse(&fill(
            spec.url.as_deref().unwrap_or("http://127.0.0.1:{port}/"),
        ))?;
        let names = |word| spec.templates().any(|text| text.contains(word));
        let control = names("{control}").then(control_directory).transpose()?;
        let names_it = names("{tls_port}");
        let tls = spec
            .tls_url
            .as_deref()
            .or(names_it.then_some("https://127.0.0.1:{tls_port}/"))
            .map(|text| Url::parse_tls(&fill(text)))
            .transpose()?;
        Ok(Self {
            port: if Self::is_fixed(spec) {
                url.addr.port()
            } else {
                port
            },
            probes_port,
            tls_port,
            control,
            url,
            tls,
            trust: spec.tls_trust.clone(),
            tls_name: spec.tls_name.clone(),
        })
    }

    /// The target always listens on the same port.
    pub(crate) fn is_fixed(spec: &TargetSpec) -> bool {
        spec.url.as_ref().is_some_and(|url| !url.contains("{port}"))
    }

    pub(crate) fn fill(&self, text: &str) -> String {
        let text = fill(text, self.port, self.probes_port, self.tls_port);
        match &self.control {
            Some(directory) => {
                let path = directory.path().join(SOCKET);
                text.replace("{control}", &path.to_string_lossy())
            }
            None => text,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The ports, as commands find them in their environment.
    pub(crate) fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("PORT", self.port.to_string()),
            ("PROBES_PORT", self.probes_port.to_string()),
            ("TLS_PORT", self.tls_port.to_string()),
        ]
    }
}

fn fill(text: &str, port: u16, probes_port: u16, tls_port: u16) -> String {
    text.replace("{port}", &port.to_string())
        .replace("{probes_port}", &probes_port.to_string())
        .replace("{tls_port}", &tls_port.to_string())
}

/// The name of a control socket in its directory.
const SOCKET: &str = "control";
/// The longest path of a directory for sockets: a socket's address has room for 103 bytes on every system (unix(7) has
/// 107), and the names of directory and socket take up to 33.
const LONGEST_BASE: usize = 70;

/// A directory of our own in which a socket may be bound.
fn control_directory() -> Result<Arc<Scratch>, VerifyError> {
    let usual = std::env::temp_dir();
    let base = if usual.as_os_str().len() <= LONGEST_BASE {
        usual.as_path()
    } else {
        Path::new("/tmp")
    };
    Scratch::make_in(base).map(Arc::new)
}

/// Below Linux' default range for outgoing connections (32768…), so that our own clients do not sit on it.
const PORTS: std::ops::Range<u16> = 18_000..32_000;

fn free_port() -> Result<u16, LaunchError> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    let mut last = None;
    for _ in 0..span {
        // Relaxed: only distinct numbers are needed; nothing else is published with them.
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = (std::process::id() % u32::from(span)) as u16;
        let port = PORTS.start + (start.wrapping_mul(37) % span + step % span) % span;
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(LaunchError::NoPort(
        last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split() {
        let url = Url::parse("http://127.0.0.1:8080/health?x=1").unwrap();
        assert_eq!((url.addr.port(), url.path.as_str()), (8080, "/health?x=1"));
        assert_eq!(Url::parse("http://127.0.0.1").unwrap().addr.port(), 80);
        assert_eq!(Url::parse("http://[::1]:81").unwrap().path, "/");
        for bad in ["https://127.0.0.1/", "127.0.0.1:80", "http://127.0.0.1/a b"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_filled_in_and_a_fixed_url_keeps_its_own() {
        let place = Place::choose(&TargetSpec::default()).unwrap();
        assert_eq!(place.fill("-p {port}"), format!("-p {}", place.port()));
        assert_eq!(place.url.addr.port(), place.port());
        let spec = TargetSpec {
            url: Some("http://127.0.0.1:8123/x".to_owned()),
            ..TargetSpec::default()
        };
        assert_eq!(Place::choose(&spec).unwrap().port(), 8123);
    }

    #[test]
    fn a_control_socket_has_a_directory_of_its_own_where_one_is_asked_for() {
        let usual = Place::choose(&TargetSpec::default()).unwrap();
        assert_eq!(usual.fill("{control}"), "{control}");
        let spec = TargetSpec::command(["serve", "--control", "{control}"]);
        let [one, other] = [(); 2].map(|()| Place::choose(&spec).unwrap());
        let path = one.fill("{control}");
        assert!(
            path.len() <= 103 && path != other.fill("{control}"),
            "{path}"
        );
        let directory = Path::new(&path).parent().unwrap().to_owned();
        let again = one.clone();
        drop(one);
        assert!(directory.is_dir(), "somebody still knows the place");
        drop(again);
        assert!(!directory.exists());
    }

    #[test]
    fn a_tls_door_is_where_it_is_said_to_be() {
        assert!(Place::choose(&TargetSpec::default()).unwrap().tls.is_none());
        let argv = ["serve", "--tls", "{tls_port}"].map(str::to_owned).to_vec();
        let place = Place::choose(&TargetSpec::command(argv)).unwrap();
        let tls = place.tls.clone().unwrap();
        assert_eq!(place.fill("{tls_port}"), tls.addr.port().to_string());
        let spec = TargetSpec {
            tls_url: Some("https://localhost/x".to_owned()),
            ..TargetSpec::default()
        };
        let tls = Place::choose(&spec).unwrap().tls.unwrap();
        assert_eq!((tls.addr.port(), tls.path.as_str()), (443, "/x"));
    }
}
