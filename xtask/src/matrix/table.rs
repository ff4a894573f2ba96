//! What both pages share: the columns and their groups, the symbol of an answer, the words for a rate, the method.

use super::record::{Check, Rate, Record};

/// Manners that are shown in columns of their own, and never decide.
const MANNERS: &str = "Manners";

/// A group of columns.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) ids: Vec<String>,
}

/// Groups of the contract, by how their ids begin.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Process and door", &["P", "A"]),
    ("HTTP/1.1", &["H1-"]),
    ("HTTP/2 and gRPC", &["H2-"]),
    ("WebSocket", &["WS-"]),
    ("TLS", &["TLS-"]),
    ("Negotiation", &["N-"]),
    ("Load", &["L-"]),
];

/// All columns: those that decide by protocol, then the manners.
pub(super) fn groups(records: &[Record]) -> Vec<Group> {
    let all = columns(records);
    let mut groups: Vec<Group> = GROUPS
        .iter()
        .map(|(title, starts)| Group {
            title,
            ids: all
                .iter()
                .filter(|check| check.class != "manners")
                .filter(|check| starts.iter().any(|start| check.id.starts_with(start)))
                .map(|check| check.id.clone())
                .collect(),
        })
        .collect();
    let manners = all.iter().filter(|check| check.class == "manners");
    groups.push(Group {
        title: MANNERS,
        ids: manners.map(|check| check.id.clone()).collect(),
    });
    groups.retain(|group| !group.ids.is_empty());
    groups
}

/// One check of each id, in the order of the report that has most of them; what it lacks comes last.
pub(super) fn columns(records: &[Record]) -> Vec<&Check> {
    let mut all: Vec<&Check> = Vec::new();
    let mut longest: Vec<&Record> = records.iter().collect();
    longest.sort_by_key(|record| std::cmp::Reverse(record.checks.len()));
    for check in longest.into_iter().flat_map(|record| &record.checks) {
        if !all.iter().any(|known| known.id == check.id) {
            all.push(check);
        }
    }
    all
}

/// The symbol and the word of an answer.
pub(super) fn answer(verdict: &str) -> (&'static str, &str) {
    let symbol = match verdict {
        "pass" => "✓",
        "fail" => "✗",
        "differs" => "≠",
        "inconclusive" => "?",
        "waived" => "○",
        _ => "–",
    };
    (
        symbol,
        if verdict.is_empty() {
            "not run"
        } else {
            verdict
        },
    )
}

/// "3 of 4812 (0.02 to 0.2 %)".
pub(super) fn rate(rate: Option<Rate>) -> String {
    rate.map_or_else(
        || "not measured".to_owned(),
        |rate| {
            let (low, high) = (percent(rate.low), percent(rate.high));
            format!("{} of {} ({low} to {high} %)", rate.lost, rate.of)
        },
    )
}

/// Two digits that mean something.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p >= 10.0 => format!("{p:.0}"),
        p if p >= 1.0 => format!("{p:.1}"),
        p if p <= 0.0 => "0".to_owned(),
        p => format!("{p:.2}"),
    }
}

/// The rate of a row; where something else than POSTs was lost too, how many of them were POSTs.
pub(super) fn row_rate(record: &Record) -> String {
    let all = rate(record.rate);
    match (record.rate, record.lost_posts()) {
        (Some(rate), Some(posts)) if posts < rate.lost => format!("{all}; {posts} of them POSTs"),
        _ => all,
    }
}

/// What is said of a cell: what was seen, what kind of requests were lost, and the note of its recipe.
pub(super) fn detail(record: &Record, check: &Check) -> String {
    let count = |name: &str| check.requests.get(name).copied().unwrap_or_default();
    let streams = match (check.id.as_str(), count("truncated")) {
        // Later versions count event streams apart, and say so themselves.
        ("L-MIX", cut) if cut > 0 && !check.detail.contains("event streams") => {
            format!(". {cut} are answers that were cut, event streams among them (H1-14)")
        }
        _ => String::new(),
    };
    let note = record
        .about
        .notes
        .get(&check.id)
        .map(|note| format!(". Note: {note}"));
    format!("{}{streams}{}", check.detail, note.unwrap_or_default())
}

/// How it was done, in sentences; the same on both pages.
pub(super) fn method(records: &[Record]) -> Vec<String> {
    let some = |pick: fn(&Record) -> &str| {
        let mut all: Vec<&str> = records.iter().map(pick).collect();
        all.sort_unstable();
        all.dedup();
        all.join("; ")
    };
    let dates = |pick: fn(&[&str]) -> Option<String>| {
        let mut all: Vec<&str> = records
            .iter()
            .map(|record| record.run.date.as_str())
            .collect();
        all.sort_unstable();
        pick(&all).unwrap_or_default()
    };
    let rounds = records.iter().map(|record| record.run.rounds);
    let (least, most) = (rounds.clone().min(), rounds.max());
    let rounds = match (least.unwrap_or_default(), most.unwrap_or_default()) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    vec![
        format!(
            "Measured from {} to {} UTC on {}, with `lameduck verify` {} of commit {}.",
            dates(|all| all.first().map(|date| (*date).to_owned())),
            dates(|all| all.last().map(|date| (*date).to_owned())),
            some(|record| &record.run.machine),
            some(|record| &record.lameduck),
            some(|record| &record.run.commit),
        ),
        format!(
            "Each server is installed from packages and started by a recipe in `matrix/recipes`, set up as well as its \
             documentation allows; the options that matter are named below. It has 6 s from the signal to SIGKILL, and \
             4 s or less of its own, where it has such an option. The load check over HTTP/1.1 starts {rounds} fresh processes, the others fewer."),
        "Proxies stand before a small application that stays up: what is judged is how the proxy itself is stopped. Copies \
         of a server run side by side. What came too late to tell is inconclusive."
            .to_owned(),
        "One run on a quiet machine is the kindest case: a loss that is rare may not show in it, and the loads and networks \
         of production are harsher. A cross was seen; a pass only says that this run did not see it."
            .to_owned(),
        "“Lost” counts requests under load whose client had seen no sign that the connection was ending, wrote the whole \
         request, and got no answer and no refusal that is safe to retry. The interval is of 95 %, widened because \
         requests of one stop are lost together. The clients send about every 50 ms and the server is asked to stop once: \
         the share tells what happens to those who are there at that instant, not to a day's traffic. In the mixed load (L-MIX) \
         four event streams are open; how they end is judged by H1-14. Rows whose commit counted those that were cut as \
         lost say how many of the lost requests were POSTs."
            .to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_said_with_two_digits() {
        let some = |lost, of, low, high| {
            rate(Some(Rate {
                lost,
                of,
                low,
                high,
            }))
        };
        assert_eq!(
            some(3, 4_812, 0.000_212, 0.018),
            "3 of 4812 (0.02 to 1.8 %)"
        );
        assert_eq!(some(0, 10, 0.0, 0.277), "0 of 10 (0 to 28 %)");
        assert_eq!(rate(None), "not measured");
    }

    #[test]
    fn an_answer_that_is_not_known_is_no_pass() {
        assert_eq!(answer("pass"), ("✓", "pass"));
        assert_eq!(answer(""), ("–", "not run"));
        assert_eq!(answer("n/a"), ("–", "n/a"));
    }
}
