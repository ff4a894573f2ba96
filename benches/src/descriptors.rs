//! How many descriptors this process, and what it starts, may have.
//!
//! Owns: the one limit that thousands of connections meet first. Not here: who needs them.

/// Raises the soft limit to at least `wanted` where the hard one allows it; returns the limit that holds now.
pub fn raise(wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to one rlimit that lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return 0;
    }
    if limit.rlim_cur < wanted {
        let raised = libc::rlimit {
            rlim_cur: wanted.min(limit.rlim_max),
            ..limit
        };
        // SAFETY: the pointer is to one rlimit that lives through the call; a refusal changes nothing.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            return raised.rlim_cur;
        }
    }
    limit.rlim_cur
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_stays() {
        let before = raise(0);
        assert!(before > 0);
        assert_eq!(raise(before), before);
    }
}
