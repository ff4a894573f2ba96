//! How much memory a process holds, read from outside.
//!
//! Owns: `/proc/PID/status` as numbers, and a thread that keeps the most that was seen. Not here: whose memory it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(20);

/// The resident memory of a process, in bytes (`VmRSS` of proc(5)).
///
/// # Errors
///
/// When the process is gone, or the kernel shows no such figure.
pub fn resident(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    field(&status, "VmRSS:").ok_or_else(|| io::Error::other("no VmRSS: the process has ended"))
}

/// The memory of a process and of all that it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Footprint {
    /// Resident, in bytes; what processes share is in it once for each.
    pub resident: u64,
    /// Resident, in bytes; of what processes share, each has its part.
    pub proportional: u64,
}

impl Footprint {
    /// Adds it up (`/proc/PID/smaps_rollup`, and `children` of proc(5)).
    ///
    /// # Errors
    ///
    /// When a process is gone.
    pub fn of_tree(pid: u32) -> io::Result<Self> {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let read = |name| field(&rollup, name).ok_or_else(|| io::Error::other("no such figure"));
        let mut sum = Self {
            resident: read("Rss:")?,
            proportional: read("Pss:")?,
        };
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let children = std::fs::read_to_string(task?.path().join("children"))?;
            for child in children.split_whitespace() {
                let child = Self::of_tree(child.parse().map_err(io::Error::other)?)?;
                sum.resident += child.resident;
                sum.proportional += child.proportional;
            }
        }
        Ok(sum)
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Watches a process; its thread ends when this is dropped.
#[derive(Debug)]
pub struct Peak {
    most: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peak {
    /// Begins to watch; a process that has ended is watched no more.
    pub fn watch(pid: u32) -> Self {
        let (most, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = std::thread::spawn({
            let (most, over) = (Arc::clone(&most), Arc::clone(&over));
            move || {
                // Relaxed, here and below: a figure and a wish, nothing else is published through them.
                while !over.load(Ordering::Relaxed) {
                    let Ok(bytes) = resident(pid) else { return };
                    most.fetch_max(bytes, Ordering::Relaxed);
                    std::thread::park_timeout(EVERY);
                }
            }
        });
        Self {
            most,
            over,
            thread: Some(thread),
        }
    }

    /// The most that was seen so far, in bytes.
    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic; and if it did, there is nothing to be done about it here.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_read_in_bytes() {
        let status = "Name:\tduck\nVmHWM:\t    9000 kB\nVmRSS:\t    5312 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(5312 * 1024));
        assert_eq!(field("Name:\tduck\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_holds_some_memory() {
        assert!(resident(std::process::id()).unwrap() > 100 * 1024);
    }
}
