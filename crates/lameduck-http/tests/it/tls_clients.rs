//! Clients that nobody here wrote: curl and OpenSSL. Where one is missing the test says so and judges nothing.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use lameduck::Window;

use crate::support::{plan, soon, window};
use crate::tls_support::TlsRig;

/// Runs a command with this input, unless it is missing here.
async fn run<A: AsRef<OsStr>>(
    name: &'static str,
    args: &[A],
    input: &'static [u8],
) -> Option<Output> {
    let mut command = Command::new(name);
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped: {name} does not run here: {error}");
            return None;
        }
    };
    let waiting = tokio::task::spawn_blocking(move || {
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input).expect("a reader");
        // Kept open until the server ends the connection: OpenSSL would end it first.
        let output = child.wait_with_output();
        drop(stdin);
        output.expect("an end")
    });
    Some(soon("its end", waiting).await.expect("no panic"))
}

/// The certificate in a file of its own.
struct Trusted(PathBuf);

impl Trusted {
    fn of(rig: &TlsRig, name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lameduck-http-{name}-{}.pem", std::process::id()));
        std::fs::write(&path, &rig.identity.certificate_pem).expect("a file");
        Self(path)
    }

    fn text(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn curl_is_served_over_both_protocols() {
    let rig = TlsRig::start(plan(window(0, 50, 500))).await;
    let trusted = Trusted::of(&rig, "curl");
    let url = format!("https://localhost:{}/", rig.rig.addr.port());
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let resolve = format!("localhost:{}:127.0.0.1", rig.rig.addr.port());
        let cacert = trusted.text();
        let args = [
            "--silent",
            "--show-error",
            "--max-time",
            "15",
            "--noproxy",
            "*",
            "--cacert",
            &cacert,
            "--resolve",
            &resolve,
            flag,
            "--write-out",
            " %{http_version} %{http_code}",
            &url,
        ];
        let Some(output) = run("curl", &args, b"").await else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, format!("ok {version} 200"), "{complained}");
        assert!(output.status.success());
    }
}

#[tokio::test]
async fn tls_3_openssl_sees_close_notify_when_the_service_leaves() {
    for tls in ["-tls1_2", "-tls1_3"] {
        let rig = TlsRig::start(plan(Window::NONE)).await;
        let trusted = Trusted::of(&rig, &format!("openssl{tls}"));
        let (addr, cafile) = (rig.rig.addr.to_string(), trusted.text());
        let args = [
            "s_client",
            "-connect",
            &addr,
            "-servername",
            "localhost",
            "-CAfile",
            &cafile,
            "-verify_return_error",
            "-alpn",
            "http/1.1",
            "-msg",
            tls,
        ];
        let asked = run("openssl", &args, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let leaves = async {
            rig.rig.counted_requests(1).await;
            rig.rig.terminate().await;
        };
        let present = Command::new("openssl").arg("version").output().is_ok();
        if !present {
            assert!(asked.await.is_none());
            return;
        }
        let (output, ()) = tokio::join!(asked, leaves);
        let output = output.expect("it is here");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("HTTP/1.1 200 OK"), "{said}");
        let received = said
            .lines()
            .any(|line| line.starts_with("<<<") && line.contains("close_notify"));
        assert!(received, "{tls}: {said}");
    }
}
