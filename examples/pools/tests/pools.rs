//! The services with database pools, drained against a PostgreSQL: what is lent is waited for, every connection says goodbye, and one that
//! leaked is named.

#[path = "../../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

mod database;
mod report;

use std::net::SocketAddr;

use database::{Database, Watch};
use support::{service::Service, until, wire::Wire};

/// One of the examples.
struct Example<'a> {
    program: &'static str,
    name: &'static str,
    database: &'a Database,
}

impl Example<'_> {
    fn start(&self) -> (Service, SocketAddr) {
        let address = self.database.address(self.name);
        let variables = [
            ("DATABASE", &*address),
            ("LISTEN", "127.0.0.1:0"),
            ("LAMEDUCK_WINDOW", "0.5,0.1,2"),
            ("LAMEDUCK_GRACE", "20s"),
        ];
        let mut service = Service::start(self.program, &[], &variables);
        let address = Service::address(&service.line("listening on "), "listening on ");
        (service, address)
    }

    /// How many connections of it the database has: all, or those that wait for a lock.
    fn connections(&self, watch: &Watch, which: &str) -> i64 {
        let name = self.name;
        watch.number(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' {which}"
        ))
    }

    fn wait_for_lock(&self, watch: &Watch, how_many: i64) {
        until("queries that wait", || {
            let waiting = self.connections(watch, "AND wait_event_type = 'Lock'");
            (waiting >= how_many).then_some(())
        });
    }

    fn until_none(&self, watch: &Watch) {
        until("zero connections", || {
            (self.connections(watch, "") == 0).then_some(())
        });
    }

    /// Three connections at once, idle then.
    fn idle_ones(&self, watch: &Watch, locks: &Watch, address: SocketAddr) {
        locks.execute("BEGIN; LOCK TABLE orders");
        let mut asked: Vec<_> = (0..3).map(|_| ask(address)).collect();
        self.wait_for_lock(watch, 3);
        locks.execute("COMMIT");
        for wire in &mut asked {
            assert_eq!(wire.response().expect("a whole response").status, 200);
        }
        assert!(self.connections(watch, "") >= 3);
    }

    /// The table is locked while the service is told to stop, so that a query is certainly in flight.
    fn is_drained(&self, early: Early) {
        // Two, because a transaction sees the connections as they were at its begin.
        let (watch, locks) = (self.database.watch(), self.database.watch());
        watch.execute("CREATE TABLE orders (what text CHECK (what <> 'bad'))");
        let (service, address) = self.start();
        for (order, status) in [("the first", 200), ("bad", 502)] {
            let answer = Wire::connect_when_ready(address).post("/orders", order);
            assert_eq!(answer.status, status, "{order}: {}", answer.body);
        }
        self.idle_ones(&watch, &locks, address);

        locks.execute("BEGIN; LOCK TABLE orders");
        let busy = ask(address);
        let mut writes = Wire::connect_when_ready(address);
        writes.begin_post("/orders", 6);
        writes.send("second").expect("sent");
        self.wait_for_lock(&watch, 2);
        service.signal(libc::SIGTERM);
        until("the end of admission", || Wire::connect(address).err());
        if early == Early::ClosesIdle {
            until("the end of the idle ones", || {
                (self.connections(&watch, "") == 2).then_some(())
            });
        }
        locks.execute("COMMIT");
        for mut wire in [busy, writes] {
            let answer = wire.response().expect("a whole response");
            assert_eq!(answer.status, 200, "its pool outlives it: {}", answer.body);
        }

        report::says_empty(service, "orders-db");
        self.until_none(&watch);
        assert_eq!(watch.number("SELECT count(*) FROM orders"), 2);
    }

    /// A handler keeps one of several connections for ever; so many are left then.
    fn names_its_leak(&self, left: usize, leak: &str) {
        let (watch, locks) = (self.database.watch(), self.database.watch());
        let (service, address) = self.start();
        self.idle_ones(&watch, &locks, address);
        let mut wire = Wire::connect_when_ready(address);
        assert_eq!(wire.get("/leak").status, 200);
        drop(wire);
        service.signal(libc::SIGTERM);
        report::names_leak(service, "orders-db", left, leak);
        // The end of the process ends it; its farewell is missing in the log.
        self.until_none(&watch);
    }
}

/// Whether a pool closes what is idle already when the drain begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Early {
    ClosesIdle,
    ClosesNothing,
}

/// A request that reads the table.
fn ask(address: SocketAddr) -> Wire {
    let mut wire = Wire::connect_when_ready(address);
    wire.send("GET /orders HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("sent");
    wire
}

/// The database says so of each connection that ended without a farewell: those that leaked, and none else.
fn judge(database: Database, name: &str, leaked: usize) {
    let log = database.end().stderr;
    let rude = format!("{name} DEBUG:  unexpected EOF on client connection");
    assert_eq!(log.matches(&rude).count(), leaked, "{log}");
}

#[test]
fn sqlx_is_empty_at_the_end_and_its_leak_has_a_line() {
    let Some(database) = Database::start() else {
        return;
    };
    let example = Example {
        program: env!("CARGO_BIN_EXE_pool_sqlx"),
        name: "pool_sqlx",
        database: &database,
    };
    example.is_drained(Early::ClosesNothing);
    example.names_its_leak(1, "s ago at examples/pools/src/bin/pool_sqlx.rs:");
    judge(database, "pool_sqlx", 1);
}

#[test]
fn deadpool_is_empty_at_the_end_and_what_was_taken_from_it_is_found() {
    let Some(database) = Database::start() else {
        return;
    };
    let example = Example {
        program: env!("CARGO_BIN_EXE_pool_deadpool"),
        name: "pool_deadpool",
        database: &database,
    };
    example.is_drained(Early::ClosesIdle);
    example.names_its_leak(1, "0 lent, 1 neither lent nor closed");
    judge(database, "pool_deadpool", 1);
}

#[test]
fn bb8_is_empty_at_the_end_and_its_leak_has_a_line() {
    let Some(database) = Database::start() else {
        return;
    };
    let example = Example {
        program: env!("CARGO_BIN_EXE_pool_bb8"),
        name: "pool_bb8",
        database: &database,
    };
    example.is_drained(Early::ClosesNothing);
    // The pool lives as long as what leaked, and the two idle ones with it: they are left as well.
    let leak = "s ago at examples/pools/src/bin/pool_bb8.rs:";
    example.names_its_leak(3, leak);
    judge(database, "pool_bb8", 3);
}
