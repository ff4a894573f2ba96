//! lameduck beside its peers: measures figures, writes raw data.
use clap::Parser;
use lameduck_benches::compare::contender::Stage;
use lameduck_benches::compare::figures::{self, Bench, Effort};
use lameduck_benches::compare::record::Record;
use std::path::PathBuf;

#[derive(Debug, Parser)]
struct Args {
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long, default_value_t = 5)]
    runs: u32,
    #[arg(long, default_value_t = 10_000)]
    crowd: usize,
    #[arg(long)]
    raw: Option<PathBuf>,
    #[arg(long)]
    profiles: Option<PathBuf>,
}

fn main() {
    let args = Args::parse();
    let stage = Stage::set(std::path::Path::new("target/peers/go-app")).unwrap();
    println!("missing {:?}", stage.missing());
    let mut bench = Bench::new(
        stage,
        Record::new(args.raw.as_deref()).unwrap(),
        Effort {
            runs: args.runs,
            crowd: args.crowd,
        },
    );
    bench.profiles = args.profiles;
    for figure in figures::ALL {
        if args.only.is_empty() || args.only.iter().any(|name| name == figure.name) {
            if let Err(error) = bench.measure(figure) {
                println!("error {error}");
            }
        }
    }
    for (key, values) in bench.record.samples() {
        let mut v: Vec<f64> = values.values().copied().collect();
        v.sort_by(f64::total_cmp);
        println!(
            "{:10} {:32} {:36} {:32} {:.2} [{:.2}..{:.2}]",
            key.figure,
            key.measure,
            key.case,
            key.contender,
            v[v.len() / 2],
            v[0],
            v[v.len() - 1]
        );
    }
}
