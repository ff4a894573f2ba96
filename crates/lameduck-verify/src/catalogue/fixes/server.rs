//! Owns the servers and platforms that mends are written for: their words, and telling them from outside.
//! Not: the mends (see the files beside it).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A server that people use, or a platform where a mend stands outside of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ServerKind {
    /// Our own server.
    Lameduck,
    /// axum, with `axum::serve`.
    Axum,
    /// hyper with hyper-util.
    Hyper,
    /// tonic, gRPC for Rust.
    Tonic,
    /// actix-web.
    Actix,
    /// Go's `net/http`.
    Go,
    /// Node.js: `http`, `http2`, and the package `ws`.
    Node,
    /// uvicorn (Python, ASGI).
    Uvicorn,
    /// Hypercorn (Python, ASGI).
    Hypercorn,
    /// Gunicorn (Python, WSGI).
    Gunicorn,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Caddy.
    Caddy,
    /// Apache httpd.
    Apache,
    /// Envoy.
    Envoy,
    /// Java: Spring Boot with Tomcat, Jetty or Netty.
    Java,
    /// .NET: ASP.NET Core on Kestrel.
    Dotnet,
    /// Kubernetes, around any server.
    Kubernetes,
    /// systemd, around any server.
    Systemd,
    /// Docker, around any server.
    Docker,
}

/// Word, aliases, and name of each.
const WORDS: [(ServerKind, &[&str], &str); 20] = [
    (ServerKind::Lameduck, &["lameduck"], "lameduck"),
    (ServerKind::Axum, &["axum"], "axum"),
    (
        ServerKind::Hyper,
        &["hyper", "hyper-util"],
        "hyper and hyper-util",
    ),
    (ServerKind::Tonic, &["tonic"], "tonic"),
    (ServerKind::Actix, &["actix", "actix-web"], "actix-web"),
    (ServerKind::Go, &["go", "golang", "net/http"], "Go net/http"),
    (
        ServerKind::Node,
        &["node", "nodejs", "node.js", "express", "ws"],
        "Node.js",
    ),
    (
        ServerKind::Uvicorn,
        &["uvicorn", "fastapi", "starlette"],
        "uvicorn",
    ),
    (ServerKind::Hypercorn, &["hypercorn", "quart"], "Hypercorn"),
    (ServerKind::Gunicorn, &["gunicorn"], "Gunicorn"),
    (ServerKind::Nginx, &["nginx"], "nginx"),
    (ServerKind::Haproxy, &["haproxy"], "HAProxy"),
    (ServerKind::Caddy, &["caddy"], "Caddy"),
    (
        ServerKind::Apache,
        &["apache", "httpd", "apache2"],
        "Apache httpd",
    ),
    (ServerKind::Envoy, &["envoy"], "Envoy"),
    (
        ServerKind::Java,
        &["java", "spring", "spring-boot", "tomcat", "netty"],
        "Java (Spring Boot)",
    ),
    (
        ServerKind::Dotnet,
        &["dotnet", ".net", "kestrel", "aspnet", "aspnetcore"],
        ".NET (Kestrel)",
    ),
    (ServerKind::Kubernetes, &["kubernetes", "k8s"], "Kubernetes"),
    (ServerKind::Systemd, &["systemd"], "systemd"),
    (
        ServerKind::Docker,
        &["docker", "compose", "podman"],
        "Docker",
    ),
];

/// Programs that give themselves away by their name; what follows an interpreter is looked at first.
const PROGRAMS: [(&str, ServerKind); 20] = [
    ("go", ServerKind::Go),
    ("node", ServerKind::Node),
    ("nodejs", ServerKind::Node),
    ("npm", ServerKind::Node),
    ("npx", ServerKind::Node),
    ("yarn", ServerKind::Node),
    ("pnpm", ServerKind::Node),
    ("tsx", ServerKind::Node),
    ("uvicorn", ServerKind::Uvicorn),
    ("hypercorn", ServerKind::Hypercorn),
    ("gunicorn", ServerKind::Gunicorn),
    ("nginx", ServerKind::Nginx),
    ("haproxy", ServerKind::Haproxy),
    ("caddy", ServerKind::Caddy),
    ("httpd", ServerKind::Apache),
    ("apache2", ServerKind::Apache),
    ("apachectl", ServerKind::Apache),
    ("envoy", ServerKind::Envoy),
    ("java", ServerKind::Java),
    ("dotnet", ServerKind::Dotnet),
];

/// What products write at the beginning of `Server`.
const PRODUCTS: [(&str, ServerKind); 12] = [
    ("uvicorn", ServerKind::Uvicorn),
    ("hypercorn", ServerKind::Hypercorn),
    ("gunicorn", ServerKind::Gunicorn),
    ("nginx", ServerKind::Nginx),
    ("openresty", ServerKind::Nginx),
    ("haproxy", ServerKind::Haproxy),
    ("caddy", ServerKind::Caddy),
    ("apache-coyote", ServerKind::Java),
    ("apache", ServerKind::Apache),
    ("envoy", ServerKind::Envoy),
    ("jetty", ServerKind::Java),
    ("kestrel", ServerKind::Dotnet),
];

impl ServerKind {
    /// All of them, in the order in which they are listed.
    pub fn all() -> impl Iterator<Item = Self> {
        WORDS.iter().map(|(kind, _, _)| *kind)
    }

    fn row(self) -> &'static (Self, &'static [&'static str], &'static str) {
        WORDS
            .iter()
            .find(|(kind, _, _)| *kind == self)
            .expect("every kind has its row")
    }

    /// The word for `--for`.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().1[0]
    }

    /// Other words that mean the same.
    #[must_use]
    pub fn aliases(self) -> &'static [&'static str] {
        &self.row().1[1..]
    }

    /// Its name, as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// It surrounds a server, and is none.
    #[must_use]
    pub fn is_platform(self) -> bool {
        matches!(self, Self::Kubernetes | Self::Systemd | Self::Docker)
    }

    /// Tells the server from the command that starts it, else from the `Server` field of its answers.
    ///
    /// A program in Rust or C does not give itself away; never a platform.
    #[must_use]
    pub fn detect(argv: &[String], server_header: Option<&str>) -> Option<Self> {
        from_command(argv).or_else(|| server_header.and_then(from_header))
    }
}

impl ServerKind {
    /// Reads a word that a later version may have written: what is not known is none.
    pub(crate) fn if_known<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Self>, D::Error> {
        let word: Option<String> = Option::deserialize(input)?;
        Ok(word.and_then(|word| word.parse().ok()))
    }
}

/// The first word of the command that names a program we know, also inside of `sh -c "…"` and image names.
fn from_command(argv: &[String]) -> Option<ServerKind> {
    let own = argv.first().map(|program| base_name(program)) == Some("lameduck");
    if own && argv.iter().any(|word| word == "demo") {
        return Some(ServerKind::Lameduck);
    }
    argv.iter()
        .flat_map(|argument| argument.split_whitespace())
        .find_map(|word| {
            let name = base_name(word);
            let image = name.split(':').next().unwrap_or(name);
            let known = PROGRAMS.iter().find(|(program, _)| *program == image);
            known.map(|(_, kind)| *kind)
        })
}

fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn from_header(field: &str) -> Option<ServerKind> {
    let field = field.trim().to_ascii_lowercase();
    let known = PRODUCTS
        .iter()
        .find(|(product, _)| field.starts_with(product));
    known.map(|(_, kind)| *kind)
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for ServerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl FromStr for ServerKind {
    type Err = UnknownServer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.to_ascii_lowercase();
        let mut rows = WORDS.iter();
        let row = rows.find(|(_, words, _)| words.contains(&wanted.as_str()));
        row.map(|(kind, _, _)| *kind).ok_or(UnknownServer)
    }
}

/// No server of that name is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownServer;

impl fmt::Display for UnknownServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such server is known; known are")?;
        for (index, kind) in ServerKind::all().enumerate() {
            write!(f, "{} {kind}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownServer {}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(command: &[&str], header: Option<&str>) -> Option<ServerKind> {
        let argv: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        ServerKind::detect(&argv, header)
    }

    #[test]
    fn every_word_and_alias_parses_and_means_one() {
        let mut seen = Vec::new();
        for kind in ServerKind::all() {
            for word in std::iter::once(&kind.word()).chain(kind.aliases()) {
                assert_eq!(word.parse(), Ok(kind), "{word}");
                assert_eq!(word.to_uppercase().parse(), Ok(kind), "{word}");
                assert!(!seen.contains(word), "{word} twice");
                seen.push(word);
            }
        }
        assert_eq!("iis".parse::<ServerKind>(), Err(UnknownServer));
        assert!(UnknownServer.to_string().contains("nginx, haproxy"));
    }

    #[test]
    fn commands_give_their_server_away() {
        let cases: [(&[&str], ServerKind); 10] = [
            (&["/usr/sbin/nginx", "-g", "daemon off;"], ServerKind::Nginx),
            (
                &["python3", "-m", "uvicorn", "app:app"],
                ServerKind::Uvicorn,
            ),
            (
                &["gunicorn", "-k", "uvicorn.workers.UvicornWorker", "a:b"],
                ServerKind::Gunicorn,
            ),
            (&["sh", "-c", "exec node server.js"], ServerKind::Node),
            (&["go", "run", "."], ServerKind::Go),
            (
                &["docker", "run", "--rm", "-p", "8080:80", "nginx:1.27"],
                ServerKind::Nginx,
            ),
            (&["java", "-jar", "app.jar"], ServerKind::Java),
            (&["dotnet", "App.dll"], ServerKind::Dotnet),
            (&["apache2", "-DFOREGROUND"], ServerKind::Apache),
            (&["target/release/lameduck", "demo"], ServerKind::Lameduck),
        ];
        for (command, kind) in cases {
            assert_eq!(detect(command, None), Some(kind), "{command:?}");
        }
        assert_eq!(detect(&["target/debug/service"], None), None);
        assert_eq!(detect(&["python3", "-m", "http.server"], None), None);
    }

    #[test]
    fn else_the_server_field_does() {
        let cases = [
            ("uvicorn", ServerKind::Uvicorn),
            ("hypercorn-h11", ServerKind::Hypercorn),
            ("gunicorn/27.0.1", ServerKind::Gunicorn),
            ("nginx/1.22.1", ServerKind::Nginx),
            ("Caddy", ServerKind::Caddy),
            ("Apache/2.4.62 (Debian)", ServerKind::Apache),
            ("Apache-Coyote/1.1", ServerKind::Java),
            ("envoy", ServerKind::Envoy),
            ("Kestrel", ServerKind::Dotnet),
        ];
        for (field, kind) in cases {
            assert_eq!(detect(&["./run"], Some(field)), Some(kind), "{field}");
        }
        assert_eq!(detect(&["./run"], Some("SimpleHTTP/0.6 Python/3.11")), None);
        let both = detect(&["node", "app.js"], Some("nginx"));
        assert_eq!(
            both,
            Some(ServerKind::Node),
            "the command is nearer than what stands before it"
        );
    }
}
