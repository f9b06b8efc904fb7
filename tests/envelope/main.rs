//! Stored record values and content streams, sealed and opened without a storage.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod meta;
mod segments;

use std::io::Read;

use chartlock::internals::crypto::{
    CipherSuite, DataKey, PatientKey, Place, StreamKey, fresh, wrap_key,
};
use chartlock::internals::envelope::*;
use chartlock::{Error, internals::crypto::Nonce};

const SUITES: [CipherSuite; 2] = [CipherSuite::Aes256Gcm, CipherSuite::ChaCha20Poly1305];
const ADDRESS: Address = Address {
    chart: [1; 16],
    record: [2; 16],
};

fn meta() -> Meta {
    Meta {
        written_at: 1_763_700_000_000,
        content_type: "application/fhir+json".into(),
        name: "Observation/bp".into(),
        labels: vec!["vitals".into()],
        extensions: vec![(8, vec![1, 2, 3])],
    }
}

fn seal_with(suite: CipherSuite, body: Body<'_>) -> (Vec<u8>, PatientKey) {
    seal_meta(suite, &meta(), body)
}

fn seal_meta(suite: CipherSuite, meta: &Meta, body: Body<'_>) -> (Vec<u8>, PatientKey) {
    let patient = PatientKey::random().unwrap();
    let value = seal(
        suite,
        &ADDRESS,
        3,
        meta,
        body,
        DataKey::random().unwrap(),
        |c, key| {
            let mut wrapped = [0; 48];
            wrapped[..32].copy_from_slice(key.expose());
            let (key, tag) = wrapped.split_at_mut(32);
            let sealed = wrap_key(suite, &patient, Place::Current, 9, c)?.seal(Nonce::ZERO, key)?;
            tag.copy_from_slice(&sealed);
            Ok((9, wrapped))
        },
    )
    .unwrap();
    (value, patient)
}

fn open_with(value: &[u8], patient: &PatientKey, address: &Address) -> Result<Opened, Error> {
    let head = Head::parse(value)?;
    let mut wrapped = head.wrapped;
    let (key, tag) = wrapped.split_at_mut(32);
    wrap_key(
        head.suite,
        patient,
        Place::Current,
        head.key_number,
        &head.commitment,
    )?
    .open(Nonce::ZERO, key, (&*tag).try_into().unwrap())?;
    let data_key = DataKey::from_bytes((&*key).try_into().unwrap());
    open(
        value.to_vec(),
        &head,
        address,
        Some("Observation/bp"),
        &data_key,
    )
}

fn inline(opened: &Opened) -> &[u8] {
    match &opened.content {
        Content::Inline(buffer, range) => &buffer[range.clone()],
        _ => panic!("not inline"),
    }
}

#[test]
fn inline_content_of_every_size_reopens_unchanged() {
    for suite in SUITES {
        // The sizes cover every position of the content's end within a 64-byte padding step, and
        // both padding rules.
        let sizes = (0..130).chain([1000, 1967, 1968, 2048, 5000, INLINE_MAX]);
        for size in sizes {
            let content: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let (value, patient) = seal_with(suite, Body::Inline(&content));
            let opened = open_with(&value, &patient, &ADDRESS).unwrap();
            assert_eq!(inline(&opened), content);
            assert_eq!(opened.meta, meta());
        }
    }
}

#[test]
fn inline_record_overhead_is_at_most_150_bytes() {
    let plain = Meta {
        name: "n".into(),
        ..Meta::default()
    };
    let content = [7; 500];
    let value = seal(
        CipherSuite::Aes256Gcm,
        &ADDRESS,
        1,
        &plain,
        Body::Inline(&content),
        DataKey::random().unwrap(),
        |_, _| Ok((1, [0; 48])),
    )
    .unwrap();
    let body = 2 + (1 + 8 + 2 + 2 + 1 + 1 + 1) + 4 + 500;
    let padding = padded(body) - body;
    let overhead = value.len() - padding - 500 - 1;
    assert!(overhead <= 150, "{overhead}");
}

#[test]
fn sealed_record_buffer_has_exact_capacity() {
    let key = StreamKey::random().unwrap();
    let segmented = Body::Segmented {
        stream: [5; 16],
        key: &key,
        length: 1 << 20,
    };
    // The buffer must not grow, because a reallocation would leave an unwiped copy of the
    // plaintext.
    for body in [
        Body::Inline(b"x"),
        Body::Inline(&[7; 5000]),
        Body::Retraction,
        segmented,
    ] {
        let (value, _) = seal_with(SUITES[0], body);
        assert_eq!(value.capacity(), value.len(), "{body:?}");
    }
}

#[test]
fn every_flipped_bit_of_record_returns_error() {
    for suite in SUITES {
        let (value, patient) = seal_with(suite, Body::Inline(b"systolic 120"));
        for bit in 0..value.len() * 8 {
            let mut altered = value.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(
                open_with(&altered, &patient, &ADDRESS).is_err(),
                "bit {bit}"
            );
        }
        for length in 0..value.len() {
            assert!(open_with(&value[..length], &patient, &ADDRESS).is_err());
        }
    }
}

#[test]
fn record_at_another_address_is_not_authentic() {
    let (value, patient) = seal_with(CipherSuite::Aes256Gcm, Body::Inline(b"x"));
    for address in [
        Address {
            chart: [9; 16],
            ..ADDRESS
        },
        Address {
            record: [9; 16],
            ..ADDRESS
        },
    ] {
        let error = open_with(&value, &patient, &address).unwrap_err();
        assert_eq!(error, Error::NotAuthentic);
    }
}

#[test]
fn invalid_sealed_metadata_is_malformed() {
    let changes: [fn(&mut Meta); 7] = [
        |meta| meta.name = "".into(),
        |meta| meta.name = "n".repeat(1025).into(),
        |meta| meta.name = "Observation/\u{85}".into(),
        |meta| meta.labels = vec!["".into()],
        |meta| meta.labels = vec!["a\nb".into()],
        |meta| meta.content_type = "text/plain\r\n".into(),
        |meta| meta.content_type = "text/\u{7f}".into(),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut meta = meta();
        change(&mut meta);
        let (value, patient) = seal_meta(SUITES[0], &meta, Body::Inline(b"{}"));
        let opened = open_with(&value, &patient, &ADDRESS);
        assert_eq!(opened.err(), Some(Error::Malformed), "{n}");
    }
}

#[test]
fn record_opens_with_at_most_32_labels() {
    for (count, opens) in [(32, true), (33, false), (34, false)] {
        let labels = (0..count).map(|n| format!("label {n:02}").into());
        let meta = Meta {
            labels: labels.collect(),
            ..meta()
        };
        let (value, patient) = seal_meta(SUITES[0], &meta, Body::Inline(b"{}"));
        let opened = open_with(&value, &patient, &ADDRESS);
        assert_eq!(opened.is_ok_and(|opened| opened.meta == meta), opens);
    }
}

#[test]
fn inline_content_above_1_mib_is_malformed() {
    const READ_MAX: usize = 1024 * 1024;
    let key = [7; 32];
    let wrap = |_: &_, _: &DataKey| Ok((1, [0; 48]));
    let data_key = || DataKey::from_bytes(&key);
    let small = Body::Inline(b"");
    let value = seal(SUITES[0], &ADDRESS, 1, &meta(), small, data_key(), wrap).unwrap();
    let head = Head::parse(&value).unwrap();
    // Seal the body with the cipher directly, because the library's writer refuses content of this
    // length.
    let sealing = || admit(&head, &ADDRESS, &data_key()).unwrap();
    let (body, tag) = value[HEAD..].split_last_chunk().unwrap();
    let mut body = body.to_vec();
    sealing().open(Nonce::ZERO, &mut body, tag).unwrap();
    let meta_end = 2 + usize::from(u16::from_le_bytes([body[0], body[1]]));
    for length in [INLINE_MAX + 1, READ_MAX, READ_MAX + 1, READ_MAX + 2] {
        let mut body = body[..meta_end].to_vec();
        body.extend_from_slice(&(length as u32).to_le_bytes());
        body.resize(padded(meta_end + 4 + length), 0);
        let tag = sealing().seal(Nonce::ZERO, &mut body).unwrap();
        let value = [&value[..HEAD], &body, &tag].concat();
        let name = Some("Observation/bp");
        let opened = open(value, &head, &ADDRESS, name, &data_key());
        match length <= READ_MAX {
            true => assert_eq!(inline(&opened.unwrap()).len(), length),
            false => assert_eq!(opened.unwrap_err(), Error::Malformed),
        }
    }
}

#[test]
fn retractions_and_segmented_records_reopen_unchanged() {
    let (value, patient) = seal_with(CipherSuite::Aes256Gcm, Body::Retraction);
    let opened = open_with(&value, &patient, &ADDRESS).unwrap();
    assert!(matches!(opened.content, Content::Retraction));

    let key = StreamKey::random().unwrap();
    let body = Body::Segmented {
        stream: [5; 16],
        key: &key,
        length: 1 << 40,
    };
    let (value, patient) = seal_with(CipherSuite::ChaCha20Poly1305, body);
    let opened = open_with(&value, &patient, &ADDRESS).unwrap();
    let Content::Segmented {
        stream,
        key: opened_key,
        length,
    } = opened.content
    else {
        panic!("not segmented");
    };
    assert_eq!((stream, length), ([5; 16], 1 << 40));
    assert_eq!(opened_key.expose(), key.expose());
}

#[test]
fn content_streams_reopen_with_segments_in_order_only() {
    for suite in SUITES {
        for length in [
            0,
            1,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            SEGMENT - 1,
            SEGMENT,
            SEGMENT + 1,
            3 * SEGMENT + 5,
        ] {
            let content: Vec<u8> = (0..length).map(|i| (i / 7) as u8).collect();
            let key = StreamKey::random().unwrap();
            let segments = sealed(suite, &key, &content);
            let opener = StreamOpener::new(suite, &key, &[1; 16], &[2; 16], length as u64).unwrap();
            assert_eq!(segments.len(), opener.segments() as usize);
            let mut out = vec![0; length];
            for ((segment, i), out) in segments.iter().zip(0..).zip(content_buffers(&mut out)) {
                let whole = |value: Vec<u8>, index| -> Result<OpenSegment, Error> {
                    let mut open = opener.segment(index, value)?;
                    open.open(&opener)?;
                    Ok(open)
                };
                let mut open = whole(segment.clone(), i).unwrap();
                assert_eq!(open.copy(&opener, 0, out), Ok(out.len()));
                let mut cut = segment.clone();
                cut.pop();
                // A segment of a wrong length must be refused before a key is tried.
                assert!(opener.segment(i, cut).is_err());
                assert!(whole(segment.clone(), i + 1).is_err());
            }
            assert!(out == content);
        }
    }
}

/// Seals content into segments, as an upload does.
fn sealed(suite: CipherSuite, key: &StreamKey, content: &[u8]) -> Vec<Vec<u8>> {
    let mut sealer = StreamSealer::new(suite, key, &[1; 16], &[2; 16]).unwrap();
    let mut sealed = Vec::new();
    let mut segment = Segment::new(None);
    let mut left = content;
    while !left.is_empty() {
        if segment.is_full() {
            sealed.push(sealer.next(segment).unwrap().seal().unwrap());
            segment = Segment::new(None);
        }
        let bytes = left.read(segment.free()).unwrap();
        segment.advance(bytes);
    }
    assert_eq!(sealer.end(&segment), Ok(content.len() as u64));
    while let Some(unsealed) = sealer.pad(segment).unwrap() {
        sealed.push(unsealed.seal().unwrap());
        segment = Segment::new(None);
    }
    sealed
}

/// Returns the output buffer for the content of each segment. Segments that contain only padding
/// get an empty buffer.
fn content_buffers(out: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    out.chunks_mut(SEGMENT)
        .chain(std::iter::repeat_with(Default::default))
}

#[test]
fn unknown_format_version_is_reported_before_malformed_fields() {
    let mut head = [0xff; HEAD];
    assert_eq!(Head::parse(&head), Err(Error::Unsupported));
    head[..4].copy_from_slice(&[1, 9, 9, 9]);
    assert_eq!(
        Head::parse(&head),
        Err(Error::Malformed),
        "version 2^64 - 1"
    );
    assert_eq!(Intent::parse(&[0xff; 32]), Err(Error::Unsupported));
    assert_eq!(Intent::parse(&[1; 32]), Err(Error::Malformed), "not zero");
}

#[test]
fn altered_upload_intent_is_refused() {
    let intent = Intent {
        suite: CipherSuite::Aes256Gcm,
        started_at: -5,
        writer: fresh().unwrap(),
    };
    let value = intent.encode();
    assert_eq!(value.len(), 32);
    assert_eq!(Intent::parse(&value), Ok(intent));
    for (byte, error) in [
        (0, Error::Unsupported),
        (1, Error::Unsupported),
        (2, Error::Unsupported),
        (3, Error::Malformed),
        (4, Error::Malformed),
        (7, Error::Malformed),
    ] {
        let mut altered = value.clone();
        altered[byte] = 9;
        assert_eq!(Intent::parse(&altered), Err(error), "byte {byte}");
    }
    for length in 0..32 {
        assert!(Intent::parse(&value[..length]).is_err());
    }
}
