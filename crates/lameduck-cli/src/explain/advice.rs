//! What to change, from what happened.

use lameduck::wire::Shutdown;

use super::story::seconds;

pub(super) fn give(report: &Shutdown) -> Vec<String> {
    let mut advice = Vec::new();
    let oldest = report
        .stragglers
        .iter()
        .filter(|one| one.kind == "request")
        .map(|one| one.age_ms)
        .fold(0.0, f64::max);
    if oldest > 0.0 {
        advice.push(format!(
            "the oldest request had run for {}, the drain gave it {} after the signal: raise the grace period (LAMEDUCK_GRACE, and the platform's own), or end such requests when `Drain::closing` resolves",
            seconds(oldest),
            seconds(report.plan.drain_end_ms)
        ));
    }
    if report.stragglers.iter().any(|one| one.kind == "connection") {
        advice.push("connections without a request held the exit: their clients neither acknowledged the close nor went away; lower the linger limit if that is usual".to_owned());
    }
    if report.stragglers.iter().any(|one| one.kind == "guards") {
        advice.push("work that had entered with `Lifecycle::enter` was not done: have it watch `Drain::closing`".to_owned());
    }
    participants(report, &mut advice);
    if report
        .listeners
        .iter()
        .any(|listener| listener.gate == "refused")
    {
        advice.push("the kernel or a sandbox refused the SYN gate: connections begun while the listener closed may have been reset; allow setsockopt(SO_ATTACH_FILTER)".to_owned());
    }
    if report
        .listeners
        .iter()
        .any(|listener| listener.kind == "foreign")
    {
        advice.push("the program's own server closed its listener: what was in its accept queue was reset; lameduck_http::serve sweeps it".to_owned());
    }
    if report.exit.signal.is_some() && report.outcome == "cut" {
        advice.push("somebody cut the shutdown by repeating the signal: with LAMEDUCK_REPEAT=record repeats change nothing".to_owned());
    }
    advice
}

/// What participants could do otherwise.
fn participants(report: &Shutdown, advice: &mut Vec<String>) {
    for participant in &report.participants {
        match (participant.state.as_str(), participant.answered) {
            ("overdue", Some(false)) => advice.push(format!(
                "{} never answered: it does not look at its stop handle, or it is blocked",
                participant.name
            )),
            ("refused", _) => advice.push(format!(
                "{} refused to finish: what it had still to do is not done",
                participant.name
            )),
            ("overdue", _) => advice.push(format!(
                "{} was not done in time: give it a larger budget, or less to do at the end",
                participant.name
            )),
            _ => {}
        }
        if participant
            .grants
            .iter()
            .any(|grant| grant.wish.is_some() && grant.by_ms < grant.asked_ms)
        {
            advice.push(format!(
                "{} asked for more time than the drain had left: raise the grace period, or have it told to finish earlier by depending on less",
                participant.name
            ));
        }
        match participant.hook.as_ref().map(|hook| hook.state.as_str()) {
            Some("overran") => advice.push(format!(
                "the stop hook of {} overran its share of the reserve: bound what it waits for",
                participant.name
            )),
            Some("not-run")
                if participant.state != "not-started" && participant.state != "away" =>
            {
                advice.push(format!(
                    "the stop hook of {} did not get its turn",
                    participant.name
                ))
            }
            _ => {}
        }
    }
}
