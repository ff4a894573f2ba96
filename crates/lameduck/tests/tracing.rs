//! What a program's own subscriber is told. The only test of this process, because the subscriber is global.

use std::{
    io,
    sync::{Arc, Mutex},
};

use lameduck::{Lifecycle, Outcome, Plan, Preset, Tracing, Window};
use serde_json::Value;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_happening_is_an_event_inside_the_span_that_it_is_about() {
    let lines = Lines::default();
    let writing = lines.clone();
    tracing_subscriber::fmt()
        .json()
        .with_writer(move || writing.clone())
        .init();
    let plan = Plan::preset(Preset::Local).with_window(Window::NONE);
    let life = Lifecycle::embedded(plan.expect("a plan")).expect("a driver");
    life.observe("tracing", Tracing::new(life.drain_id()))
        .expect("a thread");
    let outbox = life.participate("outbox").register().expect("a free name");
    outbox.ready();
    let broken = life.participate("broken").register().expect("a free name");
    broken.ready();
    life.ready();
    life.shutdown("a test");
    outbox.done();
    broken.failed("no disk");
    assert_eq!(life.wait(), Outcome::Failed);

    let text = String::from_utf8(lines.0.lock().expect("not poisoned").clone()).expect("text");
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let happened = life.recent().happened;
    assert_eq!(events.len(), happened.len(), "{text}");
    let drain_id = life.drain_id();
    let mut left = false;
    for (event, seen) in events.iter().zip(&happened) {
        assert_eq!(event["target"], "lameduck");
        assert_eq!(event["fields"]["message"], seen.news.to_string());
        assert_eq!(event["fields"]["kind"], seen.news.as_str());
        assert_eq!(event["fields"]["drain_id"], drain_id);
        let spans = event["spans"].as_array().expect("spans");
        left |= event["fields"]["message"]
            .as_str()
            .is_some_and(|what| what.starts_with("Terminating after"));
        assert_eq!(
            spans[0]["name"],
            if left { "shutdown" } else { "life" },
            "{event}"
        );
        assert_eq!(spans[0]["drain_id"], drain_id, "{event}");
        assert_eq!(spans.len(), 2, "{event}");
    }
    let of = |what: &str| {
        let found = events
            .iter()
            .find(|event| event["fields"]["message"] == what);
        found.unwrap_or_else(|| panic!("nothing says {what:?}: {text}"))
    };
    let ended = of("broken ended: failed");
    assert_eq!(ended["level"], "WARN");
    assert_eq!(ended["span"]["participant"], "broken");
    assert_eq!(ended["spans"][0]["cause"], "asked by the program: a test");
    let over = of("over: failed");
    assert_eq!(
        (&over["level"], &over["span"]["phase"]),
        (&"ERROR".into(), &"Stopped".into())
    );
    assert_eq!(of("outbox is ready")["span"]["participant"], "outbox");
}
