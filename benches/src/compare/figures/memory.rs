//! What an idle connection costs in memory.
//!
//! Owns: which protocols, and when memory is looked at: before the crowd and after it was idle for a while.

use std::time::Duration;

use super::{Bench, Failure, Figure};
use crate::compare::contender::{Contender, Staging};
use crate::compare::crowd::Crowd;
use crate::compare::link::Cover;
use crate::compare::speech::Speech;
use crate::memory::Footprint;
use crate::server::Server;

pub(super) const FIGURE: Figure = Figure {
    name: "memory",
    title: "Memory of an idle connection",
    about: "Memory of an idle connection that has had one answer: what the server's processes grew by, divided by the \
            connections, 3 s after the last came: of 10 000 (2 000 with TLS). Kernel memory (about 9 KB for both ends) is not in it.",
    plotted: &["RSS per connection, B"],
    measure,
};

/// What gives memory back only after a while has done so by then.
const IDLE: Duration = Duration::from_secs(3);
/// Connections that make a server touch first what it touches once.
const WARMING: usize = 8;
/// With `Serve::trim_heap`, which the demo asks for, too: it is an option, because it is the whole process's heap.
const TRIMMED: &str = "HTTP/1.1, heap trimmed";

fn measure(bench: &mut Bench) -> Result<(), Failure> {
    use Contender::{
        Again, Axum, Bare, BareAuto, Go, HyperUtil, Lameduck, Limited, Nginx, Tokens, TokioGraceful,
    };
    let (plain, tls) = (Cover::Plain, bench.stage.tls().clone());
    let http1 = [
        Lameduck,
        Again,
        Bare,
        BareAuto,
        Limited,
        HyperUtil,
        Tokens,
        TokioGraceful,
        Axum,
        Nginx,
        Go,
    ];
    let others = [Lameduck, Bare, BareAuto, Limited, Nginx, Go];
    let cases: [(&str, Speech, &Cover, &[Contender]); 5] = [
        ("HTTP/1.1", Speech::Http1, &plain, &http1),
        (
            TRIMMED,
            Speech::Http1,
            &plain,
            &[Lameduck, Again, Bare, Nginx],
        ),
        ("HTTP/2", Speech::Http2, &plain, &others),
        ("HTTP/1.1, TLS", Speech::Http1, &tls, &others),
        ("WebSocket", Speech::WebSocket, &plain, &[Lameduck]),
    ];
    // Allocation is repeatable: more runs would say the same.
    for run in 0..bench.effort.runs.min(2) {
        for (case, speech, cover, contenders) in cases {
            let staging = Staging {
                speech,
                cover,
                single: None,
            };
            for contender in bench.turns(contenders, staging, run) {
                let (resident, proportional) = grown(bench, contender, staging, case)?;
                bench.add(
                    "RSS per connection, B",
                    case,
                    contender.name(),
                    run,
                    resident,
                )?;
                bench.add(
                    "PSS per connection, B",
                    case,
                    contender.name(),
                    run,
                    proportional,
                )?;
            }
        }
    }
    Ok(())
}

fn grown(
    bench: &Bench,
    contender: Contender,
    staging: Staging<'_>,
    case: &str,
) -> Result<(f64, f64), Failure> {
    let mut launch = bench.stage.launch(contender, staging)?;
    if case == TRIMMED && matches!(contender, Contender::Lameduck | Contender::Again) {
        launch.args.push("--trim-heap".into());
    }
    let server = Server::start(&launch)?;
    let mut crowd = Crowd::new()?;
    let mut admit = |count| crowd.admit(server.address(), staging.speech, staging.cover, count);
    admit(WARMING)?;
    let before = Footprint::of_tree(server.id())?;
    let count = match staging.cover {
        Cover::Plain => bench.effort.weighed,
        Cover::Tls(_) => bench.effort.weighed / 5,
    };
    admit(count)?;
    // The wait is part of what is measured: how long the connections have been idle.
    std::thread::sleep(IDLE);
    let after = Footprint::of_tree(server.id())?;
    let each = |before: u64, after: u64| (after as f64 - before as f64) / count as f64;
    Ok((
        each(before.resident, after.resident),
        each(before.proportional, after.proportional),
    ))
}
