//! Running `lameduck verify` on one server: the command, the application behind proxies, and the report.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::recipe::Recipe;
use super::record::{Record, Run};
use super::{Arguments, ROUNDS, clock};

/// Where the application behind proxies listens, and what it is.
const SOCKET: &str = "matrix/.env/backend.sock";
const APPLICATION: &str = "matrix/.env/bin/app";
/// It is there by then, or something is wrong.
const APPLICATION_BOUND: Duration = Duration::from_secs(5);

/// What all runs share.
#[derive(Debug)]
pub(super) struct Bench {
    root: PathBuf,
    lameduck: PathBuf,
    rounds: u32,
    seed: Option<String>,
    machine: String,
    commit: String,
    application: Option<Application>,
}

impl Bench {
    pub(super) fn new(root: &Path, arguments: &Arguments) -> Result<Self, String> {
        let lameduck = match &arguments.lameduck {
            Some(path) => std::path::absolute(path).map_err(|error| error.to_string())?,
            None => build(root)?,
        };
        let installed = root.join(APPLICATION).exists();
        Ok(Self {
            lameduck,
            rounds: arguments.rounds.unwrap_or(ROUNDS),
            seed: arguments.seed.clone(),
            machine: machine(),
            commit: said("git", &["rev-parse", "--short", "HEAD"], root),
            application: installed.then(|| Application::start(root)).transpose()?,
            root: root.to_owned(),
        })
    }

    /// Judges the server of `recipe`.
    pub(super) fn judge(&self, recipe: &Recipe) -> Result<Record, String> {
        if recipe.backend && self.application.is_none() {
            return Err(format!(
                "{APPLICATION} is not there; matrix/install builds it"
            ));
        }
        let date = clock::now();
        let begun = Instant::now();
        let text = self.ask(recipe.profile.as_deref())?;
        let secure = recipe
            .secure
            .as_deref()
            .map(|profile| self.ask(Some(profile)));
        let run = Run {
            date,
            took_s: begun.elapsed().as_secs(),
            rounds: self.rounds,
            machine: self.machine.clone(),
            commit: self.commit.clone(),
            server_version: recipe.ask_version(&self.root, &self.lameduck),
        };
        let mut record = Record::of(recipe, run, &text)?;
        if let Some(secure) = secure.transpose()? {
            record.take_secure(&secure)?;
        }
        Ok(record)
    }

    /// The report of `lameduck verify` on what `profile` starts, or on its own demo.
    fn ask(&self, profile: Option<&Path>) -> Result<String, String> {
        let report = self.root.join("matrix/.env/report.json");
        let mut command = Command::new(&self.lameduck);
        command
            .current_dir(&self.root)
            .args(["verify", "--format", "json", "--output"])
            .arg(&report);
        command.args(["--rounds", &self.rounds.to_string()]);
        if let Some(seed) = &self.seed {
            command.args(["--seed", seed]);
        }
        if let Some(profile) = profile {
            command
                .arg("--profile")
                .arg(profile.strip_prefix(&self.root).unwrap_or(profile));
        }
        let _ = std::fs::remove_file(&report);
        let output = command
            .output()
            .map_err(|error| format!("{}: {error}", self.lameduck.display()))?;
        if !matches!(output.status.code(), Some(0 | 1 | 3)) {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let error = text.find("error:").map_or(text.as_str(), |at| &text[at..]);
            return Err(error.trim().replace('\n', "\n    "));
        }
        std::fs::read_to_string(&report).map_err(|error| format!("{}: {error}", report.display()))
    }
}

/// Builds the tester and says where it is.
fn build(root: &Path) -> Result<PathBuf, String> {
    let built = Command::new("cargo")
        .current_dir(root)
        .args(["build", "--release", "--package", "lameduck-cli"])
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !built.success() {
        return Err("lameduck could not be built".to_owned());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |path| root.join(path));
    Ok(target.join("release/lameduck"))
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{cores} cores, {}, loopback",
        said("uname", &["-srm"], Path::new("."))
    )
}

fn said(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The application behind proxies, which stays up; dropping it ends it, unless somebody else had started it.
#[derive(Debug)]
struct Application(Option<Child>);

impl Application {
    fn start(root: &Path) -> Result<Self, String> {
        let socket = root.join(SOCKET);
        if UnixStream::connect(&socket).is_ok() {
            return Ok(Self(None));
        }
        let child = Command::new(root.join(APPLICATION))
            .arg("--listen")
            .arg(format!("unix:{}", socket.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{APPLICATION}: {error}"))?;
        let application = Self(Some(child));
        let begun = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            if begun.elapsed() > APPLICATION_BOUND {
                return Err(format!("{APPLICATION} does not listen at {SOCKET}"));
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(application)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // Best effort: it is gone, or about to be.
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
