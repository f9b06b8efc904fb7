//! What is read touches the segments that it needs, each once, and no other.

use std::io::{Read, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use chartlock::internals::envelope::{CHUNK, SEGMENT};
use chartlock::storage::{FaultAction, FaultPoint, Faulty};
use chartlock::{RecordId, Vault};

use crate::common::Fixed;
use crate::stage::{Stage, content, record, session};

/// Indexes of segments, in the order in which they were asked for.
type Asked = Arc<Mutex<Vec<u32>>>;

/// A range as a viewer asks for it.
const RANGE: usize = 256 * 1024;

everywhere!(
    a_range_touches_one_segment_or_two,
    a_long_range_touches_its_own_segments,
    in_order_each_segment_once,
    whole_each_segment_once,
    one_thread_reads_nothing_ahead,
    metadata_touch_no_segment,
);

/// A vault whose reads of segments are noted.
fn noting(stage: &Stage, threads: usize) -> (Vault, Asked) {
    let asked = Asked::default();
    let note = Arc::clone(&asked);
    let storage = Faulty::new(stage.shared(), move |_, moment| {
        if let FaultPoint::Read(keys) = moment {
            let segments = keys.iter().filter(|key| key[0] == b's');
            let indexes = segments.map(|key| u32::from_be_bytes(*key.last_chunk().unwrap()));
            note.lock().unwrap().extend(indexes);
        }
        FaultAction::Proceed
    });
    let options = stage.options().threads(NonZeroUsize::new(threads).unwrap());
    (options.open(storage, &Fixed(1)).unwrap(), asked)
}

/// What was asked for since this was called last, but for what is looked for behind the last one.
fn taken(asked: &Asked, segments: usize) -> Vec<u32> {
    let mut asked = std::mem::take(&mut *asked.lock().unwrap());
    asked.retain(|index| *index < segments as u32);
    asked
}

/// A record of so many segments, the last one not full.
fn put(stage: &Stage, segments: usize) -> (RecordId, Vec<u8>) {
    let id = record("MRN-1", &format!("Media/{segments}"));
    let content = content(segments as u64, segments * SEGMENT - SEGMENT / 3);
    session(&stage.open()).put(&id, &content).unwrap();
    (id, content)
}

fn a_range_touches_one_segment_or_two(stage: &Stage) {
    drop(stage.create());
    let (vault, asked) = noting(stage, 4);
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
            let reader = session(&vault).reader(&id).unwrap().unwrap();
            assert_eq!(reader.read_at(offset as u64, &mut part), Ok(expected.len()));
            assert!(part[..expected.len()] == *expected);
            drop(reader);
            assert_eq!(taken(&asked, segments), needed);

            let mut reader = session(&vault).reader(&id).unwrap().unwrap();
            reader.seek(SeekFrom::Start(offset as u64)).unwrap();
            let mut read = Vec::new();
            reader
                .by_ref()
                .take(RANGE as u64)
                .read_to_end(&mut read)
                .unwrap();
            assert!(read == expected);
            drop(reader);
            assert_eq!(taken(&asked, segments), needed);
            assert!(needed.len() <= 2);
        }
    }
}

fn a_long_range_touches_its_own_segments(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 8);
    for threads in [1, 2, 64] {
        let (vault, asked) = noting(stage, threads);
        let reader = session(&vault).reader(&id).unwrap().unwrap();
        let mut part = vec![0; 3 * SEGMENT + 2];
        assert_eq!(
            reader.read_at(SEGMENT as u64 - 1, &mut part),
            Ok(part.len())
        );
        assert!(part[..] == content[SEGMENT - 1..4 * SEGMENT + 1]);
        drop(reader);
        let mut touched = taken(&asked, 8);
        touched.sort_unstable();
        assert_eq!(touched, [0, 1, 2, 3, 4], "{threads} threads");
    }
}

fn in_order_each_segment_once(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 12);
    for threads in [1, 2, 64] {
        let (vault, asked) = noting(stage, threads);
        let mut reader = session(&vault).reader(&id).unwrap().unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == content);
        let mut touched = taken(&asked, 12);
        touched.sort_unstable();
        assert_eq!(touched, (0..12).collect::<Vec<_>>(), "{threads} threads");
        // And by small ranges that follow each other.
        let reader = session(&vault).reader(&id).unwrap().unwrap();
        let mut part = vec![0; CHUNK + 5];
        for (place, expected) in content.chunks(CHUNK + 5).enumerate() {
            let offset = place * (CHUNK + 5);
            assert_eq!(reader.read_at(offset as u64, &mut part), Ok(expected.len()));
        }
        let mut touched = taken(&asked, 12);
        touched.sort_unstable();
        assert_eq!(touched, (0..12).collect::<Vec<_>>(), "{threads} threads");
    }
}

fn whole_each_segment_once(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 8);
    for threads in [1, 2, 64] {
        let (vault, asked) = noting(stage, threads);
        assert!(session(&vault).get(&id).unwrap().unwrap()[..] == content);
        let mut touched = taken(&asked, 8);
        touched.sort_unstable();
        assert_eq!(touched, (0..8).collect::<Vec<_>>(), "{threads} threads");
    }
}

fn one_thread_reads_nothing_ahead(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 8);
    let (vault, asked) = noting(stage, 1);
    let mut reader = session(&vault).reader(&id).unwrap().unwrap();
    let mut part = vec![0; SEGMENT / 2];
    for index in 0..content.len() / SEGMENT {
        for _ in 0..2 {
            reader.read_exact(&mut part).unwrap();
        }
        assert_eq!(taken(&asked, 8), [index as u32]);
    }
}

fn metadata_touch_no_segment(stage: &Stage) {
    drop(stage.create());
    let (id, content) = put(stage, 8);
    let (vault, asked) = noting(stage, 4);
    let chart = session(&vault);
    chart.put(&id, b"later").unwrap();
    let reader = chart.reader_of_version(&id, 1).unwrap().unwrap();
    assert_eq!(reader.len(), content.len() as u64);
    assert_eq!(chart.history(&id).unwrap().len(), 2);
    assert_eq!(chart.list(id.subject()).unwrap().count(), 1);
    assert_eq!(reader.read_at(u64::MAX, &mut [0; 9]), Ok(0));
    assert_eq!(reader.read_at(0, &mut []), Ok(0));
    assert!(taken(&asked, 9).is_empty());
}
