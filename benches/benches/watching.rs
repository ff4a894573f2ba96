//! What watching costs a service under load: one with `SnapshotHealth` on every request that is scraped ten times a second, beside the same
//! without either, and beside that once more, which is the noise.
//!
//! `cargo bench -p lameduck-benches --bench watching` prints one table; without `--bench` every contender serves for a moment, to see that it
//! works. Servers and clients are threads of one process and take turns in slices, in a balanced order (A B C C B A): each serves a fixed
//! number of connections in a closed loop, so that throughput is what the processors give. Loopback only.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use lameduck::{Lifecycle, Plan, Preset, Window};
use lameduck_http::{MetricsFormat, SnapshotHealth};

/// How long a contender serves at a stretch, and how often each has its turn.
const SLICE: Duration = Duration::from_millis(100);
const TURNS: usize = 200;
/// Connections in a closed loop, one thread each.
const CONNECTIONS: usize = 2;
/// How often it is scraped.
const SCRAPE: Duration = Duration::from_millis(100);
/// What metrics and snapshots together may cost of the throughput.
const GOAL: f64 = 0.01;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    Bare,
    BareAgain,
    Watched,
}

impl Contender {
    const ALL: [Self; 3] = [Self::Bare, Self::BareAgain, Self::Watched];

    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "nobody watches",
            Self::BareAgain => "the same again",
            Self::Watched => "snapshots, and a scrape every 100 ms",
        }
    }
}

/// A server on a runtime of its own, and clients that ask while they may.
struct Seat {
    life: Lifecycle,
    asks: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    snapshots: Arc<AtomicU64>,
    watched: bool,
}

fn main() {
    let measures = std::env::args().any(|arg| arg == "--bench");
    let (turns, slice) = if measures {
        (TURNS, SLICE)
    } else {
        (2, Duration::from_millis(20))
    };
    let seats: Vec<Seat> = Contender::ALL.into_iter().map(Seat::take).collect();
    // Both rates of a turn stand beside each other: drift of the machine meets both.
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for _ in 0..turns {
        let there: Vec<f64> = seats.iter().map(|seat| seat.serve(slice)).collect();
        let back: Vec<f64> = seats.iter().rev().map(|seat| seat.serve(slice)).collect();
        for (index, ratios) in ratios.iter_mut().enumerate() {
            let of = |index: usize| there[index] + back[back.len() - 1 - index];
            ratios.push(of(index) / of(0));
        }
    }
    let seen = seats[2].snapshots.load(Ordering::SeqCst);
    let answered = seats[2].answered.load(Ordering::SeqCst);
    assert!(
        seen >= answered && answered > 0,
        "{seen} of {answered}: one snapshot each"
    );
    println!(
        "{turns} turns of {slice:?} there and back, {CONNECTIONS} connections, {seen} snapshots"
    );
    println!("| contender | throughput beside the first, median | 95 % of medians | goal |");
    println!("|---|---|---|---|");
    for (contender, ratios) in Contender::ALL.into_iter().zip(&mut ratios) {
        let (median, least, greatest) = of_median(ratios);
        let goal = match contender {
            Contender::Watched if least >= 1.0 - GOAL => ">= 0.99: held",
            Contender::Watched if greatest < 1.0 - GOAL => ">= 0.99: missed",
            Contender::Watched => ">= 0.99: within the noise",
            Contender::Bare | Contender::BareAgain => "",
        };
        println!(
            "| {} | {median:.4} | {least:.4} to {greatest:.4} | {goal} |",
            contender.name()
        );
    }
    for seat in seats {
        seat.leave();
    }
}

impl Seat {
    fn take(contender: Contender) -> Self {
        let plan = Plan::preset(Preset::Local).with_window(Window::NONE);
        let life = Lifecycle::embedded(plan.expect("a plan")).expect("a driver");
        let snapshots = Arc::new(AtomicU64::new(0));
        let watched = contender == Contender::Watched;
        let mut app = Router::new().route("/", get(|| async { "ok" }));
        if watched {
            let counted = Arc::clone(&snapshots);
            app = app.layer(SnapshotHealth::new(&life, move |_| {
                _ = counted.fetch_add(1, Ordering::Relaxed)
            }));
        }
        let address = serve_on_a_thread(&life, app);
        let seat = Self {
            life,
            asks: Arc::default(),
            answered: Arc::default(),
            snapshots,
            watched,
        };
        for _ in 0..CONNECTIONS {
            let (asks, answered) = (Arc::clone(&seat.asks), Arc::clone(&seat.answered));
            std::thread::spawn(move || ask(address, &asks, &answered));
        }
        seat
    }

    /// Requests a second in this slice.
    fn serve(&self, slice: Duration) -> f64 {
        let before = self.answered.load(Ordering::SeqCst);
        let begun = Instant::now();
        self.asks.store(true, Ordering::SeqCst);
        while begun.elapsed() < slice {
            if self.watched {
                let page = lameduck_http::metrics(&self.life, MetricsFormat::OpenMetrics);
                assert!(page.ends_with("# EOF\n"));
            }
            std::thread::sleep(SCRAPE.min(slice.saturating_sub(begun.elapsed())));
        }
        self.asks.store(false, Ordering::SeqCst);
        let took = begun.elapsed();
        let answered = self.answered.load(Ordering::SeqCst) - before;
        // What was under way is answered before another one begins.
        std::thread::sleep(Duration::from_millis(2));
        answered as f64 / took.as_secs_f64()
    }

    fn leave(self) {
        self.life.shutdown("the bench is over");
        let _ = self.life.wait();
    }
}

fn serve_on_a_thread(life: &Lifecycle, app: Router) -> SocketAddr {
    let (say, address) = std::sync::mpsc::channel();
    let life = life.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
                .await
                .expect("a server");
            life.ready();
            say.send(server.local_addr().tcp().expect("tcp"))
                .expect("the bench listens");
            life.drain().drained().await;
            // Its last connections are let go by then.
            tokio::time::sleep(Duration::from_millis(10)).await;
        });
    });
    address.recv().expect("a server")
}

/// Asks while it may; ends with the server.
fn ask(address: SocketAddr, asks: &AtomicBool, answered: &AtomicU64) {
    let mut writing = TcpStream::connect(address).expect("served");
    writing.set_nodelay(true).expect("a socket");
    let mut reading = BufReader::new(writing.try_clone().expect("a descriptor"));
    let mut line = String::new();
    loop {
        while !asks.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_micros(200));
        }
        if writing.write_all(REQUEST).is_err() {
            return;
        }
        let mut length = 0;
        loop {
            line.clear();
            if !reading.read_line(&mut line).is_ok_and(|count| count > 0) {
                return;
            }
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = [0; 16];
        if reading.read_exact(&mut body[..length]).is_err() {
            return;
        }
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// The median, and between which values its 95 % interval lies (order statistics of the binomial distribution).
fn of_median(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let half = 0.98 * count.sqrt();
    let at = |place: f64| values[(place.max(0.0) as usize).min(values.len() - 1)];
    (
        at(count / 2.0),
        at(count / 2.0 - half),
        at(count / 2.0 + half),
    )
}
