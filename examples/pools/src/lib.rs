//! What the examples beside this have in common: what the environment says, and connections that are counted where they are opened.
//!
//! Owns no pool and no client; each example has its own.

use std::sync::Arc;

use lameduck::inflight::Admission;
use tokio_postgres::{Client, Config, Error, NoTls};

/// Connections that are open: what keeps one open holds a pass. It is never closed, only counted.
pub type Open = Arc<Admission>;

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
    pub fn from_env() -> Result<Self, Error> {
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

    /// Connects. The connection counts as open until its last byte, its farewell, is written: longer than its client lives.
    ///
    /// # Errors
    /// What the connection says.
    ///
    /// # Panics
    /// If somebody closed what counts.
    pub async fn connect(&self) -> Result<Client, Error> {
        let pass = self.open.enter().expect("it is never closed");
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

/// An answer for whoever asked for something that failed.
#[must_use]
pub fn failed(error: impl std::fmt::Display) -> (axum::http::StatusCode, String) {
    (axum::http::StatusCode::BAD_GATEWAY, error.to_string())
}
