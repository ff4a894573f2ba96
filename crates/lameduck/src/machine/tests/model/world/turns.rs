//! Of the model's world: departures that wait for their time or their turn, and what is taken back.

use std::{collections::BTreeSet, time::Duration};

use super::{Act, Setting, World};
use crate::{
    machine::{Effect, Input, WishEnd},
    vocab::Phase,
};

pub(super) fn input(world: &mut World, act: Act, setting: &Setting) -> Input {
    let why = String::from("why");
    match act {
        Act::Announce => {
            world.changes += 1;
            world.announced = world.phase == Phase::Running as u8;
            let delay = setting.leap;
            Input::Announce { why, delay }
        }
        Act::Cancel => {
            world.changes += 1;
            world.cancelling = true;
            Input::Cancel { why }
        }
        Act::NoTurns => {
            world.changes += 1;
            world.no_turns = true;
            Input::TakesTurns { needs: None }
        }
        Act::TurnGivenLate => {
            world.changes += 1;
            Input::TurnGiven {
                wish: world.wishes - 1,
                note: why,
            }
        }
        _ => Input::TurnGiven {
            wish: world.wish.unwrap_or_default(),
            note: why,
        },
    }
}

pub(super) fn effect(
    world: &mut World,
    effect: &Effect,
    now: Duration,
    setting: &Setting,
    seen: &mut BTreeSet<String>,
) -> Result<(), String> {
    match effect {
        Effect::AskTurn(wish) => {
            let needs = setting.needs.ok_or("nobody gives turns")?;
            holds!(!world.no_turns, "nobody gives turns any longer");
            holds!(world.wish.is_none(), "two wishes at once");
            holds!(world.begun_at.is_none(), "a wish of one that leaves");
            holds!(wish.number > world.wishes, "a number twice");
            let left = now + world.plan(setting).drain_end() - needs;
            holds!(wish.until == left, "what its own drain needs is not kept");
            world.wish = Some(wish.number);
            world.wishes = wish.number;
            world.requested_at = Some(now);
            world.announced = false;
            seen.insert("waits for its turn".to_owned());
        }
        Effect::EndWish(number, end) => {
            holds!(world.wish == Some(*number), "the end of another wish");
            world.wish = None;
            if *end == WishEnd::Cancelled {
                holds!(!world.signalled, "what a signal asked for was taken back");
                world.requested_at = None;
                world.hurry = None;
            }
            seen.insert(format!("wish {end:?}"));
        }
        Effect::CancelAnswered(answer) => {
            holds!(world.cancelling, "an answer to no question");
            world.cancelling = false;
            if answer.is_ok() {
                holds!(world.begun_at.is_none(), "INV-1: taken back too late");
                world.announced = false;
            }
            seen.insert(format!("cancel {answer:?}"));
        }
        _ => {}
    }
    Ok(())
}
