//! Altered segments and chunks: a read returns an error or exactly the sealed bytes.
//!
//! `fixture` seals records of any length in segments, `cases` lists the alterations, and `probe`
//! reads each altered stream: whole, in order, and chunk by chunk.

mod cases;
mod fixture;
mod probe;

use std::collections::BTreeSet;
use std::io::Read;

use chartlock::internals::envelope::{CHUNK, SEGMENT};
use chartlock::{Error, RecordId};

use self::cases::Cases;
use self::fixture::{Stream, put_segmented};
use self::probe::{Probe, Tally};
use crate::raw;
use crate::stage::{Stage, content, record, session_on};

/// Environment variable that enables the long form of the tests, which reads the whole record in
/// every case.
const EVERYTHING: &str = "CHARTLOCK_EVERY_CHUNK";

/// Record of two versions, and other streams of the same length. The other streams come from before
/// a re-encryption, from another record and from another patient.
struct Fixture {
    stage: Stage,
    contents: [Vec<u8>; 2],
    versions: [Stream; 2],
    others: Vec<Stream>,
}

impl Fixture {
    fn new(stage: Stage, length: usize) -> Self {
        let vault = stage.create();
        let session = session_on(&vault);
        let [ours, other, patient] = ids();
        for id in [&ours, &other, &patient] {
            session.put(id, b"1").unwrap();
            session.put(id, b"2").unwrap();
        }
        let contents = [content(1, length), content(2, length)];
        // Empty content has no segments that could be mixed in, so the other records have one byte.
        let foreign = content(3, length.max(1));
        let others = vec![
            put_segmented(&stage, &ours, 2, &contents[1]),
            put_segmented(&stage, &other, 2, &foreign),
            put_segmented(&stage, &patient, 2, &foreign),
        ];
        let versions = [1, 2]
            .map(|version| put_segmented(&stage, &ours, version, &contents[version as usize - 1]));
        Self {
            stage,
            contents,
            versions,
            others,
        }
    }

    /// Reads a version with every alteration of its stream.
    fn run_cases(&self, version: usize) -> [Tally; 3] {
        let [ours, ..] = ids();
        let (stream, other) = (&self.versions[version - 1], &self.versions[2 - version]);
        let content = &self.contents[version - 1];
        let probe = Probe::new(&self.stage, (&ours, version as u64), content, stream);
        let every = std::env::var_os(EVERYTHING).is_some();
        // Opening intact content takes longest, so larger records are read whole in fewer cases.
        let stride = 8 * content.len().div_ceil(CHUNK).max(1);
        let now_and_then = |case: usize| every || case % stride < 2;

        let mut segments = Cases::of(&stream.segments);
        segments.segments();
        let mut chunks = Cases::of(&stream.segments);
        chunks.lengths(&stream.segments);
        chunks.chunks();
        let mut mixed = Cases::of(&stream.segments);
        for foreign in self.others.iter().chain([other]) {
            mixed.mixed_with(&foreign.segments);
        }
        [
            probe.all(&segments.states, |_| true),
            probe.all(&chunks.states, now_and_then),
            probe.all(&mixed.states, now_and_then),
        ]
    }
}

fn ids() -> [RecordId; 3] {
    let ids = [("MRN-1", "ours"), ("MRN-1", "another"), ("MRN-2", "ours")];
    ids.map(|(patient, name)| record(patient, name))
}

/// Returns the number of cases and of harmless cases, for each kind of alteration. A harmless case
/// adds a value that no read requests: far after the last segment, or after empty content.
fn run_cases(length: usize, stages: &[fn() -> Stage], versions: &[usize]) -> [[u64; 2]; 3] {
    let mut tallies = BTreeSet::new();
    for stage in stages {
        let fixture = Fixture::new(stage(), length);
        for version in versions {
            let tallies_of = fixture.run_cases(*version);
            tallies.insert(tallies_of.map(|tally| [tally.cases, tally.harmless]));
        }
    }
    let first = tallies.pop_first().unwrap();
    assert!(
        tallies.is_empty(),
        "the counts differ between versions or cipher suites"
    );
    first
}

const EITHER: [fn() -> Stage; 2] = [Stage::memory, Stage::memory_other_suite];

#[test]
fn altered_streams_of_up_to_two_chunks_are_detected() {
    for (length, expected) in [
        (0, [[4, 4], [0, 0], [4, 4]]),
        (1, [[7, 3], [21, 0], [16, 4]]),
        (CHUNK - 1, [[7, 3], [27, 0], [16, 4]]),
        (CHUNK, [[7, 3], [27, 0], [16, 4]]),
        (CHUNK + 1, [[9, 4], [52, 0], [36, 4]]),
    ] {
        assert_eq!(
            run_cases(length, &EITHER, &[1, 2]),
            expected,
            "{length} bytes"
        );
    }
}

#[test]
fn altered_streams_of_one_segment_are_detected() {
    let expected = [[9, 4], [749, 0], [372, 4]];
    assert_eq!(run_cases(SEGMENT - 1, &EITHER[..1], &[2]), expected);
    assert_eq!(run_cases(SEGMENT, &EITHER[1..], &[2]), expected);
}

#[test]
fn altered_streams_of_two_segments_are_detected() {
    let expected = [[19, 5], [890, 0], [412, 8]];
    assert_eq!(run_cases(SEGMENT + 1, &EITHER[1..], &[2]), expected);
}

#[test]
fn altered_streams_of_several_segments_are_detected() {
    let expected = [[65, 9], [5025, 0], [1628, 16]];
    assert_eq!(run_cases(3 * SEGMENT + 5, &EITHER[1..], &[2]), expected);
}

/// Replaces a record's stream id: reads must return none of the other stream's content.
#[test]
fn record_with_another_stream_id_returns_no_content() {
    for length in [0, 1, CHUNK, CHUNK + 1, SEGMENT + 1] {
        let fixture = Fixture::new(Stage::memory(), length);
        let [ours, ..] = ids();
        let named_at = &fixture.versions[1].named_at;
        let value = raw::objects_of(&fixture.stage.storage, named_at)
            .remove(named_at)
            .unwrap();
        let chart_id = &named_at[1..17];
        for stream in fixture.others.iter().chain([&fixture.versions[0]]) {
            let mut altered = value.clone();
            altered[96..112].copy_from_slice(&stream.prefix[17..]);
            raw::put(&fixture.stage.storage, named_at, &altered);
            let vault = fixture.stage.open();
            let expected = match stream.prefix[1..17] == *chart_id {
                _ if length == 0 => None,
                true => Some(Error::NotAuthentic),
                false => Some(Error::SegmentMissing),
            };
            assert_eq!(session_on(&vault).get(&ours).err(), expected);
            let reader = session_on(&vault).reader(&ours).unwrap().unwrap();
            for offset in (0..length).step_by(CHUNK) {
                let read = reader.read_at(offset as u64, &mut [0; 9]);
                assert_eq!(read.err(), expected);
            }
        }
    }
}

/// Alters chunks of padding: `get` detects the damage, and a reader does not read these chunks.
#[test]
fn altered_padding_fails_get_but_not_reader() {
    let fixture = Fixture::new(Stage::memory_other_suite(), 5 * SEGMENT + 1);
    let [ours, ..] = ids();
    let stream = &fixture.versions[1];
    let (last, at) = (stream.segments.last().unwrap(), stream.key(5));
    assert_eq!(
        last.len(),
        2 * (CHUNK + 16),
        "one chunk with a byte of content, and one of padding"
    );
    for place in [CHUNK + 16, last.len() - 1] {
        let mut altered = last.clone();
        altered[place] ^= 1;
        raw::put(&fixture.stage.storage, &at, &altered);
        let vault = fixture.stage.open();
        let session = session_on(&vault);
        assert_eq!(session.get(&ours).err(), Some(Error::NotAuthentic));
        let mut reader = session.reader(&ours).unwrap().unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == fixture.contents[1]);
    }
}
