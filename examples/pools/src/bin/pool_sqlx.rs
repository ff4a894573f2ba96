//! A service with sqlx' pool: handlers and an outbox use it, it is emptied after both.
//!
//! `DATABASE` is a PostgreSQL, `LISTEN` the address. `POST /orders` puts its body into the outbox, which writes it into the table; `GET /orders`
//! counts what is there. `GET /leak` keeps a connection, as a bug would: the report of the shutdown names this file and the line.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get, routing::post};
use lameduck::lending::{Counts, Gate, Lending};
use lameduck::{Member as _, Outcome, Participant, Plan};
use lameduck_example_pools::{database, failed, listen};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::mpsc;

/// The pool, lent from through a gate that knows who has what.
type Db = Gate<PgPool>;

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let options = PgPoolOptions::new().max_connections(4);
        let pool = options.connect(&database()).await?;
        let (gate, lending) = lending(pool);
        let enrol = life.participate("orders-db").budget(Duration::from_secs(2));
        let db = enrol.drains(lending)?;

        let (orders, queue) = mpsc::channel(64);
        let outbox = life.participate("outbox").after(&db).register()?;
        let place = outbox.place().clone();
        life.spawn("outbox", deliver(outbox, queue, gate.clone()));

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
    let counts = move || Counts::with_idle(counted.size() as usize, counted.num_idle());
    let lending = Lending::counted(counts)
        .close_idle(move || {
            let pool = pool.clone();
            async move { pool.close().await }
        })
        .behind(&gate);
    (gate, lending)
}

async fn order(State(orders): State<mpsc::Sender<String>>, order: String) -> StatusCode {
    match orders.send(order).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
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

/// Writes orders into the table, at the end also those that still wait: it depends on the pool, which is lent from for so long.
async fn deliver(outbox: Participant, mut queue: mpsc::Receiver<String>, db: Db) {
    outbox.ready();
    loop {
        let order = tokio::select! {
            biased;
            Some(order) = queue.recv() => order,
            () = outbox.closing() => break,
        };
        if let Err(error) = write(&db, &order).await {
            outbox.failed(error);
            return;
        }
    }
    outbox.done();
}

async fn write(db: &Db, order: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut connection = db.lend(async |pool| pool.acquire().await).await?;
    let query = sqlx::query("INSERT INTO orders VALUES ($1)").bind(order);
    query.execute(&mut **connection).await?;
    Ok(())
}
