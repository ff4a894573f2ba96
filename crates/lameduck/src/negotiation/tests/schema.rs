//! The published schema and the messages that we write agree.
//!
//! Owns a validator of just those keywords that the schema uses; one that it does not know fails the test. Python's
//! `jsonschema` is asked, too, where it is installed.

use alloc::{format, string::String, vec::Vec};
use std::{io::Write as _, process::Stdio};

use serde_json::Value;

use super::{from_participant, to_participant};
use crate::negotiation::{FromParticipant, ToParticipant};

const SCHEMA: &str = include_str!("../../../../../docs/protocol/negotiation-1.schema.json");
const MANUAL: &str = include_str!("../../../../../docs/protocol/negotiation.md");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

fn written() -> Vec<String> {
    let to = to_participant();
    let from = from_participant();
    let to = to.iter().map(ToParticipant::to_json);
    to.chain(from.iter().map(FromParticipant::to_json))
        .collect()
}

/// Every line of JSON in the manual that is a message.
fn examples() -> Vec<String> {
    let lines = MANUAL.lines().map(str::trim);
    let lines = lines.filter(|line| line.starts_with(r#"{"type":"#));
    lines.map(String::from).collect()
}

/// Why a value does not fit; `None` if it does.
fn misfit(value: &Value, schema: &Value, root: &Value) -> Option<String> {
    let rules = schema.as_object().expect("a schema is an object");
    for (keyword, rule) in rules {
        let wrong = || Some(format!("{keyword} {rule}: {value}"));
        let fits = match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" => true,
            "$ref" => {
                let at = rule.as_str().and_then(|at| at.strip_prefix('#'));
                let target = root.pointer(at.expect("a reference into the schema"));
                if let Some(why) = misfit(value, target.expect("it leads somewhere"), root) {
                    return Some(why);
                }
                true
            }
            "oneOf" => {
                let all = rule.as_array().expect("a list");
                all.iter()
                    .filter(|one| misfit(value, one, root).is_none())
                    .count()
                    == 1
            }
            "const" => value == rule,
            "enum" => rule.as_array().expect("a list").contains(value),
            "type" => match rule {
                Value::Array(any) => any.iter().any(|one| is_of_type(value, one)),
                one => is_of_type(value, one),
            },
            "minimum" => value
                .as_f64()
                .is_none_or(|it| it >= rule.as_f64().expect("a number")),
            "maximum" => value
                .as_f64()
                .is_none_or(|it| it <= rule.as_f64().expect("a number")),
            "maxLength" => {
                let most = rule.as_u64().expect("a number");
                value
                    .as_str()
                    .is_none_or(|it| it.chars().count() as u64 <= most)
            }
            "required" => {
                let all = rule.as_array().expect("a list");
                let has = |name: &Value| value.get(name.as_str().expect("a name")).is_some();
                all.iter().all(has)
            }
            "properties" => {
                for (name, rule) in rule.as_object().expect("an object") {
                    let why = value.get(name).and_then(|it| misfit(it, rule, root));
                    if let Some(why) = why {
                        return Some(format!("{name}: {why}"));
                    }
                }
                true
            }
            "additionalProperties" => {
                let fields = value.as_object().into_iter().flatten();
                fields
                    .map(|one| one.1)
                    .all(|it| misfit(it, rule, root).is_none())
            }
            other => panic!("this validator does not know {other:?}"),
        };
        if !fits {
            return wrong();
        }
    }
    None
}

fn is_of_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("object") => value.is_object(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        other => panic!("there is no type {other:?}"),
    }
}

#[test]
fn n_9_every_message_that_we_write_fits_the_schema() {
    let root = schema();
    for text in written() {
        let value = serde_json::from_str(&text).expect("a message is JSON");
        assert_eq!(misfit(&value, &root, &root), None, "{text}");
    }
}

/// A schema that takes everything proves nothing.
#[test]
fn n_9_the_schema_refuses_what_we_refuse() {
    let root = schema();
    for text in [
        r#"{"type":"dance"}"#,
        r#"{"type":"ack"}"#,
        r#"{"type":"ack","id":7}"#,
        r#"{"type":"working","id":"d1","done":-1,"total":2}"#,
        r#"{"type":"need_more","id":"d1","wish":1,"by_ms":-1}"#,
        r#"{"type":"need_more","id":"d1","wish":4294967296,"by_ms":1}"#,
    ] {
        let value = serde_json::from_str(text).expect("JSON");
        assert!(misfit(&value, &root, &root).is_some(), "{text}");
        assert!(FromParticipant::parse(text).is_err(), "{text}");
    }
    for text in [
        r#"{"type":"over","id":"d1","state":"gone"}"#,
        r#"{"type":"close","id":"d1"}"#,
        r#"{"type":"hello","v":1,"session":"7","phase":"Dancing"}"#,
    ] {
        let value = serde_json::from_str(text).expect("JSON");
        assert!(misfit(&value, &root, &root).is_some(), "{text}");
        assert!(ToParticipant::parse(text).is_err(), "{text}");
    }
}

#[test]
fn n_9_examples_of_the_manual_are_messages() {
    let root = schema();
    let examples = examples();
    let mut types: Vec<String> = Vec::new();
    for text in &examples {
        let value: Value = serde_json::from_str(text).expect("an example is JSON");
        assert_eq!(misfit(&value, &root, &root), None, "{text}");
        let to = ToParticipant::parse(text).map(|message| message.to_json());
        let from = FromParticipant::parse(text).map(|message| message.to_json());
        let again = to.or(from).unwrap_or_else(|why| panic!("{why}: {text}"));
        let again: Value = serde_json::from_str(&again).expect("JSON");
        assert_eq!(again, value, "written again it is the same");
        types.push(value["type"].as_str().expect("a text").into());
    }
    types.sort();
    types.dedup();
    assert_eq!(types.len(), 12, "one of each: {types:?}");
}

/// Another implementation reads the schema as we do.
#[test]
fn n_9_python_takes_what_we_write() {
    let script = "import sys, json, jsonschema\n\
        schema = json.load(open(sys.argv[1]))\n\
        jsonschema.Draft202012Validator.check_schema(schema)\n\
        check = jsonschema.Draft202012Validator(schema)\n\
        for line in sys.stdin: check.validate(json.loads(line))\n";
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/protocol/negotiation-1.schema.json"
    );
    let python = |args: &[&str]| {
        let mut command = std::process::Command::new("python3");
        command
            .args(args)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn()
    };
    let installed = python(&["-c", "import jsonschema"]).and_then(|child| child.wait_with_output());
    if !installed.is_ok_and(|output| output.status.success()) {
        println!("skipped: the schema as others read it, python3 with jsonschema is not installed");
        return;
    }
    let mut child = python(&["-c", script, path]).expect("python3 was there before");
    let mut input = child.stdin.take().expect("piped");
    for text in written().into_iter().chain(examples()) {
        writeln!(input, "{text}").expect("python3 reads");
    }
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
