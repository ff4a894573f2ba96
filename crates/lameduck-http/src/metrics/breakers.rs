//! The metrics of circuit breakers that belong to the lifecycle, by the name that the program gave them.
//!
//! Keys are no labels: there may be a thousand of them at a time, and others tomorrow. What those that are gone have counted stays in the sums.

use std::fmt;

use lameduck_breaker::{Figures, Group, State, TableFigures};

use super::collect::{Labels, Page, labels};

/// The value of a label, and where it is counted.
type Counted<T> = (&'static str, fn(&T) -> u64);

const OUTCOMES: [Counted<Figures>; 5] = [
    ("success", |figures| figures.successes),
    ("failure", |figures| figures.failures),
    ("ignored", |figures| figures.ignored),
    ("abandoned", |figures| figures.abandoned),
    ("rejected", |figures| figures.rejected),
];

const TRANSITIONS: [Counted<Figures>; 3] = [
    ("open", |figures| figures.opened),
    ("half-open", |figures| figures.half_opened),
    ("closed", |figures| figures.closed),
];

const KEYS: [Counted<TableFigures>; 2] = [
    ("evicted", |table| table.evicted),
    ("without-place", |table| table.without_place),
];

pub(super) fn write(groups: &[Group], page: &mut Page<'_>) -> fmt::Result {
    let states = groups.iter().flat_map(|group| {
        let counts = State::ALL.into_iter().zip(group.states);
        counts.map(|(state, count)| (of(group, "state", state.as_str()), count))
    });
    page.gauges(
        "lameduck_breakers",
        "Circuit breakers of a name by how they stand: one, or one for each key",
        states,
    )?;
    page.counters(
        "lameduck_breaker_calls",
        "Calls by what became of them; rejected ones were not made, abandoned ones were cancelled",
        each(groups, "outcome", &OUTCOMES, |group| &group.figures),
    )?;
    page.counters(
        "lameduck_breaker_slow_calls",
        "Calls that were slow, failed or not",
        groups.iter().map(|group| (name(group), group.figures.slow)),
    )?;
    page.counters(
        "lameduck_breaker_probes",
        "Calls that half-open breakers admitted to find out",
        groups
            .iter()
            .map(|group| (name(group), group.figures.probes)),
    )?;
    page.counters(
        "lameduck_breaker_transitions",
        "Changes of breakers by themselves, by what they became",
        each(groups, "to", &TRANSITIONS, |group| &group.figures),
    )?;
    page.counters(
        "lameduck_breaker_forced",
        "How often an operator forced or released one",
        groups
            .iter()
            .map(|group| (name(group), group.figures.forced)),
    )?;
    page.counters(
        "lameduck_breaker_keys",
        "Keys that lost their place to another, and calls whose key found none",
        each(groups, "event", &KEYS, |group| &group.table),
    )
}

fn name(group: &Group) -> Labels {
    labels([("breaker", &group.name)])
}

fn of(group: &Group, label: &'static str, value: &str) -> Labels {
    labels([("breaker", &group.name), (label, value)])
}

/// A row for each group and each of these.
fn each<'a, T>(
    groups: &'a [Group],
    label: &'static str,
    figures: &'static [Counted<T>],
    part: fn(&Group) -> &T,
) -> impl Iterator<Item = (Labels, u64)> + use<'a, T> {
    groups.iter().flat_map(move |group| {
        let row = move |(value, read): &Counted<T>| (of(group, label, value), read(part(group)));
        figures.iter().map(row)
    })
}
