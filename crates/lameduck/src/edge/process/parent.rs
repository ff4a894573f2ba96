//! The parent that swallows signals.

use crate::sys;

/// Shells by the name of their process; busybox' and dash's is that of the link they were called by.
const SHELLS: [&[u8]; 8] = [
    b"sh", b"ash", b"bash", b"busybox", b"dash", b"ksh", b"mksh", b"zsh",
];

/// The name of a shell that is PID 1 and our parent, as with `CMD app` in a Dockerfile: it never passes SIGTERM on.
///
/// Worth a warning at start. `None` also when `/proc` does not tell.
pub(crate) fn shell_above_us() -> Option<String> {
    if sys::getppid() != 1 {
        return None;
    }
    shell(&sys::process_facts(1).ok()?.comm)
}

fn shell(comm: &[u8]) -> Option<String> {
    SHELLS
        .contains(&comm)
        .then(|| String::from_utf8_lossy(comm).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_are_known_by_name_and_inits_are_not() {
        assert_eq!(shell(b"sh").as_deref(), Some("sh"));
        for init in [&b"systemd"[..], b"tini", b"dumb-init", b"shim", b""] {
            assert_eq!(shell(init), None);
        }
    }
}
