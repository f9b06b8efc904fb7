//! Benchmark of content streams. Each comparison prints both times and the median of their ratios.
//!
//! The baselines are the bare cipher over the same chunks, one thread instead of two, and plain
//! writes and reads of the same bytes on disk.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/credential.rs"]
mod credential;
#[path = "common/ratio.rs"]
mod ratio;

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chartlock::internals::crypto::StreamKey;
use chartlock::internals::envelope::{CHUNK, SEGMENT, Segment, StreamOpener, StreamSealer};
use chartlock::storage::{MemoryStorage, Storage};
use chartlock::{Actor, CipherSuite, FileStorage, Purpose, RecordId, Session, Vault, VaultOptions};
use credential::Fixed;
use ratio::ratio;

/// The length of the stream, in bytes.
const LENGTH: usize = 256 << 20;
const PAIRS: usize = 9;
const CHART: [u8; 16] = [1; 16];
const STREAM: [u8; 16] = [2; 16];

fn time(call: impl FnOnce()) -> Duration {
    let start = Instant::now();
    call();
    start.elapsed()
}

/// Seals the stream, and passes each segment to `hand_on`. All segments use the same buffer.
fn seal(key: &StreamKey, content: &[u8], mut hand_on: impl FnMut(&[u8])) {
    let mut sealer = StreamSealer::new(CipherSuite::default(), key, &CHART, &STREAM).unwrap();
    let mut left = content;
    let mut segment = Segment::new(None);
    while !left.is_empty() {
        if segment.is_full() {
            let sealed = sealer.next(segment).unwrap().seal().unwrap();
            hand_on(&sealed);
            segment = Segment::new(Some(sealed));
        }
        let bytes = left.read(segment.free()).unwrap();
        segment.advance(bytes);
    }
    sealer.end(&segment).unwrap();
    while let Some(unsealed) = sealer.pad(segment).unwrap() {
        let sealed = unsealed.seal().unwrap();
        hand_on(&sealed);
        segment = Segment::new(Some(sealed));
    }
}

fn against_the_bare_cipher(content: &[u8]) {
    let key = StreamKey::random().unwrap();
    let bare = Aes256Gcm::new(&[7; 32].into());
    let nonce = Default::default();
    let mut buffer = vec![0; CHUNK];
    ratio(
        "seal 256 MiB, one thread / bare cipher",
        PAIRS,
        || time(|| seal(&key, content, |_| ())),
        || {
            time(|| {
                for chunk in content.chunks(CHUNK) {
                    buffer.copy_from_slice(chunk);
                    let sealed = buffer.as_mut_slice().into();
                    bare.encrypt_inout_detached(&nonce, b"", sealed).unwrap();
                }
            })
        },
    );

    let mut segments = Vec::new();
    seal(&key, content, |sealed| segments.push(sealed.to_vec()));
    let length = content.len() as u64;
    let opener = StreamOpener::new(CipherSuite::default(), &key, &CHART, &STREAM, length).unwrap();
    let sealed: Vec<_> = content
        .chunks(CHUNK)
        .map(|chunk| {
            let mut sealed = chunk.to_vec();
            let buffer = sealed.as_mut_slice().into();
            let tag = bare.encrypt_inout_detached(&nonce, b"", buffer).unwrap();
            (sealed, tag)
        })
        .collect();
    let mut out = vec![0; SEGMENT];
    ratio(
        "open 256 MiB, one thread / bare cipher",
        PAIRS,
        || {
            time(|| {
                for (value, index) in segments.iter().zip(0..) {
                    let mut segment = opener.segment(index, value.clone()).unwrap();
                    segment.copy(&opener, 0, &mut out).unwrap();
                }
            })
        },
        || {
            time(|| {
                for (chunk, tag) in &sealed {
                    buffer.copy_from_slice(chunk);
                    let opened = buffer.as_mut_slice().into();
                    bare.decrypt_inout_detached(&nonce, b"", opened, tag)
                        .unwrap();
                }
            })
        },
    );
}

/// Measures the gain from a second thread on this machine: for the bare cipher, and for opening
/// segments without a storage.
fn two_threads_without_storage(content: &[u8]) {
    let bare = || {
        let cipher = Aes256Gcm::new(&[7; 32].into());
        let mut buffer = vec![0; CHUNK];
        for _ in 0..LENGTH / CHUNK / 2 {
            let sealed = buffer.as_mut_slice().into();
            let nonce = Default::default();
            cipher.encrypt_inout_detached(&nonce, b"", sealed).unwrap();
        }
    };
    ratio(
        "bare cipher 256 MiB, two threads / one",
        PAIRS,
        || time(|| side_by_side(&bare, &bare)),
        || {
            time(|| {
                bare();
                bare();
            })
        },
    );
    let key = StreamKey::random().unwrap();
    let mut segments = Vec::new();
    seal(&key, content, |sealed| segments.push(sealed.to_vec()));
    let length = content.len() as u64;
    let opener = StreamOpener::new(CipherSuite::default(), &key, &CHART, &STREAM, length).unwrap();
    let (first, second) = segments.split_at(segments.len() / 2);
    let open = |from: u32, values: &[Vec<u8>]| {
        let mut out = vec![0; SEGMENT];
        for (value, index) in values.iter().zip(from..) {
            let mut segment = opener.segment(index, value.clone()).unwrap();
            segment.copy(&opener, 0, &mut out).unwrap();
        }
    };
    let first = || open(0, first);
    let second = || open(segments.len() as u32 / 2, second);
    ratio(
        "open 256 MiB without storage, two threads / one",
        PAIRS,
        || time(|| side_by_side(&first, &second)),
        || {
            time(|| {
                first();
                second();
            })
        },
    );
}

fn side_by_side(one: &(impl Fn() + Sync), other: &(impl Fn() + Sync)) {
    std::thread::scope(|scope| {
        scope.spawn(one);
        other();
    });
}

fn vault(storage: impl Storage + 'static, threads: usize) -> Vault {
    VaultOptions::new()
        .threads(NonZeroUsize::new(threads).unwrap())
        .create(storage, &Fixed(1))
        .unwrap()
}

fn session(vault: &Vault) -> Session {
    vault.session(Actor::new("bench").unwrap(), Purpose::Operations)
}

fn id() -> RecordId {
    RecordId::patient("MRN-1", "ImagingStudy/1").unwrap()
}

/// Measures one put into a new vault. Each call creates a vault, so that memory use does not grow.
fn put(threads: usize, content: &[u8]) -> Duration {
    let vault = vault(MemoryStorage::new(), threads);
    time(|| {
        session(&vault).put_reader(&id(), content).unwrap();
    })
}

fn read(vault: &Vault, buffer: &mut [u8]) -> Duration {
    let mut reader = session(vault).reader(&id()).unwrap().unwrap();
    time(|| while reader.read(buffer).unwrap() > 0 {})
}

fn by_threads(content: &[u8]) {
    ratio(
        "put_reader 256 MiB in memory, two threads / one",
        PAIRS,
        || put(2, content),
        || put(1, content),
    );
    let [one, two] = [1, 2].map(|threads| {
        let vault = vault(MemoryStorage::new(), threads);
        session(&vault).put_reader(&id(), content).unwrap();
        vault
    });
    let mut buffer = vec![0; 128 * 1024];
    let mut again = buffer.clone();
    ratio(
        "reader 256 MiB in memory, two threads / one",
        PAIRS,
        || read(&two, &mut buffer),
        || read(&one, &mut again),
    );
    ratio(
        "get 256 MiB in memory, two threads / one",
        PAIRS,
        || time(|| drop(session(&two).get(&id()).unwrap())),
        || time(|| drop(session(&one).get(&id()).unwrap())),
    );
}

fn on_disk(content: &[u8]) {
    let scratch = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(scratch.path().join("vault")).unwrap();
    let vault = Vault::create(storage, &Fixed(1)).unwrap();
    let plain = scratch.path().join("plain");
    ratio(
        "put_reader 256 MiB on disk / plain write and sync",
        PAIRS,
        || {
            let took = time(|| {
                session(&vault).put_reader(&id(), content).unwrap();
            });
            // Erase the chart, so that the disk does not fill.
            let subject = id();
            session(&vault)
                .erase_subject(subject.subject(), "asked for")
                .unwrap();
            session(&vault).reopen_chart(subject.subject()).unwrap();
            took
        },
        || {
            let took = time(|| {
                let mut file = File::create(&plain).unwrap();
                file.write_all(content).unwrap();
                file.sync_all().unwrap();
            });
            std::fs::remove_file(&plain).unwrap();
            took
        },
    );
    session(&vault).put_reader(&id(), content).unwrap();
    std::fs::write(&plain, content).unwrap();
    let mut buffer = vec![0; 128 * 1024];
    let mut again = buffer.clone();
    ratio(
        "reader 256 MiB on disk, cached / plain read",
        PAIRS,
        || read(&vault, &mut buffer),
        || {
            let mut file = File::open(&plain).unwrap();
            time(|| while file.read(&mut again).unwrap() > 0 {})
        },
    );
}

fn main() {
    let content: Vec<u8> = (0..LENGTH).map(|place| (place >> 3) as u8).collect();
    against_the_bare_cipher(&content);
    two_threads_without_storage(&content);
    by_threads(&content);
    on_disk(&content);
}
