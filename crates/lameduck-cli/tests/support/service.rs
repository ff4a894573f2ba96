//! A child process: what it says, what it is told by signals, how it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;

use serde_json::Value;

use super::BOUND;

/// The most that is read of each of its outputs.
const MOST_BYTES: u64 = 4 << 20;

/// How many lines may wait for the test; a reader that is not read holds the child's output back, as a pipe does.
const LINES: usize = 4_096;

pub struct Service {
    process: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// The lines of its standard output that were looked at.
    pub said: Vec<String>,
}

/// How it ended, and all that it said.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Service {
    /// Starts it with an environment in which nothing but its own variables sets a plan.
    pub fn start(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::launch(&mut command(program, arguments, variables))
    }

    /// Starts a command.
    pub fn launch(command: &mut Command) -> Self {
        Self::spawn(command.stderr(Stdio::piped()))
    }

    /// Starts a command whose standard error goes elsewhere.
    pub fn launch_unheard(command: &mut Command, stderr: Stdio) -> Self {
        Self::spawn(command.stderr(stderr))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut process = command.spawn().expect("the program starts");
        let stdout = lines(process.stdout.take().expect("it is piped"));
        let stderr = match process.stderr.take() {
            Some(stderr) => lines(stderr),
            None => lines(std::io::empty()),
        };
        Self {
            process,
            stdout,
            stderr,
            said: Vec::new(),
        }
    }

    /// The first line of its standard output, from here on, that has `part` in it.
    #[track_caller]
    pub fn line(&mut self, part: &str) -> String {
        loop {
            match self.stdout.recv_timeout(BOUND) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(error) => {
                    let complaint: Vec<_> = self.stderr.try_iter().collect();
                    panic!(
                        "no line with {part:?} ({error}); it said {:?} and complained {complaint:?}",
                        self.said
                    )
                }
            }
        }
    }

    /// The address after `word` in a line.
    #[track_caller]
    pub fn address(line: &str, word: &str) -> SocketAddr {
        let (_, after) = line.split_once(word).expect(word);
        let text = after.split_whitespace().next().expect("an address");
        text.trim_start_matches("http://").parse().expect(text)
    }

    /// The first line of its standard error, from here on, that has `part` in it.
    #[track_caller]
    pub fn complaint(&mut self, part: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(BOUND);
            let line = line.unwrap_or_else(|error| panic!("no complaint with {part:?}: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The lines of its standard error, from here on, up to the first that has `part` in it.
    #[track_caller]
    pub fn complaints_until(&mut self, part: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.complaint("");
            let found = line.contains(part);
            lines.push(line);
            if found {
                return lines;
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn signal(&self, signo: i32) {
        let pid = i32::try_from(self.pid()).expect("a pid");
        // SAFETY: takes no pointer. The child has not been waited for, so that the pid is still its own.
        assert_eq!(unsafe { libc::kill(pid, signo) }, 0, "kill {pid}");
    }

    /// Whether it has ended.
    pub fn is_gone(&mut self) -> bool {
        self.process.try_wait().expect("it is our child").is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let mut stdout = std::mem::take(&mut self.said);
        stdout.extend(rest(&self.stdout));
        let stderr = rest(&self.stderr);
        Ended {
            status: self.process.wait().expect("it is our child"),
            stdout: stdout.join("\n"),
            stderr: stderr.join("\n"),
        }
    }
}

/// A command with an environment in which nothing but its own variables sets a plan.
pub fn command(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| name == "PATH"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already ended, in most tests.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Ended {
    /// "exit 0", "signal 15".
    pub fn how(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "neither".to_owned(),
        }
    }

    /// The one line of its report.
    #[track_caller]
    pub fn report_line(&self) -> &str {
        let schema = r#""schema":"lameduck.shutdown/1""#;
        let lines: Vec<_> = self
            .stderr
            .lines()
            .filter(|line| line.contains(schema))
            .collect();
        assert_eq!(lines.len(), 1, "one report, in:\n{}", self.stderr);
        lines[0]
    }

    /// Its report.
    #[track_caller]
    pub fn report(&self) -> Value {
        serde_json::from_str(self.report_line()).expect("the report is JSON")
    }

    /// Asserts that it drained: exit code and report say so, and nothing was still in flight.
    #[track_caller]
    pub fn assert_drained(&self) -> Value {
        assert_eq!(self.how(), "exit 0", "{}", self.stderr);
        let report = self.report();
        assert_eq!(report["outcome"], "drained", "{report:#}");
        assert_eq!(report["exit"]["code"], 0, "{report:#}");
        assert_eq!(report["stragglers"], serde_json::json!([]), "{report:#}");
        report
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (into, lines): (SyncSender<String>, _) = sync_channel(LINES);
    thread::spawn(move || {
        for line in BufReader::new(from.take(MOST_BYTES))
            .lines()
            .map_while(Result::ok)
        {
            if into.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// All lines up to the end, which comes when the process is gone.
#[track_caller]
fn rest(lines: &Receiver<String>) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(BOUND) {
            Ok(line) => all.push(line),
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => {
                panic!("did not end in {BOUND:?}; said so far: {all:#?}")
            }
        }
    }
}
