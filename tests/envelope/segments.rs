//! Segments of content streams: partial reads, padding and chunk numbers.

use chartlock::Error;
use chartlock::internals::crypto::{CipherSuite, Nonce, StreamKey, chunk_key};
use chartlock::internals::envelope::*;

const SUITE: CipherSuite = CipherSuite::Aes256Gcm;
const CHART: [u8; 16] = [1; 16];
const STREAM: [u8; 16] = [2; 16];

fn key() -> StreamKey {
    StreamKey::from_bytes(&[3; 32])
}

fn opener(length: usize) -> StreamOpener {
    StreamOpener::new(SUITE, &key(), &CHART, &STREAM, length as u64).unwrap()
}

/// Seals a segment chunk by chunk, as format.md specifies.
fn sealed(index: u32, plaintext: &[u8]) -> Vec<u8> {
    let sealing = chunk_key(SUITE, &key(), &CHART, &STREAM, 1).unwrap();
    let numbers = u64::from(index) * 16..;
    let mut value = Vec::new();
    for (number, chunk) in numbers.zip(plaintext.chunks(CHUNK)) {
        let mut body = chunk.to_vec();
        let tag = sealing.seal(Nonce::chunk(number), &mut body).unwrap();
        value.extend(body);
        value.extend(tag);
    }
    value
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 5) as u8).collect()
}

#[test]
fn segment_parts_are_read_in_any_order() {
    let content = content(3 * CHUNK + 5);
    let opener = opener(content.len());
    let mut plaintext = content.clone();
    plaintext.resize(padme(content.len() as u64) as usize, 0);
    let value = sealed(0, &plaintext);
    let mut offsets: Vec<usize> = (0..4)
        .flat_map(|chunk| [0, 1, CHUNK - 1].map(|within| chunk * CHUNK + within))
        .collect();
    offsets.push(content.len());
    let mut read_before = opener.segment(0, value.clone()).unwrap();
    for offset in offsets.into_iter().rev() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK] {
            let expected = content.get(offset..).unwrap_or_default();
            let expected = &expected[..length.min(expected.len())];
            let mut fresh = opener.segment(0, value.clone()).unwrap();
            for segment in [&mut fresh, &mut read_before] {
                let mut out = vec![0xaa; length];
                let copied = segment.copy(&opener, offset, &mut out);
                assert_eq!(copied, Ok(expected.len()), "{length} at {offset}");
                assert!(out[..expected.len()] == *expected);
                assert!(out[expected.len()..].iter().all(|byte| *byte == 0xaa));
            }
        }
    }
}

#[test]
fn partial_segment_read_opens_only_its_chunks() {
    // Pad the content to half a segment, so that entire chunks contain only padding.
    let length = 17 * SEGMENT + 3 * CHUNK + 1;
    let opener = opener(length);
    let mut plaintext = content(3 * CHUNK + 1);
    plaintext.resize(SEGMENT / 2, 0);
    let value = sealed(17, &plaintext);
    let altered = |chunk: usize| {
        let mut altered = value.clone();
        altered[chunk * (CHUNK + 16)] ^= 1;
        let altered = opener.segment(17, altered).unwrap();
        assert_eq!(altered.index(), 17);
        altered
    };
    assert_eq!(altered(1).open_padding(&opener), Ok(()));
    for chunk in [3, 4, 7] {
        let refused = altered(chunk).open_padding(&opener);
        assert_eq!(refused, Err(Error::NotAuthentic), "{chunk}");
    }
    for chunk in 0..8 {
        assert_eq!(altered(chunk).open(&opener), Err(Error::NotAuthentic));
        let mut part = [0; 1];
        let copied = altered(chunk).copy(&opener, 2 * CHUNK, &mut part);
        assert_eq!(copied.is_ok(), chunk != 2);
    }
    // Alter a padding byte: directly after the content, at the end of that chunk, and in a chunk
    // that contains only padding.
    for offset in [3 * CHUNK + 1, 4 * CHUNK - 1, 5 * CHUNK] {
        let mut plaintext = plaintext.clone();
        plaintext[offset] = 1;
        let mut segment = opener.segment(17, sealed(17, &plaintext)).unwrap();
        assert_eq!(segment.open_padding(&opener), Err(Error::Malformed));
    }
}

#[test]
fn shared_segment_in_reused_memory_returns_only_its_own_content() {
    let length = SEGMENT + CHUNK + 5;
    let opener = opener(length);
    let mut plaintext = content(length);
    plaintext.resize(padme(length as u64) as usize, 0);
    let mut memory = None;
    for (index, part) in (0..).zip(plaintext.chunks(SEGMENT)) {
        let value = sealed(index, part);
        let mut altered = value.clone();
        altered[CHUNK + 16] ^= 1;
        let reused = memory.take().unwrap_or_default();
        let mut segment = opener
            .shared_segment(index, altered.into(), reused)
            .unwrap();
        assert_eq!(segment.open(&opener), Err(Error::NotAuthentic));
        let mut out = vec![0xaa; CHUNK + 1];
        for offset in [CHUNK, CHUNK + 1] {
            let copied = segment.copy(&opener, offset, &mut out[..4]);
            assert_eq!(copied, Err(Error::NotAuthentic));
            assert!(out[..4] == [0xaa; 4]);
        }
        assert_eq!(segment.copy(&opener, 0, &mut out[..9]), Ok(9));
        assert!(out[..9] == part[..9]);

        let reused = segment.into_memory().unwrap();
        let mut segment = opener.shared_segment(index, value.into(), reused).unwrap();
        let content = &part[..part.len().min(length - index as usize * SEGMENT)];
        for offset in [CHUNK - 1, 0, content.len() - 3] {
            let expected = &content[offset..content.len().min(offset + CHUNK + 1)];
            let copied = segment.copy(&opener, offset, &mut out);
            assert_eq!(copied, Ok(expected.len()));
            assert!(out[..expected.len()] == *expected);
        }
        assert_eq!(segment.open(&opener), Ok(()));
        memory = segment.into_memory();
        let short = opener.shared_segment(index, vec![0; CHUNK].into(), Default::default());
        assert_eq!(short.unwrap_err(), Error::NotAuthentic);
    }
    let owned = opener.segment(0, sealed(0, &plaintext[..SEGMENT])).unwrap();
    assert!(owned.into_memory().is_none());
}

#[test]
fn stream_padding_continues_in_next_segment() {
    let mut sealer = StreamSealer::new(SUITE, &key(), &CHART, &STREAM).unwrap();
    let gathered = |length: usize| {
        let mut segment = Segment::new(None);
        segment.advance(length);
        segment
    };
    assert_eq!(sealer.next(gathered(CHUNK)).unwrap_err(), Error::Malformed);
    assert_eq!(sealer.pad(gathered(0)).unwrap_err(), Error::Malformed);
    for index in 0..64 {
        assert_eq!(sealer.next(gathered(SEGMENT)).unwrap().index(), index);
    }
    // From 64 MiB, padding rounds lengths up to a multiple of 2 MiB. Here, the padding has the
    // length of one and a half segments.
    let last = gathered(SEGMENT / 2);
    let length = sealer.end(&last).unwrap();
    assert_eq!(length, (64 * SEGMENT + SEGMENT / 2) as u64);
    let refused = sealer.next(gathered(SEGMENT)).unwrap_err();
    assert_eq!(refused, Error::Malformed, "after the end");
    let whole = SEGMENT + 16 * 16;
    for (index, segment) in [(64, last), (65, gathered(0))] {
        let unsealed = sealer.pad(segment).unwrap().unwrap();
        assert_eq!(unsealed.index(), index);
        assert_eq!(unsealed.seal().unwrap().len(), whole);
    }
    assert!(sealer.pad(gathered(0)).unwrap().is_none());
}

#[test]
fn unsealed_segment_first_chunk_contains_added_bytes() {
    let mut segment = Segment::new(None);
    assert!(segment.first_chunk().is_empty());
    segment.free()[..3].copy_from_slice(b"abc");
    segment.advance(3);
    assert_eq!(segment.first_chunk(), b"abc");
    segment.advance(CHUNK);
    assert_eq!(segment.first_chunk().len(), CHUNK);
}

#[test]
fn first_chunk_authenticates_stream_and_index() {
    let other = StreamKey::from_bytes(&[4; 32]);
    let of = |key: &StreamKey, stream, index, value: &[u8]| {
        fits((SUITE, key), &CHART, stream, index, value).unwrap()
    };
    for index in [0, 1, 2, 40] {
        let value = sealed(index, &content(2 * CHUNK));
        assert!(of(&key(), &STREAM, index, &value));
        assert!(of(&key(), &STREAM, index, &value[..FIRST_CHUNK]));
        assert!(!of(&key(), &STREAM, index, &value[..FIRST_CHUNK - 1]));
        assert!(!of(&key(), &STREAM, index + 1, &value));
        assert!(!of(&key(), &[9; 16], index, &value));
        assert!(!of(&other, &STREAM, index, &value));
    }
    let short = sealed(0, b"short");
    assert!(of(&key(), &STREAM, 0, &short));
    assert!(!of(&key(), &STREAM, 0, &short[..15]));
}
