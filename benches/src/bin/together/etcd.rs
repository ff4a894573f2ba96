//! Three nodes of etcd lend the slots: one is killed for good, leaders and others get no processor for a while. At the end their history is read.

use std::ffi::OsString;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::audit::audit;
use crate::cluster::Cluster;
use crate::{Failure, Lender};

const NODES: usize = 3;

pub(crate) struct Etcd {
    runtime: Runtime,
    cluster: Cluster,
    slots: u64,
    group: String,
    kills: usize,
    stops: usize,
}

impl Etcd {
    pub(crate) fn start(slots: u64) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let cluster = runtime.block_on(Cluster::start(NODES));
        Ok(Self {
            cluster: cluster.ok_or("etcd and etcdctl have to be on PATH")?,
            runtime,
            slots,
            group: String::new(),
            kills: 0,
            stops: 0,
        })
    }
}

impl Lender for Etcd {
    fn begin(&mut self, round: u64, _directory: &Path) -> Result<(), Failure> {
        self.group = format!("r{round}");
        Ok(())
    }

    fn arguments(&self) -> Vec<OsString> {
        vec![
            "--etcd".into(),
            self.cluster.endpoints().join(",").into(),
            "--group".into(),
            self.group.clone().into(),
            "--rules".into(),
            self.slots.to_string().into(),
        ]
    }

    /// The first time the leader is killed, for good: two nodes are enough. Then the leader gets no processor, and with it there are not enough.
    fn kill(&mut self, long: Duration) -> Result<(), Failure> {
        self.kills += 1;
        let leader = self.runtime.block_on(self.cluster.leader());
        if self.kills == 1 {
            self.cluster.kill(leader);
        } else {
            self.cluster.signal(leader, libc::SIGSTOP);
            thread::sleep(long);
            self.cluster.signal(leader, libc::SIGCONT);
        }
        Ok(())
    }

    fn stop(&mut self, long: Duration) {
        self.stops += 1;
        let node = self.stops % NODES;
        self.cluster.signal(node, libc::SIGSTOP);
        thread::sleep(long);
        self.cluster.signal(node, libc::SIGCONT);
    }

    fn history(&mut self) -> String {
        let history = self.runtime.block_on(audit(&self.cluster));
        format!(
            ", {} slots lent in {} revisions of etcd and none oversold",
            history.lent, history.revision
        )
    }
}
