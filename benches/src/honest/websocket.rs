//! A WebSocket client whose messages must come back.
//!
//! Owns: the session, the look before each message, the fate of each. Not here: the protocol itself (tokio-tungstenite).

use std::task::Poll;
use std::time::Instant;

use futures_util::{Sink, Stream as _};
use std::pin::Pin;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message, protocol::Role};

use super::Field;
use super::door::{Line, Path, Route, Stream};
use super::ledger::{Ended, Fate};
use super::tunnel::Tunnel;
use crate::rng::Rng;
use crate::script::Think;
use crate::target::Door;

pub(super) async fn live(
    mut path: Path<'_>,
    route: Route,
    largest: u64,
    think: &Think,
    mut rng: Rng,
) {
    let field = path.field;
    let (label, opening) = match (route, path.door) {
        (Route::Http1, Door::Plain) => ("ws message", "ws upgrade"),
        (Route::Http1, Door::Tls) => ("tls ws message", "tls ws upgrade"),
        (Route::Http2, Door::Plain) => ("h2 ws message", "h2 ws connect"),
        (Route::Http2, Door::Tls) => ("tls h2 ws message", "tls h2 ws connect"),
    };
    let door = path.door;
    while let Some(stream) = path.open(route).await {
        let written_at = Instant::now();
        let opened = timeout(field.patience, open(stream, route, door));
        let fate = match opened.await {
            Ok(Ok(opened)) => {
                field.ledger().end(Ended {
                    label: opening,
                    fate: Fate::Served,
                    written_at,
                });
                match opened {
                    Opened::Upgraded(socket) => {
                        let mut session = Session {
                            field,
                            socket,
                            label,
                        };
                        session.talk(largest, think, &mut rng).await;
                    }
                    Opened::Tunnelled(socket) => {
                        let mut session = Session {
                            field,
                            socket,
                            label,
                        };
                        session.talk(largest, think, &mut rng).await;
                    }
                }
                continue;
            }
            Ok(Err(fate)) => fate,
            Err(_) => Fate::Lost("hung".into()),
        };
        field.ledger().end(Ended {
            label: opening,
            fate,
            written_at,
        });
    }
}

enum Opened {
    Upgraded(WebSocketStream<Stream>),
    Tunnelled(WebSocketStream<Tunnel>),
}

async fn open(stream: Stream, route: Route, door: Door) -> Result<Opened, Fate> {
    if route == Route::Http2 {
        let tunnel = Tunnel::open(stream, door, "/ws").await?;
        let socket = WebSocketStream::from_raw_socket(tunnel, Role::Client, None).await;
        return Ok(Opened::Tunnelled(socket));
    }
    match tokio_tungstenite::client_async("ws://localhost/ws", stream).await {
        Ok((socket, _)) => Ok(Opened::Upgraded(socket)),
        Err(tungstenite::Error::Http(response))
            if response.status() == 503 && response.headers().contains_key("retry-after") =>
        {
            Err(Fate::Refused)
        }
        Err(error) => Err(Fate::Lost(error.to_string().into())),
    }
}

/// How often a look goes on while something comes; a server that never pauses is met by the message itself.
const LOOKS: usize = 64;

struct Session<'a, S> {
    field: &'a Field,
    socket: WebSocketStream<S>,
    label: &'static str,
}

/// What came instead of an echo.
enum Came {
    Echo(Message),
    Close,
    End(String),
}

impl<S: Line> Session<'_, S> {
    /// Message after message, until the server says Close; then answers it and waits for the end.
    async fn talk(&mut self, largest: u64, think: &Think, rng: &mut Rng) {
        loop {
            sleep(think.draw(rng)).await;
            match self.look().await {
                None => {}
                Some(Came::Close) => return self.part().await,
                Some(Came::Echo(_)) => return self.complain("a message that nobody asked for"),
                Some(Came::End(how)) => {
                    return self.complain(&format!("ended without Close: {how}"));
                }
            }
            let message = Message::binary(crate::script::random_body(rng, largest));
            let written_at = Instant::now();
            let echoed = timeout(self.field.patience, self.exchange(message.clone())).await;
            let (fate, closed) = match echoed {
                Ok(Came::Echo(echo)) if echo == message => (Fate::Served, false),
                Ok(Came::Echo(_)) => (Fate::Lost("another message came back".into()), false),
                Ok(Came::Close) => (Fate::Crossed, true),
                Ok(Came::End(how)) => (Fate::Lost(how.into()), false),
                Err(_) => (Fate::Lost("hung".into()), false),
            };
            let served = fate == Fate::Served;
            self.field.ledger().end(Ended {
                label: self.label,
                fate,
                written_at,
            });
            if closed {
                return self.part().await;
            }
            if !served {
                return;
            }
        }
    }

    fn complain(&self, what: &str) {
        let complaint = format!("{}: {what}", self.label);
        self.field.ledger().complain(complaint);
    }

    /// Takes what has come so far; nothing when nothing but control frames has.
    async fn look(&mut self) -> Option<Came> {
        for _ in 0..LOOKS {
            let once = std::future::poll_fn(|context| {
                Poll::Ready(Pin::new(&mut self.socket).poll_next(context))
            });
            if let Poll::Ready(came) = once.await {
                match understand(came) {
                    Some(came) => return Some(came),
                    None => continue,
                }
            }
            if !self.socket.get_ref().has_news() {
                return None;
            }
            if self.socket.get_ref().arrival().await.is_err() {
                return Some(Came::End("reset".to_owned()));
            }
        }
        None
    }

    async fn exchange(&mut self, message: Message) -> Came {
        // A write that fails may have a Close waiting in front of it.
        let sent = self.send(message).await;
        loop {
            let came =
                std::future::poll_fn(|context| Pin::new(&mut self.socket).poll_next(context));
            match (understand(came.await), &sent) {
                (Some(Came::End(_)), Err(error)) => return Came::End(error.to_string()),
                (Some(came), _) => return came,
                (None, _) => {}
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        std::future::poll_fn(|context| Pin::new(&mut self.socket).poll_ready(context)).await?;
        Pin::new(&mut self.socket).start_send(message)?;
        std::future::poll_fn(|context| Pin::new(&mut self.socket).poll_flush(context)).await
    }

    /// The server has said Close: our answer goes out, then the end is awaited.
    async fn part(&mut self) {
        let end = async {
            while std::future::poll_fn(|context| Pin::new(&mut self.socket).poll_next(context))
                .await
                .is_some_and(|came| came.is_ok())
            {}
        };
        if timeout(self.field.patience, end).await.is_err() {
            self.complain("the connection did not end after both had said Close");
        }
    }
}

fn understand(came: Option<Result<Message, tungstenite::Error>>) -> Option<Came> {
    match came {
        Some(Ok(Message::Close(_))) => Some(Came::Close),
        Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => Some(Came::Echo(message)),
        Some(Ok(_)) => None,
        Some(Err(error)) => Some(Came::End(error.to_string())),
        None => Some(Came::End("eof".to_owned())),
    }
}
