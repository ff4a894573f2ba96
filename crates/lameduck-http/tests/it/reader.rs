//! One reader of long responses for every protocol, so that a test is written once.

use std::net::SocketAddr;

use crate::frames::{DATA, Fate, Peer};
use crate::support::{Client, Ended};

/// In what a test is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tongue {
    /// HTTP/1.1.
    Old,
    /// HTTP/2.
    New,
}

pub(crate) const BOTH: [Tongue; 2] = [Tongue::Old, Tongue::New];

/// A client in the middle of a response.
pub(crate) enum Reader {
    Old(Client),
    New {
        peer: Peer,
        stream: u32,
        body: Vec<u8>,
    },
}

impl Reader {
    pub(crate) async fn ask(tongue: Tongue, addr: SocketAddr, path: &str) -> Self {
        Self::with(tongue, addr, "GET", path).await
    }

    pub(crate) async fn with(tongue: Tongue, addr: SocketAddr, method: &str, path: &str) -> Self {
        match tongue {
            Tongue::Old => {
                let mut client = Client::connect(addr).await;
                let head =
                    format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
                client.send(head.as_bytes()).await;
                Self::Old(client)
            }
            Tongue::New => {
                let mut peer = Peer::greet(addr, &[]).await;
                let stream = peer.ask_with(method, path, crate::frames::END_STREAM).await;
                Self::New {
                    peer,
                    stream,
                    body: Vec::new(),
                }
            }
        }
    }

    /// Waits until the body contains this.
    pub(crate) async fn sees(&mut self, text: &str) {
        match self {
            Self::Old(client) => client.seen(text.as_bytes()).await,
            Self::New { peer, body, .. } => {
                while !body.windows(text.len()).any(|some| some == text.as_bytes()) {
                    body.extend(peer.frame(DATA).await.payload);
                }
            }
        }
    }

    /// The whole body, as text; `Err` if it was cut.
    pub(crate) async fn rest(&mut self) -> Result<String, Cut> {
        let (body, whole) = match self {
            Self::Old(client) => {
                let answer = client.answer().await.expect("a response");
                assert_eq!(answer.status, 200, "{answer:?}");
                let reset = client.ended == Some(Ended::Reset);
                (
                    answer.body,
                    if answer.whole {
                        Ok(())
                    } else {
                        Err(Cut { reset })
                    },
                )
            }
            Self::New { peer, stream, body } => match peer.fate(*stream).await {
                Fate::Served(rest) => {
                    body.extend(rest);
                    (std::mem::take(body), Ok(()))
                }
                Fate::Reset(_) => (Vec::new(), Err(Cut { reset: true })),
                Fate::Lost => (Vec::new(), Err(Cut { reset: false })),
            },
        };
        whole.map(|()| String::from_utf8(body).expect("text"))
    }
}

/// The body did not look whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// It was the stream or the connection that was reset.
    pub reset: bool,
}
