//! tonic's own server: `serve_with_shutdown`, beside the health service, which turns to NOT_SERVING at the signal.
//!
//! The call is `matrix.Echo/Say`, with the message `Note { string text = 1; uint32 delay_ms = 2; }`.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::process::ExitCode;
use std::time::Duration;

use matrix_servers::{PATIENCE, address, told_to_stop};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService};
use tonic::transport::{Server, server::TcpIncoming};
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_prost::ProstCodec;
use tower::service_fn;

#[derive(Clone, PartialEq, prost::Message)]
struct Note {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(uint32, tag = "2")]
    delay_ms: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let (health, health_service) = tonic_health::server::health_reporter();
    let (host, port) = address();
    let address = format!("{host}:{port}").parse().expect("an address");
    let listener = TcpIncoming::bind(address).expect("the port is free");
    let stop = async move {
        told_to_stop().await;
        health.set_service_status("", ServingStatus::NotServing).await;
    };
    let server = Server::builder()
        .add_service(health_service)
        .add_service(Echo)
        .serve_with_incoming_shutdown(listener, stop);
    let given_up = async {
        told_to_stop().await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        done = server => done.expect("it serves"),
        () = given_up => {
            eprintln!("gave up on what was left");
            return ExitCode::FAILURE;
        },
    }
    ExitCode::SUCCESS
}

async fn say(request: Request<Note>) -> Result<Response<Note>, Status> {
    let note = request.into_inner();
    tokio::time::sleep(Duration::from_millis(note.delay_ms.into())).await;
    Ok(Response::new(note))
}

/// The service, as `tonic-build` would generate it.
#[derive(Clone, Copy, Debug)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "matrix.Echo";
}

impl<B> Service<http::Request<B>> for Echo
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
            Ok(if request.uri().path().ends_with("/Say") {
                Grpc::new(ProstCodec::<Note, Note>::default())
                    .unary(service_fn(say), request)
                    .await
            } else {
                Status::unimplemented("no such call").into_http()
            })
        })
    }
}
