//! Lists the checks and the fronts.

use std::process::ExitCode;

use crate::{exit::Failure, report::say};

pub(super) fn list() -> Result<ExitCode, Failure> {
    let mut text = format!(
        "{:<7} {:<8} {:<44} {}\n",
        "id", "class", "what a client is owed", "cost"
    );
    for check in lameduck_verify::list() {
        let class = format!("{:?}", check.class).to_lowercase();
        text.push_str(&format!(
            "{:<7} {class:<8} {:<44} {}\n",
            check.id, check.short, check.cost
        ));
    }
    say(&text);
    Ok(ExitCode::SUCCESS)
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
