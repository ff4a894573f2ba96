//! Two hops: a client, a service that uses one, and a service behind it, both replaced again and again while all of them are at work.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use axum::Router;
use axum::extract::State;
use axum::routing::any;
use http::{Method, Request, StatusCode};
use lameduck::{Lifecycle, Outcome};
use lameduck_http::Protocols;
use lameduck_http::client::{Body, Client};

use super::support::{Side, uri, whole};
use crate::support::{plan, soon, window};

/// How often an instance is replaced, and how many requests are answered between two times.
const ROUNDS: usize = 8;
const BETWEEN: usize = 60;
const USERS: usize = 6;

/// One hop: a listening socket that its instances share, and the one that serves now.
struct Hop {
    listener: TcpListener,
    /// Where its requests go.
    next: Option<std::net::SocketAddr>,
    protocols: Protocols,
    now: Instance,
}

struct Instance {
    life: Lifecycle,
    client: Client,
}

#[derive(Clone)]
struct Forward {
    client: Client,
    to: Option<std::net::SocketAddr>,
}

async fn answer(State(forward): State<Forward>, method: Method) -> (StatusCode, String) {
    let Some(to) = forward.to else {
        tokio::task::yield_now().await;
        return (StatusCode::OK, format!("{method} served"));
    };
    let request = Request::builder().method(method).uri(uri(to, "/"));
    let request = request.body(Body::from("abc")).expect("a request");
    match forward.client.send(request).await {
        Ok(response) => {
            let status = response.status();
            let body = whole(response).await.into_body().to_vec();
            (status, String::from_utf8(body).expect("text"))
        }
        Err(error) => {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            (StatusCode::BAD_GATEWAY, format!("{error}: {why:?}"))
        }
    }
}

impl Hop {
    async fn start(protocols: Protocols, next: Option<std::net::SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let now = instance(&listener, protocols, next).await;
        Self {
            listener,
            next,
            protocols,
            now,
        }
    }

    fn addr(&self) -> std::net::SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    /// A fresh instance takes over; the old one is told to stop.
    async fn replace(&mut self) -> Instance {
        let fresh = instance(&self.listener, self.protocols, self.next).await;
        let old = std::mem::replace(&mut self.now, fresh);
        old.life.shutdown("replaced");
        old
    }
}

async fn instance(
    listener: &TcpListener,
    protocols: Protocols,
    next: Option<std::net::SocketAddr>,
) -> Instance {
    let life = Lifecycle::embedded(plan(window(30, 0, 60))).expect("a lifecycle");
    let client = Client::builder(&life).protocols(protocols).build();
    let client = client.expect("a client");
    let forward = Forward {
        client: client.clone(),
        to: next,
    };
    let app = Router::new().route("/", any(answer)).with_state(forward);
    let listener = listener.try_clone().expect("a descriptor");
    lameduck_http::serve_listener(&life, listener, app)
        .shared()
        .after(&client)
        .await
        .expect("a server");
    life.ready();
    assert!(soon("Running", life.running()).await);
    Instance { life, client }
}

impl Instance {
    async fn ended(self) {
        let outcome = soon("the end", self.life.outcome()).await;
        assert_eq!(outcome, Outcome::Drained, "{:?}", self.life.report());
        assert_eq!(self.client.snapshot().open, 0);
    }
}

async fn every_request_is_answered(protocols: Protocols, methods: &'static [Method]) {
    let mut back = Hop::start(protocols, None).await;
    let mut front = Hop::start(protocols, Some(back.addr())).await;
    let side = Side::with(|builder| builder.protocols(protocols)).await;
    let (answered, enough) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let users: Vec<_> = (0..USERS)
        .map(|user| {
            let (client, addr) = (side.client.clone(), front.addr());
            let (answered, enough) = (Arc::clone(&answered), Arc::clone(&enough));
            tokio::spawn(async move {
                for method in methods.iter().cycle().skip(user) {
                    if enough.load(SeqCst) {
                        return;
                    }
                    let request = Request::builder().method(method).uri(uri(addr, "/"));
                    let request = request.body(Body::from("abc")).expect("a request");
                    let sent = soon("an answer", client.send(request)).await;
                    let answer =
                        whole(sent.unwrap_or_else(|error| panic!("{method}: {error:?}"))).await;
                    let status = answer.status();
                    assert_eq!(status, StatusCode::OK, "{method}: {:?}", answer.body());
                    assert_eq!(*answer.body(), format!("{method} served"));
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let mut random = [0; ROUNDS];
    getrandom::fill(&mut random).expect("random numbers");
    // Seen when it fails.
    println!("random: {random:?}");
    let mut old = Vec::new();
    for dice in random {
        let until = answered.load(SeqCst) + usize::from(dice) % BETWEEN;
        let more = async {
            while answered.load(SeqCst) < until && !users.iter().any(|user| user.is_finished()) {
                tokio::task::yield_now().await;
            }
        };
        soon("answers", more).await;
        match dice % 3 {
            0 => old.push(front.replace().await),
            1 => old.push(back.replace().await),
            _ => {
                old.push(front.replace().await);
                old.push(back.replace().await);
            }
        }
    }
    for instance in old {
        instance.ended().await;
    }
    enough.store(true, SeqCst);
    for user in users {
        soon("the last answer", user)
            .await
            .expect("every request is answered");
    }
    side.drained().await;
    for hop in [front, back] {
        hop.now.life.shutdown("the test is over");
        hop.now.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hops_are_replaced_at_random_and_every_request_is_answered() {
    // A POST could cross a FIN, and nobody could know.
    every_request_is_answered(Protocols::Both, &[Method::GET, Method::PUT, Method::DELETE]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hops_over_http_2_answer_every_post_too() {
    every_request_is_answered(Protocols::Http2, &[Method::POST, Method::GET]).await;
}
