//! Models of the sequence lock: one writer and a reader, two writers.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::inflight::loom_tests::model;

/// All words of a reading belong to one request, or the reading says that it does not know.
#[test]
fn a_reading_is_never_a_mixture() {
    model(3, || {
        let cell = Arc::new(Cell::new());
        cell.claim(None, Duration::ZERO);
        cell.begin("1", "/1", Duration::from_micros(1))
            .expect("one writer");
        let writer = {
            let cell = cell.clone();
            thread::spawn(move || {
                cell.begin("2", "/2", Duration::from_micros(2))
                    .expect("one writer")
            })
        };
        if let Read::Busy(raw) = cell.read() {
            assert_eq!(raw.method(), raw.since.to_string());
            assert_eq!(raw.path(), format!("/{}", raw.since));
        }
        writer.join().expect("writer");
        assert!(matches!(cell.read(), Read::Busy(raw) if raw.since == 2));
    });
}

/// Two writers on one cell: one of them is whole afterwards, and no attempt waits.
#[test]
fn writers_that_meet_do_not_mix() {
    model(2, || {
        let cell = Arc::new(Cell::new());
        cell.claim(None, Duration::ZERO);
        let other = {
            let cell = cell.clone();
            thread::spawn(move || cell.begin("2", "/2", Duration::from_micros(2)).is_ok())
        };
        let mine = cell.begin("1", "/1", Duration::from_micros(1)).is_ok();
        assert!(other.join().expect("writer") || mine);
        let Read::Busy(raw) = cell.read() else {
            panic!("a request was begun")
        };
        assert_eq!(
            (raw.method(), raw.path()),
            (raw.since.to_string(), format!("/{}", raw.since))
        );
    });
}
