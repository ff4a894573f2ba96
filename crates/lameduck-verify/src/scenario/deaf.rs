//! Owns clients that ask and do not read: what keeps a server busy that has no slow path and takes no POST.
//! Not: what that proves (see `stop` and `mix`).

use super::bench::Bench;
use super::h1::client::{Client, Deed, LONG};
use super::requests;
use crate::observe::flow::When;
use crate::observe::talk::Talk;
use crate::target::Place;

pub(crate) const GROUP: &str = "deaf";
/// Small, so that what they do not read is the target's to keep.
const RECEIVE_BUFFER: usize = 16 * 1024;
/// More requests than the kernel keeps of what a server does not take (Linux: 4 MiB with us, 6 MiB with the server);
/// their answers are no shorter, so it comes to a stop over them first.
const TOO_MUCH: usize = 12 * 1024 * 1024;

/// Asks, and never reads what it asked for.
pub(crate) fn deeds(request: Vec<u8>) -> Vec<Deed> {
    vec![
        Deed::Connect,
        Deed::BeDeaf,
        Deed::Send(request),
        Deed::Hold(When::AfterStop(LONG)),
    ]
}

/// So many requests on one connection that the server has to wait with its answers; `None` where it closes after one.
pub(crate) fn stopper(bench: &Bench<'_>, place: &Place) -> Option<Talk> {
    let facts = &bench.facts;
    if !facts.keeps_connections {
        return None;
    }
    let path = facts.large_path.as_ref().unwrap_or(&place.url.path);
    let mut all = Vec::with_capacity(TOO_MUCH);
    while all.len() < TOO_MUCH {
        all.extend(requests::get(place, path));
    }
    let talk = Talk::new(GROUP, Client::new(1, deeds(all)));
    Some(talk.with_receive_buffer(RECEIVE_BUFFER).unawaited())
}
