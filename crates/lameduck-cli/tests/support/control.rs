//! A demo with a control socket, and `lameduck ctl` that asks it: for tests of this package only, which have the command.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this in whole and uses a part"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::service::Service;
use crate::support::{BOUND, until};

/// Tests of other crates share this directory and have no such program.
const LAMEDUCK: &str = match option_env!("CARGO_BIN_EXE_lameduck") {
    Some(path) => path,
    None => "lameduck",
};

/// A directory of this test's own, removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let name = format!("lameduck-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a directory");
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&path, private).expect("our own");
        Self(path)
    }

    pub fn at(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("temporary paths are text").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A demo that runs, and its control socket.
pub struct Controlled {
    pub service: Service,
    pub socket: String,
    pub address: std::net::SocketAddr,
    pub scratch: Scratch,
}

impl Controlled {
    pub fn start(name: &str, more: &[&str]) -> Self {
        let scratch = Scratch::new(name);
        let socket = scratch.at("control.sock");
        let mut arguments = vec!["demo", "--listen", "127.0.0.1:0", "--control", &socket];
        arguments.extend(["--grace", "120s", "--window", "none"]);
        arguments.extend(more);
        let mut service = Service::start(LAMEDUCK, &arguments, &[]);
        let line = service.line("listening on");
        assert!(line.contains("control unix:"), "{line}");
        let address = Service::address(&line, "listening on ");
        Self {
            service,
            socket,
            address,
            scratch,
        }
    }

    /// `lameduck ctl` with these arguments.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        ctl(&[&["--socket", &self.socket], arguments].concat())
    }

    /// How a participant stands; nothing if there is none.
    pub fn participant(&self, name: &str) -> Value {
        let output = self.ctl(&["participants", "--format", "json"]);
        let Ok(all) = serde_json::from_slice::<Value>(&output.stdout) else {
            return Value::Null;
        };
        let all = all["participants"].as_array().cloned().unwrap_or_default();
        let mut all = all.into_iter();
        all.find(|one| one["name"] == name).unwrap_or_default()
    }

    /// Waits until a participant stands like this.
    #[track_caller]
    pub fn until_it(&self, name: &str, is: impl Fn(&Value) -> bool) {
        until(&format!("what is waited for of {name}"), || {
            is(&self.participant(name)).then_some(())
        });
    }
}

/// A participant in this process of the test: the service waits for it until it says that it is done.
pub struct Holding {
    socket: String,
    stream: BufReader<UnixStream>,
    session: String,
    drain: String,
}

impl Holding {
    pub fn join(controlled: &Controlled, name: &str) -> Self {
        Self::join_after(controlled, name, &[])
    }

    /// Which closes before those that it depends on.
    pub fn join_after(controlled: &Controlled, name: &str, after: &[&str]) -> Self {
        let socket = controlled.socket.clone();
        let how = serde_json::json!({ "name": name, "after": after }).to_string();
        let mut holding = Self {
            stream: BufReader::new(post(&socket, "/v1/participants", &how)),
            socket,
            session: String::new(),
            drain: String::new(),
        };
        let hello = holding.told("hello");
        holding.session = hello["session"].as_str().expect("text").to_owned();
        holding.says(r#"{"type": "ready"}"#);
        controlled.until_it(name, |one| one["state"] == "up");
        holding
    }

    /// The next message of this type.
    pub fn told(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).expect("orderly");
            assert!(read > 0, "the stream ended before {kind}");
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            let told: Value = serde_json::from_str(data).expect("JSON");
            if let Some(id) = told["id"].as_str() {
                id.clone_into(&mut self.drain);
            }
            if told["type"] == kind {
                return told;
            }
        }
    }

    pub fn done(self) {
        let done = format!(r#"{{"type": "done", "id": "{}"}}"#, self.drain);
        self.says(&done);
    }

    fn says(&self, message: &str) {
        let path = format!("/v1/sessions/{}", self.session);
        let mut answer = String::new();
        let mut stream = post(&self.socket, &path, message);
        stream.read_to_string(&mut answer).expect("orderly");
        assert!(answer.contains(r#""taken":true"#), "{answer}");
    }
}

fn post(socket: &str, path: &str, body: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(BOUND)).expect("a bound");
    let length = body.len();
    let request = format!("POST {path} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).expect("written");
    stream
}

pub fn ctl(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command runs")
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(LAMEDUCK);
    command
        .arg("ctl")
        .args(arguments)
        .env_remove("LAMEDUCK_CONTROL")
        .stdin(Stdio::null());
    command
}

/// Standard output, standard error, exit code.
pub fn told(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code(),
    )
}
