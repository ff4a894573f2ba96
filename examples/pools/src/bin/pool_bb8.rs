//! A service with bb8, whose pool has no end of its own: it is behind a gate that owns it, refuses, and drops it.
//!
//! `DATABASE` is a PostgreSQL, `LISTEN` the address. `POST /orders` writes its body into the table, `GET /orders` counts what is there.
//! `GET /leak` keeps a connection, as a bug would: the report of the shutdown names this file and the line.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get, routing::post};
use bb8::ManageConnection;
use lameduck::lending::Gate;
use lameduck::{Outcome, Plan};
use lameduck_example_pools::{ConnectError, Database, failed, listen};
use tokio_postgres::Client;

type Db = Gate<bb8::Pool<Manager>>;

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let database = Database::from_env()?;
        let open = database.open();
        let pool = bb8::Pool::builder()
            .max_size(4)
            .build(Manager(database))
            .await?;
        // From here on nobody has the pool but the gate: when that closes, the idle connections go.
        let gate = Gate::new(pool).counting(move || open.count());
        let enrol = life.participate("orders-db").budget(Duration::from_secs(6));
        let db = enrol.drains(gate.clone())?;

        let app = Router::new()
            .route("/orders", post(order).get(count))
            .route("/leak", get(leak))
            .with_state(gate);
        let server = lameduck_http::serve(&life, listen().as_str(), app)
            .depends_on(&db)
            .await?;
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

async fn order(State(db): State<Db>, order: String) -> Result<(), (StatusCode, String)> {
    let lent = db.lend(async |pool| pool.get_owned().await).await;
    let connection = lent.map_err(failed)?;
    let insert = connection
        .execute("INSERT INTO orders VALUES ($1)", &[&order])
        .await;
    insert.map(drop).map_err(failed)
}

async fn count(State(db): State<Db>) -> Result<String, (StatusCode, String)> {
    let lent = db.lend(async |pool| pool.get_owned().await).await;
    let connection = lent.map_err(failed)?;
    let row = connection
        .query_one("SELECT count(*) FROM orders", &[])
        .await;
    Ok(row.map_err(failed)?.get::<_, i64>(0).to_string())
}

/// The bug: a connection that nobody gives back.
async fn leak(State(db): State<Db>) -> Result<(), (StatusCode, String)> {
    let lent = db.lend(async |pool| pool.get_owned().await).await;
    std::mem::forget(lent.map_err(failed)?);
    Ok(())
}

/// Opens connections.
#[derive(Debug)]
struct Manager(Database);

impl ManageConnection for Manager {
    type Connection = Client;
    type Error = ConnectError;

    async fn connect(&self) -> Result<Client, ConnectError> {
        self.0.connect().await
    }

    async fn is_valid(&self, client: &mut Client) -> Result<(), ConnectError> {
        client.simple_query("").await?;
        Ok(())
    }

    fn has_broken(&self, client: &mut Client) -> bool {
        client.is_closed()
    }
}
