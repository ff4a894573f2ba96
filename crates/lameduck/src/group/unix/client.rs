//! A member's side of the Unix socket.

use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::super::{Borne, Carrier, CarrierError, Claim, Heard, Identity, Link, Word};
use super::lines::Lines;
use super::socket::check_peer;
use super::wire::{FromHost, FromMember, VERSION, line};

/// Carries a group over the Unix socket of a [`SlotHost`](super::SlotHost), or of `lameduck slots`.
///
/// The connection is the lease: when the process is gone, by whatever death, the kernel closes it and the host knows at once. The host has
/// to be of the same user, or root.
#[derive(Clone, Debug)]
pub struct UnixCarrier {
    path: PathBuf,
}

impl UnixCarrier {
    /// By the socket at this path. It need not be there yet.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        Self { path }
    }

    async fn connect(&self, who: &Identity, claim: Claim) -> Result<Connection, CarrierError> {
        let away = || CarrierError::new(format!("no host at {}", self.path.display()));
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|error| away().because(error))?;
        check_peer(&stream).map_err(|error| away().because(error))?;
        let (read, write) = stream.into_split();
        let mut connection = Connection {
            lines: Lines::new(read),
            write,
        };
        connection.write(&FromMember::join(who, claim)).await?;
        match connection.read().await? {
            FromHost::Joined { v: VERSION, .. } => Ok(connection),
            FromHost::Refused { why } => Err(CarrierError::new(format!("the host refuses: {why}"))),
            other => Err(CarrierError::new(format!("the host greets with {other:?}"))),
        }
    }
}

impl Carrier for UnixCarrier {
    fn join<'a>(&'a self, who: &'a Identity, claim: Claim) -> Borne<'a, Box<dyn Link>> {
        Box::pin(async move {
            let link: Box<dyn Link> = Box::new(self.connect(who, claim).await?);
            Ok(link)
        })
    }
}

#[derive(Debug)]
struct Connection {
    lines: Lines<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

fn gone() -> CarrierError {
    CarrierError::new("the host is gone")
}

impl Connection {
    async fn write(&mut self, message: &FromMember) -> Result<(), CarrierError> {
        let written = self.write.write_all(&line(message)).await;
        written.map_err(|error| gone().because(error))
    }

    /// # Cancel safety
    /// Cancel safe, as [`Lines::next`] is.
    async fn read(&mut self) -> Result<FromHost, CarrierError> {
        let line = self
            .lines
            .next()
            .await
            .map_err(|error| gone().because(error))?;
        serde_json::from_slice(&line.ok_or_else(gone)?)
            .map_err(|error| CarrierError::new("the host speaks otherwise").because(error))
    }
}

impl Link for Connection {
    fn say(&mut self, word: Word) -> Borne<'_, ()> {
        Box::pin(async move { self.write(&word.into()).await })
    }

    fn hear(&mut self) -> Borne<'_, Heard> {
        Box::pin(async move { self.read().await?.try_into() })
    }

    fn leave(mut self: Box<Self>) -> Borne<'static, ()> {
        Box::pin(async move {
            self.write
                .shutdown()
                .await
                .map_err(|error| gone().because(error))?;
            // The host closes when the slot is free.
            while self.read().await.is_ok() {}
            Ok(())
        })
    }
}
