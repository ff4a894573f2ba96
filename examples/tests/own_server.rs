//! The draining server with an outbox behind it: what a request put in before the end is delivered before the end.

#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use support::{service::Service, until, wire::Wire};

const PLAN: [(&str, &str); 4] = [
    ("LISTEN", "127.0.0.1:0"),
    ("PROBES", "127.0.0.1:0"),
    ("LAMEDUCK_WINDOW", "0.5,0.1,2"),
    ("LAMEDUCK_GRACE", "20s"),
];

#[test]
fn inv_10_the_outbox_ends_after_the_server_and_its_hook_is_last() {
    let mut service = Service::start(env!("CARGO_BIN_EXE_own_server"), &[], &PLAN);
    let probes = Service::address(&service.line("probes on "), "probes on ");
    let address = Service::address(&service.line("listening on "), "listening on ");
    let mut busy = Wire::connect_when_ready(address);
    assert_eq!(Wire::ask(probes, "/lbz").expect("probed").status, 200);
    busy.begin_post("/orders", 4);

    service.signal(libc::SIGTERM);
    // INV-3: the balancer is told before anything is refused.
    until("/lbz false", || {
        Some(Wire::ask(probes, "/lbz").expect("probed")).filter(|probe| probe.status == 503)
    });
    let late = Wire::connect(address)
        .expect("the window accepts")
        .post("/orders", "late");
    assert_eq!(late.status, 202);
    assert_eq!(Wire::ask(probes, "/livez").expect("probed").status, 200);

    until("the end of admission", || Wire::connect(address).err());
    busy.send("slow").expect("its connection is open");
    let answer = busy.response().expect("a whole response");
    assert_eq!(answer.status, 202);
    assert!(answer.says_close(), "{}", answer.head);

    let ended = service.end();
    let report = ended.assert_drained();
    let said: Vec<_> = ended
        .stdout
        .lines()
        .filter(|line| !line.contains(" on "))
        .collect();
    assert_eq!(said, ["delivered late", "delivered slow", "outbox closed"]);
    let participants = report["participants"].as_array().expect("a list");
    let server = participants
        .iter()
        .find(|one| one["name"] != "outbox")
        .expect("the server");
    assert_eq!(server["after"][0], "outbox", "{report:#}");
    let outbox = participants
        .iter()
        .find(|one| one["name"] == "outbox")
        .expect("the outbox");
    assert_eq!(outbox["hook"]["state"], "ok", "{report:#}");
}
