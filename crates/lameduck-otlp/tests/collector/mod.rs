//! A collector of our own: keeps what it is sent, and answers as the test wants.
#![allow(
    dead_code,
    reason = "each test binary compiles this in whole and uses a part"
)]

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest,
        metrics::v1::ExportMetricsServiceRequest,
        trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        },
    },
    common::v1::KeyValue,
    logs::v1::LogRecord,
    metrics::v1::Metric,
    trace::v1::Span,
};
use prost::Message as _;

/// No body here is larger.
const MOST: usize = 4 << 20;

pub(crate) struct Request {
    pub(crate) path: String,
    /// How many came to this path before.
    pub(crate) number: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Ok,
    /// 503: again, please.
    Busy,
    /// 400: never.
    Bad,
    /// 200, but for so many.
    Partly(i64),
    Never,
}

/// What came, in order.
#[derive(Clone, Default)]
pub(crate) struct Got {
    pub(crate) heads: Vec<String>,
    pub(crate) traces: Vec<ExportTraceServiceRequest>,
    pub(crate) logs: Vec<ExportLogsServiceRequest>,
    pub(crate) metrics: Vec<ExportMetricsServiceRequest>,
}

impl Got {
    pub(crate) fn resources(&self) -> Vec<Vec<KeyValue>> {
        let traces = self
            .traces
            .iter()
            .flat_map(|one| &one.resource_spans)
            .map(|one| &one.resource);
        let logs = self
            .logs
            .iter()
            .flat_map(|one| &one.resource_logs)
            .map(|one| &one.resource);
        let metrics = self
            .metrics
            .iter()
            .flat_map(|one| &one.resource_metrics)
            .map(|one| &one.resource);
        let all = traces.chain(logs).chain(metrics);
        all.map(|one| one.clone().expect("a resource").attributes)
            .collect()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let scopes = self
            .traces
            .iter()
            .flat_map(|one| &one.resource_spans)
            .flat_map(|one| &one.scope_spans);
        scopes.flat_map(|one| one.spans.clone()).collect()
    }

    pub(crate) fn records(&self) -> Vec<LogRecord> {
        let scopes = self
            .logs
            .iter()
            .flat_map(|one| &one.resource_logs)
            .flat_map(|one| &one.scope_logs);
        scopes.flat_map(|one| one.log_records.clone()).collect()
    }

    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let scopes = self
            .metrics
            .iter()
            .flat_map(|one| &one.resource_metrics)
            .flat_map(|one| &one.scope_metrics);
        scopes.flat_map(|one| one.metrics.clone()).collect()
    }
}

#[derive(Default)]
struct Kept {
    got: Mutex<Got>,
    came: Condvar,
}

pub(crate) struct Collector {
    pub(crate) endpoint: String,
    kept: Arc<Kept>,
}

impl Collector {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_over("http", answer, |tcp| tcp)
    }

    /// Over TLS, with this configuration.
    pub(crate) fn start_tls(config: rustls::ServerConfig) -> Self {
        let config = Arc::new(config);
        let shake = move |tcp| {
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            rustls::StreamOwned::new(tls, tcp)
        };
        Self::start_over("https", |_| Answer::Ok, shake)
    }

    fn start_over<S: Read + Write + 'static>(
        scheme: &str,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        over: impl Fn(TcpStream) -> S + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        // A name, as certificates have them.
        let host = if scheme == "https" {
            "localhost"
        } else {
            "127.0.0.1"
        };
        let endpoint = format!("{scheme}://{host}:{port}");
        let kept = Arc::new(Kept::default());
        let (keeping, answer, over) = (Arc::clone(&kept), Arc::new(answer), Arc::new(over));
        // Both threads end with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (keeping, answer) = (Arc::clone(&keeping), Arc::clone(&answer));
                let over = Arc::clone(&over);
                thread::spawn(move || serve(over(stream), &keeping, &*answer));
            }
        });
        Self { endpoint, kept }
    }

    pub(crate) fn got(&self) -> Got {
        self.kept.got.lock().expect("not poisoned").clone()
    }

    /// Until so many requests have come.
    pub(crate) fn wait_for(&self, count: usize) {
        let got = self.kept.got.lock().expect("not poisoned");
        let few = |got: &mut Got| got.heads.len() < count;
        let bound = Duration::from_secs(20);
        let (got, waited) = self
            .kept
            .came
            .wait_timeout_while(got, bound, few)
            .expect("not poisoned");
        assert!(!waited.timed_out(), "{} requests came", got.heads.len());
    }
}

fn serve(stream: impl Read + Write, kept: &Kept, answer: &dyn Fn(&Request) -> Answer) {
    let mut reading = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            // A client that goes may go without a word.
            if reading.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        let length = lower
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
        assert!(length <= MOST, "{length}");
        let mut body = vec![0; length];
        reading.read_exact(&mut body).expect("a body");
        if lower.contains("content-encoding: gzip") {
            let mut plain = Vec::new();
            let packed = flate2::read::GzDecoder::new(&*body);
            packed
                .take(MOST as u64)
                .read_to_end(&mut plain)
                .expect("gzip");
            body = plain;
        }
        let path = head.split(' ').nth(1).expect("a path").to_owned();
        let answer = answer(&keep(kept, lower, path, &body));
        let (status, body) = match answer {
            Answer::Ok => ("200 OK", Vec::new()),
            Answer::Busy => ("503 Service Unavailable", b"busy".to_vec()),
            Answer::Bad => ("400 Bad Request", b"never".to_vec()),
            Answer::Partly(rejected_spans) => {
                let partial_success = Some(ExportTracePartialSuccess {
                    rejected_spans,
                    error_message: "too old".to_owned(),
                });
                (
                    "200 OK",
                    ExportTraceServiceResponse { partial_success }.encode_to_vec(),
                )
            }
            Answer::Never => loop {
                thread::park();
            },
        };
        let writing = reading.get_mut();
        write!(
            writing,
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .expect("a reader");
        writing.write_all(&body).expect("a reader");
        writing.flush().expect("a reader");
    }
}

fn keep(kept: &Kept, head: String, path: String, body: &[u8]) -> Request {
    let mut got = kept.got.lock().expect("not poisoned");
    let number = match path.as_str() {
        "/v1/traces" => {
            got.traces
                .push(ExportTraceServiceRequest::decode(body).expect("traces"));
            got.traces.len()
        }
        "/v1/logs" => {
            got.logs
                .push(ExportLogsServiceRequest::decode(body).expect("logs"));
            got.logs.len()
        }
        "/v1/metrics" => {
            got.metrics
                .push(ExportMetricsServiceRequest::decode(body).expect("metrics"));
            got.metrics.len()
        }
        other => panic!("nobody asked for {other}"),
    } - 1;
    got.heads.push(head);
    drop(got);
    kept.came.notify_all();
    Request { path, number }
}
