//! A PostgreSQL of a test's own: made in a directory of its own, reached by a Unix socket in it, gone with it.

use std::fs;
use std::io::ErrorKind::AlreadyExists;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

use super::support::service::{Ended, Service};

/// Where Debian's packages have the programs of a server, one directory for each version.
const INSTALLED: &str = "/usr/lib/postgresql";

/// The most of a socket's path (`sun_path` of unix(7) has 108 bytes and ends with a zero), and the name that PostgreSQL gives it.
const MOST_PATH: usize = 107;
const SOCKET: &str = ".s.PGSQL.5432";

/// A fast shutdown: sessions are ended, and children waited for.
const SHUTDOWN: i32 = libc::SIGINT;

/// How long a server may take to end.
const END: Duration = Duration::from_secs(20);

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
            println!("skipped: postgresql is not installed");
            return None;
        };
        let Some(directory) = directory() else {
            println!("skipped: there is no directory for a socket of postgresql");
            return None;
        };
        // Whatever fails from here on, the directory goes.
        let mut database = Self {
            server: None,
            directory,
        };
        database.make(&programs.join("initdb"));
        database.launch(&programs.join("postgres"));
        Some(database)
    }

    fn make(&self, initdb: &Path) {
        let made = as_nobody(initdb)
            .args(["--no-sync", "--auth=trust", "--username=postgres", "-D"])
            .arg(self.directory.join("data"))
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    fn launch(&mut self, postgres: &Path) {
        let mut server = as_nobody(postgres);
        server.arg("-D").arg(self.directory.join("data"));
        server.arg("-k").arg(&self.directory);
        server.args(["-p", "5432"]);
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
        ends_with_us(&mut server);
        let server = self.server.insert(Service::launch(&mut server));
        server.complaint("ready to accept connections");
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
        let server = self.server.take().expect("it runs");
        server.signal(SHUTDOWN);
        server.end()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // One that is killed leaves its shared memory behind: that is for one that does not end.
            server.signal(SHUTDOWN);
            let end = Instant::now() + END;
            while !server.is_gone() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
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
    let versions = fs::read_dir(INSTALLED).ok()?.map_while(Result::ok);
    let versions = versions.filter_map(|entry| {
        let version = numbers(entry.file_name().to_str()?)?;
        let programs = entry.path().join("bin");
        programs
            .join("initdb")
            .exists()
            .then_some((version, programs))
    });
    Some(versions.max()?.1)
}

/// "9.6" as numbers, which 17 is above.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// A directory that `nobody` may write in, with a name short enough for a socket's.
fn directory() -> Option<PathBuf> {
    let places = [std::env::temp_dir(), PathBuf::from("/tmp")];
    let place = places.into_iter().find(|place| is_usable(place))?;
    let pid = std::process::id();
    for number in 0..1_000 {
        let directory = place.join(name(pid, number));
        match fs::create_dir(&directory) {
            Ok(()) if is_root() => {
                let given = std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY));
                given.expect("root may");
                return Some(directory);
            }
            Ok(()) => return Some(directory),
            // Of this process's other tests, or left by one that had its id before.
            Err(error) if error.kind() == AlreadyExists => {}
            Err(error) => panic!("{}: {error}", directory.display()),
        }
    }
    panic!("too many directories are left in {}", place.display());
}

fn name(pid: u32, number: u32) -> String {
    format!("lameduck-pg-{pid}-{number}")
}

/// Whether a socket's path fits in there, and the user that the server runs as can come there.
fn is_usable(place: &Path) -> bool {
    let longest = place.join(name(u32::MAX, 999)).join(SOCKET);
    let may_come = |above: &Path| {
        let metadata = fs::metadata(above);
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    };
    longest.as_os_str().len() <= MOST_PATH && (!is_root() || place.ancestors().all(may_come))
}

/// With nothing of our environment: its variables (`PGPORT`, `PGDATA`) are heard before some of the arguments.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir("/")
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// It is told to shut down when this test's thread is gone, also by a kill of the process.
fn ends_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: prctl(2) is a system call that allocates nothing and takes no lock, so that it may stand between fork and exec; it takes no
    // pointer here. It comes after the change of user, which would undo it.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, SHUTDOWN);
            Ok(())
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

fn is_root() -> bool {
    // SAFETY: takes no pointer and cannot fail (geteuid(2)).
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn versions_are_compared_as_numbers() {
    let mut versions = ["9.6", "17", "10", "9.10"].map(|version| (numbers(version), version));
    versions.sort();
    assert_eq!(
        versions.map(|(_, version)| version),
        ["9.6", "9.10", "10", "17"]
    );
    assert_eq!(numbers("common"), None);
}
