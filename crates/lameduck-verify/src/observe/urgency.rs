//! Asks the scheduler to run the clients' thread promptly, where it is allowed: a sweep's write that comes late
//! proves nothing. The target is not touched; it was started before.

/// While it lives, this thread runs at a higher priority, if this process may have one.
#[derive(Debug)]
pub(crate) struct Urgency {
    before: Option<libc::c_int>,
}

/// The nice value asked for.
#[cfg(target_os = "linux")]
const PROMPT: libc::c_int = -15;

#[cfg(target_os = "linux")]
impl Urgency {
    pub(crate) fn raise() -> Self {
        // SAFETY: both calls take numbers only; on Linux, 0 means the calling thread.
        let before = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        // SAFETY: as above. Refusal (no privilege) is fine: the thread runs as before.
        let raised = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, PROMPT) } == 0;
        Self {
            before: raised.then_some(before),
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Urgency {
    pub(crate) fn raise() -> Self {
        // Elsewhere, priorities belong to whole processes, children included.
        Self { before: None }
    }
}

impl Drop for Urgency {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(before) = self.before {
            // SAFETY: takes numbers only.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, before) };
        }
    }
}
