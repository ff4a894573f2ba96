//! A service and the one that it needs, both told to leave: what is late is still forwarded, and the connection between them ends first.

#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use support::{service::Service, until, wire::Wire};

#[test]
fn inv_10_the_client_ends_after_the_server_and_leaves_nothing_open() {
    let plan = [
        ("LISTEN", "127.0.0.1:0"),
        ("LAMEDUCK_WINDOW", "0.2,0.1,1"),
        ("LAMEDUCK_GRACE", "20s"),
    ];
    let binary = env!("CARGO_BIN_EXE_two_hops");
    let mut back = Service::start(binary, &[], &plan);
    let behind = Service::address(&back.line("listening on "), "listening on ");
    let upstream = format!("http://{behind}");
    let mut variables = plan.to_vec();
    variables.push(("UPSTREAM", &upstream));
    let mut front = Service::start(binary, &[], &variables);
    let address = Service::address(&front.line("listening on "), "listening on ");
    let mut early = Wire::connect_when_ready(address);
    assert_eq!(early.post("/orders", "one").status, 200);
    let mut late = Wire::connect_when_ready(address);
    late.begin_post("/orders", 5);

    front.signal(libc::SIGTERM);
    until("the end of admission", || Wire::connect(address).err());
    late.send("three").expect("its connection is open");
    let answer = late.response().expect("a whole response");
    assert_eq!(answer.status, 200, "{}", answer.head);
    let ended = front.end();
    let report = ended.assert_drained();
    let participants = report["participants"].as_array().expect("a list");
    let named = |name: &str| {
        let found = participants.iter().find(|one| {
            let its = one["name"].as_str().unwrap_or_default();
            its.starts_with(name)
        });
        found.expect("a participant")
    };
    let (client, server) = (named("upstream"), named("http"));
    assert_eq!(server["after"][0], "upstream", "{report:#}");
    assert_eq!(client["state"], "done", "{report:#}");
    // Its stop hook found nothing open.
    assert_eq!(client["hook"]["state"], "ok", "{report:#}");
    let ended_at = |one: &serde_json::Value| one["ended_ms"].as_f64().expect("a time");
    assert!(ended_at(server) <= ended_at(client), "{report:#}");

    back.signal(libc::SIGTERM);
    let ended = back.end();
    ended.assert_drained();
    let took = ended.stdout.lines().filter(|line| line.starts_with("took"));
    assert_eq!(took.collect::<Vec<_>>(), ["took one", "took three"]);
}
