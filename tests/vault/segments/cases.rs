//! Alterations of a stream that an attacker can make with the stored bytes: changed, moved and
//! mixed segments and chunks.

use std::collections::BTreeSet;

use chartlock::internals::crypto::TAG;
use chartlock::internals::envelope::{CHUNK, SEGMENT};

/// Length in bytes of a chunk with its tag.
const SEALED: usize = CHUNK + TAG;
/// The number of chunks in a segment.
const CHUNKS: usize = SEGMENT / CHUNK;
/// Longest value in bytes that a storage accepts.
const VALUE_MAX: usize = 2 << 20;

/// The value under a segment's key, as pieces of sealed bytes; `None` if the key is absent.
type Value<'a> = Option<Vec<&'a [u8]>>;

/// The values under the keys of a stream, from index 0 on.
pub(super) type State<'a> = Vec<Value<'a>>;

/// Memory addresses of a range of bytes: first byte and end.
type AddressRange = (usize, usize);

/// Collection of all distinct altered states, without the original state.
pub(super) struct Cases<'a> {
    original: Vec<Vec<&'a [u8]>>,
    /// All chunks of the stream, in order.
    chunks: Vec<&'a [u8]>,
    seen: BTreeSet<Vec<Option<Vec<AddressRange>>>>,
    pub(super) states: Vec<State<'a>>,
}

/// Every byte value, in a static, because the altered states borrow their bytes.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = byte as u8;
        byte += 1;
    }
    bytes
};

fn byte(value: u8) -> &'static [u8] {
    &BYTES[usize::from(value)..][..1]
}

/// Splits a segment into its chunks.
pub(super) fn chunks(segment: &[u8]) -> Vec<&[u8]> {
    segment.chunks(SEALED).collect()
}

/// Packs chunks into segments of the usual size.
fn packed<'a>(chunks: &[&'a [u8]]) -> State<'a> {
    let segments = chunks.chunks(CHUNKS);
    segments.map(|segment| Some(segment.to_vec())).collect()
}

impl<'a> Cases<'a> {
    pub(super) fn of(segments: &'a [Vec<u8>]) -> Self {
        let original: Vec<_> = segments.iter().map(|segment| chunks(segment)).collect();
        let mut cases = Self {
            chunks: original.concat(),
            original,
            seen: BTreeSet::new(),
            states: Vec::new(),
        };
        cases.seen.insert(identity(&cases.original()));
        cases
    }

    fn original(&self) -> State<'a> {
        self.original.iter().cloned().map(Some).collect()
    }

    fn add(&mut self, state: State<'a>) {
        if self.seen.insert(identity(&state)) {
            self.states.push(state);
        }
    }

    /// Adds the stream with the value under one key replaced.
    fn with(&mut self, index: usize, value: Value<'a>) {
        let mut state = self.original();
        state.resize(state.len().max(index + 1), None);
        state[index] = value;
        self.add(state);
    }

    /// Adds segments that are reordered, repeated, missing or misplaced.
    pub(super) fn segments(&mut self) {
        let original = self.original();
        let count = original.len();
        for index in 0..count {
            for other in 0..count {
                let mut exchanged = original.clone();
                exchanged.swap(index, other);
                self.add(exchanged);
                self.with(index, original[other].clone());
                let mut inserted = original.clone();
                inserted.insert(index, original[other].clone());
                self.add(inserted);
            }
            self.with(index, None);
            self.add(original[..index].to_vec());
            let mut without_first = vec![None; index];
            without_first.extend_from_slice(&original[index..]);
            self.add(without_first);
            let mut moved_up = original.clone();
            moved_up.remove(index);
            self.add(moved_up);
            let mut rotated = original.clone();
            rotated.rotate_left(index);
            self.add(rotated.clone());
            rotated.reverse();
            self.add(rotated);
        }
        for beyond in [count, count + 1] {
            for value in &original {
                self.with(beyond, value.clone());
                let first = value.as_ref().map(|chunks| chunks[..1].to_vec());
                self.with(beyond, first);
            }
            self.with(beyond, Some(Vec::new()));
            self.with(beyond, Some(vec![byte(0)]));
        }
    }

    /// Adds each segment cut around the end of every chunk and tag, and each segment with
    /// additional bytes.
    pub(super) fn lengths(&mut self, segments: &'a [Vec<u8>]) {
        for (index, segment) in segments.iter().enumerate() {
            let ends = (0..segment.len()).step_by(SEALED).chain([segment.len()]);
            for end in ends {
                let near = [
                    end.wrapping_sub(TAG),
                    end.wrapping_sub(1),
                    end,
                    end + 1,
                    end + TAG,
                ];
                for length in near.into_iter().filter(|length| *length < segment.len()) {
                    self.with(index, Some(vec![&segment[..length]]));
                    self.with(index, Some(vec![&segment[segment.len() - length..]]));
                }
            }
            let whole = &segment[..];
            for more in [
                byte(0),
                &[0; TAG],
                &segment[..1],
                &segment[segment.len() - TAG..],
            ] {
                self.with(index, Some(vec![whole, more]));
                self.with(index, Some(vec![more, whole]));
            }
            let chunks = segments.iter().flat_map(|segment| chunks(segment));
            let others: Vec<&[u8]> = segments.iter().map(Vec::as_slice).chain(chunks).collect();
            for other in others {
                let fits = other.len().min(VALUE_MAX - whole.len());
                self.with(index, Some(vec![whole, &other[..fits]]));
            }
        }
    }

    /// Adds chunks that are reordered, repeated, missing or altered, within and across segments.
    pub(super) fn chunks(&mut self) {
        let count = self.chunks.len();
        for place in 0..count {
            for other in 0..count {
                let mut exchanged = self.chunks.clone();
                exchanged.swap(place, other);
                self.add(packed(&exchanged));
                let mut repeated = self.chunks.clone();
                repeated[place] = self.chunks[other];
                self.add(packed(&repeated));
            }
            // The following chunks move up or down through all segments, or only within their own
            // segment.
            let mut without = self.chunks.clone();
            without.remove(place);
            self.add(packed(&without));
            let mut twice = self.chunks.clone();
            twice.insert(place, self.chunks[place]);
            self.add(packed(&twice));
            let (index, within) = (place / CHUNKS, place % CHUNKS);
            let mut without = self.original[index].clone();
            without.remove(within);
            self.with(index, Some(without));
            let mut twice = self.original[index].clone();
            twice.insert(within, self.chunks[place]);
            self.with(index, Some(twice));
            self.add(packed(&self.chunks[..place]));
            self.add(packed(&self.chunks[place..]));
            let mut rotated = self.chunks.clone();
            rotated.rotate_left(place);
            self.add(packed(&rotated));
            rotated.reverse();
            self.add(packed(&rotated));
            self.altered(place);
        }
        for index in 0..self.original.len() {
            let mut reversed = self.original[index].clone();
            reversed.reverse();
            self.with(index, Some(reversed));
        }
    }

    /// Adds flipped bits in the first and last byte of a chunk's body and tag.
    fn altered(&mut self, place: usize) {
        let chunk = self.chunks[place];
        let body = chunk.len() - TAG;
        for at in [0, body - 1, body, chunk.len() - 1] {
            for bit in [1, 0x80] {
                let mut pieces = self.original[place / CHUNKS].clone();
                let altered = [&chunk[..at], byte(chunk[at] ^ bit), &chunk[at + 1..]];
                pieces.splice(place % CHUNKS..=place % CHUNKS, altered);
                self.with(place / CHUNKS, Some(pieces));
            }
        }
    }

    /// Adds segments and chunks of another stream: as replacements, prefixes, suffixes and
    /// additions.
    pub(super) fn mixed_with(&mut self, foreign: &'a [Vec<u8>]) {
        let theirs: Vec<_> = foreign.iter().map(|segment| chunks(segment)).collect();
        let (original, count) = (self.original(), self.original.len());
        for index in 0..=count + 1 {
            for segment in &theirs {
                self.with(index, Some(segment.clone()));
            }
        }
        for index in 0..count {
            let others = || theirs.iter().cloned().map(Some);
            let end = original[..index]
                .iter()
                .cloned()
                .chain(others().skip(index));
            self.add(end.collect());
            let beginning = others()
                .take(index)
                .chain(original[index..].iter().cloned());
            self.add(beginning.collect());
        }
        let theirs = theirs.concat();
        for place in 0..self.chunks.len() {
            for (other, chunk) in theirs.iter().enumerate() {
                if other % CHUNKS == place % CHUNKS || other == 0 || other + 1 == theirs.len() {
                    let mut mixed = self.chunks.clone();
                    mixed[place] = chunk;
                    self.add(packed(&mixed));
                }
            }
            let end = [&self.chunks[..place], &theirs[place..]].concat();
            self.add(packed(&end));
            let beginning = [&theirs[..place], &self.chunks[place..]].concat();
            self.add(packed(&beginning));
            let mut more = self.original[place / CHUNKS].clone();
            more.push(theirs[place]);
            self.with(place / CHUNKS, Some(more));
        }
    }
}

/// Returns the deduplication key of a state: the address ranges of each value. Trailing absent
/// values are ignored.
fn identity(state: &State<'_>) -> Vec<Option<Vec<AddressRange>>> {
    let present = state.iter().rposition(Option::is_some);
    let state = &state[..present.map_or(0, |last| last + 1)];
    let of_each = |pieces: &Vec<_>| address_ranges(pieces);
    state
        .iter()
        .map(|value| value.as_ref().map(of_each))
        .collect()
}

/// Returns the address ranges of the pieces, with adjacent ranges joined. Equal ciphertexts always
/// have equal addresses, because no sequence of sealed bytes occurs twice.
pub(super) fn address_ranges(pieces: &[&[u8]]) -> Vec<AddressRange> {
    let mut address_ranges: Vec<AddressRange> = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let range = piece.as_ptr_range();
        let (start, end) = (range.start as usize, range.end as usize);
        match address_ranges.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => address_ranges.push((start, end)),
        }
    }
    address_ranges
}
