//! A collector over TLS: whom the exporter trusts. A process of its own, because the crypto provider is the process's.

mod collector;

use std::sync::{Arc, Mutex};

use lameduck::{Lifecycle, Outcome, Plan, Preset, Window};
use lameduck_otlp::Otlp;
use rustls::pki_types::PrivatePkcs8KeyDer;

use collector::Collector;

fn life() -> Lifecycle {
    let plan = Plan::preset(Preset::Local).with_window(Window::NONE);
    Lifecycle::embedded(plan.expect("a plan")).expect("a driver")
}

/// What was said of a whole life.
fn export(otlp: Otlp) -> Vec<String> {
    let troubles = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&troubles);
    let otlp =
        otlp.on_trouble(move |what| heard.lock().expect("not poisoned").push(what.to_owned()));
    let life = life();
    life.observe("otlp", otlp.observer(&life).expect("an exporter"))
        .expect("a thread");
    life.ready();
    life.shutdown("a test");
    assert_eq!(life.wait(), Outcome::Drained);
    troubles.lock().expect("not poisoned").clone()
}

#[test]
fn who_is_trusted_gets_it_and_nobody_else() {
    let refused = Otlp::to("https://localhost:4318")
        .expect("an endpoint")
        .observer(&life());
    let why = refused.expect_err("there is no provider yet").to_string();
    assert!(why.contains("CryptoProvider::install_default"), "{why}");
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the first");

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a configuration");
    let collector = Collector::start_tls(config);
    let file = std::env::temp_dir().join(format!("lameduck-otlp-{}.pem", std::process::id()));
    std::fs::write(&file, made.cert.pem()).expect("written");

    let to = || Otlp::to(&collector.endpoint).expect("an endpoint");
    let said = export(to());
    assert!(
        said.iter().any(|line| line.contains("did not reach")),
        "{said:?}"
    );
    assert!(collector.got().heads.is_empty());

    let said = export(to().authorities(&file));
    assert_eq!(said, Vec::<String>::new());
    assert!(
        collector
            .got()
            .spans()
            .iter()
            .any(|span| span.name == "shutdown")
    );

    std::fs::write(&file, "no certificate").expect("written");
    let refused = to().authorities(&file).observer(&life());
    assert!(
        refused
            .expect_err("nothing in it")
            .to_string()
            .contains("no certificate in it")
    );
    let _ = std::fs::remove_file(&file);
}
