//! One request to the collector (OTLP 1.x, "OTLP/HTTP"): which answers mean that it was taken, may be sent again, or never will be taken.

use std::{io::Read as _, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rustls::crypto::CryptoProvider;
use ureq::{
    Agent,
    config::RedirectAuthHeaders,
    http::{HeaderName, HeaderValue},
    tls::{RootCerts, TlsConfig},
};

use crate::settings::{BadOtlp, Otlp};

/// How much of an answer that refuses is read, to say why.
const MOST_OF_AN_ANSWER: u64 = 2_048;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Taken, but for so many spans, records or points.
    Taken { refused: u64 },
    /// It may be sent again.
    Later(Later),
    /// The same again would be refused again.
    Never { why: String },
}

/// Why it was not taken now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Later {
    pub(crate) why: String,
    /// After how long, if the collector said so.
    pub(crate) after: Option<Duration>,
    /// Whether there is a collector at all.
    pub(crate) answers: bool,
}

impl Sent {
    fn away(why: String) -> Self {
        Self::Later(Later {
            why,
            after: None,
            answers: false,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Sender {
    agent: Agent,
    endpoint: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

impl Sender {
    pub(crate) fn new(otlp: &Otlp) -> Result<Self, BadOtlp> {
        let mut headers = Vec::new();
        for (name, value) in &otlp.headers {
            // Not quoted: it is where tokens stand.
            let bad = || BadOtlp(format!("the header {name:?} cannot be one"));
            let value = HeaderValue::from_str(value).map_err(|_| bad())?;
            headers.push((
                HeaderName::try_from(name.as_str()).map_err(|_| bad())?,
                value,
            ));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .user_agent(concat!("lameduck-otlp/", env!("CARGO_PKG_VERSION")));
        if otlp.endpoint.starts_with("https:") {
            if CryptoProvider::get_default().is_none() {
                return Err(BadOtlp("an https endpoint needs a crypto provider: call CryptoProvider::install_default at the start of main".to_owned()));
            }
            let roots = RootCerts::Specific(Arc::new(otlp.roots()?));
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self {
            agent: config.build().into(),
            endpoint: otlp.endpoint.clone(),
            headers,
            timeout: otlp.timeout,
        })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sends it to this path; waits no longer than `most`.
    pub(crate) fn send(&self, path: &str, message: &impl Message, most: Option<Duration>) -> Sent {
        let timeout = most.map_or(self.timeout, |most| most.min(self.timeout));
        if timeout.is_zero() {
            return Sent::away("no time was left".to_owned());
        }
        let mut request = self
            .agent
            .post(format!("{}{path}", self.endpoint))
            .config()
            .timeout_global(Some(timeout))
            .build()
            .content_type("application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.send(&message.encode_to_vec()) {
            Ok(response) => said(response),
            Err(error) => Sent::away(error.to_string()),
        }
    }
}

fn said(mut response: ureq::http::Response<ureq::Body>) -> Sent {
    let status = response.status();
    let after = response.headers().get("retry-after");
    let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
    let after = after.map(Duration::from_secs);
    let mut body = Vec::new();
    // The answer is read so that the connection can be used again; a body that cannot be read changes nothing.
    let _ = response
        .body_mut()
        .as_reader()
        .take(MOST_OF_AN_ANSWER)
        .read_to_end(&mut body);
    if status.is_success() {
        // The three answers differ in names only: field 1 of field 1 is how many were refused.
        let answer = ExportTraceServiceResponse::decode(&*body).unwrap_or_default();
        let refused = answer
            .partial_success
            .map_or(0, |partial| partial.rejected_spans);
        return Sent::Taken {
            refused: u64::try_from(refused).unwrap_or(0),
        };
    }
    let text: String = String::from_utf8_lossy(&body)
        .chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect();
    let why = format!("{status} {text}").trim_end().to_owned();
    match status.as_u16() {
        429 | 502..=504 => Sent::Later(Later {
            why,
            after,
            answers: true,
        }),
        _ => Sent::Never { why },
    }
}
