//! A service with sqlx' pool: handlers and a writer use it, it is emptied after both.
//!
//! `DATABASE` is a PostgreSQL, `LISTEN` the address. `POST /orders` hands its body to the writer, and answers when it is in the table; `GET /orders`
//! counts what is there. `GET /leak` keeps a connection, as a bug would: the report of the shutdown names this file and the line.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get, routing::post};
use lameduck::lending::{Counts, Gate, LendError, Lending};
use lameduck::{Member as _, Outcome, Participant, Plan};
use lameduck_example_pools::{database, failed, listen};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::{mpsc, oneshot};

/// The pool, lent from through a gate that knows who has what.
type Db = Gate<PgPool>;

/// An order, and whoever waits until it is in the table.
type Order = (String, oneshot::Sender<Result<(), InsertError>>);
type InsertError = LendError<sqlx::Error>;

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let options = PgPoolOptions::new().max_connections(4);
        let pool = options.connect(&database()).await?;
        let (gate, lending) = lending(pool);
        let enrol = life.participate("orders-db").budget(Duration::from_secs(6));
        let db = enrol.drains(lending)?;

        let (orders, queue) = mpsc::channel(64);
        let writer = life.participate("writer").after(&db).register()?;
        let place = writer.place().clone();
        life.spawn("writer", write(writer, queue, gate.clone()));

        let app = Router::new()
            .route("/orders", post(order).with_state(orders))
            .route("/orders", get(count))
            .route("/leak", get(leak))
            .with_state(gate);
        let server = lameduck_http::serve(&life, listen().as_str(), app)
            .depends_on(&place)
            .depends_on(&db)
            .await?;
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

/// How sqlx' pool is emptied: its `close` refuses who asks, closes what is idle, and waits. That it is empty then is looked for.
fn lending(pool: PgPool) -> (Db, Lending) {
    let gate = Gate::new(pool.clone());
    let counted = pool.clone();
    // What is lent the gate knows. sqlx' number of idle ones is that from before `close`.
    let counts = move || Counts {
        open: counted.size() as usize,
        lent: 0,
    };
    let lending = Lending::counted(counts)
        .close_idle(move || {
            let pool = pool.clone();
            async move { pool.close().await }
        })
        .behind(&gate);
    (gate, lending)
}

async fn order(
    State(orders): State<mpsc::Sender<Order>>,
    order: String,
) -> Result<(), (StatusCode, String)> {
    let (writes, written) = oneshot::channel();
    orders.send((order, writes)).await.map_err(failed)?;
    written.await.map_err(failed)?.map_err(failed)
}

async fn count(State(db): State<Db>) -> Result<String, (StatusCode, String)> {
    let lent = db.lend(async |pool| pool.acquire().await).await;
    let mut connection = lent.map_err(failed)?;
    let query = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM orders");
    let count = query.fetch_one(&mut **connection).await.map_err(failed)?;
    Ok(count.to_string())
}

/// The bug: a connection that nobody gives back.
async fn leak(State(db): State<Db>) -> Result<(), (StatusCode, String)> {
    let lent = db.lend(async |pool| pool.acquire().await).await;
    std::mem::forget(lent.map_err(failed)?);
    Ok(())
}

/// Writes orders into the table, at the end also those that still wait: it depends on the pool, which is lent from for so long. Nothing is
/// promised before it is written: who asked learns how it went, and may ask again.
async fn write(writer: Participant, mut queue: mpsc::Receiver<Order>, db: Db) {
    writer.ready();
    loop {
        let (order, asked) = tokio::select! {
            biased;
            Some(order) = queue.recv() => order,
            () = writer.closing() => break,
        };
        // Whoever does not wait any longer has gone.
        let _ = asked.send(insert(&db, &order).await);
    }
    writer.done();
}

async fn insert(db: &Db, order: &str) -> Result<(), InsertError> {
    let mut connection = db.lend(async |pool| pool.acquire().await).await?;
    let query = sqlx::query("INSERT INTO orders VALUES ($1)").bind(order);
    let inserted = query.execute(&mut **connection).await;
    inserted.map(drop).map_err(LendError::Pool)
}
