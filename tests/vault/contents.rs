//! A whole chart in one walk: what `get` gives for each name of a `list`, and what happens beside it.

use std::collections::BTreeMap;

use chartlock::internals::envelope::SEGMENT;
use chartlock::{Document, Error, Record, Session};

use crate::raw;
use crate::stage::{Stage, content, record, session, subject};

everywhere!(
    as_each_for_itself,
    none_of_a_stranger_or_the_erased,
    what_does_not_open_is_told_in_its_place,
    too_large_ones_are_told,
    rotated_meanwhile,
    amended_meanwhile,
    erased_meanwhile,
    locked_meanwhile,
);

type Contents = BTreeMap<String, Vec<u8>>;

fn take(found: Result<Record, Error>) -> (String, Vec<u8>) {
    let record = found.unwrap();
    (record.info().name().to_owned(), record.to_vec())
}

fn all(session: &Session) -> Contents {
    let contents = session.get_all(&subject("MRN-1")).unwrap();
    contents.map(take).collect()
}

/// More records than a walk fetches at a time.
fn fill(session: &Session) -> Contents {
    let names: Vec<_> = (0..200).map(|index| format!("record {index:03}")).collect();
    let ids: Vec<_> = names.iter().map(|name| record("MRN-1", name)).collect();
    let bodies: Vec<_> = (0..200)
        .map(|seed| content(seed, 40 + seed as usize))
        .collect();
    let documents = bodies.iter().map(Document::from);
    let outcomes = session.put_many(ids.iter().zip(documents)).unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(1)));
    names.into_iter().zip(bodies).collect()
}

fn as_each_for_itself(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let mut expected = fill(&chart);
    chart.put(&record("MRN-2", "of another"), b"-").unwrap();
    for (name, length) in [("record 007", 3), ("CT/1", SEGMENT + 9), ("empty", 0)] {
        let bytes = content(9, length);
        chart.put(&record("MRN-1", name), &bytes).unwrap();
        expected.insert(name.to_owned(), bytes);
    }
    chart.retract(&record("MRN-1", "record 100")).unwrap();
    expected.remove("record 100");
    assert_eq!(all(&chart), expected);
    for found in chart.get_all(&subject("MRN-1")).unwrap() {
        let found = found.unwrap();
        let id = record("MRN-1", found.info().name());
        assert_eq!(chart.get(&id).unwrap().unwrap().info(), found.info());
    }
}

fn none_of_a_stranger_or_the_erased(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    assert!(chart.get_all(&subject("MRN-1")).unwrap().next().is_none());
    fill(&chart);
    chart.erase_subject(&subject("MRN-1"), "asked for").unwrap();
    let erased = chart.get_all(&subject("MRN-1")).map(drop);
    assert_eq!(erased, Err(Error::Erased));
}

fn what_does_not_open_is_told_in_its_place(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let expected = fill(&chart);
    let records = raw::objects_of(&*stage.storage, b"r");
    let (first, second) = (
        records.keys().next().unwrap(),
        records.keys().nth(150).unwrap(),
    );
    let mut altered = records[first].clone();
    *altered.last_mut().unwrap() ^= 1;
    raw::put(&*stage.storage, first, &altered);
    // Another record of the same chart, in its place.
    raw::put(&*stage.storage, second, &records[first]);
    let contents = chart.get_all(&subject("MRN-1")).unwrap();
    let (found, failed): (Vec<_>, Vec<_>) = contents.partition(Result::is_ok);
    let failed: Vec<_> = failed.into_iter().map(Result::unwrap_err).collect();
    assert_eq!(failed, [Error::NotAuthentic, Error::NotAuthentic]);
    let found: Contents = found.into_iter().map(take).collect();
    assert_eq!(found.len(), expected.len() - 2);
    assert!(found.iter().all(|(name, bytes)| expected[name] == *bytes));
}

fn too_large_ones_are_told(stage: &Stage) {
    let options = stage.options().whole_record_limit(100_000);
    let vault = stage.create_by(options);
    let chart = session(&vault);
    chart.put(&record("MRN-1", "a"), b"small").unwrap();
    let large = content(1, 100_001);
    chart.put(&record("MRN-1", "b"), &large).unwrap();
    chart.put(&record("MRN-1", "c"), &large[1..]).unwrap();
    let contents = chart.get_all(&subject("MRN-1")).unwrap();
    let mut told: Vec<_> = contents
        .map(|found| found.map(|record| record.len()))
        .collect();
    told.sort_by_key(|told| told.clone().unwrap_or(usize::MAX));
    assert_eq!(told, [Ok(5), Ok(100_000), Err(Error::BeyondLimit)]);
}

fn rotated_meanwhile(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let expected = fill(&chart);
    let mut contents = chart.get_all(&subject("MRN-1")).unwrap();
    let mut found: Contents = contents.next().map(take).into_iter().collect();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    found.extend(contents.by_ref().take(9).map(take));
    vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    found.extend(contents.map(take));
    assert_eq!(found, expected);
}

fn amended_meanwhile(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    let names = ["a", "b", "c"];
    for name in names {
        let id = record("MRN-1", name);
        chart.put(&id, &content(1, SEGMENT)).unwrap();
    }
    let mut contents = chart.get_all(&subject("MRN-1")).unwrap();
    let (first, _) = take(contents.next().unwrap());
    // Encrypted again, so that the content of what was fetched stands nowhere any more.
    vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    let mut found: Vec<_> = contents.map(take).collect();
    found.sort();
    let others = names.into_iter().filter(|name| *name != first);
    let expected: Vec<_> = others
        .map(|name| (name.to_owned(), content(1, SEGMENT)))
        .collect();
    assert_eq!(found, expected);
}

fn erased_meanwhile(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    fill(&chart);
    let mut contents = chart.get_all(&subject("MRN-1")).unwrap();
    assert!(contents.next().unwrap().is_ok());
    let other = stage.open();
    let done = session(&other).erase_subject(&subject("MRN-1"), "asked for");
    done.unwrap();
    // What was fetched before may come yet; that there is no more is not taken for the end.
    let last = contents.by_ref().last().unwrap();
    assert_eq!(last.unwrap_err(), Error::Erased);
    assert!(contents.next().is_none());
}

fn locked_meanwhile(stage: &Stage) {
    let vault = stage.create();
    let chart = session(&vault);
    fill(&chart);
    let mut contents = chart.get_all(&subject("MRN-1")).unwrap();
    assert!(contents.next().unwrap().is_ok());
    vault.lock();
    assert_eq!(contents.next().unwrap().unwrap_err(), Error::Locked);
    assert!(contents.next().is_none());
}
