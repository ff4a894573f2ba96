//! What is written can be read; what strangers write is read within bounds, or refused with a reason.

use alloc::{format, string::String, vec::Vec};

use proptest::prelude::*;

use super::{from_participant, ms, to_participant};
use crate::{
    negotiation::{FromParticipant, MOST_BYTES, ToParticipant},
    vocab::{
        Progress,
        read_json::{Number, Value},
    },
};

#[test]
fn n_9_what_is_written_is_read_as_it_was() {
    for message in to_participant() {
        assert_eq!(ToParticipant::parse(&message.to_json()), Ok(message));
    }
    for message in from_participant() {
        assert_eq!(FromParticipant::parse(&message.to_json()), Ok(message));
    }
}

/// The times of other writers need not be whole, and what they add is passed over.
#[test]
fn n_9_strangers_are_read_generously() {
    let text = r#" {"type":"need_more", "new":[{"a":[]},null,true,1e3,"\u00fc"], "id":"d1","wish":2.0,"by_ms":1.5e3,"by_ms":250.25} "#;
    let wish = FromParticipant::NeedMore {
        id: "d1".into(),
        wish: 2,
        by: ms(250) + core::time::Duration::from_micros(250),
        why: String::new(),
    };
    assert_eq!(FromParticipant::parse(text), Ok(wish));
    let text = r#"{"type":"done","id":"d1","figures":{"lag":0.6,"what":"text","most":1e99}}"#;
    let done = FromParticipant::Done {
        id: "d1".into(),
        figures: [("lag".into(), 1), ("most".into(), i64::MAX)].into(),
    };
    assert_eq!(FromParticipant::parse(text), Ok(done));
}

#[test]
fn n_9_what_cannot_be_read_is_refused_with_a_reason() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(20), "]".repeat(20));
    let long = format!(r#"{{"type":"ready","a":"{}"}}"#, "a".repeat(MOST_BYTES));
    let name = format!(r#"{{"type":"ack","id":"{}"}}"#, "a".repeat(129));
    for (text, why) in [
        ("", "no JSON at byte 0: a value is missing"),
        (" []", "no JSON at byte 1: a message is an object"),
        (
            r#"{"type":"ready"} {}"#,
            "no JSON at byte 17: nothing may follow",
        ),
        (
            r#"{"type":"ready","#,
            "no JSON at byte 16: a field begins with its name",
        ),
        (r#"{"type":"rea"#, "no JSON at byte 12: a text does not end"),
        (
            r#"{"type":01}"#,
            "no JSON at byte 9: a comma stands between two",
        ),
        (deep.as_str(), "no JSON at byte 20: nested too deeply"),
        (long.as_str(), "a message is at most 16384 bytes long"),
        (r#"{"id":"d1"}"#, r#"the field "type" must be a text"#),
        (
            r#"{"type":"dance"}"#,
            r#"there is no message of type "dance""#,
        ),
        (
            r#"{"type":"ack"}"#,
            r#"the field "id" must be a text of at most 128 bytes"#,
        ),
        (
            name.as_str(),
            r#"the field "id" must be a text of at most 128 bytes"#,
        ),
        (
            r#"{"type":"need_more","id":"d1","wish":1,"by_ms":-1}"#,
            r#"the field "by_ms" must be a number of milliseconds from 0 on"#,
        ),
        (
            r#"{"type":"working","id":"d1","done":"1","total":2}"#,
            r#"the field "done" must be a whole number from 0 on"#,
        ),
    ] {
        let error = FromParticipant::parse(text).expect_err(text);
        assert_eq!(error.to_string(), why, "{text}");
        let is_type = text.contains("dance");
        assert_eq!(error.unknown_type(), is_type.then_some("dance"));
    }
}

#[test]
fn n_9_words_are_cut_and_written_within_the_bounds() {
    let note = "ü".repeat(1_000);
    let message = FromParticipant::Working {
        id: "d1".into(),
        done: 1,
        total: 2,
        note: note.clone(),
    };
    let text = message.to_json();
    assert!(text.len() < 400, "{}", text.len());
    let Ok(FromParticipant::Working { note, .. }) = FromParticipant::parse(&format!(
        r#"{{"type":"working","id":"d1","done":1,"total":2,"note":"{note}"}}"#
    )) else {
        panic!("it can be read");
    };
    assert_eq!(note.len(), Progress::NOTE);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map(any::<String>(), value, 0..6)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

/// Whether both read the same.
fn is_same(ours: &Value<'_>, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::List(ours), serde_json::Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(ours, theirs)| is_same(ours, theirs))
        }
        (Value::Flag(ours), serde_json::Value::Bool(theirs)) => ours == theirs,
        (Value::Text(ours), serde_json::Value::String(theirs)) => ours == theirs,
        (Value::Number(ours), serde_json::Value::Number(theirs)) => {
            let Number(text) = ours;
            match theirs.as_i64() {
                Some(theirs) => ours.whole() == theirs,
                None => text.parse().ok() == theirs.as_f64(),
            }
        }
        (Value::Object(fields), serde_json::Value::Object(theirs)) => {
            fields.len() == theirs.len()
                && theirs
                    .iter()
                    .all(|(name, theirs)| ours.field(name).is_some_and(|one| is_same(one, theirs)))
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn n_9_json_is_read_as_others_read_it(json in json()) {
        let text = serde_json::to_string_pretty(&json).expect("it can be written");
        prop_assume!(text.len() <= MOST_BYTES);
        let read = Value::read(&text);
        prop_assert!(read.is_ok(), "{:?}: {}", read, text);
        let ours = read.expect("just asserted");
        prop_assert!(is_same(&ours, &json), "{:?} of {}", ours, text);
    }

    /// What we take, others take, and nothing makes it panic.
    #[test]
    fn n_9_no_text_is_read_that_others_refuse(
        bytes in proptest::collection::vec(
            proptest::sample::select(br#"{}[]":,\u00dDe8+-.1 tfalsn"#.to_vec()),
            0..24,
        ),
    ) {
        let text = format!("{{{}}}", String::from_utf8_lossy(&bytes));
        if Value::read(&text).is_ok() {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // Half of a character, which we replace, and numbers beyond a float, they refuse.
            let is_lenient = text.contains("\\u") || text.contains('e');
            prop_assert!(theirs.is_ok() || is_lenient, "{}", text);
        }
    }

    #[test]
    fn n_9_a_message_cut_anywhere_is_no_message(at in 1_usize..200) {
        let messages: Vec<String> = from_participant().iter().map(FromParticipant::to_json).collect();
        for text in messages {
            let cut = crate::vocab::cut(text.clone(), at.min(text.len() - 1));
            prop_assert!(FromParticipant::parse(&cut).is_err(), "{}", cut);
        }
    }
}
