//! Objects under keys of class `h` that belong to no version: reads and puts ignore them.

use crate::raw;
use crate::stage::{Stage, record, session_on};

everywhere!(
    keys_of_no_version_change_no_read,
    keys_of_no_version_are_no_lost_record,
    keys_of_no_version_hide_no_version_from_expunge
);

/// Stores objects beside an earlier version: under numbers that no version has, and under shorter
/// and longer keys.
fn plant(stage: &Stage, earlier: &[u8]) {
    for number in [0, 1 << 63, u64::MAX] {
        let key = [&earlier[..33], &u64::to_be_bytes(number)].concat();
        raw::put(&stage.storage, &key, &[1; 200]);
    }
    raw::put(&stage.storage, &earlier[..40], &[1; 200]);
    // More keys than one page of a scan contains.
    for byte in 0..40 {
        let key = [&earlier[..33], &[0, byte]].concat();
        raw::put(&stage.storage, &key, &[1; 200]);
    }
}

fn keys_of_no_version_change_no_read(stage: &Stage) {
    let session = session_on(&stage.create());
    let id = record("MRN-1", "Observation/1");
    for content in [b"1", b"2", b"3"] {
        session.put(&id, content).unwrap();
    }
    let earlier = raw::objects_of(&stage.storage, b"h");
    plant(stage, earlier.first_key_value().unwrap().0);
    assert_eq!(session.history(&id).unwrap().len(), 3);
    for (version, content) in [(1, b"1"), (2, b"2"), (3, b"3")] {
        let found = session.get_version(&id, version).unwrap().unwrap();
        assert_eq!(found[..], *content);
    }
    assert_eq!(session.put(&id, b"4"), Ok(4));
}

fn keys_of_no_version_are_no_lost_record(stage: &Stage) {
    let session = session_on(&stage.create());
    let id = record("MRN-1", "Observation/1");
    for content in [b"1", b"2"] {
        session.put(&id, content).unwrap();
    }
    let earlier = raw::objects_of(&stage.storage, b"h");
    let (earlier, _) = earlier.first_key_value().unwrap();
    let current = [b"r", &earlier[1..33]].concat();
    raw::delete(&stage.storage, &current);
    plant(stage, earlier);
    assert!(session.get(&id).is_err());
    raw::delete(&stage.storage, earlier);
    assert!(session.get(&id).unwrap().is_none());
    assert_eq!(session.retract(&id), Ok(None));
    assert_eq!(session.put(&id, b"1"), Ok(1));
}

fn keys_of_no_version_hide_no_version_from_expunge(stage: &Stage) {
    let session = session_on(&stage.create());
    let id = record("MRN-1", "Observation/1");
    for content in [b"1", b"2", b"3"] {
        session.put(&id, content).unwrap();
    }
    let versions = raw::objects_of(&stage.storage, b"h");
    let (first, _) = versions.first_key_value().unwrap();
    // These keys precede those of the versions, and fill more than one page of the scan.
    for number in 0..200_u16 {
        let key = [&first[..33], &[0; 8], &number.to_be_bytes()[..]].concat();
        raw::put(&stage.storage, &key, &[1; 20]);
    }
    session.expunge(&id, "wrong patient").unwrap();
    let left = raw::objects_of(&stage.storage, b"h");
    assert!(versions.keys().all(|key| !left.contains_key(key)));
}
