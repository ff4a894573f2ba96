//! Finding one request at the front of what has arrived: its head, and a body by length or in chunks.

/// What stands at the front of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// Not even a whole head.
    Partial,
    /// A head whose body is still to come.
    Head { head: String },
    /// All of it; so many bytes are taken by it.
    Whole { head: String, taken: usize },
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The value of a field, in lower case, of a head that is in lower case.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.lines();
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| *field == name)
        .map(|(_, value)| value.trim())
}

/// The number after `name=` in the query of the target.
pub(crate) fn number(target: &str, name: &str) -> Option<u64> {
    let query = target.split_once('?')?.1;
    query.split('&').find_map(|pair| {
        pair.strip_prefix(name)?
            .strip_prefix('=')?
            .parse::<u64>()
            .ok()
    })
}

pub(crate) fn front(buffer: &[u8]) -> Front {
    let Some(end) = find(buffer, b"\r\n\r\n") else {
        return Front::Partial;
    };
    let end = end + 4;
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let body = &buffer[end..];
    let length = if field(&head, "transfer-encoding") == Some("chunked") {
        // Good enough for our own client: its chunks contain no such bytes.
        find(body, b"0\r\n\r\n").map(|at| at + 5)
    } else {
        let length = field(&head, "content-length").and_then(|value| value.parse().ok());
        Some(length.unwrap_or(0)).filter(|length| body.len() >= *length)
    };
    match length {
        Some(length) => Front::Whole {
            head,
            taken: end + length,
        },
        None => Front::Head { head },
    }
}
