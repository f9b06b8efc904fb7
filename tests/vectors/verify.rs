//! Checks of the committed vectors against the library.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Arc;

use chartlock::internals::crypto::{
    AuthorityKey, CipherSuite, DataKey, FrameKey, JournalKey, MasterKey, PatientKey, Place,
    RootKey, StreamKey, hedged_salt,
};
use chartlock::internals::envelope::{
    Address, Body, Content, Head, Segment, StreamSealer, Unsealed, digest, open, seal,
};
use chartlock::internals::keys::{Header, open_entry, seal_entry, wrap};
use chartlock::keys::KeyFile;
use chartlock::storage::{Expect, MemoryStorage, Storage, Transaction, archive};
use chartlock::{Error, RecordId, Subject, Vault};

use crate::committed;
use crate::common::{self, session};
use crate::container::{Objects, Vector};
use crate::coverage;
use crate::formula::{self, sha256};
use crate::library_credential::credential;
use crate::mirror;
use crate::pages_verify;
use crate::reader::{self, OpenedRecord};

fn vectors() -> impl Iterator<Item = (String, Vector)> {
    let vectors = committed().into_iter();
    vectors.map(|(name, archive)| (name, Vector::parse(&archive)))
}

/// Returns the vectors with a requested record that the library must open.
fn record_vectors() -> impl Iterator<Item = (String, Vector)> {
    vectors().filter(|(_, vector)| vector.expect() == "ok" && vector.text("record").is_some())
}

fn storage(objects: &Objects) -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    let puts: Vec<_> = (objects.iter())
        .map(|(key, value)| Transaction::new().put(&key[..], &value[..], Expect::Absent))
        .collect();
    assert!(storage.commit(&puts).iter().all(Result::is_ok));
    storage
}

fn subject(vector: &Vector) -> Option<Subject> {
    let (kind, identifier) = vector.subject()?;
    Some(match kind {
        1 => common::subject(identifier),
        _ => Subject::organization(identifier).unwrap(),
    })
}

/// Reads the record that a vector requests; returns `None` if there is no such record.
fn ask(vector: &Vector, vault: &Vault) -> Result<Option<Vec<u8>>, Error> {
    let Some(subject) = subject(vector) else {
        return Ok(None);
    };
    let session = session(vault);
    let Some(name) = vector.text("record") else {
        return session.list(&subject).map(|_| None);
    };
    let id = RecordId::new(subject, name).unwrap();
    let record = match vector.version() {
        Some(version) => session.get_version(&id, version)?,
        None => session.get(&id)?,
    };
    Ok(record.map(|record| record.to_vec()))
}

/// Returns the failure class of the format. A missing kind of slot is a case of `WrongKey`.
fn class_of(error: &Error) -> String {
    match error {
        Error::NoSlotOfKind => "WrongKey".into(),
        error => format!("{error:?}"),
    }
}

fn outcome(vector: &Vector) -> String {
    if let Some(bytes) = vector.about.get("archive") {
        let storage = MemoryStorage::new();
        let refused = archive::read(Cursor::new(bytes), &storage).unwrap_err();
        return format!("{refused:?}");
    }
    let credential = match credential(vector) {
        Ok(credential) => credential,
        Err(error) => return class_of(&error),
    };
    if vector.about.contains_key("page") {
        return pages_verify::page(vector, &*credential);
    }
    if vector.about.contains_key("coverage") {
        return coverage::outcome(vector, &storage(&vector.storage), &*credential);
    }
    let opened = Vault::open(storage(&vector.storage), &*credential);
    if vector.about.contains_key("journal") {
        return pages_verify::journal(vector, &opened.unwrap()).unwrap();
    }
    match opened.and_then(|vault| ask(vector, &vault)) {
        Ok(Some(content)) => {
            assert!(content == vector.about["content"], "the content differs");
            "ok".into()
        }
        Ok(None) => "none".into(),
        Err(error) => class_of(&error),
    }
}

#[test]
fn library_result_matches_each_vector() {
    let mut counts = BTreeMap::<String, u32>::new();
    for (name, vector) in vectors() {
        let outcome = outcome(&vector);
        assert_eq!(outcome, vector.expect(), "{name}");
        *counts.entry(outcome).or_default() += 1;
    }
    // Each error class of the format must have a vector.
    for class in [
        "ok",
        "none",
        "Erased",
        "Malformed",
        "Unsupported",
        "UnknownMasterKey",
        "UnknownPatientKey",
        "NotAuthentic",
        "WrongKey",
        "HeaderDamaged",
        "HeaderRolledBack",
        "SegmentMissing",
        "CurrentMissing",
        "HistoryGap",
        "TooLarge",
        "BadKeyFile",
        "Missing",
        "Altered",
        "Unlinked",
        "Cut",
        "Replaced",
        "NotAnArchive",
        "Truncated",
        "Digest",
    ] {
        assert!(counts.contains_key(class), "{class}");
    }
}

#[test]
fn second_reader_reproduces_recorded_steps() {
    for (name, vector) in vectors() {
        if !["ok", "none", "Erased"].contains(&vector.expect()) {
            assert!(vector.steps().is_empty(), "{name}");
            continue;
        }
        let opened = reader::read(&vector);
        assert!(!opened.steps.is_empty(), "{name}");
        assert_eq!(opened.steps, vector.steps(), "{name}");
        assert_eq!(
            opened.content.as_ref(),
            vector.about.get("content"),
            "{name}"
        );
    }
}

#[test]
fn auditor_slot_of_vector_opens_journal_key_only_if_expected() {
    let mut given = 0;
    for (name, vector) in vectors() {
        let Some(header) = vector.storage.get(b"v".as_slice()) else {
            continue;
        };
        let Ok(header) = Header::parse(header) else {
            continue;
        };
        let Ok(credential) = credential(&vector) else {
            continue;
        };
        let journal = header.unlock_journal(&*credential);
        let journal = journal.map(|(keys, _)| keys.active().1.expose().to_vec());
        match vector.about.get("journal key") {
            Some(expected) => {
                assert_eq!(journal.as_ref(), Ok(expected), "{name}");
                let read = reader::journal_key(&vector);
                assert_eq!(read.as_ref().map(|key| &key[..]), Some(&expected[..]));
                given += 1;
            }
            None => assert_eq!(class_of(&journal.unwrap_err()), "WrongKey", "{name}"),
        }
    }
    assert_eq!(given, 5);
}

/// The library's writer must produce the same bytes from the same keys. The writer draws salts at
/// random, so the test compares only the bodies of values that are sealed under a salt.
#[test]
fn library_writer_reproduces_vectors() {
    let mut records = 0;
    for (name, vector) in record_vectors() {
        let opened = reader::read(&vector);
        same_keyring(&vector, opened.root.unwrap());
        same_entry(&vector, &name);
        // These vectors contain padding that the library's writer never produces.
        if name.starts_with("padding") || name.starts_with("segmented-empty") {
            continue;
        }
        for record in &opened.records {
            same_record(&vector, record, &name);
            records += 1;
        }
    }
    assert!(records > 20);
}

fn same_keyring(vector: &Vector, root: [u8; 32]) {
    let value = &vector.storage[b"v".as_slice()];
    let root = RootKey::from_bytes(&root);
    let header = Header::parse(value).unwrap();
    let keyring = header.open_keyring(&root).unwrap();
    let again = header.sealed_with(&root, &keyring, header.generation());
    let again = again.unwrap();
    let body = |value: &[u8]| mirror::keyring_body(value, &root);
    assert_eq!(body(&again), body(value));
    let (frame, _) = mirror::split_header(value);
    assert_eq!(again[..frame.len()], *frame, "slots must stay");
}

fn same_entry(vector: &Vector, name: &str) {
    let (key, value) = (vector.storage.iter())
        .find(|(key, _)| key[0] == b'p')
        .unwrap();
    let header = Header::parse(&vector.storage[b"v".as_slice()]).unwrap();
    let unlocked = header.unlock(&*credential(vector).unwrap()).unwrap();
    let (vault, tag) = (header.vault(), key[1..].try_into().unwrap());
    let mut entry = open_entry(value, &unlocked.keyring, vault, &tag).unwrap();
    let number = u32::from_le_bytes(value[4..8].try_into().unwrap());
    let master = unlocked.keyring.master(number).unwrap();
    let (suite, generation) = (
        CipherSuite::from_code(value[1]).unwrap(),
        entry.generation(),
    );
    let again = seal_entry(suite, master, vault, &tag, generation, &mut entry).unwrap();
    let body = |value: &[u8]| {
        let master = MasterKey::from_bytes(master.key.expose());
        let mut body = mirror::entry_body(value, &master, vault, &tag);
        // Ignore the sequence, because each sealing increments it.
        body[2..10].fill(0);
        body
    };
    assert_eq!(body(&again), body(value), "{name}");
}

fn same_record(vector: &Vector, record: &OpenedRecord, name: &str) {
    let value = &vector.storage[&record.key];
    let head = Head::parse(value).unwrap();
    let address = Address {
        chart: record.key[1..17].try_into().unwrap(),
        record: record.key[17..33].try_into().unwrap(),
    };
    let place = match record.key[0] {
        b'r' => Place::Current,
        _ => Place::Earlier,
    };
    let key = || DataKey::from_bytes(&record.data_key);
    let opened = open(
        value.clone(),
        &head,
        &address,
        vector.text("record"),
        &key(),
    )
    .unwrap();
    let content = &vector.about["content"];
    let stream_key = record.stream_key.map(|key| StreamKey::from_bytes(&key));
    let body = match (&opened.content, &stream_key) {
        (Content::Segmented { stream, length, .. }, Some(key)) => {
            same_segments(vector, &head, &address, (stream, key), content);
            Body::Segmented {
                stream: *stream,
                key,
                length: *length,
            }
        }
        _ => Body::Inline(content),
    };
    let patient_key = PatientKey::from_bytes(&record.patient_key);
    let (suite, number) = (head.suite, head.key_number);
    let again = seal(
        suite,
        &address,
        head.version,
        &opened.meta,
        body,
        key(),
        |c, key| Ok((number, wrap(suite, &patient_key, place, number, c, key)?)),
    );
    assert!(again.unwrap() == *value, "{name}");
    assert_eq!(digest(value).unwrap(), sha256(&[&value[96..]]));
    assert!(!record.body.is_empty());
}

fn same_segments(
    vector: &Vector,
    head: &Head,
    address: &Address,
    (id, key): (&[u8; 16], &StreamKey),
    content: &[u8],
) {
    let mut sealer = StreamSealer::new(head.suite, key, &address.chart, id).unwrap();
    let same = |unsealed: Unsealed| {
        let index = unsealed.index().to_be_bytes();
        let at = [b"s", &address.chart[..], id, &index].concat();
        assert!(unsealed.seal().unwrap() == vector.storage[&at]);
    };
    let mut segment = Segment::new(None);
    let mut left = content;
    while !left.is_empty() {
        if segment.is_full() {
            same(sealer.next(segment).unwrap());
            segment = Segment::new(None);
        }
        let bytes = left.read(segment.free()).unwrap();
        segment.advance(bytes);
    }
    sealer.end(&segment).unwrap();
    while let Some(unsealed) = sealer.pad(segment).unwrap() {
        same(unsealed);
        segment = Segment::new(None);
    }
}

/// The vectors contain other salts, because a reader accepts any salt.
#[test]
fn hedged_salt_matches_formula() {
    let (key, random, body) = ([1; 32], [2; 32], b"body");
    let root = RootKey::from_bytes(&key);
    let master = MasterKey::from_bytes(&key);
    let journal = JournalKey::from_bytes(&key);
    let authority = AuthorityKey::from_bytes(&key);
    for key_of in [
        FrameKey::Root(&root),
        FrameKey::Master(&master),
        FrameKey::Journal(&journal),
        FrameKey::Authority(&authority),
    ] {
        let drawn = hedged_salt(key_of, &random, (b"v", 3), body).unwrap();
        assert_eq!(drawn, formula::salt(&key, &random, b"v", 3, body));
    }
}

/// Key rotations must keep unknown extensions in each value that they reseal.
#[test]
fn unknown_extensions_survive_key_rotations() {
    for (name, vector) in record_vectors() {
        let storage = storage(&vector.storage);
        let credential = credential(&vector).unwrap();
        let vault = Vault::open(Arc::clone(&storage), &*credential).unwrap();
        vault.rotate_master_key().unwrap();
        let added = vault.add_slot(&KeyFile::random().unwrap()).unwrap();
        vault.reencrypt().unwrap();
        vault.remove_slot(added).unwrap();
        let vault = Vault::open(Arc::clone(&storage), &*credential).unwrap();
        let content = ask(&vector, &vault).unwrap();
        assert!(content.as_ref() == vector.about.get("content"), "{name}");

        let before = reader::read(&vector);
        let mut objects = Objects::new();
        for key in vector.storage.keys() {
            // Re-encryption stores content streams under new ids, so some of the former storage
            // keys are absent.
            if let Some(stored) = storage.read(&[key]).unwrap().remove(0) {
                objects.insert(key.clone(), stored.value.into());
            }
        }
        let value = &objects[b"v".as_slice()];
        let (frame, _) = mirror::split_header(value);
        let (frame_before, _) = mirror::split_header(&vector.storage[b"v".as_slice()]);
        assert_eq!(
            frame[36..],
            frame_before[36..],
            "{name}: slots and journal keys"
        );
        let root = RootKey::from_bytes(&before.root.unwrap());
        let keyring = |value: &[u8]| -> mirror::Keyring {
            wincode::deserialize_exact(&mirror::keyring_body(value, &root)).unwrap()
        };
        let unknown = |keyring: mirror::Keyring| -> Vec<_> {
            let extensions = keyring.extensions.into_iter();
            extensions
                .filter(|(number, _)| !matches!(number, 1 | 2))
                .collect()
        };
        let ring_before = keyring(&vector.storage[b"v".as_slice()]);
        assert_eq!(unknown(keyring(value)), unknown(ring_before), "{name}");
        for (key, value) in &vector.storage {
            if !b"vprhsw".contains(&key[0]) {
                assert_eq!(objects.get(key), Some(value), "{name}: unrelated object");
            }
        }
    }
}
