//! The word, and the machine's edges. What it does in the long run: `model_tests`.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::settings::Settings;

fn rules() -> Rules {
    let settings = Settings::new().jitter(0.0).probes(3, 2);
    settings.rules().expect("settings that fit")
}

proptest! {
    #[test]
    fn a_word_holds_all_of_a_circuit(
        kind in 0_u8..3, force in 0_u8..3, counts in proptest::array::uniform4(0_u8..32), at in 0..=LAST,
    ) {
        let circuit = Circuit {
            kind: [Kind::Closed, Kind::Open, Kind::HalfOpen][usize::from(kind)],
            force: [Force::None, Force::Open, Force::Closed][usize::from(force)],
            streak: counts[0],
            out: counts[1],
            won: counts[2],
            lost: counts[3],
            at,
        };
        prop_assert_eq!(Circuit::unpack(circuit.pack()), circuit);
        let is_plain = kind == 0 && force == 0;
        prop_assert_eq!(Circuit::plainly_closed(circuit.pack()), is_plain.then_some(at));
    }
}

fn open_at(now: u64) -> Circuit {
    Circuit::closed_since(0).open(now, 0, &rules(), || 0)
}

#[test]
fn each_stay_begins_later_than_the_one_of_its_kind_before() {
    // All at the same instant, with the shortest pause that there is.
    let rules = Settings::new()
        .jitter(0.0)
        .open_for(Duration::from_millis(1))
        .growing(1, Duration::ZERO)
        .rules()
        .expect("settings that fit");
    let first = Circuit::closed_since(7);
    let open = first.open(7, 0, &rules, || 0);
    let half = open.admit(open.at, &rules, || 0).to.expect("it probes");
    let won = half.probed(half.at, Probed::Won, half.at, &rules, || 0);
    let closed = won.and_then(|step| step.to).expect("it closes");
    assert!(closed.at > half.at && half.at > first.at, "{closed:?}");
    let lost = half.probed(half.at, Probed::Lost, half.at, &rules, || 0);
    let again = lost.and_then(|step| step.to).expect("it opens");
    let second = again.admit(again.at, &rules, || 0).to.expect("it probes");
    assert!(second.at > half.at);
    // A clock that goes back, as two threads may read it, moves nothing back.
    let late = half.probed(half.at, Probed::Won, 0, &rules, || 0);
    assert!(late.and_then(|step| step.to).expect("it closes").at > half.at);
}

#[test]
fn a_round_ends_as_soon_as_its_end_is_known() {
    let rules = rules();
    let open = open_at(0);
    let mut half = open.admit(open.at, &rules, || 0).to.expect("it probes");
    let began = half.at;
    half = half.admit(began, &rules, || 0).to.expect("a second probe");
    half = half.admit(began, &rules, || 0).to.expect("a third probe");
    let fourth = half.admit(began, &rules, || 0);
    assert_eq!(fourth.then, Admission::Refuse(1_000));
    let step = half.probed(began, Probed::Lost, began, &rules, || 0);
    let half = step
        .and_then(|step| step.to)
        .expect("one of three may fail");
    assert_eq!((half.kind, half.out, half.lost), (Kind::HalfOpen, 2, 1));
    let lost = half.probed(began, Probed::Lost, began, &rules, || 0);
    let lost = lost.expect("its round");
    assert_eq!(lost.turn, Some(Turn::ProbesFailed));
    let open = lost.to.expect("it opens");
    assert_eq!((open.kind, open.streak), (Kind::Open, 1));
    assert_eq!(open.at, began + 10_000, "twice as long");
    // The third comes back when nobody waits for it any more.
    assert_eq!(open.probed(began, Probed::Won, began, &rules, || 0), None);
}

#[test]
fn a_probe_that_is_returned_may_be_made_by_another_and_one_that_is_lost_for_good_is_given_up() {
    let rules = Settings::new().jitter(0.0).rules().expect("defaults");
    let open = open_at(0);
    let half = open.admit(open.at, &rules, || 0).to.expect("it probes");
    let began = half.at;
    assert!(matches!(
        half.admit(began, &rules, || 0).then,
        Admission::Refuse(_)
    ));
    let back = half.probed(began, Probed::Returned, began, &rules, || 0);
    let back = back.and_then(|step| step.to).expect("its round");
    assert_eq!((back.kind, back.out), (Kind::HalfOpen, 0));
    let next = back.admit(began, &rules, || 0);
    assert_eq!(next.then, Admission::Admit(Ticket::Probe { at: began }));
    let half = next.to.expect("one more is out");
    let late = half.admit(began + 29_999, &rules, || 0);
    assert_eq!(late.then, Admission::Refuse(1), "given up in a millisecond");
    let over = half.admit(began + 30_000, &rules, || 0);
    assert_eq!(over.turn, Some(Turn::ProbesMissing));
    assert_eq!(
        over.to.map(|to| (to.kind, to.streak)),
        Some((Kind::Open, 1))
    );
}

#[test]
fn a_round_in_which_nobody_is_under_way_does_not_age() {
    let rules = rules();
    let open = open_at(0);
    let half = open.admit(open.at, &rules, || 0).to.expect("it probes");
    let lost = half.probed(half.at, Probed::Lost, half.at, &rules, || 0);
    let back = lost
        .and_then(|step| step.to)
        .expect("one of three may fail");
    for idle in [29_999, 30_000, 600_000] {
        let now = half.at + idle;
        let mut late = back;
        for _ in 0..2 {
            let next = late.admit(now, &rules, || 0);
            assert_eq!(next.then, Admission::Admit(Ticket::Probe { at: now }));
            late = next.to.expect("one more is out");
        }
        assert_eq!((late.out, late.lost), (2, 1), "what is known stays known");
        let third = late.admit(now + 1, &rules, || 0);
        assert_eq!((third.then, third.to), (Admission::Refuse(1_000), None));
        let over = late.admit(now + 30_000, &rules, || 0);
        assert_eq!(over.turn, Some(Turn::ProbesMissing));
        let won = late.probed(now, Probed::Won, now + 1, &rules, || 0);
        assert!(won.is_some(), "its success is heard");
    }
}

#[test]
fn after_a_probe_that_was_excused_the_next_one_waits_a_little() {
    let rules = rules();
    let open = open_at(0);
    let half = open.admit(open.at, &rules, || 0).to.expect("it probes");
    let began = half.at;
    let two = half.admit(began, &rules, || 0).to.expect("a second one");
    let one = two.probed(began, Probed::Excused, began, &rules, || 0);
    let one = one.and_then(|step| step.to).expect("its round");
    assert_eq!((one.out, one.at), (1, began), "somebody else is under way");
    let back = one.probed(began, Probed::Excused, began + 7, &rules, || 0);
    let back = back.and_then(|step| step.to).expect("its round");
    assert_eq!((back.kind, back.out), (Kind::HalfOpen, 0));
    for (later, left) in [(7, 1_000), (1_006, 1)] {
        let refused = back.admit(began + later, &rules, || 0);
        assert_eq!((refused.then, refused.to), (Admission::Refuse(left), None));
    }
    let at = began + 1_007;
    let next = back.admit(at, &rules, || 0);
    assert_eq!(next.then, Admission::Admit(Ticket::Probe { at }));
}

#[test]
fn waits_grow_to_their_limit_and_chance_only_adds() {
    let rules = Settings::new().jitter(0.5).rules().expect("they fit");
    let waits: Vec<_> = (0..6).map(|streak| rules.open_after(streak, 0)).collect();
    assert_eq!(waits, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
    assert_eq!(rules.open_after(0, u32::MAX), 7_500);
    assert_eq!(rules.open_after(MOST_PROBES, u32::MAX), 90_000);
}
