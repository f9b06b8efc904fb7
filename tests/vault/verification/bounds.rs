//! Bounds of a verification: time and memory depend on stored objects and journal entries, never on
//! the numbers in them, and no single object ends a verification.

use chartlock::verify::FindingKind;

use super::{clinic, record_key, records, verify};
use crate::forged_records::sealed_with_length;
use crate::raw;
use crate::stage::{Stage, record, session_on};

everywhere!(length_beyond_every_storage_is_one_finding);

/// A claimed length needs more segments than there are segment numbers.
fn length_beyond_every_storage_is_one_finding(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Observation/1");
    for length in [1 << 40, 1 << 52, u64::MAX >> 1, u64::MAX] {
        let value = sealed_with_length(stage, &key, ("Observation/1", 2), length);
        raw::put(&stage.storage, &key, &value);
        let altered = ("MRN-1 Observation/1".to_owned(), 2, FindingKind::Altered);
        let report = verify(stage);
        assert_eq!(records(&report), [altered], "{length}");
        assert!(report.journal.is_empty());
    }
    let vault = stage.open();
    let session = session_on(&vault);
    session.accept_restore("disk failure", None).unwrap();
    assert!(session.get(&record("MRN-2", "Observation/1")).is_ok());
}
