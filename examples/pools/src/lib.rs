//! What the examples beside this have in common: what the environment says, and connections that are counted where they are opened.
//!
//! Owns no pool and no client; each example has its own.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use lameduck::inflight::Admission;
use tokio_postgres::{Client, Config, NoTls};

/// Connections that are open: what keeps one open, or is just opening it, holds a pass. Closed, nothing more is opened.
pub type Open = Arc<Admission>;

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing more is opened: the service is leaving.
    Closed,
    /// PostgreSQL, or the way to it.
    Database(tokio_postgres::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "nothing more is opened: the service is leaving",
            Self::Database(_) => "the database cannot be used",
        })
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed => None,
            Self::Database(error) => Some(error),
        }
    }
}

impl From<tokio_postgres::Error> for ConnectError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

/// The PostgreSQL of `DATABASE`, and how many connections to it are open.
#[derive(Debug)]
pub struct Database {
    config: Config,
    open: Open,
}

impl Database {
    /// The one that the environment names.
    ///
    /// # Errors
    /// Its address is none.
    pub fn from_env() -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            config: database().parse()?,
            open: Open::default(),
        })
    }

    /// What counts its connections.
    #[must_use]
    pub fn open(&self) -> Open {
        Arc::clone(&self.open)
    }

    /// Connects. The connection counts as open from the attempt on, until its last byte, its farewell, is written: longer than its client
    /// lives.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self) -> Result<Client, ConnectError> {
        let pass = self.open.enter().map_err(|_| ConnectError::Closed)?;
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            // Its errors reach those who wait for an answer of the client.
            let _ = connection.await;
            drop(pass);
        });
        Ok(client)
    }
}

/// The value of a variable, or what stands for it.
#[must_use]
pub fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Where the service listens: `LISTEN`; port 0 lets the system choose.
#[must_use]
pub fn listen() -> String {
    variable("LISTEN", "127.0.0.1:8080")
}

/// The database: `DATABASE`, as an address of PostgreSQL.
#[must_use]
pub fn database() -> String {
    variable("DATABASE", "postgres://postgres@127.0.0.1/postgres")
}

/// An answer for whoever asked for something that failed: the error, and what caused it.
#[must_use]
pub fn failed(error: impl Error) -> (axum::http::StatusCode, String) {
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        why.push_str(": ");
        why.push_str(&error.to_string());
        cause = error.source();
    }
    (axum::http::StatusCode::BAD_GATEWAY, why)
}
