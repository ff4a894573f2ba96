//! The plain service's example, drained with an upload and its answer under way.

#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use support::{service::Service, until, wire::Wire};

const PLAN: [(&str, &str); 3] = [
    ("LISTEN", "127.0.0.1:0"),
    ("LAMEDUCK_WINDOW", "0.5,0.1,2"),
    ("LAMEDUCK_GRACE", "20s"),
];

#[test]
fn h1_09_an_upload_under_way_is_read_and_given_back() {
    let mut service = Service::start(env!("CARGO_BIN_EXE_plain"), &[], &PLAN);
    let address = Service::address(&service.line("listening on "), "listening on ");
    let mut idle = Wire::connect_when_ready(address);
    assert_eq!(idle.get("/").body, "hello");
    assert_eq!(idle.get("/elsewhere").status, 404);
    let mut busy = Wire::connect(address).expect("served");
    busy.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234")
        .expect("sent");
    // The answer begins before the upload is over.
    let head = busy.head().expect("a head");

    service.signal(libc::SIGTERM);
    until("the end of admission", || Wire::connect(address).err());
    busy.send("56789").expect("its connection is open");
    let answer = busy.rest(head).expect("a whole response");
    assert_eq!((answer.status, answer.body.as_str()), (200, "0123456789"));
    assert!(idle.ends().expect("FIN, not RST"));
    service.end().assert_drained();
}
