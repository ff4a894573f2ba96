//! What a request costs in instructions, and how often it allocates.
//!
//! Owns: the cases, and the two amounts of requests whose difference is counted.

use std::io;
use std::net::SocketAddr;

use super::{Bench, Failure, Figure};
use crate::compare::callgrind::{self, Profile};
use crate::compare::contender::{Contender, Single, Staging};
use crate::compare::link::{Cover, Link};
use crate::compare::speech::Speech;

pub(super) const FIGURE: Figure = Figure {
    name: "cpu",
    title: "Instructions and allocations of a request",
    about: "Instructions and allocations of one `GET /` in user space, counted by callgrind: the difference between two \
            runs of the server, of 500 and of 1 500 requests, divided by 1 000, so that start, connections and stop \
            cancel out. One thread, keep-alive; with 16 connections all ask at the same time. The kernel's part is not \
            in it.",
    plotted: &["instructions per request"],
    measure,
};

const FEW: usize = 500;
const MORE: usize = 1_000;
const AT_ONCE: usize = 16;

fn measure(bench: &mut Bench) -> Result<(), Failure> {
    use Contender::{Again, Axum, Bare, HyperUtil, Lameduck, Limited};
    if !callgrind::is_here() {
        return bench.note("valgrind is not installed".to_owned());
    }
    let (plain, tls) = (Cover::Plain, bench.stage.tls().clone());
    let all = [Lameduck, Again, Bare, Limited, HyperUtil, Axum];
    let few = [Lameduck, Again, Bare, Limited];
    let cases: [(&str, Speech, &Cover, usize, &[Contender]); 5] = [
        ("HTTP/1.1", Speech::Http1, &plain, 1, &all),
        (
            "HTTP/1.1, 16 connections",
            Speech::Http1,
            &plain,
            AT_ONCE,
            &few,
        ),
        ("HTTP/2", Speech::Http2, &plain, 1, &few),
        (
            "HTTP/2, 16 connections",
            Speech::Http2,
            &plain,
            AT_ONCE,
            &few,
        ),
        ("HTTP/1.1, TLS", Speech::Http1, &tls, 1, &few),
    ];
    // A count is nearly the same each time.
    for run in 0..bench.effort.runs.min(2) {
        for (case, speech, cover, connections, contenders) in cases {
            let staging = Staging {
                speech,
                cover,
                single: Some(Single),
            };
            for contender in bench.turns(contenders, staging, run) {
                let each = one(bench, contender, staging, connections)?;
                let name = contender.name();
                bench.add(
                    "instructions per request",
                    case,
                    name,
                    run,
                    each.instructions(),
                )?;
                bench.add("allocations per request", case, name, run, each.allocations)?;
                if connections == 1 && contender != Again {
                    tell_crates(bench, case, name, run, &each)?;
                    bench.keep_profile(&format!("{case} {name}"), &each)?;
                }
            }
        }
    }
    Ok(())
}

fn one(
    bench: &Bench,
    contender: Contender,
    staging: Staging<'_>,
    connections: usize,
) -> Result<Profile, Failure> {
    let profile = |requests: usize| -> Result<Profile, Failure> {
        let launch = bench.stage.launch(contender, staging)?;
        let drive = |address| ask(address, staging, connections, requests);
        Ok(callgrind::run(&launch, bench.stage.directory(), drive)?)
    };
    let few = profile(FEW)?;
    Ok(profile(FEW + MORE)?.beyond(&few, MORE as f64))
}

fn ask(
    address: SocketAddr,
    staging: Staging<'_>,
    connections: usize,
    requests: usize,
) -> io::Result<()> {
    let mut links = (0..connections)
        .map(|_| Link::open(address, staging.speech, staging.cover))
        .collect::<io::Result<Vec<_>>>()?;
    let mut left = requests;
    while left > 0 {
        let round = left.min(links.len());
        links[..round]
            .iter_mut()
            .try_for_each(|link| link.ask("/"))?;
        links[..round].iter_mut().try_for_each(Link::wait_answer)?;
        left -= round;
    }
    Ok(())
}

/// The crates that take the most of it, by name.
fn tell_crates(
    bench: &mut Bench,
    case: &str,
    contender: &str,
    run: u32,
    each: &Profile,
) -> Result<(), Failure> {
    let case = format!("{case}: {contender}");
    for (name, cost) in each.crates() {
        if cost >= each.instructions() / 100.0 {
            bench.add("instructions by crate", &case, &name, run, cost)?;
        }
    }
    Ok(())
}
