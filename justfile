# `just` lists the recipes; `just ci` is what CI runs. Anything longer than three lines lives in xtask or .ci/run.

default:
    @just --list --unsorted

# Everything compiles, tests included
check:
    cargo check --workspace --all-targets

# The whole test suite (README command two)
test:
    cargo test --workspace

# Formatting and clippy, warnings denied
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Format in place
fmt:
    cargo fmt --all

# The documentation, warnings denied
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Imports, headers, code map, invariants, README: what a compiler does not check
tidy:
    cargo xtask tidy

# The counter, the gate, the token and the breaker under every interleaving
loom:
    RUSTFLAGS="--cfg loom" cargo test -p lameduck --release --no-default-features --lib inflight
    RUSTFLAGS="--cfg loom" cargo test -p lameduck-breaker --release --lib

# Groups over etcd, which have a workspace of their own: built with protoc
etcd:
    cd crates/lameduck-etcd && cargo test

# The portable twins of the Linux-only calls
portable:
    RUSTFLAGS="--cfg lameduck_portable" cargo test -p lameduck

# README command one: does the demo service lose requests?
verify *args:
    cargo run --release -- verify {{args}}

# Random stop instants under mixed load of all protocols, hostile peers among them; a seed repeats a plan
chaos n="30" seed="":
    cargo build --release -p lameduck-cli
    cargo run --release -p lameduck-benches --bin chaos -- --rounds {{n}} {{ if seed == "" { "" } else { "--seed " + seed } }}

# Two services behind each other, both replaced at random under load: nothing lost, nothing done twice, every hook once
hops n="30" seed="":
    cargo run --release -p lameduck-benches --bin hops -- --rounds {{n}} {{ if seed == "" { "" } else { "--seed " + seed } }}

# Groups of five told to leave at once, under kills, delays and partitions; `just together 200 etcd` needs etcd, etcdctl and protoc
together n="200" lender="unix":
    cargo run --release -p lameduck-benches {{ if lender == "etcd" { "--features etcd" } else { "" } }} --bin together -- --drains {{n}} --lender {{lender}}

# The same for as long as it takes to trust it: none lost among the honest
soak n="500" seed="":
    just chaos {{n}} {{seed}}
    just soak-verify

# Break each promise of a correct server in turn: does its check of `lameduck verify` see it? Takes --only ID,... and --output FILE
mutants-verify *args:
    cargo xtask mutants-verify {{args}}

# The whole catalogue again and again on the duck and on our demo: nothing may fail
soak-verify n="50":
    cargo build -p lameduck-cli
    cargo xtask soak-verify --rounds {{n}} --lameduck target/debug/lameduck

# Hostile peers beside honest clients, then SIGTERM in their midst: memory, delay, loss, exit
adversary *args:
    cargo build --release -p lameduck-cli
    cargo run --release -p lameduck-benches --bin adversary -- {{args}}

# The seeds of the fuzz targets on the stable toolchain: split, cut and changed in every way
seeds:
    cd fuzz && RUSTFLAGS="--cfg fuzzing" cargo test --no-default-features --test seeds

# One fuzz target for a while (events, first_bytes, frames, messages, records); needs cargo-fuzz and a nightly toolchain
fuzz target="first_bytes" seconds="60":
    mkdir -p fuzz/corpus/{{target}}
    cargo +nightly fuzz run {{target}} fuzz/corpus/{{target}} fuzz/seeds/{{target}} -- -max_total_time={{seconds}}

# Guard, request count and phase check, then the signal path, beside peers
bench-micro:
    cargo bench -p lameduck-benches
    cargo run --release -p lameduck-benches --bin signal

# Signal channels beside raw signalfd + epoll, sigwaitinfo and `tokio::signal`, interleaved; what each does with signals that wait
bench-channels rounds="500":
    cargo run --release -p lameduck-benches --bin channels -- {{rounds}}

# Lost requests in four load modes beside peers
bench-lost:
    cargo build --release -p lameduck-cli -p lameduck-benches --bins
    cargo run --release -p lameduck-benches --bin lost

# lameduck beside its peers: CPU, memory, departure, broadcast, loss, scale; writes docs/benchmarks. Takes --only, --runs, --quick, --out
bench-peers *args:
    benches/go/build || echo "Go takes no part"
    cargo build --release -p lameduck-cli -p lameduck-benches --bins
    cargo bench -p lameduck-benches --bench micro --no-run
    cargo run --release -p lameduck-benches --bin peers -- measure {{args}}

# Is a figure worse than the committed baseline, beyond the noise that is measured first? Takes --only and --runs
bench-check *args:
    benches/go/build || echo "Go takes no part"
    cargo build --release -p lameduck-benches --bins
    cargo run --release -p lameduck-benches --bin peers -- check {{args}}

# Servers that are not ours, judged as their recipes start them; writes docs/conformance.{md,html}. matrix/install first
matrix *args:
    cargo xtask matrix {{args}}

# The README's commands in a clone without a target directory
fresh-clone:
    dir=$(mktemp -d) && git clone --quiet . "$dir/lameduck" && cd "$dir/lameduck" && cargo run --release -- verify && cargo test --workspace && rm -rf "$dir"

# Exactly what CI runs
ci:
    .ci/run
