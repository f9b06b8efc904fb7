//! Altered current versions: the version before tells which versions were expunged, so that the
//! alteration costs no other version. A retraction that does not open may be an expunged marker.

use chartlock::storage::{FaultAction, FaultPoint};
use chartlock::{Error, RecordId, Vault};

use crate::expunge::WHY;
use crate::raw;
use crate::stage::{Stage, record, session_on};

everywhere!(
    version_before_altered_one_is_readable,
    put_over_altered_version_carries_expunged_versions,
    altered_retraction_refuses_earlier_versions_and_puts,
    expunge_of_altered_version_makes_record_writable,
);

fn id() -> RecordId {
    record("MRN-1", "Observation/1")
}

fn put(vault: &Vault, content: &[u8]) -> u64 {
    session_on(vault).put(&id(), content).unwrap()
}

/// Alters the sealed body of the current version of the only record.
fn alter_current(stage: &Stage) {
    let (key, mut value) = raw::objects_of(&stage.storage, b"r").pop_first().unwrap();
    *value.last_mut().unwrap() ^= 1;
    raw::put(&stage.storage, &key, &value);
}

/// Stores versions 1 to 3, expunges them, and stores versions 5 and 6 above marker 4. The expunge
/// stops before it deletes the versions below the marker.
fn expunged_and_continued(stage: &Stage) -> Vault {
    let vault = stage.create();
    for content in [b"1", b"2", b"3"] {
        put(&vault, content);
    }
    drop(vault);
    let (interrupted, _) = stage.open_with(|_, point| match point {
        FaultPoint::Commit(operations) if operations.iter().any(|one| one.key()[0] == b'h') => {
            FaultAction::Stop
        }
        _ => FaultAction::Proceed,
    });
    assert!(session_on(&interrupted).expunge(&id(), WHY).is_err());
    drop(interrupted);
    let vault = stage.open();
    assert_eq!(raw::objects_of(&stage.storage, b"h").len(), 2);
    assert_eq!([put(&vault, b"5"), put(&vault, b"6")], [5, 6]);
    vault
}

fn version_before_altered_one_is_readable(stage: &Stage) {
    let vault = expunged_and_continued(stage);
    alter_current(stage);
    let session = session_on(&vault);
    assert_eq!(
        session.get_version(&id(), 6).err(),
        Some(Error::NotAuthentic)
    );
    assert_eq!(session.get_version(&id(), 5).unwrap().unwrap()[..], *b"5");
    for version in 1..=4 {
        assert!(session.get_version(&id(), version).unwrap().is_none());
    }
    assert_eq!(session.history(&id()).err(), Some(Error::NotAuthentic));
}

fn put_over_altered_version_carries_expunged_versions(stage: &Stage) {
    let vault = expunged_and_continued(stage);
    alter_current(stage);
    assert_eq!(put(&vault, b"7"), 7);
    // Version 8 takes the number from version 7, because version 6 does not open.
    assert_eq!(session_on(&vault).retract(&id()), Ok(Some(8)));
    assert_eq!(put(&vault, b"9"), 9);
    for vault in [&vault, &stage.open()] {
        let session = session_on(vault);
        for (version, content) in [(5, b"5"), (7, b"7"), (9, b"9")] {
            let found = session.get_version(&id(), version).unwrap().unwrap();
            assert_eq!(found[..], *content);
        }
        assert_eq!(
            session.get_version(&id(), 6).err(),
            Some(Error::NotAuthentic)
        );
        for version in 1..=4 {
            assert!(session.get_version(&id(), version).unwrap().is_none());
        }
    }
}

fn altered_retraction_refuses_earlier_versions_and_puts(stage: &Stage) {
    let vault = stage.create();
    put(&vault, b"1");
    put(&vault, b"2");
    session_on(&vault).retract(&id()).unwrap();
    alter_current(stage);
    let session = session_on(&vault);
    for version in [1, 2] {
        let found = session.get_version(&id(), version);
        assert_eq!(found.err(), Some(Error::NotAuthentic), "{version}");
    }
    let before = raw::objects(&stage.storage);
    assert_eq!(session.put(&id(), b"next"), Err(Error::NotAuthentic));
    assert!(raw::objects(&stage.storage) == before);
}

fn expunge_of_altered_version_makes_record_writable(stage: &Stage) {
    let vault = stage.create();
    put(&vault, b"1");
    put(&vault, b"2");
    session_on(&vault).retract(&id()).unwrap();
    alter_current(stage);
    session_on(&vault).expunge(&id(), WHY).unwrap();
    assert_eq!(put(&vault, b"5"), 5);
    let session = session_on(&stage.open());
    assert_eq!(session.get(&id()).unwrap().unwrap()[..], *b"5");
    for version in 1..=4 {
        assert!(session.get_version(&id(), version).unwrap().is_none());
    }
}
