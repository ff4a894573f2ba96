//! gRPC in the demo: `lameduck.demo.v1.Echo` and `grpc.health.v1.Health`, as routes beside the others.
//!
//! ```proto
//! package lameduck.demo.v1;
//! message Note { string text = 1; uint32 delay_ms = 2; }
//! service Echo {
//!   rpc Say(Note) returns (Note);                 // after delay_ms
//!   rpc Count(Note) returns (stream Note);        // as many as text says, delay_ms apart
//!   rpc Chat(stream Note) returns (stream Note);  // each at once
//! }
//! ```

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{Router, extract::Request as HttpRequest, http::Response as HttpResponse};
use lameduck::Lifecycle;
use tokio::time::Sleep;
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::Service,
    server::{Grpc, ServerStreamingService, StreamingService, UnaryService},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_prost::ProstCodec;

use super::config::Config;

type Pinned<T> = Pin<Box<dyn Future<Output = T> + Send>>;

const ECHO: &str = "lameduck.demo.v1.Echo";

/// The gRPC services. Health says `NOT_SERVING` from T on, and ends its watches at the window's end.
pub(super) fn router(life: &Lifecycle, config: Arc<ArcSwap<Config>>) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report(reporter, life.clone()));
    Router::new()
        .route_service("/lameduck.demo.v1.Echo/{*method}", Echo { config })
        .route_service("/grpc.health.v1.Health/{*method}", health)
}

async fn report(mut reporter: HealthReporter, life: Lifecycle) {
    const NAMES: [&str; 2] = ["", ECHO];
    let drain = life.drain();
    for name in NAMES {
        reporter
            .set_service_status(name, ServingStatus::Serving)
            .await;
    }
    drain.steering().await;
    for name in NAMES {
        reporter
            .set_service_status(name, ServingStatus::NotServing)
            .await;
    }
    drain.closing().await;
    for name in NAMES {
        reporter.clear_service_status(name).await;
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Note {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(uint32, tag = "2")]
    delay_ms: u32,
}

#[derive(Clone)]
struct Echo {
    config: Arc<ArcSwap<Config>>,
}

impl Echo {
    fn delay(&self, note: &Note) -> Result<Duration, Status> {
        let most = self.config.load().max_ms;
        if u64::from(note.delay_ms) > most {
            let why = format!("delay_ms={} is more than {most}", note.delay_ms);
            return Err(Status::invalid_argument(why));
        }
        Ok(Duration::from_millis(u64::from(note.delay_ms)))
    }
}

impl Service<HttpRequest> for Echo {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pinned<Result<HttpResponse<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Note, Note>::default());
            let method = request.uri().path().rsplit('/').next();
            Ok(match method {
                Some("Say") => grpc.unary(Say(echo), request).await,
                Some("Count") => grpc.server_streaming(Count(echo), request).await,
                Some("Chat") => grpc.streaming(Chat, request).await,
                _ => Status::unimplemented("Echo has Say, Count and Chat").into_http(),
            })
        })
    }
}

struct Say(Echo);

impl UnaryService<Note> for Say {
    type Response = Note;
    type Future = Pinned<Result<Response<Note>, Status>>;

    fn call(&mut self, request: Request<Note>) -> Self::Future {
        let note = request.into_inner();
        let delay = self.0.delay(&note);
        Box::pin(async move {
            tokio::time::sleep(delay?).await;
            Ok(Response::new(note))
        })
    }
}

struct Count(Echo);

impl ServerStreamingService<Note> for Count {
    type Response = Note;
    type ResponseStream = Counting;
    type Future = Ready<Result<Response<Counting>, Status>>;

    fn call(&mut self, request: Request<Note>) -> Self::Future {
        ready(self.counting(&request.into_inner()).map(Response::new))
    }
}

impl Count {
    fn counting(&self, note: &Note) -> Result<Counting, Status> {
        let most = self.0.config.load().max_chunks;
        let total = note.text.parse().ok().filter(|total| *total <= most);
        let total = total.ok_or_else(|| {
            Status::invalid_argument(format!("text says how many: a number up to {most}"))
        })?;
        Ok(Counting {
            sent: 0,
            total,
            pause: self.0.delay(note)?,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        })
    }
}

struct Counting {
    sent: u32,
    total: u32,
    pause: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Stream for Counting {
    type Item = Result<Note, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.sent == self.total {
            return Poll::Ready(None);
        }
        ready!(self.timer.as_mut().poll(cx));
        let pause = self.pause;
        self.timer
            .as_mut()
            .reset(tokio::time::Instant::now() + pause);
        self.sent += 1;
        Poll::Ready(Some(Ok(Note {
            text: self.sent.to_string(),
            delay_ms: 0,
        })))
    }
}

struct Chat;

impl StreamingService<Note> for Chat {
    type Response = Note;
    type ResponseStream = Streaming<Note>;
    type Future = Ready<Result<Response<Streaming<Note>>, Status>>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}
