//! A child that has `tokio::signal` and an intake for the same signal.

#[cfg(feature = "tokio")]
pub fn run(when: &str) -> String {
    use std::time::Duration;

    use tokio::signal::unix::{SignalKind, signal};

    use crate::edge::signal::{Intake, SignalSet, resolve};
    use crate::sys;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let ours = || Intake::install(SignalSet::default()).expect("handlers");
        let theirs = || signal(SignalKind::hangup()).expect("a stream");
        let (intake, mut stream) = match when {
            "first" => {
                let stream = theirs();
                (ours(), stream)
            }
            "last" => (ours(), theirs()),
            _ => panic!("first or last"),
        };
        sys::kill_self(libc::SIGHUP).expect("a signal");
        let bound = Duration::from_secs(30);
        tokio::time::timeout(bound, stream.recv())
            .await
            .expect("tokio sees it")
            .expect("the stream is open");
        let mut found = Vec::new();
        intake.drain(&mut found).expect("the pipe is open");
        let record = resolve(found.first().expect("we see it"));
        format!("{} {} and tokio", record.signal, record.sender)
    })
}

#[cfg(not(feature = "tokio"))]
pub fn run(_when: &str) -> String {
    panic!("needs the feature tokio")
}
