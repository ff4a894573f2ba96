//! The service `lameduck.example.v1.Echo`: its three calls, and the glue that `tonic-build` would generate.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::note::{ECHO, Note};

type Notes = Pin<Box<dyn Stream<Item = Result<Note, Status>> + Send>>;

/// `rpc Say(Note) returns (Note)`: after its delay.
async fn say(request: Request<Note>) -> Result<Response<Note>, Status> {
    let note = request.into_inner();
    think(&note).await;
    Ok(Response::new(note))
}

/// `rpc Count(Note) returns (stream Note)`: from 1 to the number in its text, with its delay in between.
async fn count(request: Request<Note>) -> Result<Response<Notes>, Status> {
    let note = request.into_inner();
    let many: u32 = note
        .text
        .parse()
        .map_err(|_| Status::invalid_argument("the text is no number"))?;
    let counted = stream::try_unfold(1, move |number| {
        let note = note.clone();
        async move {
            if number > many {
                return Ok(None);
            }
            if number > 1 {
                think(&note).await;
            }
            let text = number.to_string();
            Ok(Some((Note { text, ..note }, number + 1)))
        }
    });
    Ok(Response::new(Box::pin(counted)))
}

/// `rpc Chat(stream Note) returns (stream Note)`: has no end of its own, and therefore listens to the drain.
async fn chat(request: Request<Streaming<Note>>) -> Result<Response<Notes>, Status> {
    let closing = lameduck_http::drain().map(|drain| drain.closing());
    let Some(closing) = closing else {
        return Err(Status::internal("served by somebody else"));
    };
    let talk = (request.into_inner(), closing);
    let replies = stream::try_unfold(talk, |(mut notes, mut closing)| async move {
        tokio::select! {
            biased;
            note = notes.message() => Ok(note?.map(|note| (note, (notes, closing)))),
            () = &mut closing => Err(Status::unavailable("the server is leaving")),
        }
    });
    Ok(Response::new(Box::pin(replies)))
}

async fn think(note: &Note) {
    tokio::time::sleep(Duration::from_millis(note.delay_ms.into())).await;
}

/// The service for tonic's `Routes`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EchoServer;

impl NamedService for EchoServer {
    const NAME: &'static str = ECHO;
}

impl<B> Service<http::Request<B>> for EchoServer
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Note, Note>::default());
            let method = request.uri().path().rsplit('/').next();
            Ok(match method {
                Some("Say") => grpc.unary(service_fn(say), request).await,
                Some("Count") => grpc.server_streaming(service_fn(count), request).await,
                Some("Chat") => grpc.streaming(service_fn(chat), request).await,
                _ => Status::unimplemented("no such call").into_http(),
            })
        })
    }
}
