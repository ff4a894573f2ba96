//! Lists the checks and the fronts.

use std::process::ExitCode;

use console::Term;

use crate::{
    exit::Failure,
    lines::{columns, hanging},
    report::say,
};

/// What is left of the column of costs, at least; in narrower terminals it has lines of its own.
const COST: usize = 36;
/// Where that column begins, and where what is owed does.
const COST_AT: usize = 62;
const OWED_AT: usize = 17;

pub(super) fn list() -> Result<ExitCode, Failure> {
    // One line each where programs read it.
    let width = columns(&Term::stdout()).unwrap_or(usize::MAX);
    let mut text = row("id", "class", "what a client is owed", "cost", width);
    for check in lameduck_verify::list() {
        let class = format!("{:?}", check.class).to_lowercase();
        text.push_str(&row(check.id, &class, check.short, check.cost, width));
    }
    say(&text);
    Ok(ExitCode::SUCCESS)
}

fn row(id: &str, class: &str, owed: &str, cost: &str, width: usize) -> String {
    let lead = format!("{id:<7} {class:<8} {owed:<44} ");
    if width >= COST_AT + COST {
        return hanging(&lead, cost, width);
    }
    let below = format!("{:OWED_AT$}", "");
    format!("{}\n{}", lead.trim_end(), hanging(&below, cost, width))
}

pub(super) fn fronts() -> Result<ExitCode, Failure> {
    let mut text = format!(
        "{:<14} {:>11}  {}\n",
        "front", "propagation", "what it hides from users by asking another instance"
    );
    for front in lameduck_verify::fronts() {
        let retries: Vec<_> = front.retries.iter().map(|retry| retry.word()).collect();
        let retries = if retries.is_empty() {
            "nothing".to_owned()
        } else {
            retries.join(", ")
        };
        let seconds = format!("{} s", front.propagation.as_secs_f64());
        text.push_str(&format!(
            "{:<14} {seconds:>11}  {retries}\n{:29}is       {}\n{:29}source   {}\n{:29}unknown  {}\n",
            front.name, "", front.what, "", front.source, "", front.unknown
        ));
    }
    say(&text);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_wider_than_the_terminal_and_programs_get_one_line() {
        let cost = "1 launch and the front's propagation time; needs --front";
        for width in [80, 97, 98, 120] {
            let row = row(
                "A2",
                "loss",
                "new connections while the front learns",
                cost,
                width,
            );
            assert!(
                row.lines().all(|line| line.chars().count() <= width),
                "{row}"
            );
            assert_eq!(row.lines().count() > 1, width < 120);
        }
        let row = row("A2", "loss", "new connections", cost, usize::MAX);
        assert_eq!(row.lines().count(), 1);
    }
}
