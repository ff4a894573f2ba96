//! What a client adds to a request on a kept connection, beside hyper-util's legacy client and a connection of hyper's without any pool.
//!
//! `cargo bench -p lameduck-benches --bench client` prints one table (with `-- --lines` one JSON object a line). How contenders are timed, and why only
//! ratios of one run mean anything, stands in `micro`, whose harness this is.
//!
//! Owns the cases, and the server that answers all of them: a thread that reads a head and writes the same bytes back.

#[path = "micro/harness.rs"]
#[expect(dead_code, reason = "no case here needs a fresh scene each time")]
mod harness;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lameduck::{Lifecycle, Plan, Preset};
use lameduck_http::client::Client;
use tokio::runtime::Runtime;

use self::harness::{Bench, Case, Effort, Goal, Work};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// Longest head that the server reads.
const LARGEST: usize = 4_096;

fn main() {
    let effort = if std::env::args().any(|arg| arg == "--bench") {
        Effort::Full
    } else {
        Effort::Smoke
    };
    let mut bench = Bench::new(effort);
    bench.run(&kept(serve()));
    if std::env::args().any(|arg| arg == "--lines") {
        bench.print_lines();
    } else {
        bench.print();
    }
}

/// Answers on every connection until its client hangs up; ends with the process.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: std::net::TcpStream) {
    let mut head = Vec::new();
    let mut buffer = [0; LARGEST];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        head.extend_from_slice(&buffer[..count]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        } else if head.len() > LARGEST {
            return;
        }
    }
}

/// One request after the other on one connection that is kept.
fn kept(address: SocketAddr) -> Case {
    Case::new("GET on a kept connection", 1)
        .of("lameduck_http::client", ours(address))
        .beside("hyper-util legacy", legacy(address))
        .beside("hyper, no pool", bare(address))
        .goal(Goal::Ratio {
            beside: "hyper-util legacy",
            at_most: 1.1,
        })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Sends again and again, in a runtime of its own that goes on where it stood.
fn sending<C, F>(runtime: Runtime, client: C, send: F) -> Work
where
    C: Send + 'static,
    F: AsyncFn(&mut C) + Send + Sync + 'static,
{
    let kept = Mutex::new((runtime, client));
    Box::new(move |slice| {
        let mut kept = kept.lock().expect("one slice at a time");
        let (runtime, client) = &mut *kept;
        runtime.block_on(async {
            let (start, mut done) = (Instant::now(), 0);
            loop {
                send(client).await;
                done += 1;
                let took = start.elapsed();
                if took >= slice {
                    return (done, took);
                }
            }
        })
    })
}

fn ours(address: SocketAddr) -> Work {
    let runtime = runtime();
    let client = runtime.block_on(async {
        let life = Lifecycle::embedded(Plan::preset(Preset::Local)).expect("a lifecycle");
        let client = Client::builder(&life).build().expect("a free name");
        life.ready();
        (client, life)
    });
    let uri = format!("http://{address}/");
    sending(runtime, client, async move |(client, _life)| {
        let request = Request::get(&uri).body(()).expect("a request");
        let response = client.send(request).await.expect("an answer");
        read(response.into_body()).await;
    })
}

fn legacy(address: SocketAddr) -> Work {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build::<_, Empty<Bytes>>(connector);
    let uri = format!("http://{address}/");
    sending(runtime(), client, async move |client| {
        let request = Request::get(&uri).body(Empty::new()).expect("a request");
        let response = client.request(request).await.expect("an answer");
        read(response.into_body()).await;
    })
}

fn bare(address: SocketAddr) -> Work {
    let runtime = runtime();
    let sender: SendRequest<Empty<Bytes>> = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.expect("nothing is said yet");
        tokio::spawn(connection);
        sender
    });
    sending(runtime, sender, async move |sender| {
        let request = Request::get("/").header("host", "a").body(Empty::new());
        sender.ready().await.expect("it is kept");
        let response = sender.send_request(request.expect("a request")).await;
        read(response.expect("an answer").into_body()).await;
    })
}

async fn read<B: hyper::body::Body<Error: std::fmt::Debug>>(body: B) {
    let body = body.collect().await.expect("a whole answer").to_bytes();
    assert_eq!(&body[..], b"ok");
}
