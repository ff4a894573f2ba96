//! Where to, as whom, how often: what a caller sets, and what the variables of OpenTelemetry say.
//!
//! Variables: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter Configuration".

use std::{
    env,
    error::Error,
    fmt, fs,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use lameduck::Lifecycle;
use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::{observer::OtlpObserver, send::Sender, worker::Worker};

/// How long one request may take while the process lives: the specification's default.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often metrics are sent: the specification's default.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long the end waits: less than the reserve of every preset but the shortest, and a round trip to any collector that lives.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest of any of these: what an `Instant` can always be moved by.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Where certificates of authorities lie on the systems that people use.
const AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// An exporter, before it exports.
#[must_use = "it exports once its observer is registered"]
pub struct Otlp {
    pub(crate) endpoint: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) authorities: Option<PathBuf>,
    /// In order; a later one of the same name replaces the earlier.
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) patience: Duration,
    pub(crate) metrics: Option<Box<dyn Fn() -> String + Send>>,
    pub(crate) trouble: Arc<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers are where tokens stand.
        f.debug_struct("Otlp")
            .field("endpoint", &self.endpoint)
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

impl Otlp {
    /// Exports to this collector: an `http` or `https` URL without the signal's path, which is appended (`/v1/traces`, `/v1/logs`,
    /// `/v1/metrics`). The usual port is 4318.
    ///
    /// # Errors
    /// [`BadOtlp`] if it is no such URL.
    pub fn to(endpoint: &str) -> Result<Self, BadOtlp> {
        Ok(Self {
            endpoint: endpoint_of(endpoint)?,
            headers: Vec::new(),
            authorities: None,
            attributes: vec![("service.name".to_owned(), program())],
            timeout: TIMEOUT,
            interval: INTERVAL,
            patience: PATIENCE,
            metrics: None,
            // Nobody may be reading any more.
            trouble: Arc::new(|what| _ = writeln!(io::stderr(), "lameduck: {what}")),
        })
    }

    /// As the variables of OpenTelemetry say; `None` if they name no endpoint, or `OTEL_SDK_DISABLED` is `true`.
    ///
    /// Read are `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_HEADERS`, `…_TIMEOUT`, `…_CERTIFICATE`, `…_PROTOCOL` (only `http/protobuf`),
    /// `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
    ///
    /// # Errors
    /// [`BadOtlp`] names the variable that cannot be followed.
    pub fn from_env() -> Result<Option<Self>, BadOtlp> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let disabled = variable("OTEL_SDK_DISABLED");
        let endpoint = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        match endpoint.filter(|_| !disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")))
        {
            Some(endpoint) => Self::to(&endpoint)?.with_variables(variable).map(Some),
            None => Ok(None),
        }
    }

    /// The other variables that [`from_env`](Self::from_env) reads, for an endpoint that was given otherwise.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn with_env(self) -> Result<Self, BadOtlp> {
        self.with_variables(|name| env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn with_variables(
        mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, BadOtlp> {
        let bad = |name: &str, why: String| BadOtlp(format!("{name}: {why}"));
        let name = "OTEL_EXPORTER_OTLP_PROTOCOL";
        if let Some(protocol) = variable(name).filter(|one| one != "http/protobuf") {
            return Err(bad(
                name,
                format!(
                    "{protocol:?} is not spoken here, only http/protobuf (the collector's port 4318)"
                ),
            ));
        }
        let name = "OTEL_EXPORTER_OTLP_HEADERS";
        if let Some(list) = variable(name) {
            // Not quoted: it is where tokens stand.
            self.headers =
                pairs(&list).ok_or_else(|| bad(name, "not KEY=VALUE,KEY=VALUE".to_owned()))?;
        }
        let name = "OTEL_EXPORTER_OTLP_CERTIFICATE";
        if let Some(path) = variable(name) {
            fs::metadata(&path).map_err(|error| bad(name, format!("{path}: {error}")))?;
            self.authorities = Some(path.into());
        }
        for (name, place) in [
            ("OTEL_EXPORTER_OTLP_TIMEOUT", &mut self.timeout),
            ("OTEL_METRIC_EXPORT_INTERVAL", &mut self.interval),
        ] {
            if let Some(text) = variable(name) {
                let millis = text.trim().parse().ok().filter(|millis| *millis > 0);
                let why = || {
                    bad(
                        name,
                        format!("{text:?} is no number of milliseconds from 1 on"),
                    )
                };
                *place = Duration::from_millis(millis.ok_or_else(why)?).min(LONGEST);
            }
        }
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        if let Some(list) = variable(name) {
            let found = pairs(&list)
                .ok_or_else(|| bad(name, format!("{list:?} is not KEY=VALUE,KEY=VALUE")))?;
            for (key, value) in found {
                self = self.attribute(key, value);
            }
        }
        if let Some(service) = variable("OTEL_SERVICE_NAME") {
            self = self.service(service);
        }
        Ok(self)
    }

    /// The name of the service, `service.name`; the program's name unless it is set.
    pub fn service(self, name: impl Into<String>) -> Self {
        self.attribute("service.name", name)
    }

    /// An attribute of the resource, on everything that is sent.
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let key = key.into();
        self.attributes.retain(|(have, _)| *have != key);
        self.attributes.push((key, value.into()));
        self
    }

    /// A header of every request.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Whom an `https` collector's certificate may be signed by: certificates as PEM. The system's unless it is set.
    pub fn authorities(mut self, file: impl Into<PathBuf>) -> Self {
        self.authorities = Some(file.into());
        self
    }

    /// Metrics to send, as OpenMetrics text; `lameduck_http::metrics` writes such a text. Called on the exporter's thread.
    pub fn metrics(mut self, text: impl Fn() -> String + Send + 'static) -> Self {
        self.metrics = Some(Box::new(text));
        self
    }

    /// How often metrics are sent; 60 s unless it is set.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.clamp(Duration::from_millis(1), LONGEST);
        self
    }

    /// How long the end of the process may wait for what is not sent yet; 2 s unless it is set. It never goes past the deadline.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(LONGEST);
        self
    }

    /// Who hears that a collector cannot be reached, or can be again; a line on stderr unless it is set.
    pub fn on_trouble(mut self, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.trouble = Arc::new(say);
        self
    }

    /// Whether it can be exported as asked, as far as that can be told before it begins.
    ///
    /// # Errors
    /// As [`observer`](Self::observer), but for threads.
    pub fn check(&self) -> Result<(), BadOtlp> {
        Sender::new(self).map(drop)
    }

    /// What [`Lifecycle::observe`] takes.
    ///
    /// # Errors
    /// [`BadOtlp`] if a header cannot be one; for an `https` endpoint if there is no default crypto provider, or the certificates of
    /// authorities cannot be read; or if no thread is left.
    pub fn observer(self, life: &Lifecycle) -> Result<OtlpObserver, BadOtlp> {
        let sender = Sender::new(&self)?;
        let patience = self.patience;
        let worker = Worker::start(self, sender, life)
            .map_err(|error| BadOtlp(format!("no thread for the exporter: {error}")))?;
        Ok(OtlpObserver::new(worker, patience))
    }

    /// Whom an `https` collector's certificate may be signed by.
    pub(crate) fn roots(&self) -> Result<Vec<Certificate<'static>>, BadOtlp> {
        let place = match &self.authorities {
            Some(path) => path.clone(),
            None => AUTHORITIES
                .into_iter()
                .find(|path| fs::metadata(path).is_ok())
                .map(PathBuf::from)
                .ok_or_else(|| BadOtlp("no certificates of authorities found: name a file in OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned()))?,
        };
        let failed = |why: io::Error| BadOtlp(format!("{}: {why}", place.display()));
        let pem = fs::read(&place).map_err(failed)?;
        let found: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(one)) => Some(one),
                _ => None,
            })
            .collect();
        if found.is_empty() {
            return Err(failed(io::Error::other("there is no certificate in it")));
        }
        Ok(found)
    }
}

/// Why telemetry cannot be exported as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOtlp(pub(crate) String);

impl fmt::Display for BadOtlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BadOtlp {}

/// An endpoint without a trailing slash.
fn endpoint_of(text: &str) -> Result<String, BadOtlp> {
    let trimmed = text.trim().trim_end_matches('/');
    let hint = "an OTLP endpoint is a URL such as http://127.0.0.1:4318";
    // A password before an `@` would stand in every message about this endpoint.
    if text.contains('@') {
        return Err(BadOtlp("an OTLP endpoint has no user and password: say who you are in a header, by OTEL_EXPORTER_OTLP_HEADERS".to_owned()));
    }
    let uri: ureq::http::Uri = trimmed
        .parse()
        .map_err(|error| BadOtlp(format!("{text:?}: {error}; {hint}")))?;
    let speaks = matches!(uri.scheme_str(), Some("http" | "https"));
    if !speaks || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
        return Err(BadOtlp(format!("{text:?}: {hint}")));
    }
    Ok(trimmed.to_owned())
}

/// `KEY=VALUE,KEY=VALUE`, values percent-encoded.
fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let parts = list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=')?;
            let value = percent_encoding::percent_decode_str(value.trim())
                .decode_utf8()
                .ok()?;
            let key = key.trim();
            (!key.is_empty()).then(|| (key.to_owned(), value.into_owned()))
        })
        .collect()
}

/// The specification's fallback is `unknown_service:NAME`; a name is a better one.
fn program() -> String {
    let path = env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_name());
    name.map_or_else(
        || "unknown_service".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Otlp, BadOtlp> {
        Otlp::to("http://127.0.0.1:4318/")?.with_variables(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_are_followed() {
        let otlp = with(&[
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=none, deployment.environment=a%2Cb",
            ),
            ("OTEL_SERVICE_NAME", "shop"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
        ])
        .expect("all of them can be followed");
        assert_eq!(otlp.endpoint, "http://127.0.0.1:4318");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            otlp.attributes,
            [
                pair("deployment.environment", "a,b"),
                pair("service.name", "shop")
            ]
        );
        assert_eq!(otlp.headers, [pair("authorization", "Bearer x")]);
        assert_eq!(otlp.timeout, Duration::from_millis(250));
        assert_eq!(otlp.interval, Duration::from_millis(1_500));
        assert!(!format!("{otlp:?}").contains("Bearer"));
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (variable, value, said) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only http/protobuf"),
            (
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                "soon",
                "no number of milliseconds",
            ),
            (
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                "0",
                "no number of milliseconds",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "not KEY=VALUE"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=x", "not KEY=VALUE"),
            (
                "OTEL_EXPORTER_OTLP_CERTIFICATE",
                "/nowhere/ca.pem",
                "No such file",
            ),
        ] {
            let refused = with(&[(variable, value)]).expect_err(value).to_string();
            assert!(
                refused.starts_with(variable) && refused.contains(said),
                "{refused}"
            );
            assert!(!refused.contains("secret"), "{refused}");
        }
        for endpoint in [
            "",
            "collector:4318",
            "grpc://a:4317",
            "http://",
            "http://a/?x=y",
            "http://a b",
        ] {
            let refused = Otlp::to(endpoint).expect_err(endpoint).to_string();
            assert!(refused.contains("http://127.0.0.1:4318"), "{refused}");
        }
    }
}
