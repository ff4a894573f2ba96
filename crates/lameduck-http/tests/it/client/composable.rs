//! Why the pool is our own (decision 0013): what hyper-util's composable one does with connections that nobody can find.
//!
//! Where one of these fails after an update, that reason is gone.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use hyper_util::client::pool::{cache, negotiate, singleton::Singleton};
use tokio::sync::Semaphore;
use tower_service::Service;

/// A connection, which is open as long as there is a clone of it.
#[derive(Clone, Debug)]
struct Conn(#[expect(dead_code, reason = "counted")] Arc<()>);

impl Service<()> for Conn {
    type Response = ();
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

/// Opens connections when the test says so.
#[derive(Clone)]
struct Connect {
    may: Arc<Semaphore>,
    made: Arc<Mutex<Vec<Weak<()>>>>,
}

impl Connect {
    fn new() -> Self {
        Self {
            may: Arc::new(Semaphore::new(0)),
            made: Arc::default(),
        }
    }

    fn open(&self) -> usize {
        let made = self.made.lock().expect("not poisoned");
        made.iter().filter(|conn| conn.strong_count() > 0).count()
    }
}

impl Service<()> for Connect {
    type Response = Conn;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Conn>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            this.may.acquire().await.expect("open").forget();
            let conn = Arc::new(());
            let mut made = this.made.lock().expect("not poisoned");
            made.push(Arc::downgrade(&conn));
            Ok(Conn(conn))
        })
    }
}

#[tokio::test]
async fn decision_0013_two_that_negotiate_at_once_leave_a_connection_where_nobody_finds_it() {
    let connect = Connect::new();
    let mut pool = negotiate::builder()
        .connect(connect.clone())
        .inspect(|_: &Conn| true)
        .fallback(tower_layer::layer_fn(|svc| {
            cache::builder().build::<_, ()>(svc)
        }))
        .upgrade(tower_layer::layer_fn(Singleton::new))
        .build::<()>();
    let mut another = pool.clone();
    poll_fn(|cx| pool.poll_ready(cx)).await.expect("ready");
    poll_fn(|cx| another.poll_ready(cx)).await.expect("ready");
    let (one, two) = (pool.call(()), another.call(()));
    connect.may.add_permits(2);
    let (one, two) = tokio::join!(one, two);
    drop((
        one.expect("a connection"),
        two.expect("a connection"),
        another,
    ));
    // Nothing is in use, and everything that can be closed is.
    pool.fallback_mut().retain(|_| false);
    pool.upgrade_mut().retain(|_| false);
    assert!(pool.fallback_mut().is_empty() && pool.upgrade_mut().is_empty());
    assert_eq!(connect.open(), 1, "one is open all the same");
}

#[tokio::test]
async fn decision_0013_what_is_reserved_for_a_waiter_is_not_retained_and_not_closed() {
    let connect = Connect::new();
    let mut cache = cache::builder().build::<_, ()>(connect.clone());
    let mut another = cache.clone();
    connect.may.add_permits(1);
    poll_fn(|cx| cache.poll_ready(cx)).await.expect("ready");
    let first = cache.call(()).await.expect("a connection");
    poll_fn(|cx| another.poll_ready(cx)).await.expect("ready");
    // It waits for a connection of its own, or for one that comes back; its task has other things to do for now.
    let waits = another.call(());
    drop(first);
    cache.retain(|_| false);
    assert!(cache.is_empty());
    assert_eq!(connect.open(), 1, "it is idle and open all the same");
    drop(waits);
}
