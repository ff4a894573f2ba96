//! P7 for certificates: SIGHUP brings a new one into force, refuses a broken one, and keeps what is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lameduck::{Outcome, Signal, SignalSet, Start};
use lameduck_http::tls::{Reloading, from_pem_files};
use tokio::sync::Semaphore;

use crate::support::{Client, Control, GET, Rig, app, plan, soon, window};
use crate::tls_support::{Identity, Records, provider};

struct Files {
    folder: PathBuf,
}

impl Files {
    fn certificate(&self) -> PathBuf {
        self.folder.join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("tls.key")
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.certificate(), certificate).expect("a file");
        std::fs::write(self.key(), key).expect("a file");
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What is left of a failed test is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn folder(name: &str) -> Files {
    let folder = std::env::temp_dir().join(format!("lameduck-http-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    Files { folder }
}

/// Shakes hands with who trusts only `identity`.
async fn trusts(rig: &Rig, identity: &Identity) -> bool {
    let mut records = Records::connect(rig.addr, identity.client(&["http/1.1"])).await;
    records.shake().await.is_ok()
}

async fn hup(done: &Semaphore) {
    // SAFETY: a signal to this very process, which has taken it.
    assert_eq!(unsafe { libc::raise(libc::SIGHUP) }, 0);
    soon("a reload", done.acquire())
        .await
        .expect("open")
        .forget();
}

#[tokio::test]
async fn p7_certificates_are_reloaded_refused_and_kept() {
    // The first one in this process stays; another test may have been first.
    let _ = Arc::unwrap_or_clone(provider()).install_default();
    let files = folder("reload");
    let (old, new) = (Identity::of("localhost"), Identity::of("localhost"));
    files.write(&old.certificate_pem, &old.key_pem);

    let signals = SignalSet::empty()
        .with(Signal::Hup)
        .even_if_ignored(Signal::Hup);
    let life = Start::from(plan(window(0, 50, 500)))
        .signals(signals)
        .begin()
        .expect("a lifecycle");
    let tls = Reloading::from_pem_files(&life, files.certificate(), files.key()).expect("files");
    // Subscribed behind the certificate: it is done when this is.
    let done = Arc::new(Semaphore::new(0));
    let marker = done.clone();
    life.on_reload("marker", move || {
        marker.add_permits(1);
        Ok::<(), String>(())
    });
    let control = Control::new();
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app(control.clone()))
        .tls(&tls)
        .await
        .expect("a server");
    let rig = Rig::running(life, server.local_addr().tcp().expect("tcp"), control).await;

    let mut open = Records::connect(rig.addr, old.client(&["http/1.1"])).await;
    open.shake().await.expect("a handshake");
    let mut open = Client::over(open);
    // Its handshake has not begun at the reload: it gets the new one.
    let mut waiting = Records::connect(rig.addr, new.client(&["http/1.1"])).await;

    files.write(&new.certificate_pem, &new.key_pem);
    hup(&done).await;
    assert!(trusts(&rig, &new).await);
    assert!(!trusts(&rig, &old).await);
    waiting.shake().await.expect("a handshake");
    open.send(GET).await;
    assert_eq!(open.served().await.text(), "ok");

    files.write("-----BEGIN CERTIFICATE-----\n", &new.key_pem);
    hup(&done).await;
    assert!(trusts(&rig, &new).await, "broken: the old one stays");

    files.write(&new.certificate_pem, &old.key_pem);
    hup(&done).await;
    assert!(trusts(&rig, &new).await, "mismatched: the old one stays");
    open.send(GET).await;
    assert_eq!(open.served().await.text(), "ok");

    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    let report = rig.life.report().expect("a report").to_json();
    for why in ["is not valid PEM", "the private key does not belong"] {
        assert!(report.contains(why), "{report}");
    }
}

fn why(certificate: &Path, key: &Path) -> String {
    from_pem_files(certificate, key)
        .expect_err("refused")
        .to_string()
}

#[test]
fn a_refused_certificate_is_told_in_a_sentence() {
    let _ = Arc::unwrap_or_clone(provider()).install_default();
    let files = folder("refused");
    let (one, two) = (Identity::of("localhost"), Identity::of("localhost"));
    let (certificate, key) = (files.certificate(), files.key());
    assert!(why(&certificate, &key).contains("cannot be read"));
    files.write(&one.certificate_pem, &two.key_pem);
    let sentence = why(&certificate, &key);
    assert!(
        sentence.starts_with("the private key does not belong"),
        "{sentence}"
    );
    files.write(&one.certificate_pem, &one.certificate_pem);
    assert!(why(&certificate, &key).ends_with("holds no private key"));
    files.write(&one.certificate_pem, &one.key_pem);
    let config = from_pem_files(&certificate, &key).expect("a configuration");
    assert_eq!(config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
}
