//! The README's first example, drained: nothing is lost while a layer and a future stand beside `axum::serve`.

#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use support::{
    service::Service,
    until,
    wire::{Response, Wire},
};

/// Long enough to be seen, short enough to wait for.
const PLAN: [(&str, &str); 3] = [
    ("LISTEN", "127.0.0.1:0"),
    ("LAMEDUCK_WINDOW", "0.5,0.1,2"),
    ("LAMEDUCK_GRACE", "20s"),
];

#[test]
fn h1_01_a2_in_flight_is_answered_and_the_window_serves() {
    let mut service = Service::start(env!("CARGO_BIN_EXE_keep_axum"), &[], &PLAN);
    let address = Service::address(&service.line("listening on "), "listening on ");
    let mut idle = Wire::connect_when_ready(address);
    assert!(!idle.get("/").says_close(), "nobody asked it to leave yet");
    let mut busy = Wire::connect(address).expect("served");
    busy.begin_post("/echo", 10);

    // It has answered, so it is Running, also for a signal that comes right behind.
    service.signal(libc::SIGTERM);
    // Only a service that is leaving says close, and this is a new connection: the window serves it.
    let steered: Response = until("a response with close", || {
        let mut fresh = Wire::connect(address).expect("the window accepts");
        Some(fresh.get("/")).filter(Response::says_close)
    });
    assert_eq!((steered.status, steered.body.as_str()), (200, "hello"));

    until("the end of admission", || Wire::connect(address).err());
    busy.send("0123456789").expect("its connection is open");
    let answer = busy.response().expect("a whole response");
    assert_eq!((answer.status, answer.body.as_str()), (200, "0123456789"));
    assert!(idle.ends().expect("FIN, not RST"));

    let report = service.end().assert_drained();
    assert_eq!(report["cause"]["signal"], "SIGTERM", "{report:#}");
    assert_eq!(report["listeners"][0]["kind"], "foreign", "{report:#}");
    assert!(
        report["counts"]["requests"].as_u64() >= Some(3),
        "{report:#}"
    );
}

#[test]
fn inv_2_the_deadline_ends_a_request_that_never_ends_and_says_so() {
    let plan = [
        ("LISTEN", "127.0.0.1:0"),
        ("LAMEDUCK_WINDOW", "none"),
        ("LAMEDUCK_GRACE", "3s"),
    ];
    let mut service = Service::start(env!("CARGO_BIN_EXE_keep_axum"), &[], &plan);
    let address = Service::address(&service.line("listening on "), "listening on ");
    let mut stuck = Wire::connect_when_ready(address);
    stuck.begin_post("/echo", 10);
    service.signal(libc::SIGTERM);
    let ended = service.end();
    assert_eq!(ended.how(), "exit 124", "{}", ended.stderr);
    let report = ended.report();
    assert_eq!(report["outcome"], "forced", "{report:#}");
    let named = &report["stragglers"][0];
    assert_eq!(
        named["kind"], "guards",
        "a layer can count, not name: {report:#}"
    );
}
