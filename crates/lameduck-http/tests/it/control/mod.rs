//! The control socket: who may ask, what a deed says and leaves behind, and participants that are other processes.

mod deeds;
mod participants;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lameduck::Outcome;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use crate::support::{Rig, soon};

/// A directory of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lameduck-control-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a directory");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, open).expect("our own");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running service with a control socket.
struct Controlled {
    rig: Rig,
    path: PathBuf,
    _scratch: Scratch,
}

impl Controlled {
    async fn start(name: &str, plan: lameduck::Plan) -> Self {
        let rig = Rig::start(plan).await;
        let scratch = Scratch::new(name);
        let path = scratch.socket();
        lameduck_http::control(&rig.life, &path)
            .await
            .expect("a control socket");
        Self {
            rig,
            path,
            _scratch: scratch,
        }
    }

    /// Asks, and reads the answer to its end.
    async fn ask(&self, line: &str, body: &str) -> (u16, String) {
        ask(&self.path, line, body).await
    }

    async fn json(&self, line: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.ask(line, body).await;
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// How a participant stands in the status.
    async fn participant(&self, name: &str) -> Value {
        let (_, all) = self.json("GET /participants", "").await;
        let all = all["participants"].as_array().expect("a list").clone();
        let found = all.into_iter().find(|one| one["name"] == name);
        found.unwrap_or_default()
    }

    async fn until_it(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) {
        soon(what, async {
            while !is(&self.participant(name).await) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Tells it to leave, and waits for the end.
async fn end(rig: &Rig) -> Outcome {
    rig.terminate().await;
    rig.outcome().await
}

async fn ask(path: &Path, line: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(path).await.expect("connect");
    let head = head(line, body);
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer))
        .await
        .expect("orderly");
    let status = answer[9..12].parse().expect("a status");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    (status, body.to_owned())
}

fn head(line: &str, body: &str) -> String {
    let length = body.len();
    format!("{line} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// A participant that is somewhere else: its stream, and its session.
struct Sidecar {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    session: String,
    drain: String,
}

impl Sidecar {
    async fn join(controlled: &Controlled, how: &str) -> Self {
        Self::join_with(controlled, how, "").await
    }

    /// With more behind the request.
    async fn join_with(controlled: &Controlled, how: &str, behind: &str) -> Self {
        let mut stream = UnixStream::connect(&controlled.path)
            .await
            .expect("connect");
        let head = head("POST /v1/participants", how) + behind;
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut sidecar = Self {
            path: controlled.path.clone(),
            stream: BufReader::new(stream),
            session: String::new(),
            drain: String::new(),
        };
        let hello = sidecar.told("hello").await;
        assert_eq!(hello["v"], 1);
        assert_eq!(hello["drain_id"], Value::Null, "nothing is drained");
        sidecar.session = hello["session"].as_str().expect("text").to_owned();
        sidecar
    }

    /// The next message, which is of this type.
    async fn told(&mut self, kind: &str) -> Value {
        let told = soon(kind, self.next()).await.expect("not over");
        assert_eq!(told["type"], kind, "{told}");
        told
    }

    /// The next message; none at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                let told: Value = serde_json::from_str(data).expect("JSON");
                if let Some(id) = told["id"].as_str() {
                    id.clone_into(&mut self.drain);
                }
                return Some(told);
            }
        }
    }

    /// Says something; what came of it.
    async fn says(&self, message: &str) -> (u16, Value) {
        let message = message.replace("DRAIN", &self.drain);
        let line = format!("POST /v1/sessions/{}", self.session);
        let (status, body) = ask(&self.path, &line, &message).await;
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    async fn says_taken(&self, message: &str) {
        let (status, answer) = self.says(message).await;
        assert_eq!((status, &answer["taken"]), (200, &true.into()), "{answer}");
    }
}
