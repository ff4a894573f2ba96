//! A child process that does one thing at a time, as it is told over its standard input.
//!
//! Every order is answered by one line, so that nothing here sleeps in the hope that something has happened. The
//! child is this test's own binary; it ends when its standard input does, so it never outlives the test.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Set in a child; its value does not matter.
pub const MARK: &str = "LAMEDUCK_TEST_SIGNALS_CHILD";

/// How long an answer or an end is waited for. Never reached on a machine that works at all.
const BOUND: Duration = Duration::from_secs(60);

pub struct Child {
    process: std::process::Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Child {
    /// A child started directly by this process.
    pub fn start() -> Self {
        Self::launch(&mut Command::new(binary()))
    }

    /// A child that this command runs: a shell, nohup, unshare. The binary's path is its last argument.
    pub fn start_by(program: &str, arguments: &[&str]) -> Self {
        Self::launch(Command::new(program).args(arguments).arg(binary()))
    }

    /// A child with a command of which something has been set already.
    pub fn launch(command: &mut Command) -> Self {
        let mut process = command
            .env(MARK, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let (lines, answers) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let orders = process.stdin.take();
        Self {
            process,
            orders,
            answers,
        }
    }

    /// Gives an order and waits for its answer.
    #[track_caller]
    pub fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        let answer = self.answers.recv_timeout(BOUND);
        answer.unwrap_or_else(|why| {
            let ended = self.process.try_wait();
            panic!("no answer to {order:?}: {why}, the child {ended:?}")
        })
    }

    /// Gives orders that all answer "ok".
    #[track_caller]
    pub fn run(&mut self, orders: &[&str]) {
        for order in orders {
            assert_eq!(self.ask(order), "ok", "{order}");
        }
    }

    /// Gives an order that has no answer, because the child dies of it.
    pub fn tell(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("not ended yet");
        writeln!(orders, "{order}").expect("the child reads");
    }

    /// The process id of what was started: the child, or the command that runs it.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to what was started.
    pub fn signal(&self, signo: i32) {
        kill(self.pid(), signo);
    }

    /// Waits for the end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        // The answers end when the last holder of the child's standard output has.
        match self.answers.recv_timeout(BOUND) {
            Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => panic!("did not end"),
            Ok(line) => panic!("said {line:?} instead of ending"),
        }
        self.process.wait().expect("it was not waited for before")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Already ended, in most tests.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How a process ended, in a word.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "neither".to_owned(),
    }
}

/// Sends a signal to a process that this test started.
pub fn kill(pid: u32, signo: i32) {
    let pid = i32::try_from(pid).expect("a pid");
    assert!(pid > 1, "only what was started here");
    // SAFETY: takes no pointer.
    assert_eq!(unsafe { libc::kill(pid, signo) }, 0, "kill {pid}");
}

fn binary() -> std::path::PathBuf {
    std::env::current_exe().expect("the test has a path")
}
