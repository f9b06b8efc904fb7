//! Records that were expunged: what is left below the marker is no alarm, what undoes it is one.

use chartlock::verify::FindingKind;

use super::{clinic, is_clean, put_back, record_key, records, verify};
use crate::raw;
use crate::stage::{Stage, record, session};

everywhere!(
    nothing_below_is_missed,
    undone,
    left_below,
    a_forged_version_below,
    comes_again_after_a_restore,
);

const REASON: &str = "filed under the wrong patient";

fn expunged(stage: &Stage) -> (Vec<u8>, raw::Objects) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let then = raw::everything(&stage.storage);
    let vault = stage.open();
    let id = record("MRN-1", "Allergy/1");
    session(&vault).expunge(&id, REASON).unwrap();
    drop(vault);
    is_clean(stage);
    (key, then)
}

fn is_of(key: &[u8]) -> impl Fn(&[u8]) -> bool {
    move |of| matches!(of[0], b'r' | b'h') && of[1..33] == key[1..33]
}

fn nothing_below_is_missed(stage: &Stage) {
    expunged(stage);
    let vault = stage.open();
    let id = record("MRN-1", "Allergy/1");
    for _ in 0..3 {
        session(&vault).put(&id, b"of the right patient").unwrap();
    }
    drop(vault);
    let report = verify(stage);
    assert!(
        report.is_clean() && report.leftovers.is_empty(),
        "{report:#?}"
    );
}

fn undone(stage: &Stage) {
    let (key, then) = expunged(stage);
    put_back(&stage.storage, &then, is_of(&key));
    let found = [("MRN-1 Allergy/1".to_owned(), 5, FindingKind::RolledBack)];
    assert_eq!(records(&verify(stage)), found);
}

/// As an expunge leaves it that breaks off, or somebody who brings versions back: nobody is told of
/// them, and the next expunge removes them.
fn left_below(stage: &Stage) {
    let (key, then) = expunged(stage);
    put_back(&stage.storage, &then, |of| of[0] == b'h' && is_of(&key)(of));
    let report = verify(stage);
    assert!(report.is_clean(), "{report:#?}");
    let left: Vec<_> = report.leftovers.iter().map(|left| left.version).collect();
    assert_eq!(left, [1, 2, 3]);
    let vault = stage.open();
    session(&vault)
        .expunge(&record("MRN-1", "Allergy/1"), REASON)
        .unwrap();
    assert!(vault.verify(None).unwrap().leftovers.is_empty());
}

fn a_forged_version_below(stage: &Stage) {
    let (key, then) = expunged(stage);
    let second = [b"h", &key[1..], &2_u64.to_be_bytes()].concat();
    let mut value = then[&second].clone();
    value[120] ^= 1;
    raw::put(&stage.storage, &second, &value);
    let found = [("MRN-1 Allergy/1".to_owned(), 2, FindingKind::Unexpected)];
    assert_eq!(records(&verify(stage)), found);
}

fn comes_again_after_a_restore(stage: &Stage) {
    let (_, then) = expunged(stage);
    let later = Stage::memory();
    raw::reset(&later.storage, &raw::everything(&stage.storage));
    raw::reset(&stage.storage, &then);
    let vault = stage.open();
    let chart = session(&vault);
    let id = record("MRN-1", "Allergy/1");
    assert!(chart.get(&id).unwrap().is_some());
    let report = chart
        .accept_restore("disk failure", Some(&*later.storage))
        .unwrap();
    assert_eq!((report.expunged_again, report.not_expunged_again), (1, 0));
    assert!(chart.get(&id).unwrap().is_none());
    assert!(chart.get_version(&id, 2).unwrap().is_none());
    let report = vault.verify(None).unwrap();
    assert!(
        report.is_clean() && report.leftovers.is_empty(),
        "{report:#?}"
    );
    drop(vault);
    is_clean(stage);
}
