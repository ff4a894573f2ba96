//! H1-07: heads that never end, one silent and one that drips.

use std::time::Duration;

use super::client::{Client, Deed};
use crate::observe::flow::When;
use crate::scenario::long::{Opening, Seen, millis};
use crate::scenario::requests;
use crate::verdict::{Finding, Verdict};

const GROUP: &str = "half-heads";
/// Of each kind.
const CLIENTS: usize = 2;
const DRIP: Duration = Duration::from_millis(100);

pub(super) fn open(opening: &mut Opening<'_>) {
    if !opening.wants("H1-07") {
        return;
    }
    for _ in 0..CLIENTS {
        let (half, _) = requests::in_halves(&opening.bench.facts, opening.place);
        let silent = vec![Deed::Connect, Deed::Send(half), Deed::AwaitEnd];
        opening.add(GROUP, Client::new(1, silent));
        let path = &opening.place.url.path;
        let field = requests::head(opening.place, "GET", path, "X-Drip: ").into_bytes();
        let dripping = vec![
            Deed::Connect,
            Deed::Send(field),
            Deed::Drip {
                bytes: b"x".to_vec(),
                every: DRIP,
                until: When::AfterStop(super::client::LONG),
            },
        ];
        opening.add(GROUP, Client::new(1, dripping));
    }
}

pub(super) fn judge(seen: &Seen<'_>) -> Finding {
    let (mut poised, mut held, mut last) = (0_u64, 0_u64, Duration::ZERO);
    for (_, client) in seen
        .talkers::<Client>(GROUP)
        .filter(|(was_poised, _)| *was_poised)
    {
        poised += 1;
        held += u64::from(seen.held_exit(client.answers.end));
        if let Some((at, _)) = client.answers.end {
            last = last.max(seen.after_stop(at));
        }
    }
    let (verdict, detail) = if poised == 0 {
        let detail = "the target closed every half-sent head before the signal";
        (Verdict::NotApplicable, detail.to_owned())
    } else if held > 0 {
        let detail = format!(
            "{held} of {poised} heads that never end kept their connections until the grace period was over, and the process had to be killed"
        );
        (Verdict::Fail, detail)
    } else {
        let detail = format!(
            "{poised} heads that never end, the last one ended {} after the signal",
            millis(last)
        );
        (Verdict::Pass, detail)
    };
    seen.finding("H1-07", verdict, detail)
        .with_figure("heads", poised)
        .with_figure("held", held)
        .with_figure("last_end_ms", last)
}
