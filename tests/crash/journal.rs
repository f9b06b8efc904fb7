//! Comparison of the journal after a kill with the acknowledged changes.

use std::collections::BTreeMap;

use chartlock::audit::AuditItem;
use chartlock::{Checkpoint, Operation, RecordId, Vault, verify::CheckpointState};

use crate::common::content::NAMES;
use crate::common::{session, subject};
use crate::model::patients;

/// The operation, patient, record name and version of a change. An erasure has neither a record
/// name nor a version.
type ChangeKey = (Operation, String, Option<String>, Option<u64>);

/// Journal entries that must exist, each with its minimum count. A patient may return and be erased
/// again, so a count may exceed one.
#[derive(Default, Clone)]
pub(crate) struct ExpectedEntries {
    changes: BTreeMap<ChangeKey, u64>,
    /// The newest checkpoint of the child, and the checkpoint that the parent took before.
    checkpoints: [Option<Checkpoint>; 2],
}

impl ExpectedEntries {
    pub(crate) fn wrote(&mut self, patient: &str, name: &str, version: usize, retracted: bool) {
        let operation = if retracted {
            Operation::Retract
        } else {
            Operation::Put
        };
        let name = Some(name.to_owned());
        let what = (operation, patient.to_owned(), name, Some(version as u64));
        *self.changes.entry(what).or_default() += 1;
    }

    pub(crate) fn erased(&mut self, patient: &str) {
        let what = (Operation::Erase, patient.to_owned(), None, None);
        *self.changes.entry(what).or_default() += 1;
    }

    pub(crate) fn checkpoint(&mut self, text: &str) {
        self.checkpoints[0] = Some(text.parse().unwrap());
    }

    /// Asserts that `verify` reports no finding, without a checkpoint and with each checkpoint from
    /// before the kill. Asserts also that each acknowledged change has its journal entry. Returns
    /// the number of expected entries.
    ///
    /// If the storage is not transactional, the last entry may be unsettled: it announces a change
    /// without confirming it.
    pub(crate) fn compare(&mut self, vault: &Vault, is_settled: bool) -> u64 {
        let report = vault.verify(None).unwrap();
        assert!(report.is_clean(), "{report:#?}");
        for checkpoint in self.checkpoints.iter().flatten() {
            let report = vault.verify(Some(checkpoint)).unwrap();
            assert!(report.is_clean(), "{report:#?}");
            assert_eq!(report.checkpoint, Some(CheckpointState::Intact));
        }
        let entries = entries(vault, is_settled);
        for (change, times) in &self.changes {
            let count = entries.get(change).copied().unwrap_or(0);
            assert!(count >= *times, "{change:?} has {count} of {times} entries");
        }
        self.checkpoints = [None, Some(vault.checkpoint().unwrap())];
        self.changes.values().sum()
    }
}

/// Counts the journal entries of each write and erasure.
fn entries(vault: &Vault, is_settled: bool) -> BTreeMap<ChangeKey, u64> {
    let session = session(vault);
    let mut trail = session.audit().unwrap();
    for patient in (0..2).flat_map(patients) {
        let subject = subject(&patient);
        for name in NAMES {
            trail = trail.resolve_record(&RecordId::new(subject.clone(), name).unwrap());
        }
    }
    let mut counts = BTreeMap::new();
    for item in trail.entries(..).unwrap() {
        let entry = match item.unwrap() {
            AuditItem::Entry(entry) => entry,
            other => panic!("a journal page is damaged: {other:?}"),
        };
        let operation = entry.operation;
        let (Some(patient), true) = (
            entry
                .subject
                .as_ref()
                .and_then(|mark| mark.identifier.clone()),
            entry.was_done() || !is_settled && !entry.settled,
        ) else {
            continue;
        };
        let name = entry.record.as_ref().and_then(|mark| mark.name.clone());
        let what = (
            operation,
            patient.into(),
            name.map(String::from),
            entry.version,
        );
        *counts.entry(what).or_default() += 1;
    }
    counts
}
