//! Agreement of both crypto providers in one build: the same bytes and the same errors.

use chartlock::internals::crypto::provider::{aws_lc, rust_crypto};
use chartlock::{CipherSuite, Error};

use super::{LENGTHS, SUITES, alterations, content};

fn key(suite: CipherSuite, length: usize) -> [u8; 32] {
    rust_crypto::sha256(&[&[suite.code()], &length.to_le_bytes()])
}

/// Nonces that the format uses: zero, and chunk numbers.
const NONCES: [[u8; 12]; 3] = [
    [0; 12],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2],
    [0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
];

/// Seals a message with one provider and opens it with the other provider.
macro_rules! exchanged {
    ($writer:ident, $reader:ident) => {
        for suite in SUITES {
            for length in LENGTHS {
                let key = key(suite, length);
                let writer = $writer::Cipher::new(suite, &key).unwrap();
                let reader = $reader::Cipher::new(suite, &key).unwrap();
                for nonce in &NONCES {
                    let mut sealed = content(length);
                    let tag = writer.seal(nonce, &mut sealed).unwrap();
                    let mut again = content(length);
                    assert_eq!(reader.seal(nonce, &mut again).unwrap(), tag);
                    assert!(again == sealed, "{suite:?} {length}");

                    let mut out = vec![0; length];
                    reader.open_to(nonce, &sealed, &tag, &mut out).unwrap();
                    assert!(out == content(length), "{suite:?} {length}");
                    reader.open(nonce, &mut again, &tag).unwrap();
                    assert!(again == content(length), "{suite:?} {length}");
                }
            }
        }
    };
}

#[test]
fn each_provider_opens_messages_of_other_provider() {
    exchanged!(rust_crypto, aws_lc);
    exchanged!(aws_lc, rust_crypto);
}

#[test]
fn both_providers_refuse_altered_messages_with_same_error() {
    let nonce = &NONCES[1];
    for suite in SUITES {
        for length in LENGTHS {
            let key = key(suite, length);
            let one = rust_crypto::Cipher::new(suite, &key).unwrap();
            let two = aws_lc::Cipher::new(suite, &key).unwrap();
            let mut sealed = content(length);
            let tag = one.seal(nonce, &mut sealed).unwrap();
            for (altered, tag) in alterations(&sealed, &tag) {
                let refused = one.open(nonce, &mut altered.clone(), &tag);
                assert_eq!(refused, Err(Error::NotAuthentic));
                assert_eq!(two.open(nonce, &mut altered.clone(), &tag), refused);
                let out = &mut vec![0; length];
                assert_eq!(one.open_to(nonce, &altered, &tag, out), refused);
                assert_eq!(two.open_to(nonce, &altered, &tag, out), refused);
            }
            let other = &NONCES[2];
            let refused = one.open(other, &mut sealed.clone(), &tag);
            assert_eq!(refused, Err(Error::NotAuthentic));
            assert_eq!(two.open(other, &mut sealed.clone(), &tag), refused);
            let out = &mut vec![0; length + 1];
            assert_eq!(one.open_to(nonce, &sealed, &tag, out), refused);
            assert_eq!(two.open_to(nonce, &sealed, &tag, out), refused);
        }
    }
}

#[test]
fn both_providers_derive_same_keys() {
    let bytes = content(300);
    for length in (0..=300).chain([255 * 32 - 1, 255 * 32]) {
        for split in [0, 8, 52, length] {
            let (first, second) = bytes.split_at(split.min(bytes.len()));
            let key = key(CipherSuite::default(), length);
            let (mut one, mut two) = (vec![1; length], vec![2; length]);
            rust_crypto::expand(&key, &[first, &[], second], &mut one).unwrap();
            aws_lc::expand(&key, &[first, second], &mut two).unwrap();
            assert!(one == two, "{length} bytes");
        }
    }
    let mut out = vec![0; 255 * 32 + 1];
    let refused = rust_crypto::expand(&[7; 32], &[b"info"], &mut out);
    assert_eq!(refused, Err(Error::Malformed));
    assert_eq!(aws_lc::expand(&[7; 32], &[b"info"], &mut out), refused);
}

#[test]
fn both_providers_derive_same_keys_for_any_info_length() {
    let bytes = content(1500);
    for length in 0..bytes.len() {
        let (mut one, mut two) = ([0; 64], [0; 64]);
        rust_crypto::expand(&[9; 32], &[&bytes[..length]], &mut one).unwrap();
        aws_lc::expand(&[9; 32], &[&bytes[..length]], &mut two).unwrap();
        assert_eq!(one, two, "{length} bytes");
    }
}

#[test]
fn both_providers_return_same_digest_for_any_split() {
    for length in [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000] {
        let bytes = content(length);
        let whole = rust_crypto::sha256(&[&bytes]);
        assert_eq!(aws_lc::sha256(&[&bytes]), whole);
        assert_eq!(aws_lc::sha256(&[]), rust_crypto::sha256(&[]));
        for split in 0..=length {
            let (first, second) = bytes.split_at(split);
            assert_eq!(rust_crypto::sha256(&[first, second]), whole);
            assert_eq!(aws_lc::sha256(&[first, &[], second]), whole);
            let mut one = rust_crypto::Sha256::default();
            let mut two = aws_lc::Sha256::default();
            one.update(first);
            two.update(first);
            let so_far = (one.clone(), two.clone());
            one.update(second);
            two.update(second);
            assert_eq!(one.finish(), whole);
            assert_eq!(two.finish(), whole);
            let (one, two) = (so_far.0.finish(), so_far.1.finish());
            assert_eq!(one, two);
            assert_eq!(one, rust_crypto::sha256(&[first]));
        }
    }
}

#[test]
fn cipher_debug_output_contains_no_key() {
    for suite in SUITES {
        let one = rust_crypto::Cipher::new(suite, &[7; 32]).unwrap();
        let two = aws_lc::Cipher::new(suite, &[7; 32]).unwrap();
        assert_eq!(format!("{one:?} {two:?}"), "Cipher(..) Cipher(..)");
    }
}
