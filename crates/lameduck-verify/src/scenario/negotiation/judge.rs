//! Owns what follows from what the participants of a drain wrote down: a verdict for each id, and the reason.
//! Not: making the drain (see `mod`), or what a hold-up of ours does to a verdict (see `attention`).

use std::time::{Duration, Instant};

use super::cast::{ANSWERED_WITHIN, AT_ONCE, CAST, HOUR, Record, Role, WORK, What};
use super::client::{Answer, Told};
use super::hostile::Affront;
use crate::verdict::Verdict;

/// A message is at most so much later than it should be.
const LATE: Duration = Duration::from_millis(500);
/// And so much earlier: what a message took to reach us, when its time is counted from another one.
const EARLY: Duration = Duration::from_millis(50);
/// Ends of the same drain, as they are told at several times, differ by what messages took.
const BLUR: Duration = Duration::from_millis(200);
/// Between the last that was waited for and the exit, besides what an idle stop takes.
const CLEAN_UP: Duration = Duration::from_secs(1);
/// More bodies that were not refused are counted only.
const MOST_SHOWN: usize = 4;

/// A verdict, and why.
pub(super) type Judged = (Verdict, String);

/// The shared drain.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    /// When the process was gone; none when it had to be killed at the end of the grace period.
    pub(super) exit: Option<Instant>,
    pub(super) unit: Duration,
    /// How long an idle stop took.
    pub(super) idle_stop: Duration,
    /// In the order of the cast.
    pub(super) records: Vec<Record>,
}

/// The drain of the one without a budget that says nothing.
#[derive(Debug, Clone)]
pub(super) struct Alone {
    pub(super) exit: Option<Instant>,
    pub(super) record: Record,
}

fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

fn fail(why: impl Into<String>) -> Result<String, Judged> {
    Err((Verdict::Fail, why.into()))
}

fn open(why: impl Into<String>) -> Judged {
    (Verdict::Inconclusive, why.into())
}

/// A pass, or what came up before.
fn settle(judged: Result<String, Judged>) -> Judged {
    judged.map_or_else(|other| other, |why| (Verdict::Pass, why))
}

impl Drain {
    fn of(&self, role: Role) -> &Record {
        &self.records[role as usize]
    }

    /// When it was told to finish; what is about that can not be judged of one that was not.
    fn closed(&self, role: Role) -> Result<&Told, Judged> {
        let close = self.of(role).first("close");
        close.ok_or_else(|| {
            let name = CAST[role as usize].name;
            open(format!("{name} was never told to finish: see N-1"))
        })
    }

    /// The earliest and the latest end of the drain that anybody was told.
    fn ends(&self) -> Option<(Instant, Instant)> {
        let all = || self.records.iter().flat_map(|record| &record.told);
        let ends = || all().filter_map(Told::end);
        Some((ends().min()?, ends().max()?))
    }

    pub(super) fn n_1(&self) -> Judged {
        settle(self.waits())
    }

    fn waits(&self) -> Result<String, Judged> {
        let worker = self.of(Role::Worker);
        if worker.first("shutdown_request").is_none() {
            return fail("who was ready was not asked: no `shutdown_request` came");
        }
        let Some(close) = worker.first("close") else {
            return fail("who had answered was never told to finish: no `close` came");
        };
        let work = self.unit * WORK;
        if close.left.is_some_and(|left| left < work + BLUR) {
            return Err(open(format!(
                "the drain was to end {} after it was told to finish, before its work is done",
                millis(close.left.unwrap_or_default())
            )));
        }
        let last = worker.all(What::Done).next();
        let worked = last.map(|last| last.at.saturating_duration_since(close.at));
        match (last, self.exit) {
            (Some(last), exit) if last.answer == Answer::Taken => Ok(match exit {
                Some(exit) => format!(
                    "it worked for {} after it was told to finish; the exit came {} after its `done`",
                    millis(worked.unwrap_or_default()),
                    millis(exit.saturating_duration_since(last.at))
                ),
                None => "its `done` was heard; the process had to be killed: see N-2".to_owned(),
            }),
            (Some(last), Some(exit)) if exit <= last.at => fail(format!(
                "the process was gone {} after it told one to finish that was still at work, with {} left",
                millis(exit.saturating_duration_since(close.at)),
                millis(close.left.unwrap_or_default())
            )),
            _ => fail("its `done` was not taken, though it had time left"),
        }
    }

    pub(super) fn n_2(&self, alone: &Alone) -> Judged {
        settle(self.goes_on(alone))
    }

    fn goes_on(&self, alone: &Alone) -> Result<String, Judged> {
        let (silent, close) = (self.of(Role::Silent), self.closed(Role::Silent)?);
        let budget = silent.budget.unwrap_or_default();
        let asked = asked_again(silent, close.at + budget / 2)?;
        let Some(over) = silent.first("over") else {
            return fail("the silent one was never told that it is waited for no longer");
        };
        let waited = over.at.saturating_duration_since(close.at);
        if waited > budget + LATE {
            return fail(format!(
                "the silent one was waited for for {}, with a budget of {}",
                millis(waited),
                millis(budget)
            ));
        }
        for (part, record) in CAST.iter().zip(&self.records) {
            let has_answered = record.said.iter().any(|said| said.what == What::Ack);
            if has_answered && record.told.iter().any(|told| told.again) {
                return fail(format!("{} had answered, and was asked again", part.name));
            }
        }
        if self.of(Role::Refuser).answer(What::Refused) != Some(Answer::Taken) {
            return fail("that one refuses was not heard");
        }
        let Some(exit) = self.exit else {
            return fail("the process had to be killed at the end of the grace period");
        };
        let last = self.last_end().unwrap_or(exit);
        let after = exit.saturating_duration_since(last);
        if after > CLEAN_UP + self.idle_stop {
            return fail(format!(
                "the exit came {} after the last that was to be waited for",
                millis(after)
            ));
        }
        if alone.exit.is_none() {
            return fail(
                "the process had to be killed at the end of the grace period: it waited for one without a budget that said nothing",
            );
        }
        let times = alone.record.told.iter().filter(|told| told.again).count();
        if times != 1 {
            return fail(format!(
                "one without a budget that said nothing was asked again {times} times"
            ));
        }
        Ok(format!(
            "the silent one was asked again after {} of {}, given up after {}; the exit came {} after the last of the others",
            millis(asked.saturating_duration_since(close.at)),
            millis(budget),
            millis(waited),
            millis(after)
        ))
    }

    /// When the last one ended that was to be waited for.
    fn last_end(&self) -> Option<Instant> {
        let ends = self.records.iter().filter_map(|record| {
            let last = record.all(What::Done).next().map(|said| said.at);
            let given_up = record.first("over").map(|told| told.at);
            last.or(given_up)
        });
        ends.max()
    }

    pub(super) fn n_3(&self) -> Judged {
        settle(self.grants())
    }

    fn grants(&self) -> Result<String, Judged> {
        let (wisher, close) = (self.of(Role::Wisher), self.closed(Role::Wisher)?);
        let Some((first_end, last_end)) = self.ends() else {
            return fail("nobody was told when the drain ends: no `left_ms` came");
        };
        let mut got = Vec::new();
        for wish in [1, 2] {
            let said = wisher.all(What::Wish(wish)).next();
            let granted = |told: &&Told| told.kind == "granted" && told.wish == Some(wish);
            let granted = wisher.told.iter().find(granted);
            let (Some(said), Some(granted)) = (said, granted) else {
                return fail(format!(
                    "wish {wish} was not answered within {}",
                    millis(ANSWERED_WITHIN)
                ));
            };
            let by = granted.by.unwrap_or_default();
            let took = granted.at.saturating_duration_since(said.at);
            got.push((by, took, granted));
        }
        let [(first, took, _), (second, _, granted)] = got.as_slice() else {
            return Err(open("two wishes were made"));
        };
        let budget = wisher.budget.unwrap_or_default();
        let leaves = first_end.saturating_duration_since(close.at + budget);
        if leaves < budget + BLUR {
            return Err(open(format!(
                "the drain leaves {} behind its budget, too little for a wish",
                millis(leaves)
            )));
        }
        if *first != budget {
            return fail(format!(
                "it wished for {} and got {}, though the drain leaves {}",
                millis(budget),
                millis(*first),
                millis(leaves)
            ));
        }
        if *second >= HOUR {
            return fail("it wished for an hour and got it, beyond the end of the drain");
        }
        let all = granted.budget.unwrap_or_default();
        if close.at + all > first_end + BLUR {
            return fail(format!(
                "its budget with all grants is {}, and ends after the drain does",
                millis(all)
            ));
        }
        if last_end > first_end + BLUR {
            return fail(format!(
                "the end of the drain moved by {}",
                millis(last_end - first_end)
            ));
        }
        if wisher.answer(What::Done) != Some(Answer::Taken) {
            return fail("it was not heard at its end, though that was within what it got");
        }
        Ok(format!(
            "wished for {}, got it within {}; wished for an hour, got {}, to the end of the drain; done beyond its first budget",
            millis(budget),
            millis(*took),
            millis(*second)
        ))
    }

    pub(super) fn n_4(&self) -> Judged {
        settle(self.repeats())
    }

    fn repeats(&self) -> Result<String, Judged> {
        let (wisher, repeater) = (self.of(Role::Wisher), self.of(Role::Repeater));
        self.closed(Role::Wisher)?;
        self.closed(Role::Repeater)?;
        for what in [What::Ack, What::Working] {
            let refused = |answer| matches!(answer, Answer::Refused(_));
            if repeater.all(what).any(|said| refused(said.answer)) {
                return fail(format!("{what:?} is refused when it comes twice"));
            }
        }
        if repeater
            .all(What::Done)
            .any(|said| matches!(said.answer, Answer::Refused(_)))
        {
            return fail("`done` is refused when it comes twice");
        }
        if let Some(state) = repeater.state().filter(|state| *state != "done") {
            return fail(format!("who said `done` twice is told that it is {state}"));
        }
        let same = |told: &&Told| told.kind == "granted" && told.wish == Some(1);
        let granted: Vec<&Told> = wisher.told.iter().filter(same).collect();
        if let [first, second] = granted.as_slice()
            && first.budget != second.budget
        {
            return fail(format!(
                "the same wish was granted twice: its budget grew from {} to {}",
                millis(first.budget.unwrap_or_default()),
                millis(second.budget.unwrap_or_default())
            ));
        }
        let got: Vec<Option<Duration>> = granted.iter().map(|told| told.by).collect();
        match got.as_slice() {
            [Some(first), Some(second)] if first == second => Ok(format!(
                "the same wish got the same {} again; ack, working and done came twice and changed nothing",
                millis(*first)
            )),
            [Some(first), Some(second)] => fail(format!(
                "the same wish got {}, and then {}",
                millis(*first),
                millis(*second)
            )),
            [_] => fail("the same wish got no answer the second time"),
            other => fail(format!("one wish, made twice, got {} answers", other.len())),
        }
    }

    pub(super) fn n_5(&self) -> Judged {
        settle(self.is_patient())
    }

    fn is_patient(&self) -> Result<String, Judged> {
        let Some((end, _)) = self.ends() else {
            return Err(open("nobody was told when the drain ends"));
        };
        let mut least = None;
        for (part, record) in CAST.iter().zip(&self.records) {
            let Some(over) = record
                .first("over")
                .filter(|_| record.state() == Some("overdue"))
            else {
                continue;
            };
            let budget = record.told.iter().filter_map(|told| told.budget).max();
            let due = record
                .first("close")
                .zip(budget.or(record.budget))
                .map_or(end, |(close, budget)| end.min(close.at + budget));
            if over.at + EARLY < due {
                return fail(format!(
                    "{} was given up {} before its time was over",
                    part.name,
                    millis(due - over.at)
                ));
            }
            let beyond = over.at.saturating_duration_since(due);
            least = Some(least.map_or(beyond, |least: Duration| least.min(beyond)));
        }
        match least {
            Some(beyond) => Ok(format!(
                "nobody was given up before its time; the silent one {} after it",
                millis(beyond)
            )),
            None => Err(open("nobody was given up at all: see N-2")),
        }
    }

    pub(super) fn n_8(&self) -> Judged {
        settle(self.knows_its_drain())
    }

    fn knows_its_drain(&self) -> Result<String, Judged> {
        let repeater = self.of(Role::Repeater);
        let strange = [
            (What::StrangeAck, "`ack` for another drain"),
            (What::StrangeDone, "`done` for another drain"),
            (What::LateFailed, "`failed` behind the last word"),
        ];
        for (what, name) in strange {
            if repeater.answer(what) == Some(Answer::Taken) {
                return fail(format!("{name} was taken"));
            }
        }
        if repeater.first("shutdown_request").is_none() {
            return Err(open("it was not asked: see N-1"));
        }
        if repeater.first("close").is_none() {
            return fail("it was never told to finish, after it had said `done` for another drain");
        }
        if repeater.answer(What::Done) != Some(Answer::Taken) {
            return fail("its own `done` was not heard, after one for another drain");
        }
        match repeater.state() {
            Some("done") | None => Ok(
                "nothing was taken that was said for another drain or behind the last word; its own `done` was"
                    .to_owned(),
            ),
            Some(state) => fail(format!("who was done is told that it is {state}")),
        }
    }

    pub(super) fn n_9(&self) -> Judged {
        settle(self.keeps_the_form())
    }

    fn keeps_the_form(&self) -> Result<String, Judged> {
        for (part, record) in CAST.iter().zip(&self.records) {
            if let Some(misfit) = record.misfits.first() {
                return fail(format!(
                    "what {} got does not fit the schema: {misfit}",
                    part.name
                ));
            }
        }
        let stranger = self.of(Role::Stranger);
        let is_wrong = |affront: &&Affront| !affront.is_refused();
        let wrong: Vec<&Affront> = stranger.affronts.iter().filter(is_wrong).collect();
        if wrong.iter().any(|wrong| {
            let exit = self.exit.filter(|exit| *exit <= wrong.at + wrong.took);
            wrong.reply.is_none() && exit.is_some()
        }) {
            return Err(open("the process was gone while one still spoke: see N-1"));
        }
        if !wrong.is_empty() {
            let shown = wrong.iter().take(MOST_SHOWN);
            let mut words: Vec<String> = shown.map(|wrong| wrong.in_words()).collect();
            if wrong.len() > MOST_SHOWN {
                words.push(format!("and {} more", wrong.len() - MOST_SHOWN));
            }
            return fail(words.join("; "));
        }
        let is_asked = |record: &Record| record.first("shutdown_request").is_some();
        if !is_asked(self.of(Role::Worker)) {
            return Err(open("nobody was asked: see N-1"));
        }
        if stranger.first("granted").is_some() {
            return fail("a wish for a negative time was granted something");
        }
        let done = stranger.answer(What::Done);
        match (stranger.first("close"), stranger.state()) {
            (_, Some(state)) if state != "done" => fail(format!(
                "who said what can not be read is told that it is {state}"
            )),
            _ if !is_asked(stranger) => {
                fail("it was not asked, after it had said what can not be read")
            }
            (None, _) => {
                fail("it was never told to finish, after it had said what can not be read")
            }
            _ if done != Some(Answer::Taken) => {
                fail("its own `done` was not heard, after what can not be read")
            }
            _ => {
                let messages: usize = self.records.iter().map(|record| record.count).sum();
                let slowest = stranger.affronts.iter().map(|affront| affront.took).max();
                Ok(format!(
                    "{messages} messages and answers fit the schema; {} bodies that are none were refused with a reason, the slowest after {}; its own `done` was taken",
                    stranger.affronts.len(),
                    millis(slowest.unwrap_or_default())
                ))
            }
        }
    }

    pub(super) fn n_10(&self) -> Judged {
        settle(self.notices())
    }

    fn notices(&self) -> Result<String, Judged> {
        let frail = self.of(Role::Frail);
        let Some(back) = frail.back_after.filter(|back| *back <= AT_ONCE) else {
            return fail(format!(
                "its name was still taken {} after its connection had ended, while the service serves",
                millis(AT_ONCE)
            ));
        };
        self.closed(Role::Frail)?;
        let Some(dropped) = frail.dropped_at else {
            return Err(open("it kept its connection"));
        };
        let Some(close) = self.of(Role::Store).first("close") else {
            return fail("the one that it depends on was never told to finish");
        };
        if close.at < dropped {
            return fail("the one that it depends on was told to finish while it was still there");
        }
        let noticed = close.at - dropped;
        if noticed > AT_ONCE {
            return fail(format!(
                "its end was noticed {} after its connection had ended",
                millis(noticed)
            ));
        }
        Ok(format!(
            "back under its name after {}; while leaving its end was noticed after {}",
            millis(back),
            millis(noticed)
        ))
    }
}

/// When it was asked again, which has to be once and about then.
fn asked_again(record: &Record, due: Instant) -> Result<Instant, Judged> {
    let again: Vec<Instant> = record
        .told
        .iter()
        .filter(|told| told.again)
        .map(|told| told.at)
        .collect();
    match again.as_slice() {
        [at] if *at + EARLY >= due && *at <= due + LATE => Ok(*at),
        [at] if *at < due => Err((
            Verdict::Fail,
            format!(
                "the silent one was asked again {} too early",
                millis(due - *at)
            ),
        )),
        [at] => Err((
            Verdict::Fail,
            format!(
                "the silent one was asked again {} too late",
                millis(*at - due)
            ),
        )),
        other => Err((
            Verdict::Fail,
            format!("the silent one was asked again {} times", other.len()),
        )),
    }
}

#[cfg(test)]
mod tests;
