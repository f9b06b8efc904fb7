//! Nothing that can be done to the segments and chunks of content goes unseen: an error, or exactly
//! the bytes that were sealed.
//!
//! `shelf` seals records of any length in segments, `cases` lists what becomes of them, `probe` reads
//! them: whole, in order, and chunk by chunk.

mod cases;
mod probe;
mod shelf;

use std::collections::BTreeSet;
use std::io::Read;

use chartlock::internals::envelope::{CHUNK, SEGMENT};
use chartlock::{Error, RecordId};

use self::cases::Cases;
use self::probe::{Probe, Tally};
use self::shelf::{Stream, shelve};
use crate::raw;
use crate::stage::{Stage, content, record, session};

/// Set for the long form, which reads all of a record in every case.
const EVERYTHING: &str = "CHARTLOCK_EVERY_CHUNK";

/// A record of two versions, and other content of the same length: in the same version before a
/// re-encryption, in another record, of another patient.
struct Shelf {
    stage: Stage,
    contents: [Vec<u8>; 2],
    versions: [Stream; 2],
    others: Vec<Stream>,
}

impl Shelf {
    fn new(stage: Stage, length: usize) -> Self {
        let vault = stage.create();
        let chart = session(&vault);
        let [ours, other, patient] = ids();
        for id in [&ours, &other, &patient] {
            chart.put(id, b"1").unwrap();
            chart.put(id, b"2").unwrap();
        }
        let contents = [content(1, length), content(2, length)];
        // What is empty has nothing that could be mixed with anything.
        let foreign = content(3, length.max(1));
        let others = vec![
            shelve(&stage, &ours, 2, &contents[1]),
            shelve(&stage, &other, 2, &foreign),
            shelve(&stage, &patient, 2, &foreign),
        ];
        let versions =
            [1, 2].map(|version| shelve(&stage, &ours, version, &contents[version as usize - 1]));
        Self {
            stage,
            contents,
            versions,
            others,
        }
    }

    /// All that can be done to a version's stream.
    fn tried(&self, version: usize) -> [Tally; 3] {
        let [ours, ..] = ids();
        let (stream, other) = (&self.versions[version - 1], &self.versions[2 - version]);
        let content = &self.contents[version - 1];
        let probe = Probe::new(&self.stage, (&ours, version as u64), content, stream);
        let every = std::env::var_os(EVERYTHING).is_some();
        // Opening what is intact takes longest: with more of it, fewer cases read all of it.
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

/// Cases, and those of them that take nothing away: something stands further behind the last segment
/// than anybody looks, or behind content that has none.
fn tried(length: usize, stages: &[fn() -> Stage], versions: &[usize]) -> [[u64; 2]; 3] {
    let mut tallies = BTreeSet::new();
    for stage in stages {
        let shelf = Shelf::new(stage(), length);
        for version in versions {
            let tallies_of = shelf.tried(*version);
            tallies.insert(tallies_of.map(|tally| [tally.cases, tally.harmless]));
        }
    }
    let first = tallies.pop_first().unwrap();
    assert!(tallies.is_empty(), "as many of each version and suite");
    first
}

const EITHER: [fn() -> Stage; 2] = [Stage::memory, Stage::memory_other_suite];

#[test]
fn of_one_chunk_or_two() {
    for (length, expected) in [
        (0, [[4, 4], [0, 0], [4, 4]]),
        (1, [[7, 3], [21, 0], [16, 4]]),
        (CHUNK - 1, [[7, 3], [27, 0], [16, 4]]),
        (CHUNK, [[7, 3], [27, 0], [16, 4]]),
        (CHUNK + 1, [[9, 4], [52, 0], [36, 4]]),
    ] {
        assert_eq!(tried(length, &EITHER, &[1, 2]), expected, "{length} bytes");
    }
}

#[test]
fn of_one_segment() {
    let expected = [[9, 4], [749, 0], [372, 4]];
    assert_eq!(tried(SEGMENT - 1, &EITHER[..1], &[2]), expected);
    assert_eq!(tried(SEGMENT, &EITHER[1..], &[2]), expected);
}

#[test]
fn of_two_segments() {
    let expected = [[19, 5], [890, 0], [412, 8]];
    assert_eq!(tried(SEGMENT + 1, &EITHER[1..], &[2]), expected);
}

#[test]
fn of_several_segments() {
    let expected = [[65, 9], [5025, 0], [1628, 16]];
    assert_eq!(tried(3 * SEGMENT + 5, &EITHER[1..], &[2]), expected);
}

/// A record that names another stream reads nothing of it.
#[test]
fn of_another_name() {
    for length in [0, 1, CHUNK, CHUNK + 1, SEGMENT + 1] {
        let shelf = Shelf::new(Stage::memory(), length);
        let [ours, ..] = ids();
        let named_at = &shelf.versions[1].named_at;
        let value = raw::objects_of(&shelf.stage.storage, named_at)
            .remove(named_at)
            .unwrap();
        let chart = &named_at[1..17];
        for stream in shelf.others.iter().chain([&shelf.versions[0]]) {
            let mut altered = value.clone();
            altered[96..112].copy_from_slice(&stream.prefix[17..]);
            raw::put(&shelf.stage.storage, named_at, &altered);
            let vault = shelf.stage.open();
            let expected = match stream.prefix[1..17] == *chart {
                _ if length == 0 => None,
                true => Some(Error::NotAuthentic),
                false => Some(Error::SegmentMissing),
            };
            assert_eq!(session(&vault).get(&ours).err(), expected);
            let reader = session(&vault).reader(&ours).unwrap().unwrap();
            for offset in (0..length).step_by(CHUNK) {
                let read = reader.read_at(offset as u64, &mut [0; 9]);
                assert_eq!(read.err(), expected);
            }
        }
    }
}

/// Chunks that hold padding only are no content: a whole read misses them, a reader does not ask.
#[test]
fn of_padding() {
    let shelf = Shelf::new(Stage::memory_other_suite(), 5 * SEGMENT + 1);
    let [ours, ..] = ids();
    let stream = &shelf.versions[1];
    let (last, at) = (stream.segments.last().unwrap(), stream.key(5));
    assert_eq!(
        last.len(),
        2 * (CHUNK + 16),
        "a chunk of a byte, and one of none"
    );
    for place in [CHUNK + 16, last.len() - 1] {
        let mut altered = last.clone();
        altered[place] ^= 1;
        raw::put(&shelf.stage.storage, &at, &altered);
        let vault = shelf.stage.open();
        let chart = session(&vault);
        assert_eq!(chart.get(&ours).err(), Some(Error::NotAuthentic));
        let mut reader = chart.reader(&ours).unwrap().unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == shelf.contents[1]);
    }
}
