//! What an error of accept(2) means.

use std::io;

/// Who is in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection that would have been accepted: the next one may be fine.
    Connection,
    /// This process or the machine: out of descriptors or memory. Trying again at once only burns time.
    Resources,
}

/// Sorts an error of accept(2). Linux passes pending network errors of the new connection through accept (accept(2), "Error handling"): they
/// are the connection's, like a connection aborted while it waited. All else is treated as scarcity, so that no error can spin.
pub(crate) fn trouble(error: &io::Error) -> Trouble {
    // EINTR: the next call is made by whoever waits for the listener.
    match error.raw_os_error() {
        Some(
            libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EINTR
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ETIMEDOUT
            | libc::EPERM,
        ) => Trouble::Connection,
        #[cfg(target_os = "linux")]
        Some(libc::ENONET) => Trouble::Connection,
        _ => Trouble::Resources,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scarcity_is_told_from_a_broken_connection() {
        let of = |number| trouble(&io::Error::from_raw_os_error(number));
        for number in [
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EBADF,
        ] {
            assert_eq!(of(number), Trouble::Resources);
        }
        for number in [
            libc::ECONNABORTED,
            libc::EPROTO,
            libc::EHOSTUNREACH,
            libc::EPERM,
        ] {
            assert_eq!(of(number), Trouble::Connection);
        }
    }
}
