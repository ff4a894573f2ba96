//! The thread that writes records, so that whoever makes them never waits for a disk.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use super::{record::Record, sink::Sink};

/// How many records may wait for a disk; more are dropped and counted.
const MOST_WAITING: usize = 256;

/// What there may be to complain of.
#[derive(Debug)]
pub(super) enum Complaint<'a> {
    /// Records are lost. Said once.
    Lost(&'a io::Error),
    /// Nothing is lost, and the file grows.
    Grows(&'a io::Error),
}

pub(super) type Complain = Box<dyn Fn(Complaint<'_>) + Send>;

/// The way to the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    records: Option<SyncSender<Record>>,
    /// Records and happenings that were lost since the last one that was written.
    lost: Arc<AtomicU64>,
    /// Disconnected once all is written and on the disk.
    written: Receiver<()>,
}

impl Writer {
    /// # Errors
    /// No thread is left.
    pub(super) fn begin(
        sink: Sink,
        count_lost: impl Fn(u64) + Send + 'static,
        complain: Complain,
    ) -> io::Result<Self> {
        let (records, waiting) = mpsc::sync_channel(MOST_WAITING);
        let (writing, written) = mpsc::sync_channel(0);
        let lost = Arc::new(AtomicU64::new(0));
        let work = Work {
            sink,
            lost: Arc::clone(&lost),
            count_lost: Box::new(count_lost),
            complain,
            said: false,
        };
        thread::Builder::new()
            .name("lameduck-audit".to_owned())
            .spawn(move || {
                work.run(&waiting);
                drop(writing);
            })?;
        Ok(Self {
            records: Some(records),
            lost,
            written,
        })
    }

    /// Hands a record over; returns whether there was room for it.
    pub(super) fn write(&self, record: Record) -> bool {
        let Some(records) = &self.records else {
            return false;
        };
        let taken = records.try_send(record).is_ok();
        if !taken {
            self.missed(1);
        }
        taken
    }

    /// So many were lost on their way here.
    pub(super) fn missed(&self, count: u64) {
        // Relaxed: a figure.
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Nothing follows: waits until all is written and on the disk, at most `patience`.
    pub(super) fn finish(&mut self, patience: Duration) {
        self.records = None;
        let _ = self.written.recv_timeout(patience);
    }
}

struct Work {
    sink: Sink,
    lost: Arc<AtomicU64>,
    count_lost: Box<dyn Fn(u64) + Send>,
    complain: Complain,
    /// That records are lost.
    said: bool,
}

impl Work {
    fn run(mut self, waiting: &Receiver<Record>) {
        while let Ok(record) = waiting.recv() {
            self.write(&record);
            // A burst is brought to the disk together.
            while let Ok(record) = waiting.try_recv() {
                self.write(&record);
            }
            if let Err(error) = self.sink.sync() {
                self.say(&error);
            }
            if let Some(why) = self.sink.take_stuck() {
                (self.complain)(Complaint::Grows(&why));
            }
        }
    }

    fn write(&mut self, record: &Record) {
        let dropped = self.lost.swap(0, Ordering::Relaxed);
        if let Err(error) = self.sink.write(record, dropped) {
            // It waits for the next record that can be written.
            self.lost.fetch_add(dropped + 1, Ordering::Relaxed);
            (self.count_lost)(1);
            self.say(&error);
        }
    }

    fn say(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.said, true) {
            (self.complain)(Complaint::Lost(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::edge::audit::file::Rotation;

    const AMPLE: Duration = Duration::from_secs(30);

    fn record(number: u32) -> Record {
        Record {
            open_json: format!("{{\"n\":{number}"),
            said: String::new(),
            is_warning: false,
            fields: Vec::new(),
        }
    }

    fn writer(path: PathBuf) -> (Writer, Receiver<String>, Arc<AtomicU64>) {
        let (complain, complaints) = mpsc::channel();
        let counted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&counted);
        let writer = Writer::begin(
            Sink::file(path, 0o600, Rotation::default()),
            move |more| _ = count.fetch_add(more, Ordering::SeqCst),
            Box::new(move |complaint| _ = complain.send(format!("{complaint:?}"))),
        );
        (writer.expect("a thread"), complaints, counted)
    }

    #[test]
    fn a_full_disk_is_said_once_and_counted_each_time() {
        let (mut full, complaints, counted) = writer("/dev/full".into());
        for number in 0..10 {
            assert!(full.write(record(number)));
        }
        full.finish(AMPLE);
        let complaints: Vec<_> = complaints.try_iter().collect();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert_eq!(counted.load(Ordering::SeqCst), 10);
    }

    #[test]
    fn what_was_lost_stands_in_the_next_record() {
        let path = std::env::temp_dir().join(format!("lameduck-{}-lost", std::process::id()));
        let (mut writer, complaints, _) = writer(path.clone());
        writer.missed(3);
        assert!(writer.write(record(1)));
        assert!(writer.write(record(2)));
        writer.finish(AMPLE);
        let text = fs::read_to_string(&path).expect("written");
        let _ = fs::remove_file(&path);
        assert_eq!(text, "{\"n\":1,\"dropped\":3}\n{\"n\":2}\n");
        assert_eq!(complaints.try_iter().count(), 0);
    }
}
