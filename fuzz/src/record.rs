//! Fuzz target for record values: raw bytes, and arbitrary bodies under a valid seal, to reach the
//! parser.

use chartlock::Error;
use chartlock::internals::crypto::{CipherSuite, DataKey, RecordContext, body_key};
use chartlock::internals::envelope::{
    Address, Body, Content, Head, INLINE_MAX, Opened, admit, digest, open, seal,
};

use super::fixed::{self, choice, suite};

const ADDRESS: Address = Address {
    chart: [1; 16],
    record: [2; 16],
};

pub fn run(data: &[u8]) {
    let Some((what, data)) = choice(data) else {
        return;
    };
    match what >> 1 & 3 {
        0 => raw(data),
        kind => body(suite(what), kind, what >> 3 & 1 == 1, data),
    }
}

fn key() -> DataKey {
    DataKey::from_bytes(&[4; 32])
}

fn raw(value: &[u8]) {
    assert_eq!(digest(value).is_ok(), value.len() >= 96);
    let Ok(head) = Head::parse(value) else {
        return;
    };
    assert_eq!(
        admit(&head, &ADDRESS, &key()).err(),
        Some(Error::NotAuthentic)
    );
    let opened = open(value.to_vec(), &head, &ADDRESS, None, &key());
    assert_eq!(opened.err(), Some(Error::NotAuthentic));
}

fn body(suite: CipherSuite, kind: u8, named: bool, body: &[u8]) {
    let context = RecordContext {
        chart: ADDRESS.chart,
        record: ADDRESS.record,
        version: 3,
        format: 1,
        suite,
        kind,
    };
    let (sealing, commitment) = body_key(&key(), &context).unwrap();
    let mut value = vec![1, suite.code(), kind, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    value.extend(commitment);
    value.extend([0; 48]);
    if kind == 2 {
        value.extend([6; 16]);
    }
    value.extend(fixed::seal(&sealing, body));
    let head = Head::parse(&value).unwrap();
    let name = named.then_some("Observation/bp");
    match open(value, &head, &ADDRESS, name, &key()) {
        Ok(opened) => {
            if named {
                assert_eq!(&*opened.meta.name, "Observation/bp");
            }
            if let Content::Inline(buffer, range) = &opened.content {
                let padding = &buffer[range.end..buffer.len() - 16];
                assert!(
                    padding.iter().all(|byte| *byte == 0),
                    "padding that is not zero was accepted"
                );
            }
            assert_round_trip(suite, &opened);
        }
        Err(Error::NotAuthentic) => assert!(named, "a valid seal did not open"),
        Err(error) => assert!(matches!(error, Error::Malformed | Error::Unsupported)),
    }
}

/// Checks that the opened record is unchanged after it is sealed and opened again.
fn assert_round_trip(suite: CipherSuite, opened: &Opened) {
    let body = match &opened.content {
        Content::Inline(buffer, range) if range.len() <= INLINE_MAX => {
            Body::Inline(&buffer[range.clone()])
        }
        Content::Inline(..) => return,
        Content::Segmented {
            stream,
            key,
            length,
        } => Body::Segmented {
            stream: *stream,
            key,
            length: *length,
        },
        Content::Retraction => Body::Retraction,
    };
    let wrap = |_: &_, _: &_| Ok((0, [0; 48]));
    let value = match seal(suite, &ADDRESS, 3, &opened.meta, body, key(), wrap) {
        Ok(value) => value,
        // Sealing cannot fail, because the new value is never longer than the parsed one.
        Err(error) => unreachable!("{error:?}"),
    };
    let head = Head::parse(&value).unwrap();
    let again = open(value, &head, &ADDRESS, None, &key()).unwrap();
    assert_eq!(again.meta, opened.meta);
    match (&again.content, &opened.content) {
        (Content::Inline(one, at), Content::Inline(other, there)) => {
            assert_eq!(one[at.clone()], other[there.clone()]);
        }
        (
            Content::Segmented {
                stream,
                key,
                length,
            },
            Content::Segmented {
                stream: other,
                key: other_key,
                length: other_length,
            },
        ) => {
            assert_eq!((stream, length), (other, other_length));
            assert_eq!(key.expose(), other_key.expose());
        }
        (Content::Retraction, Content::Retraction) => {}
        _ => unreachable!("the kind of content changed"),
    }
}
