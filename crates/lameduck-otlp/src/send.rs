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

/// How much of an answer is read that may say how much of it was not taken, and of one that refuses all.
const MOST_OF_AN_ANSWER: u64 = 64 << 10;
const MOST_OF_A_REFUSAL: u64 = 2 << 10;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Taken, but for so many spans, records or points, and with what the collector said to that.
    Taken { refused: u64, said: Option<String> },
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
        for (number, (name, value)) in otlp.headers.iter().enumerate() {
            // Neither is quoted: a token may stand in the wrong place, too.
            let bad = || {
                BadOtlp(format!(
                    "header {} cannot be one: a name, and a value of visible characters",
                    number + 1
                ))
            };
            let value = HeaderValue::from_str(value).map_err(|_| bad())?;
            headers.push((
                HeaderName::try_from(name.as_str()).map_err(|_| bad())?,
                value,
            ));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // What the variables for proxies say is meant for other traffic; loopback would go there too.
            .proxy(None)
            // One that has been idle for minutes may lead nowhere by now, and the last words have no time to find out.
            .max_idle_connections(0)
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
    let most = if status.is_success() {
        MOST_OF_AN_ANSWER
    } else {
        MOST_OF_A_REFUSAL
    };
    let mut body = Vec::new();
    // A body that cannot be read changes nothing.
    let _ = response
        .body_mut()
        .as_reader()
        .take(most)
        .read_to_end(&mut body);
    if status.is_success() {
        // The three answers differ in names only.
        let answer = ExportTraceServiceResponse::decode(&*body).unwrap_or_default();
        let partial = answer.partial_success.unwrap_or_default();
        return Sent::Taken {
            refused: u64::try_from(partial.rejected_spans).unwrap_or(0),
            said: Some(printable(partial.error_message.as_bytes())).filter(|said| !said.is_empty()),
        };
    }
    let why = format!("{status} {}", printable(&body))
        .trim_end()
        .to_owned();
    match status.as_u16() {
        429 | 502..=504 => Sent::Later(Later {
            why,
            after,
            answers: true,
        }),
        _ => Sent::Never { why },
    }
}

/// What a collector says, as a part of a line.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let plain = text.chars().filter(|letter| !letter.is_control());
    plain.take(200).collect()
}
