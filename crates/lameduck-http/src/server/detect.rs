//! Which protocol a client's first bytes belong to.
//!
//! Owns the comparison with the connection preface of HTTP/2 (RFC 9113 §3.4). It keeps at most those 24 bytes; how long a
//! client may take for them is the limit of any request head.

/// What a client sends first when it knows that the server speaks HTTP/2.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A part of the preface: `POST` begins like it.
    Undecided,
    Http1,
    Http2,
}

/// Judges the first bytes of a connection; there may be more of them than a preface has.
pub(crate) fn judge(said: &[u8]) -> Verdict {
    let common = said.len().min(PREFACE.len());
    if said[..common] != PREFACE[..common] {
        Verdict::Http1
    } else if common == PREFACE.len() {
        Verdict::Http2
    } else {
        Verdict::Undecided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_is_http2() {
        for len in 0..PREFACE.len() {
            assert_eq!(judge(&PREFACE[..len]), Verdict::Undecided);
        }
        assert_eq!(judge(PREFACE), Verdict::Http2);
        let mut more = PREFACE.to_vec();
        more.extend([0; 100]);
        assert_eq!(judge(&more), Verdict::Http2);
    }

    #[test]
    fn one_byte_that_differs_is_http1() {
        for at in 0..PREFACE.len() {
            let mut said = *PREFACE;
            said[at] ^= 1;
            assert_eq!(judge(&said), Verdict::Http1);
            assert_eq!(judge(&said[..=at]), Verdict::Http1);
        }
        assert_eq!(judge(b"POST / HTTP/1.1\r\n"), Verdict::Http1);
    }
}
