//! Owns what `/proc` says about a process: its signals, threads, sockets and children. Bounded reads; nothing on
//! systems without it.
//! Not: what it means for a verdict.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Processes, descriptors and threads looked at, at most.
const MAX_ENTRIES: usize = 65_536;

/// The process ignores `signal`; `None` where nobody says.
pub(crate) fn ignores(pid: u32, signal: i32) -> Option<bool> {
    is_in_mask(pid, "SigIgn:", signal)
}

/// The process has a handler for `signal`; `None` where nobody says.
pub(crate) fn catches(pid: u32, signal: i32) -> Option<bool> {
    is_in_mask(pid, "SigCgt:", signal)
}

fn is_in_mask(pid: u32, mask: &str, signal: i32) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix(mask))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> (signal - 1) & 1 == 1)
}

fn numbers(path: &str) -> BTreeSet<u32> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .take(MAX_ENTRIES)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The threads of a process.
pub(crate) fn threads(pid: u32) -> BTreeSet<u32> {
    numbers(&format!("/proc/{pid}/task"))
}

/// A process that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    parent: u32,
    /// When it began, in ticks since boot: tells it from another one with the same id.
    began: u64,
    name: String,
}

impl Process {
    /// What runs, zombies left out.
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may contain anything, also parentheses.
        let (head, rest) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let lives = !matches!(*fields.first()?, "Z" | "X");
        lives.then_some(())?;
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            began: fields.get(19)?.parse().ok()?,
            name,
        })
    }

    pub(crate) fn in_words(&self) -> String {
        format!("{} (pid {})", self.name, self.pid)
    }

    /// Ends it, if it is still the same one.
    pub(crate) fn kill(&self) {
        if Self::read(self.pid).as_ref() == Some(self)
            && let Ok(pid) = libc::pid_t::try_from(self.pid)
        {
            // SAFETY: takes numbers only.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

/// All that lives below `parent`, itself left out.
pub(crate) fn descendants(parent: u32) -> Vec<Process> {
    let all: Vec<Process> = numbers("/proc")
        .into_iter()
        .filter_map(Process::read)
        .collect();
    let mut family = vec![parent];
    let mut found: Vec<Process> = Vec::new();
    while let Some(parent) = family.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            if !found.contains(process) {
                family.push(process.pid);
                found.push(process.clone());
            }
        }
    }
    found
}

/// The sockets that `pids` have open, by inode.
fn sockets(pids: &[u32]) -> BTreeSet<u64> {
    let mut inodes = BTreeSet::new();
    for pid in pids {
        let entries = fs::read_dir(format!("/proc/{pid}/fd"));
        for entry in entries.into_iter().flatten().flatten().take(MAX_ENTRIES) {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|target| {
                target
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse::<u64>()
                    .ok()
            });
            inodes.extend(inode);
        }
    }
    inodes
}

/// The sockets that listen on `port`, by inode: proc_net(5), of the network that we are in.
fn listeners(port: u16) -> BTreeSet<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let rows = tables.iter().flatten().flat_map(|table| table.lines());
    rows.take(MAX_ENTRIES)
        .filter_map(|row| {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let (_, local) = fields.get(1)?.rsplit_once(':')?;
            // 0A: it listens.
            let is_meant = *fields.get(3)? == "0A" && u16::from_str_radix(local, 16).ok()? == port;
            is_meant.then(|| fields.get(9)?.parse().ok()).flatten()
        })
        .collect()
}

/// Somebody listens on `port`, and it is none of `pids`.
pub(crate) fn is_anothers(port: u16, pids: &[u32]) -> bool {
    let listening = listeners(port);
    !listening.is_empty() && listening.is_disjoint(&sockets(pids))
}

/// The paths of the Unix sockets that `pids` listen on.
pub(crate) fn socket_paths(pids: &[u32]) -> BTreeSet<PathBuf> {
    let inodes = sockets(pids);
    // Num RefCount Protocol Flags Type St Inode Path; abstract names begin with @.
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    table
        .lines()
        .skip(1)
        .take(MAX_ENTRIES)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(6);
            let inode = fields.next()?.parse().ok()?;
            let path = fields.next().filter(|path| path.starts_with('/'))?;
            inodes.contains(&inode).then(|| PathBuf::from(path))
        })
        .collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_as_it_is() {
        let us = std::process::id();
        assert!(!threads(us).is_empty());
        assert_eq!(ignores(us, libc::SIGTERM), Some(false));
        // The Rust runtime ignores it.
        assert_eq!(ignores(us, libc::SIGPIPE), Some(true));
        let directory = std::env::temp_dir().join(format!("lameduck-proc-{us}"));
        let path = directory.join("socket");
        fs::create_dir_all(&directory).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(socket_paths(&[us]).contains(&path));
        drop(listener);
        assert!(!socket_paths(&[us]).contains(&path));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_port_is_ours_or_anothers() {
        let us = std::process::id();
        let listener = std::net::TcpListener::bind("[::1]:0")
            .or_else(|_| std::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_anothers(port, &[us]));
        assert!(is_anothers(port, &[]));
        drop(listener);
        assert!(!is_anothers(port, &[]));
    }

    #[test]
    fn children_are_found_until_they_are_gone() {
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let is_seen = || {
            descendants(std::process::id())
                .iter()
                .any(|process| process.pid == child.id())
        };
        assert!(is_seen());
        let found = descendants(std::process::id());
        found
            .iter()
            .filter(|process| process.pid == child.id())
            .for_each(Process::kill);
        // Killed and not yet waited for: a zombie is not alive.
        let bound = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while is_seen() {
            assert!(std::time::Instant::now() < bound);
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
