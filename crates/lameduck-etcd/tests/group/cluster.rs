//! A cluster of etcd on loopback, or in a network of its own; killed and removed at its end.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions};

use crate::network::{Home, Networks};
use crate::suite::BOUND;

pub(crate) struct Cluster {
    nodes: Vec<Node>,
    directory: PathBuf,
    home: Option<Home>,
}

struct Node {
    process: Option<Child>,
    endpoint: String,
    /// As etcd numbers it.
    id: u64,
}

/// Whether etcd is here; said if not.
fn is_installed() -> bool {
    let found = ["etcd", "etcdctl"].iter().all(|program| {
        let asked = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // etcdctl wants `version`.
        asked.is_ok()
    });
    if !found {
        eprintln!("skipped: etcd does not run here");
    }
    found
}

impl Cluster {
    pub(crate) async fn start(size: usize) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        Some(Self::launched(size, None, "127.0.0.1").await)
    }

    /// In the network at home.
    pub(crate) async fn start_in(networks: &Networks, size: usize) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        Some(Self::launched(size, Some(networks.home()), networks.address()).await)
    }

    async fn launched(size: usize, home: Option<Home>, address: &str) -> Self {
        // Ports are free when they are looked for; somebody may have taken one before etcd does.
        for _ in 0..5 {
            let mut cluster = Self::launch(size, home.clone(), address);
            if cluster.is_up().await {
                return cluster;
            }
        }
        panic!("etcd did not start");
    }

    fn launch(size: usize, home: Option<Home>, address: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("lameduck-etcd-{}-{nth}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let ports = free_ports(size * 2);
        let peer = |n: usize| format!("http://{address}:{}", ports[size + n]);
        let peers: Vec<String> = (0..size).map(|n| format!("n{n}={}", peer(n))).collect();
        let nodes = (0..size).map(|n| {
            let (endpoint, peer) = (format!("http://{address}:{}", ports[n]), peer(n));
            let mut command = match &home {
                Some(home) => home.command("etcd"),
                None => Command::new("etcd"),
            };
            let log = File::create(directory.join(format!("n{n}.log"))).expect("a log");
            command
                .args(["--name", &format!("n{n}"), "--data-dir"])
                .arg(directory.join(format!("n{n}")));
            command.args([
                "--listen-client-urls",
                &endpoint,
                "--advertise-client-urls",
                &endpoint,
            ]);
            command.args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ]);
            command.args([
                "--initial-cluster",
                &peers.join(","),
                "--initial-cluster-state",
                "new",
            ]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log);
            let process = Some(command.spawn().expect("etcd starts"));
            Node {
                process,
                endpoint,
                id: 0,
            }
        });
        Self {
            nodes: nodes.collect(),
            directory,
            home,
        }
    }

    /// Waits until every node knows a leader; `false` if one has ended.
    async fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + BOUND * 2;
        for n in 0..self.nodes.len() {
            loop {
                let ended = self.nodes[n]
                    .process
                    .as_mut()
                    .is_some_and(|child| child.try_wait().ok().flatten().is_some());
                if ended || Instant::now() > deadline {
                    return false;
                }
                if let Some((id, leader)) = self.status(n).await
                    && leader != 0
                {
                    self.nodes[n].id = id;
                    break;
                }
                // Between two looks; what is waited for is the leader.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        true
    }

    /// What a node is called, and whom it takes for the leader.
    async fn status(&self, node: usize) -> Option<(u64, u64)> {
        let endpoint = self.nodes[node].endpoint.clone();
        let status = async move {
            let options = ConnectOptions::new().with_timeout(Duration::from_secs(1));
            let mut client = Client::connect([endpoint], Some(options)).await.ok()?;
            let asked = tokio::time::timeout(Duration::from_secs(1), client.status()).await;
            let status = asked.ok()?.ok()?;
            Some((status.header()?.member_id(), status.leader()))
        };
        match &self.home {
            Some(home) => home.run(status).await,
            None => status.await,
        }
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| node.endpoint.clone())
            .collect()
    }

    pub(crate) const fn home(&self) -> Option<&Home> {
        self.home.as_ref()
    }

    /// The node that leads.
    pub(crate) async fn leader(&self) -> usize {
        for (n, node) in self.nodes.iter().enumerate() {
            if node.process.is_some()
                && let Some((_, leader)) = self.status(n).await
                && let Some(found) = self.nodes.iter().position(|node| node.id == leader)
            {
                return found;
            }
        }
        panic!("no node knows a leader");
    }

    /// Lets another node lead.
    pub(crate) async fn move_leader(&self) {
        let leader = self.leader().await;
        let next = &self.nodes[(leader + 1) % self.nodes.len()];
        let moved = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args([
                "--endpoints",
                &self.nodes[leader].endpoint,
                "move-leader",
                &format!("{:x}", next.id),
            ])
            .output()
            .expect("etcdctl runs");
        assert!(
            moved.status.success(),
            "{}",
            String::from_utf8_lossy(&moved.stderr)
        );
    }

    /// Sends a signal to a node, if it runs.
    #[allow(dead_code, reason = "who stops nodes is in benches")]
    pub(crate) fn signal(&self, node: usize, signal: libc::c_int) {
        if let Some(process) = &self.nodes[node].process {
            // SAFETY: kill takes no pointers; the process is our own child and has not been reaped.
            unsafe { libc::kill(process.id().cast_signed(), signal) };
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, node: usize) {
        let mut process = self.nodes[node].process.take().expect("it runs");
        process.kill().expect("it is ours");
        process.wait().expect("it is ours");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self
            .nodes
            .iter_mut()
            .filter_map(|node| node.process.as_mut())
        {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            for n in 0..self.nodes.len() {
                let log = std::fs::read_to_string(self.directory.join(format!("n{n}.log")))
                    .unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!(
                    "n{n}: {}",
                    lines[lines.len().saturating_sub(5)..].join("\n    ")
                );
            }
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Ports that nobody has now; all are held until all are found.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
        .collect();
    held.iter()
        .map(|listener| listener.local_addr().expect("it is bound").port())
        .collect()
}
