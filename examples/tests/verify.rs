//! What you would write beside your own service: an ordinary test that starts its binary, stops it under load, and fails
//! if a request is lost.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lameduck_verify::{Progress, Protocol, TargetSpec, Verdict, verify};

/// One at a time: the service is to be judged, not this machine.
static ONE: Mutex<()> = Mutex::new(());

/// The example `plain`, started as a process on a free port.
fn service(window: &str) -> TargetSpec {
    let mut target = TargetSpec::command([env!("CARGO_BIN_EXE_plain")]);
    let variables = [
        ("LISTEN", "127.0.0.1:{port}"),
        ("LAMEDUCK_WINDOW", window),
        ("LAMEDUCK_GRACE", "5s"),
    ];
    target.env = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    target.forced_exit = Some(124);
    target
}

#[test]
fn h1_01_a_deploy_loses_no_request() {
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut launches = 0;
    let report = verify(service("0.4,0.1,1"))
        .protocols([Protocol::H1])
        .only(["P1", "H1-01", "H1-02", "H1-04", "H1-05", "H1-06", "L-H1"])
        .grace(Duration::from_secs(5))
        .rounds(2)
        .progress(|progress| {
            if let Progress::Launch { done, .. } = progress {
                launches = done;
            }
        })
        .run()
        .expect("the service starts");
    assert!(launches > 2, "it was started again and again: {launches}");
    // Where a machine is too slow to tell, this is no failure of the service: `assert_lossless` would say so and panic.
    if report.verdict != Verdict::Inconclusive {
        report.assert_lossless();
    }
}
