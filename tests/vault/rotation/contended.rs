//! One subject that others keep changing does not keep all others from being sealed again.

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
    the_others_are_done,
    those_that_settle_are_done_in_the_end,
    nothing_at_all_is_an_error,
);

/// How often it is tried within one call.
const ROUNDS: u64 = 64;

/// A vault that never gets to change the entries under these keys before so many times.
fn kept_from(stage: &Stage, keys: Vec<Vec<u8>>, times: u64) -> Vault {
    let seen = AtomicU64::new(0);
    let hook = move |_: u64, moment: &FaultPoint<'_>| {
        let meant = matches!(moment, FaultPoint::Commit(operations)
            if raw::puts(operations).any(|(key, _)| keys.iter().any(|meant| meant == key)));
        // As if another had been there first: nothing has changed, and it has to look again.
        if meant && seen.fetch_add(1, Ordering::SeqCst) < times {
            FaultAction::Unknown(FaultOutcome::Lost)
        } else {
            FaultAction::Proceed
        }
    };
    let storage = Faulty::new(stage.shared(), hook);
    // Nobody needs to wait for the others here.
    let options = stage.options().clock(Arc::new(ManualClock::at(LONG_AGO)));
    options.open(storage, &Fixed(1)).unwrap()
}

fn entry_of(stage: &Stage, identifier: &str) -> Vec<u8> {
    let entries = raw::objects_of(&stage.storage, b"p").into_keys();
    let mut own = entries.filter(|key| raw::is_of(stage, key, identifier));
    own.next().unwrap()
}

fn the_others_are_done(stage: &Stage) {
    let model = small_clinic(&stage.create());
    let before = raw::objects(&stage.storage);
    let vault = kept_from(stage, vec![entry_of(stage, "MRN-2")], u64::MAX);
    let report = vault.reencrypt().unwrap();
    assert_eq!((report.subjects, report.contended), (3, 1));
    assert_eq!(report.reencrypted, 2 * 8 + 1);
    for (key, value) in raw::objects(&stage.storage) {
        let stays = key == b"v" || raw::is_of(stage, &key, "MRN-2");
        assert_eq!(before.get(&key) == Some(&value), stays);
    }
    let alone = vault.reencrypt_subject(&subject("MRN-2"));
    assert_eq!(alone, Err(Error::Contended));
    model.verify(&stage.open());
    let report = stage.open().reencrypt().unwrap();
    assert_eq!((report.subjects, report.contended), (4, 0));
    model.verify(&stage.open());
}

fn those_that_settle_are_done_in_the_end(stage: &Stage) {
    let model = small_clinic(&stage.create());
    let before = raw::objects(&stage.storage);
    let vault = kept_from(stage, vec![entry_of(stage, "MRN-2")], ROUNDS + 3);
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

fn nothing_at_all_is_an_error(stage: &Stage) {
    let model = small_clinic(&stage.create());
    let before = raw::objects(&stage.storage);
    let all = raw::objects_of(&stage.storage, b"p").into_keys().collect();
    let vault = kept_from(stage, all, u64::MAX);
    assert_eq!(vault.reencrypt(), Err(Error::Contended));
    assert!(raw::objects(&stage.storage) == before);
    model.verify(&stage.open());
}
