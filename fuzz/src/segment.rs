//! Fuzz target for content streams. A read returns only bytes that were sealed at that position of
//! the stream.
//!
//! The inputs are arbitrary values, and valid values that are modified, swapped, cut or used for
//! other segments. Reads cover any range.

use std::sync::OnceLock;

use chartlock::Error;
use chartlock::internals::crypto::{CipherSuite, StreamKey, TAG};
use chartlock::internals::envelope::{
    CHUNK, OpenSegment, SEGMENT, Segment, StreamOpener, StreamSealer, fits, padme,
};

use super::fixed::suite;
use super::input::Input;

/// Limits for the edits to one value and for the reads from it. More edits or reads find nothing
/// new.
const EDITS: usize = 6;
const READS: usize = 6;
/// The byte that fills output buffers before a read.
const UNTOUCHED: u8 = 0xa5;
/// The size of a chunk with its tag, in bytes.
const SEALED: usize = CHUNK + TAG;
const LENGTHS: [usize; 8] = [
    1,
    100,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK + 700,
    SEGMENT,
    SEGMENT + CHUNK + 9,
];
const CHART: [u8; 16] = [1; 16];

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let what = input.byte();
    let suite = suite(what);
    match what >> 4 & 1 {
        0 => raw(suite, &mut input),
        _ => altered(suite, usize::from(what >> 1 & 7), &mut input),
    }
}

/// Checks that bytes that were never sealed do not open.
fn raw(suite: CipherSuite, input: &mut Input<'_>) {
    let length = input.number();
    let index = input.byte().into();
    let Ok(opener) = opener(suite, 0, length) else {
        return;
    };
    let value = input.rest();
    assert_eq!(is_of(suite, 0, index, value), Ok(false));
    let expected = in_segment(index, padme(length));
    match opener.segment(index, value.to_vec()) {
        Ok(mut segment) => {
            assert_eq!(value.len(), expected + expected.div_ceil(CHUNK) * TAG);
            let mut out = [UNTOUCHED; 100];
            assert_eq!(segment.open(&opener), Err(Error::NotAuthentic));
            match segment.copy(&opener, 0, &mut out) {
                Ok(copied) => assert_eq!((copied, in_segment(index, length)), (0, 0)),
                Err(error) => assert_eq!(error, Error::NotAuthentic),
            }
            assert_eq!(out, [UNTOUCHED; 100]);
        }
        Err(error) => {
            assert_eq!(error, Error::NotAuthentic);
            assert!(expected == 0 || value.len() != expected + expected.div_ceil(CHUNK) * TAG);
        }
    }
}

/// A sealed stream.
struct Stream {
    /// The content with its padding.
    plain: Vec<u8>,
    segments: Vec<Vec<u8>>,
}

fn altered(suite: CipherSuite, which: usize, input: &mut Input<'_>) {
    let stream = sealed(suite, which);
    let mut index = usize::from(input.byte()) % stream.segments.len();
    let mut value = stream.segments[index].clone();
    let mut length = LENGTHS[which] as u64;
    for _ in 0..input.byte() as usize % EDITS {
        let edit = input.byte();
        let place = input.number() as usize;
        match edit % 8 {
            0 if !value.is_empty() => {
                let place = place % value.len();
                value[place] ^= 1 << (edit >> 3 & 7);
            }
            1 => value.truncate(place % (value.len() + 1)),
            2 => value.resize((value.len() + place % 70_000).min(2 * SEGMENT), edit),
            3 => exchange(&mut value, place),
            4 => value.clone_from(&stream.segments[place % stream.segments.len()]),
            5 => {
                let other = sealed(suite, place % LENGTHS.len());
                value.clone_from(&other.segments[index % other.segments.len()]);
            }
            // Use a wrong length, or the index of another segment.
            6 => length = length.wrapping_add(place as u64 % 256).wrapping_sub(128),
            _ => index = place % 4,
        }
    }
    let valid = stream.segments.get(index).map_or(&[][..], Vec::as_slice);
    let is_valid = valid.chunks(SEALED).next() == value.chunks(SEALED).next();
    let is_valid = is_valid && !value.is_empty();
    assert_eq!(is_of(suite, which, index as u32, &value), Ok(is_valid));
    let Ok(opener) = opener(suite, which, length) else {
        return;
    };
    let Ok(segment) = opener.segment(index as u32, value.clone()) else {
        let padded = in_segment(index as u32, padme(length));
        assert!(padded == 0 || value.len() != padded + padded.div_ceil(CHUNK) * TAG);
        return;
    };
    let expected = ExpectedReads::new(stream, index, &value, length);
    expected.read(segment, &opener, input);
}

/// Swaps two chunks of a value.
fn exchange(value: &mut [u8], places: usize) {
    let whole = value.len() / SEALED;
    if whole > 0 {
        let (one, other) = (places % whole, places / 16 % whole);
        let (left, right) = value.split_at_mut(one.max(other) * SEALED);
        if one != other {
            left[one.min(other) * SEALED..][..SEALED].swap_with_slice(&mut right[..SEALED]);
        }
    }
}

/// The allowed results of reading a value as one segment of a stream with a given length.
struct ExpectedReads<'a> {
    /// The sealed plaintext from the start of this segment to the end of the stream.
    plain: &'a [u8],
    /// The length of the content in this segment, in bytes.
    content: usize,
    /// The expected result of opening each chunk.
    chunks: Vec<Result<(), Error>>,
}

impl<'a> ExpectedReads<'a> {
    fn new(stream: &'a Stream, index: usize, value: &[u8], length: u64) -> Self {
        let plain = stream.plain.get(index * SEGMENT..).unwrap_or_default();
        let valid = stream.segments.get(index).map_or(&[][..], Vec::as_slice);
        let content = in_segment(index as u32, length);
        let chunks = value.chunks(SEALED).zip(0..).map(|(chunk, number)| {
            if valid.chunks(SEALED).nth(number) != Some(chunk) {
                return Err(Error::NotAuthentic);
            }
            // All bytes after the length that the opener expects must be zero padding, even where
            // the stream contained content.
            let start = number * CHUNK;
            let end = start + chunk.len() - TAG;
            let padding = &plain[content.clamp(start, end)..end];
            let is_zero = padding.iter().all(|byte| *byte == 0);
            is_zero.then_some(()).ok_or(Error::Malformed)
        });
        Self {
            plain,
            content,
            chunks: chunks.collect(),
        }
    }

    fn read(&self, mut segment: OpenSegment, opener: &StreamOpener, input: &mut Input<'_>) {
        for _ in 0..READS {
            let Some(read) = input.next() else { break };
            let offset = input.number() as usize;
            let offset = if read & 1 == 0 {
                offset
            } else {
                offset % (SEGMENT + 2)
            };
            if read & 6 == 6 {
                let all = self.chunks.iter().cloned().collect::<Result<(), _>>();
                self.assert_result(segment.open(opener), all);
                continue;
            }
            let mut out = vec![UNTOUCHED; input.number() as usize % (2 * CHUNK + 3)];
            let expected = self.content.saturating_sub(offset).min(out.len());
            let copied = segment.copy(opener, offset, &mut out);
            let touched = match expected {
                0 => &[][..],
                _ => &self.chunks[offset / CHUNK..=(offset + expected - 1) / CHUNK],
            };
            let all = touched.iter().cloned().collect::<Result<(), _>>();
            let sealed = self.plain.get(offset..).unwrap_or_default();
            if let Ok(copied) = copied {
                assert_eq!(copied, expected);
                assert_eq!(out[..copied], sealed[..copied]);
            }
            for (place, byte) in out
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte != UNTOUCHED)
            {
                assert!(
                    place < expected && sealed[place] == *byte,
                    "returned a byte that was not sealed there"
                );
            }
            self.assert_result(copied.map(|_| ()), all);
        }
    }

    /// Compares a result. A chunk with bad padding reports `Malformed` only once: the first call
    /// decrypts the chunk in place, so later calls report `NotAuthentic`.
    fn assert_result(&self, result: Result<(), Error>, expected: Result<(), Error>) {
        match expected {
            Err(Error::Malformed) => {
                assert!(matches!(
                    result,
                    Err(Error::Malformed | Error::NotAuthentic)
                ));
            }
            expected => assert_eq!(result, expected),
        }
    }
}

/// Returns how many bytes of a stream of `length` bytes are in segment `index`.
fn in_segment(index: u32, length: u64) -> usize {
    let start = u64::from(index) * SEGMENT as u64;
    length.saturating_sub(start).min(SEGMENT as u64) as usize
}

fn key(which: usize) -> StreamKey {
    StreamKey::from_bytes(&[which as u8; 32])
}

/// Returns `true` if the first chunk of a value belongs to the given segment of the given stream.
fn is_of(suite: CipherSuite, which: usize, index: u32, value: &[u8]) -> Result<bool, Error> {
    fits(
        (suite, &key(which)),
        &CHART,
        &[which as u8; 16],
        index,
        value,
    )
}

fn opener(suite: CipherSuite, which: usize, length: u64) -> Result<StreamOpener, Error> {
    StreamOpener::new(suite, &key(which), &CHART, &[which as u8; 16], length)
}

fn sealed(suite: CipherSuite, which: usize) -> &'static Stream {
    static STREAMS: [[OnceLock<Stream>; LENGTHS.len()]; 2] =
        [const { [const { OnceLock::new() }; LENGTHS.len()] }; 2];
    STREAMS[usize::from(suite.code() - 1)][which].get_or_init(|| {
        let content = (0..LENGTHS[which]).map(|place| (place * 7 + place / 251) as u8 | 1);
        Stream::new(suite, which, content.collect())
    })
}

impl Stream {
    fn new(suite: CipherSuite, which: usize, mut plain: Vec<u8>) -> Self {
        let stream = [which as u8; 16];
        let mut sealer = StreamSealer::new(suite, &key(which), &CHART, &stream).unwrap();
        let mut segments = Vec::new();
        let mut segment = Segment::new(None);
        let mut left = &plain[..];
        while !left.is_empty() {
            if segment.is_full() {
                segments.push(sealer.next(segment).unwrap().seal().unwrap());
                segment = Segment::new(None);
            }
            let free = segment.free();
            let (now, later) = left.split_at(left.len().min(free.len()));
            free[..now.len()].copy_from_slice(now);
            segment.advance(now.len());
            left = later;
        }
        sealer.end(&segment).unwrap();
        while let Some(unsealed) = sealer.pad(segment).unwrap() {
            segments.push(unsealed.seal().unwrap());
            segment = Segment::new(None);
        }
        plain.resize(padme(plain.len() as u64) as usize, 0);
        Self { plain, segments }
    }
}
