//! The draining server without a framework: a function as a tower service, with a tower layer around it.
//!
//! `LISTEN` is the address; port 0 lets the system choose. `GET /` says hello, `POST /echo` gives its body back as it comes.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use lameduck::{Outcome, Plan};
use lameduck_http::Body;
use tower::ServiceBuilder;

type Answer = Response<Either<Full<Bytes>, Body>>;

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let app = ServiceBuilder::new()
            .timeout(Duration::from_secs(30))
            .service(lameduck_http::service_fn(answer));

        let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
        let server = lameduck_http::serve(&life, address.as_str(), app).await?;
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

async fn answer(request: Request<Body>) -> Result<Answer, Infallible> {
    let text = |text| Response::new(Either::Left(Full::from(text)));
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => text("hello"),
        (&Method::POST, "/echo") => Response::new(Either::Right(request.into_body())),
        _ => {
            let mut answer = text("nothing here");
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }
    })
}
