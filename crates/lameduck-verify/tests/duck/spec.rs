//! What the duck declares about itself: to the tests of this crate, and to `cargo xtask mutants-verify`.

use std::time::Duration;

use lameduck_verify::{
    ControlSocket, DrainSignal, Farewell, GrpcCall, Options, Reload, RepeatPolicy, TargetSpec,
};

/// The duck at `program`, with the promise named by `broken` broken, if it is not empty.
pub(crate) fn spec(program: String, broken: &str) -> TargetSpec {
    let mut argv = vec![program];
    argv.extend(
        "--port {port} --probes {probes_port} --tls-port {tls_port}"
            .split(' ')
            .map(str::to_owned),
    );
    if !broken.is_empty() {
        argv.extend(["--break".to_owned(), broken.to_owned()]);
    }
    let mut spec = TargetSpec::command(argv);
    spec.ready_path = Some("/".to_owned());
    spec.slow_path = Some("/slow?ms={ms}".to_owned());
    spec.large_path = Some("/large?bytes={bytes}".to_owned());
    spec.post_path = Some("/echo".to_owned());
    spec.stream_path = Some("/stream?chunks={chunks}&ms={ms}".to_owned());
    spec.sse_path = Some("/sse?ms={ms}".to_owned());
    spec.ws_path = Some("/ws".to_owned());
    spec.ws_farewell = Some(Farewell {
        path: "/ws?farewell=4001".to_owned(),
        message: "farewell".to_owned(),
        code: 4001,
    });
    spec.grpc = Some(GrpcCall {
        path: "/lameduck.demo.v1.Echo/Say".to_owned(),
        message: Vec::new(),
        // `delay_ms`, field 2: 800.
        slow_message: Some(vec![0x10, 0xa0, 0x06]),
    });
    spec.drain_signal = Some(DrainSignal {
        url: "http://127.0.0.1:{probes_port}/lbz".to_owned(),
        liveness_url: Some("http://127.0.0.1:{probes_port}/livez".to_owned()),
    });
    spec.repeats = Some(RepeatPolicy::Escalate);
    spec.quiet = Some(Duration::from_millis(100));
    spec.forced_exit = Some(124);
    spec.reload = Some(Reload {
        arguments: vec!["--config".to_owned(), "{config}".to_owned()],
        path: "/config".to_owned(),
        first: "greeting: quack\n".to_owned(),
        second: "greeting: quack quack\n".to_owned(),
        broken: "greeting".to_owned(),
        ..Reload::default()
    });
    spec.control = Some(ControlSocket {
        path: "{control}".to_owned(),
        arguments: ["--control", "{control}"].map(str::to_owned).to_vec(),
    });
    spec.copies = 4;
    spec
}

/// Checks that take seconds, not minutes, with the same random choices each time.
pub(crate) fn options(target: TargetSpec, only: &[&str]) -> Options {
    let mut options = Options::new(target);
    options.grace = Duration::from_secs(4);
    options.only = only.iter().map(|&id| id.to_owned()).collect();
    options.rounds = 3;
    options.seed = Some(7);
    options
}
