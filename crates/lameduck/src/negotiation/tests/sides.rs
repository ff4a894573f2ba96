//! Each side alone: what it makes of one message after the other.

use alloc::vec::Vec;
use core::{iter::from_fn, time::Duration};

use super::ms;
use crate::{
    negotiation::{End, Event, Follower, FromParticipant, Heard, Ledger, ToParticipant},
    vocab::{Cause, Grant, Phase, Terms},
};

const ID: &str = "d1";

fn cause() -> Cause {
    Cause::Api { why: "test".into() }
}

fn terms(left: u64, budget: impl Into<Option<u64>>, used: impl Into<Option<u64>>) -> Terms {
    Terms::new(ms(left), budget.into().map(ms), used.into().map(ms))
}

fn request(id: &str, terms: Terms) -> ToParticipant {
    Ledger::new("1").request(id, &cause(), terms)
}

fn close(terms: Terms) -> ToParticipant {
    ToParticipant::Close {
        id: ID.into(),
        terms,
    }
}

fn granted(wish: Option<u32>, by: u64, terms: Terms) -> ToParticipant {
    ToParticipant::Granted {
        id: ID.into(),
        wish,
        by: ms(by),
        terms,
    }
}

fn events(follower: &mut Follower) -> Vec<Event> {
    from_fn(|| follower.poll_event()).collect()
}

fn said(follower: &mut Follower) -> Vec<FromParticipant> {
    from_fn(|| follower.poll_message()).collect()
}

/// One that was asked at 10 s of its own clock, and has said and heard all that follows.
fn asked() -> Follower {
    let mut follower = Follower::new();
    follower.handle(ms(10_000), &request(ID, terms(8_000, 2_000, None)));
    assert!(matches!(events(&mut follower)[..], [Event::Leave { .. }]));
    assert_eq!(
        said(&mut follower),
        [FromParticipant::Ack { id: ID.into() }]
    );
    follower
}

// ---- The follower ------------------------------------------------------------------------------------------------

#[test]
fn n_6_its_deadline_is_that_of_its_budget_and_never_beyond_the_drain() {
    let mut follower = asked();
    assert_eq!(
        follower.deadline(),
        Some(ms(18_000)),
        "until the drain ends"
    );
    follower.handle(ms(11_000), &close(terms(7_000, 2_000, 0)));
    assert_eq!(events(&mut follower), [Event::Close]);
    assert_eq!(follower.deadline(), Some(ms(13_000)));
    follower.handle(
        ms(11_500),
        &granted(None, 60_000, terms(6_500, 62_000, 500)),
    );
    assert_eq!(events(&mut follower), [Event::Given { by: ms(60_000) }]);
    assert_eq!(follower.deadline(), Some(ms(18_000)));
    assert_eq!(follower.poll_timeout(), Some(ms(18_000)));
    follower.handle_timeout(ms(17_999));
    assert_eq!(events(&mut follower), []);
    follower.handle_timeout(ms(18_000));
    assert_eq!(events(&mut follower), [Event::TimeUp]);
    assert!(follower.has_ended() && follower.poll_timeout().is_none());
}

/// A repeated, late or early message changes nothing that a better one told.
#[test]
fn n_4_messages_in_another_order_tell_the_same() {
    let messages = [
        request(ID, terms(8_000, 2_000, None)),
        close(terms(7_000, 2_000, 0)),
        granted(None, 500, terms(6_900, 2_500, 100)),
        granted(None, 500, terms(6_800, 3_000, 200)),
    ];
    let sent_at = [10_000, 11_000, 11_100, 11_200];
    let orders: [&[usize]; 5] = [
        &[0, 1, 2, 3],
        &[0, 1, 2, 2, 3, 0, 1],
        &[0, 2, 1, 3],
        &[0, 3, 2, 1],
        // All but the first and the last were lost.
        &[0, 3],
    ];
    for order in orders {
        let mut follower = Follower::new();
        for at in order {
            follower.handle(ms(sent_at[*at]), &messages[*at]);
        }
        assert_eq!(follower.deadline(), Some(ms(14_000)), "{order:?}");
        let closed = events(&mut follower)
            .into_iter()
            .filter(|one| *one == Event::Close);
        assert_eq!(closed.count(), 1, "{order:?}");
    }
    // A message that was on its way for a minute moves nothing either.
    let mut follower = Follower::new();
    for at in 0..4 {
        follower.handle(ms(sent_at[at]), &messages[at]);
    }
    for message in &messages {
        follower.handle(ms(13_999), message);
    }
    assert_eq!(follower.deadline(), Some(ms(14_000)));
}

#[test]
fn n_4_a_repeated_request_is_answered_with_where_it_stands() {
    let again = request(ID, terms(7_000, 2_000, 0));
    let mut follower = asked();
    follower.working(1, 2, "half");
    said(&mut follower);
    follower.handle(ms(10_100), &again);
    assert!(matches!(
        said(&mut follower)[..],
        [FromParticipant::Working { done: 1, .. }]
    ));
    let wish = follower.need_more(ms(500), "the other half");
    assert_eq!(wish, Some(1));
    let first = said(&mut follower);
    follower.handle(ms(10_200), &again);
    assert_eq!(said(&mut follower), first, "the same wish");
    follower.handle(ms(10_300), &granted(wish, 500, terms(6_900, 2_500, 100)));
    follower.handle(ms(10_300), &granted(wish, 500, terms(6_900, 2_500, 100)));
    let told = events(&mut follower);
    let by = ms(500);
    assert_eq!(told, [Event::Close, Event::Granted { wish: 1, by }]);
    assert_eq!(follower.stale(), 1, "the second answer");
    follower.done([("rows", 3)]);
    let last = said(&mut follower);
    follower.handle(ms(10_400), &again);
    assert_eq!(said(&mut follower), last);
    // Nothing is said after the last word.
    follower.working(2, 2, "");
    follower.refuse("no");
    assert_eq!(follower.need_more(ms(1), ""), None);
    assert_eq!(said(&mut follower), []);
}

#[test]
fn n_7_alone_it_goes_on_by_its_own_deadline() {
    // Told to finish, it goes on as before.
    let mut follower = asked();
    follower.handle(ms(11_000), &close(terms(7_000, 2_000, 0)));
    follower.lost(ms(11_500));
    assert_eq!(events(&mut follower), [Event::Close]);
    assert_eq!(follower.poll_timeout(), Some(ms(13_000)));
    // Not told, it finishes when its budget would no longer fit.
    let mut follower = asked();
    follower.lost(ms(11_500));
    assert_eq!(events(&mut follower), []);
    assert_eq!(follower.poll_timeout(), Some(ms(16_000)));
    follower.handle_timeout(ms(16_000));
    assert_eq!(events(&mut follower), [Event::Close]);
    assert_eq!(follower.deadline(), Some(ms(18_000)));
    follower.done([("rows", 1)]);
    assert_eq!(said(&mut follower), [], "to nobody");
    // Without a budget that is at once.
    let mut follower = Follower::new();
    follower.handle(ms(10_000), &request(ID, terms(8_000, None, None)));
    follower.lost(ms(10_001));
    assert_eq!(events(&mut follower).last(), Some(&Event::Close));
}

/// Another coordinator, which came after a crash, finds it leaving: it is asked once, and ends once.
#[test]
fn n_7_another_drain_joins_the_one_under_way() {
    let mut follower = asked();
    follower.lost(ms(11_000));
    follower.handle(ms(12_000), &Ledger::new("2").hello(Phase::Running, None));
    assert_eq!(
        said(&mut follower),
        [],
        "it leaves, and is not ready any more"
    );
    follower.handle(ms(13_000), &request("d2", terms(60_000, 2_000, None)));
    assert_eq!(events(&mut follower), []);
    assert_eq!(
        said(&mut follower),
        [FromParticipant::Ack { id: "d2".into() }]
    );
    assert_eq!(
        follower.deadline(),
        Some(ms(18_000)),
        "not later than before"
    );
    follower.handle(ms(13_100), &close(terms(1, 1, 1)));
    assert_eq!(
        (events(&mut follower).len(), follower.stale()),
        (0, 1),
        "of the old one"
    );
    follower.done([("rows", 1)]);
    let done = said(&mut follower);
    assert!(matches!(&done[..], [FromParticipant::Done { id, .. }] if id == "d2"));
}

#[test]
fn in_each_session_it_says_that_it_is_ready() {
    let mut follower = Follower::new();
    follower.ready();
    assert_eq!(said(&mut follower), [FromParticipant::Ready]);
    follower.lost(ms(1));
    follower.handle(ms(2), &Ledger::new("2").hello(Phase::Running, None));
    assert_eq!(said(&mut follower), [FromParticipant::Ready]);
}

#[test]
fn inv_11_a_coordinator_that_repeats_itself_fills_nothing() {
    let mut follower = asked();
    let mut ledger = Ledger::new("1");
    let _ = ledger.request(ID, &cause(), terms(1, 1, 1));
    let again = ledger.request(ID, &cause(), terms(8_000, 2_000, None));
    for _ in 0..1_000 {
        follower.handle(ms(10_000), &again);
    }
    assert_eq!(said(&mut follower).len(), 64);
    assert_eq!(events(&mut follower).len(), 64);
}

#[test]
fn n_2_who_is_waited_for_no_longer_is_told_and_says_nothing_more() {
    let mut follower = asked();
    let mut ledger = Ledger::new("1");
    let over = |ledger: &mut Ledger| ledger.over(End::Overdue);
    assert_eq!(over(&mut ledger), None, "it was asked for nothing");
    let _ = ledger.request(ID, &cause(), terms(1, 1, 1));
    let over = over(&mut ledger).expect("it was asked");
    follower.handle(ms(11_000), &over);
    follower.handle(ms(11_000), &over);
    let state = End::Overdue;
    assert_eq!(events(&mut follower), [Event::Over { state }]);
    follower.done([("rows", 1)]);
    follower.handle(ms(11_100), &request(ID, terms(1, 1, 1)));
    assert_eq!(said(&mut follower), []);
    assert_eq!(follower.stale(), 1);
}

// ---- The ledger --------------------------------------------------------------------------------------------------

fn ack(id: &str) -> FromParticipant {
    FromParticipant::Ack { id: id.into() }
}

fn need_more(wish: u32) -> FromParticipant {
    FromParticipant::NeedMore {
        id: ID.into(),
        wish,
        by: ms(500),
        why: String::new(),
    }
}

#[test]
fn n_8_what_belongs_to_another_drain_or_comes_after_the_end_is_counted() {
    let mut ledger = Ledger::new("1");
    assert_eq!(
        ledger.hear(FromParticipant::Ready),
        Heard::New(FromParticipant::Ready)
    );
    assert_eq!(ledger.hear(ack(ID)), Heard::Stale, "nobody asked");
    let bare = terms(8_000, 2_000, None);
    assert!(ledger.close(bare).is_none() && ledger.granted(1, ms(1), bare).is_none());
    let first = ledger.request(ID, &cause(), bare);
    let second = ledger.request(ID, &cause(), bare);
    let again = |message| matches!(message, ToParticipant::ShutdownRequest { again: true, .. });
    assert_eq!((again(first), again(second)), (false, true));
    assert_eq!(ledger.hear(ack("d0")), Heard::Stale);
    assert_eq!(ledger.hear(ack(ID)), Heard::New(ack(ID)));
    let done = FromParticipant::Done {
        id: ID.into(),
        figures: Vec::new(),
    };
    assert_eq!(ledger.hear(done.clone()), Heard::New(done.clone()));
    assert!(ledger.is_over() && ledger.close(bare).is_none());
    assert_eq!(ledger.hear(done), Heard::Stale);
    assert_eq!(ledger.hear(ack(ID)), Heard::Stale);
    assert_eq!(ledger.stale(), 4);
    assert!(ledger.over(End::Done).is_some(), "said once more, if asked");
}

#[test]
fn n_4_a_wish_is_one_however_often_it_comes() {
    let mut ledger = Ledger::new("1");
    let bare = terms(8_000, 2_000, None);
    let _ = ledger.request(ID, &cause(), bare);
    assert_eq!(ledger.hear(need_more(7)), Heard::New(need_more(7)));
    assert_eq!(ledger.hear(need_more(7)), Heard::Awaited);
    let _ = ledger.granted(7, ms(300), bare);
    let (wish, by) = (7, ms(300));
    assert_eq!(ledger.hear(need_more(7)), Heard::Known { wish, by });
    let told = ledger.granted(7, ms(900), bare);
    assert_eq!(
        told,
        Some(granted(Some(7), 300, bare)),
        "the first answer stands"
    );
    for wish in 100..200 {
        let _ = ledger.hear(need_more(wish));
    }
    let (wish, by) = (300, Duration::ZERO);
    assert_eq!(ledger.hear(need_more(300)), Heard::Known { wish, by });
    assert_eq!(Grant::MOST, 16);
    assert_eq!(ledger.stale(), 0);
}

/// What it said while nobody could hear it is said in the next session, until it is not so any more.
#[test]
fn n_10_a_failure_while_serving_is_said_again_in_each_session() {
    let mut follower = Follower::new();
    follower.ready();
    follower.lost(ms(1));
    follower.failed("no disk");
    let hello = Ledger::new("2").hello(Phase::Running, None);
    let failed = FromParticipant::Failed {
        id: None,
        why: "no disk".into(),
    };
    for _ in 0..2 {
        assert_eq!(said(&mut follower), []);
        follower.handle(ms(2), &hello);
        assert_eq!(said(&mut follower), core::slice::from_ref(&failed));
        follower.lost(ms(3));
    }
    follower.ready();
    follower.handle(ms(4), &hello);
    assert!(said(&mut follower).ends_with(&[FromParticipant::Ready]));
}

/// A coordinator that was restarted knows nothing of the drain before, and would wait for whoever says nothing.
#[test]
fn n_7_who_was_given_up_in_an_earlier_drain_says_so_in_the_next() {
    let mut follower = asked();
    follower.handle(
        ms(10_100),
        &ToParticipant::Over {
            id: ID.into(),
            state: End::Overdue,
        },
    );
    follower.handle(ms(10_200), &request(ID, terms(7_000, 2_000, None)));
    assert_eq!(said(&mut follower), [], "the same drain");
    follower.handle(ms(10_300), &request("d2", terms(8_000, 2_000, None)));
    let said = said(&mut follower);
    let [FromParticipant::Failed { id: Some(id), why }] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(id, "d2");
    assert!(why.contains("earlier drain"), "{why}");
}
