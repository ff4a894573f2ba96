//! One chaos round: a fresh demo, everybody at work, the signals, and the verdict.
//!
//! Owns: who is started in which order, and everything that a lame duck must not do. Not here: drawing a round (`plan`), the
//! clients (`engine`, `honest`, `hostile`).

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{self, Load, Round};
use crate::honest::ledger::{Count, Ledger};
use crate::honest::{Field, Party, Watch};
use crate::hostile::crowd::Crowd;
use crate::hostile::{self, Ends};
use crate::plan::Plan;
use crate::script::Promise;
use crate::server::{Server, describe};
use crate::tally::{Loss, Tally};
use crate::target::{Demo, Running};

/// How long after the grace period clients and server are still waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long one exchange of an honest client may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(8);
/// The exit code of a drain that was ended by its deadline.
const FORCED: i32 = 124;
/// Most bytes of the demo's stderr that are shown.
const MOST_SHOWN: usize = 600;

/// What was wrong with a round, or that nothing was.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Which round.
    pub round: u64,
    /// What the HTTP/1.1 clients without TLS counted.
    pub tally: Tally,
    /// What the other honest clients counted, by kind of request.
    pub others: BTreeMap<&'static str, Count>,
    /// Connections that hostile peers opened.
    pub hostile: u64,
    /// From the first signal to the exit.
    pub exit_after: Option<Duration>,
    /// Everything that must not have happened.
    pub complaints: Vec<String>,
}

/// Plays a round against a fresh demo.
pub fn play(plan: &Plan, demo: &Demo) -> Verdict {
    match try_play(plan, demo) {
        Ok(verdict) => verdict,
        Err(error) => Verdict {
            round: plan.round,
            complaints: vec![error.to_string()],
            ..Verdict::default()
        },
    }
}

fn try_play(plan: &Plan, demo: &Demo) -> Result<Verdict, Box<dyn Error>> {
    let further = ["--repeat", plan.repeats.argument()];
    let mut running = demo.start(plan.window.argument, plan.grace, &further)?;
    let watch = Arc::new(Watch::default());
    let mut crowds = crowds(plan, &running)?;
    let promise = plan
        .scripts
        .first()
        .map_or(Promise::Always, |script| script.promise);
    let field = Field::new(
        running.server.address(),
        running.tls,
        promise,
        HUNG,
        Arc::clone(&watch),
    );
    let party = Party::start(field, plan.members.clone())?;
    let load = Load {
        scripts: plan.scripts.clone(),
        signals: plan.signals.clone(),
        patience: plan.grace + PATIENCE,
    };
    let round = engine::run_beside(&load, &mut running.server, &watch)?;
    let went_home = party.finish(HUNG + PATIENCE);
    let mut hostile = 0;
    for crowd in &mut crowds {
        crowd.stop();
        hostile += crowd.counts().connected();
    }
    let mut verdict = judge(plan, round, &party.field().ledger(), &running.server);
    verdict.hostile = hostile;
    if !went_home {
        let stuck = "an honest client did not come to an end".to_owned();
        verdict.complaints.push(stuck);
    }
    Ok(verdict)
}

fn crowds(plan: &Plan, running: &Running) -> std::io::Result<Vec<Crowd>> {
    let attacks = hostile::catalogue();
    let mut crowds = Vec::new();
    for &(name, peers) in &plan.hostile {
        let attack = attacks.iter().find(|attack| attack.name == name);
        let attack = attack.expect("plans draw from the catalogue");
        if let Some(address) = running.address(attack.door) {
            crowds.push(Crowd::start(attack, peers, address)?);
        }
    }
    Ok(crowds)
}

/// Says all that a round did that a lame duck must not do.
fn judge(plan: &Plan, round: Round, ledger: &Ledger, server: &Server) -> Verdict {
    let mut complaints = complaints_of(&round);
    let told = |loss: &crate::honest::ledger::Loss| loss.tell(Some(round.signalled_at)).to_string();
    complaints.extend(ledger.losses().iter().map(told));
    complaints.extend(ledger.complaints().iter().cloned());
    if ledger.dropped() > 0 {
        complaints.push(format!("{} more, not kept", ledger.dropped()));
    }
    let may_be_forced = hostile::catalogue().iter().any(|attack| {
        attack.ends == Ends::OrForced && plan.hostile.iter().any(|(name, _)| *name == attack.name)
    });
    match (
        round.exit_after,
        round.status.and_then(|status| status.code()),
    ) {
        (Some(after), Some(0)) if after <= plan.grace => {}
        (Some(after), Some(FORCED)) if after <= plan.grace && may_be_forced => {}
        (after, _) => complaints.push(format!(
            "ended by {} after {after:?}, instead of exit 0 within {:?}",
            round.status.map_or_else(|| "nothing".to_owned(), describe),
            plan.grace
        )),
    }
    if !complaints.is_empty() {
        for (attack, peers) in &plan.hostile {
            complaints.push(format!("beside it: {peers} hostile peers, {attack}"));
        }
        let stderr: String = server.stderr().trim().chars().take(MOST_SHOWN).collect();
        if !stderr.is_empty() {
            complaints.push(format!("its stderr: {stderr}"));
        }
    }
    Verdict {
        round: plan.round,
        tally: round.tally,
        others: ledger.kinds().clone(),
        hostile: 0,
        exit_after: round.exit_after,
        complaints,
    }
}

/// What the HTTP/1.1 clients without TLS have to complain of.
fn complaints_of(round: &Round) -> Vec<String> {
    let tally = &round.tally;
    let mut complaints: Vec<String> = tally
        .losses(round.signalled_at)
        .iter()
        .map(Loss::to_string)
        .collect();
    if tally.losses_dropped() > 0 {
        complaints.push(format!("{} more lost", tally.losses_dropped()));
    }
    for (count, what) in [
        (
            tally.refused_before_signal,
            "connects refused before the signal",
        ),
        (
            tally.accepted_after_refused,
            "connections accepted although begun after a refused connect",
        ),
        (
            tally.dropped_fresh,
            "new connections accepted, then closed before their first byte",
        ),
        (tally.connects_hung, "connects neither accepted nor refused"),
        (
            tally.local_failures,
            "connects failed for want of a port or descriptor of our own",
        ),
    ] {
        if count > 0 {
            complaints.push(format!("{count} {what}"));
        }
    }
    complaints
}
