//! A client to be drained, and a server for it whose every byte the test says. Every wait has a bound.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use lameduck::{Lifecycle, Outcome, Window};
use lameduck_http::client::{
    Body, Client, ClientBuilder, ClientError, ClientFigures, ClientLimits, ResponseBody, Tries,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Ended, plan, soon};

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A service that has a client.
pub(super) struct Side {
    pub(super) life: Lifecycle,
    pub(super) client: Client,
}

impl Side {
    pub(super) async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    pub(super) async fn limited(change: impl FnOnce(&mut ClientLimits)) -> Self {
        let mut limits = ClientLimits::default();
        change(&mut limits);
        Self::with(|builder| builder.limits(limits)).await
    }

    pub(super) async fn with(build: impl FnOnce(ClientBuilder<'_>) -> ClientBuilder<'_>) -> Self {
        let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
        let client = build(Client::builder(&life)).build().expect("a client");
        life.ready();
        assert!(soon("Running", life.running()).await);
        Self { life, client }
    }

    /// The numbers, once they are as they should be.
    pub(super) async fn figures(
        &self,
        what: &str,
        like: impl Fn(&ClientFigures) -> bool,
    ) -> ClientFigures {
        figures(&self.client, what, like).await
    }

    /// The end, and that it was a good one with nothing open.
    pub(super) async fn drained(&self) {
        self.life.shutdown("the test is over");
        assert_eq!(soon("the end", self.life.outcome()).await, Outcome::Drained);
        assert_eq!(self.client.snapshot().open, 0);
    }
}

pub(super) async fn figures(
    client: &Client,
    what: &str,
    like: impl Fn(&ClientFigures) -> bool,
) -> ClientFigures {
    let until = async {
        loop {
            let figures = client.snapshot();
            if like(&figures) {
                return figures;
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(crate::support::PATIENCE, until).await {
        Ok(figures) => figures,
        Err(_) => panic!("{what}: {:?}", client.snapshot()),
    }
}

pub(super) fn uri(addr: SocketAddr, path: &str) -> Uri {
    format!("http://{addr}{path}").parse().expect("a URI")
}

pub(super) fn request(method: &str, addr: SocketAddr, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(uri(addr, "/"))
        .body(body.into())
        .expect("a request")
}

pub(super) fn get(addr: SocketAddr) -> Request<Body> {
    request("GET", addr, ())
}

/// The whole answer.
pub(super) async fn ask(
    client: &Client,
    request: Request<Body>,
) -> Result<Response<Bytes>, ClientError> {
    let response = soon("a response or an error", client.send(request)).await?;
    Ok(whole(response).await)
}

pub(super) async fn whole(response: Response<ResponseBody>) -> Response<Bytes> {
    let (parts, body) = response.into_parts();
    let body = soon("the body", body.collect())
        .await
        .expect("a whole body");
    Response::from_parts(parts, body.to_bytes())
}

pub(super) fn tries<B>(response: &Response<B>) -> &Tries {
    response
        .extensions()
        .get()
        .expect("every response has them")
}

/// A body that comes as the test sends it, and cannot be sent again.
pub(super) fn streaming(text: &'static str) -> Body {
    Body::streaming(http_body_util::Full::new(Bytes::from_static(
        text.as_bytes(),
    )))
}

/// A server that does nothing by itself.
pub(super) struct Raw {
    listener: TcpListener,
    pub(super) addr: SocketAddr,
}

impl Raw {
    pub(super) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("an address");
        Self { listener, addr }
    }

    pub(super) async fn accept(&self) -> Link {
        let accepted = soon("a connection", self.listener.accept()).await;
        let (stream, _) = accepted.expect("accept");
        stream.set_nodelay(true).expect("nodelay");
        Link {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Whether nobody waits to be accepted.
    pub(super) async fn is_quiet(&self) -> bool {
        let accepting = self.listener.accept();
        tokio::time::timeout(crate::support::millis(20), accepting)
            .await
            .is_err()
    }
}

/// One connection of it.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Link {
    /// The head of the next request.
    pub(super) async fn head(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let count = soon("a request", self.stream.read_buf(&mut self.buffer)).await;
            assert_ne!(count.expect("a read"), 0, "ended without a request");
        };
        String::from_utf8(self.buffer.drain(..end).collect()).expect("text")
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) {
        soon("a write", self.stream.write_all(bytes))
            .await
            .expect("write");
    }

    /// Answers the next request.
    pub(super) async fn serve(&mut self) -> String {
        let head = self.head().await;
        self.say(OK).await;
        head
    }

    /// How the client ended it.
    pub(super) async fn end(&mut self) -> Ended {
        loop {
            match soon("an end", self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) => return Ended::Fin,
                Ok(_) => {}
                Err(_) => return Ended::Reset,
            }
        }
    }
}
