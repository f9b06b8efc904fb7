//! Contract between the crypto provider of this build and the layers above.

use chartlock::internals::crypto::{LONGEST, Nonce, SealingKey, StreamKey, TAG, chunk_key};
use chartlock::{CipherSuite, Error};

use super::{LENGTHS, SUITES, alterations, content};

fn key(suite: CipherSuite) -> SealingKey {
    chunk_key(
        suite,
        &StreamKey::from_bytes(&[3; 32]),
        &[4; 16],
        &[5; 16],
        1,
    )
    .unwrap()
}

#[test]
fn sealed_message_opens_in_place_and_into_other_buffer() {
    for suite in SUITES {
        let key = key(suite);
        for (chunk, length) in LENGTHS.into_iter().enumerate() {
            let nonce = Nonce::chunk(chunk as u64);
            let mut buffer = content(length);
            let tag = key.seal(nonce, &mut buffer).unwrap();
            assert!(length < 16 || buffer != content(length));
            let mut out = vec![0; length];
            key.open_to(nonce, &buffer, &tag, &mut out).unwrap();
            assert!(out == content(length));
            key.open(nonce, &mut buffer, &tag).unwrap();
            assert!(buffer == content(length));
        }
    }
}

#[test]
fn message_that_fails_to_open_leaves_no_plaintext() {
    for suite in SUITES {
        let key = key(suite);
        for length in LENGTHS {
            let mut sealed = content(length);
            let tag = key.seal(Nonce::ZERO, &mut sealed).unwrap();
            let mut refused = alterations(&sealed, &tag);
            refused.push((sealed.clone(), [0; TAG]));
            for (altered, tag) in refused {
                let mut buffer = altered.clone();
                let opened = key.open(Nonce::ZERO, &mut buffer, &tag);
                assert_eq!(opened, Err(Error::NotAuthentic));
                assert!(buffer == altered || is_zero(&buffer), "{suite:?} {length}");

                let mut out = vec![0; length];
                let opened = key.open_to(Nonce::ZERO, &altered, &tag, &mut out);
                assert_eq!(opened, Err(Error::NotAuthentic));
                assert!(is_zero(&out), "{suite:?} {length}");
            }
            let mut buffer = sealed.clone();
            let opened = key.open(Nonce::chunk(1), &mut buffer, &tag);
            assert_eq!(opened, Err(Error::NotAuthentic));
            assert!(buffer == sealed || is_zero(&buffer), "{suite:?} {length}");
        }
    }
}

#[test]
fn message_opened_into_buffer_of_wrong_length_writes_nothing() {
    for suite in SUITES {
        let key = key(suite);
        let mut sealed = content(100);
        let tag = key.seal(Nonce::ZERO, &mut sealed).unwrap();
        for length in [0, 99, 101] {
            let mut out = vec![0; length];
            let opened = key.open_to(Nonce::ZERO, &sealed, &tag, &mut out);
            assert_eq!(opened, Err(Error::NotAuthentic));
            assert!(is_zero(&out));
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Returns memory that the process must not access; an access ends the test.
#[cfg(unix)]
#[allow(unsafe_code)]
fn untouchable(length: usize) -> &'static mut [u8] {
    // SAFETY: the mapping is new and never unmapped. No byte of it is read or written.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let start = libc::mmap(std::ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0);
        assert_ne!(start, libc::MAP_FAILED);
        std::slice::from_raw_parts_mut(start.cast(), length)
    }
}

#[test]
#[cfg(all(unix, target_pointer_width = "64"))]
fn oversized_message_is_refused_without_memory_access() {
    let beyond = untouchable(LONGEST as usize + 1);
    for suite in SUITES {
        let key = key(suite);
        assert_eq!(key.seal(Nonce::ZERO, beyond), Err(Error::TooLarge));
        let opened = key.open(Nonce::ZERO, beyond, &[0; TAG]);
        assert_eq!(opened, Err(Error::NotAuthentic));
        let opened = key.open_to(Nonce::ZERO, beyond, &[0; TAG], &mut []);
        assert_eq!(opened, Err(Error::NotAuthentic));
    }
}
