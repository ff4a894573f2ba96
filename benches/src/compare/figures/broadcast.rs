//! Waking a million tasks at once.
//!
//! Owns: who is compared, each in a process of its own. Not here: the contenders (`bin/broadcast`, `benches/go`).

use std::path::PathBuf;
use std::process::Command;

use super::{Bench, Failure, Figure};

pub(super) const FIGURE: Figure = Figure {
    name: "broadcast",
    title: "Waking a million tasks",
    about: "One event for 1 000 000 waiting tasks of tokio's current-thread runtime (Go: goroutines, GOMAXPROCS as it \
            is), each contender in a process of its own: the call that fires it, the time until the last task has run, \
            and the bytes allocated in between.",
    plotted: &["until all have run, ns per waiter"],
    measure,
};

const WAITERS: &str = "1000000";
const RUST: [(&str, &str); 7] = [
    ("lameduck", "token"),
    ("lameduck, again", "token"),
    ("lameduck, cause", "cancellation"),
    ("lameduck, children", "cancellation-children"),
    ("Vec<Waker>", "wakers"),
    ("CancellationToken", "cancellation-token"),
    ("CancellationToken, children", "cancellation-token-children"),
];

fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let own = std::env::current_exe()?.with_file_name("broadcast");
    let go = bench.stage.go_context();
    if go.is_none() {
        bench.note("Go's context was not built".to_owned())?;
    }
    let mut contenders: Vec<(&str, PathBuf, Vec<&str>)> = RUST
        .iter()
        .map(|&(name, kind)| (name, own.clone(), vec![kind, WAITERS]))
        .collect();
    contenders.extend(go.map(|go| ("Go context", go, vec![WAITERS])));
    contenders.retain(|(name, ..)| bench.takes(name));
    for run in 0..bench.effort.runs {
        let first = run as usize % contenders.len();
        contenders.rotate_left(first.min(1));
        for (name, program, args) in contenders.clone() {
            let output = Command::new(&program).args(&args).output()?;
            let text = String::from_utf8(output.stdout)?;
            let numbers: Vec<f64> = text
                .split_whitespace()
                .map(str::parse)
                .collect::<Result<_, _>>()?;
            let [call, all, bytes] = numbers[..] else {
                return Err(format!("{name} says {text:?}").into());
            };
            let each = 1e6;
            bench.add(
                "call, ns per waiter",
                "1 000 000 waiters",
                name,
                run,
                call / each,
            )?;
            bench.add(
                "until all have run, ns per waiter",
                "1 000 000 waiters",
                name,
                run,
                all / each,
            )?;
            bench.add(
                "allocated meanwhile, B",
                "1 000 000 waiters",
                name,
                run,
                bytes,
            )?;
        }
    }
    Ok(())
}
