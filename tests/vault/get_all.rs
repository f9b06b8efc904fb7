//! Reads of all records of a subject: `get_all` returns the results of `get` for each listed
//! record, even during changes.

use std::collections::BTreeMap;

use chartlock::internals::envelope::SEGMENT;
use chartlock::{Document, Error, Record, Session};

use crate::raw;
use crate::stage::{Stage, content, record, session_on, subject};

everywhere!(
    get_all_yields_the_same_as_get,
    get_all_is_empty_for_unknown_and_fails_for_erased_subject,
    get_all_with_damaged_records_yields_an_error_for_each,
    get_all_with_records_beyond_limit_yields_an_error_for_each,
    get_all_during_rotation_yields_every_record,
    get_all_of_large_records_during_reencryption_yields_every_record,
    get_all_during_erasure_ends_with_erased,
    get_all_after_lock_returns_locked,
);

type Contents = BTreeMap<String, Vec<u8>>;

fn name_and_content(found: Result<Record, Error>) -> (String, Vec<u8>) {
    let record = found.unwrap();
    (record.info().name().to_owned(), record.to_vec())
}

fn read_all(session: &Session) -> Contents {
    let contents = session.get_all(&subject("MRN-1")).unwrap();
    contents.map(name_and_content).collect()
}

/// More records than fit on one scan page.
const RECORDS: u64 = 1100;

/// Puts [`RECORDS`] records.
fn fill(session: &Session) -> Contents {
    let names: Vec<_> = (0..RECORDS)
        .map(|index| format!("record {index:04}"))
        .collect();
    let ids: Vec<_> = names.iter().map(|name| record("MRN-1", name)).collect();
    let bodies: Vec<_> = (0..RECORDS)
        .map(|seed| content(seed, 40 + seed as usize % 200))
        .collect();
    let documents = bodies.iter().map(Document::from);
    let outcomes = session.put_many(ids.iter().zip(documents)).unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(1)));
    names.into_iter().zip(bodies).collect()
}

fn get_all_yields_the_same_as_get(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let mut expected = fill(&session);
    session.put(&record("MRN-2", "of another"), b"-").unwrap();
    for (name, length) in [("record 007", 3), ("CT/1", SEGMENT + 9), ("empty", 0)] {
        let bytes = content(9, length);
        session.put(&record("MRN-1", name), &bytes).unwrap();
        expected.insert(name.to_owned(), bytes);
    }
    session.retract(&record("MRN-1", "record 100")).unwrap();
    expected.remove("record 100");
    assert_eq!(read_all(&session), expected);
    for found in session.get_all(&subject("MRN-1")).unwrap() {
        let found = found.unwrap();
        let id = record("MRN-1", found.info().name());
        assert_eq!(session.get(&id).unwrap().unwrap().info(), found.info());
    }
}

fn get_all_is_empty_for_unknown_and_fails_for_erased_subject(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    assert!(session.get_all(&subject("MRN-1")).unwrap().next().is_none());
    fill(&session);
    session
        .erase_subject(&subject("MRN-1"), "asked for")
        .unwrap();
    let erased = session.get_all(&subject("MRN-1")).map(drop);
    assert_eq!(erased, Err(Error::Erased));
}

fn get_all_with_damaged_records_yields_an_error_for_each(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let expected = fill(&session);
    let records = raw::objects_of(&*stage.storage, b"r");
    let (first, second) = (
        records.keys().next().unwrap(),
        records.keys().nth(150).unwrap(),
    );
    let mut altered = records[first].clone();
    *altered.last_mut().unwrap() ^= 1;
    raw::put(&*stage.storage, first, &altered);
    // Puts the first record's bytes under the second record's key.
    raw::put(&*stage.storage, second, &records[first]);
    let contents = session.get_all(&subject("MRN-1")).unwrap();
    let (found, failed): (Vec<_>, Vec<_>) = contents.partition(Result::is_ok);
    let failed: Vec<_> = failed.into_iter().map(Result::unwrap_err).collect();
    assert_eq!(failed, [Error::NotAuthentic, Error::NotAuthentic]);
    let found: Contents = found.into_iter().map(name_and_content).collect();
    assert_eq!(found.len(), expected.len() - 2);
    assert!(found.iter().all(|(name, bytes)| expected[name] == *bytes));
}

fn get_all_with_records_beyond_limit_yields_an_error_for_each(stage: &Stage) {
    let options = stage.options().whole_record_limit(100_000);
    let vault = stage.create_by(options);
    let session = session_on(&vault);
    session.put(&record("MRN-1", "a"), b"small").unwrap();
    let large = content(1, 100_001);
    session.put(&record("MRN-1", "b"), &large).unwrap();
    session.put(&record("MRN-1", "c"), &large[1..]).unwrap();
    let contents = session.get_all(&subject("MRN-1")).unwrap();
    let mut lengths: Vec<_> = contents
        .map(|found| found.map(|record| record.len()))
        .collect();
    lengths.sort_by_key(|length| length.clone().unwrap_or(usize::MAX));
    assert_eq!(lengths, [Ok(5), Ok(100_000), Err(Error::BeyondLimit)]);
}

fn get_all_during_rotation_yields_every_record(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let expected = fill(&session);
    let mut contents = session.get_all(&subject("MRN-1")).unwrap();
    let mut found: Contents = contents.next().map(name_and_content).into_iter().collect();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    found.extend(contents.by_ref().take(9).map(name_and_content));
    vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    found.extend(contents.map(name_and_content));
    assert_eq!(found, expected);
}

fn get_all_of_large_records_during_reencryption_yields_every_record(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    let names = ["a", "b", "c"];
    for name in names {
        let id = record("MRN-1", name);
        session.put(&id, &content(1, SEGMENT)).unwrap();
    }
    let mut contents = session.get_all(&subject("MRN-1")).unwrap();
    let (first, _) = name_and_content(contents.next().unwrap());
    // Re-encryption removes the old streams, so the iterator must read the new ones.
    vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    let mut found: Vec<_> = contents.map(name_and_content).collect();
    found.sort();
    let others = names.into_iter().filter(|name| *name != first);
    let expected: Vec<_> = others
        .map(|name| (name.to_owned(), content(1, SEGMENT)))
        .collect();
    assert_eq!(found, expected);
}

fn get_all_during_erasure_ends_with_erased(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session);
    let mut contents = session.get_all(&subject("MRN-1")).unwrap();
    assert!(contents.next().unwrap().is_ok());
    let other = stage.open();
    let done = session_on(&other).erase_subject(&subject("MRN-1"), "asked for");
    done.unwrap();
    // The iterator may still yield records that it read before the erasure. The iterator must not
    // treat the erased chart's empty scan as the end of the list.
    let last = contents.by_ref().last().unwrap();
    assert_eq!(last.unwrap_err(), Error::Erased);
    assert!(contents.next().is_none());
}

fn get_all_after_lock_returns_locked(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session);
    let mut contents = session.get_all(&subject("MRN-1")).unwrap();
    assert!(contents.next().unwrap().is_ok());
    vault.lock();
    assert_eq!(contents.next().unwrap().unwrap_err(), Error::Locked);
    assert!(contents.next().is_none());
}
