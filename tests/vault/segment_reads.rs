//! Segment reads: a read fetches only the needed segments, and each of them once.

use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::internals::envelope::{CHUNK, SEGMENT};
use chartlock::storage::{FaultAction, FaultPoint, Faulty, StorageError};
use chartlock::{Error, RecordId, Vault};

use crate::common::Fixed;
use crate::stage::{Stage, content, record, session_on};

/// Segment indexes in the order in which the vault read them.
type ReadLog = Arc<Mutex<Vec<u32>>>;

/// Length in bytes of a range that an image viewer reads.
const RANGE: usize = 256 * 1024;
/// Name of the thread that calls the vault.
const CALLER: &str = "caller";

everywhere!(
    short_range_reads_at_most_two_segments,
    long_range_reads_only_its_segments,
    sequential_read_reads_each_segment_once,
    sequential_read_continues_after_a_pause,
    get_reads_each_segment_once,
    single_threaded_reader_does_not_read_ahead,
    metadata_reads_no_segment,
);

/// Opens a vault that logs each segment that it reads.
fn logging_vault(stage: &Stage, threads: usize) -> (Vault, ReadLog) {
    let log = ReadLog::default();
    let hook_log = Arc::clone(&log);
    let storage = Faulty::new(stage.shared(), move |_, point| {
        if let FaultPoint::Read(keys) = point {
            let segments = keys.iter().filter(|key| key[0] == b's');
            let indexes = segments.map(|key| u32::from_be_bytes(*key.last_chunk().unwrap()));
            hook_log.lock().unwrap().extend(indexes);
        }
        FaultAction::Proceed
    });
    let options = stage.options().threads(NonZeroUsize::new(threads).unwrap());
    (options.open(storage, &Fixed(1)).unwrap(), log)
}

/// Takes the logged indexes, without the probe for a segment after the last one.
fn take_log(log: &ReadLog, segments: usize) -> Vec<u32> {
    let mut log = std::mem::take(&mut *log.lock().unwrap());
    log.retain(|index| *index < segments as u32);
    log
}

/// Puts a record of this many segments, the last one partly filled.
fn put(stage: &Stage, segments: usize) -> (RecordId, Vec<u8>) {
    let id = record("MRN-1", &format!("Media/{segments}"));
    let content = content(segments as u64, segments * SEGMENT - SEGMENT / 3);
    session_on(&stage.open()).put(&id, &content).unwrap();
    (id, content)
}

fn short_range_reads_at_most_two_segments(stage: &Stage) {
    drop(stage.create());
    let (vault, log) = logging_vault(stage, 4);
    for segments in [1, 8, 40] {
        let (id, content) = put(stage, segments);
        let mut part = vec![0; RANGE];
        for offset in [
            0,
            1,
            SEGMENT - RANGE,
            SEGMENT - 1,
            SEGMENT,
            content.len() / 2,
            content.len() - RANGE,
        ] {
            let end = content.len().min(offset + RANGE);
            let Some(expected) = content.get(offset..end) else {
                continue;
            };
            let needed = offset / SEGMENT..=(end - 1) / SEGMENT;
            let needed: Vec<_> = needed.map(|index| index as u32).collect();
            let reader = session_on(&vault).reader(&id).unwrap().unwrap();
            assert_eq!(reader.read_at(offset as u64, &mut part), Ok(expected.len()));
            assert!(part[..expected.len()] == *expected);
            drop(reader);
            assert_eq!(take_log(&log, segments), needed);

            let mut reader = session_on(&vault).reader(&id).unwrap().unwrap();
            reader.seek(SeekFrom::Start(offset as u64)).unwrap();
            let mut read = Vec::new();
            reader
                .by_ref()
                .take(RANGE as u64)
                .read_to_end(&mut read)
                .unwrap();
            assert!(read == expected);
            drop(reader);
            assert_eq!(take_log(&log, segments), needed);
            assert!(needed.len() <= 2);
        }
    }
}

fn long_range_reads_only_its_segments(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 8);
    for threads in [1, 2, 64] {
        let (vault, log) = logging_vault(stage, threads);
        let reader = session_on(&vault).reader(&id).unwrap().unwrap();
        let mut part = vec![0; 3 * SEGMENT + 2];
        assert_eq!(
            reader.read_at(SEGMENT as u64 - 1, &mut part),
            Ok(part.len())
        );
        assert!(part[..] == content[SEGMENT - 1..4 * SEGMENT + 1]);
        drop(reader);
        let mut touched = take_log(&log, 8);
        touched.sort_unstable();
        assert_eq!(touched, [0, 1, 2, 3, 4], "{threads} threads");
    }
}

fn sequential_read_reads_each_segment_once(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 12);
    for threads in [1, 2, 64] {
        let (vault, log) = logging_vault(stage, threads);
        let mut reader = session_on(&vault).reader(&id).unwrap().unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == content);
        let mut touched = take_log(&log, 12);
        touched.sort_unstable();
        assert_eq!(touched, (0..12).collect::<Vec<_>>(), "{threads} threads");
        // Read the same content again in consecutive small ranges.
        let reader = session_on(&vault).reader(&id).unwrap().unwrap();
        let mut part = vec![0; CHUNK + 5];
        for (place, expected) in content.chunks(CHUNK + 5).enumerate() {
            let offset = place * (CHUNK + 5);
            assert_eq!(reader.read_at(offset as u64, &mut part), Ok(expected.len()));
        }
        let mut touched = take_log(&log, 12);
        touched.sort_unstable();
        assert_eq!(touched, (0..12).collect::<Vec<_>>(), "{threads} threads");
    }
}

/// Reads a record with a pause in which the reader's threads end.
fn sequential_read_continues_after_a_pause(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 12);
    let (vault, log) = logging_vault(stage, 2);
    let mut reader = session_on(&vault).reader(&id).unwrap().unwrap();
    let mut read = vec![0; 4 * SEGMENT + 1];
    reader.read_exact(&mut read).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    reader.read_to_end(&mut read).unwrap();
    assert!(read == content);
    let mut touched = take_log(&log, 12);
    touched.sort_unstable();
    assert_eq!(touched, (0..12).collect::<Vec<_>>());
}

fn get_reads_each_segment_once(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 8);
    for threads in [1, 2, 64] {
        let (vault, log) = logging_vault(stage, threads);
        assert!(session_on(&vault).get(&id).unwrap().unwrap()[..] == content);
        let mut touched = take_log(&log, 8);
        touched.sort_unstable();
        assert_eq!(touched, (0..8).collect::<Vec<_>>(), "{threads} threads");
    }
}

fn single_threaded_reader_does_not_read_ahead(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 8);
    let (vault, log) = logging_vault(stage, 1);
    let mut reader = session_on(&vault).reader(&id).unwrap().unwrap();
    let mut part = vec![0; SEGMENT / 2];
    for index in 0..content.len() / SEGMENT {
        for _ in 0..2 {
            reader.read_exact(&mut part).unwrap();
        }
        assert_eq!(take_log(&log, 8), [index as u32]);
    }
}

fn metadata_reads_no_segment(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 8);
    let (vault, log) = logging_vault(stage, 4);
    let session = session_on(&vault);
    session.put(&id, b"later").unwrap();
    let reader = session.reader_of_version(&id, 1).unwrap().unwrap();
    assert_eq!(reader.len(), content.len() as u64);
    assert_eq!(session.history(&id).unwrap().len(), 2);
    assert_eq!(session.list(id.subject()).unwrap().count(), 1);
    assert_eq!(reader.read_at(u64::MAX, &mut [0; 9]), Ok(0));
    assert_eq!(reader.read_at(0, &mut []), Ok(0));
    assert!(take_log(&log, 9).is_empty());
}

/// A read changes nothing, so that its failure is that of the storage, whatever ended it.
#[test]
fn panic_of_the_storage_on_a_reader_thread_is_a_storage_error() {
    let stage = Stage::memory();
    drop(stage.create());
    let (id, _) = put(&stage, 12);
    let storage = Faulty::new(stage.shared(), |_, point| match point {
        FaultPoint::Read(keys) if keys.iter().any(|key| key[0] == b's') => {
            let is_own_thread = std::thread::current().name() != Some(CALLER);
            assert!(!is_own_thread, "a defect of the storage");
            FaultAction::Proceed
        }
        _ => FaultAction::Proceed,
    });
    let options = stage.options().threads(NonZeroUsize::new(2).unwrap());
    let session = session_on(&options.open(storage, &Fixed(1)).unwrap());
    let caller = std::thread::Builder::new().name(CALLER.into());
    let read = move || {
        let mut reader = session.reader(&id).unwrap().unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).map(|_| read)
    };
    let read = caller.spawn(read).unwrap().join().unwrap();
    let error = read.unwrap_err().downcast::<Error>().unwrap();
    assert_eq!(error, StorageError::Io(ErrorKind::Other).into());
}
