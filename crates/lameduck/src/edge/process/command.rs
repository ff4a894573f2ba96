//! Children that start with a clean mask, by posix_spawn(3).

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};

use crate::sys::{self, Signo, SpawnPlan, Wait};

/// A program to be started with an empty mask of signals, as [`std::process::Command`] would start it otherwise.
///
/// Signals that this process takes with a handler do what they do by default in the child, as ever after execve(2). Those that it
/// *ignores* stay ignored there, except SIGPIPE, which Rust programs ignore from their start; and those that
/// [`reset`](Self::reset) names.
///
/// # Examples
///
/// ```
/// use lameduck::process::{Command, Stdio};
/// use std::io::Read;
///
/// # fn main() -> std::io::Result<()> {
/// let mut child = Command::new("grep")
///     .args(["SigBlk", "/proc/self/status"])
///     .stdout(Stdio::Piped)
///     .spawn()?;
/// let mut said = String::new();
/// child.stdout.take().expect("it is piped").read_to_string(&mut said)?;
/// # if cfg!(target_os = "linux") {
/// assert_eq!(said, "SigBlk:\t0000000000000000\n");
/// assert!(child.wait()?.success());
/// # }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    inherits_environment: bool,
    /// What was set, and (`None`) what was taken away.
    environment: BTreeMap<OsString, Option<OsString>>,
    directory: Option<PathBuf>,
    streams: [Stdio; 3],
    reset: Vec<Signo>,
}

/// What one of a child's standard streams is.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// This process' own.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// A pipe, whose other end is in the [`Child`].
    Piped,
    /// This descriptor.
    Fd(OwnedFd),
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Self::Fd(fd)
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Self::Fd(file.into())
    }
}

impl Command {
    /// This program, without arguments, in this process' environment and directory, with its standard streams.
    ///
    /// A name without a slash is looked up in this process' `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            inherits_environment: true,
            environment: BTreeMap::new(),
            directory: None,
            streams: [Stdio::Inherit, Stdio::Inherit, Stdio::Inherit],
            reset: Vec::new(),
        }
    }

    /// One argument more.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        for argument in arguments {
            self.arg(argument);
        }
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let (key, value) = (key.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.insert(key, Some(value));
        self
    }

    /// Takes a variable out of the child's environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.environment.insert(key.as_ref().to_owned(), None);
        self
    }

    /// The child's environment is what is set from here on.
    pub fn env_clear(&mut self) -> &mut Self {
        self.inherits_environment = false;
        self.environment.clear();
        self
    }

    /// The directory in which the child starts. A program with a relative path is looked for from there.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// The child's standard input.
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.stream(0, stream.into())
    }

    /// The child's standard output.
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.stream(1, stream.into())
    }

    /// The child's standard error.
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.stream(2, stream.into())
    }

    fn stream(&mut self, nth: usize, stream: Stdio) -> &mut Self {
        self.streams[nth] = stream;
        self
    }

    /// Signals that do in the child what they do by default, though this process ignores them (`nohup`, for example).
    pub fn reset(&mut self, signals: impl IntoIterator<Item = impl Into<Signo>>) -> &mut Self {
        self.reset.extend(signals.into_iter().map(Into::into));
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    ///
    /// What posix_spawn(3) reports: `NotFound` for a program or directory that is not there, `PermissionDenied` for one that may
    /// not be run; too many open files; `InvalidInput` for a NUL byte in a word. `Unsupported` for a directory elsewhere than on
    /// Linux.
    pub fn spawn(&mut self) -> io::Result<Child> {
        let program = c_string(self.program.clone())?;
        let words = std::iter::once(&self.program).chain(&self.arguments);
        let arguments = words
            .cloned()
            .map(c_string)
            .collect::<io::Result<Vec<_>>>()?;
        let environment = self.whole_environment()?;
        let directory = self.directory.clone();
        let directory = directory
            .map(|path| c_string(path.into_os_string()))
            .transpose()?;
        let mut theirs = [const { None }; 3];
        let mut ours = [const { None }; 3];
        for (nth, stream) in self.streams.iter().enumerate() {
            (theirs[nth], ours[nth]) = open(stream, nth)?;
        }
        let mut defaults: Vec<i32> = self.reset.iter().map(|signo| signo.number()).collect();
        defaults.push(libc::SIGPIPE);
        let pid = sys::spawn(&SpawnPlan {
            program: &program,
            arguments: &arguments,
            environment: &environment,
            directory: directory.as_deref(),
            streams: theirs.each_ref().map(|one| one.as_ref().map(End::fd)),
            defaults: &defaults,
        })?;
        let [stdin, stdout, stderr] = ours;
        Ok(Child {
            stdin: stdin.map(ChildStdin::from),
            stdout: stdout.map(ChildStdout::from),
            stderr: stderr.map(ChildStderr::from),
            pid,
            ended: None,
        })
    }

    /// Starts the program and waits for its end.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    fn whole_environment(&self) -> io::Result<Vec<CString>> {
        let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
        if self.inherits_environment {
            all.extend(std::env::vars_os());
        }
        for (key, value) in &self.environment {
            match value {
                Some(value) => drop(all.insert(key.clone(), value.clone())),
                None => drop(all.remove(key)),
            }
        }
        let lines = all.into_iter().map(|(mut line, value)| {
            line.push("=");
            line.push(value);
            c_string(line)
        });
        lines.collect()
    }
}

/// The child's end of a stream.
enum End<'a> {
    Opened(OwnedFd),
    Given(BorrowedFd<'a>),
}

impl End<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Opened(fd) => fd.as_fd(),
            Self::Given(fd) => *fd,
        }
    }
}

/// The child's end of a stream, above 2, and ours.
fn open(stream: &Stdio, nth: usize) -> io::Result<(Option<End<'_>>, Option<OwnedFd>)> {
    let opened = |fd: OwnedFd| above_the_standard_ones(fd).map(|fd| Some(End::Opened(fd)));
    Ok(match stream {
        Stdio::Inherit => (None, None),
        Stdio::Null => {
            let null = File::options().read(true).write(true).open("/dev/null")?;
            (opened(null.into())?, None)
        }
        Stdio::Piped => {
            // Of the standard library: both ends block, as programs expect, and are closed on exec.
            let (read, write) = io::pipe()?;
            let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
            let (theirs, ours) = if nth == 0 {
                (read, write)
            } else {
                (write, read)
            };
            (opened(theirs)?, Some(ours))
        }
        Stdio::Fd(fd) if std::os::fd::AsRawFd::as_raw_fd(fd) > 2 => {
            (Some(End::Given(fd.as_fd())), None)
        }
        Stdio::Fd(fd) => (opened(fd.try_clone()?)?, None),
    })
}

/// A descriptor that no other stream's takes the place of. (`try_clone` never gives a number below 3.)
fn above_the_standard_ones(fd: OwnedFd) -> io::Result<OwnedFd> {
    if std::os::fd::AsRawFd::as_raw_fd(&fd) > 2 {
        return Ok(fd);
    }
    fd.try_clone()
}

fn c_string(word: OsString) -> io::Result<CString> {
    CString::new(word.into_vec()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "a NUL byte in a program, an argument, a variable or a path",
        )
    })
}

/// A child that runs, or has ended.
///
/// Dropped, it is neither ended nor waited for: it goes on, and stays a zombie afterwards until this process ends.
pub struct Child {
    /// Writes to its standard input, if it is piped.
    pub stdin: Option<ChildStdin>,
    /// Reads its standard output, if it is piped.
    pub stdout: Option<ChildStdout>,
    /// Reads its standard error, if it is piped.
    pub stderr: Option<ChildStderr>,
    pid: libc::pid_t,
    /// Once it was waited for: the number may be another process' by then.
    ended: Option<ExitStatus>,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("pid", &self.pid)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Child {
    /// Its process id.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits for its end. Its standard input is closed first, so that a child that reads to the end comes to it.
    ///
    /// # Errors
    ///
    /// What waitpid(2) reports: `ECHILD` when somebody else waited for it, or this process ignores SIGCHLD.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        loop {
            if let Some(status) = self.look(Wait::UntilItEnds)? {
                return Ok(status);
            }
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.look(Wait::Not)
    }

    fn look(&mut self, wait: Wait) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = sys::wait_for(self.pid, wait)?.map(ExitStatus::from_raw);
        }
        Ok(self.ended)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// What kill(2) reports; `InvalidInput` once it was waited for: its id may be another process' by then.
    pub fn signal(&self, signal: impl Into<Signo>) -> io::Result<()> {
        self.send(signal.into().number())
    }

    /// Ends it with SIGKILL, which it cannot refuse.
    ///
    /// # Errors
    ///
    /// As [`signal`](Self::signal).
    pub fn kill(&self) -> io::Result<()> {
        self.send(libc::SIGKILL)
    }

    fn send(&self, signo: i32) -> io::Result<()> {
        if self.ended.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the child has ended and was waited for",
            ));
        }
        sys::kill(self.pid, signo)
    }
}
