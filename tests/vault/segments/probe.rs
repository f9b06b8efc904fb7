//! Comparison of an altered stream's reads with the allowed results.

use std::io::{Read, Seek, SeekFrom};
use std::num::NonZeroUsize;

use chartlock::internals::envelope::CHUNK;
use chartlock::storage::{Expect, Storage, Transaction};
use chartlock::{Error, RecordId, RecordReader, Vault};

use super::cases::{State, address_ranges, chunks};
use super::fixture::Stream;
use crate::stage::{Stage, session_on};

/// Version of a record with its content and stream, and two vaults. One vault has a single thread,
/// and the other reads ahead.
pub(super) struct Probe<'a> {
    stage: &'a Stage,
    id: &'a RecordId,
    version: u64,
    content: &'a [u8],
    stream: &'a Stream,
    vaults: [Vault; 2],
}

/// Counts of the states that were read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) cases: u64,
    /// Number of states in which the whole content reads back unchanged.
    pub(super) harmless: u64,
}

impl<'a> Probe<'a> {
    pub(super) fn new(
        stage: &'a Stage,
        (id, version): (&'a RecordId, u64),
        content: &'a [u8],
        stream: &'a Stream,
    ) -> Self {
        let vaults = [1, 2].map(|threads| {
            let options = stage.options().threads(NonZeroUsize::new(threads).unwrap());
            stage.open_by(options)
        });
        Self {
            stage,
            id,
            version,
            content,
            stream,
            vaults,
        }
    }

    /// Reads the stream in each state. At the end, also reads the restored original stream.
    pub(super) fn all(&self, states: &[State<'_>], everything: impl Fn(usize) -> bool) -> Tally {
        let original = &self.stream.segments;
        let mut tally = Tally::default();
        for (case, state) in states.iter().enumerate() {
            let damage = Damage::of(original, state);
            self.store(&damage.altered);
            self.read(&damage, case, everything(case));
            tally.cases += 1;
            tally.harmless += u64::from(damage.first(usize::MAX).is_none());
            let restored = damage.altered.into_iter().map(|(index, _)| {
                let value = original.get(index as usize);
                (index, value.cloned())
            });
            self.store(&restored.collect::<Vec<_>>());
        }
        for case in 0..2 {
            self.read(&Damage::none(original), case, true);
        }
        tally
    }

    fn store(&self, values: &[(u32, Option<Vec<u8>>)]) {
        let change = |(index, value): &(u32, Option<Vec<u8>>)| {
            let at = self.stream.key(*index);
            match value {
                Some(value) => Transaction::new().put(at, &value[..], Expect::Any),
                None => Transaction::new().delete(at),
            }
        };
        let transactions: Vec<_> = values.iter().map(change).collect();
        for done in self.stage.storage.commit(&transactions) {
            done.unwrap();
        }
    }

    /// Reads the whole record, or only the damage and the chunk before the damage, because opening
    /// intact content is slow.
    fn read(&self, damage: &Damage, case: usize, everything: bool) {
        let single_threaded = case.is_multiple_of(2);
        let session = session_on(&self.vaults[case % 2]);
        let first = damage.first(usize::MAX).map(|(place, _)| place);
        if everything || first == Some(0) {
            match session.get_version(self.id, self.version) {
                Ok(found) => {
                    assert_eq!(first, None, "a damaged record was returned");
                    assert!(found.unwrap()[..] == *self.content);
                }
                Err(error) => damage.assert_explained(&error, single_threaded, usize::MAX),
            }
        }
        let reader = session.reader_of_version(self.id, self.version);
        let mut reader = reader.unwrap().unwrap();
        let count = self.content.len().div_ceil(CHUNK);
        let some = case % count.max(1);
        let from = match first {
            _ if everything => 0,
            Some(first) => first.saturating_sub(1),
            None => some,
        };
        self.read_in_order(&mut reader, from * CHUNK, damage, single_threaded);
        for place in 0..count {
            let now_and_then = case.is_multiple_of(8) && place == some;
            if everything || now_and_then || damage.chunks[place].is_some() {
                self.read_chunk(&reader, place, damage);
            }
        }
    }

    /// Asserts that the read of a chunk fails if and only if the chunk is damaged.
    fn read_chunk(&self, reader: &RecordReader, place: usize, damage: &Damage) {
        let mut part = vec![0; CHUNK];
        let read = reader.read_at((place * CHUNK) as u64, &mut part);
        match &damage.chunks[place] {
            None => {
                let original = self.content.chunks(CHUNK).nth(place).unwrap();
                assert_eq!(read, Ok(original.len()));
                assert!(part[..original.len()] == *original);
            }
            Some(error) => assert_eq!(read.as_ref(), Err(error)),
        }
    }

    /// Asserts that a sequential read returns all bytes before the first damage, and no byte after
    /// the damage.
    fn read_in_order(
        &self,
        reader: &mut RecordReader,
        from: usize,
        damage: &Damage,
        single_threaded: bool,
    ) {
        reader.seek(SeekFrom::Start(from as u64)).unwrap();
        let mut part = vec![0; CHUNK / 2 + 77];
        let mut at = from;
        let error = loop {
            match reader.read(&mut part) {
                Ok(0) => break None,
                Ok(bytes) => {
                    let sealed = self.content.get(at..at + bytes);
                    assert!(
                        sealed == Some(&part[..bytes]),
                        "other bytes than the sealed ones"
                    );
                    at += bytes;
                }
                Err(error) => break Some(error.downcast::<Error>().unwrap()),
            }
        };
        let end = self.content.len();
        match (error, damage.first(end)) {
            (None, first) => assert_eq!((at, first), (end, None)),
            (Some(error), Some((place, _))) => {
                damage.assert_explained(&error, single_threaded, end);
                assert!(at <= place * CHUNK && at + part.len() > place * CHUNK);
            }
            (Some(error), None) => panic!("{error:?} for intact content"),
        }
    }
}

/// The differences between a state and the sealed stream.
struct Damage {
    /// Segment indexes whose stored value differs from the sealed value, each with the stored
    /// value.
    altered: Vec<(u32, Option<Vec<u8>>)>,
    /// Error of each chunk; `None` if the chunk opens.
    chunks: Vec<Option<Error>>,
}

impl Damage {
    fn none(original: &[Vec<u8>]) -> Self {
        Self::of(
            original,
            &original
                .iter()
                .map(|value| Some(vec![&value[..]]))
                .collect(),
        )
    }

    fn of(original: &[Vec<u8>], state: &State<'_>) -> Self {
        let now = |index: usize| state.get(index).and_then(Option::as_ref);
        let mut damage = Self {
            altered: Vec::new(),
            chunks: Vec::new(),
        };
        for (index, sealed) in original.iter().enumerate() {
            let extra = index + 1 == original.len() && now(index + 1).is_some();
            let same = now(index)
                .is_some_and(|pieces| address_ranges(pieces) == address_ranges(&[sealed]));
            let value = now(index).filter(|_| !same).map(|pieces| pieces.concat());
            let expected = chunks(sealed);
            let fetched = match &value {
                _ if same && extra => Err(Error::NotAuthentic),
                _ if same => Ok(expected.clone()),
                None => Err(Error::SegmentMissing),
                Some(value) if extra || value.len() != sealed.len() => Err(Error::NotAuthentic),
                Some(value) => Ok(chunks(value)),
            };
            damage
                .chunks
                .extend((0..expected.len()).map(|chunk| match &fetched {
                    Ok(found) if found[chunk] == expected[chunk] => None,
                    Ok(_) => Some(Error::NotAuthentic),
                    Err(error) => Some(error.clone()),
                }));
            if !same {
                damage.altered.push((index as u32, value));
            }
        }
        let beyond = original.len()..state.len();
        let added = |index: usize| Some((index as u32, Some(now(index)?.concat())));
        damage.altered.extend(beyond.filter_map(added));
        damage
    }

    /// Returns the first damaged chunk that begins before byte `end`, and its error.
    fn first(&self, end: usize) -> Option<(usize, &Error)> {
        let mut chunks = self.chunks.iter().enumerate();
        let found = chunks.find_map(|(place, error)| Some((place, error.as_ref()?)));
        found.filter(|(place, _)| place * CHUNK < end)
    }

    /// Asserts that the error is caused by the first damage with one thread, and by any damage with
    /// several threads.
    fn assert_explained(&self, error: &Error, single_threaded: bool, end: usize) {
        let explained = match single_threaded {
            true => self.first(end).is_some_and(|(_, first)| first == error),
            false => self.chunks.iter().flatten().any(|damage| damage == error),
        };
        assert!(explained, "{error:?}");
    }
}
