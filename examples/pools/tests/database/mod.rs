//! A PostgreSQL of a test's own: made in a directory of its own, reached by a Unix socket in it, gone with it.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

use super::support::service::{Ended, Service};

/// Where Debian's packages have the programs of a server, one directory for each version.
const INSTALLED: &str = "/usr/lib/postgresql";

/// The user `nobody`, and its group: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

pub(crate) struct Database {
    server: Option<Service>,
    directory: PathBuf,
}

/// A connection of the test.
pub(crate) struct Watch {
    client: Client,
    runtime: Runtime,
}

impl Database {
    /// Makes one and starts it; says so where that cannot be had.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped: postgresql does not run here");
            return None;
        };
        let directory = directory();
        let made = as_nobody(&programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "-D"])
            .arg(directory.join("data"))
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut server = as_nobody(&programs.join("postgres"));
        server.arg("-D").arg(directory.join("data"));
        server.arg("-k").arg(&directory);
        // At this level it says of a client whether it said goodbye.
        for setting in [
            "listen_addresses=",
            "fsync=off",
            "log_min_messages=debug1",
            "log_line_prefix=%a ",
        ] {
            server.args(["-c", setting]);
        }
        server.stdout(Stdio::piped());
        let mut server = Service::launch(&mut server);
        server.complaint("ready to accept connections");
        Some(Self {
            server: Some(server),
            directory,
        })
    }

    /// Its address, for an application of this name.
    pub(crate) fn address(&self, application: &str) -> String {
        let directory = self.directory.display();
        format!(
            "postgres:///postgres?host={directory}&user=postgres&application_name={application}"
        )
    }

    /// Connects.
    pub(crate) fn watch(&self) -> Watch {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let address = self.address("watch");
        let connecting = tokio_postgres::connect(&address, NoTls);
        let (client, connection) =
            runtime.block_on(async { connecting.await.expect("the database takes connections") });
        runtime.spawn(connection);
        Watch { client, runtime }
    }

    /// Ends it, and hands over what it logged.
    pub(crate) fn end(mut self) -> Ended {
        self.stop().expect("it runs")
    }

    fn stop(&mut self) -> Option<Ended> {
        let server = self.server.take()?;
        // A fast shutdown: sessions are ended, and children waited for.
        server.signal(libc::SIGINT);
        Some(server.end())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Watch {
    pub(crate) fn execute(&self, statements: &str) {
        let executed = self.runtime.block_on(self.client.batch_execute(statements));
        executed.expect(statements);
    }

    /// The one number that a query answers.
    pub(crate) fn number(&self, query: &str) -> i64 {
        let row = self.runtime.block_on(self.client.query_one(query, &[]));
        row.expect(query).get(0)
    }
}

/// The newest server's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(INSTALLED).ok()?;
    let programs = versions
        .map_while(Result::ok)
        .map(|version| version.path().join("bin"));
    programs.filter(|bin| bin.join("initdb").exists()).max()
}

/// A directory that `nobody` may write in, with a name short enough for a socket's (108 bytes, unix(7)).
fn directory() -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let (pid, number) = (std::process::id(), MADE.fetch_add(1, Relaxed));
    let directory = std::env::temp_dir().join(format!("lameduck-pg-{pid}-{number}"));
    fs::create_dir(&directory).expect("a directory of our own");
    if is_root() {
        std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    directory
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir("/")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root() -> bool {
    // SAFETY: takes no pointer and cannot fail (geteuid(2)).
    unsafe { libc::geteuid() == 0 }
}
