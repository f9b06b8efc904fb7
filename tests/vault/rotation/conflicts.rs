//! Conflicts during a rotation: all other subjects complete while one subject keeps changing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Faulty};
use chartlock::{Error, Vault};

use crate::clock::LONG_AGO;
use crate::common::Fixed;
use crate::common::clock::ManualClock;
use crate::model::small_clinic;
use crate::raw;
use crate::stage::{Stage, subject};

everywhere!(
    reencryption_with_contended_subject_completes_the_others,
    reencryption_retries_until_contended_subject_settles,
    reencryption_with_all_subjects_contended_returns_contended,
);

/// Number of attempts for each subject within one call.
const ROUNDS: u64 = 64;

/// Opens a vault whose first `times` commits to these entries are lost.
fn blocked_vault(stage: &Stage, keys: Vec<Vec<u8>>, times: u64) -> Vault {
    let seen = AtomicU64::new(0);
    let hook = move |_: u64, point: &FaultPoint<'_>| {
        let meant = matches!(point, FaultPoint::Commit(operations)
            if raw::puts(operations).any(|(key, _)| keys.iter().any(|meant| meant == key)));
        // A lost commit makes the vault read the entry again, as after another writer's change.
        if meant && seen.fetch_add(1, Ordering::SeqCst) < times {
            FaultAction::Unknown(FaultOutcome::Lost)
        } else {
            FaultAction::Proceed
        }
    };
    let storage = Faulty::new(stage.shared(), hook);
    // With this clock, the vault does not wait between attempts.
    let options = stage.options().clock(Arc::new(ManualClock::at(LONG_AGO)));
    options.open(storage, &Fixed(1)).unwrap()
}

fn entry_of(stage: &Stage, identifier: &str) -> Vec<u8> {
    let entries = raw::objects_of(&stage.storage, b"p").into_keys();
    let mut own = entries.filter(|key| raw::belongs_to(stage, key, identifier));
    own.next().unwrap()
}

fn reencryption_with_contended_subject_completes_the_others(stage: &Stage) {
    let model = small_clinic(&stage.create());
    let before = raw::objects(&stage.storage);
    let vault = blocked_vault(stage, vec![entry_of(stage, "MRN-2")], u64::MAX);
    let report = vault.reencrypt().unwrap();
    assert_eq!((report.subjects, report.contended), (3, 1));
    assert_eq!(report.reencrypted, 2 * 8 + 1);
    for (key, value) in raw::objects(&stage.storage) {
        let stays = key == b"v" || raw::belongs_to(stage, &key, "MRN-2");
        assert_eq!(before.get(&key) == Some(&value), stays);
    }
    let alone = vault.reencrypt_subject(&subject("MRN-2"));
    assert_eq!(alone, Err(Error::Contended));
    model.verify(&stage.open());
    let report = stage.open().reencrypt().unwrap();
    assert_eq!((report.subjects, report.contended), (4, 0));
    model.verify(&stage.open());
}

fn reencryption_retries_until_contended_subject_settles(stage: &Stage) {
    let model = small_clinic(&stage.create());
    let before = raw::objects(&stage.storage);
    let vault = blocked_vault(stage, vec![entry_of(stage, "MRN-2")], ROUNDS + 3);
    let report = vault.reencrypt().unwrap();
    assert_eq!((report.subjects, report.contended), (4, 0));
    assert_eq!(report.reencrypted, 3 * 8 + 1);
    let after = raw::objects(&stage.storage);
    let records = after.iter().filter(|(key, _)| key[0] != b'v');
    assert!(
        records
            .into_iter()
            .all(|(key, value)| before.get(key) != Some(value))
    );
    model.verify(&stage.open());
}

fn reencryption_with_all_subjects_contended_returns_contended(stage: &Stage) {
    let model = small_clinic(&stage.create());
    let before = raw::objects(&stage.storage);
    let all = raw::objects_of(&stage.storage, b"p").into_keys().collect();
    let vault = blocked_vault(stage, all, u64::MAX);
    assert_eq!(vault.reencrypt(), Err(Error::Contended));
    assert!(raw::objects(&stage.storage) == before);
    model.verify(&stage.open());
}
