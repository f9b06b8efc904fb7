//! No false alarm while others write, rotate, re-encrypt and erase; and what was tampered with is
//! found all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chartlock::{Vault, verify::FindingKind};

use super::{clinic, record_key, records};
use crate::common::Fixed;
use crate::raw;
use crate::stage::{Stage, record, session, subject};

everywhere!(
    writers,
    rotations,
    erasures,
    a_hot_record_that_was_tampered_with
);

/// How often each of the others does something, at most: histories grow, and all of them is looked at.
const TURNS: u64 = 300;

/// Verifies on one vault some times while `work` goes on in two others, and on the first.
fn while_others(stage: &Stage, work: impl Fn(&Vault, u64, u64) + Sync, check: impl Fn(&Vault)) {
    let options = stage.options_under_load();
    let vaults: Vec<Vault> = (0..2)
        .map(|_| options.clone().open(stage.shared(), &Fixed(1)).unwrap())
        .collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for (thread, vault) in (0..).zip(&vaults) {
            let (work, done) = (&work, &done);
            scope.spawn(move || {
                for turn in 0..TURNS {
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                    work(vault, thread, turn);
                }
            });
        }
        let stop = Stop(&done);
        for _ in 0..4 {
            check(&vaults[0]);
        }
        drop(stop);
    });
    let report = stage.open().verify(None).unwrap();
    check(&vaults[1]);
    drop(report);
}

/// A check that fails must end the others, too.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn is_quiet(vault: &Vault) {
    let report = vault.verify(None).unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

fn write(vault: &Vault, thread: u64, turn: u64) {
    let chart = session(vault);
    let patient = format!("MRN-{}", turn % 7);
    let name = format!("Observation/{}", (turn + thread) % 3);
    let _ = chart.put(&record(&patient, &name), &turn.to_le_bytes());
    if turn.is_multiple_of(11) {
        let _ = chart.retract(&record(&patient, &name));
    }
}

fn writers(stage: &Stage) {
    clinic(&stage.create());
    while_others(stage, write, is_quiet);
}

fn rotations(stage: &Stage) {
    clinic(&stage.create());
    let work = |vault: &Vault, thread: u64, turn: u64| {
        write(vault, thread, turn);
        let patient = subject(&format!("MRN-{}", turn % 7));
        let _ = match (thread, turn % 6) {
            (0, 0) => vault.rotate_subject_key(&patient).map(drop),
            (0, 2) => vault.reencrypt_subject(&patient).map(drop),
            (1, 5) => vault.rotate_master_key().map(drop),
            _ => Ok(()),
        };
    };
    while_others(stage, work, is_quiet);
}

fn erasures(stage: &Stage) {
    clinic(&stage.create());
    let work = |vault: &Vault, thread: u64, turn: u64| {
        write(vault, thread, turn);
        let patient = subject(&format!("MRN-{}", turn % 7));
        let chart = session(vault);
        let _ = match (turn + thread) % 3 {
            0 => chart.erase_subject(&patient, "asked for").map(drop),
            1 => chart.reopen_chart(&patient),
            _ => vault.collect_garbage().map(drop),
        };
    };
    while_others(stage, work, is_quiet);
}

/// What was put back cannot hide behind records that others keep changing.
fn a_hot_record_that_was_tampered_with(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Allergy/1");
    let second = [b"h", &key[1..], &2_u64.to_be_bytes()].concat();
    let mut objects = raw::everything(&stage.storage);
    objects.remove(&second).unwrap();
    raw::reset(&stage.storage, &objects);
    let work = |vault: &Vault, _: u64, turn: u64| {
        let _ = session(vault).put(&record("MRN-1", "Allergy/1"), &turn.to_le_bytes());
    };
    while_others(stage, work, |vault| {
        let report = vault.verify(None).unwrap();
        let missing = ("MRN-1 Allergy/1".to_owned(), 2, FindingKind::Missing);
        assert_eq!(records(&report), [missing], "{report:#?}");
    });
}
