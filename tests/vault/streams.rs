//! Streamed records: written through `Write` and `Read`, read through `Read`, `Seek` and `read_at`.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use chartlock::input::InputField;
use chartlock::internals::clock::Clock;
use chartlock::internals::envelope::{CHUNK, SEGMENT};

use chartlock::{Error, Precondition};

use crate::common::clock::ManualClock;
use crate::common::invalid::invalid_text;
use crate::common::objects::keys_of;
use crate::stage::{Stage, content, record, session_on};

everywhere!(
    streamed_record_of_every_edge_length_reads_back,
    streamed_record_in_small_steps_reads_back,
    dropped_writer_leaves_nothing,
    failing_source_leaves_nothing,
    upload_to_chart_that_another_handle_reopened_succeeds,
    upload_after_24_hours_returns_upload_expired,
    writer_with_unmet_precondition_returns_conflict,
    writer_stores_content_type_and_labels,
    get_beyond_record_limit_returns_beyond_limit,
    streamed_record_reads_back_with_any_number_of_threads,
);

const LENGTHS: [usize; 10] = [
    0,
    1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    SEGMENT - 1,
    SEGMENT,
    SEGMENT + 1,
    5 * SEGMENT,
    9 * SEGMENT + 5,
];

fn objects(stage: &Stage, prefix: &[u8]) -> usize {
    keys_of(&stage.storage, prefix).len()
}

fn streamed_record_of_every_edge_length_reads_back(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Media/1");
    for (length, version) in LENGTHS.into_iter().zip(1..) {
        let content = content(length as u64, length);
        assert_eq!(session.put_reader(&id, &content[..]), Ok(version));
        let mut reader = session.reader(&id).unwrap().unwrap();
        assert_eq!(reader.len(), length as u64);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == content);
        assert!(*session.get(&id).unwrap().unwrap() == content);
        let mut last = [7; 3];
        let bytes = reader
            .read_at(length.saturating_sub(2) as u64, &mut last)
            .unwrap();
        assert!(last[..bytes] == content[length.saturating_sub(2)..]);
        assert_eq!(reader.read_at(length as u64, &mut last), Ok(0));
        assert_eq!(reader.read_at(u64::MAX, &mut last), Ok(0));
    }
    let lengths = session.history(&id).unwrap();
    let lengths: Vec<_> = lengths.iter().filter_map(|info| info.length()).collect();
    assert_eq!(lengths, LENGTHS.map(|length| length as u64));
    assert_eq!(objects(stage, b"w"), 0);
}

fn streamed_record_in_small_steps_reads_back(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Media/1");
    let content = content(1, 2 * SEGMENT + 4711);
    let mut writer = session.writer(&id);
    for part in content.chunks(70_001) {
        writer.write_all(part).unwrap();
    }
    assert!(
        session.get(&id).unwrap().is_none(),
        "readable before `finish`"
    );
    assert_eq!(writer.finish(), Ok(1));
    let mut reader = session.reader_of_version(&id, 1).unwrap().unwrap();
    for offset in [
        0,
        1,
        CHUNK - 1,
        CHUNK,
        SEGMENT - 2,
        2 * SEGMENT,
        content.len(),
    ] {
        reader.seek(SeekFrom::Start(offset as u64)).unwrap();
        let mut part = Vec::new();
        reader.by_ref().take(70_000).read_to_end(&mut part).unwrap();
        let end = content.len().min(offset + 70_000);
        assert!(part == content[offset..end]);
    }
    assert_eq!(
        reader.seek(SeekFrom::End(-1)).unwrap(),
        content.len() as u64 - 1
    );
    let before = reader.seek(SeekFrom::Current(i64::MIN)).unwrap_err();
    assert_eq!(before.kind(), ErrorKind::InvalidInput);
}

fn dropped_writer_leaves_nothing(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Media/1");
    session.put(&id, b"before").unwrap();
    for length in [10, CHUNK, CHUNK + 1, 9 * SEGMENT] {
        let mut writer = session.writer(&id);
        writer.write_all(&content(2, length)).unwrap();
        drop(writer);
        assert_eq!(&session.get(&id).unwrap().unwrap()[..], b"before");
        assert_eq!((objects(stage, b"w"), objects(stage, b"s")), (0, 0));
    }
}

/// The first handle still caches the keys of the erased chart.
fn upload_to_chart_that_another_handle_reopened_succeeds(stage: &Stage) {
    let session = session_on(&stage.create());
    let id = record("MRN-1", "Media/1");
    session.put(&id, b"before").unwrap();
    let other = session_on(&stage.open());
    other.erase_subject(id.subject(), "asked for").unwrap();
    other.reopen_chart(id.subject()).unwrap();
    let body = content(3, SEGMENT);
    assert_eq!(session.put_reader(&id, body.as_slice()), Ok(1));
    assert!(other.get(&id).unwrap().unwrap()[..] == body[..]);
}

/// A source that returns this many bytes and then fails.
struct FailingSource(usize);

impl Read for FailingSource {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let bytes = self.0.min(out.len());
        self.0 -= bytes;
        Ok(bytes)
    }
}

fn failing_source_leaves_nothing(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Media/1");
    for length in [0, CHUNK + 1, 9 * SEGMENT] {
        let failed = session.put_reader(&id, FailingSource(length));
        assert_eq!(failed, Err(Error::Source(ErrorKind::ConnectionReset)));
        let mut writer = session.writer(&id);
        assert!(writer.read_from(FailingSource(length)).is_err());
        let later = writer.write_all(b"more").unwrap_err();
        assert_eq!(later.kind(), ErrorKind::ConnectionReset);
        let kept = Err(Error::Source(ErrorKind::ConnectionReset));
        assert_eq!(writer.finish(), kept);
        assert!(session.get(&id).unwrap().is_none());
        assert_eq!((objects(stage, b"w"), objects(stage, b"s")), (0, 0));
    }
}

/// Exceeds the age limit: after 24 hours, the collector treats an upload as abandoned.
fn upload_after_24_hours_returns_upload_expired(stage: &Stage) {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    drop(stage.create());
    let clock = Arc::new(ManualClock::at(0));
    let options = stage.options().clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let vault = stage.open_by(options);
    let session = session_on(&vault);
    let id = record("MRN-1", "Media/1");
    let after = |time, length| {
        let mut writer = session.writer(&id);
        writer.write_all(&content(7, length)).unwrap();
        clock.advance(time);
        writer.finish()
    };
    assert_eq!(after(DAY, CHUNK + 1), Ok(1));
    assert_eq!(after(DAY + 1, CHUNK + 1), Err(Error::UploadExpired));
    assert_eq!((objects(stage, b"w"), objects(stage, b"s")), (0, 1));
    assert!(*session.get(&id).unwrap().unwrap() == content(7, CHUNK + 1));
    // Content that fits into the record is sent only by `finish`, so the upload cannot expire.
    assert_eq!(after(DAY + 1, CHUNK), Ok(2));
}

fn writer_with_unmet_precondition_returns_conflict(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let id = record("MRN-1", "Media/1");
    let large = content(3, CHUNK + 1);
    let put = |expected| {
        let mut writer = session.writer(&id).expecting(expected);
        writer.write_all(&large)?;
        Ok::<u64, io::Error>(writer.finish()?)
    };
    let error = |result: io::Result<u64>| result.unwrap_err().downcast::<Error>().unwrap();
    assert_eq!(error(put(Precondition::Version(1))), Error::Conflict);
    assert_eq!(put(Precondition::Absent).unwrap(), 1);
    assert_eq!(error(put(Precondition::Absent)), Error::Conflict);
    assert_eq!(put(Precondition::Version(1)).unwrap(), 2);
    // The precondition fails only after all segments are stored. The writer must remove these
    // segments.
    let mut writer = session.writer(&id).expecting(Precondition::Version(2));
    writer.write_all(&large).unwrap();
    session.put(&id, b"another's").unwrap();
    assert_eq!(writer.finish(), Err(Error::Conflict));
    assert_eq!((objects(stage, b"w"), objects(stage, b"s")), (0, 2));
    session.retract(&id).unwrap();
    assert_eq!(put(Precondition::Absent).unwrap(), 5);
}

fn writer_stores_content_type_and_labels(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    for (name, length) in [("Media/1", 3), ("Media/2", CHUNK + 1)] {
        let id = record("MRN-1", name);
        let writer = session.writer(&id).content_type("application/dicom");
        let mut writer = writer.label("CT").label("axial");
        writer.write_all(&content(4, length)).unwrap();
        writer.finish().unwrap();
        let reader = session.reader(&id).unwrap().unwrap();
        let labels: Vec<_> = reader.info().labels().collect();
        assert_eq!(labels, ["CT", "axial"]);
        assert_eq!(reader.info().content_type(), Some("application/dicom"));

        let mut writer = session.writer(&id).label("");
        let refused = writer
            .write_all(&content(4, length))
            .and_then(|()| Ok(writer.finish()?));
        let refused = refused.unwrap_err().downcast::<Error>().unwrap();
        assert_eq!(refused, invalid_text(InputField::Label, ""));
    }
}

fn get_beyond_record_limit_returns_beyond_limit(stage: &Stage) {
    drop(stage.create());
    let options = stage.options().whole_record_limit(100_000);
    let vault = stage.open_by(options);
    let session = session_on(&vault);
    let id = record("MRN-1", "Media/1");
    session.put(&id, &content(5, 100_000)).unwrap();
    assert_eq!(session.get(&id).unwrap().unwrap().len(), 100_000);
    session.put(&id, &content(5, 100_001)).unwrap();
    assert_eq!(session.get(&id).map(drop), Err(Error::BeyondLimit));
    assert_eq!(
        session.get_version(&id, 2).map(drop),
        Err(Error::BeyondLimit)
    );
    assert_eq!(session.reader(&id).unwrap().unwrap().len(), 100_001);
    assert_eq!(session.history(&id).unwrap().len(), 2);
}

fn streamed_record_reads_back_with_any_number_of_threads(stage: &Stage) {
    drop(stage.create());
    let content = content(6, 23 * SEGMENT + 12_345);
    for threads in [1, 2, 3, 64] {
        let options = stage.options().threads(NonZeroUsize::new(threads).unwrap());
        let vault = stage.open_by(options);
        let session = session_on(&vault);
        let id = record("MRN-1", "Media/1");
        session.put_reader(&id, &content[..]).unwrap();
        assert!(*session.get(&id).unwrap().unwrap() == content);
        let mut reader = session.reader(&id).unwrap().unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == content, "{threads} threads");
    }
}
