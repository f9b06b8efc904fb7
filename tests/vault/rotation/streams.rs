//! What is stored anew of a large record that is sealed again: it goes when the record surely does not
//! name it, and stays while it may.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chartlock::Vault;
use chartlock::internals::envelope::INLINE_MAX;
use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Operation, Storage, Transaction};

use crate::model::Model;
use crate::raw;
use crate::stage::{Shared, Stage, content, record, session, subject};

everywhere!(
    its_intent_is_gone,
    another_put_was_first,
    the_entry_changed,
    nobody_said_what_became_of_it,
    one_record_at_a_time,
);

/// A patient with large records, of one segment each, of so many versions.
fn large(vault: &Vault, versions: &[usize]) -> Model {
    let mut model = Model::default();
    for (number, versions) in (1..).zip(versions) {
        let id = record("MRN-1", &format!("CT/{number}"));
        for version in 0..*versions as u64 {
            let content = content(10 * number + version, INLINE_MAX + 1);
            model.put(&session(vault), &id, &content);
        }
    }
    model
}

fn checks(moment: &FaultPoint<'_>, class: u8) -> bool {
    let is_one = |operation: &Operation| matches!(operation, Operation::Check { key, .. } if key[0] == class);
    matches!(moment, FaultPoint::Commit(operations) if operations.iter().any(is_one))
}

fn puts(moment: &FaultPoint<'_>, class: u8) -> bool {
    matches!(moment, FaultPoint::Commit(operations)
        if raw::puts(operations).any(|(key, _)| key[0] == class))
}

fn seal_again(vault: &Vault) {
    let report = vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    assert_eq!((report.blocking, report.orphaned), (0, 0));
}

/// Seals the patient again; at the first step that is `when`, something happens.
fn reencrypted_while(
    stage: &Stage,
    when: impl Fn(&FaultPoint<'_>) -> bool + Send + Sync + 'static,
    happens: impl Fn(&FaultPoint<'_>) + Send + Sync + 'static,
) {
    let happened = AtomicBool::new(false);
    let (vault, _) = stage.open_with(move |_, moment| {
        if when(moment) && !happened.swap(true, Ordering::SeqCst) {
            happens(moment);
        }
        FaultAction::Proceed
    });
    seal_again(&vault);
}

/// Segments and intents.
fn stored(stage: &Stage) -> (usize, usize) {
    let [.., segments, intents] = raw::counts(&stage.storage);
    (segments, intents)
}

/// As a sweeper does for which it is too old.
fn its_intent_is_gone(stage: &Stage) {
    let model = large(&stage.create(), &[2]);
    let storage = stage.shared();
    reencrypted_while(
        stage,
        |moment| checks(moment, b'w'),
        move |_| {
            let intents = raw::objects_of(&storage, b"w");
            assert_eq!(intents.len(), 1);
            intents.keys().for_each(|key| raw::delete(&storage, key));
        },
    );
    assert_eq!(stored(stage), (2, 0));
    model.verify(&stage.open());
}

fn another_put_was_first(stage: &Stage) {
    let mut model = large(&stage.create(), &[1]);
    let (other, id) = (stage.open(), record("MRN-1", "CT/1"));
    let amended = content(5, INLINE_MAX + 1);
    let theirs = amended.clone();
    let race = id.clone();
    reencrypted_while(
        stage,
        |moment| puts(moment, b'r'),
        move |_| assert_eq!(session(&other).put(&race, &theirs), Ok(2)),
    );
    model.0.get_mut(&id).unwrap().push(Some(amended));
    assert_eq!(stored(stage), (2, 0));
    model.verify(&stage.open());
}

fn the_entry_changed(stage: &Stage) {
    let model = large(&stage.create(), &[2]);
    let other = stage.open();
    reencrypted_while(
        stage,
        |moment| checks(moment, b'p'),
        move |_| {
            other.rotate_master_key().unwrap();
        },
    );
    // Elsewhere the record names what was stored anew before anybody looks at the entry.
    if stage.storage.is_transactional() {
        assert_eq!(stored(stage), (2, 0));
    }
    model.verify(&stage.open());
}

fn nobody_said_what_became_of_it(stage: &Stage) {
    let model = large(&stage.create(), &[2]);
    for landing in [
        FaultOutcome::Applied,
        FaultOutcome::Lost,
        FaultOutcome::Later,
    ] {
        for class in [b'r', b'h'] {
            let asked = AtomicBool::new(false);
            let (vault, faulty) = stage.open_with(move |_, moment| {
                match puts(moment, class) && !asked.swap(true, Ordering::SeqCst) {
                    true => FaultAction::Unknown(landing),
                    false => FaultAction::Proceed,
                }
            });
            seal_again(&vault);
            model.verify(&stage.open());
            while faulty.land().is_some() {}
            model.verify(&stage.open());
        }
    }
}

/// Beside what stands there is room for one more to be asked for, not for all of them.
fn one_record_at_a_time(stage: &Stage) {
    let model = large(&stage.create(), &[1, 1, 2]);
    let storage = stage.shared();
    let most = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&most);
    let (vault, _) = stage.open_with(move |_, _| {
        let segments = raw::objects_of(&storage, b"s").len();
        seen.fetch_max(segments, Ordering::SeqCst);
        FaultAction::Proceed
    });
    let report = vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    assert_eq!(report.reencrypted, 4);
    assert_eq!(most.load(Ordering::SeqCst), 4 + 1);
    model.verify(&stage.open());
}

/// Carries out what is asked for, so that the request itself comes a second time.
fn repeat(storage: &Shared, moment: &FaultPoint<'_>) {
    let FaultPoint::Commit(operations) = moment else {
        panic!("not a commit");
    };
    let first: Transaction = operations.iter().cloned().collect();
    storage.commit(&[first]).remove(0).unwrap();
}

/// A request that is repeated below the vault meets itself: the answer is a conflict, and the version
/// names what was stored anew.
#[test]
fn a_repeated_request() {
    for stage in [Stage::per_operation(), Stage::split()] {
        let model = large(&stage.create(), &[2]);
        for class in [b'r', b'h'] {
            let storage = stage.shared();
            reencrypted_while(
                &stage,
                move |moment| puts(moment, class),
                move |moment| repeat(&storage, moment),
            );
            model.verify(&stage.open());
        }
    }
}

/// The same, and before anybody looks, a put has moved the version aside.
#[test]
fn a_repeated_request_and_another_put() {
    for stage in [Stage::per_operation(), Stage::split()] {
        let mut model = large(&stage.create(), &[1]);
        let (other, storage) = (stage.open(), stage.shared());
        let amended = Mutex::new(model.clone());
        reencrypted_while(
            &stage,
            |moment| puts(moment, b'r'),
            move |moment| {
                repeat(&storage, moment);
                let id = record("MRN-1", "CT/1");
                (amended.lock().unwrap()).put(&session(&other), &id, b"amended");
            },
        );
        let versions = model.0.get_mut(&record("MRN-1", "CT/1")).unwrap();
        versions.push(Some(b"amended".to_vec()));
        model.verify(&stage.open());
    }
}

/// What a put left that broke off has no stream of its own: it is a copy of the current version, and
/// becomes one again.
#[test]
fn a_copy_that_a_put_left() {
    for stage in [Stage::per_operation(), Stage::split()] {
        let mut model = large(&stage.create(), &[1]);
        let (vault, _) = stage.open_with(|_, moment| match puts(moment, b'h') {
            true => FaultAction::StopAfter,
            false => FaultAction::Proceed,
        });
        let (id, amended) = (record("MRN-1", "CT/1"), content(5, INLINE_MAX + 1));
        session(&vault).put(&id, &amended).unwrap_err();
        assert_eq!(raw::counts(&stage.storage)[2..4], [1, 1]);
        let vault = stage.open();
        seal_again(&vault);
        model.verify(&vault);
        model.put(&session(&vault), &id, &amended);
        model.verify(&stage.open());
    }
}
