//! Open readers during changes to their record: a reader continues with its version or returns a
//! clear error, and never mixes versions.

use std::io::{Read, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use chartlock::internals::envelope::{CHUNK, SEGMENT};
use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{Error, RecordReader, Vault};

use crate::raw::{self, Objects};
use crate::stage::{Stage, content, record, session_on};

everywhere!(
    reader_after_overwrite_keeps_its_version,
    reader_after_retraction_keeps_its_version,
    reader_after_reencryption_at_any_position_continues,
    reader_with_segments_read_ahead_survives_reencryption,
    reader_of_earlier_version_survives_reencryption,
    reader_survives_repeated_reencryption,
    reader_survives_rotations,
    reader_after_erase_returns_erased,
    reader_after_reopen_never_reads_the_new_chart,
    reader_after_lock_returns_locked,
    readers_during_puts_and_reencryption_never_mix_versions,
);

const LENGTH: usize = 2 * SEGMENT + 7 * CHUNK + 5;

/// Opens the vault with this many threads, like another process.
fn open(stage: &Stage, threads: usize) -> Vault {
    let options = stage.options().threads(NonZeroUsize::new(threads).unwrap());
    stage.open_by(options)
}

fn put(stage: &Stage, length: usize) -> Vec<u8> {
    let content = content(1, length);
    let id = record("MRN-1", "CT/1");
    assert_eq!(session_on(&stage.create()).put(&id, &content), Ok(1));
    content
}

fn reader(vault: &Vault) -> RecordReader {
    let id = record("MRN-1", "CT/1");
    session_on(vault).reader(&id).unwrap().unwrap()
}

fn rest(mut reader: RecordReader) -> Vec<u8> {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    rest
}

/// Opens a reader on each vault, checks the first 100 bytes, and returns the readers.
fn partly_read(vaults: [&Vault; 2], content: &[u8]) -> [RecordReader; 2] {
    vaults.map(|vault| {
        let mut reader = reader(vault);
        let mut part = [0; 100];
        reader.read_exact(&mut part).unwrap();
        assert!(part == content[..100]);
        reader
    })
}

fn reader_after_overwrite_keeps_its_version(stage: &Stage) {
    for length in [100, LENGTH] {
        raw::reset(&stage.storage, &Objects::new());
        let content = put(stage, length);
        let (vault, other) = (stage.open(), open(stage, 1));
        let readers = partly_read([&vault, &other], &content);
        let id = record("MRN-1", "CT/1");
        for version in 2..5 {
            let later = crate::stage::content(version, length);
            assert_eq!(session_on(&vault).put(&id, &later), Ok(version));
        }
        for reader in readers {
            assert_eq!(reader.info().version(), 1);
            assert!(rest(reader) == content[100..]);
        }
        assert_eq!(reader(&vault).info().version(), 4);
    }
}

fn reader_after_retraction_keeps_its_version(stage: &Stage) {
    let content = put(stage, LENGTH);
    let (vault, other) = (stage.open(), open(stage, 1));
    let readers = partly_read([&vault, &other], &content);
    let id = record("MRN-1", "CT/1");
    assert_eq!(session_on(&vault).retract(&id), Ok(Some(2)));
    for reader in readers {
        assert!(rest(reader) == content[100..]);
    }
    assert!(session_on(&vault).reader(&id).unwrap().is_none());
}

/// Uses a reader of the re-encrypting vault and a reader of a vault that still caches the former
/// entry.
fn reader_after_reencryption_at_any_position_continues(stage: &Stage) {
    let content = put(stage, LENGTH);
    let (vault, other) = (open(stage, 2), open(stage, 1));
    let id = record("MRN-1", "CT/1");
    for position in [
        0,
        CHUNK + 1,
        SEGMENT - 1,
        SEGMENT,
        2 * SEGMENT + 7,
        LENGTH - 1,
        LENGTH,
    ] {
        let mut readers = [&vault, &other].map(reader);
        let mut parts = readers.each_mut().map(|reader| {
            let mut part = vec![0; position];
            reader.read_exact(&mut part).unwrap();
            part
        });
        vault.reencrypt_subject(id.subject()).unwrap();
        for (mut reader, part) in readers.into_iter().zip(&mut parts) {
            assert!(*part == content[..position]);
            assert_eq!(reader.stream_position().unwrap(), position as u64);
            reader.read_to_end(part).unwrap();
            assert!(*part == content);
            // Earlier positions must be readable again.
            let mut first = [0; 9];
            assert_eq!(reader.read_at(0, &mut first), Ok(9));
            assert!(first == content[..9]);
        }
    }
}

/// Segments that were read ahead come from the former stream, and later segments from the new
/// stream.
fn reader_with_segments_read_ahead_survives_reencryption(stage: &Stage) {
    let content = put(stage, 14 * SEGMENT + 5);
    let vault = open(stage, 4);
    let id = record("MRN-1", "CT/1");
    let mut reader = reader(&vault);
    let mut read = vec![0; 4 * SEGMENT + 1];
    reader.read_exact(&mut read).unwrap();
    open(stage, 2).reencrypt_subject(id.subject()).unwrap();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == content);
}

fn reader_of_earlier_version_survives_reencryption(stage: &Stage) {
    let content = put(stage, LENGTH);
    let (vault, other) = (stage.open(), open(stage, 1));
    let id = record("MRN-1", "CT/1");
    let readers = partly_read([&vault, &other], &content);
    let later = crate::stage::content(2, LENGTH);
    session_on(&vault).put(&id, &later).unwrap();
    vault.reencrypt_subject(id.subject()).unwrap();
    for reader in readers {
        let mut last = [0; 9];
        let offset = LENGTH as u64 - 9;
        assert_eq!(reader.read_at(offset, &mut last), Ok(9));
        assert!(last == content[LENGTH - 9..]);
        assert!(rest(reader) == content[100..]);
    }
}

/// Re-encrypts the record before each of the first five segment reads. The stream that the reader
/// looked up is then already replaced.
fn reader_survives_repeated_reencryption(stage: &Stage) {
    let content = put(stage, CHUNK + 5);
    let id = record("MRN-1", "CT/1");
    let other = stage.open();
    let left = AtomicU32::new(5);
    let (vault, _) = stage.open_with(move |_, point| {
        let segment =
            matches!(point, FaultPoint::Read(keys) if keys.iter().any(|key| key[0] == b's'));
        let once_more = |left: u32| left.checked_sub(1);
        if segment
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, once_more)
                .is_ok()
        {
            other.reencrypt_subject(id.subject()).unwrap();
        }
        FaultAction::Proceed
    });
    assert!(rest(reader(&vault)) == content);
}

fn reader_survives_rotations(stage: &Stage) {
    let content = put(stage, LENGTH);
    let (vault, other) = (stage.open(), open(stage, 1));
    let id = record("MRN-1", "CT/1");
    let readers = partly_read([&vault, &other], &content);
    vault.rotate_subject_key(id.subject()).unwrap();
    vault.rotate_master_key().unwrap();
    for mut reader in readers {
        assert!(rest_from(&mut reader, 50) == content[50..]);
        // The entry is now sealed under the new master key.
        vault.reencrypt_subject(id.subject()).unwrap();
        assert!(rest_from(&mut reader, SEGMENT + 3) == content[SEGMENT + 3..]);
    }
}

fn rest_from(reader: &mut RecordReader, offset: usize) -> Vec<u8> {
    let mut rest = Vec::new();
    reader.seek(SeekFrom::Start(offset as u64)).unwrap();
    reader.read_to_end(&mut rest).unwrap();
    rest
}

fn reader_after_erase_returns_erased(stage: &Stage) {
    let content = put(stage, LENGTH);
    let (vault, other) = (stage.open(), open(stage, 1));
    let id = record("MRN-1", "CT/1");
    let mut readers = partly_read([&vault, &other], &content);
    session_on(&vault)
        .erase_subject(id.subject(), "asked for")
        .unwrap();
    for reader in &mut readers {
        for offset in [SEGMENT, LENGTH - 1] {
            let read = reader.read_at(offset as u64, &mut [0; 9]);
            assert_eq!(read, Err(Error::Erased));
        }
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.downcast::<Error>().unwrap(), Error::Erased);
    }
}

/// The reopened chart has a record of the same name, version and length, which must not be read.
fn reader_after_reopen_never_reads_the_new_chart(stage: &Stage) {
    let content = put(stage, LENGTH);
    let (vault, other) = (stage.open(), open(stage, 1));
    let id = record("MRN-1", "CT/1");
    let readers = partly_read([&vault, &other], &content);
    let session = session_on(&vault);
    session.erase_subject(id.subject(), "asked for").unwrap();
    session.reopen_chart(id.subject()).unwrap();
    let gone = [Error::Conflict, Error::Erased];
    let read_at_end = |reader: &RecordReader| {
        let read = reader.read_at(LENGTH as u64 - 9, &mut [0; 9]);
        assert!(gone.contains(&read.unwrap_err()));
    };
    readers.iter().for_each(read_at_end);
    session.put(&id, &crate::stage::content(2, LENGTH)).unwrap();
    readers.iter().for_each(read_at_end);
}

fn reader_after_lock_returns_locked(stage: &Stage) {
    let content = put(stage, LENGTH);
    let small = record("MRN-1", "Observation/1");
    session_on(&stage.open()).put(&small, b"small").unwrap();
    let (vault, other) = (stage.open(), open(stage, 1));
    let inline = session_on(&vault).reader(&small).unwrap().unwrap();
    let [mut locked, unlocked] = partly_read([&vault, &other], &content);
    vault.lock();
    assert_eq!(inline.read_at(0, &mut [0; 9]), Err(Error::Locked));
    // Read at one offset in the segment that the reader caches, and at one offset beyond that
    // segment.
    for offset in [0, LENGTH - 9] {
        assert_eq!(
            locked.read_at(offset as u64, &mut [0; 9]),
            Err(Error::Locked)
        );
    }
    let error = locked.read(&mut [0; 9]).unwrap_err();
    assert_eq!(error.downcast::<Error>().unwrap(), Error::Locked);
    assert!(rest(unlocked) == content[100..]);
}

/// A writer puts, re-encrypts and rotates; each reader must read one version from its first byte to
/// its last.
fn readers_during_puts_and_reencryption_never_mix_versions(stage: &Stage) {
    const LENGTH: usize = 3 * SEGMENT + 77;
    put(stage, LENGTH);
    let vaults = [2, 1, 4].map(|threads| open(stage, threads));
    let id = record("MRN-1", "CT/1");
    let ended = AtomicBool::new(false);
    let read = AtomicU32::new(0);
    thread::scope(|scope| {
        for vault in &vaults {
            let (ended, read) = (&ended, &read);
            scope.spawn(move || {
                while !ended.load(Ordering::SeqCst) {
                    let mut reader = reader(vault);
                    let expected = content(reader.info().version(), LENGTH);
                    let mut found = Vec::with_capacity(LENGTH);
                    reader.read_to_end(&mut found).unwrap();
                    assert!(found == expected);
                    read.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let writer = stage.open();
        let session = session_on(&writer);
        let mut version = 1;
        while version < 6 || read.load(Ordering::SeqCst) < 6 {
            version += 1;
            assert_eq!(session.put(&id, &content(version, LENGTH)), Ok(version));
            writer.reencrypt_subject(id.subject()).unwrap();
            writer.collect_garbage().unwrap();
            if version == 3 {
                writer.rotate_master_key().unwrap();
            }
        }
        ended.store(true, Ordering::SeqCst);
    });
}
