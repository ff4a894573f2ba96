//! A service with deadpool: its pool refuses and closes what is idle, and waits for nobody. The participant does.
//!
//! `DATABASE` is a PostgreSQL, `LISTEN` the address. `POST /orders` writes its body into the table, `GET /orders` counts what is there.
//! `GET /leak` takes a connection out of the pool and keeps it, as a bug would: the pool then says that it is empty.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get, routing::post};
use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use lameduck::lending::{Counts, Lending};
use lameduck::{Outcome, Plan};
use lameduck_example_pools::{ConnectError, Database, Open, failed, listen};
use tokio_postgres::Client;

type Pool = managed::Pool<Manager>;

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let database = Database::from_env()?;
        let open = database.open();
        let pool = Pool::builder(Manager(database)).max_size(4).build()?;
        let enrol = life.participate("orders-db").budget(Duration::from_secs(6));
        let db = enrol.drains(lending(pool.clone(), open))?;

        let app = Router::new()
            .route("/orders", post(order).get(count))
            .route("/leak", get(leak))
            .with_state(pool);
        let server = lameduck_http::serve(&life, listen().as_str(), app)
            .depends_on(&db)
            .await?;
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

/// How deadpool is emptied: its `close` does all that it can at once. What is lent it knows, what is open only who opened it.
fn lending(pool: Pool, open: Open) -> Lending {
    let (counted, opened, early) = (pool.clone(), Open::clone(&open), pool.clone());
    Lending::counted(move || {
        let pool = counted.status();
        Counts {
            open: opened.count(),
            lent: pool.size.saturating_sub(pool.available),
        }
    })
    // What is idle when the drain begins goes then; whatever is still at work and needs one more opens one.
    .drain_began(move || drop(early.retain(|_, _| false)))
    .stop_lending(move || {
        pool.close();
        open.close();
    })
}

async fn order(State(pool): State<Pool>, order: String) -> Result<(), (StatusCode, String)> {
    let db = pool.get().await.map_err(failed)?;
    let insert = db
        .execute("INSERT INTO orders VALUES ($1)", &[&order])
        .await;
    insert.map(drop).map_err(failed)
}

async fn count(State(pool): State<Pool>) -> Result<String, (StatusCode, String)> {
    let db = pool.get().await.map_err(failed)?;
    let row = db.query_one("SELECT count(*) FROM orders", &[]).await;
    Ok(row.map_err(failed)?.get::<_, i64>(0).to_string())
}

/// The bug: a connection that is taken from the pool, and never ends.
async fn leak(State(pool): State<Pool>) -> Result<(), (StatusCode, String)> {
    std::mem::forget(Object::take(pool.get().await.map_err(failed)?));
    Ok(())
}

/// Opens connections.
#[derive(Debug)]
struct Manager(Database);

impl managed::Manager for Manager {
    type Type = Client;
    type Error = ConnectError;

    async fn create(&self) -> Result<Client, ConnectError> {
        self.0.connect().await
    }

    async fn recycle(&self, client: &mut Client, _: &Metrics) -> RecycleResult<ConnectError> {
        if client.is_closed() {
            return Err(RecycleError::message("it is closed"));
        }
        Ok(())
    }
}
