//! The gRPC example, drained: calls in flight end with their trailers, health is told, clients that know another instance see nothing.

#[path = "../src/bin/grpc/note.rs"]
mod note;
#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use std::future::Future;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use note::{ECHO, Note};
use support::{BOUND, service::Service};
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_prost::ProstCodec;

const PLAN: [(&str, &str); 3] = [
    ("LISTEN", "127.0.0.1:0"),
    ("LAMEDUCK_WINDOW", "1,0.1,3"),
    ("LAMEDUCK_GRACE", "30s"),
];

async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(BOUND, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in {BOUND:?}"))
}

fn instance(plan: &[(&str, &str)]) -> (Service, SocketAddr) {
    let mut service = Service::start(env!("CARGO_BIN_EXE_grpc"), &[], plan);
    let address = Service::address(&service.line("listening on "), "listening on ");
    (service, address)
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).expect("an address")
}

fn note(text: &str, delay_ms: u32) -> Note {
    let text = text.to_owned();
    Note { text, delay_ms }
}

fn path(call: &str) -> PathAndQuery {
    format!("/{ECHO}/{call}").parse().expect("a path")
}

type Codec = ProstCodec<Note, Note>;

struct Echo(Grpc<Channel>);

impl Echo {
    /// On a connection of its own, as soon as somebody listens.
    async fn connect(address: SocketAddr) -> Self {
        let connected = async {
            loop {
                if let Ok(channel) = endpoint(address).connect().await {
                    return channel;
                }
                tokio::task::yield_now().await;
            }
        };
        Self(Grpc::new(soon("a connection", connected).await))
    }

    async fn say(&mut self, note: Note) -> Result<Note, Status> {
        self.0.ready().await.map_err(refused)?;
        let answer = self
            .0
            .unary(Request::new(note), path("Say"), Codec::default());
        Ok(soon("an answer", answer).await?.into_inner())
    }

    async fn count(&mut self, note: Note) -> Streaming<Note> {
        soon("a connection", self.0.ready()).await.expect("open");
        let call = Request::new(note);
        let answer = self
            .0
            .server_streaming(call, path("Count"), Codec::default());
        soon("a head", answer).await.expect("served").into_inner()
    }

    /// A conversation that its caller keeps going.
    async fn chat(&mut self) -> (mpsc::Sender<Note>, Streaming<Note>) {
        let (sender, notes) = mpsc::channel(1);
        let notes = futures_util::stream::unfold(notes, async |mut notes: mpsc::Receiver<_>| {
            notes.recv().await.map(|note| (note, notes))
        });
        soon("a connection", self.0.ready()).await.expect("open");
        let call = Request::new(Box::pin(notes));
        let answer = self.0.streaming(call, path("Chat"), Codec::default());
        (
            sender,
            soon("a head", answer).await.expect("served").into_inner(),
        )
    }
}

fn refused(error: tonic::transport::Error) -> Status {
    Status::unavailable(error.to_string())
}

async fn next(notes: &mut Streaming<Note>) -> Result<Option<String>, Status> {
    let note = soon("a note or the end", notes.message()).await?;
    Ok(note.map(|note| note.text))
}

async fn text(notes: &mut Streaming<Note>) -> String {
    next(notes).await.expect("no failure").expect("a note")
}

#[tokio::test]
async fn h2_09_calls_in_flight_end_with_their_trailers() {
    let mut plan = PLAN;
    plan[1].1 = "5,0.1,8"; // long enough to talk in
    let (service, address) = instance(&plan);
    let mut echo = Echo::connect(address).await;
    let mut says = Echo(echo.0.clone());
    let said = tokio::spawn(async move { says.say(note("late", 1_000)).await });
    let (talk, mut replies) = echo.chat().await;
    talk.send(note("before", 0)).await.expect("open");
    assert_eq!(text(&mut replies).await, "before");
    let mut counted = echo.count(note("4", 100)).await;
    assert_eq!(text(&mut counted).await, "1");

    service.signal(libc::SIGTERM);
    let (idle_talk, mut idle_replies) = Echo::connect(address).await.chat().await;
    talk.send(note("after", 0)).await.expect("open");
    assert_eq!(text(&mut replies).await, "after");
    drop(talk);
    assert_eq!(next(&mut replies).await.expect("trailers"), None);
    for number in ["2", "3", "4"] {
        assert_eq!(text(&mut counted).await, number);
    }
    // `None` comes with trailers that say OK, and only with them.
    assert_eq!(next(&mut counted).await.expect("trailers"), None);
    let said = said.await.expect("no panic").expect("no failure");
    assert_eq!(said.text, "late");
    // The one that nobody ends hears of it, and says so itself.
    let told = next(&mut idle_replies).await.expect_err("it is told");
    assert_eq!(told.code(), Code::Unavailable);
    assert_eq!(told.message(), "the server is leaving");
    drop(idle_talk);
    let ended = tokio::task::spawn_blocking(|| service.end().assert_drained());
    ended.await.expect("drained");
}

#[tokio::test]
async fn h2_09_health_says_not_serving_and_its_watch_does_not_hold_the_exit() {
    let (service, address) = instance(&PLAN);
    let channel = Echo::connect(address).await.0;
    drop(channel);
    let ask = HealthCheckRequest::default;
    let connected = soon("a connection", endpoint(address).connect()).await;
    let mut health = HealthClient::new(connected.expect("served"));
    let watch = soon("a head", health.watch(ask())).await;
    let mut watch = watch.expect("watched").into_inner();
    let first = soon("a word", watch.message()).await;
    let first = first.expect("no failure").expect("a word");
    assert_eq!(first.status(), ServingStatus::Serving);

    service.signal(libc::SIGTERM);
    let told = soon("the news", watch.message()).await;
    let told = told.expect("no failure").expect("a word");
    assert_eq!(told.status(), ServingStatus::NotServing);
    // A new connection, in the window: a unary call keeps its own end.
    let connected = soon("a connection", endpoint(address).connect()).await;
    let mut late = HealthClient::new(connected.expect("the window accepts"));
    let answer = soon("an answer", late.check(ask())).await;
    let answer = answer.expect("trailers of its own").into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);

    let end = soon("the end of the stream", watch.message()).await;
    assert_eq!(end.expect_err("ended").code(), Code::Unavailable);
    drop((health, late));
    let report = tokio::task::spawn_blocking(|| service.end().assert_drained());
    let report = report.await.expect("drained");
    assert_eq!(report["counts"]["streams_ended"], 1, "{report:#}");
}

/// Calls in turn to two instances, each tried again at the other when it fails. How many there were.
///
/// tonic's own balancer would not do: it prefers the instance with the least load, which is one that refuses.
async fn caller(channels: [Channel; 2], enough: Arc<AtomicBool>, retried: Arc<AtomicU64>) -> u64 {
    let mut instances = channels.map(|channel| Echo(Grpc::new(channel)));
    let (mut calls, mut left) = (0, 20);
    while left > 0 {
        // Relaxed: nothing but the number of calls hangs on it.
        if enough.load(Ordering::Relaxed) {
            left -= 1;
        }
        calls += 1;
        instances.reverse();
        if let Err(status) = instances[0].say(note("x", 5)).await {
            // The second is tonic's word for a call that was never sent.
            let is_safe = matches!(status.code(), Code::Unavailable | Code::Cancelled);
            assert!(is_safe, "{status:?}");
            retried.fetch_add(1, Ordering::Relaxed);
            let again = instances[1].say(note("x", 5)).await;
            again.expect("the other instance");
        }
    }
    calls
}

#[tokio::test]
async fn h2_09_a_channel_that_knows_a_second_instance_sees_no_failure() {
    let ((leaving, first), (staying, second)) = (instance(&PLAN), instance(&PLAN));
    for address in [first, second] {
        Echo::connect(address).await;
    }
    let channel = [first, second].map(|address| endpoint(address).connect_lazy());
    let (enough, retried) = (Arc::default(), Arc::default());
    let callers: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(caller(
                channel.clone(),
                Arc::clone(&enough),
                Arc::clone(&retried),
            ))
        })
        .collect();
    leaving.signal(libc::SIGTERM);
    let report = tokio::task::spawn_blocking(|| leaving.end().assert_drained());
    let report = report.await.expect("drained");
    enough.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for caller in callers {
        calls += soon("a caller's end", caller)
            .await
            .expect("no failed call");
    }
    assert!(
        report["counts"]["requests"].as_u64() > Some(0),
        "{report:#}"
    );
    println!("{calls} calls, of which {retried:?} were tried again");
    drop((channel, staying));
}

/// A client that was not written here: grpcio, with the retry policy of its own.
const PYTHON: &str = r#"
import json, sys, threading, grpc
policy = {"maxAttempts": 4, "initialBackoff": "0.02s", "maxBackoff": "0.2s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}
config = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [{"name": [{}], "retryPolicy": policy}]}
channel = grpc.insecure_channel("ipv4:" + ",".join(sys.argv[1:]), options=[("grpc.default_authority", "echo"), ("grpc.service_config", json.dumps(config))])
say = channel.unary_unary("/lameduck.example.v1.Echo/Say")
enough, failures, calls = threading.Event(), [], []
def caller():
    count, left = 0, 20
    while left:
        left -= enough.is_set()
        count += 1
        try:
            assert say(b"\x0a\x01x\x10\x05", timeout=30) == b"\x0a\x01x\x10\x05"
        except grpc.RpcError as error:
            failures.append(f"{error.code()} {error.details()}")
    calls.append(count)
grpc.channel_ready_future(channel).result(timeout=30)
callers = [threading.Thread(target=caller) for _ in range(4)]
for one in callers: one.start()
print("calling", flush=True)
sys.stdin.read()
enough.set()
for one in callers: one.join()
print(f"{sum(calls)} calls, failures {failures[:9]}", flush=True)
"#;

#[test]
fn h2_09_grpcio_sees_no_failure() {
    let has_grpcio = Command::new("python3").args(["-c", "import grpc"]).output();
    if !has_grpcio.is_ok_and(|tried| tried.status.success()) {
        println!("skipped: there is no python3 with grpcio here (pip install grpcio)");
        return;
    }
    let ((leaving, first), (staying, second)) = (instance(&PLAN), instance(&PLAN));
    let addresses = [first.to_string(), second.to_string()];
    let mut command = Command::new("python3");
    command.arg("-c").arg(PYTHON).args(addresses);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Held(command.spawn().expect("python3 starts"));
    let stdin = child.0.stdin.take().expect("it is piped");
    let stdout = child.0.stdout.take().expect("it is piped");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    let mut line = || lines.next().expect("a line").expect("text");
    assert_eq!(line(), "calling");
    leaving.signal(libc::SIGTERM);
    let report = leaving.end().assert_drained();
    drop(stdin);
    let said = line();
    assert!(said.ends_with("failures []"), "{said}");
    assert!(
        report["counts"]["requests"].as_u64() > Some(0),
        "{report:#}"
    );
    println!("{said}");
    drop(staying);
}

/// A process that does not outlive the test.
struct Held(std::process::Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
